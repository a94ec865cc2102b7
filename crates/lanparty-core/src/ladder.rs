//! The size ladder (DESIGN §6): what becomes of a frame that is too large, at the node where it enters.
//!
//! 1. a SYN's MSS is clamped, so that TCP never sends what is too large;
//! 2. IPv4 that must not be fragmented: its sender is told (ICMP type 3 code 4);
//! 3. IPv4 that may be: it is fragmented;
//! 4. IPv6: its sender is told (ICMPv6 packet too big), from 1,280 up;
//! 5. all else is dropped for the reason that admission gave.
//!
//! Each rung has its counter. How the bytes look is in `lanparty_proto`; here is who gets which rung, and how often.

mod answers;

use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{
    AdmissionPolicy, DatagramBudget, DropReason, Frame, LanMtu, Role, clamp_mss, ethertype, forbids_fragments, fragment_ipv4, frame_fits,
    ip_ends, is_intact, lower_told_mtu, packet_too_big, trim,
};
use serde::Serialize;

use crate::{PathSize, Roster};
use answers::AnswerLimiter;

/// What each rung did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LadderCounters {
    /// SYNs that went on with a lower MSS.
    pub mss_clamped: u64,
    /// Senders of IPv4 that were told.
    pub too_big_v4: u64,
    /// Senders of IPv6 that were told.
    pub too_big_v6: u64,
    /// Frames that were not answered, because there were so many or because the answer could not be sent. They are counted as dropped.
    pub answers_withheld: u64,
    /// IPv4 packets that were fragmented.
    pub fragmented: u64,
    /// Frames that they became.
    pub fragments: u64,
    /// DHCP and router messages that went on with a lower MTU.
    pub told_mtu_lowered: u64,
}

/// What becomes of a frame that is too large.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// It goes on as these frames.
    Pieces(Vec<Vec<u8>>),
    /// It goes no further, and this frame goes back to where it came from.
    Answer(Bytes),
    /// It goes no further.
    Drop(DropReason),
}

/// The sizes that apply to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What can be sent now.
    now: LanMtu,
    /// What the room promises.
    room: LanMtu,
    /// What a sender may be told: nothing that will be outdated in a moment.
    told: LanMtu,
}

impl Limits {
    /// For a frame to `frame.dst()`, or why nothing fits at all.
    pub(crate) fn toward(frame: &Frame<'_>, roster: &Roster, path: PathSize) -> Result<Self, DropReason> {
        let there = roster.path_mtu(frame.dst()).unwrap_or(LanMtu::MAX).min(roster.lan_mtu());
        let own = path.budget.lan_mtu().ok_or(DropReason::DatagramBudget)?;
        let now = there.min(own);
        Ok(Self { now, room: roster.lan_mtu(), told: if path.settled { now } else { there } })
    }

    /// For a link between two ends that know what passes now, what they agreed on, and what a sender may be told.
    pub(crate) const fn of(now: LanMtu, room: LanMtu, told: LanMtu) -> Self {
        Self { now, room, told }
    }

    /// Why a frame of this length cannot go on as it is.
    pub(crate) fn check(self, len: usize, policy: &AdmissionPolicy) -> Result<(), DropReason> {
        frame_fits(len, policy.lan_mtu, Some(DatagramBudget::for_lan_mtu(self.now)))
    }
}

/// The ladder of one member.
pub(crate) struct Ladder {
    counters: LadderCounters,
    answers: AnswerLimiter,
    lowers_told_mtu: bool,
}

/// Which of the sizes that a frame tells were lowered.
#[derive(Clone, Copy)]
struct Lowered {
    mss: bool,
    told_mtu: bool,
}

impl Ladder {
    pub(crate) fn new(role: Role) -> Self {
        // Only a gateway's frames come from DHCP servers and routers.
        Self { counters: LadderCounters::default(), answers: AnswerLimiter::default(), lowers_told_mtu: role == Role::Gateway }
    }

    pub(crate) const fn keep_told_mtu(&mut self) {
        self.lowers_told_mtu = false;
    }

    pub(crate) const fn counters(&self) -> LadderCounters {
        self.counters
    }

    /// An answer that was not sent after all: nobody was told.
    pub(crate) fn take_back(&mut self, answer: &[u8]) {
        let is_v6 = answer.get(12..14) == Some(&ethertype::IPV6.to_be_bytes());
        let told = if is_v6 { &mut self.counters.too_big_v6 } else { &mut self.counters.too_big_v4 };
        *told = told.saturating_sub(1);
        self.counters.answers_withheld += 1;
    }

    /// Rung 1, and what the LAN tells of its MTU, in a frame that goes on.
    pub(crate) fn lower_sizes(&mut self, frame: &mut [u8], limits: Limits) {
        let lowered = self.lower(frame, limits);
        self.count(lowered);
    }

    fn lower(&self, frame: &mut [u8], limits: Limits) -> Lowered {
        let mss = clamp_mss(frame, limits.now);
        Lowered { mss, told_mtu: self.lowers_told_mtu && lower_told_mtu(frame, limits.room) }
    }

    fn count(&mut self, lowered: Lowered) {
        self.counters.mss_clamped += u64::from(lowered.mss);
        self.counters.told_mtu_lowered += u64::from(lowered.told_mtu);
    }

    /// Rungs 2 to 5, on a frame that nothing is wrong with but its size. What goes on tells sizes that fit; who is answered
    /// reads what it wrote.
    pub(crate) fn descend(&mut self, bytes: &mut [u8], limits: Limits, reason: DropReason, now: Instant) -> Rung {
        let frame = match Frame::parse(bytes) {
            Ok(frame) if is_intact(&frame) => frame,
            _ => return Rung::Drop(DropReason::Malformed),
        };
        if let Some(mut trimmed) = trim(&frame, limits.now).map(<[u8]>::to_vec) {
            self.lower_sizes(&mut trimmed, limits);
            return Rung::Pieces(vec![trimmed]);
        }
        if frame.ethertype() == ethertype::IPV4 && !forbids_fragments(&frame) {
            return self.cut_up(bytes, limits);
        }
        self.answer(&frame, limits, reason, now)
    }

    fn cut_up(&mut self, bytes: &mut [u8], limits: Limits) -> Rung {
        // Before, since afterwards the checksum and what it covers are in different pieces.
        let lowered = self.lower(bytes, limits);
        match Frame::parse(bytes).and_then(|frame| fragment_ipv4(&frame, limits.now)) {
            Ok(pieces) => {
                self.count(lowered);
                self.counters.fragmented += 1;
                self.counters.fragments += pieces.len() as u64;
                Rung::Pieces(pieces)
            }
            Err(reason) => Rung::Drop(reason),
        }
    }

    fn answer(&mut self, frame: &Frame<'_>, limits: Limits, reason: DropReason, now: Instant) -> Rung {
        match packet_too_big(frame, limits.told) {
            Some(answer) if ip_ends(frame).is_some_and(|path| self.answers.admits(path, now)) => {
                let is_v6 = frame.ethertype() == ethertype::IPV6;
                self.counters.too_big_v6 += u64::from(is_v6);
                self.counters.too_big_v4 += u64::from(!is_v6);
                Rung::Answer(answer.into())
            }
            Some(_) => {
                self.counters.answers_withheld += 1;
                Rung::Drop(reason)
            }
            None => Rung::Drop(reason),
        }
    }
}
