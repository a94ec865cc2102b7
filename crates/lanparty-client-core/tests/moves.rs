//! Members that change connections amid their frames, against a real relay on loopback.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lanparty_core::Step;
use lanparty_nic::{Device, MemoryDevice, memory_pair};
use lanparty_node::{AsyncDevice, Dialer, DriverEvent, Identity, JoinRequest, Joined, MemberDriver, RelayTrust};
use lanparty_proto::{DatagramBudget, FrameBatch, MacAddr, Role};
use lanparty_relay::{RelayArgs, RunningRelay};
use tempfile::TempDir;
use tokio::sync::mpsc;

const CAPACITY: usize = 4096;
/// Pauses of the sender: 2,000 frames a second.
const PAUSE: Duration = Duration::from_micros(500);
const FRAMES: u32 = 4000;
const MOVE_EVERY: Duration = Duration::from_millis(150);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RelayArgs,
}

fn start_relay(dir: &TempDir) -> std::net::SocketAddr {
    let (state, cert) = (dir.path().to_str().unwrap(), dir.path().join("cert.der"));
    let args = ["relay", "--listen", "127.0.0.1:0", "--state-dir", state, "--dev-cert-der-out", cert.to_str().unwrap()];
    let mut relay = RunningRelay::start(&Cli::parse_from(args).args).unwrap();
    let address = relay.address();
    tokio::spawn(async move { relay.serve().await });
    address
}

/// A member whose driver runs in a task of its own.
struct Member {
    dialer: Dialer,
    identity: Arc<Identity>,
    request: JoinRequest,
    moves: mpsc::Sender<Joined>,
    far: MemoryDevice,
}

impl Member {
    async fn join(dir: &TempDir, relay: std::net::SocketAddr, name: &str) -> Self {
        let (identity, _) = Identity::load_or_create(dir.path().join(name), false).unwrap();
        let identity = Arc::new(identity);
        let trust = RelayTrust::load(Some(&dir.path().join("cert.der"))).unwrap();
        let mut dialer = Dialer::new(relay.to_string().parse().unwrap(), Some("lanparty-relay.local".into()), trust);
        let mac = identity.mac();
        let request = JoinRequest {
            role: Role::Client,
            room: "ROOM1".parse().unwrap(),
            mac,
            software: "test".into(),
            lan_up: true,
            resume: None,
            addresses: None,
        };
        let joined = dialer.join(&identity, &request).await.unwrap();
        let (near, far) = memory_pair(CAPACITY).unwrap();
        let mut driver = MemberDriver::new(Role::Client, "memory".into(), Some(AsyncDevice::new(near).unwrap()));
        driver.connect(joined, mac);
        let (moves, mut moved) = mpsc::channel::<Joined>(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = driver.next_event() => match event {
                        DriverEvent::LinkEnded(e) => panic!("{e}"),
                        // The test is over.
                        DriverEvent::DeviceFailed(_) => return,
                        _ => {}
                    },
                    joined = moved.recv() => match joined {
                        Some(joined) => assert!(driver.move_to(joined, mac).is_empty(), "nothing happened in the room"),
                        None => return,
                    },
                }
            }
        });
        Self { dialer, identity, request, moves, far }
    }

    async fn move_over(&mut self) {
        let joined = self.dialer.move_over(&self.identity, &self.request, Step::Larger, DatagramBudget(0)).await.unwrap();
        self.moves.send(joined).await.unwrap();
    }

    fn mac(&self) -> MacAddr {
        self.request.mac
    }
}

fn number_of(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame[14..].first_chunk().unwrap())
}

#[tokio::test]
async fn no_frame_is_lost_doubled_or_overtaken_while_both_ends_move() {
    let dir = tempfile::tempdir().unwrap();
    let relay = start_relay(&dir);
    let mut one = Member::join(&dir, relay, "one.json").await;
    let mut two = Member::join(&dir, relay, "two.json").await;
    let head = [&two.mac().0[..], &one.mac().0, &[0x88, 0xb5]].concat();
    let (one_far, two_far) =
        (std::mem::replace(&mut one.far, memory_pair(1).unwrap().0), std::mem::replace(&mut two.far, memory_pair(1).unwrap().0));
    let sender = tokio::spawn(async move {
        let mut one_far = one_far;
        for number in 0..FRAMES {
            let frame = [&head[..], &number.to_be_bytes(), &[0x5a; 400]].concat();
            one_far.send_batch(&[frame.into()]).unwrap();
            tokio::time::sleep(PAUSE).await;
        }
        one_far
    });
    let receiver = tokio::spawn(async move {
        let (mut two_far, mut batch, mut numbers) = (AsyncDevice::new(two_far).unwrap(), FrameBatch::new(), vec![]);
        while numbers.last() != Some(&(FRAMES - 1)) {
            let received = tokio::time::timeout(Duration::from_secs(2), two_far.recv(&mut batch)).await;
            if received.is_err() {
                break;
            }
            numbers.extend(std::mem::take(&mut batch).iter().map(number_of));
        }
        numbers
    });
    let mut moves = 0;
    while !sender.is_finished() {
        tokio::time::sleep(MOVE_EVERY).await;
        one.move_over().await;
        two.move_over().await;
        moves += 2;
        // As often as one identity may join in so short a time, less the first.
        if moves >= 30 {
            break;
        }
    }
    let numbers = receiver.await.unwrap();
    drop(sender.await.unwrap());
    assert!(moves >= 6, "{moves} moves");
    let wrong: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(wrong.is_empty() && numbers.len() == FRAMES as usize, "{} frames after {moves} moves, {wrong:?}", numbers.len());
}
