//! Loop probes: what a port says on its LAN to learn whether that LAN leads back to it another way (docs/wire-format.md §5).
//!
//! A probe proves itself to its sender alone, by a number that nobody can guess. To everybody else it only says which port is
//! the newer one.

use crate::echo::{ETHERTYPE, FRAME_LEN_MIN, MAGIC, VERSION};
use crate::{Frame, MacAddr};

const KIND_LOOP_PROBE: u8 = 4;
const FLAG_BLOCKED: u8 = 1;

/// The name of an interface, as its host calls it: at most 15 octets (`IFNAMSIZ`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PortName([u8; 16]);

impl PortName {
    /// The first 15 octets of `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut octets = [0; 16];
        octets.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
        Self(octets)
    }
}

impl std::fmt::Display for PortName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It comes from a LAN: nothing of it may change the line that it is printed in.
        for octet in self.0.iter().take_while(|octet| **octet != 0) {
            let c = char::from(*octet);
            std::fmt::Write::write_char(f, if c.is_ascii_graphic() { c } else { '?' })?;
        }
        Ok(())
    }
}

/// What tells ports apart, and which of them is older: both ends of a cable say the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PortRank {
    /// When it was plugged in, in milliseconds since 1970, by the clock of one of its ends.
    pub since: u64,
    /// Its number. Of two that are as old, the larger one is the newer.
    pub port: u64,
}

/// A loop probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoopProbe {
    /// Random: by this the sender knows it again.
    pub nonce: [u8; 16],
    /// The sender's port.
    pub rank: PortRank,
    /// Its name at its host.
    pub name: PortName,
    /// Whether the port carries nothing but its own probes.
    pub is_blocked: bool,
}

impl LoopProbe {
    /// The probe in `frame`, when it is one.
    #[must_use]
    pub fn read(frame: &Frame<'_>) -> Option<Self> {
        if frame.ethertype() != ETHERTYPE {
            return None;
        }
        let (head, rest) = frame.payload().strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
        let [VERSION, KIND_LOOP_PROBE, flags, _] = *head else { return None };
        let (nonce, rest) = rest.split_first_chunk()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk()?;
        let name = PortName(*rest.first_chunk()?);
        let rank = PortRank { since: u64::from_be_bytes(*since), port: u64::from_be_bytes(*port) };
        Some(Self { nonce: *nonce, rank, name, is_blocked: flags & FLAG_BLOCKED != 0 })
    }

    /// The frame from `src` to everybody on its LAN.
    #[must_use]
    pub fn encode(&self, src: MacAddr) -> Vec<u8> {
        let flags = if self.is_blocked { FLAG_BLOCKED } else { 0 };
        let mut frame = Vec::with_capacity(FRAME_LEN_MIN * 2);
        frame.extend(MacAddr::BROADCAST.0);
        frame.extend(src.0);
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend(MAGIC);
        frame.extend([VERSION, KIND_LOOP_PROBE, flags, 0]);
        frame.extend(self.nonce);
        frame.extend(self.rank.port.to_be_bytes());
        frame.extend(self.rank.since.to_be_bytes());
        frame.extend(self.name.0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemberFrame;

    const PROBE: LoopProbe = LoopProbe {
        nonce: [9; 16],
        rank: PortRank { since: 0x0102, port: 0x0304 },
        name: PortName(*b"cable0\0\0\0\0\0\0\0\0\0\0"),
        is_blocked: true,
    };

    #[test]
    fn a_probe_survives_the_wire_and_is_nothing_else() {
        for is_blocked in [false, true] {
            let probe = LoopProbe { is_blocked, ..PROBE };
            let bytes = probe.encode(MacAddr([2, 0, 0, 0, 0, 1]));
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(LoopProbe::read(&frame), Some(probe));
            assert_eq!(MemberFrame::read(&frame), Some(MemberFrame::Unknown), "a node that knows no probes keeps it from its device");
        }
        let sign = MemberFrame::Unknown.encode(MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]), 80);
        assert_eq!(LoopProbe::read(&Frame::parse(&sign).unwrap()), None);
    }

    #[test]
    fn the_layout_is_what_the_wire_format_says_and_one_that_is_cut_is_none() {
        let bytes = PROBE.encode(MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(bytes[..26], [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 0x88, 0xb5], b"lanparty\x01\x04\x01\0"].concat());
        assert_eq!(bytes[26..], [&[9; 16][..], &[0, 0, 0, 0, 0, 0, 3, 4], &[0, 0, 0, 0, 0, 0, 1, 2], b"cable0", &[0; 10]].concat());
        for len in 14..bytes.len() {
            assert_eq!(LoopProbe::read(&Frame::parse(&bytes[..len]).unwrap()), None, "cut at {len}");
        }
    }

    #[test]
    fn of_two_ports_the_one_plugged_in_later_is_newer_and_names_stay_on_their_line() {
        let rank = |since, port| PortRank { since, port };
        assert!(rank(2, 1) > rank(1, 2) && rank(2, 2) > rank(2, 1));
        assert_eq!(PortName::new("a\nb \u{e9}").to_string(), "a?b???");
        assert_eq!(PortName::new("an-interface-with-a-long-name").to_string(), "an-interface-wi");
    }
}
