//! A client against a real relay on loopback, with a device in memory.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lanparty_nic::{Device, MemoryDevice, memory_pair};
use lanparty_node::{AsyncDevice, Dialer, Identity, JoinRequest, MemberDriver, RelayTrust, Session, SessionEvent};
use lanparty_proto::{FrameBatch, MacAddr, MemberId, Role};
use lanparty_relay::{RelayArgs, RunningRelay};
use tempfile::TempDir;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Frames a device in memory holds.
const CAPACITY: usize = 64;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RelayArgs,
}

fn start_relay(dir: &TempDir) -> std::net::SocketAddr {
    let (state, cert) = (dir.path().to_str().unwrap().to_owned(), dir.path().join("cert.der"));
    let args =
        Cli::parse_from(["relay", "--listen", "127.0.0.1:0", "--state-dir", &state, "--dev-cert-der-out", cert.to_str().unwrap()]).args;
    let mut relay = RunningRelay::start(&args).unwrap();
    let address = relay.address();
    tokio::spawn(async move { relay.serve().await });
    address
}

/// A session whose device's other end is given back.
fn session(dir: &TempDir, relay: std::net::SocketAddr, name: &str, role: Role) -> (Session<MemoryDevice>, MemoryDevice, MacAddr) {
    let (identity, _) = Identity::load_or_create(dir.path().join(name), false).unwrap();
    let mac = identity.mac();
    let trust = RelayTrust::load(Some(&dir.path().join("cert.der"))).unwrap();
    let dialer = Dialer::new(relay.to_string().parse().unwrap(), Some("lanparty-relay.local".into()), trust);
    let (near, far) = memory_pair(CAPACITY).unwrap();
    let driver = MemberDriver::new(role, "memory".into(), Some(AsyncDevice::new(near).unwrap()));
    let request =
        JoinRequest { role, room: "ROOM1".parse().unwrap(), mac, software: "test".into(), lan_up: true, resume: None, addresses: None };
    (Session::start(driver, dialer, Arc::new(identity), request, PATIENCE), far, mac)
}

async fn joined(session: &mut Session<MemoryDevice>) -> MemberId {
    let wait = async {
        loop {
            match session.next_event().await {
                SessionEvent::Joined { .. } => return,
                SessionEvent::Failed(fault) => panic!("{fault}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("joined in time");
    session.roster().unwrap().own().id
}

async fn next_frame(device: &mut AsyncDevice<MemoryDevice>) -> Vec<u8> {
    let mut batch = FrameBatch::new();
    tokio::time::timeout(PATIENCE, device.recv(&mut batch)).await.expect("a frame in time").unwrap();
    batch.pop().unwrap()[FrameBatch::HEADROOM..].to_vec()
}

#[tokio::test]
async fn connects_to_relay_control_stream_as_client() {
    let dir = tempfile::tempdir().unwrap();
    let relay = start_relay(&dir);
    let (mut client, _far, mac) = session(&dir, relay, "client.json", Role::Client);
    let id = joined(&mut client).await;
    let roster = client.roster().unwrap();
    assert_eq!((roster.own().role, roster.own().mac), (Role::Client, mac));
    assert!(id.0 != 0 && roster.gateway().is_none() && roster.lan_mtu().bytes() >= 1150, "{:?}", roster.lan_mtu());
}

#[tokio::test]
async fn frames_cross_from_device_to_device_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let relay = start_relay(&dir);
    let (mut one, mut one_far, one_mac) = session(&dir, relay, "one.json", Role::Client);
    let (mut two, two_far, two_mac) = session(&dir, relay, "two.json", Role::Client);
    let mut two_far = AsyncDevice::new(two_far).unwrap();
    joined(&mut one).await;
    joined(&mut two).await;
    let frame = [&two_mac.0[..], &one_mac.0, &[0x88, 0xb5], &[7; 500]].concat();
    one_far.send_batch(&[frame.clone().into()]).unwrap();
    let carried = tokio::select! {
        frame = next_frame(&mut two_far) => frame,
        () = async { loop { tokio::select! { _ = one.next_event() => {}, _ = two.next_event() => {} } } } => unreachable!(),
    };
    assert_eq!(carried, frame);
    assert!(one.driver.is_conserved() && two.driver.is_conserved());
    assert_eq!(one.driver.outbound().counters().forwarded(), 1);
}
