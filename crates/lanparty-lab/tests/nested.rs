//! A tunnel in a tunnel: sizes are probed, not read, so the inner one is just smaller.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

mod support;

use lanparty_lab::{Party, Program, ping_with};
use serde_json::Value;
use support::{Evening, SOON, eventually, ready};

#[test]
fn a_room_inside_a_room_is_smaller_and_the_doctor_names_the_tunnel() {
    if !ready() {
        return;
    }
    let evening = Evening::new("nested");
    let all = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    // A relay on the LAN, and at home somebody who reaches it through the room.
    let relay = evening.program(pc, "lanparty-relay").args(["--open", "--dev-cert-der-out", "relay-cert.der"]);
    let relay = pc.spawn(relay).unwrap();
    relay.wait_for("lanparty-relay listening on", SOON).unwrap();
    let certificate = evening.dir(pc).join("relay-cert.der").display().to_string();
    let address = Party::pc_address(1).to_string();
    let way = ["--relay", &address, "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate];
    let output = evening.lanparty(home, &[&["doctor", "--json"][..], &way].concat());
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    println!("{}", report["verdict"]);
    let codes: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert_eq!((codes.as_slice(), output.status.code()), (&["uplink-is-tunnel"][..], Some(0)), "{report:#}");
    let run = evening.dir(home).join("inner");
    let inner =
        Program::new(evening.path("lanparty")).named("inner").arg("client").args(way).args(["--room", "INNER", "--tap-name", "lan1"]);
    let inner = inner.env("LANPARTY_STATE_DIR", &run).env("LANPARTY_RUNTIME_DIR", &run);
    let inner = home.spawn(inner).unwrap();
    inner.wait_for("TAP is up", SOON).unwrap();
    // 1,417 bytes of LAN MTU carry UDP payloads of 1,389, those a budget of 1,351, that a LAN MTU of 1,334.
    let mtu =
        || home.ip("link show dev lan1").unwrap().stdout.split(" mtu ").nth(1).unwrap().split(' ').next().unwrap().parse::<u16>().unwrap();
    eventually("the inner room has the size that the outer one leaves", || (1326..=1334).contains(&mtu()));
    println!("LAN MTU inside: {}", mtu());
    assert!(ping_with(pc, all.address, 3, &["-M", "do", "-s", "1389"]).unwrap().received > 0, "the outer room goes on");
}
