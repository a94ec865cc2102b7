//! Lines that are cut while everything is in use, and that come back.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use lanparty_lab::{Bulk, BulkReport, Captured, Line, Probe, ProbeReport, Way};

use super::latency::ms;
use super::place::{Attempt, Place, character};

/// Everything has found its rate by then.
const LEAD: Duration = Duration::from_secs(3);
/// How long a line stays cut.
const CUT: Duration = Duration::from_secs(2);
/// How long is looked at what follows.
const AFTER: Duration = Duration::from_secs(2);
/// What probes see of the time before.
const PROBE_LEAD: Duration = Duration::from_secs(1);
/// A returned line is in use again before it, or the other one, is cut once more.
const RECOVERY: Duration = Duration::from_secs(3);
/// How long all lines are cut.
const BLACKOUT: Duration = Duration::from_secs(5);
/// A game has no use for a packet that is older than this, beyond what the slowest line takes.
const STALE: Duration = Duration::from_millis(100);
/// TCP flows per direction.
const FLOWS: usize = 2;
/// A flow on which nothing comes in the last part of a measurement has died.
const LAST_PART: Duration = Duration::from_secs(1);
/// A returned line is in use when, for so long, it carries this share of its rate.
const IN_USE_FOR: Duration = Duration::from_millis(100);
const IN_USE_SHARE: f64 = 0.2;
/// Shorter dips are a matter of queues.
const DIP: Duration = Duration::from_millis(500);

/// How a line fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Between modem and provider, so that nothing at home tells of it.
    Silent,
    /// The home's interface loses its carrier.
    Carrier,
}

/// The worst of all cuts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Worst {
    pub(crate) small: Seen,
    pub(crate) large: Seen,
    pub(crate) flows_died: f64,
    pub(crate) standstill_ms: f64,
}

/// What a probe saw, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) lost: f64,
    pub(crate) twice: f64,
    pub(crate) stale: f64,
    pub(crate) reordered: f64,
    pub(crate) gap_ms: f64,
    pub(crate) oldest_ms: f64,
}

/// What ran while something was broken.
struct Loaded {
    bulk: Vec<BulkReport>,
    small: Vec<ProbeReport>,
    large: Vec<ProbeReport>,
    probes: [Probe; 2],
}

/// Cuts one line after the other as often as the plan says, under load.
pub(crate) fn cuts(place: &Place<'_>, fault: Fault) -> Result<Attempt<Worst>> {
    let mut all = Attempt { value: Worst::default(), late: false, busy: false, discarded: 0 };
    let lines = place.dual.lines.iter().cycle().take(place.plan.cuts as usize);
    for line in lines {
        let one = place.attempt(|| {
            let worst = cut(place, line, fault)?;
            thread::sleep(RECOVERY);
            Ok(worst)
        })?;
        eprintln!("bond:   {} cut: {}", line.name(), one.value.in_words());
        all = all.and(one, Worst::and);
    }
    Ok(all)
}

fn cut(place: &Place<'_>, line: &Line, fault: Fault) -> Result<Worst> {
    let fail = |failed: bool| match fault {
        Fault::Silent if failed => line.cut(),
        Fault::Silent => line.restore(),
        Fault::Carrier => line.carrier(!failed),
    };
    let loaded = under_load(place, LEAD + CUT + AFTER, || {
        thread::sleep(LEAD);
        fail(true)?;
        thread::sleep(CUT);
        fail(false)
    })?;
    Ok(loaded.worst(slowest(place)))
}

/// How long after its return a line is in use again, in ms; and the least that was carried from its return on, in Mbit/s.
pub(crate) fn comeback(place: &Place<'_>) -> Result<(f64, f64)> {
    let line = &place.dual.lines[0];
    let capture = line.capture()?;
    let [from, to] = place.bonded()?.ends(Way::Down);
    let bulk = Bulk { flows: 2 * FLOWS, warm_up: Duration::ZERO, window: LEAD + CUT + 2 * AFTER, download: false };
    let (report, returned) = bulk.run_while(&from, &to, || {
        thread::sleep(LEAD);
        line.cut()?;
        thread::sleep(CUT);
        line.restore()?;
        Ok::<Instant, anyhow::Error>(Instant::now())
    })?;
    let returned = returned?;
    let passed = capture.finish()?;
    let since = returned - report.start;
    let lowest = report.lowest_mbit_s(since, bulk.window, DIP);
    Ok((ms(used_again(&passed, line, returned, bulk.window - since)), lowest))
}

/// Time until the line carries a share of its rate again; all of `within` when it does not.
fn used_again(passed: &[Captured], line: &Line, returned: Instant, within: Duration) -> Duration {
    let enough = IN_USE_SHARE * character(line, Way::Down).rate as f64 / 8.0 * IN_USE_FOR.as_secs_f64();
    let arrivals = passed.iter().filter(|frame| frame.way == Way::Down && frame.at >= returned);
    let in_use = |from: &Captured| Captured::count(passed, Way::Down, from.at, IN_USE_FOR).1 as f64 >= enough;
    arrivals.clone().find(|frame| in_use(frame)).map_or(within, |frame| frame.at - returned)
}

/// Cuts all lines and mends the second one: how long until packets come through again, both ways, in ms.
pub(crate) fn blackout(place: &Place<'_>) -> Result<f64> {
    let bonded = place.bonded()?;
    let probe = Probe::small(LEAD + BLACKOUT + 2 * AFTER);
    let begun = Instant::now();
    let (reports, returned) = thread::scope(|scope| {
        let probing = Way::ALL.map(|way| {
            let [from, to] = bonded.ends(way);
            scope.spawn(move || probe.between(&from, &to, Instant::now))
        });
        let returned = fail_all(place);
        (probing.map(|thread| thread.join().map_err(|_| anyhow!("a probe panicked"))), returned)
    });
    let returned = returned?;
    let mut longest = Duration::ZERO;
    for report in reports {
        let (report, start) = report??;
        let moment = returned.saturating_duration_since(start.max(begun));
        let first = report.arrivals.iter().map(|arrival| arrival.came).find(|came| *came > moment);
        longest = longest.max(first.unwrap_or(probe.duration) - moment);
    }
    Ok(ms(longest))
}

/// When the first line is back.
fn fail_all(place: &Place<'_>) -> Result<Instant> {
    thread::sleep(LEAD);
    let lines = &place.dual.lines;
    lines.iter().try_for_each(Line::cut)?;
    thread::sleep(BLACKOUT);
    lines[1].restore()?;
    let returned = Instant::now();
    thread::sleep(AFTER);
    lines[0].restore()?;
    Ok(returned)
}

/// Probes of both sizes, both ways, and nothing else: the small one's, the large one's.
pub(crate) fn probes(place: &Place<'_>) -> Result<[Seen; 2]> {
    let bonded = place.bonded()?;
    let time = place.plan.window(place.round_trip());
    let probes = [Probe::small(time), Probe::large(time)];
    let [small, large] = thread::scope(|scope| {
        let probing = probes.map(|probe| {
            Way::ALL.map(|way| {
                let [from, to] = bonded.ends(way);
                scope.spawn(move || probe.between(&from, &to, || ()).map(|(report, ())| report))
            })
        });
        probing.map(joined)
    });
    let stale = slowest(place) + STALE;
    Ok([Seen::of(&small?, &probes[0], stale), Seen::of(&large?, &probes[1], stale)])
}

/// The one-way delay of the slowest line.
fn slowest(place: &Place<'_>) -> Duration {
    let delays = place.dual.lines.iter().flat_map(|line| Way::ALL.map(|way| character(line, way).delay));
    delays.max().unwrap_or_default()
}

/// Both directions full, probes of both sizes beside, and `meanwhile`.
fn under_load(place: &Place<'_>, duration: Duration, meanwhile: impl FnOnce() -> Result<()>) -> Result<Loaded> {
    let bonded = place.bonded()?;
    let bulk = Bulk { flows: FLOWS, warm_up: Duration::ZERO, window: duration, download: false };
    let time = duration - LEAD + PROBE_LEAD;
    let probes = [Probe::small(time), Probe::large(time)];
    thread::scope(|scope| {
        let flowing = Way::ALL.map(|way| {
            let [from, to] = bonded.ends(way);
            scope.spawn(move || bulk.run(&from, &to))
        });
        let probing = probes.map(|probe| {
            Way::ALL.map(|way| {
                let [from, to] = bonded.ends(way);
                scope.spawn(move || {
                    thread::sleep(LEAD - PROBE_LEAD);
                    probe.between(&from, &to, || ()).map(|(report, ())| report)
                })
            })
        });
        let done = meanwhile();
        let bulk = joined(flowing)?;
        let [small, large] = probing.map(joined);
        done?;
        Ok(Loaded { bulk, small: small?, large: large?, probes })
    })
}

fn joined<T>(threads: [thread::ScopedJoinHandle<'_, Result<T>>; 2]) -> Result<Vec<T>> {
    threads.map(|thread| thread.join().map_err(|_| anyhow!("a meter panicked"))?).into_iter().collect()
}

impl Loaded {
    fn worst(&self, slowest: Duration) -> Worst {
        let [small, large] = &self.probes;
        let end = |report: &BulkReport| report.samples.last().map_or(Duration::ZERO, |(at, _)| *at);
        let died = |report: &BulkReport| report.flows_standing_since(end(report).saturating_sub(LAST_PART));
        Worst {
            small: Seen::of(&self.small, small, slowest + STALE),
            large: Seen::of(&self.large, large, slowest + STALE),
            flows_died: self.bulk.iter().map(died).sum::<usize>() as f64,
            standstill_ms: self.bulk.iter().map(|report| ms(report.longest_standstill(LEAD))).fold(0.0, f64::max),
        }
    }
}

impl Seen {
    fn of(reports: &[ProbeReport], probe: &Probe, stale: Duration) -> Self {
        let sum = |count: fn(&ProbeReport) -> u64| reports.iter().map(count).sum::<u64>() as f64;
        Self {
            lost: sum(ProbeReport::lost),
            twice: sum(ProbeReport::duplicates),
            reordered: sum(ProbeReport::reordered),
            stale: reports.iter().map(|report| report.later_than(stale)).sum::<usize>() as f64,
            gap_ms: reports.iter().map(|report| ms(report.longest_gap(probe))).fold(0.0, f64::max),
            oldest_ms: reports.iter().filter_map(|report| report.delay(100.0)).map(ms).fold(0.0, f64::max),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost.max(other.lost),
            twice: self.twice.max(other.twice),
            stale: self.stale.max(other.stale),
            reordered: self.reordered.max(other.reordered),
            gap_ms: self.gap_ms.max(other.gap_ms),
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
        }
    }
}

impl Worst {
    fn and(self, other: Self) -> Self {
        Self {
            small: self.small.and(other.small),
            large: self.large.and(other.large),
            flows_died: self.flows_died.max(other.flows_died),
            standstill_ms: self.standstill_ms.max(other.standstill_ms),
        }
    }

    fn in_words(self) -> String {
        let Self { small, large, flows_died, standstill_ms } = self;
        format!(
            "small {} lost, gap {:.0} ms, oldest {:.0} ms; large {} lost, gap {:.0} ms; {flows_died} flows died, standstill {standstill_ms:.0} ms",
            small.lost, small.gap_ms, small.oldest_ms, large.lost, large.gap_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_two_cuts_is_the_worst_of_each_figure() {
        let one = Seen { lost: 3.0, gap_ms: 20.0, ..Seen::default() };
        let other = Seen { gap_ms: 40.0, stale: 1.0, ..Seen::default() };
        let both = Worst { small: one, ..Worst::default() }.and(Worst { small: other, flows_died: 1.0, ..Worst::default() });
        assert_eq!(both.small, Seen { lost: 3.0, gap_ms: 40.0, stale: 1.0, ..Seen::default() });
        assert_eq!(both.flows_died, 1.0);
    }
}
