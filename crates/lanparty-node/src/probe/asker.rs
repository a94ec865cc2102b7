//! Asks a relay's probe service over one wire, and matches answers to questions.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use lanparty_proto::{PROBE_LEN_MAX, PROBE_LEN_MIN, ProbeAnswer, ProbeCookie, ProbeQuestion};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::refusal::{is_nobody_there, is_too_large};
use super::wire::Wire;

/// What one asker sends or asks for when nothing else is said: two of them in each direction are 2.4 Mbit/s.
const BYTES_PER_MS: usize = 150;
/// Longest wait for answers that keep coming, after the last question: a queue of that length is no line to play on.
const STRAGGLERS_MAX: Duration = Duration::from_secs(3);

/// One question of a round: both lengths in bytes of UDP payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    pub(super) len: usize,
    pub(super) answer_len: usize,
}

impl Ask {
    /// A short question for a short answer.
    pub(super) const SHORT: Self = Self { len: PROBE_LEN_MIN, answer_len: PROBE_LEN_MIN };

    fn pace(self) -> Duration {
        Duration::from_micros((self.len.max(self.answer_len) * 1000 / BYTES_PER_MS) as u64)
    }
}

/// An answer as it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) answer: ProbeAnswer,
    /// Bytes of UDP payload: fewer than were asked for when the relay does not believe this address.
    pub(super) len: usize,
    /// Since its question left.
    pub(super) rtt: Duration,
    pub(super) at: Instant,
}

/// What became of a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Answered(Heard),
    /// This host refused to send it.
    Refused,
    /// No answer.
    Lost,
}

/// Questions on their way.
struct Round {
    fates: Vec<Fate>,
    /// By sequence: its index, and when it left.
    open: HashMap<u32, (usize, Instant)>,
}

impl Round {
    fn new(len: usize) -> Self {
        Self { fates: vec![Fate::Lost; len], open: HashMap::new() }
    }

    fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

/// Asks over one wire.
pub(super) struct Asker<W> {
    wire: W,
    sequence: u32,
    cookie: ProbeCookie,
    answers_may_fragment: bool,
    /// IP MTU of the route back, as the relay's system knows it.
    pub(super) route_back_mtu: Option<u16>,
    /// Whether ICMP said of a packet of this wire that it is too big.
    pub(super) heard_too_big: bool,
    /// Whether ICMP said that nobody listens.
    heard_refused: bool,
}

impl<W: Wire> Asker<W> {
    /// `cookie` is one that the relay gave to this host before, or zeros.
    pub(super) const fn new(wire: W, answers_may_fragment: bool, cookie: ProbeCookie) -> Self {
        Self { wire, sequence: 0, cookie, answers_may_fragment, route_back_mtu: None, heard_too_big: false, heard_refused: false }
    }

    pub(super) const fn wire(&self) -> &W {
        &self.wire
    }

    /// The last that the relay gave.
    pub(super) const fn cookie(&self) -> ProbeCookie {
        self.cookie
    }

    /// IP and UDP headers around the payload, in bytes.
    pub(super) fn headers(&self) -> usize {
        if self.wire.is_ipv6() { 48 } else { 28 }
    }

    /// Asks every question once, at an even pace, and waits for answers until none has come for `patience`. In the order asked.
    pub(super) async fn round(&mut self, asks: &[Ask], pace: Option<Duration>, patience: Duration) -> io::Result<Vec<Fate>> {
        let mut round = Round::new(asks.len());
        let mut due = Instant::now();
        for (index, ask) in asks.iter().enumerate() {
            while round.is_open() && self.next(&mut round, due).await {}
            sleep_until(due).await;
            due = Instant::now().max(due) + pace.unwrap_or_else(|| ask.pace());
            self.ask(*ask, index, &mut round);
        }
        // Late is not lost: while answers come, a queue on the way is being emptied, and the next may be in it.
        let end = Instant::now() + STRAGGLERS_MAX;
        while round.is_open() && self.next(&mut round, end.min(Instant::now() + patience)).await {}
        Ok(round.fates)
    }

    /// One short question, asked again every `patience` until any of them is answered or `tries` have failed.
    pub(super) async fn knock(&mut self, tries: usize, patience: Duration) -> io::Result<Option<Heard>> {
        let mut round = Round::new(tries);
        for index in 0..tries {
            self.ask(Ask::SHORT, index, &mut round);
            let deadline = Instant::now() + patience;
            while self.next(&mut round, deadline).await {
                let answered = round.fates.iter().find_map(|fate| if let Fate::Answered(heard) = fate { Some(*heard) } else { None });
                if answered.is_some() || self.heard_refused {
                    return Ok(answered);
                }
            }
        }
        Ok(None)
    }

    fn ask(&mut self, ask: Ask, index: usize, round: &mut Round) {
        self.sequence = self.sequence.wrapping_add(1);
        round.open.insert(self.sequence, (index, Instant::now()));
        if !self.send(ask) {
            round.open.remove(&self.sequence);
            round.fates[index] = Fate::Refused;
        }
    }

    /// Whether this host sent it.
    fn send(&mut self, ask: Ask) -> bool {
        let answer_len = u16::try_from(ask.answer_len).unwrap_or(u16::MAX);
        let question = ProbeQuestion { sequence: self.sequence, answer_len, may_fragment: self.answers_may_fragment, cookie: self.cookie };
        let bytes = question.encode(ask.len);
        let Err(first) = self.wire.send(&bytes) else { return true };
        // An error that ICMP left behind is told to whoever sends next, and is gone with that: only what stays is about this.
        match self.wire.send(&bytes) {
            Err(e) if is_too_large(&e) => return false,
            // A full queue of this host loses the packet, as any other queue would.
            _ => self.note(&first),
        }
        true
    }

    /// Takes whatever comes next; whether anything came before `deadline`.
    async fn next(&mut self, round: &mut Round, deadline: Instant) -> bool {
        let mut buffer = [0; PROBE_LEN_MAX + 1];
        let Ok(received) = timeout_at(deadline, self.wire.recv(&mut buffer)).await else { return false };
        match received {
            Ok(len) => self.take(&buffer[..len], round),
            Err(e) => self.note(&e),
        }
        true
    }

    fn take(&mut self, bytes: &[u8], round: &mut Round) {
        let Some(answer) = ProbeAnswer::decode(bytes) else { return };
        let Some((index, sent)) = round.open.remove(&answer.sequence) else { return };
        self.cookie = answer.cookie;
        self.route_back_mtu = answer.route_mtu.or(self.route_back_mtu);
        if let Some(fate) = round.fates.get_mut(index) {
            *fate = Fate::Answered(Heard { answer, len: bytes.len(), rtt: sent.elapsed(), at: Instant::now() });
        }
    }

    /// What ICMP says of earlier packets reaches a connected socket as errors (udp(7)).
    fn note(&mut self, e: &io::Error) {
        // Anything else, as no route for now or a firewall of this host: the questions count as lost.
        self.heard_too_big |= is_too_large(e);
        self.heard_refused |= is_nobody_there(e);
    }
}

#[cfg(test)]
mod tests {
    use lanparty_nic::Fragmentation;

    use super::*;
    use crate::probe::measure::Path;
    use crate::probe::model::{Character, Model};

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_longer_than_the_next_knock_is_heard() {
        for ms in [20, 499, 500, 600, 900, 1400, 2900] {
            let rtt = Duration::from_millis(ms);
            let wire = Model::new(Character { rtt, ..Character::default() }).open(Fragmentation::Forbidden).unwrap();
            let heard = Asker::new(wire, false, [0; 16]).knock(6, Duration::from_millis(500)).await.unwrap();
            assert_eq!(heard.map(|heard| heard.rtt), Some(rtt));
        }
    }
}
