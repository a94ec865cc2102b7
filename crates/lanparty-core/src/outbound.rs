//! Outbound: frames from a member's device toward the room. Stations 2 and 3 of the walk: admit, encode.

use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{DatagramBudget, DatagramHeader, Direction, DropReason, Frame, FrameBatch, MemberFrame, Role, admit};

use crate::roster::source_of;
use crate::{Counters, FrameLog, FrameRecord, Roster};

/// The outbound half of a member.
pub struct Outbound {
    direction: Direction,
    counters: Counters,
    log: FrameLog,
    flooded: u64,
}

impl Outbound {
    /// The outbound half of a member of that role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let direction = match role {
            Role::Client => Direction::TapToRelay,
            Role::Gateway => Direction::LanToRemote,
        };
        Self { direction, counters: Counters::default(), log: FrameLog::default(), flooded: 0 }
    }

    /// Records every frame from now on, not a sample.
    pub fn log_every_frame(&mut self) {
        self.log = FrameLog::new(true);
    }

    /// Takes every frame out of `batch` and appends those that may leave to `out`, as datagrams. `roster` is `None`
    /// while there is no relay; `budget` is what the path takes now. Records worth a log line go to `records`.
    pub fn process(
        &mut self,
        batch: &mut FrameBatch,
        roster: Option<&Roster>,
        budget: DatagramBudget,
        now: Instant,
        out: &mut Vec<Bytes>,
        records: &mut Vec<FrameRecord>,
    ) {
        while let Some(mut datagram) = batch.pop() {
            let (headroom, frame) = datagram.split_at_mut(FrameBatch::HEADROOM);
            self.counters.count_in(frame.len());
            let outcome = roster.ok_or(DropReason::LinkDown).and_then(|r| from_device(admit_outbound(frame, r, budget)?).map(|f| (f, r)));
            records.extend(self.log.note(frame, outcome.as_ref().map(|_| 1).map_err(|e| *e), now));
            match outcome {
                Ok((admitted, roster)) => {
                    self.flooded += u64::from(admitted.dst().is_group());
                    headroom.copy_from_slice(&DatagramHeader { source: roster.own().id }.encode());
                    self.counters.count_forwarded(frame.len());
                    out.push(datagram.freeze());
                }
                Err(reason) => self.counters.count_dropped(reason),
            }
        }
    }

    /// A frame of this member's own making, as a datagram: admitted and counted as one from its device.
    ///
    /// # Errors
    /// Why it may not leave.
    pub fn originate(
        &mut self,
        frame: &[u8],
        roster: Option<&Roster>,
        budget: DatagramBudget,
        now: Instant,
        records: &mut Vec<FrameRecord>,
    ) -> Result<Bytes, DropReason> {
        self.counters.count_in(frame.len());
        let outcome = roster.ok_or(DropReason::LinkDown).and_then(|r| admit_outbound(frame, r, budget).map(|_| r));
        records.extend(self.log.note(frame, outcome.map(|_| 1), now));
        match outcome {
            Ok(roster) => {
                self.counters.count_forwarded(frame.len());
                Ok([&DatagramHeader { source: roster.own().id }.encode()[..], frame].concat().into())
            }
            Err(reason) => {
                self.counters.count_dropped(reason);
                Err(reason)
            }
        }
    }

    /// A datagram that [`Self::process`] gave out was not sent after all.
    pub const fn take_back(&mut self, datagram: &Bytes, reason: DropReason) {
        self.counters.recount_as_dropped(datagram.len().saturating_sub(FrameBatch::HEADROOM), reason);
    }

    /// The stack beneath gave up `frames` that [`Self::process`] gave out: the path shrank under them.
    pub fn count_discarded(&mut self, frames: u64) {
        for _ in 0..frames {
            self.counters.recount_as_dropped(0, DropReason::DatagramBudget);
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The direction, as logs spell it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Broadcast and multicast frames sent so far.
    #[must_use]
    pub const fn flooded(&self) -> u64 {
        self.flooded
    }
}

/// Frames between members come from members: a host behind a device that makes them up is not heard in the room.
fn from_device(frame: Frame<'_>) -> Result<Frame<'_>, DropReason> {
    if MemberFrame::read(&frame).is_some() { Err(DropReason::ControlPlaneEtherType) } else { Ok(frame) }
}

/// Station 2, admit. A gateway sends up what the LAN floods and what is addressed to a
/// remote member, and nothing that a remote member had sent into the LAN (split horizon, THREATS A13).
fn admit_outbound<'a>(frame: &'a [u8], roster: &Roster, budget: DatagramBudget) -> Result<Frame<'a>, DropReason> {
    // The LAN of a gateway is full of unicast between its own hosts, of any size and tag: it is not ours to judge.
    if roster.own().role == Role::Gateway {
        let parsed = Frame::parse(frame)?;
        if !parsed.dst().is_group() && roster.by_mac(parsed.dst()).is_none() {
            return Err(DropReason::UnknownDestination);
        }
        if roster.by_mac(parsed.src()).is_some() {
            return Err(DropReason::HairpinLoop);
        }
    }
    admit(frame, source_of(roster.own()), &roster.policy(), Some(budget))
}
