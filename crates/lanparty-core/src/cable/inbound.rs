//! Inbound: datagrams from the other end toward this end's TAP. Station 10 of the walk: decode, admit, filter.
//!
//! Nothing larger than an Ethernet frame can arrive. The LAN MTU itself is not asked here: it is the sender's to keep, and while
//! it changes, what the other end sent a moment ago is as good as it was.

use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{DATAGRAM_HEADER_LEN, DatagramHeader, Direction, DropReason, Frame};

use super::{CableEnd, CableGuard, CableLoops};
use crate::{Counters, Filter, FrameLog, FrameRecord, Side};

/// The inbound half of a cable's end.
pub struct CableInbound {
    guard: CableGuard,
    counters: Counters,
    log: FrameLog,
    filter: Option<Filter>,
}

impl CableInbound {
    /// An inbound half that lets through what `guard` does.
    #[must_use]
    pub fn new(guard: CableGuard, log_every_frame: bool) -> Self {
        Self { guard, counters: Counters::default(), log: FrameLog::new(log_every_frame), filter: None }
    }

    /// Asks this filter about every frame for the TAP, after everything else was.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// The filter, when there is one.
    #[must_use]
    pub const fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Lets through something else from now on: another host may be at the other end.
    pub const fn set_guard(&mut self, guard: CableGuard) {
        self.guard = guard;
    }

    /// Takes `datagrams` and appends the frames that may enter the TAP to `out`. `end` is `None` while the cable is not plugged in.
    pub fn process(
        &mut self,
        datagrams: impl IntoIterator<Item = Bytes>,
        end: Option<&CableEnd>,
        loops: &mut CableLoops,
        now: Instant,
        out: &mut Vec<Bytes>,
        records: &mut Vec<FrameRecord>,
    ) {
        for datagram in datagrams {
            let frame = datagram.slice(DATAGRAM_HEADER_LEN.min(datagram.len())..);
            self.counters.count_in(frame.len());
            let outcome = self.admit(&datagram, end).and_then(|frame| loops.judge(&frame, Side::Link, now));
            let outcome = outcome.and_then(|()| self.filter.as_mut().map_or(Ok(()), |filter| filter.judge(&frame)));
            records.extend(self.log.note(&frame, outcome.map(|()| 1), now));
            match outcome {
                Ok(()) => {
                    self.counters.count_forwarded(frame.len());
                    out.push(frame);
                }
                Err(reason) => self.counters.count_dropped(reason),
            }
        }
    }

    /// Station 10, decode and admit.
    fn admit<'a>(&self, datagram: &'a [u8], end: Option<&CableEnd>) -> Result<Frame<'a>, DropReason> {
        let (header, frame) = DatagramHeader::decode(datagram)?;
        let end = end.ok_or(DropReason::LinkDown)?;
        if header.source == end.peer { self.guard.admit(frame) } else { Err(DropReason::UnknownSender) }
    }

    /// A frame that [`Self::process`] gave out did not enter the TAP after all.
    pub const fn take_back(&mut self, frame: &Bytes, reason: DropReason) {
        self.counters.recount_as_dropped(frame.len(), reason);
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The direction, as logs spell it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        Direction::CableToTap
    }
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{LanMtu, MacAddr};

    use super::*;

    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn datagram(source: u16, src: [u8; 6]) -> Bytes {
        let header = DatagramHeader { source: lanparty_proto::MemberId(source) }.encode();
        [&header[..], &[0xff; 6], &src, &[0x88, 0xb5], &[0; 46]].concat().into()
    }

    #[test]
    fn only_the_other_end_is_heard_and_every_frame_is_accounted_for() {
        let mut inbound = CableInbound::new(CableGuard::OneHost(MacAddr(PEER)), false);
        let dialled = CableEnd::new(true, LanMtu::MAX);
        let (mut out, mut records) = (vec![], vec![]);
        let sent = [datagram(2, PEER), datagram(1, PEER), datagram(2, [2, 0, 0, 0, 0, 9]), Bytes::from_static(&[0x10])];
        let loops = &mut CableLoops::new("cable0", MacAddr(PEER), Instant::now());
        inbound.process(sent, Some(&dialled), loops, Instant::now(), &mut out, &mut records);
        inbound.process([datagram(2, PEER)], None, loops, Instant::now(), &mut out, &mut records);
        assert_eq!(out, [datagram(2, PEER).slice(DATAGRAM_HEADER_LEN..)]);
        let c = inbound.counters();
        for reason in [DropReason::UnknownSender, DropReason::UnauthorizedSourceMac, DropReason::Malformed, DropReason::LinkDown] {
            assert_eq!(c.dropped(reason), 1, "{reason}");
        }
        assert!(c.is_conserved(0) && c.frames_in() == 5);
    }
}
