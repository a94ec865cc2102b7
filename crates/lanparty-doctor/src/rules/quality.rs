//! How good the path is: time, loss, and what a modest rate loses.

use crate::words::count;
use crate::{Code, Finding, RelayFacts, RttFacts, ThrottleFacts};

/// A round trip above this is felt in any game: half of it already delays what the other side sees.
const RTT_MS_MAX: f64 = 150.0;
/// A single lost packet is chance; from two on, and this share, it is the path.
const LOST_MIN: u32 = 2;
/// Games repair a loss of 2 % by themselves; above it they stutter.
const LOSS_PERCENT_MAX: u32 = 2;
/// A modest rate that loses this much more, in percent, than single packets may have lost is held down on purpose. Of so few
/// single packets the true share may be two standard deviations above the one that was seen.
const THROTTLE_PERCENT_MIN: u32 = 10;
/// A queue of this length, in milliseconds, is one that the burst has filled: what is limited on purpose is dropped and not kept.
const QUEUED_MS_MIN: f64 = 100.0;
/// Less than this share of the offered rate came back, in percent: more is a queue that was there anyway.
const CARRIED_PERCENT_MAX: u32 = 80;
/// Fewer packets than this say nothing about a rate.
const THROTTLE_SENT_MIN: u32 = 50;

pub(super) fn findings(relay: &RelayFacts, found: &mut Vec<Finding>) {
    found.extend(bandwidth_low(relay).or_else(|| udp_throttled(relay)));
    if let Some(rtt) = &relay.rtt {
        found.extend(path_lossy(rtt));
        found.extend(path_slow(rtt));
    }
}

fn percent(lost: u32, sent: u32) -> u32 {
    lost.saturating_mul(100).checked_div(sent).unwrap_or(0)
}

fn burst(relay: &RelayFacts) -> Option<&ThrottleFacts> {
    relay.throttle.as_ref().filter(|t| t.sent >= THROTTLE_SENT_MIN)
}

/// A line that is slow keeps packets waiting; somebody who limits a rate drops them at once.
fn bandwidth_low(relay: &RelayFacts) -> Option<Finding> {
    let burst = burst(relay)?;
    let queued = burst.queued_ms.filter(|ms| *ms >= QUEUED_MS_MIN)?;
    let carried = burst.carried_kbit_s.filter(|kbit| percent(*kbit, burst.rate_kbit_s) < CARRIED_PERCENT_MAX)?;
    let title = format!("the line to the relay is slow: it carries about {carried} kbit/s of the {} that were tried", burst.rate_kbit_s);
    let evidence = format!(
        "the middle one of {} waited {queued:.0} ms in a queue on the way, and {} did not come back",
        count(burst.sent.into(), "packet"),
        burst.lost
    );
    Some(
        Finding::warning(Code::BandwidthLow, title)
            .seen_by([evidence])
            .advise("end other uploads and look again; when it stays, this is what the line gives: what is sent above it arrives late")
            .hiding(&[Code::PathLossy]),
    )
}

fn udp_throttled(relay: &RelayFacts) -> Option<Finding> {
    let burst = burst(relay)?;
    let single = relay.rtt.as_ref().map_or(0, |r| percent(r.lost, r.sent));
    let by_chance = relay.rtt.as_ref().map_or(0, |r| percent(r.lost + 2 * r.lost.isqrt() + 2, r.sent));
    let lost = percent(burst.lost, burst.sent);
    (lost >= by_chance + THROTTLE_PERCENT_MIN).then(|| {
        let title = format!("UDP is held down on the way: {lost} % is lost at only {} kbit/s", burst.rate_kbit_s);
        Finding::warning(Code::UdpThrottled, title)
            .seen_by([format!("{} of {} lost at that rate, {single} % of single packets", burst.lost, count(burst.sent.into(), "packet"))])
            .advise("end other uploads and look again; when it stays, the network limits UDP: use another one, or ask its operator")
            .hiding(&[Code::PathLossy])
    })
}

fn path_lossy(rtt: &RttFacts) -> Option<Finding> {
    let lost = percent(rtt.lost, rtt.sent);
    (rtt.lost >= LOST_MIN && lost > LOSS_PERCENT_MAX).then(|| {
        Finding::warning(Code::PathLossy, format!("{lost} % of packets to the relay and back are lost"))
            .seen_by([format!("{} of {} without an answer", rtt.lost, count(rtt.sent.into(), "probe"))])
            .advise("use a cable instead of Wi-Fi, and end other uploads; when it stays, the line or the provider loses them")
    })
}

fn path_slow(rtt: &RttFacts) -> Option<Finding> {
    let median = rtt.median_ms.filter(|ms| *ms > RTT_MS_MAX)?;
    let (min, max) = (rtt.min_ms.unwrap_or(median), rtt.max_ms.unwrap_or(median));
    Some(
        Finding::warning(Code::PathSlow, format!("the round trip to the relay takes {median:.0} ms, which games feel"))
            .seen_by([format!("shortest {min:.1} ms, longest {max:.1} ms, of {}", count(rtt.sent.into(), "probe"))])
            .advise(
                "use a relay that is nearer to the players; when the shortest is much shorter, something fills the line: end other uploads",
            ),
    )
}
