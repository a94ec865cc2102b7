//! How long nothing came through while something was broken: 100 packets a second, both ways at once (RELIABILITY.md).

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Namespace, Party, Probe, ProbeReport};

use super::{Evening, TAP};

/// Quiet time before something is broken, so that the probe has a beginning.
pub(crate) const LEAD: Duration = Duration::from_millis(500);

/// A game has no use for a frame older than this (RELIABILITY.md, F6).
const STALE: Duration = Duration::from_millis(100);

/// What the probes saw.
pub(crate) struct Outage {
    start: Instant,
    probe: Probe,
    /// From a LAN host to the client.
    pub(crate) to_client: ProbeReport,
    /// From the client to a LAN host.
    pub(crate) to_lan: ProbeReport,
}

impl Outage {
    /// Runs both probes for `duration`, and `breakage` meanwhile.
    pub(crate) fn measure<T>(evening: &Evening, client: Ipv4Addr, duration: Duration, breakage: impl FnOnce() -> T) -> (Self, T) {
        let (home, pc) = (&evening.party.home, evening.party.pc(1));
        let probe = Probe { duration, ..Probe::default() };
        let start = Instant::now();
        let ((to_client, done), to_lan) = thread::scope(|scope| {
            let other_way = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
            let broken = probe.run_while(pc, home, client, || {
                thread::sleep(LEAD);
                breakage()
            });
            (broken.unwrap(), other_way.join().unwrap())
        });
        (Self { start, probe, to_client, to_lan }, done)
    }

    /// The longest silence, both ways.
    pub(crate) fn longest(&self) -> Duration {
        self.to_client.outage(&self.probe).max(self.to_lan.outage(&self.probe))
    }

    /// How long after `moment` the first packet came, in the direction that took longer. A direction in which none came took for ever.
    pub(crate) fn after(&self, moment: Instant) -> Duration {
        let moment = moment - self.start;
        let first = |report: &ProbeReport| {
            let came = report.arrivals.iter().map(|arrival| arrival.came).find(|came| *came > moment);
            came.map_or(Duration::MAX, |came| came - moment)
        };
        first(&self.to_client).max(first(&self.to_lan))
    }

    /// How many packets were stale when they arrived, both ways, and how old the oldest was.
    pub(crate) fn stale(&self) -> (usize, Duration) {
        let arrivals = self.to_client.arrivals.iter().chain(&self.to_lan.arrivals);
        let ages: Vec<Duration> = arrivals.map(|arrival| arrival.came.saturating_sub(arrival.sent)).collect();
        (ages.iter().filter(|age| **age > STALE).count(), ages.into_iter().max().unwrap_or_default())
    }

    /// Packets lost, both ways, of those sent.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let all = [&self.to_client, &self.to_lan];
        (all.iter().map(|report| report.sent - report.received()).sum(), all.iter().map(|report| report.sent).sum())
    }

    /// Nothing was delivered twice.
    pub(crate) fn assert_no_duplicates(&self) {
        assert_eq!((self.to_client.duplicates(), self.to_lan.duplicates()), (0, 0));
    }
}

/// Tells both ends of the probe each other's MAC address for good: what is measured is the tunnel's outage, not ARP's.
pub(crate) fn without_arp(evening: &Evening, client: Ipv4Addr) {
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let know = |host: &Namespace, interface: &str, address: Ipv4Addr, mac: &str| {
        host.ip(&format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent")).unwrap();
    };
    know(pc, lanparty_lab::LAN, client, &evening.client_mac());
    know(home, TAP, Party::pc_address(1), &pc.mac(lanparty_lab::LAN).unwrap());
}
