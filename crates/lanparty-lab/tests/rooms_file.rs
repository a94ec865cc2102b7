//! Rooms that a relay's operator has written down: who gets in, who does not and why, and what happens to whom when that changes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Output, Pinging, Proc};
use programs::SOON;
use serde_json::Value;
use town::{Town, ready};

/// Exit code of a program that the relay refused, and of one that was started wrongly.
const REFUSED: i32 = 4;
const WRONG: i32 = 2;

/// The relay has a file of rooms.
impl Town {
    fn relay_of(&self, rooms: &str) -> Proc {
        let rooms = self.write("rooms.toml", rooms);
        self.relay(&["--rooms", &rooms])
    }

    /// Writes the rooms anew, and has the relay read them.
    fn reload(&self, relay: &Proc, rooms: &str) -> String {
        self.write("rooms.toml", rooms);
        let mark = relay.mark();
        Command::new("kill").args(["-HUP", &relay.pid().to_string()]).status().unwrap();
        relay
            .wait_for_line(mark, "what it read", |line| line.contains("rooms read anew") || line.contains("stay as they are"), SOON)
            .unwrap()
    }

    /// A client that is in, and its address.
    fn member(&self, machine: usize, room: &str, more: &[&str]) -> (Proc, Ipv4Addr) {
        let client = self.client(machine, room, more);
        // IPv6 may be first.
        let is_set = |line: &str| line.contains("/24 (auto) is set on");
        let line = client.wait_for_line(0, "its IPv4 address", is_set, SOON).unwrap_or_else(|e| panic!("{e}\n{}", client.tail()));
        let address = line.split("address ").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        (client, address.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    }

    /// The exit code and last words of a client that is not let in.
    fn refused(&self, machine: usize, room: &str, more: &[&str]) -> (i32, String) {
        let client = self.client(machine, room, more);
        (client.exit_code(SOON).unwrap(), client.lines().join("\n"))
    }

    fn relay_status(&self) -> Value {
        self.programs.status(&self.relay_host, "lanparty-relay")
    }

    /// The hash that the relay's own command makes of a password.
    fn hash(&self, password: &str) -> String {
        let mut hashing = Command::new(self.programs.path("lanparty-relay"))
            .arg("password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        hashing.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        let output = hashing.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// The key that a refusal names.
fn key_in(words: &str) -> String {
    let at = words.find("key is ").unwrap_or_else(|| panic!("no key in {words}"));
    words[at + 7..].chars().take(64).collect()
}

fn user(name: &str, hash: &str) -> String {
    format!("[[room.user]]\nname = \"{name}\"\npassword = \"{hash}\"\n")
}

#[test]
fn who_is_allowed_gets_in_and_everybody_else_reads_why_not_once() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms-file", 3);
    let club = format!("[[room]]\nname = \"CLUB\"\ngateway = false\n{}", user("anna", &town.hash("right")));
    let open = "[[room]]\nmatch = \"party-[0-9]+\"\nmembers = 1\n";
    let relay = town.relay_of(&format!("{open}{club}"));
    let (right, wrong) = (town.write("right", "right\n"), town.write("wrong", "hunter2\n"));

    let (code, words) = town.refused(0, "party", &[]);
    assert!(code == REFUSED && words.contains("NotAllowed") && words.contains("next step"), "{words}");
    let key = key_in(&words);
    let (code, closed) = town.refused(0, "CLUB", &["--user", "anna", "--password-file", &wrong]);
    assert_eq!(code, REFUSED);
    let (_, nobody) = town.refused(0, "CLUB", &["--user", "bert", "--password-file", &right]);
    let (_, nowhere) = town.refused(0, "CLUB2", &["--user", "anna", "--password-file", &right]);
    let error = |words: &str| words.lines().find(|line| line.contains("error:")).unwrap().replace("CLUB2", "CLUB");
    assert_eq!((error(&closed), error(&nobody)), (error(&nowhere), error(&nowhere)), "strangers learn nothing");
    for reason in ["user anna has another password", "user bert is not known in it", "there is no such room"] {
        relay.wait_for(reason, SOON).unwrap();
    }
    assert!(!relay.lines().join("\n").contains("hunter2") && !closed.contains("hunter2"), "no log shows a password");

    let (_anna, _) = town.member(0, "CLUB", &["--user", "anna", "--password-file", &right, "--description", "anna's\u{202e} PC"]);
    let (_second, _) = town.member(1, "CLUB", &["--user", "anna", "--password-file", &right]);
    let status = town.status(1);
    assert_eq!(status["members"][0]["description"], "anna's PC");
    let room = &town.relay_status()["rooms"][0];
    assert_eq!((&room["closed"], &room["members"][0]["user"]), (&Value::Bool(true), &Value::from("anna")));

    let (_first, _) = town.member(2, "party-1", &[]);
    let full = town.programs.program(&town.machines[1], "lanparty").arg("client").args(town.programs.member_options("party-1"));
    let full = town.machines[1].spawn(full.args(["--tap-name", "lan1", "--address", "none", "--no-direct"])).unwrap();
    assert_eq!(full.exit_code(SOON).unwrap(), REFUSED);
    assert!(full.tail().contains("is full"), "{}", full.tail());

    // By key, from what the refusal said.
    let listed = format!("[[room]]\nname = \"party\"\n[[room.member]]\nkey = \"{key}\"\n");
    assert!(town.reload(&relay, &format!("{open}{club}{listed}")).contains("changes=1"));
    let listed = town.programs.program(&town.machines[0], "lanparty").arg("client").args(town.programs.member_options("party"));
    let listed = town.machines[0].spawn(listed.args(["--tap-name", "lan1", "--address", "none", "--no-direct"])).unwrap();
    listed.wait_for("TAP is up", SOON).unwrap();
}

#[test]
fn a_gateway_is_refused_where_the_operator_allows_none() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms-gateway", 1);
    let _relay = town.relay_of("[[room]]\nname = \"ROOM1\"\ngateway = false\n");
    town.machines[0].ip("link add lan type veth peer name lanp").unwrap();
    town.machines[0].ip("link set lan up").unwrap();
    town.machines[0].ip("link set lanp up").unwrap();
    let gateway = town.programs.start_gateway(&town.machines[0], "ROOM1");
    assert_eq!(gateway.exit_code(SOON).unwrap(), REFUSED);
    assert!(gateway.tail().contains("NoGateway") && gateway.tail().contains("next step"), "{}", gateway.tail());
}

#[test]
fn other_rooms_cost_nobody_a_frame_who_is_allowed_and_end_those_who_are_not() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms-reload", 3);
    let relay = town.relay_of("[[room]]\nname = \"ROOM1\"\n[[room]]\nname = \"ROOM2\"\n");
    let (_one, _) = town.member(0, "ROOM1", &[]);
    let (_two, address) = town.member(1, "ROOM1", &[]);
    let (gone, _) = town.member(2, "ROOM2", &[]);
    let pings = Pinging::start(&town.machines[0], address, Duration::from_millis(20), Duration::from_secs(5)).unwrap();
    thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    assert!(town.reload(&relay, "[[room]]\nnmae = \"ROOM1\"\n").contains("stay as they are"));
    assert!(gone.running(), "a file with a mistake changes nothing");
    assert!(town.reload(&relay, "[[room]]\nname = \"ROOM1\"\nmembers = 2\nbandwidth = \"50 Mbit/s\"\n").contains("changes=2"));
    assert_eq!(gone.exit_code(SOON).unwrap(), REFUSED);
    assert!(gone.tail().contains("closed room ROOM2"), "{}", gone.tail());
    for n in 0..10 {
        town.reload(&relay, &format!("[[room]]\nname = \"ROOM1\"\nmembers = {}\n", 2 + n));
    }
    assert!(began.elapsed() < Duration::from_secs(4), "while the pings run");
    let answers = pings.finish().unwrap();
    assert_eq!(answers.times.len() as u32, answers.sent, "{answers:?}");
}

#[test]
fn a_rooms_bandwidth_is_kept_to_and_what_is_over_it_is_counted() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms-bandwidth", 2);
    let _relay = town.relay_of("[[room]]\nname = \"ROOM1\"\nbandwidth = \"8 Mbit/s\"\n");
    let (_one, _) = town.member(0, "ROOM1", &[]);
    let (_two, address) = town.member(1, "ROOM1", &[]);
    const LEN: usize = 4 << 20;
    let took = lanparty_lab::transfer(&town.machines[0], &town.machines[1], address.into(), LEN).unwrap();
    let rate = LEN as f64 * 8.0 / took.as_secs_f64() / 1e6;
    let bandwidth = &town.relay_status()["rooms"][0]["bandwidth"];
    println!("{rate:.1} Mbit/s in {took:?}; {bandwidth}");
    assert!(rate < 8.8 && rate > 2.0, "{rate:.1} Mbit/s of 8, with what may be sent at once");
    assert!(bandwidth["bits_per_second"] == 8_000_000 && bandwidth["frames_dropped"].as_u64().unwrap() > 0);
}

#[test]
fn a_relay_that_strangers_reach_starts_with_rooms_or_when_told_to_be_open() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms-start", 0);
    let run = |words: &[&str]| -> Output {
        town.programs.run_through(&town.relay_host, &["timeout", "2"], &[&["lanparty-relay"], words].concat())
    };
    for refused in [&[][..], &["--dev-cert-der-out", "/dev/null"]].map(run) {
        assert_eq!(refused.status.code(), Some(WRONG));
        assert!(refused.stderr.contains("--rooms FILE") && refused.stderr.contains("--open"), "{}", refused.stderr);
    }
    for starts in [&["--open"][..], &["--listen", "127.0.0.1:8443"]] {
        assert!(run(starts).stdout.contains("listening on"), "{starts:?}");
    }
    let front = ["--listen", "127.0.0.1:8443", "--listen-plain", "127.0.0.1:8444", "--public-name", "x"];
    let behind = run(&front);
    assert_eq!(behind.status.code(), Some(WRONG), "others are behind what stands in front");
    assert!(behind.stderr.contains("on 127.0.0.1:8444 (--listen-plain)"), "{}", behind.stderr);
    let bad = town.write("bad.toml", "[[room]]\nmatch = \"(((a{99}){99}){99}){99}\"\nnets = [\"10.0.0.0/33\"]\ngatway = true\n");
    let check = run(&["check", &bad]);
    assert_eq!(check.status.code(), Some(WRONG));
    for words in ["bad.toml:2: the expression becomes too large", "bad.toml:3: /33 is longer", "did you mean `gateway`"] {
        assert!(check.stderr.contains(words), "{words}: {}", check.stderr);
    }
    let many: String = (1..=30).map(|n| format!("[[room]]\nname = \"R{n}\"\nmembers = 0\n")).collect();
    let many = town.write("many.toml", &many);
    let told = |words: &[&str]| run(words).stderr.lines().filter(|line| line.contains("many.toml:")).count();
    assert_eq!(told(&["check", &many]), 30, "everything that is wrong with it");
    assert_eq!(told(&["--rooms", &many]), 12, "a relay's log is told enough");
    let list = town.write("community.list", "netleo\n* logan nHWum\nntop[0-1][0-9]\nhome 192.168.168.0/24\nmy:net\n");
    let imported = run(&["import-communities", &list]).success().unwrap();
    assert!(imported.stderr.contains("line 2: user logan") && imported.stderr.contains("line 5: `my:net`"), "{}", imported.stderr);
    let rooms = town.write("imported.toml", &imported.stdout);
    assert!(run(&["check", &rooms]).success().unwrap().stdout.contains("3 rooms, 1 of them closed"));
}
