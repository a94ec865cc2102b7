//! The relay's side: answers probes on two UDP ports next to its own. Stateless but for its limits.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanparty_core::{Rate, TokenBucket};
use lanparty_nic::{Fragmentation, route_mtu, set_fragmentation};
use lanparty_proto::{PROBE_LEN_MAX, PROBE_LEN_MIN, ProbeAnswer, ProbeCookie, ProbeQuestion};
use ring::hmac;
use ring::rand::SystemRandom;
use schemars::JsonSchema;
use serde::Serialize;
use tracing::{debug, warn};

use super::door::{Asked, Door};
use super::refusal::is_too_large;
use crate::endpoint::canonical;

/// What all askers together get, in bytes of answers: far above one examination (some 500 kB), far below what hurts a room.
const RATE_ALL: Rate = Rate { per_second: 4_000_000, burst: 8_000_000 };
/// What one address gets.
const RATE_EACH: Rate = Rate { per_second: 500_000, burst: 2_000_000 };
/// Addresses that are remembered for that. Beyond them, a newcomer waits until one has been silent long enough.
const ADDRESSES_MAX: usize = 1024;
/// A cookie is good for this long, and for as long again: an examination takes seconds.
const COOKIE_PERIOD: Duration = Duration::from_secs(30);
/// After an error of the socket, so that one that stays does not turn into a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Where probes are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProbePorts {
    /// The two ports above the relay's own.
    #[default]
    NextToRelay,
    /// These two.
    These(u16, u16),
    /// Nowhere.
    Off,
}

impl ProbePorts {
    /// The ports, for a relay at port `relay`.
    #[must_use]
    pub const fn of(self, relay: u16) -> Option<[u16; 2]> {
        match self {
            Self::NextToRelay if relay < u16::MAX - 1 => Some([relay + 1, relay + 2]),
            Self::These(first, second) => Some([first, second]),
            Self::NextToRelay | Self::Off => None,
        }
    }
}

impl FromStr for ProbePorts {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "off" {
            return Ok(Self::Off);
        }
        let bad = || format!("`{s}` is no pair of ports; write two different ones like 8444,8445, or off");
        let (first, second) = s.split_once(',').ok_or_else(bad)?;
        let [first, second] = [first, second].map(|port| port.trim().parse().ok().filter(|port| *port != 0));
        let pair = first.zip(second).filter(|(first, second)| first != second);
        pair.map(|(first, second)| Self::These(first, second)).ok_or_else(bad)
    }
}

/// What a probe service did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProbeReport {
    /// UDP ports that it answers on.
    pub ports: Vec<u16>,
    /// Questions that it answered,
    pub answered: u64,
    /// did not because there were too many,
    pub limited: u64,
    /// or because they were none.
    pub malformed: u64,
}

/// The probe service of a relay.
pub struct ProbeService {
    doors: Vec<Door>,
    desk: Mutex<Desk>,
}

impl ProbeService {
    /// Listens at the address of the relay, on the ports that are free. A taken one is said and left out: the relay works
    /// without them.
    #[must_use]
    pub fn listen(relay: SocketAddr, ports: ProbePorts) -> Self {
        let open = |port| {
            let door = Door::open(SocketAddr::new(relay.ip(), port));
            let words = "`lanparty doctor` cannot measure sizes toward this relay; choose other ports with --probe-ports";
            door.inspect_err(|e| warn!("probes are not answered on port {port}/udp: {e}; {words}")).ok()
        };
        let doors = ports.of(relay.port()).into_iter().flatten().filter_map(open).collect();
        Self { doors, desk: Mutex::new(Desk::new(Instant::now())) }
    }

    /// Answers for ever. Cancel-safe.
    pub async fn serve(&self) {
        match self.doors.as_slice() {
            [] => std::future::pending().await,
            [only] => self.serve_on(only).await,
            [first, second, ..] => drop(tokio::join!(self.serve_on(first), self.serve_on(second))),
        }
    }

    /// What `lanparty status` shows.
    #[must_use]
    pub fn report(&self) -> ProbeReport {
        let ports = self.doors.iter().filter_map(|door| door.local_addr().ok()).map(|a| a.port()).collect();
        let Counters { answered, limited, malformed } = self.desk.lock().map(|desk| desk.counters).unwrap_or_default();
        ProbeReport { ports, answered, limited, malformed }
    }

    async fn serve_on(&self, door: &Door) {
        let mut buffer = Door::buffer();
        loop {
            match door.recv(&mut buffer).await {
                Ok(asked) => asked.questions(&buffer).for_each(|question| self.answer(door, question, &asked)),
                // An earlier answer met a closed port, for example.
                Err(e) => {
                    debug!("probe socket: {e}");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    fn answer(&self, door: &Door, question: &[u8], asked: &Asked) {
        let Ok(mut desk) = self.desk.lock() else { return };
        let Some(Reply { mut answer, len, fragmentation }) = desk.answer(question, canonical(asked.from), Instant::now(), now_ms()) else {
            return;
        };
        drop(desk);
        // What cannot be sent at once is dropped, as on any full wire: the asker counts it as lost.
        let sent = set_fragmentation(door, fragmentation).and_then(|()| door.reply(&answer.encode(len), asked));
        if sent.is_err_and(|e| is_too_large(&e)) {
            answer.too_long_here = true;
            let _ = door.reply(&answer.encode(PROBE_LEN_MIN), asked);
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An answer and how it is sent.
struct Reply {
    answer: ProbeAnswer,
    len: usize,
    fragmentation: Fragmentation,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    answered: u64,
    limited: u64,
    malformed: u64,
}

/// Decides what is answered; sends nothing itself.
struct Desk {
    key: hmac::Key,
    started: Instant,
    all: TokenBucket,
    each: HashMap<IpAddr, TokenBucket>,
    counters: Counters,
}

impl Desk {
    fn new(now: Instant) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("INVARIANT: the operating system gives random bytes");
        Self { key, started: now, all: TokenBucket::new(RATE_ALL, now), each: HashMap::new(), counters: Counters::default() }
    }

    fn answer(&mut self, bytes: &[u8], from: SocketAddr, now: Instant, clock_ms: u64) -> Option<Reply> {
        let Some(question) = ProbeQuestion::decode(bytes) else {
            self.counters.malformed += 1;
            return None;
        };
        let period = now.saturating_duration_since(self.started).as_secs() / COOKIE_PERIOD.as_secs();
        let is_proven = [Some(period), period.checked_sub(1)].into_iter().flatten().any(|p| self.cookie(from.ip(), p) == question.cookie);
        let len = if is_proven { usize::from(question.answer_len).clamp(PROBE_LEN_MIN, PROBE_LEN_MAX) } else { PROBE_LEN_MIN };
        if !self.may_send(from.ip(), len, now) {
            self.counters.limited += 1;
            return None;
        }
        self.counters.answered += 1;
        let answer = ProbeAnswer {
            sequence: question.sequence,
            question_len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
            route_mtu: if is_proven { route_mtu(from).ok().map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX)) } else { None },
            too_long_here: false,
            cookie: self.cookie(from.ip(), period),
            clock_ms,
            observed: from,
        };
        let fragmentation = if question.may_fragment { Fragmentation::Allowed } else { Fragmentation::Forbidden };
        Some(Reply { answer, len, fragmentation })
    }

    /// For the address alone: a NAT may give each port of the relay another port of its own.
    fn cookie(&self, ip: IpAddr, period: u64) -> ProbeCookie {
        let mut data = period.to_be_bytes().to_vec();
        data.extend(ip.to_string().into_bytes());
        let tag = hmac::sign(&self.key, &data);
        std::array::from_fn(|i| tag.as_ref()[i])
    }

    fn may_send(&mut self, ip: IpAddr, len: usize, now: Instant) -> bool {
        if self.each.len() >= ADDRESSES_MAX && !self.each.contains_key(&ip) {
            // A full bucket remembers nothing that a new one would not say.
            self.each.retain(|_, bucket| bucket.tokens(now) < RATE_EACH.burst);
            if self.each.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let bucket = self.each.entry(ip).or_insert_with(|| TokenBucket::new(RATE_EACH, now));
        bucket.take(len as u64, now) && self.all.take(len as u64, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::from(host.to_be_bytes()), 40_000)
    }

    fn question(answer_len: u16, cookie: ProbeCookie) -> Vec<u8> {
        ProbeQuestion { sequence: 1, answer_len, may_fragment: false, cookie }.encode(PROBE_LEN_MIN)
    }

    #[test]
    fn only_who_receives_at_its_address_gets_more_than_it_sent() {
        let now = Instant::now();
        let mut desk = Desk::new(now);
        let first = desk.answer(&question(1400, [0; 16]), from(1), now, 5).unwrap();
        assert_eq!((first.len, first.answer.route_mtu, first.answer.observed), (PROBE_LEN_MIN, None, from(1)));
        let cookie = first.answer.cookie;
        assert_eq!(desk.answer(&question(1400, cookie), from(1), now, 5).unwrap().len, 1400);
        assert_eq!(desk.answer(&question(1400, cookie), from(2), now, 5).unwrap().len, PROBE_LEN_MIN, "somebody else's cookie");
        assert_eq!(desk.answer(&question(1400, cookie), from(1), now + COOKIE_PERIOD, 5).unwrap().len, 1400);
        assert_eq!(desk.answer(&question(1400, cookie), from(1), now + 2 * COOKIE_PERIOD, 5).unwrap().len, PROBE_LEN_MIN, "too old");
    }

    #[test]
    fn one_address_gets_its_share_and_the_table_of_addresses_is_bounded() {
        let now = Instant::now();
        let mut desk = Desk::new(now);
        let cookie = desk.answer(&question(64, [0; 16]), from(1), now, 0).unwrap().answer.cookie;
        let answered = (0..10_000).filter(|_| desk.answer(&question(1000, cookie), from(1), now, 0).is_some()).count();
        assert_eq!(answered, 1999, "2 MB at once, and the first 64 bytes");
        assert!(desk.answer(&question(64, [0; 16]), from(2), now, 0).is_some(), "others are served");
        let served = (3..5000).filter(|host| desk.answer(&question(64, [0; 16]), from(*host), now, 0).is_some()).count();
        assert_eq!((desk.each.len(), served), (ADDRESSES_MAX, ADDRESSES_MAX - 2));
        let later = now + Duration::from_secs(10);
        assert!(desk.answer(&question(64, [0; 16]), from(6000), later, 0).is_some(), "silent ones are forgotten");
        assert_eq!(desk.counters.limited, 8001 + 4997 - 1022);
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let mut desk = Desk::new(Instant::now());
        for bytes in [&b""[..], b"hello", &[0; 1200], &[0xc3; 1200]] {
            assert!(desk.answer(bytes, from(1), Instant::now(), 0).is_none());
        }
        assert_eq!((desk.counters.malformed, desk.counters.answered), (4, 0));
    }

    #[test]
    fn ports_are_next_to_the_relays_unless_said_otherwise() {
        assert_eq!(ProbePorts::default().of(8443), Some([8444, 8445]));
        assert_eq!(ProbePorts::default().of(65_534), None);
        assert_eq!("9000, 9001".parse::<ProbePorts>().unwrap().of(1), Some([9000, 9001]));
        assert_eq!("off".parse::<ProbePorts>().unwrap().of(1), None);
        for bad in ["", "1", "1,1", "0,1", "x,y", "1,2,3"] {
            assert!(bad.parse::<ProbePorts>().is_err(), "{bad}");
        }
    }
}
