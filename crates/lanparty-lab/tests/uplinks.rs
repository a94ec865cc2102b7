//! The uplinks of a bond: which there are, what each is for, and what each may carry.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself")]

use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    Binaries, Bonded, Bulk, Captured, Dual, DualOptions, End, Endpoint, LAN, LineOptions, Namespace, NatKind, Offloads, Probe, Proc,
    Program, Programs, Requirements, Tool, Verdict, Way, veth,
};
use lanparty_proto::{
    Attach, BondPath, Control, ControlDecoder, DatagramBudget, Hello, MacAddr, PROTOCOL_VERSION, Refusal, Role, RoomCode, encode_control,
};
use serde_json::Value;

#[path = "support/host.rs"]
mod host;
#[expect(dead_code, reason = "its server is for the tests of errors")]
#[path = "support/stranger.rs"]
mod stranger;

use host::on;

/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// Ethernet's header, which no carrier counts.
const ETHERNET_LEN: usize = 14;

fn ready() -> bool {
    Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// DSL of 30 Mbit/s and LTE of 20, both 10 ms long.
fn dsl_and_lte() -> [LineOptions; 2] {
    [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 10.0)]
}

fn dual(name: &str, lines: impl IntoIterator<Item = LineOptions>) -> Dual {
    Dual::build(name, &DualOptions::new(lines)).unwrap()
}

/// What the client says of one uplink.
fn uplink(bonded: &Bonded<'_>, name: &str) -> Value {
    let status = bonded.client_status().unwrap();
    let all = status["bond"]["uplinks"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|uplink| uplink["interface"] == name).unwrap_or_default()
}

/// Waits for something that the client says.
fn wait_until(bonded: &Bonded<'_>, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "{what}: {}{}", bonded.client_status().unwrap()["bond"], bonded.client.tail());
        thread::sleep(ms(20));
    }
    begin.elapsed()
}

/// Waits until exactly these lines carry.
fn wait_for_paths(bonded: &Bonded<'_>, wanted: &[&str]) -> Duration {
    wait_until(bonded, &format!("{wanted:?} live"), || {
        let status = bonded.client_status().unwrap();
        let paths = status["bond"]["paths"].as_array().cloned().unwrap_or_default();
        let alive = paths.iter().filter(|path| path["is_alive"] == true);
        let mut alive: Vec<_> = alive.filter_map(|path| path["name"].as_str()).collect();
        alive.sort_unstable();
        alive == wanted
    })
}

/// A flow in one direction for two seconds.
fn bulk(bonded: &Bonded<'_>, way: Way) -> f64 {
    let [from, to] = bonded.ends(way);
    Bulk { flows: 1, warm_up: ms(500), window: ms(1500), ..Bulk::default() }.run(&from, &to).unwrap().mbit_s()
}

fn month_bytes(bonded: &Bonded<'_>, name: &str) -> u64 {
    uplink(bonded, name)["month_bytes"].as_u64().unwrap()
}

/// IP packets of a capture, both ways, in bytes.
fn ip_bytes(passed: &[Captured]) -> u64 {
    passed.iter().map(|frame| (frame.len - ETHERNET_LEN) as u64).sum()
}

#[test]
fn a_line_over_its_cap_is_a_backup_at_both_ends_and_in_the_next_process_until_the_month_ends() {
    if !ready() {
        return;
    }
    let uplinks = &["dsl0", "lte0,cap=0.003GB/month"];
    let dual = dual("uplinks-cap", dsl_and_lte());
    let mut bonded = Bonded::join(&dual, uplinks, &[]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    let (capture, before) = (dual.line("dsl0").capture().unwrap(), month_bytes(&bonded, "dsl0"));
    for way in Way::ALL {
        bulk(&bonded, way);
    }
    wait_until(&bonded, "lte0 is a backup", || uplink(&bonded, "lte0")["role"] == "backup");
    bonded.client.wait_for("it is a backup until the month ends", SOON).unwrap();
    thread::sleep(ms(600));
    let counted = month_bytes(&bonded, "dsl0") - before;
    let on_the_wire = ip_bytes(&capture.finish().unwrap());
    let cap = uplink(&bonded, "lte0")["cap"].clone();
    eprintln!("dsl0: {counted} bytes counted of {on_the_wire}; lte0: {cap}");
    assert!(counted.abs_diff(on_the_wire) < on_the_wire / 50 + 20_000, "{counted} of {on_the_wire}");
    assert!(cap["used"].as_u64().unwrap() >= 3_000_000 && cap["left"] == 0, "{cap}");

    let capture = dual.line("lte0").capture().unwrap();
    let rates = Way::ALL.map(|way| bulk(&bonded, way));
    let passed = ip_bytes(&capture.finish().unwrap());
    eprintln!("with a backup: {rates:.1?} Mbit/s, {passed} bytes by lte0");
    assert!(passed < 300_000, "neither end sends by a backup: {passed} bytes{}", bonded.client.tail());

    let before = ["dsl0", "lte0"].map(|name| month_bytes(&bonded, name));
    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    bonded.start_client_again(uplinks, &[]).unwrap();
    let after = ["dsl0", "lte0"].map(|name| month_bytes(&bonded, name));
    assert!(after[0] >= before[0] && after[1] >= before[1], "{before:?} {after:?}");
    assert_eq!(uplink(&bonded, "lte0")["role"], "backup");

    bulk(&bonded, Way::Down);
    let before = month_bytes(&bonded, "dsl0");
    bonded.client.kill9();
    bonded.start_client_again(uplinks, &[]).unwrap();
    let after = month_bytes(&bonded, "dsl0");
    eprintln!("killed at {before}, then {after}");
    assert!(after + 4_000_000 > before, "a crash costs little");

    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    let file = dual.home.dir().join("home-state/lanparty-uplinks.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let months: Value = serde_json::from_str(&text).unwrap();
    let month = months["uplinks"]["lte0"]["months"].as_object().unwrap().keys().next().unwrap().clone();
    std::fs::write(&file, text.replace(&month, "2025-01")).unwrap();
    bonded.start_client_again(uplinks, &[]).unwrap();
    assert_eq!(uplink(&bonded, "lte0")["role"], "primary", "what it carried belongs to another month");

    bonded.client.sigterm();
    bonded.client.exit_code(SOON).unwrap();
    std::fs::write(&file, "nonsense").unwrap();
    assert!(bonded.start_client_again(uplinks, &[]).is_err());
    assert!(bonded.client.tail().contains("is damaged"), "{}", bonded.client.tail());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "nonsense");
}

#[test]
fn without_names_every_interface_with_a_default_route_is_an_uplink_as_long_as_it_has_one() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-auto", dsl_and_lte());
    for words in ["link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up"] {
        dual.home.ip(words).unwrap();
    }
    dual.line("lte0").unplug().unwrap();
    let bonded = Bonded::join(&dual, &[], &["--bond"]).unwrap();
    wait_for_paths(&bonded, &["dsl0"]);
    dual.line("lte0").plug().unwrap();
    let joined = wait_for_paths(&bonded, &["dsl0", "lte0"]);
    dual.home.ip("route del default dev dsl0").unwrap();
    let left = wait_for_paths(&bonded, &["lte0"]);
    wait_until(&bonded, "dsl0 is no uplink", || uplink(&bonded, "dsl0").is_null());
    // The tunnel's own interface is none, whatever its routes.
    dual.home.ip(&format!("route add default via {} dev lan0 metric 5", Dual::PC)).unwrap();
    dual.home.ip("route add default via 10.96.1.1 dev dsl0 metric 50").unwrap();
    let returned = wait_for_paths(&bonded, &["dsl0", "lte0"]);
    eprintln!("joined after {joined:?}, left after {left:?}, returned after {returned:?}");
    assert!(uplink(&bonded, "lan0").is_null() && uplink(&bonded, "docker0").is_null());
    assert_ne!(uplink(&bonded, "dsl0")["path"], uplink(&bonded, "lte0")["path"]);
    if dual.verdict().unwrap() == Verdict::Conclusive {
        assert!(joined.max(returned) < ms(1500), "within a second, and what asking costs: {joined:?} {returned:?}");
    }
}

#[test]
fn a_line_that_changes_its_address_or_is_pulled_out_is_used_again_and_nothing_is_lost() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-address", dsl_and_lte());
    for (number, more) in [(3, &["--bond"][..]), (2, &["--uplink", "dsl0", "--uplink", "lte0"])] {
        let bonded = Bonded::join(&dual, &[], more).unwrap();
        wait_for_paths(&bonded, &["dsl0", "lte0"]);
        let (probe, [from, to]) = (Probe::small(ms(4000)), bonded.ends(Way::Up));
        let change = || {
            thread::sleep(ms(300));
            for words in [
                "-4 addr flush dev lte0".to_owned(),
                format!("addr add 10.96.2.{number}/24 dev lte0"),
                "route replace default via 10.96.2.1 dev lte0 metric 200".to_owned(),
            ] {
                dual.home.ip(&words).unwrap();
            }
            thread::sleep(ms(1200));
            dual.line("dsl0").unplug().unwrap();
            thread::sleep(ms(500));
            dual.line("dsl0").plug().unwrap();
        };
        let (report, ()) = probe.between(&from, &to, change).unwrap();
        let back = wait_for_paths(&bonded, &["dsl0", "lte0"]);
        eprintln!("{more:?}: lost {}, twice {}, both carry {back:?} after the probe", report.lost(), report.duplicates());
        assert_eq!((report.lost(), report.duplicates()), (0, 0), "{}", bonded.client.tail());
    }
}

#[test]
fn what_is_wrong_with_an_uplink_is_said() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-words", dsl_and_lte());
    for words in [
        "link add off0 type veth peer name off1",
        "link add bare0 type veth peer name bare1",
        "link set bare0 up",
        "link set bare1 up",
        "addr add 10.96.1.77/24 dev bare0",
    ] {
        dual.home.ip(words).unwrap();
    }
    let bonded = Bonded::join(&dual, &["dsl0", "nosuch0", "off0", "bare0,role=backup"], &[]).unwrap();
    let trouble = |name: &str| uplink(&bonded, name)["trouble"].as_str().unwrap_or_default().to_owned();
    wait_until(&bonded, "trouble is said", || ["nosuch0", "off0", "bare0"].iter().all(|name| !trouble(name).is_empty()));
    eprintln!("{:?}", ["nosuch0", "off0", "bare0"].map(trouble));
    assert!(trouble("nosuch0").contains("there is no interface nosuch0; there are ") && trouble("nosuch0").contains("lte0"));
    assert!(trouble("off0").contains("is switched off"));
    assert!(!trouble("bare0").is_empty() && trouble("dsl0").is_empty());
    let findings = || bonded.client_status().unwrap()["findings"].to_string();
    wait_until(&bonded, "findings", || findings().contains("uplink-without-path") && findings().contains("uplinks-on-one-line"));
}

#[test]
fn two_lines_behind_one_nat_and_one_behind_a_symmetric_one_are_two_paths() {
    if !ready() {
        return;
    }
    let one_nat = DualOptions { one_nat: Some(NatKind::PortRestricted), ..DualOptions::new(dsl_and_lte()) };
    let [dsl, lte] = dsl_and_lte();
    let symmetric = DualOptions::new([dsl, lte.nat(NatKind::Symmetric)]);
    for (name, options) in [("uplinks-one-nat", one_nat), ("uplinks-symmetric", symmetric)] {
        let dual = Dual::build(name, &options).unwrap();
        let bonded = Bonded::join(&dual, &["dsl0", "lte0"], &[]).unwrap();
        wait_for_paths(&bonded, &["dsl0", "lte0"]);
        let (probe, [from, to]) = (Probe::small(ms(2500)), bonded.ends(Way::Down));
        let (report, ()) = probe
            .between(&from, &to, || {
                thread::sleep(ms(500));
                dual.line("dsl0").cut().unwrap();
            })
            .unwrap();
        eprintln!("{name}: lost {}", report.lost());
        assert_eq!(report.lost(), 0, "{}", bonded.client.tail());
    }
}

#[test]
fn a_line_of_ipv4_and_one_of_ipv6_are_two_paths() {
    if !ready() {
        return;
    }
    let [dsl, lte] = dsl_and_lte();
    let dual = dual("uplinks-v4-v6", [dsl, lte.with_ipv6()]);
    dual.home.ip("-4 addr flush dev lte0").unwrap();
    let bonded = Bonded::join(&dual, &["dsl0", "lte0"], &[]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    let remote = |name: &str| {
        let paths = bonded.client_status().unwrap()["bond"]["paths"].as_array().cloned().unwrap_or_default();
        paths.iter().find(|path| path["name"] == name).and_then(|path| path["remote"].as_str().map(str::to_owned)).unwrap()
    };
    assert_eq!([remote("dsl0"), remote("lte0")], ["10.99.0.1:8443", "[2001:db8:99::1]:8443"]);
    for (cut, way) in [("dsl0", Way::Down), ("lte0", Way::Up)] {
        let (probe, [from, to]) = (Probe::small(ms(2500)), bonded.ends(way));
        let (report, ()) = probe
            .between(&from, &to, || {
                thread::sleep(ms(500));
                dual.line(cut).cut().unwrap();
            })
            .unwrap();
        assert_eq!(report.lost(), 0, "{cut}{}", bonded.client.tail());
        dual.line(cut).restore().unwrap();
        wait_for_paths(&bonded, &["dsl0", "lte0"]);
    }
}

#[test]
fn lines_of_different_mtu_carry_one_lan_mtu_and_nothing_is_lost() {
    if !ready() {
        return;
    }
    let [dsl, lte] = dsl_and_lte();
    let dual = dual("uplinks-mtu", [dsl, lte.mtu(1400)]);
    let bonded = Bonded::join(&dual, &["dsl0", "lte0"], &["--redundant", "off"]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    wait_until(&bonded, "the LAN MTU fits both", || bonded.client_status().unwrap()["lan_mtu"].as_u64() < Some(1390));
    thread::sleep(ms(1500));
    let lan_mtu = bonded.client_status().unwrap()["lan_mtu"].as_u64().unwrap();
    let probe = Probe { payload: usize::try_from(lan_mtu).unwrap() - 28, ..Probe::load(12.0, ms(3000)) };
    let [from, to] = bonded.ends(Way::Up);
    let (report, ()) = probe.between(&from, &to, || ()).unwrap();
    eprintln!("LAN MTU {lan_mtu}; {} sent, {} lost; {}", report.sent, report.lost(), bonded.client_status().unwrap()["bond"]);
    if dual.verdict().unwrap() == Verdict::Conclusive {
        assert_eq!(report.lost(), 0, "{}", bonded.client.tail());
    }
}

#[test]
fn a_line_without_udp_is_a_path_by_tls_and_its_silence_is_noticed() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-stream", dsl_and_lte());
    for rule in [
        "add table inet lines",
        "add chain inet lines in { type filter hook input priority 0; }",
        "add rule inet lines in iifname lte0 meta l4proto udp drop",
    ] {
        dual.home.run(&[&["nft"][..], &rule.split(' ').collect::<Vec<_>>()].concat()).unwrap();
    }
    let bonded = Bonded::join(&dual, &["dsl0", "lte0"], &["--redundant", "off"]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    let path = || {
        let status = bonded.client_status().unwrap();
        status["bond"]["paths"].as_array().unwrap().iter().find(|path| path["name"] == "lte0").cloned().unwrap_or_default()
    };
    assert_eq!(path()["carrier"], "stream");
    let [from, to] = bonded.ends(Way::Up);
    let mut noticed = Duration::ZERO;
    let bulk = Bulk { flows: 2, warm_up: ms(1000), window: ms(5000), ..Bulk::default() };
    let (report, ()) = bulk
        .run_while(&from, &to, || {
            thread::sleep(ms(2500));
            dual.line("lte0").cut().unwrap();
            noticed = wait_for_paths(&bonded, &["dsl0"]);
        })
        .unwrap();
    eprintln!(
        "{:.1} Mbit/s; the silence was noticed after {noticed:?}, longest standstill {:?}",
        report.mbit_s(),
        report.longest_standstill(ms(1000))
    );
    if dual.verdict().unwrap() == Verdict::Conclusive {
        assert!(noticed < ms(2000), "before TCP or the heartbeat's three seconds end it: {noticed:?}");
    }
    dual.line("lte0").restore().unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
}

#[test]
fn a_relay_that_restarts_finds_one_member_with_both_paths_again() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-relay", dsl_and_lte());
    let mut bonded = Bonded::join(&dual, &["dsl0", "lte0"], &[]).unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    let peer = bonded.client_status().unwrap()["peer"].clone();
    let [from, to] = bonded.ends(Way::Up);
    let bulk = Bulk { flows: 1, warm_up: ms(1000), window: ms(9000), ..Bulk::default() };
    let (report, ()) = bulk
        .run_while(&from, &to, || {
            thread::sleep(ms(2000));
            bonded.restart_relay().unwrap();
        })
        .unwrap();
    wait_for_paths(&bonded, &["dsl0", "lte0"]);
    eprintln!("standstill {:?}, then {:.1} Mbit/s", report.longest_standstill(ms(1000)), report.mbit_s_between(ms(8000), ms(10000)));
    assert_eq!(bonded.client_status().unwrap()["peer"], peer, "the same member");
    assert!(report.mbit_s_between(ms(8000), ms(10000)) > 0.5, "the flow lives on{}", bonded.client.tail());
    let rooms = bonded.status().unwrap().into_iter().find(|one| one["program"] == "lanparty-relay").unwrap();
    assert_eq!(rooms["rooms"][0]["members"].as_array().map(Vec::len), Some(2), "one link for each member: {rooms}");
}

#[test]
fn a_gateway_bonds_as_a_client_does() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-gateway", dsl_and_lte());
    let programs = Programs::at(&dual).unwrap();
    let shop = dual.lab.namespace("shop").unwrap();
    veth(End::new(&shop, LAN), End::new(&dual.home, LAN), Offloads::Off).unwrap();
    shop.ip("addr add 10.73.43.50/24 dev lan").unwrap();
    let relay = programs.relay().unwrap();
    relay.wait_for("listening on", SOON).unwrap();
    let gateway = programs.gateway_on(&dual.home, &["--uplink", "dsl0", "--uplink", "lte0"]).unwrap();
    gateway.wait_for("bridging frames", SOON).unwrap();
    let client = programs.client_on(&dual.gateway, &[]).unwrap();
    client.wait_for("TAP is up", SOON).unwrap();
    dual.gateway.ip("addr add 10.73.43.99/24 dev lan0").unwrap();
    let begin = Instant::now();
    let paths = || {
        let status = programs.status().unwrap().into_iter().find(|one| one["program"] == "lanparty-gateway").unwrap();
        status["bond"]["paths"].as_array().map_or(0, |paths| paths.iter().filter(|path| path["is_alive"] == true).count())
    };
    while paths() < 2 {
        assert!(begin.elapsed() < SOON, "{}", gateway.tail());
        thread::sleep(ms(50));
    }
    let (from, to) = (Endpoint::new(&dual.gateway, [10, 73, 43, 99].into()), Endpoint::new(&shop, [10, 73, 43, 50].into()));
    // ARP, and what else is slow the first time.
    Probe::small(ms(500)).between(&from, &to, || ()).unwrap();
    for (from, to) in [(&from, &to), (&to, &from)] {
        let cut = || {
            for line in &dual.lines {
                thread::sleep(ms(400));
                line.cut().unwrap();
                thread::sleep(ms(1000));
                line.restore().unwrap();
                thread::sleep(ms(1000));
            }
        };
        let (report, ()) = Probe::small(ms(5500)).between(from, to, cut).unwrap();
        eprintln!("lost {}, twice {}", report.lost(), report.duplicates());
        assert_eq!((report.lost(), report.duplicates()), (0, 0), "{}", gateway.tail());
    }
}

/// Says `first` on a new connection; the relay's first answer.
async fn say(endpoint: &noq::Endpoint, first: &Control) -> Control {
    let remote = format!("{}:8443", Dual::RELAY).parse().unwrap();
    let connection = endpoint.connect(remote, stranger::RELAY_NAME).unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&encode_control(first)).await.unwrap();
    let mut decoder = ControlDecoder::new();
    loop {
        if let Some(message) = decoder.next_message().unwrap() {
            // The connection lives on, as a path does.
            std::mem::forget((connection, send, receive));
            return message;
        }
        let mut bytes = [0; 4096];
        let count = receive.read(&mut bytes).await.unwrap().expect("an answer");
        decoder.extend(&bytes[..count]);
    }
}

#[test]
fn a_forged_or_captured_attachment_is_refused_by_the_relay() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-forged", dsl_and_lte());
    let programs = Programs::at(&dual).unwrap();
    let relay = programs.relay().unwrap();
    relay.wait_for("listening on", SOON).unwrap();
    let certificate = std::path::Path::new(programs.certificate());
    let (room, version, run) = ("PARTY".parse::<RoomCode>().unwrap(), PROTOCOL_VERSION, 77);
    // More than any path takes: the relay looks for it for a moment, and no longer.
    let budget = DatagramBudget(9000);
    let hello =
        Hello { run, bond: Some(BondPath::default()), ..Hello::new(Role::Client, room.clone(), MacAddr([2, 0, 0, 0, 0, 9]), budget) };
    let attach = Attach { version, room, run, bond: BondPath { path: 1, ..BondPath::default() }, budget: DatagramBudget(1400), heard: 0 };
    on(&dual.gateway, async || {
        let (member, other) = (stranger::client(certificate), stranger::client(certificate));
        let code = |answer: Control| if let Control::Refused { code, .. } = answer { Some(code) } else { None };
        let attached = Control::Attach(attach.clone());
        assert_eq!(code(say(&member, &attached).await), Some(Refusal::NotMoved), "there is no membership yet");
        let welcome = say(&member, &Control::Hello(hello)).await;
        let is_welcome = |message: &Control| matches!(message, Control::Welcome(welcome) if welcome.bond);
        assert!(is_welcome(&welcome) || matches!(&welcome, Control::Numbered { message, .. } if is_welcome(message)), "{welcome:?}");
        assert_eq!(code(say(&other, &attached).await), Some(Refusal::NotMoved), "captured, and said with another key");
        let wrong = Control::Attach(Attach { run: 78, ..attach.clone() });
        assert_eq!(code(say(&member, &wrong).await), Some(Refusal::NotMoved), "the key, and another run");
        assert!(matches!(say(&member, &attached).await, Control::Attached { .. }), "its owner's own is taken");
    });
    assert!(relay.running(), "{}", relay.tail());
}

/// `lanparty cable` with these words on a host; each has a key and a status socket of its own.
fn cable(host: &Namespace, words: &[&str]) -> Program {
    let lanparty = Binaries::locate().unwrap().lanparty().unwrap();
    let own = |what: &str| host.dir().join(format!("{}-{what}", host.host()));
    let program = Program::new(lanparty).named("cable").arg("cable").args(words).arg("--state-dir").arg(own("cable"));
    program.env("LANPARTY_RUNTIME_DIR", own("run"))
}

fn cable_key(host: &Namespace) -> String {
    let printed = host.spawn(cable(host, &["--new", "--json"])).unwrap();
    assert_eq!(printed.exit_code(SOON).unwrap(), 0);
    let text = printed.lines().join("");
    serde_json::from_str::<Value>(&text).unwrap()["key"].as_str().unwrap().to_owned()
}

/// The paths that carry, as the cable's end on this host says.
fn cable_paths(host: &Namespace) -> Vec<String> {
    let lanparty = Binaries::locate().unwrap().lanparty().unwrap().display().to_string();
    let variable = format!("LANPARTY_RUNTIME_DIR={}", host.dir().join(format!("{}-run", host.host())).display());
    let said = host.run(&["env", &variable, &lanparty, "status", "--json"]).unwrap().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    let paths = said[0]["bond"]["paths"].as_array().cloned().unwrap_or_default();
    let alive = paths.iter().filter(|path| path["is_alive"] == true);
    let mut names: Vec<_> = alive.filter_map(|path| path["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn a_cable_goes_by_both_lines_of_the_end_that_dials() {
    if !ready() {
        return;
    }
    let dual = dual("uplinks-cable", dsl_and_lte());
    let (home, far) = (&dual.home, &dual.gateway);
    let keys = [home, far].map(cable_key);
    let waiting = far.spawn(cable(far, &["--peer", &keys[0]])).unwrap();
    waiting.wait_for("listening on", SOON).unwrap();
    let remote = Dual::GATEWAY.to_string();
    let dialling = ["--peer", &keys[1], "--remote", &remote, "--uplink", "dsl0", "--uplink", "lte0"];
    let mut dialled = home.spawn(cable(home, &dialling)).unwrap();
    let wait_for_two = |dialled: &Proc| {
        let begin = Instant::now();
        while cable_paths(home) != ["dsl0", "lte0"] || cable_paths(far).len() != 2 {
            assert!(begin.elapsed() < SOON, "{:?} {:?}{}{}", cable_paths(home), cable_paths(far), dialled.tail(), waiting.tail());
            thread::sleep(ms(50));
        }
    };
    let plugged = |dialled: &Proc| {
        for (host, end, own) in [(home, dialled, "10.66.0.2"), (far, &waiting, "10.66.0.1")] {
            end.wait_for("the cable is plugged in", SOON).unwrap();
            host.ip(&format!("addr replace {own}/24 dev cable0")).unwrap();
        }
        wait_for_two(dialled);
    };
    plugged(&dialled);
    let [from, to] = [Endpoint::new(home, [10, 66, 0, 2].into()), Endpoint::new(far, [10, 66, 0, 1].into())];
    for (way, [from, to]) in [(Way::Up, [&from, &to]), (Way::Down, [&to, &from])] {
        let captures: Vec<_> = dual.lines.iter().map(|line| line.capture().unwrap()).collect();
        let report = Bulk { flows: 2, warm_up: ms(2000), window: ms(3000), ..Bulk::default() }.run(from, to).unwrap();
        let bytes: Vec<_> = captures.into_iter().map(|capture| ip_bytes(&capture.finish().unwrap())).collect();
        eprintln!("{way:?}: {:.1} Mbit/s, {bytes:?} bytes by the lines", report.mbit_s());
        assert!(bytes.iter().all(|bytes| *bytes > 2_000_000), "both lines carry: {bytes:?}");
        if dual.verdict().unwrap() == Verdict::Conclusive {
            assert!(report.mbit_s() > 28.0, "either line alone has less than 28: {}", report.mbit_s());
        }
    }
    for line in &dual.lines {
        let cut = || {
            thread::sleep(ms(300));
            line.cut().unwrap();
            thread::sleep(ms(1200));
            line.restore().unwrap();
        };
        let (report, ()) = Probe::small(ms(2000)).between(&from, &to, cut).unwrap();
        eprintln!("{} cut: lost {}, twice {}", line.name(), report.lost(), report.duplicates());
        assert_eq!((report.lost(), report.duplicates()), (0, 0), "{}", dialled.tail());
        wait_for_two(&dialled);
    }

    // Somebody with another key gets no path, whatever else is known.
    cable_key(&dual.relay);
    let stranger = ["--peer", &keys[1], "--remote", &remote, "--uplink", "wan", "--tap-name", "cable9"];
    let stranger = dual.relay.spawn(cable(&dual.relay, &stranger)).unwrap();
    stranger.wait_for("refuses this host's key", SOON).unwrap();
    assert_eq!(cable_paths(far).len(), 2);

    // A new start of the end that dials is another run: the old link goes, the new one has both paths.
    dialled.kill9();
    dialled = home.spawn(cable(home, &dialling)).unwrap();
    plugged(&dialled);
    let (report, ()) = Probe::small(ms(1000)).between(&from, &to, || ()).unwrap();
    assert!(report.received() > 90, "{} of {}{}", report.received(), report.sent, waiting.tail());
}
