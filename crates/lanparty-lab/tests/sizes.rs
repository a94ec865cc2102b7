//! No packet vanishes because of its size: the size matrix, one test per wire, in the sizes at which things change.
//!
//! `cargo xtask sizes --full` measures every size and writes docs/mtu-contract.md.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

use std::net::Ipv4Addr;

use lanparty_lab::sizes::{Fate, Plan, Probe, Row, Traffic, measure, table};
use lanparty_lab::{Internet, Lab, Namespace, Narrow, Offloads, Requirements, Routers, Tool, Uplink};

fn ready() -> bool {
    Requirements::party().and(&[Tool::Nft]).ready_or_skip()
}

/// Over a wire of this MTU nothing vanishes, whatever its routers do.
fn nothing_vanishes(wire_mtu: u16) {
    nothing_vanishes_with(wire_mtu, Offloads::Off);
}

fn nothing_vanishes_with(wire_mtu: u16, lan: Offloads) {
    if !ready() {
        return;
    }
    let rows = measure(wire_mtu, lan, &Plan::short()).unwrap();
    println!("{}", table(&rows));
    is_documented(&table(&rows));
    assert_eq!(rows.iter().map(|row| row.routers).collect::<Vec<_>>(), Routers::ALL);
    let lost: Vec<String> = rows.iter().flat_map(Row::unexplained).collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    for row in &rows {
        // What is not there was not sent: IPv6 in a room below 1,280, and nothing else.
        let kinds = if row.lan_mtu < 1280 { Traffic::ALL.len() - 2 } else { Traffic::ALL.len() };
        assert_eq!(row.cells.len(), 2 * kinds, "{row:?}");
        assert!(row.cells.iter().all(|cell| !cell.outcomes.is_empty()), "{row:?}");
        // QUIC's overhead, and what a search for the path's MTU leaves unused.
        assert!((wire_mtu - 83 - 16..=wire_mtu - 83).contains(&row.lan_mtu), "{row:?}");
    }
}

/// The size contract shows the same. A search that ended some bytes lower on a busy machine has a line of its own, and no say.
fn is_documented(measured: &str) {
    let contract = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mtu-contract.md")).unwrap();
    for line in measured.lines().skip(2) {
        let place = line.split(" | ").take(3).collect::<Vec<_>>().join(" | ") + " | ";
        match contract.lines().find(|known| known.starts_with(&place)) {
            Some(known) => assert_eq!(line, known, "docs/mtu-contract.md says something else: run `cargo xtask sizes --full`"),
            None => println!("docs/mtu-contract.md has no line for {place}"),
        }
    }
}

#[test]
fn nothing_vanishes_on_ethernet() {
    nothing_vanishes(1500);
}

#[test]
fn nothing_vanishes_behind_pppoe() {
    nothing_vanishes(1492);
}

#[test]
fn nothing_vanishes_inside_a_tunnel() {
    nothing_vanishes(1420);
}

#[test]
fn nothing_vanishes_on_a_wire_of_1400() {
    nothing_vanishes(1400);
}

#[test]
fn nothing_vanishes_where_network_cards_merge_and_split() {
    nothing_vanishes_with(1400, Offloads::On);
}

#[test]
fn nothing_vanishes_where_the_room_has_no_ipv6() {
    nothing_vanishes(1300);
}

#[test]
fn nothing_vanishes_on_the_smallest_wire_of_ipv6() {
    nothing_vanishes(1280);
}

/// Two hosts with a narrow link between them, and no tunnel: what the matrix would say of a network that keeps no promise.
struct Bare {
    a: Namespace,
    b: Namespace,
    narrow: Narrow,
    _lab: Lab,
}

impl Bare {
    fn new() -> Self {
        let lab = Lab::new("narrow").unwrap();
        let internet = Internet::new(&lab).unwrap();
        let [a, b] = ["a", "b"].map(|host| lab.namespace(host).unwrap());
        internet.attach(&lab, &a, 11, &Uplink::default()).unwrap();
        internet.attach(&lab, &b, 12, &Uplink::default()).unwrap();
        let narrow = Narrow::put_before(&lab, &internet, &a, 11).unwrap();
        narrow.set_mtu(1400).unwrap();
        Self { a, b, narrow, _lab: lab }
    }

    /// What becomes of the largest frame that passes and of the next one, in both directions.
    fn fates(&self, routers: Routers, traffic: Traffic) -> [Fate; 4] {
        self.narrow.set_routers(routers).unwrap();
        let probe = |from, to, target: Ipv4Addr| Probe { traffic, from, to, target: target.into() };
        let (up, down) = (probe(&self.a, &self.b, Internet::address(12)), probe(&self.b, &self.a, Internet::address(11)));
        [(&up, 1414), (&up, 1415), (&down, 1414), (&down, 1415)].map(|(probe, len)| probe.send(len).unwrap())
    }
}

#[test]
fn a_narrow_way_without_lanparty_makes_packets_vanish() {
    use Fate::{Silent, Told, Whole};
    if !ready() {
        return;
    }
    let bare = Bare::new();
    for traffic in [Traffic::UdpDf, Traffic::Echo] {
        assert_eq!(bare.fates(Routers::Answer, traffic), [Whole, Told(1400), Whole, Told(1400)], "{traffic:?}");
        assert_eq!(bare.fates(Routers::Silent, traffic), [Whole, Silent, Whole, Silent], "{traffic:?}");
    }
    assert_eq!(bare.fates(Routers::Answer, Traffic::Udp), [Whole; 4]);
    assert_eq!(bare.fates(Routers::Silent, Traffic::Udp), [Whole; 4]);
    assert_eq!(bare.fates(Routers::DropFragments, Traffic::Udp), [Whole, Silent, Whole, Silent]);
}
