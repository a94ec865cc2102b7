//! A path that becomes smaller under running flows, and others who only claim that it did (RELIABILITY F18, THREATS C11).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use lanparty_lab::{Narrow, Party, Probe, ProbeReport, Requirements, Routers, Tool, transfer};
use support::conservation::assert_conserved;
use support::flow::Echo;
use support::outage::without_arp;
use support::{Evening, Members, alone, eventually};

/// Large frames must pass again within this (RELIABILITY F18); a busy machine is given twice the goal.
const LARGE_AGAIN: Duration = Duration::from_secs(3);
/// How long the wire is watched before it shrinks, and altogether.
const LEAD: Duration = Duration::from_secs(2);
const SPAN: Duration = Duration::from_secs(9);
/// A game's packet, and one that fits the room before but not after.
const SMALL: usize = 100;
const LARGE: usize = 1250;
/// Long enough for the wire to shrink amid it.
const DOWNLOAD_LEN: usize = 256 << 20;

/// An evening whose client is behind a link that can become narrow, and whose routers say nothing and drop fragments.
fn behind_a_link(name: &str) -> (Evening, Narrow) {
    let evening = Evening::new(name);
    let narrow = {
        let party = &evening.party;
        Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3]).unwrap()
    };
    narrow.set_routers(Routers::DropFragments).unwrap();
    (evening, narrow)
}

/// Packets both ways.
struct Both {
    up: ProbeReport,
    down: ProbeReport,
}

impl Both {
    fn run(evening: &Evening, client: Ipv4Addr, payload: usize) -> Self {
        let probe = Probe { payload, duration: SPAN, ..Probe::default() };
        let (home, pc) = (&evening.party.home, evening.party.pc(1));
        thread::scope(|scope| {
            let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
            let down = probe.run(pc, home, client).unwrap();
            Self { up: up.join().unwrap(), down }
        })
    }

    /// The numbers of those that never came.
    fn lost(&self) -> [Vec<u64>; 2] {
        [&self.up, &self.down].map(|report| {
            let came: std::collections::BTreeSet<_> = report.arrivals.iter().map(|arrival| arrival.number).collect();
            (0..report.sent + report.refused).filter(|number| !came.contains(number)).collect()
        })
    }

    /// When, after `moment`, packets of either way arrive again for good.
    fn again_after(&self, moment: Duration) -> Duration {
        let rate = f64::from(Probe::default().rate);
        let last_lost = self.lost().into_iter().flatten().max().map(|number| Duration::from_secs_f64(number as f64 / rate));
        last_lost.map_or(Duration::ZERO, |at| at.saturating_sub(moment))
    }
}

#[test]
fn f18_a_wire_that_shrinks_in_silence_costs_small_frames_nothing_and_large_ones_a_moment() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let (evening, narrow) = behind_a_link("f18");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    without_arp(&evening, address);
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let mut flow = Echo::open(pc, home, address);
    flow.say("before;");
    flow.hear("before;");
    let (small, large) = thread::scope(|scope| {
        let small = scope.spawn(|| Both::run(&evening, address, SMALL));
        let large = scope.spawn(|| Both::run(&evening, address, LARGE));
        thread::sleep(LEAD);
        narrow.set_mtu(1280).unwrap();
        flow.say("meanwhile;");
        println!("F18 the TCP flow went on after {:?}", flow.hear("meanwhile;"));
        (small.join().unwrap(), large.join().unwrap())
    });
    let again = large.again_after(LEAD);
    let ([up, down], [large_up, large_down]) = (small.lost(), large.lost().map(|lost| lost.len()));
    println!("F18 small lost {up:?} up, {down:?} down; large {large_up} up, {large_down} down, again for good after {again:?}");
    assert_conserved(&evening, false);
    assert_eq!((up.len(), down.len()), (0, 0), "small frames: {up:?} up, {down:?} down");
    assert!(again <= 2 * LARGE_AGAIN, "{again:?}");
    assert!(large_up + large_down > 0, "the wire did shrink");
    eventually("the room follows", || evening.status(home)["lan_mtu"].as_u64() < Some(1200));
    flow.say("after;");
    flow.hear("after;");
}

#[test]
fn a_download_lives_on_over_a_wire_that_shrinks_in_silence() {
    if !Requirements::party().and(&[Tool::Nft]).ready_or_skip() {
        return;
    }
    let _alone = alone();
    let (evening, narrow) = behind_a_link("f18-tcp");
    let Members { address, relay: _relay, gateway: _gateway, client: _client } = evening.all();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let bytes_in = || evening.status(home)["frames"]["inbound"]["bytes_forwarded"].as_u64().unwrap();
    let took = thread::scope(|scope| {
        let download = scope.spawn(|| transfer(pc, home, address.into(), DOWNLOAD_LEN).unwrap());
        // Well under way, and far from its end.
        eventually("the download runs", || bytes_in() > DOWNLOAD_LEN as u64 / 20);
        narrow.set_mtu(1280).unwrap();
        let behind = bytes_in();
        assert!(behind < DOWNLOAD_LEN as u64 / 2, "{behind} bytes before the wire shrank");
        download.join().unwrap()
    });
    println!("F18 {DOWNLOAD_LEN} bytes over the shrink, bit by bit, in {took:?}");
    eventually("the room follows", || evening.status(home)["lan_mtu"].as_u64() < Some(1200));
    assert_conserved(&evening, false);
}
