//! Multicast with real senders and receivers: who joined gets it for as long as he wants, whatever becomes of the relay, and nobody else.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/capture.rs"]
mod capture;
#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use capture::Capture;
use lanparty_lab::Proc;
use programs::{SOON, TAP};
use town::{Town, eventually_is, ready};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const MDNS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5001;
const PACE: Duration = Duration::from_millis(5);
/// The first questions of a client to its own host, and the answers, are over by then.
const KNOWN: Duration = Duration::from_secs(7);
/// When the last listener left, the others are asked for two seconds; and the relay is told.
const LEFT: Duration = Duration::from_secs(4);

/// Machines that sit in one room.
impl Town {
    fn sit(&self, machine: usize, more: &[&str]) -> Proc {
        let [ipv4, ipv6] = [format!("static:{}/24", address(machine)), format!("static:fd00:60::{}/64", machine + 10)];
        let addresses = ["--address", &ipv4, "--address", &ipv6];
        let client = self.programs.start_client(&self.machines[machine], "TABLE", &[&addresses[..], more].concat());
        client.wait_for("is set on lan0", SOON).unwrap();
        client
    }

    /// A program on that machine that has joined the group.
    fn receiver(&self, machine: usize, group: Ipv4Addr) -> Receiver {
        let own = address(machine);
        let socket = self.machines[machine].enter(|| {
            let socket = UdpSocket::bind((group, PORT)).unwrap();
            socket.join_multicast_v4(&group, &own).unwrap();
            socket
        });
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Receiver(socket)
    }

    /// Machine 0 sends numbered packets to the group.
    fn send(&self, group: Ipv4Addr, count: u32) {
        let socket = self.machines[0].enter(|| UdpSocket::bind((address(0), 0)).unwrap()).unwrap();
        socket.set_multicast_ttl_v4(4).unwrap();
        for n in 0..count {
            socket.send_to(&n.to_be_bytes(), (group, PORT)).unwrap();
            thread::sleep(PACE);
        }
    }

    fn tap(&self, machine: usize) -> Capture {
        Capture::open(&self.machines[machine], TAP)
    }
}

fn address(machine: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 60, 0, u8::try_from(machine).unwrap() + 10)
}

struct Receiver(UdpSocket);

impl Receiver {
    /// How many different packets have come.
    fn count(&self) -> usize {
        let (mut seen, mut buffer) = (std::collections::BTreeSet::new(), [0; 64]);
        while let Ok((len, _)) = self.0.recv_from(&mut buffer) {
            seen.insert(buffer[..len].to_vec());
        }
        seen.len()
    }
}

/// How many frames to that group have crossed the interface.
fn frames_to(capture: &mut Capture, group: Ipv4Addr) -> usize {
    let frames = std::iter::from_fn(|| capture.next(Duration::from_millis(200)));
    frames.filter(|frame| frame[12..14] == [8, 0] && frame[30..34] == group.octets()).count()
}

#[test]
fn a_stream_reaches_those_that_joined_also_after_the_relay_restarted_and_nobody_else() {
    if !ready() {
        return;
    }
    let table = Town::new("streams", 4);
    let relay = table.relay(&["--multicast", "snooped"]);
    let clients: Vec<_> = (0..4).map(|machine| table.sit(machine, &["--no-direct"])).collect();
    let (one, other) = (table.receiver(1, GROUP), table.receiver(2, GROUP));
    thread::sleep(KNOWN);
    let joined = |machine: usize| table.status(machine)["frames"]["multicast"]["joined"].clone();
    eventually_is("both are known to listen", || joined(1) == serde_json::json!(["239.1.2.3"]) && joined(2) == joined(1));
    assert_eq!(joined(3), serde_json::json!([]), "{}", clients[3].tail());
    let mut strangers_tap = table.tap(3);
    table.send(GROUP, 200);
    assert_eq!((one.count(), other.count(), frames_to(&mut strangers_tap, GROUP)), (200, 200, 0));
    // One leaves.
    drop(other);
    thread::sleep(LEFT);
    let mut left_tap = table.tap(2);
    table.send(GROUP, 50);
    assert_eq!((one.count(), frames_to(&mut left_tap, GROUP)), (50, 0));
    // The relay forgets everything.
    let marks: Vec<_> = clients.iter().map(Proc::mark).collect();
    relay.kill9();
    let _relay = table.relay(&["--multicast", "snooped"]);
    for (client, mark) in clients.iter().zip(marks) {
        client.wait_for_after(mark, "again=true", SOON).unwrap();
    }
    table.send(GROUP, 100);
    assert_eq!((one.count(), frames_to(&mut strangers_tap, GROUP), frames_to(&mut left_tap, GROUP)), (100, 0, 0));
    // Nobody listens to this one, and the relay says so.
    table.send(Ipv4Addr::new(239, 9, 9, 9), 10);
    let relays = table.programs.status(&table.relay_host, "lanparty-relay");
    let sender = relays["rooms"][0]["members"].as_array().unwrap().iter().find(|m| m["member"] == table.status(0)["peer"]).unwrap();
    assert_eq!(sender["from_member"]["dropped"]["Multicast"], 10, "{relays:#}");
    let listens =
        relays["rooms"][0]["members"].as_array().unwrap().iter().filter(|m| m["groups"] == serde_json::json!(["239.1.2.3"])).count();
    assert_eq!(listens, 1);
}

#[test]
fn without_a_relay_direct_links_carry_a_stream_to_those_that_joined() {
    if !ready() {
        return;
    }
    let table = Town::new("island", 3);
    let relay = table.relay(&["--multicast", "snooped"]);
    let _clients: Vec<_> = (0..3).map(|machine| table.sit(machine, &[])).collect();
    let one = table.receiver(1, GROUP);
    let ways = || table.status(0)["peers"].as_array().unwrap().iter().filter(|peer| peer["way"] == "direct").count();
    eventually_is("both are reached directly", || {
        table.machines[0].run_any(&["ping", "-c1", "-W1", &address(1).to_string()]).unwrap();
        table.machines[0].run_any(&["ping", "-c1", "-W1", &address(2).to_string()]).unwrap();
        ways() == 2
    });
    thread::sleep(KNOWN);
    let mut strangers_tap = table.tap(2);
    table.send(GROUP, 100);
    assert_eq!((one.count(), frames_to(&mut strangers_tap, GROUP)), (100, 0), "by the relay, beside direct links");
    relay.kill9();
    eventually_is("the relay is missed", || table.status(0)["relay_reachable"] == false);
    table.send(GROUP, 100);
    assert_eq!((one.count(), frames_to(&mut strangers_tap, GROUP)), (100, 0), "by direct links alone");
    let stranger = table.status(2);
    assert!(stranger["frames"]["inbound"]["dropped"]["Multicast"].as_u64().unwrap() >= 100, "{stranger:#}");
}

#[test]
fn without_a_word_machines_find_each_other_and_a_stream_is_refused_with_words() {
    if !ready() {
        return;
    }
    let table = Town::new("words", 3);
    let _relay = table.relay(&[]);
    let sender = table.sit(0, &["--no-direct"]);
    let _others = [table.sit(1, &["--no-direct"]), table.sit(2, &["--no-direct", "--multicast", "none"])];
    let (stream, names, without) = (table.receiver(1, GROUP), table.receiver(1, MDNS), table.receiver(2, MDNS));
    let mut strangers_tap = table.tap(2);
    table.send(GROUP, 50);
    table.send(MDNS, 50);
    assert_eq!((stream.count(), names.count(), without.count(), frames_to(&mut strangers_tap, MDNS)), (0, 50, 0, 0));
    let line = sender.wait_for("multicast to group 239.1.2.3 from", SOON).unwrap();
    println!("{line}");
    assert!(line.contains("is not forwarded: policy discovery; the room's policy is the relay's: use --multicast snooped there"), "{line}");
    let status = table.status(0);
    assert_eq!(status["frames"]["outbound"]["dropped"]["Multicast"], 50, "{status:#}");
    assert_eq!(status["frames"]["multicast"]["not_sent"][0]["group"], "239.1.2.3");
    let words = table.programs.run(&table.machines[0], &["lanparty", "status"]).stdout;
    println!("{words}");
    assert!(words.contains("multicast: discovery") && words.contains("not sent: 239.1.2.3 (50 frames"), "{words}");
    // IPv6 finds its neighbours by multicast, also where there is none.
    let finds = || table.machines[0].run_any(&["ping", "-6", "-c1", "-W1", "fd00:60::12"]).unwrap().status.success();
    eventually_is("the neighbour without multicast answers", finds);
}
