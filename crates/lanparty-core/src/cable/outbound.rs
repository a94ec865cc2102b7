//! Outbound: frames from this end's TAP toward the other end. Stations 2 and 3 of the walk: admit, filter (what is only too large goes
//! down the size ladder, beneath its VLAN tags), encode.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use lanparty_proto::{AdmissionPolicy, DatagramBudget, DatagramHeader, Direction, DropReason, FrameBatch, LanMtu, MemberId, Role};

use super::{CableEnd, CableGuard, CableLoops, tags};
use crate::ladder::{Ladder, Limits, Rung};
use crate::{Counters, Drops, Filter, FrameLog, LadderCounters, OutboundWork, PathSize, Side};

/// The outbound half of a cable's end.
pub struct CableOutbound {
    guard: CableGuard,
    counters: Counters,
    ladder: Ladder,
    log: FrameLog,
    filter: Option<Filter>,
}

impl CableOutbound {
    /// An outbound half that lets through what `guard` does.
    #[must_use]
    pub fn new(guard: CableGuard, log_every_frame: bool) -> Self {
        let (ladder, log) = (Ladder::new(Role::Gateway), FrameLog::new(log_every_frame));
        Self { guard, counters: Counters::default(), ladder, log, filter: None }
    }

    /// Asks this filter about every frame of the TAP, too.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// The filter, when there is one.
    #[must_use]
    pub const fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Takes every frame out of `batch`, and appends to `work` what is to be done. `end` is `None` while the cable is not
    /// plugged in.
    pub fn process(
        &mut self,
        batch: &mut FrameBatch,
        end: Option<&CableEnd>,
        loops: &mut CableLoops,
        path: PathSize,
        now: Instant,
        work: &mut OutboundWork,
    ) {
        while let Some(datagram) = batch.pop() {
            self.counters.count_in(datagram.len() - FrameBatch::HEADROOM);
            match end {
                Some(end) => match self.admit(&datagram, loops, now) {
                    Ok(()) => self.process_one(datagram, end, path, now, work),
                    Err(reason) => self.drop_frame(datagram.get(FrameBatch::HEADROOM..).unwrap_or_default(), reason, now, work),
                },
                None => self.drop_frame(datagram.get(FrameBatch::HEADROOM..).unwrap_or_default(), DropReason::LinkDown, now, work),
            }
        }
    }

    /// Station 2, admit: whether the frame may leave, whatever its size. Loops are looked for in what a filter drops, too.
    fn admit(&mut self, datagram: &[u8], loops: &mut CableLoops, now: Instant) -> Result<(), DropReason> {
        let frame = self.guard.admit(datagram.get(FrameBatch::HEADROOM..).unwrap_or_default())?;
        loops.judge(&frame, Side::Device, now)?;
        self.filter.as_mut().map_or(Ok(()), |filter| filter.judge(frame.bytes()))
    }

    fn process_one(&mut self, mut datagram: BytesMut, end: &CableEnd, path: PathSize, now: Instant, work: &mut OutboundWork) {
        let (headroom, frame) = datagram.split_at_mut(FrameBatch::HEADROOM);
        let limits = match limits(tags::tags_len(frame), end.lan_mtu, path) {
            Ok(limits) => limits,
            Err(reason) => return self.drop_frame(frame, reason, now, work),
        };
        let fits = tags::beneath(frame, |bare| {
            limits.check(bare.len(), &AdmissionPolicy::new(end.lan_mtu))?;
            self.ladder.lower_sizes(bare, limits);
            Ok(())
        });
        if let Err(reason) = fits {
            return self.step_down(frame, end.own, limits, reason, now, work);
        }
        headroom.copy_from_slice(&DatagramHeader { source: end.own }.encode());
        self.counters.count_forwarded(frame.len());
        work.records.extend(self.log.note(frame, Ok(1), now));
        work.datagrams.push(datagram.freeze());
    }

    /// Rungs 2 to 5. What comes of them has the tags of what it came from.
    fn step_down(&mut self, frame: &mut [u8], own: MemberId, limits: Limits, reason: DropReason, now: Instant, work: &mut OutboundWork) {
        let rung = tags::beneath(frame, |bare| self.ladder.descend(bare, limits, reason, now));
        match rung {
            Rung::Pieces(pieces) => {
                work.records.extend(self.log.note(frame, Ok(pieces.len()), now));
                self.counters.count_split(pieces.len() as u64);
                let header = DatagramHeader { source: own }.encode();
                for piece in pieces.iter().map(|piece| tags::put_on(piece, frame)) {
                    self.counters.count_forwarded(piece.len());
                    work.datagrams.push([&header[..], &piece].concat().into());
                }
            }
            Rung::Answer(answer) => {
                work.records.extend(self.log.note_answered(frame, now));
                self.counters.count_answered();
                work.answers.push(tags::put_on(&answer, frame).into());
            }
            Rung::Drop(reason) => self.drop_frame(frame, reason, now, work),
        }
    }

    fn drop_frame(&mut self, frame: &[u8], reason: DropReason, now: Instant, work: &mut OutboundWork) {
        work.records.extend(self.log.note(frame, Err(reason), now));
        self.counters.count_dropped(reason);
    }

    /// A datagram that [`Self::process`] gave out was not sent after all.
    pub const fn take_back(&mut self, datagram: &Bytes, reason: DropReason) {
        self.counters.recount_as_dropped(datagram.len().saturating_sub(FrameBatch::HEADROOM), reason);
    }

    /// An answer that [`Self::process`] gave out did not enter the TAP: what it answered was dropped, and nobody was told.
    pub fn take_back_answer(&mut self, answer: &[u8], reason: DropReason) {
        self.counters.recount_answered_as_dropped(reason);
        tags::beneath(&mut answer.to_vec(), |bare| self.ladder.take_back(bare));
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

    /// What the size ladder did.
    #[must_use]
    pub const fn ladder(&self) -> LadderCounters {
        self.ladder.counters()
    }

    /// The direction, as logs spell it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        Direction::TapToCable
    }
}

/// The sizes of what is beneath `tags_len` bytes of tags: the LAN MTU does not count them, the path does.
fn limits(tags_len: usize, lan_mtu: LanMtu, path: PathSize) -> Result<Limits, DropReason> {
    let tags_len = u16::try_from(tags_len).unwrap_or(u16::MAX);
    let beneath = |budget: DatagramBudget| DatagramBudget(budget.0.saturating_sub(tags_len)).lan_mtu();
    let now = beneath(path.budget).ok_or(DropReason::DatagramBudget)?.min(lan_mtu);
    // While the path is searched, only what both ends have agreed on will not be outdated in a moment.
    let told = if path.settled { Some(now) } else { beneath(DatagramBudget::for_lan_mtu(lan_mtu)) };
    Ok(Limits::of(now, lan_mtu, told.unwrap_or(now)))
}

#[cfg(test)]
mod tests;
