//! Frames of one flow beside each other, so that a device can take them as one.
//!
//! Whoever shares a path fairly sends a packet of each flow in turn, and a kernel joins only what is consecutive (GRO): four downloads at
//! once arrived frame by frame. Frames of one flow keep their order; a switch promises no more either (IEEE 802.1Q §8.6.6).

use bytes::Bytes;
use lanparty_proto::{ETHERNET_HEADER_LEN, Flow, Frame};

/// Flows told apart in a batch; all others stay in the order they came in, behind them.
const FLOWS_MAX: usize = 32;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Arranges batches of frames. It keeps its memory between them.
#[derive(Debug, Default)]
pub struct SideBySide {
    flows: Vec<Flow>,
    /// To which of the flows each frame belongs.
    places: Vec<usize>,
    arranged: Vec<Bytes>,
}

impl SideBySide {
    /// Puts the frames of each flow where its first one is.
    pub fn arrange(&mut self, frames: &mut Vec<Bytes>) {
        self.flows.clear();
        self.places.clear();
        let (mut turns, mut before) = (0, None);
        for frame in frames.iter() {
            let ends = plain_ends(frame);
            let place = match self.places.last() {
                Some(place) if ends.is_some() && ends == before => *place,
                _ => self.place(frame),
            };
            turns += usize::from(self.places.last().is_some_and(|last| *last != place));
            self.places.push(place);
            before = ends;
        }
        if turns + 1 > self.flows.len() {
            self.move_together(frames);
        }
    }

    fn place(&mut self, frame: &[u8]) -> usize {
        let flow = Frame::parse(frame).map_or(Flow::None, |frame| Flow::of(&frame));
        let known = self.flows.iter().position(|known| *known == flow);
        known.unwrap_or_else(|| {
            if self.flows.len() < FLOWS_MAX {
                self.flows.push(flow);
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
