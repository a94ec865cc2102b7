//! Frames of one flow beside each other, so that a device can take them as one.
//!
//! Whoever shares a path fairly sends a packet of each flow in turn, and a kernel joins only what is consecutive (GRO): four downloads at
//! once arrived frame by frame. Frames of one flow keep their order; between flows there is none that a host may count on.

use bytes::Bytes;
use lanparty_proto::{ETHERNET_HEADER_LEN, Flow, Frame};

/// Flows told apart in a batch; all others stay in the order they came in, behind them.
const FLOWS_MAX: usize = 32;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Arranges batches of frames. It keeps its memory between them.
#[derive(Debug, Default)]
pub struct SideBySide {
    /// Each with the place of its first frame in the batch.
    flows: Vec<(Flow, usize)>,
    /// To which of the flows each frame belongs.
    places: Vec<usize>,
    arranged: Vec<Bytes>,
}

impl SideBySide {
    /// Puts the frames of each flow where its first one is.
    pub fn arrange(&mut self, frames: &mut Vec<Bytes>) {
        self.flows.clear();
        self.places.clear();
        let mut turns = 0;
        for frame in frames.iter() {
            let place = self.guess(frames, frame).unwrap_or_else(|| self.place(frame));
            turns += usize::from(self.places.last().is_some_and(|last| *last != place));
            self.places.push(place);
        }
        if turns + 1 > self.flows.len() {
            self.move_together(frames);
        }
    }

    /// The place of the frame before, or the one behind that, when this is plainly of that flow: flows send on, or take turns.
    fn guess(&self, frames: &[Bytes], frame: &[u8]) -> Option<usize> {
        let (ends, last) = (plain_ends(frame)?, *self.places.last()?);
        let is_at = |place: &usize| {
            let first = self.flows.get(*place).and_then(|(_, first)| frames.get(*first));
            first.is_some_and(|first| plain_ends(first) == Some(ends))
        };
        [last, (last + 1) % self.flows.len().max(1)].into_iter().find(is_at)
    }

    fn place(&mut self, frame: &[u8]) -> usize {
        let flow = Frame::parse(frame).map_or(Flow::None, |frame| Flow::of(&frame));
        let known = self.flows.iter().position(|(known, _)| *known == flow);
        known.unwrap_or_else(|| {
            if self.flows.len() < FLOWS_MAX {
                self.flows.push((flow, self.places.len()));
                self.flows.len() - 1
            } else {
                FLOWS_MAX
            }
        })
    }

    fn move_together(&mut self, frames: &mut Vec<Bytes>) {
        for place in 0..=self.flows.len() {
            let here = frames.iter_mut().zip(&self.places).filter(|(_, its)| **its == place);
            self.arranged.extend(here.map(|(frame, _)| std::mem::take(frame)));
        }
        std::mem::swap(frames, &mut self.arranged);
        self.arranged.clear();
    }
}

/// Ethernet header, protocol, and addresses with ports of a whole TCP or UDP packet that has no options, which nearly all are: quicker to
/// compare than flows are to find (RFC 791 §3.1, RFC 8200 §3).
fn plain_ends(frame: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (link, packet) = frame.split_at_checked(ETHERNET_HEADER_LEN)?;
    match (link, packet) {
        ([.., 0x08, 0x00], [0x45, _, _, _, _, _, 0 | 0x40, 0, _, protocol @ (TCP | UDP), ..]) => {
            Some((link, *protocol, packet.get(12..24)?))
        }
        ([.., 0x86, 0xdd], [_, _, _, _, _, _, protocol @ (TCP | UDP), ..]) => Some((link, *protocol, packet.get(8..44)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
