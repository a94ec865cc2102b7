//! How much is carried.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lanparty_lab::{Bulk, Probe, Way};

use super::place::{Flow, Place};

/// More than the lines can carry, so that they decide how much arrives.
const OVERLOAD: f64 = 1.15;

/// Goodput of so many TCP flows, Mbit/s. Without a tunnel each line has as many.
pub(crate) fn tcp(place: &Place<'_>, way: Way, flows: usize) -> Result<f64> {
    let trip = place.round_trip();
    let bulk = Bulk { flows, warm_up: place.plan.warm_up(trip), window: place.plan.window(trip), download: false };
    sum(&place.flows(way), |flow| Ok(Bulk { download: flow.download, ..bulk }.run(&flow.from, &flow.to)?.mbit_s()))
}

/// Goodput of UDP that is offered faster than the lines are, Mbit/s.
pub(crate) fn udp(place: &Place<'_>, way: Way) -> Result<f64> {
    let trip = place.round_trip();
    // Nothing here has to find a rate but the tunnel's own congestion control.
    let (from, to) = (place.plan.warm_up(trip), place.plan.warm_up(trip) + place.plan.window(trip));
    sum(&place.flows(way), |flow| {
        let probe = Probe { linger: Duration::ZERO, ..Probe::load(OVERLOAD * flow.rate_mbit_s, to) };
        let (report, ()) = probe.between(&flow.from, &flow.to, || ())?;
        Ok(report.mbit_s_between(&probe, from, to))
    })
}

/// Measures all flows at once.
fn sum(flows: &[Flow<'_>], measure: impl Fn(&Flow<'_>) -> Result<f64> + Sync) -> Result<f64> {
    thread::scope(|scope| {
        let threads: Vec<_> = flows.iter().map(|flow| scope.spawn(|| measure(flow))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a meter panicked"))?).sum()
    })
}
