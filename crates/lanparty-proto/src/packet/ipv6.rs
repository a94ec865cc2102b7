//! An IPv6 packet, followed through its whole extension header chain to whatever stands at its end.
//!
//! The chain has no limit but the frame: a filter that stops after a few headers is evaded with one header more
//! (RFC 7113). Each header is at least eight bytes long, so the walk ends within 190 steps at the largest LAN MTU.

use std::net::Ipv6Addr;

use super::{be16, protocol};
use crate::DropReason;

const HEADER_LEN: usize = 40;
const FRAGMENT_HEADER_LEN: usize = 8;
const FRAGMENT_OFFSET: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 1;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// What the packet's fragment header says of it (RFC 8200 §4.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipv6Fragment {
    /// Offset 0 and no more fragments: a whole packet (RFC 6946).
    Atomic,
    /// Offset 0, more follow: holds the chain but perhaps not all of the payload.
    First,
    /// Its bytes are the middle or the end of something; they have no headers to read.
    Later,
}

/// Where a fragment belongs (RFC 8200 §4.5).
#[derive(Clone, Copy)]
pub(crate) struct Ipv6Piece {
    pub(crate) identification: u32,
    /// In bytes.
    pub(crate) offset: u16,
    /// Bytes of the fragmentable part that this one holds.
    pub(crate) len: usize,
}

/// An IPv6 packet, cut at its payload length, with its chain behind it.
pub(crate) struct Ipv6Packet<'a> {
    /// Source and destination.
    pub(crate) ends: (Ipv6Addr, Ipv6Addr),
    pub(crate) hop_limit: u8,
    /// `None` without a fragment header.
    pub(crate) fragment: Option<Ipv6Fragment>,
    /// `None` without a fragment header.
    pub(crate) piece: Option<Ipv6Piece>,
    /// The first next-header value that is no extension header. Without meaning in a later fragment.
    pub(crate) upper: u8,
    pub(crate) payload: &'a [u8],
    /// Behind an authentication header nothing can be changed without its receiver noticing (RFC 4302).
    pub(crate) is_authenticated: bool,
}

impl<'a> Ipv6Packet<'a> {
    /// Reads the packet at the start of `bytes`.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when the fixed header contradicts the frame, or is a jumbogram (RFC 2675), which no
    /// Ethernet carries; [`DropReason::Ipv6Chain`] when the chain runs out of the packet or fragments a fragment.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::Malformed)?;
        let [version, _, _, _, len_high, len_low, next_header, hop_limit, ends @ ..] = *header;
        let payload_len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if version >> 4 != 6 || (payload_len == 0 && next_header == HOP_BY_HOP) {
            return Err(DropReason::Malformed);
        }
        let payload = rest.get(..payload_len).ok_or(DropReason::Malformed)?;
        let [src, dst] = ends.as_chunks::<16>().0 else { return Err(DropReason::Malformed) };
        let ends = (Ipv6Addr::from(*src), Ipv6Addr::from(*dst));
        let packet = Self { ends, hop_limit, fragment: None, piece: None, upper: next_header, payload, is_authenticated: false };
        packet.follow_chain().ok_or(DropReason::Ipv6Chain)
    }

    /// Steps over extension headers until one is none; `None` when one is cut off.
    fn follow_chain(mut self) -> Option<Self> {
        loop {
            let header_len = match self.upper {
                FRAGMENT if self.fragment.is_none() => {
                    self.fragment = Some(read_fragment(self.payload)?);
                    self.piece = Some(read_piece(self.payload)?);
                    FRAGMENT_HEADER_LEN
                }
                // RFC 8200 §4.1: at most one. Nested ones would hide the true first fragment.
                FRAGMENT => return None,
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 => (second_byte(self.payload)? + 1) * 8,
                // RFC 4302 §2.2 counts in four bytes, less two: the one header that differs.
                AUTHENTICATION => {
                    self.is_authenticated = true;
                    (second_byte(self.payload)? + 2) * 4
                }
                _ => return Some(self),
            };
            self.upper = *self.payload.first()?;
            self.payload = self.payload.get(header_len..)?;
            if self.fragment == Some(Ipv6Fragment::Later) {
                return Some(self);
            }
        }
    }

    /// Whether the payload is the whole of what the sender's upper layer said.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.fragment, None | Some(Ipv6Fragment::Atomic))
    }

    /// Whether the upper layer's header stands at the start of the payload.
    pub(crate) fn has_upper_header(&self) -> bool {
        self.fragment != Some(Ipv6Fragment::Later)
    }

    /// Whether `upper` is a protocol that cannot hide another header from a receiver that knows it.
    pub(crate) fn upper_is_known(&self) -> bool {
        // IPv4, TCP, UDP, DCCP, IPv6, RSVP, GRE, ESP, ICMPv6, none, EIGRP, OSPF, EtherIP, PIM, VRRP, PGM, L2TP, SCTP, UDP-Lite.
        const KNOWN: [u8; 19] = [
            4,
            protocol::TCP,
            protocol::UDP,
            33,
            41,
            46,
            47,
            protocol::ESP,
            protocol::ICMPV6,
            protocol::NO_NEXT_HEADER,
            88,
            89,
            97,
            103,
            112,
            113,
            115,
            132,
            136,
        ];
        KNOWN.contains(&self.upper)
    }
}

fn second_byte(header: &[u8]) -> Option<usize> {
    header.get(1).copied().map(usize::from)
}

fn read_fragment(header: &[u8]) -> Option<Ipv6Fragment> {
    let field = be16(header, 2)?;
    Some(match (field & FRAGMENT_OFFSET, field & MORE_FRAGMENTS) {
        (0, 0) => Ipv6Fragment::Atomic,
        (0, _) => Ipv6Fragment::First,
        _ => Ipv6Fragment::Later,
    })
}

fn read_piece(header: &[u8]) -> Option<Ipv6Piece> {
    let identification = u32::from_be_bytes(*header.get(4..)?.first_chunk()?);
    let len = header.len().checked_sub(FRAGMENT_HEADER_LEN)?;
    Some(Ipv6Piece { identification, offset: be16(header, 2)? & FRAGMENT_OFFSET, len })
}
