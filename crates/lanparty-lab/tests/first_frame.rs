//! How soon after its start a client has a frame there and back: the figures of the project, over a wire that says whether this machine
//! had the time to be one.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_lab::{Party, PartyOptions, Probe, Requirements, Tool, Uplink, Verdict, ping};
use support::{Evening, TAP, alone, promised};

/// The first frame by QUIC, and by TLS where UDP is dropped in silence.
const BY_QUIC: Duration = Duration::from_millis(500);
const BY_TLS: Duration = Duration::from_secs(2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);

#[test]
fn a_client_has_its_first_frame_back_within_half_a_second_by_quic() {
    first_frame("first-quic", &[], BY_QUIC, "quic");
}

#[test]
fn and_within_two_seconds_by_tls_where_udp_is_dropped_in_silence() {
    let drop = "table inet deaf { chain input { type filter hook input priority 0; ip saddr 10.99.0.30 udp dport 8443 drop; }; }";
    first_frame("first-tls", &["nft", drop], BY_TLS, "stream");
}

/// Starts clients until one is in time, or one was late for no fault of the machine.
fn first_frame(name: &str, at_relay: &[&str], limit: Duration, carrier: &str) {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let evening = Evening::with(name, &PartyOptions { home: Uplink::wire("delay=10ms").unwrap(), ..PartyOptions::default() });
    let _relay = evening.relay();
    let _gateway = evening.gateway();
    if !at_relay.is_empty() {
        evening.party.relay.run(at_relay).unwrap();
    }
    let wire = evening.party.wire_home.as_ref().unwrap();
    for _ in 0..3 {
        wire.forget_lateness().unwrap();
        // So that the wire has frames enough to say how late it was.
        let probe = Probe { rate: 400, duration: limit, ..Probe::default() };
        let (_, took) = probe.run_while(&evening.party.home, &evening.party.relay, Party::RELAY, || play(&evening, carrier)).unwrap();
        let verdict = wire.verdict().unwrap();
        println!("{name}: first frame after {took:?}; the wire: {verdict}");
        // A busy machine makes it later, never sooner.
        if took < limit {
            return;
        }
        assert!(matches!(verdict, Verdict::Inconclusive { .. }), "{name}: {took:?}");
    }
    println!("INCONCLUSIVE: this machine was too busy three times");
}

/// From the start of a client to the first reply that it gets from the LAN.
fn play(evening: &Evening, carrier: &str) -> Duration {
    let home = &evening.party.home;
    let started = Instant::now();
    let client = evening.start_client(&[]);
    promised(&client, "TAP is up");
    home.run(&["ip", "addr", "add", &format!("{CLIENT}/24"), "dev", TAP]).unwrap();
    while ping(home, Party::pc_address(1), 1).unwrap().received == 0 {}
    let took = started.elapsed();
    assert_eq!(evening.status(home)["way"]["carrier"].as_str(), Some(carrier));
    client.sigterm();
    client.exit_code(support::SOON).unwrap();
    took
}
