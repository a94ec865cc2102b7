//! Who looks for something, who tells of itself, and whether an answer came back by this node.

use std::time::{Duration, Instant};

use lanparty_proto::{MacAddr, Ports};

/// How long after a search what comes back is its answer; DHCP clients ask again after 4 s at first (RFC 2131 §4.1).
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// What is older says nothing of how it is now.
const LISTED: Duration = Duration::from_secs(600);
/// An answer holds for this many searches behind it: browsers send theirs in bursts, and one datagram may be lost.
const BEHIND_MAX: u64 = 2;
/// A search that is younger has no answer yet.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Somebody who looks for something, or tells of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenSearch {
    /// Who.
    pub from: MacAddr,
    /// Destination port of UDP; nothing for other broadcast.
    pub port: Option<u16>,
    /// Whether it tells, and asks nothing.
    pub is_announcement: bool,
    /// How often.
    pub count: u64,
    /// How often since the last answer.
    pub unanswered: u64,
    /// How long ago the last time was.
    pub age: Duration,
    /// Whether it came from this node's device.
    pub from_device: bool,
    /// Whether an answer came by here: from the other side, or from this node's own LAN. Unknown while it may still come,
    /// and where there is none to come.
    pub answered: Option<bool>,
}

/// By whom, where to, and whether it asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    pub(super) from: MacAddr,
    pub(super) port: Option<u16>,
    pub(super) is_announcement: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Search {
    count: u64,
    unanswered: u64,
    pub(super) at: Instant,
    from_device: bool,
    /// Where it was sent from the last time: answers go there.
    source_port: u16,
    has_answer: bool,
}

impl Search {
    pub(super) const fn new(at: Instant) -> Self {
        Self { count: 0, unanswered: 0, at, from_device: false, source_port: 0, has_answer: false }
    }

    pub(super) fn again(&mut self, source_port: u16, from_device: bool, now: Instant) {
        // After a pause it is another search.
        if now.saturating_duration_since(self.at) > LISTED {
            *self = Self::new(now);
        }
        (self.count, self.unanswered) = (self.count + 1, self.unanswered + 1);
        (self.at, self.from_device, self.source_port) = (now, from_device, source_port);
    }

    /// Something comes back in time, from this node's device or from the room. What goes from member to member is not seen
    /// here, so an answer from the room counts only for who is at this node.
    pub(super) fn answer(&mut self, from_device: bool, now: Instant) {
        if (from_device || self.from_device) && now.saturating_duration_since(self.at) <= ANSWER_WAIT {
            (self.has_answer, self.unanswered) = (true, 0);
        }
    }

    /// Answers come from the port that was asked, or to the port that asked.
    pub(super) const fn is_reply(&self, asked: u16, reply: Ports) -> bool {
        reply.from == asked || reply.to == self.source_port
    }

    /// As it is now; nothing when that is too long ago.
    pub(super) fn seen(&self, key: &Key, now: Instant) -> Option<SeenSearch> {
        let age = now.saturating_duration_since(self.at);
        let answered = match (key.port, self.has_answer && self.unanswered <= BEHIND_MAX) {
            (Some(_), _) if key.is_announcement => None,
            (Some(_), true) => Some(true),
            (Some(_), false) if self.unanswered == 1 && age < IN_FLIGHT => None,
            (Some(_), false) => Some(false),
            (None, _) => None,
        };
        (age <= LISTED).then_some(SeenSearch {
            from: key.from,
            port: key.port,
            is_announcement: key.is_announcement,
            count: self.count,
            unanswered: self.unanswered,
            age,
            from_device: self.from_device,
            answered,
        })
    }
}
