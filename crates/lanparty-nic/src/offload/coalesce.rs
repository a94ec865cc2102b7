//! Into the kernel: consecutive frames of one flow become one super-frame.
//!
//! The rules are those of the kernel's own GRO (`tcp_gro_receive`, `udp_gro_receive`), stricter where it is cheap: what
//! is merged can be cut again into the very frames that came. A frame is merged only after its checksums were found
//! right, since the super-frame's is computed anew and would launder a corrupt one.

use bytes::Bytes;
use lanparty_proto::ETHERNET_HEADER_LEN;

use super::layout::{Ip, Layout, TCP_ACK, TCP_FLAGS, TCP_PSH, Transport, read_u16, read_u32, write_u16};
use super::vnet_hdr::{GsoKind, VNET_HDR_LEN, VnetHdr};

/// Frames in one super-frame: `UDP_MAX_SEGMENTS` was 64 before Linux 6.9, and 64 segments of 1,000 bytes are 64 KiB.
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Bytes of an IP packet (RFC 791 §3.1; RFC 8200 §3 without jumbograms).
const PACKET_LEN_MAX: usize = 65_535;
/// The virtio-net header, Ethernet, IPv6 and the longest TCP header.
const HEAD_LEN_MAX: usize = VNET_HDR_LEN + ETHERNET_HEADER_LEN + 40 + 60;

const IPV4_DONT_FRAGMENT: u16 = 0x4000;

/// What the device takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Whether the kernel knows UDP super-frames (`VIRTIO_NET_HDR_GSO_UDP_L4`, Linux 6.2).
    pub(crate) udp: bool,
    /// Longest frame the interface sends: longer ones must be refused one by one, not slip through inside a super-frame.
    pub(crate) frame_len_max: usize,
}

impl Limits {
    /// Every frame on its own.
    pub(crate) const ALONE: Self = Self { udp: false, frame_len_max: 0 };
}

/// The next thing to write: some frames from the front, as one super-frame if there is a head for it.
pub(crate) struct Run {
    /// How many frames, at least one.
    pub(crate) frames: usize,
    /// The head to write in place of theirs, when there is more than one.
    pub(crate) head: Option<SuperHead>,
}

impl Run {
    /// One frame, as it is.
    pub(crate) const ONE: Self = Self { frames: 1, head: None };
}

/// The headers of a super-frame; the frames' data from [`SuperHead::payload_offset`] on follow in order.
pub(crate) struct SuperHead {
    bytes: [u8; HEAD_LEN_MAX],
    payload_offset: usize,
}

impl SuperHead {
    /// The virtio-net header and all that follows up to the data.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..VNET_HDR_LEN + self.payload_offset]
    }

    /// Where the data starts in each of the run's frames.
    pub(crate) fn payload_offset(&self) -> usize {
        self.payload_offset
    }
}

/// How many of `frames` (not empty) go out together.
pub(crate) fn next_run(frames: &[Bytes], limits: Limits) -> Run {
    let Some(first) = frames.first().and_then(|f| Segment::parse(f, limits)) else { return Run::ONE };
    let (mut last, mut count, mut len) = (first, 1, first.frame.len());
    for frame in frames.iter().take(SEGMENTS_MAX).skip(1) {
        if last.ends_run(first) {
            break;
        }
        let Some(next) = Segment::parse(frame, limits) else { break };
        len += next.data_len();
        if len - ETHERNET_HEADER_LEN > PACKET_LEN_MAX || !next.continues(first, last, count) {
            break;
        }
        // The first is summed only when something would follow: most frames of a quiet link stand alone.
        if (count == 1 && !first.is_intact()) || !next.is_intact() {
            break;
        }
        last = next;
        count += 1;
    }
    if count == 1 { Run::ONE } else { Run { frames: count, head: Some(super_head(first, last, &frames[..count])) } }
}

/// A frame that could be part of a super-frame.
#[derive(Clone, Copy)]
struct Segment<'a> {
    frame: &'a [u8],
    layout: Layout,
}

impl<'a> Segment<'a> {
    fn parse(frame: &'a [u8], limits: Limits) -> Option<Self> {
        let layout = Layout::parse(frame)?;
        let plain = match layout.ip {
            Ip::V4 => layout.l4 == ETHERNET_HEADER_LEN + 20 && usize::from(read_u16(frame, 16)) == frame.len() - ETHERNET_HEADER_LEN,
            Ip::V6 => layout.l4 == ETHERNET_HEADER_LEN + 40 && usize::from(read_u16(frame, 18)) == frame.len() - layout.l4,
        };
        let header = &frame[layout.l4..layout.payload];
        let mergeable = match layout.transport {
            // Anything but ACK and PSH means something at its own place in the stream, as do the reserved bits and AE (RFC 9768).
            Transport::Tcp => header[TCP_FLAGS] & !TCP_PSH == TCP_ACK && header[12] & 0x0f == 0,
            // A super-frame's segments all get a checksum, so one without stays alone.
            Transport::Udp => limits.udp && usize::from(read_u16(header, 4)) == frame.len() - layout.l4 && read_u16(header, 6) != 0,
        };
        let data = frame.len() > layout.payload && frame.len() <= limits.frame_len_max;
        (layout.l3 == ETHERNET_HEADER_LEN && plain && mergeable && data).then_some(Self { frame, layout })
    }

    fn data_len(self) -> usize {
        self.frame.len() - self.layout.payload
    }

    fn is_intact(self) -> bool {
        self.layout.ip_is_intact(self.frame) && self.layout.transport_is_intact(self.frame)
    }

    /// Whether nothing may follow: the sender pushed here, or this one is shorter than the rest.
    fn ends_run(self, first: Self) -> bool {
        let pushed = self.layout.transport == Transport::Tcp && self.frame[self.layout.l4 + TCP_FLAGS] & TCP_PSH != 0;
        pushed || self.data_len() < first.data_len()
    }

    /// Whether this is what segmentation would have cut as number `index`, right after `last`.
    fn continues(self, first: Self, last: Self, index: usize) -> bool {
        self.layout == first.layout
            && self.data_len() <= first.data_len()
            && self.frame[..ETHERNET_HEADER_LEN] == first.frame[..ETHERNET_HEADER_LEN]
            && self.same_ip(first, index)
            && match self.layout.transport {
                Transport::Tcp => self.same_tcp(first) && self.seq() == last.seq().wrapping_add(last.data_len() as u32),
                Transport::Udp => self.bytes(0..4) == first.bytes(0..4),
            }
    }

    /// IP headers equal but for length, checksum and identification. That counts up by one, or, where nothing may be
    /// fragmented, may stay the same: it has no meaning there (RFC 6864 §4.1).
    fn same_ip(self, first: Self, index: usize) -> bool {
        let (a, b) = (&self.frame[ETHERNET_HEADER_LEN..self.layout.l4], &first.frame[ETHERNET_HEADER_LEN..first.layout.l4]);
        match self.layout.ip {
            Ip::V6 => a[..4] == b[..4] && a[6..] == b[6..],
            Ip::V4 => {
                let step = read_u16(a, 4).wrapping_sub(read_u16(b, 4));
                let numbered = usize::from(step) == index || (step == 0 && read_u16(a, 6) & IPV4_DONT_FRAGMENT != 0);
                numbered && a[..2] == b[..2] && a[6..10] == b[6..10] && a[12..] == b[12..]
            }
        }
    }

    /// TCP headers equal but for sequence number, PSH and checksum: ports, acknowledgment, window, urgent pointer, options.
    fn same_tcp(self, first: Self) -> bool {
        let options = 18..self.layout.payload - self.layout.l4;
        self.bytes(0..4) == first.bytes(0..4)
            && self.bytes(8..13) == first.bytes(8..13)
            && self.bytes(14..16) == first.bytes(14..16)
            && self.bytes(options.clone()) == first.bytes(options)
    }

    fn seq(self) -> u32 {
        read_u32(self.frame, self.layout.l4 + 4)
    }

    /// Part of the transport header.
    fn bytes(self, range: std::ops::Range<usize>) -> &'a [u8] {
        &self.frame[self.layout.l4 + range.start..self.layout.l4 + range.end]
    }
}

/// The first frame's headers with the lengths, the flags and the pseudo-header sum of the whole.
fn super_head(first: Segment<'_>, last: Segment<'_>, frames: &[Bytes]) -> SuperHead {
    let Layout { ip, transport, l4, payload, .. } = first.layout;
    let total: usize = payload + frames.iter().map(|f| f.len() - payload).sum::<usize>();
    let mut bytes = [0; HEAD_LEN_MAX];
    let head = &mut bytes[VNET_HDR_LEN..VNET_HDR_LEN + payload];
    head.copy_from_slice(&first.frame[..payload]);
    first.layout.write_ip_length(head, total);
    let kind = match (transport, ip) {
        (Transport::Tcp, Ip::V4) => GsoKind::Tcp4,
        (Transport::Tcp, Ip::V6) => GsoKind::Tcp6,
        (Transport::Udp, _) => GsoKind::Udp,
    };
    match transport {
        Transport::Tcp => head[l4 + TCP_FLAGS] |= last.frame[l4 + TCP_FLAGS] & TCP_PSH,
        Transport::Udp => write_u16(head, l4 + 4, total - l4),
    }
    let at = l4 + transport.checksum_offset();
    let pseudo = first.layout.pseudo_header(head, total - l4).folded();
    head[at..at + 2].copy_from_slice(&pseudo);
    #[expect(clippy::cast_possible_truncation, reason = "offsets within the headers, and data of a frame")]
    let hdr = VnetHdr::super_frame(kind, payload as u16, first.data_len() as u16, l4 as u16, transport.checksum_offset() as u16);
    bytes[..VNET_HDR_LEN].copy_from_slice(&hdr.to_bytes());
    SuperHead { bytes, payload_offset: payload }
}
