//! A traffic filter in a real client: a game's port passes both ways and nothing else does, in both grammars, and the rules are
//! counted. What the rules are worth beforehand, `lanparty filter check` says.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

#[path = "support/capture.rs"]
mod capture;
#[path = "support/injector.rs"]
mod injector;
mod support;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use capture::Capture;
use injector::Injector;
use lanparty_lab::{LAN, Namespace, Party, ping};
use lanparty_proto::MacAddr;
use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};
use serde_json::Value;
use support::{Evening, SOON, TAP, ready};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x73, 0, 0, 0, 0, 0, 0x99);
const PC_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x73, 0, 0, 0, 0, 0, 0x11);
const GAME: u16 = 27015;
/// Long enough for a packet that passes, on a busy machine; each of those that do not pass costs it.
const SILENCE: Duration = Duration::from_millis(700);

const RULES: [&str; 6] = [
    "0.0.0.0/0,0.0.0.0/0,TCP-,UDP-,ICMP-",
    "::/0,::/0,TCP-,UDP-,ICMP-",
    "10.73.42.0/24,10.73.42.0/24:27015,UDP+",
    "10.73.42.0/24:27015,10.73.42.0/24,UDP+",
    "fd00:73::/64,fd00:73::/64:27015,UDP+",
    "fd00:73::/64:27015,fd00:73::/64,UDP+",
];

const FILE: &str = r#"
default = "drop"

[[rule]]
name = "to the game"
from = "10.73.42.0/24"
to = "10.73.42.0/24"
to-ports = 27015
accept = "udp"

[[rule]]
name = "from the game"
from = "10.73.42.0/24"
from-ports = 27015
to = "10.73.42.0/24"
accept = "udp"

[[rule]]
from = "fd00:73::/64"
to = "fd00:73::/64"
to-ports = 27015
accept = "udp"

[[rule]]
from = "fd00:73::/64"
from-ports = 27015
to = "fd00:73::/64"
accept = "udp"
"#;

/// Whether `len` bytes of UDP get from one to the other, and the same back.
fn udp_goes_round(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), port: u16, len: usize) -> bool {
    let bound = |host: &Namespace, at| host.enter(|| UdpSocket::bind(at).unwrap()).unwrap();
    let (server, client) = (bound(to.0, SocketAddr::new(to.1, port)), bound(from.0, SocketAddr::new(from.1, 0)));
    let mut buffer = vec![0; 65_536];
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(SILENCE)).unwrap();
    }
    // The first may meet a neighbour that is not known yet, or be too large and tell its sender.
    for _ in 0..3 {
        if client.send_to(&vec![7; len], server.local_addr().unwrap()).is_err() {
            continue;
        }
        let Ok((got, peer)) = server.recv_from(&mut buffer) else { continue };
        server.send_to(&buffer[..got], peer).unwrap();
        if client.recv_from(&mut buffer).is_ok_and(|(back, _)| back == len) {
            return true;
        }
    }
    false
}

fn tcp_connects(from: &Namespace, to: (&Namespace, IpAddr), port: u16) -> bool {
    let at = SocketAddr::new(to.1, port);
    let _listener = to.0.enter(|| TcpListener::bind(at).unwrap()).unwrap();
    match from.enter(|| TcpStream::connect_timeout(&at, SILENCE)).unwrap() {
        Ok(_) => true,
        Err(e) => {
            assert!(matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable), "{e}");
            false
        }
    }
}

/// What passes between the remote player and a host of the LAN.
fn passes(evening: &Evening) -> Vec<(&'static str, bool)> {
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let (player, host) = ((home, IpAddr::from(CLIENT)), (pc, IpAddr::from(Party::pc_address(1))));
    let (player_v6, host_v6) = ((home, IpAddr::from(CLIENT_V6)), (pc, IpAddr::from(PC_V6)));
    vec![
        ("the game", udp_goes_round(player, host, GAME, 100)),
        ("the game by IPv6", udp_goes_round(player_v6, host_v6, GAME, 100)),
        ("the game in fragments", udp_goes_round(player, host, GAME, 4000)),
        ("the game by IPv6 in fragments", udp_goes_round(player_v6, host_v6, GAME, 4000)),
        ("a game of the player's own", udp_goes_round(host, player, GAME, 100)),
        ("that by IPv6", udp_goes_round(host_v6, player_v6, GAME, 100)),
        ("another port", udp_goes_round(player, host, GAME + 1, 100)),
        ("another port by IPv6", udp_goes_round(player_v6, host_v6, GAME + 1, 100)),
        ("another port in fragments", udp_goes_round(player, host, GAME + 1, 4000)),
        ("TCP at the game's port", tcp_connects(home, host, GAME)),
        ("TCP at the player's", tcp_connects(pc, player, GAME)),
        ("ping", ping(home, Party::pc_address(1), 1).unwrap().received > 0),
    ]
}

/// The first six pass.
fn is_as_it_should_be(seen: &[(&str, bool)]) {
    for (n, (what, passes)) in seen.iter().enumerate() {
        assert_eq!(*passes, n < 6, "{what}: {seen:?}");
    }
}

fn start(evening: &Evening, options: &[&str]) -> lanparty_lab::Proc {
    let client = evening.client(options);
    let home = &evening.party.home;
    home.run(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", TAP]).unwrap();
    home.run(&["ip", "addr", "add", &format!("{CLIENT_V6}/64"), "dev", TAP, "nodad"]).unwrap();
    client
}

fn dropped(status: &Value, direction: &str) -> u64 {
    status["frames"][direction]["dropped"]["Filtered"].as_u64().unwrap()
}

#[test]
fn a_game_passes_and_nothing_else_in_both_grammars() {
    if !ready() {
        return;
    }
    let evening = Evening::new("filter");
    let home = &evening.party.home;
    evening.party.pc(1).run(&["ip", "addr", "add", &format!("{PC_V6}/64"), "dev", LAN, "nodad"]).unwrap();
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    fs::write(evening.dir(home).join("rules.toml"), FILE).unwrap();
    let by_flags: Vec<&str> = RULES.iter().flat_map(|rule| ["--filter-rule", rule]).collect();
    for (options, rules) in [(&by_flags[..], RULES.len()), (&["--filter", "rules.toml"], 4)] {
        let client = start(&evening, options);
        is_as_it_should_be(&passes(&evening));
        let status = evening.status(home);
        let filter = &status["frames"]["filter"];
        assert_eq!(filter["rules"].as_array().unwrap().len(), rules, "{filter:#}");
        let decided = |n: usize| filter["rules"][n]["hits"].as_array().unwrap().iter().all(|hits| hits.as_u64().unwrap() > 0);
        assert!((rules - 4..rules).all(decided), "every game rule decides both ways: {filter:#}");
        assert!(dropped(&status, "outbound") > 0 && dropped(&status, "inbound") > 0, "{:#}", status["frames"]);
        let words = evening.lanparty(home, &["status"]).success().unwrap().stdout;
        assert!(words.contains(&format!("filter: {rules} rules; default ")) && words.contains("Filtered "), "{words}");
        client.sigterm();
        client.exit_code(SOON).unwrap();
    }
    let client = start(&evening, &[]);
    assert!(passes(&evening).iter().all(|(_, passes)| *passes), "without a filter everything passes");
    assert!(evening.status(home)["frames"]["filter"].is_null());
    drop(client);
}

#[test]
fn a_check_says_beforehand_what_happens_and_why() {
    if !ready() {
        return;
    }
    let evening = Evening::new("check");
    let home = &evening.party.home;
    let file = evening.dir(home).join("rules.toml");
    fs::write(&file, FILE).unwrap();
    let file = file.display().to_string();
    let packets = [
        ("udp,10.73.42.99:40000,10.73.42.11:27015", true),
        ("udp,10.73.42.11:27015,10.73.42.99:40000", true),
        ("udp,[fd00:73::99]:40000,[fd00:73::11]:27015", true),
        ("udp,10.73.42.99:40000,10.73.42.11:27016", false),
        ("tcp,10.73.42.99:40000,10.73.42.11:27015", false),
        ("icmp,10.73.42.99,10.73.42.11", false),
        ("icmp,fd00:73::99,fd00:73::11", false),
        ("arp", true),
    ];
    let by_flags: Vec<&str> = RULES.iter().flat_map(|rule| ["--filter-rule", rule]).collect();
    for rules in [&by_flags[..], &[file.as_str()]] {
        let asked: Vec<&str> = packets.iter().flat_map(|(packet, _)| ["--packet", packet]).collect();
        let output = evening.lanparty(home, &[&["filter", "check", "--json"], rules, &asked].concat());
        assert_eq!(output.status.code(), Some(1), "some are dropped: {}", output.stderr);
        let said: Value = serde_json::from_str(&output.stdout).unwrap();
        for (said, (packet, passes)) in said["packets"].as_array().unwrap().iter().zip(packets) {
            assert_eq!((&said["packet"], said["verdict"] == "accept"), (&Value::from(packet), passes), "{said}");
        }
    }
    let words = evening.lanparty(home, &["filter", "check", &file, "--packet", packets[0].0]);
    assert_eq!(words.status.code(), Some(0));
    assert!(words.stdout.contains("passes: rule 1 (to the game)") && words.stdout.contains("48 bits"), "{}", words.stdout);
}

#[test]
fn rules_that_are_none_are_told_before_anything_is_done() {
    if !ready() {
        return;
    }
    let evening = Evening::new("wrong");
    let home = &evening.party.home;
    let _relay = evening.relay();
    fs::write(evening.dir(home).join("bad.toml"), "defalt = \"drop\"\n[[rule]]\nto = \"10.0.0.0/33\"\naccept = \"udp\"\n").unwrap();
    for (options, words) in [
        (["--filter", "bad.toml"], &["bad.toml:1: unknown key `defalt`, did you mean `default`?", "bad.toml:3: ", "/33"][..]),
        (["--filter", "none.toml"], &["none.toml cannot be read"]),
        (["--filter-rule", "10.0.0.0/8:[9,5],10.0.0.1,UDP+"], &["at character 12", "[5,9]"]),
    ] {
        let client = evening.start_client(&options);
        assert_eq!(client.exit_code(SOON).unwrap(), 2, "{options:?}");
        // Its last words may still be on their way to the file.
        thread::sleep(Duration::from_millis(50));
        let said = client.lines().join("\n");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(home.run(&["ip", "link", "show", TAP]).is_err(), "there is no TAP");
    }
}

/// Frames of a host of the LAN that is no friend: each is to carry UDP to another port past the rules, or TCP.
fn evasions(from: MacAddr, to: MacAddr) -> Vec<Vec<u8>> {
    let v4 = |protocol| Ipv4 { src: Party::pc_address(1), dst: CLIENT, ..Ipv4::new(protocol) };
    let v6 = Ipv6 { src: PC_V6, dst: CLIENT_V6, ..Ipv6::default() };
    let (game, other) = (wire::udp(GAME, GAME, &[7; 16]), wire::udp(GAME + 1, GAME + 1, &[7; 16]));
    let chain = |count| vec![Header::new(Header::DESTINATION, 0); count];
    let packets = [
        // In fragments: a later one alone; the first of TCP without all of its header; one over the game's own first.
        (wire::IPV4, v4(wire::UDP).fragment(8, false).packet(&other)),
        (wire::IPV4, v4(wire::TCP).fragment(0, true).packet(&wire::tcp()[..16])),
        (wire::IPV4, v4(wire::UDP).fragment(0, true).packet(&game)),
        (wire::IPV4, v4(wire::UDP).fragment(2, false).packet(&other)),
        // Behind extension headers.
        (wire::IPV6, v6.packet(&chain(1), wire::UDP, &other)),
        (wire::IPV6, v6.packet(&chain(30), wire::UDP, &other)),
        (wire::IPV6, v6.packet(&[Header::fragment(0, false)], wire::UDP, &other)),
        (wire::IPV6, v6.packet(&[Header::fragment(8, false)], wire::UDP, &other)),
    ];
    packets.into_iter().map(|(kind, packet)| wire::ethernet(to, from, kind, &packet)).collect()
}

#[test]
fn fragments_and_header_chains_do_not_slip_past() {
    if !ready() {
        return;
    }
    let evening = Evening::new("evade");
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let rules: Vec<&str> = RULES.iter().flat_map(|rule| ["--filter-rule", rule]).collect();
    let _client = start(&evening, &rules);
    // The switch and the gateway know both.
    ping(pc, CLIENT, 1).unwrap();
    let (from, to): (MacAddr, MacAddr) = (pc.mac(LAN).unwrap().parse().unwrap(), evening.client_mac().parse().unwrap());
    let (mut capture, mut injector) = (Capture::open(home, TAP), Injector::plug(pc, LAN));
    let before = evening.status(home);
    let evasions = evasions(from, to);
    evasions.iter().for_each(|frame| assert!(injector.send(frame)));
    // What passes comes after all of them.
    let last = wire::ethernet(
        to,
        from,
        wire::IPV4,
        &Ipv4 { src: Party::pc_address(1), dst: CLIENT, ..Ipv4::new(wire::UDP) }.packet(&wire::udp(GAME, GAME, &[9; 77])),
    );
    assert!(injector.send(&last));
    let mut seen = vec![];
    while seen.last() != Some(&last) {
        seen.push(capture.next(SOON).expect("the last frame passes"));
    }
    let entered: Vec<usize> = (0..).zip(&evasions).filter(|(_, frame)| seen.contains(frame)).map(|(n, _)| n).collect();
    assert_eq!(entered, [2], "the game's own first fragment, and nothing else");
    let count = |status: &Value, reason| status["frames"]["inbound"]["dropped"][reason].as_u64().unwrap();
    let after = evening.status(home);
    let dropped = |reason| count(&after, reason) - count(&before, reason);
    assert!(dropped("Filtered") >= 6 && dropped("Malformed") == 1, "{:#}", after["frames"]);
}
