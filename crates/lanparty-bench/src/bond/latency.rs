//! How long it takes, idle and beside others.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::{Bulk, Dual, Pinging, Probe, Way};

use super::place::Place;

/// Time between echo requests.
const INTERVAL: Duration = Duration::from_millis(50);
/// Flows of a download that saturates.
const FLOWS: usize = 4;

/// The round trip of a ping that `percent` stay within, while nothing else is sent, in ms.
pub(crate) fn ping(place: &Place<'_>, percent: f64) -> Result<f64> {
    let trip = place.round_trip();
    let trips = Pinging::start(&place.dual.home, Dual::PC, INTERVAL, place.plan.window(trip))?.finish()?;
    Ok(ms(trips.percentile(percent).context("no ping is answered")?))
}

/// The median one-way delay of the small probe, in ms.
pub(crate) fn probe(place: &Place<'_>, way: Way) -> Result<f64> {
    let [from, to] = place.bonded()?.ends(way);
    let (report, ()) = Probe::small(place.plan.window(place.round_trip())).between(&from, &to, || ())?;
    Ok(ms(report.delay(50.0).context("nothing of the probe came")?))
}

/// What a saturating transfer adds to the 95th percentile of the round trip of a ping, in ms; and its goodput.
pub(crate) fn ping_beside(place: &Place<'_>, way: Way) -> Result<(f64, f64)> {
    let idle = ping(place, 95.0)?;
    let [from, to] = place.bonded()?.ends(way);
    let trip = place.round_trip();
    let bulk = Bulk { flows: FLOWS, warm_up: place.plan.warm_up(trip), window: place.plan.window(trip), download: false };
    let (report, trips) = bulk.run_while(&from, &to, || {
        thread::sleep(bulk.warm_up);
        Pinging::start(&place.dual.home, Dual::PC, INTERVAL, bulk.window)?.finish()
    })?;
    let loaded = ms(trips?.percentile(95.0).context("no ping is answered beside a transfer")?);
    Ok((loaded - idle, report.mbit_s()))
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
