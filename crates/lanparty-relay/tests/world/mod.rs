//! A real relay on loopback, and members that speak to it without a device: for tests of what crosses the relay.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use lanparty_node::{Dialer, Identity, JoinError, JoinRequest, Joined, RelayTrust, Sizing};
use lanparty_proto::{Control, DATAGRAM_HEADER_LEN, DatagramBudget, DatagramHeader, DropReason, MacAddr, MemberId, Role};
use lanparty_relay::{RelayArgs, RunningRelay};
use tempfile::TempDir;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a frame that must not arrive to have arrived, on a busy machine.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RelayArgs,
}

/// A relay in this process.
pub(crate) struct World {
    pub(crate) relay: RelayHandle,
    dir: TempDir,
    members: u8,
}

/// What tests ask of a running relay.
pub(crate) struct RelayHandle {
    address: std::net::SocketAddr,
    reports: tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<serde_json::Value>>,
}

impl RelayHandle {
    pub(crate) async fn report(&self) -> serde_json::Value {
        let (answer, wait) = tokio::sync::oneshot::channel();
        self.reports.send(answer).await.unwrap();
        wait.await.unwrap()
    }
}

impl World {
    /// Starts a relay with these extra arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cert = dir.path().join("relay-cert.der");
        let fixed =
            ["relay", "--listen", "127.0.0.1:0", "--state-dir", dir.path().to_str().unwrap(), "--dev-cert-der-out", cert.to_str().unwrap()];
        let args = Cli::parse_from(fixed.iter().chain(arguments)).args;
        let mut relay = RunningRelay::start(&args).unwrap();
        let address = relay.address();
        let (reports, mut requests) = tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<serde_json::Value>>(4);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = relay.serve() => {}
                    Some(answer) = requests.recv() => answer.send(serde_json::to_value(relay.report()).unwrap()).unwrap(),
                }
            }
        });
        Self { relay: RelayHandle { address, reports }, dir, members: 0 }
    }

    /// A member with an identity of its own. `budget` caps what it announces.
    pub(crate) async fn join(&mut self, role: Role, budget: Option<u16>) -> Result<Member, JoinError> {
        self.members += 1;
        let identity = self.dir.path().join(format!("member-{}.json", self.members));
        let mac = MacAddr([2, 0, 0, 0, 0, self.members]);
        self.join_as(&identity, mac, role, budget).await
    }

    /// A member with this identity file and MAC address.
    pub(crate) async fn join_as(
        &self,
        identity: &std::path::Path,
        mac: MacAddr,
        role: Role,
        budget: Option<u16>,
    ) -> Result<Member, JoinError> {
        let (identity, _) = Identity::load_or_create(identity.to_owned(), false).unwrap();
        let trust = RelayTrust::load(Some(&self.dir.path().join("relay-cert.der"))).unwrap();
        let mut dialer = Dialer::new(self.relay.address.to_string().parse().unwrap(), Some("lanparty-relay.local".into()), trust)
            .sized(Sizing { budget_max: budget.map(DatagramBudget), ..Sizing::default() });
        let request =
            JoinRequest { role, room: "ROOM1".parse().unwrap(), mac, software: "test".into(), lan_up: true, resume: None, addresses: None };
        let joined = dialer.join(&Arc::new(identity), &request).await?;
        Ok(Member { id: joined.welcome.member, mac, joined, _dialer: dialer })
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Frames that came from `member` and were dropped by the relay for `reason`.
    pub(crate) async fn dropped(&self, member: MemberId, reason: DropReason) -> u64 {
        let report = self.relay.report().await;
        let members = report["rooms"][0]["members"].as_array().unwrap();
        let found = members.iter().find(|m| m["member"] == member.0).unwrap();
        found["from_member"]["dropped"][reason.as_str()].as_u64().unwrap()
    }
}

/// A member without a device.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) mac: MacAddr,
    pub(crate) joined: Joined,
    _dialer: Dialer,
}

impl Member {
    /// Sends a frame as this member, whatever it says.
    pub(crate) fn send(&self, frame: &[u8]) {
        let datagram = [&DatagramHeader { source: self.id }.encode()[..], frame].concat();
        let sent = self.joined.link.send_now(&[Bytes::from(datagram)]).unwrap();
        assert_eq!((sent.taken, sent.refused.len()), (1, 0), "the path takes the frame");
    }

    /// The next frame that arrives, with its sender.
    pub(crate) async fn recv(&self) -> Option<(MemberId, Vec<u8>)> {
        let mut datagrams = [Bytes::new()];
        tokio::time::timeout(PATIENCE, self.joined.link.recv(&mut datagrams)).await.ok()?.ok()?;
        let (header, frame) = DatagramHeader::decode(&datagrams[0]).unwrap();
        Some((header.source, frame.to_vec()))
    }

    /// Whether nothing arrives for a while.
    pub(crate) async fn hears_nothing(&self) -> bool {
        let mut datagrams = [Bytes::new()];
        tokio::time::timeout(QUIET, self.joined.link.recv(&mut datagrams)).await.is_err()
    }

    /// The next control message of interest.
    pub(crate) async fn control(&mut self, wanted: impl Fn(&Control) -> bool) -> Control {
        let next = async {
            loop {
                let message = self.joined.control_in.next().await.unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the relay says it in time")
    }

    /// Largest frame its own path takes.
    pub(crate) fn frame_len_max(&self) -> usize {
        usize::from(self.joined.link.found_budget().0) - DATAGRAM_HEADER_LEN
    }
}

/// An Ethernet frame of `len` bytes: an experimental EtherType (IEEE 802 §9.2.3), content by position.
pub(crate) fn frame(dst: MacAddr, src: MacAddr, len: usize) -> Vec<u8> {
    let mut frame = [&dst.0[..], &src.0, &[0x88, 0xb5]].concat();
    frame.extend((14..len).map(|i| u8::try_from(i % 251).unwrap()));
    frame
}
