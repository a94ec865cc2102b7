//! Where the headers of a TCP or UDP frame lie, and the sums over them.

use lanparty_proto::{ETHERNET_HEADER_LEN, ethertype};

use crate::checksum::Sum;

/// Tags in front of the IP header that segmentation sees through: a frame of a trunk carries one or two (IEEE 802.1Q, 802.1ad).
const VLAN_TAGS_MAX: usize = 2;
/// IPv6 extension headers that segmentation sees through.
const EXTENSION_HEADERS_MAX: usize = 4;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_FIN: u8 = 0x01;
pub(super) const TCP_PSH: u8 = 0x08;
pub(super) const TCP_ACK: u8 = 0x10;
pub(super) const TCP_CWR: u8 = 0x80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ip {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Offset of the checksum in the transport header.
    pub(super) const fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// Offsets of an unfragmented TCP or UDP frame. Whoever holds one knows that the headers lie within the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) ip: Ip,
    pub(super) transport: Transport,
    /// Where the IP header starts.
    pub(super) l3: usize,
    /// Where the TCP or UDP header starts.
    pub(super) l4: usize,
    /// Where the data starts.
    pub(super) payload: usize,
}

impl Layout {
    /// Finds the headers, or nothing when this is no TCP or UDP frame with whole headers.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let (kind, l3) = skip_tags(frame)?;
        let (ip, protocol, l4) = match kind {
            ethertype::IPV4 => ipv4(frame, l3)?,
            ethertype::IPV6 => ipv6(frame, l3)?,
            _ => return None,
        };
        let header = frame.get(l4..)?;
        let (transport, header_len) = match protocol {
            IPPROTO_TCP => (Transport::Tcp, usize::from(header.get(12)? >> 4) * 4),
            IPPROTO_UDP => (Transport::Udp, 8),
            _ => return None,
        };
        let whole = header_len <= header.len() && (transport == Transport::Udp || header_len >= 20);
        whole.then_some(Self { ip, transport, l3, l4, payload: l4 + header_len })
    }

    /// The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) for a transport segment of `len` bytes.
    pub(super) fn pseudo_header(&self, frame: &[u8], len: usize) -> Sum {
        let addresses = match self.ip {
            Ip::V4 => self.l3 + 12..self.l3 + 20,
            Ip::V6 => self.l3 + 8..self.l3 + 40,
        };
        let protocol = match self.transport {
            Transport::Tcp => IPPROTO_TCP,
            Transport::Udp => IPPROTO_UDP,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a frame is at most 64 KiB")]
        Sum::default().bytes(&frame[addresses]).number(u32::from(protocol)).number(len as u32)
    }

    /// Whether the transport checksum holds, over everything after the IP header.
    pub(super) fn transport_is_intact(&self, frame: &[u8]) -> bool {
        let segment = &frame[self.l4..];
        self.pseudo_header(frame, segment.len()).bytes(segment).is_intact()
    }

    /// Whether the IPv4 header checksum holds; IPv6 has none.
    pub(super) fn ip_is_intact(&self, frame: &[u8]) -> bool {
        self.ip == Ip::V6 || Sum::default().bytes(&frame[self.l3..self.l4]).is_intact()
    }

    /// Writes the transport checksum of a frame that is otherwise finished.
    pub(super) fn write_transport_checksum(&self, frame: &mut [u8]) {
        let at = self.l4 + self.transport.checksum_offset();
        frame[at..at + 2].fill(0);
        let segment = &frame[self.l4..];
        let sum = self.pseudo_header(frame, segment.len()).bytes(segment);
        let checksum = match self.transport {
            Transport::Tcp => sum.checksum(),
            Transport::Udp => never_zero(sum.checksum()),
        };
        frame[at..at + 2].copy_from_slice(&checksum);
    }

    /// Writes the length field of the IP header for a frame of `frame_len` bytes, and the IPv4 header checksum.
    pub(super) fn write_ip_length(&self, frame: &mut [u8], frame_len: usize) {
        match self.ip {
            Ip::V4 => {
                write_u16(frame, self.l3 + 2, frame_len - self.l3);
                frame[self.l3 + 10..self.l3 + 12].fill(0);
                let checksum = Sum::default().bytes(&frame[self.l3..self.l4]).checksum();
                frame[self.l3 + 10..self.l3 + 12].copy_from_slice(&checksum);
            }
            Ip::V6 => write_u16(frame, self.l3 + 4, frame_len - self.l3 - 40),
        }
    }
}

/// A computed checksum of zero is sent as its other form where zero means "none" (RFC 768).
pub(super) fn never_zero(checksum: [u8; 2]) -> [u8; 2] {
    if checksum == [0, 0] { [0xff, 0xff] } else { checksum }
}

pub(super) fn read_u16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

pub(super) fn write_u16(frame: &mut [u8], at: usize, value: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "lengths of frames of at most 64 KiB")]
    frame[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

pub(super) fn read_u32(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

fn skip_tags(frame: &[u8]) -> Option<(u16, usize)> {
    let mut l3 = ETHERNET_HEADER_LEN;
    for _ in 0..=VLAN_TAGS_MAX {
        let ethertype = u16::from_be_bytes([*frame.get(l3 - 2)?, *frame.get(l3 - 1)?]);
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            return Some((ethertype, l3));
        }
        l3 += 4;
    }
    None
}

fn ipv4(frame: &[u8], l3: usize) -> Option<(Ip, u8, usize)> {
    let header = frame.get(l3..l3 + 20)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let is_fragment = read_u16(header, 6) & 0x3fff != 0;
    let whole = header[0] >> 4 == 4 && header_len >= 20 && l3 + header_len <= frame.len();
    (whole && !is_fragment).then_some((Ip::V4, header[9], l3 + header_len))
}

fn ipv6(frame: &[u8], l3: usize) -> Option<(Ip, u8, usize)> {
    let header = frame.get(l3..l3 + 40)?;
    let (mut next, mut l4) = (header[6], l3 + 40);
    for _ in 0..=EXTENSION_HEADERS_MAX {
        // Hop-by-hop, routing and destination options share a shape (RFC 8200 §4); anything else ends the walk.
        if !matches!(next, 0 | 43 | 60) {
            return (header[0] >> 4 == 6).then_some((Ip::V6, next, l4));
        }
        next = *frame.get(l4)?;
        l4 += (usize::from(*frame.get(l4 + 1)?) + 1) * 8;
    }
    None
}
