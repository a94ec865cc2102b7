//! Names of members by mDNS, as Avahi on another member's machine resolves them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Namespace, Proc, Program, Requirements, Tool};
use programs::{ROOM, SOON, TAP};
use town::Town;

/// Avahi and the bus by which it is asked, with a `/run` of their own.
const AVAHI: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/avahi-daemon
dbus-daemon --system --nopidfile --fork
printf '%s' "$1" > /run/avahi.conf
exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f /run/avahi.conf
"#;
const AVAHI_CONFIG: &str = "[server]\nhost-name=resolver\nuse-ipv4=yes\nuse-ipv6=yes\nallow-interfaces=lan0\n\
    [publish]\npublish-workstation=no\npublish-hinfo=no\n";

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Avahi, Tool::AvahiResolve, Tool::Dbus]).ready_or_skip()
}

/// A client that has its address.
fn client(town: &Town, machine: usize, more: &[&str]) -> Proc {
    let client = town.client(machine, ROOM, more);
    client.wait_for_line(0, "an IPv4 address is set", |line| line.contains("address 10.") && line.contains("is set on"), SOON).unwrap();
    client
}

fn address(town: &Town, machine: usize) -> String {
    town.machines[machine].ipv4(TAP).unwrap().unwrap().to_string()
}

/// Avahi on a member's machine.
struct Resolver<'a> {
    host: &'a Namespace,
    avahi: Proc,
}

impl<'a> Resolver<'a> {
    fn start(host: &'a Namespace) -> Self {
        let avahi = Program::new("unshare").named("avahi").args(["-m", "sh", "-c", AVAHI, "-", AVAHI_CONFIG]);
        let avahi = host.spawn(avahi).unwrap();
        avahi.wait_for("Server startup complete", SOON).unwrap();
        Self { host, avahi }
    }

    fn ask(&self, words: &[&str]) -> String {
        let pid = self.avahi.pid().to_string();
        let output = self.host.run_any(&[&["timeout", "8", "nsenter", "-t", &pid, "-m"], words].concat()).unwrap();
        output.stdout
    }

    /// The address of a name, by one IP version.
    fn address(&self, version: &str, name: &str) -> Option<String> {
        self.ask(&["avahi-resolve", version, "-n", name]).split_whitespace().nth(1).map(str::to_owned)
    }

    fn eventually(&self, name: &str, expected: Option<&str>) {
        let deadline = Instant::now() + SOON;
        loop {
            let found = self.address("-4", name);
            if found.as_deref() == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {found:?}, not {expected:?}\n{}", self.avahi.tail());
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn members_are_found_by_name_wherever_they_are_and_not_when_they_have_left() {
    if !ready() {
        return;
    }
    let town = Town::new("names", 3);
    let _relay = town.relay(&["--auto-pool", "10.128.0.0/24"]);
    let anna = client(&town, 0, &["--mdns", "--description", "Anna's PC"]);
    let _berta = client(&town, 1, &[]);
    let avahi = Resolver::start(&town.machines[1]);
    avahi.eventually("annas-pc.local", Some(&address(&town, 0)));
    anna.wait_for("this machine is found as annas-pc.local", SOON).unwrap();
    assert_eq!((&town.status(0)["mdns_name"], &town.status(1)["mdns_name"]), (&"annas-pc.local".into(), &serde_json::Value::Null));
    let ipv6 = avahi.address("-6", "annas-pc.local").unwrap();
    assert!(town.machines[0].ip(&format!("-6 addr show dev {TAP}")).unwrap().stdout.contains(&ipv6), "{ipv6}");

    // Another of the same name takes another one.
    let carla = client(&town, 2, &["--mdns", "--description", "annas-pc"]);
    carla.wait_for("annas-pc.local is another machine's name in the room; this one is called annas-pc-2.local", SOON).unwrap();
    avahi.eventually("annas-pc-2.local", Some(&address(&town, 2)));
    avahi.eventually("annas-pc.local", Some(&address(&town, 0)));
    assert_eq!(town.status(2)["mdns_name"], "annas-pc-2.local");

    // The address changes, and the name follows.
    let before = address(&town, 0);
    town.machines[0].ip(&format!("addr add 10.128.0.250/24 dev {TAP}")).unwrap();
    town.machines[0].ip(&format!("addr del {before}/24 dev {TAP}")).unwrap();
    town.machines[0].ip(&format!("addr replace 10.128.0.250/24 dev {TAP}")).unwrap();
    avahi.eventually("annas-pc.local", Some("10.128.0.250"));

    // Avahi remembers a name for two minutes, unless it hears that it is gone.
    carla.sigterm();
    assert_eq!(carla.exit_code(SOON).unwrap(), 0, "{}", carla.tail());
    avahi.eventually("annas-pc-2.local", None);
    assert!(anna.running());
}

#[test]
fn without_a_word_nobody_is_told_a_name() {
    if !ready() {
        return;
    }
    let town = Town::new("names-none", 2);
    let _relay = town.relay(&["--auto-pool", "10.128.0.0/24"]);
    let _anna = client(&town, 0, &["--description", "anna"]);
    let _berta = client(&town, 1, &[]);
    let avahi = Resolver::start(&town.machines[1]);
    assert_eq!(avahi.address("-4", "anna.local"), None);
}

/// A question for the name, and what another machine tells of its own, with names that are compressed.
const QUESTION: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x08annas-pc\x05local\0\0\x01\0\x01";
const ANSWER: &[u8] = b"\0\0\x84\0\0\0\0\x05\0\0\0\0\x08bertaspc\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\x80\0\x07\
    \x08bertaspc\x09_lanparty\x04_udp\xc0\x15\0\x21\x80\x01\0\0\0\x78\0\x08\0\0\0\0\0\x09\xc0\x0c\
    \xc0\x33\0\x0c\0\x01\0\0\x11\x94\0\x02\xc0\x2a\xc0\x2a\0\x10\x80\x01\0\0\x11\x94\0\x05\x04a=bc\
    \xc0\x0c\0\x2f\x80\x01\0\0\0\x78\0\x08\xc0\x0c\0\x04\x40\0\0\x08";
const GARBAGE: u32 = 40_000;

#[test]
fn what_is_no_mdns_makes_nobody_fall() {
    if !ready() {
        return;
    }
    let town = Town::new("names-garbage", 2);
    let _relay = town.relay(&["--auto-pool", "10.128.0.0/24"]);
    let anna = client(&town, 0, &["--mdns", "--description", "Anna's PC"]);
    let _berta = client(&town, 1, &[]);
    anna.wait_for("this machine is found as annas-pc.local", SOON).unwrap();
    let to = format!("{}:5353", address(&town, 0));
    town.machines[1]
        .enter(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:5353").unwrap();
            let mut state = 0x2545_f491_u32;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state
            };
            for n in 0..GARBAGE {
                let mut message = if random() % 4 == 0 { QUESTION.to_vec() } else { ANSWER.to_vec() };
                for _ in 0..random() % 6 {
                    let at = random() as usize % message.len();
                    message[at] = [random() as u8, 0xc0, 0xff, 0, 1][random() as usize % 5];
                }
                if random() % 8 == 0 {
                    message.truncate(random() as usize % message.len());
                }
                socket.send_to(&message, &to).unwrap();
                if n % 100 == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        })
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(anna.running(), "{}", anna.tail());
    let avahi = Resolver::start(&town.machines[1]);
    avahi.eventually("annas-pc.local", Some(&address(&town, 0)));
}
