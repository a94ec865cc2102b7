//! A gateway's membership against a real relay on loopback.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lanparty_node::{Dialer, Identity, JoinRequest, RelayTrust};
use lanparty_proto::{Control, MacAddr, Role};
use lanparty_relay::{RelayArgs, RunningRelay};

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RelayArgs,
}

#[tokio::test]
async fn connects_to_relay_control_stream_as_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let (state, cert) = (dir.path().to_str().unwrap(), dir.path().join("cert.der"));
    let args =
        Cli::parse_from(["relay", "--listen", "127.0.0.1:0", "--state-dir", state, "--dev-cert-der-out", cert.to_str().unwrap()]).args;
    let mut relay = RunningRelay::start(&args).unwrap();
    let address = relay.address().to_string();
    tokio::spawn(async move { relay.serve().await });
    let request = |role, mac| JoinRequest {
        role,
        room: "ROOM1".parse().unwrap(),
        mac,
        software: "test".into(),
        lan_up: true,
        resume: None,
        addresses: None,
    };
    let mut members = vec![];
    for (file, role) in [("gateway.json", Role::Gateway), ("client.json", Role::Client)] {
        let (identity, _) = Identity::load_or_create(dir.path().join(file), false).unwrap();
        let identity = Arc::new(identity);
        let trust = RelayTrust::load(Some(&cert)).unwrap();
        let mut dialer = Dialer::new(address.parse().unwrap(), Some("lanparty-relay.local".into()), trust);
        let joined = dialer.join(&identity, &request(role, identity.mac())).await.unwrap();
        members.push((joined, identity.mac(), dialer));
    }
    let client_mac: MacAddr = members[1].1;
    assert!(members[1].0.welcome.members.iter().any(|m| m.role == Role::Gateway && m.mac == members[0].1));
    let told = tokio::time::timeout(PATIENCE, members[0].0.control_in.next()).await.unwrap().unwrap();
    assert!(matches!(told, Control::MemberJoined { member } if member.role == Role::Client && member.mac == client_mac));
}
