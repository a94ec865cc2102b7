//! Outbound: frames from a member's device toward the room. Stations 2 and 3 of the walk: filter, admit (what is
//! only too large goes down the size ladder), encode.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use lanparty_proto::{DatagramHeader, Direction, DropReason, Frame, FrameBatch, MemberFrame, Role, admit, frame_fits};

use crate::ladder::{Ladder, Limits, Rung};
use crate::roster::source_of;
use crate::{Counters, Drops, Filter, FrameLog, FrameRecord, LadderCounters, OwnAddresses, PathSize, RefusedGroups, Roster};

/// What [`Outbound::process`] made of a batch. Kept between batches for its room; the caller empties it.
#[derive(Debug, Default)]
pub struct OutboundWork {
    /// What may leave, each with its header.
    pub datagrams: Vec<Bytes>,
    /// Frames that go back into the device: to senders of what was too large.
    pub answers: Vec<Bytes>,
    /// What is worth a log line.
    pub records: Vec<FrameRecord>,
}

/// The outbound half of a member.
pub struct Outbound {
    direction: Direction,
    counters: Counters,
    ladder: Ladder,
    log: FrameLog,
    flooded: u64,
    is_blocked: bool,
    filter: Option<Filter>,
    refused: RefusedGroups,
    own: Option<OwnAddresses>,
}

impl Outbound {
    /// The outbound half of a member of that role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let direction = match role {
            Role::Client => Direction::TapToRelay,
            Role::Gateway => Direction::LanToRemote,
        };
        let (counters, log) = (Counters::default(), FrameLog::default());
        Self {
            direction,
            counters,
            ladder: Ladder::new(role),
            log,
            flooded: 0,
            is_blocked: false,
            filter: None,
            refused: RefusedGroups::default(),
            own: None,
        }
    }

    /// Records every frame from now on, not a sample.
    pub fn log_every_frame(&mut self) {
        self.log = FrameLog::new(true);
    }

    /// Drops every frame as [`DropReason::Loop`] from now on, or not any more.
    pub const fn set_blocked(&mut self, blocked: bool) {
        self.is_blocked = blocked;
    }

    /// Passes on the MTU that the LAN's DHCP server and routers tell as they tell it.
    pub const fn keep_told_mtu(&mut self) {
        self.ladder.keep_told_mtu();
    }

    /// Asks this filter about every frame of the device, before anything else is.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// Lets packets out of these addresses only.
    pub fn speak_for(&mut self, own: OwnAddresses) {
        self.own = Some(own);
    }

    /// Takes every frame out of `batch`, and appends to `work` what is to be done. `roster` is `None` while there is no
    /// relay.
    pub fn process(&mut self, batch: &mut FrameBatch, roster: Option<&Roster>, path: PathSize, now: Instant, work: &mut OutboundWork) {
        while let Some(datagram) = batch.pop() {
            let frame = datagram.get(FrameBatch::HEADROOM..).unwrap_or_default();
            self.counters.count_in(frame.len());
            let filtered = self.filter.as_mut().map_or(Ok(()), |filter| filter.judge(frame));
            match filtered.and_then(|()| self.way_out(roster)) {
                Ok(roster) => self.process_one(datagram, roster, path, now, work),
                Err(reason) => self.drop_frame(frame, reason, now, work),
            }
        }
    }

    /// The room, when anything may go there.
    fn way_out<'a>(&self, roster: Option<&'a Roster>) -> Result<&'a Roster, DropReason> {
        let roster = roster.ok_or(DropReason::LinkDown)?;
        if self.is_blocked { Err(DropReason::Loop) } else { Ok(roster) }
    }

    fn process_one(&mut self, mut datagram: BytesMut, roster: &Roster, path: PathSize, now: Instant, work: &mut OutboundWork) {
        let (headroom, frame) = datagram.split_at_mut(FrameBatch::HEADROOM);
        let (limits, verdict) = self.judge(frame, roster, path);
        let header = DatagramHeader { source: roster.own().id }.encode();
        match verdict {
            Ok(()) => {
                if let Some(limits) = limits {
                    self.ladder.lower_sizes(frame, limits);
                }
                self.flooded += u64::from(is_to_group(frame));
                headroom.copy_from_slice(&header);
                self.counters.count_forwarded(frame.len());
                work.records.extend(self.log.note(frame, Ok(1), now));
                work.datagrams.push(datagram.freeze());
            }
            Err(reason @ (DropReason::TapMtuExceeded | DropReason::DatagramBudget)) => match limits {
                Some(limits) => {
                    let rung = self.ladder.descend(frame, limits, reason, now);
                    self.step_down(frame, rung, header, now, work);
                }
                None => self.drop_frame(frame, reason, now, work),
            },
            Err(reason) => self.drop_frame(frame, reason, now, work),
        }
    }

    /// Station 2, admit: whether the frame may leave as it is, and the sizes that apply to it.
    fn judge(&self, frame: &[u8], roster: &Roster, path: PathSize) -> (Option<Limits>, Result<(), DropReason>) {
        let admitted = admit_outbound(frame, roster).and_then(from_device);
        let only_large = matches!(admitted, Err(DropReason::TapMtuExceeded));
        let Some(parsed) = Frame::parse(frame).ok().filter(|_| admitted.is_ok() || only_large) else {
            return (None, admitted.map(|_| ()));
        };
        if let Some(Err(reason)) = self.own.as_ref().map(|own| own.may_send(&parsed)) {
            return (None, Err(reason));
        }
        match Limits::toward(&parsed, roster, path) {
            Ok(limits) => (Some(limits), admitted.and_then(|_| limits.check(frame.len(), &roster.policy()))),
            Err(reason) => (None, Err(reason)),
        }
    }

    /// Does what the ladder decided.
    fn step_down(&mut self, frame: &[u8], rung: Rung, header: [u8; FrameBatch::HEADROOM], now: Instant, work: &mut OutboundWork) {
        match rung {
            Rung::Pieces(pieces) => {
                work.records.extend(self.log.note(frame, Ok(pieces.len()), now));
                self.flooded += u64::from(is_to_group(frame));
                self.counters.count_split(pieces.len() as u64);
                for piece in pieces {
                    self.counters.count_forwarded(piece.len());
                    work.datagrams.push([&header[..], &piece].concat().into());
                }
            }
            Rung::Answer(answer) => {
                work.records.extend(self.log.note_answered(frame, now));
                self.counters.count_answered();
                work.answers.push(answer);
            }
            Rung::Drop(reason) => self.drop_frame(frame, reason, now, work),
        }
    }

    fn drop_frame(&mut self, frame: &[u8], reason: DropReason, now: Instant, work: &mut OutboundWork) {
        if reason == DropReason::Multicast {
            self.refused.note(frame);
        }
        work.records.extend(self.log.note(frame, Err(reason), now));
        self.counters.count_dropped(reason);
    }

    /// A frame of this member's own making, as a datagram: admitted and counted as one from its device.
    ///
    /// # Errors
    /// Why it may not leave.
    pub fn originate(
        &mut self,
        frame: &[u8],
        roster: Option<&Roster>,
        path: PathSize,
        now: Instant,
        records: &mut Vec<FrameRecord>,
    ) -> Result<Bytes, DropReason> {
        self.counters.count_in(frame.len());
        let outcome = roster.ok_or(DropReason::LinkDown).and_then(|r| fits_outbound(frame, r, path).map(|()| r));
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

    /// An answer that [`Self::process`] gave out did not enter the device: what it answered was dropped, and nobody was told.
    pub fn take_back_answer(&mut self, answer: &[u8], reason: DropReason) {
        self.counters.recount_answered_as_dropped(reason);
        self.ladder.take_back(answer);
    }

    /// The stack beneath gave up `frames` that [`Self::process`] gave out: the path shrank under them.
    pub fn count_discarded(&mut self, discarded: &Drops) {
        for (reason, frames) in discarded.iter() {
            for _ in 0..frames {
                self.counters.recount_as_dropped(0, reason);
            }
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Multicast groups that did not pass.
    pub const fn refused_groups(&mut self) -> &mut RefusedGroups {
        &mut self.refused
    }

    /// The filter, when there is one.
    #[must_use]
    pub const fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// What the size ladder did.
    #[must_use]
    pub const fn ladder(&self) -> LadderCounters {
        self.ladder.counters()
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

/// The rules of station 2. A gateway sends up what the LAN floods and what is addressed to a
/// remote member, and nothing that a remote member had sent into the LAN (split horizon, THREATS A13). Where LANs are joined the same holds
/// for their hosts, and what is for a host that nobody has heard goes up as well.
fn admit_outbound<'a>(frame: &'a [u8], roster: &Roster) -> Result<Frame<'a>, DropReason> {
    // The LAN of a gateway is full of unicast between its own hosts, of any size and tag: it is not ours to judge.
    if roster.own().role == Role::Gateway {
        let parsed = Frame::parse(frame)?;
        if !parsed.dst().is_group() && roster.by_mac(parsed.dst()).is_none() && !may_be_elsewhere(&parsed, roster) {
            return Err(DropReason::UnknownDestination);
        }
        if roster.by_mac(parsed.src()).is_some() || roster.lan_of(parsed.src()).is_some_and(|gateway| gateway != roster.own().id) {
            return Err(DropReason::HairpinLoop);
        }
    }
    let admitted = admit(frame, source_of(roster.own().role, roster.own().mac), &roster.policy(), None)?;
    roster.is_listened_there(&admitted)?;
    Ok(admitted)
}

/// Whether a frame to a host that is no member is for another LAN. One that is too large may as well be for a silent host here, whose peer
/// must not be told that it is.
fn may_be_elsewhere(frame: &Frame<'_>, roster: &Roster) -> bool {
    match roster.lan_of(frame.dst()) {
        Some(gateway) => gateway != roster.own().id,
        None => frame.dst() != roster.own().mac && roster.joins_lans() && frame_fits(frame.bytes().len(), roster.lan_mtu(), None).is_ok(),
    }
}

/// Admits a frame of our own making, for which there is no ladder: who makes it knows the sizes.
fn fits_outbound(frame: &[u8], roster: &Roster, path: PathSize) -> Result<(), DropReason> {
    let admitted = admit_outbound(frame, roster)?;
    frame_fits(admitted.bytes().len(), roster.lan_mtu(), Some(path.budget))
}

fn is_to_group(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 != 0)
}
