//! What a client's own host listens to: seen in its IGMP and MLD reports, and asked for again and again.
//!
//! A room need not have a multicast router, and without one nobody asks: memberships would be forgotten, or never. So every client asks
//! its own host, and nobody else hears that (RFC 4541 §2.1.1: a querier without an address). Timers are those of RFC 3376 §8; what is
//! known goes to the relay on the control stream, which loses nothing, and is said again to a relay that has restarted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lanparty_proto::{Frame, GROUPS_MAX, GroupChange, GroupKind, GroupQuery, Listening};

use super::GroupSet;

/// Between two questions (RFC 3376 §8.2), and time for the answers (§8.3).
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
const RESPONSE_INTERVAL: Duration = Duration::from_secs(10);
/// A group that nobody has reported for so long has no listener: two questions and their answers (§8.4).
const MEMBERSHIP: Duration = Duration::from_secs(260);
/// The first questions: the answers come soon, and one that comes before the host's interface is ready is not the last.
const STARTUP: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(4)];
const STARTUP_RESPONSE: Duration = Duration::from_secs(1);
/// Until all answers to them are there, what is known is not all.
const KNOWN_AFTER: Duration = Duration::from_millis(5500);
/// When somebody leaves, the others are asked twice, and have a second each time (§8.8, §8.9).
const LAST_MEMBER_INTERVAL: Duration = Duration::from_secs(1);
const LAST_MEMBER_QUERIES: u8 = 2;
/// Between two messages to the relay: a host that joins twenty groups says it once.
const TOLD_INTERVAL: Duration = Duration::from_millis(200);

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenersOutput {
    /// Give this frame to the device.
    Ask(Vec<u8>),
    /// Tell the relay.
    Tell(GroupSet),
    /// Poll again at that time; the text says what for.
    Timeout(Instant, &'static str),
    /// Nothing until something happens.
    Idle,
}

struct Listened {
    until: Instant,
    /// Somebody left: how often the others have yet to be asked, and when next.
    leaving: Option<(u8, Instant)>,
}

/// The groups of one host, or of those behind its bridge.
#[derive(Default)]
pub struct Listeners {
    groups: BTreeMap<IpAddr, Listened>,
    /// There were more than are told apart, and may be until then.
    too_many_until: Option<Instant>,
    /// When the next question is due, and how many of the first are asked.
    query_at: Option<(Instant, usize)>,
    known_at: Option<Instant>,
    questions: VecDeque<Vec<u8>>,
    /// This host takes part in none of them.
    declines: bool,
    told: Option<GroupSet>,
    told_at: Option<Instant>,
}

impl Listeners {
    /// Begins to ask, or goes on. A relay that knows nothing hears everything again.
    pub fn start(&mut self, now: Instant) {
        self.told = None;
        self.declines = false;
        if self.query_at.is_none() {
            self.query_at = Some((now, 0));
            self.known_at = Some(now + KNOWN_AFTER);
        }
    }

    /// Asks nothing, and tells that nothing is listened to.
    pub fn start_without(&mut self) {
        *self = Self { declines: true, ..Self::default() };
    }

    /// Asks no more.
    pub fn stop(&mut self) {
        *self = Self::default();
    }

    /// A frame from the device. Whether it says anything of groups.
    pub fn look(&mut self, frame: &[u8], now: Instant) -> bool {
        // Reports are always to a group: of most frames no more is looked at than this.
        if self.query_at.is_none() || frame.first().is_none_or(|first| first & 1 == 0) {
            return false;
        }
        let Some(changes) = Frame::parse(frame).ok().and_then(|frame| GroupChange::read(&frame)) else { return false };
        // What everybody gets needs no place.
        for change in changes.into_iter().filter(|change| GroupKind::of(change.group) == GroupKind::Joined) {
            match change.listening {
                Listening::Joined => self.joined(change.group, now),
                Listening::Left => self.left(change.group, now),
                Listening::Unchanged => {}
            }
        }
        true
    }

    fn joined(&mut self, group: IpAddr, now: Instant) {
        self.groups.retain(|_, listened| now < listened.until);
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group) {
            self.too_many_until = Some(now + MEMBERSHIP);
            return;
        }
        self.groups.insert(group, Listened { until: now + MEMBERSHIP, leaving: None });
    }

    /// Another one on this host, or behind its bridge, may be left.
    fn left(&mut self, group: IpAddr, now: Instant) {
        if let Some(listened) = self.groups.get_mut(&group).filter(|listened| listened.leaving.is_none()) {
            listened.until = now + LAST_MEMBER_INTERVAL * u32::from(LAST_MEMBER_QUERIES);
            listened.leaving = Some((LAST_MEMBER_QUERIES, now));
        }
    }

    /// What is to be done now.
    pub fn poll_output(&mut self, now: Instant) -> ListenersOutput {
        let Some((at, asked)) = self.query_at else { return self.decline() };
        if now >= at {
            self.ask_all(asked, now);
        }
        self.ask_the_others(now);
        if let Some(question) = self.questions.pop_front() {
            return ListenersOutput::Ask(question);
        }
        self.groups.retain(|_, listened| now < listened.until);
        self.too_many_until = self.too_many_until.filter(|until| now < *until);
        let known = self.known(now);
        if known.is_some() && known != self.told && self.may_tell_at().is_none_or(|at| now >= at) {
            (self.told, self.told_at) = (known.clone(), Some(now));
            return ListenersOutput::Tell(known.unwrap_or_default());
        }
        ListenersOutput::Timeout(self.next_due(known.as_ref(), now), "ask who listens to which group, or forget who does not")
    }

    fn decline(&mut self) -> ListenersOutput {
        let none = GroupSet::These(BTreeSet::new());
        if !self.declines || self.told.as_ref() == Some(&none) {
            return ListenersOutput::Idle;
        }
        self.told = Some(none.clone());
        ListenersOutput::Tell(none)
    }

    fn ask_all(&mut self, asked: usize, now: Instant) {
        let within = if asked < STARTUP.len() { STARTUP_RESPONSE } else { RESPONSE_INTERVAL };
        self.questions.extend(GroupQuery { group: None, within }.frames());
        let pause = match (STARTUP.get(asked), STARTUP.get(asked + 1)) {
            (Some(this), Some(next)) => next.saturating_sub(*this),
            _ => QUERY_INTERVAL,
        };
        self.query_at = Some((now + pause, asked.saturating_add(1)));
    }

    /// Whether others than those that left still listen.
    fn ask_the_others(&mut self, now: Instant) {
        for (group, listened) in &mut self.groups {
            let Some((left, at)) = &mut listened.leaving else { continue };
            if *left > 0 && now >= *at {
                (*left, *at) = (*left - 1, now + LAST_MEMBER_INTERVAL);
                self.questions.extend(GroupQuery { group: Some(*group), within: LAST_MEMBER_INTERVAL }.frames());
            }
        }
    }

    /// What the host listens to, once all of it is known.
    #[must_use]
    pub fn known(&self, now: Instant) -> Option<GroupSet> {
        self.known_at.filter(|at| now >= *at)?;
        if self.too_many_until.is_some() {
            return Some(GroupSet::All);
        }
        Some(GroupSet::These(self.groups.keys().copied().collect()))
    }

    fn may_tell_at(&self) -> Option<Instant> {
        self.told_at.map(|at| at + TOLD_INTERVAL)
    }

    fn next_due(&self, known: Option<&GroupSet>, now: Instant) -> Instant {
        let questions = self.groups.values().filter_map(|l| l.leaving.filter(|(left, _)| *left > 0).map(|(_, at)| at));
        let ends = self.groups.values().map(|listened| listened.until);
        let untold = known.filter(|known| Some(*known) != self.told.as_ref()).and_then(|_| self.may_tell_at());
        let known_at = self.known_at.filter(|at| now < *at);
        let others = self.query_at.map(|(at, _)| at).into_iter().chain(self.too_many_until).chain(untold).chain(known_at);
        questions.chain(ends).chain(others).min().unwrap_or(now + QUERY_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lanparty_proto::{Checksum, MulticastUse};

    use super::*;

    fn report(kind: u8, group: Ipv4Addr) -> Vec<u8> {
        let [a, b, c, d] = group.octets();
        let mut message = [kind, 0, 0, 0, a, b, c, d];
        let sum = Checksum::default().with(&message).field();
        message[2..4].copy_from_slice(&sum);
        let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, a, b, c, d];
        [&[1, 0, 0x5e, b & 0x7f, c, d, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, &message].concat()
    }

    /// Polls until there is nothing to do at `now`: how many questions there were, and what was told.
    fn poll(listeners: &mut Listeners, now: Instant) -> (usize, Vec<GroupSet>, Option<Instant>) {
        let (mut asked, mut told) = (0, vec![]);
        loop {
            match listeners.poll_output(now) {
                ListenersOutput::Ask(frame) => {
                    assert_eq!(MulticastUse::of(&Frame::parse(&frame).unwrap()), Some(MulticastUse::Query));
                    asked += 1;
                }
                ListenersOutput::Tell(groups) => told.push(groups),
                ListenersOutput::Timeout(at, _) => {
                    assert!(at > now, "or it would be polled without end");
                    return (asked, told, Some(at));
                }
                ListenersOutput::Idle => return (asked, told, None),
            }
        }
    }

    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    const OTHER: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 4);

    fn these(groups: &[Ipv4Addr]) -> GroupSet {
        GroupSet::These(groups.iter().map(|group| IpAddr::from(*group)).collect())
    }

    /// One that knows all of a host that listens to nothing.
    fn known(start: Instant) -> (Listeners, Instant) {
        let mut listeners = Listeners::default();
        listeners.start(start);
        let mut now = start;
        loop {
            let (_, told, next) = poll(&mut listeners, now);
            if told == [these(&[])] {
                return (listeners, now);
            }
            now = next.unwrap();
        }
    }

    #[test]
    fn nothing_is_told_before_the_first_answers_could_come() {
        let start = Instant::now();
        let (_, now) = known(start);
        assert_eq!(now - start, KNOWN_AFTER);
        let mut idle = Listeners::default();
        assert!(!idle.look(&report(0x16, GROUP), start) && poll(&mut idle, start) == (0, vec![], None));
    }

    #[test]
    fn who_joins_is_told_at_once_and_who_leaves_when_no_other_answers() {
        let (mut listeners, now) = known(Instant::now());
        let now = now + TOLD_INTERVAL;
        assert!(listeners.look(&report(0x16, GROUP), now));
        assert_eq!(poll(&mut listeners, now).1, [these(&[GROUP])]);
        let left = now + Duration::from_secs(20);
        listeners.look(&report(0x17, GROUP), left);
        assert_eq!(poll(&mut listeners, left).0, 1, "the others are asked");
        let again = left + LAST_MEMBER_INTERVAL;
        assert_eq!(poll(&mut listeners, again).0, 1);
        listeners.look(&report(0x16, GROUP), again);
        assert_eq!(poll(&mut listeners, again + LAST_MEMBER_INTERVAL).1, [], "another one is left");
        let left = again + Duration::from_secs(20);
        listeners.look(&report(0x17, GROUP), left);
        poll(&mut listeners, left);
        poll(&mut listeners, left + LAST_MEMBER_INTERVAL);
        assert_eq!(poll(&mut listeners, left + 2 * LAST_MEMBER_INTERVAL).1, [these(&[])]);
    }

    #[test]
    fn a_host_that_is_silent_is_forgotten_and_a_new_relay_hears_all_again() {
        let (mut listeners, now) = known(Instant::now());
        listeners.look(&report(0x16, GROUP), now);
        let (_, told, next) = poll(&mut listeners, now + TOLD_INTERVAL);
        assert_eq!(told, [these(&[GROUP])]);
        assert!(next.unwrap() <= now + QUERY_INTERVAL);
        listeners.start(now + Duration::from_secs(60));
        assert_eq!(poll(&mut listeners, now + Duration::from_secs(60)).1, [these(&[GROUP])]);
        assert_eq!(poll(&mut listeners, now + MEMBERSHIP - Duration::from_millis(1)).1, []);
        assert_eq!(poll(&mut listeners, now + MEMBERSHIP).1, [these(&[])]);
    }

    #[test]
    fn who_takes_part_in_nothing_says_so_once_to_each_relay_and_asks_nobody() {
        let (mut listeners, now) = (Listeners::default(), Instant::now());
        for _ in 0..2 {
            listeners.start_without();
            assert_eq!(poll(&mut listeners, now), (0, vec![these(&[])], None));
            assert_eq!(poll(&mut listeners, now), (0, vec![], None));
        }
        listeners.stop();
        assert_eq!(poll(&mut listeners, now), (0, vec![], None));
    }

    #[test]
    fn several_joins_are_told_at_once() {
        let (mut listeners, told) = known(Instant::now());
        listeners.look(&report(0x16, GROUP), told);
        assert_eq!(poll(&mut listeners, told), (0, vec![], Some(told + TOLD_INTERVAL)));
        listeners.look(&report(0x16, OTHER), told);
        assert_eq!(poll(&mut listeners, told + TOLD_INTERVAL).1, [these(&[GROUP, OTHER])]);
    }

    #[test]
    fn a_host_with_more_groups_than_are_told_apart_gets_all_and_what_everybody_gets_needs_no_place() {
        let (mut listeners, now) = known(Instant::now());
        let now = now + TOLD_INTERVAL;
        for n in 0..=255 {
            listeners.look(&report(0x16, Ipv4Addr::new(224, 0, 0, n)), now);
        }
        assert_eq!(poll(&mut listeners, now).1, []);
        for n in 0..=u8::try_from(GROUPS_MAX).unwrap() {
            listeners.look(&report(0x16, Ipv4Addr::new(239, 0, 0, n)), now);
        }
        assert_eq!((poll(&mut listeners, now).1, listeners.groups.len()), (vec![GroupSet::All], GROUPS_MAX));
        let later = now + MEMBERSHIP;
        listeners.look(&report(0x16, GROUP), later);
        assert_eq!(poll(&mut listeners, later).1.last(), Some(&these(&[GROUP])));
    }
}
