//! Echo at the driver: answers that the inbound half owes are sent, and runs of requests (`lanparty ping`) are kept going
//! until they end or nobody reads their answers any more.

use std::time::Instant;

use lanparty_core::{EchoEvent, EchoOutput, Heard, Ping, PingPlan, PingReport, Roster, Sweep, SweepReport};
use lanparty_nic::Device;
use lanparty_proto::{DropReason, Echo, MacAddr, MemberFrame, MemberId, MemberInfo};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::{MemberDriver, log_frame, room_and_path, take_back};
use crate::management::{Answers, PingAsk};
use crate::{LinkEnded, SendOutcome};

/// Runs at once: more than a person starts, and few enough for the rate that the other side answers.
const RUNS_MAX: usize = 4;

enum Course {
    Ping(Ping),
    Sweep(Box<Sweep>),
}

struct Run {
    target: MacAddr,
    member: MemberId,
    /// By which way its requests went last.
    way: &'static str,
    course: Course,
    answers: Answers,
    poll_at: Instant,
}

/// The runs of one member.
#[derive(Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// When a run wants to be polled.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|run| run.poll_at).min()
    }

    /// There is no room any more.
    pub(super) fn end(&mut self) {
        for run in self.0.drain(..) {
            run.answers.give(not_joined());
        }
    }

    fn hear(&mut self, from: MacAddr, echo: Echo, now: Instant) {
        for run in self.0.iter_mut().filter(|run| run.target == from) {
            match &mut run.course {
                Course::Ping(ping) => ping.handle_reply(echo, now),
                Course::Sweep(sweep) => sweep.handle_reply(echo, now),
            }
            run.poll_at = now;
        }
    }
}

impl Course {
    fn poll_output(&mut self, now: Instant) -> EchoOutput {
        match self {
            Self::Ping(ping) => ping.poll_output(now),
            Self::Sweep(sweep) => sweep.poll_output(now),
        }
    }

    fn handle_refused(&mut self, echo: Echo, reason: DropReason) {
        match self {
            Self::Ping(ping) => ping.handle_refused(echo, reason),
            Self::Sweep(sweep) => sweep.handle_refused(echo, reason),
        }
    }

    fn report(&self) -> Value {
        match self {
            Self::Ping(ping) => ping_report(ping.report()),
            Self::Sweep(sweep) => sweep_report(sweep.report()),
        }
    }
}

impl<D: Device> MemberDriver<D> {
    /// Starts a run of requests; what it finds goes to `answers`, line by line.
    pub fn ping(&mut self, ask: &PingAsk, answers: Answers) {
        let Some(roster) = self.known_room() else { return answers.give(not_joined()) };
        let member = match find(roster, &ask.member) {
            Ok(member) => member,
            Err(error) => return answers.give(error),
        };
        if self.island.is_some() && !self.peers.carries(member.id) {
            return answers.give(not_reached(member.id));
        }
        if self.runs.0.len() >= RUNS_MAX {
            return answers.give(json!({ "error": "busy", "message": "too many pings run here at once; wait for one to end" }));
        }
        let (nonce, now) = (random_u64(), Instant::now());
        let course = if ask.sweep {
            Course::Sweep(Box::new(Sweep::new(nonce, roster.lan_mtu())))
        } else {
            let interval = std::time::Duration::from_millis(ask.interval_ms);
            Course::Ping(Ping::new(PingPlan { nonce, count: ask.count, interval, size: ask.size }, now))
        };
        let way = self.way_to(member.id);
        answers.give(json!({
            "event": "start", "peer": member.id, "role": member.role, "mac": member.mac, "way": way,
            "paths": self.peers.path_names(member.id),
            "lan_mtu": roster.lan_mtu(), "size": ask.size,
        }));
        self.runs.0.push(Run { target: member.mac, member: member.id, way, course, answers, poll_at: now });
    }

    fn way_to(&self, member: MemberId) -> &'static str {
        if self.peers.carries(member) { "direct" } else { "relay" }
    }

    /// Sends what the inbound half answers, and gives replies to who waits for them.
    pub(super) fn hear(&mut self) -> Result<(), LinkEnded> {
        let now = Instant::now();
        for heard in self.inbound.take_heard() {
            match heard {
                // Whether the answer leaves is counted there.
                Heard::Answer(frame) => drop(self.send_own(&frame)?),
                Heard::Reply { from, echo } => self.runs.hear(from, echo, now),
                Heard::DirectBegins { from } => self.direct_begins(from)?,
            }
        }
        Ok(())
    }

    /// What a member sent by the relay before it went over to the direct link has all come.
    fn direct_begins(&mut self, from: MacAddr) -> Result<(), LinkEnded> {
        let member = self.roster().and_then(|roster| roster.by_mac(from)).map(|member| member.id);
        let waited = member.map(|member| self.peers.open(member)).unwrap_or_default();
        // The device says of itself what is wrong with it.
        self.take_in(waited).map(drop)
    }

    /// Polls every run that is due; those that ended, or that nobody listens to, go.
    pub(super) fn drive_runs(&mut self) -> Result<(), LinkEnded> {
        let now = Instant::now();
        let mut runs = std::mem::take(&mut self.runs.0);
        let mut outcome = Ok(());
        runs.retain_mut(|run| {
            run.poll_at > now
                || self.drive(run, now).unwrap_or_else(|ended| {
                    outcome = Err(ended);
                    true
                })
        });
        self.runs.0 = runs;
        outcome
    }

    /// Whether the run goes on.
    fn drive(&mut self, run: &mut Run, now: Instant) -> Result<bool, LinkEnded> {
        let Some(own) = self.known_room().map(|r| r.own().mac) else { return Ok(false) };
        let way = self.way_to(run.member);
        let is_other = matches!(run.course, Course::Ping(_)) && std::mem::replace(&mut run.way, way) != way;
        if is_other && !run.answers.offer(json!({ "event": "way", "way": way })) {
            return Ok(false);
        }
        loop {
            match run.course.poll_output(now) {
                EchoOutput::Send { echo, size } => {
                    if let Err(reason) = self.send_own(&MemberFrame::Request(echo).encode(run.target, own, size))? {
                        run.course.handle_refused(echo, reason);
                    }
                }
                EchoOutput::Event(event) => {
                    if !run.answers.offer(event_value(event)) {
                        return Ok(false);
                    }
                }
                EchoOutput::Timeout(at, _) => {
                    run.poll_at = at;
                    return Ok(!run.answers.is_closed());
                }
                EchoOutput::Done => {
                    run.answers.give(run.course.report());
                    return Ok(false);
                }
            }
        }
    }

    /// Stations 2 to 4 for a frame of this member's own making.
    pub(super) fn send_own(&mut self, frame: &[u8]) -> Result<Result<(), DropReason>, LinkEnded> {
        let (roster, path) = room_and_path(self.connected.as_ref(), self.island.as_ref());
        let mut records = vec![];
        let outcome = self.outbound.originate(frame, roster, path, Instant::now(), &mut records);
        for record in &records {
            log_frame(self.role, &self.interface, self.outbound.direction().as_str(), None, record);
        }
        if let (Ok(datagram), Some(roster)) = (&outcome, roster)
            && self.takes_directly(roster, datagram)
        {
            return Ok(Ok(()));
        }
        let (datagram, c) = match (outcome, &self.connected) {
            (Ok(datagram), Some(c)) => (datagram, c),
            (Ok(datagram), None) => {
                self.outbound.take_back(&datagram, DropReason::LinkDown);
                return Ok(Err(DropReason::LinkDown));
            }
            (outcome, _) => return Ok(outcome.map(drop)),
        };
        if !self.pending.has_room() {
            self.outbound.take_back(&datagram, DropReason::QueueFull);
            return Ok(Err(DropReason::QueueFull));
        }
        let sent = if self.pending.is_empty() { c.link.send_now(std::slice::from_ref(&datagram))? } else { SendOutcome::default() };
        if sent.taken == 0 {
            let pushed_out = self.pending.push(datagram, Instant::now());
            take_back(&mut self.outbound, &pushed_out);
        }
        self.outbound_refused(&sent.refused);
        Ok(if sent.refused.is_empty() { Ok(()) } else { Err(DropReason::DatagramBudget) })
    }
}

/// The member of the room that `text` names.
fn find<'a>(roster: &'a Roster, text: &str) -> Result<&'a MemberInfo, Value> {
    let own = roster.own();
    let found = if text == "gateway" {
        roster.gateway()
    } else if let Ok(mac) = text.parse::<MacAddr>() {
        roster.by_mac(mac)
    } else {
        text.parse().ok().and_then(|id| roster.member(MemberId(id)))
    };
    found.ok_or_else(|| {
        let members: Vec<_> = roster.members().collect();
        json!({ "error": "no-such-member", "message": format!("nobody in this room is `{text}`"), "self": own, "members": members })
    })
}

pub(super) fn not_joined() -> Value {
    json!({ "error": "not-joined", "message": "this program is in no room at the moment" })
}

fn not_reached(member: MemberId) -> Value {
    let words = format!("the relay is away, and peer {member} is not reached directly");
    json!({ "error": "not-reached", "message": words })
}

fn event_value(event: EchoEvent) -> Value {
    match event {
        EchoEvent::Reply { sequence, size, rtt } => json!({ "event": "reply", "sequence": sequence, "size": size, "rtt_ms": ms(rtt) }),
        EchoEvent::Lost { sequence, size } => json!({ "event": "lost", "sequence": sequence, "size": size }),
        EchoEvent::Refused { sequence, size, reason } => {
            json!({ "event": "refused", "sequence": sequence, "size": size, "reason": reason, "explanation": reason.explanation().trim() })
        }
        EchoEvent::Passes { size } => json!({ "event": "passes", "size": size }),
        EchoEvent::Vanishes { size } => json!({ "event": "vanishes", "size": size }),
    }
}

fn ping_report(report: PingReport) -> Value {
    json!({
        "event": "done", "asked": report.asked, "answered": report.answered,
        "rtt_min_ms": report.rtt_min.map(ms), "rtt_avg_ms": report.rtt_avg.map(ms), "rtt_max_ms": report.rtt_max.map(ms),
    })
}

fn sweep_report(report: &SweepReport) -> Value {
    let refused =
        report.refused.map(|(from, reason)| json!({ "from": from, "reason": reason, "explanation": reason.explanation().trim() }));
    json!({
        "event": "done", "promised": report.promised, "largest": report.largest, "whole": report.is_whole(), "refused": refused,
        "holes": report.holes, "beyond": report.beyond, "asked": report.requests, "answered": report.replies,
        "rtt_min_ms": report.rtt_min.map(ms),
    })
}

fn ms(rtt: std::time::Duration) -> f64 {
    (rtt.as_secs_f64() * 1e6).round() / 1e3
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u64::from_ne_bytes(bytes)
}
