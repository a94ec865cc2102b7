//! Out of the kernel: one super-frame becomes the frames it stands for.

use lanparty_proto::FrameBatch;

use super::layout::{Ip, Layout, TCP_CWR, TCP_FIN, TCP_FLAGS, TCP_PSH, Transport, never_zero, read_u16, read_u32, write_u16};
use super::vnet_hdr::{GsoKind, VnetHdr};
use crate::checksum::Sum;

/// Frames that one super-frame may stand for: 64 KiB at Linux' smallest MSS of 48 (`TCP_MIN_SND_MSS`) is 1,366. More is
/// a header that lies.
const SEGMENTS_MAX: usize = 2048;

/// What was read is no frame, and no super-frame of a kind we know. It is counted, and it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Appends to `batch` the frames that `frame` stands for according to `hdr`, their checksums complete.
pub(crate) fn push_frames(hdr: VnetHdr, frame: &[u8], batch: &mut FrameBatch) -> Result<usize, Unreadable> {
    if hdr.kind() == GsoKind::None {
        return push_one(hdr, frame, batch);
    }
    let layout = Layout::parse(frame).filter(|l| agrees(hdr, l)).ok_or(Unreadable)?;
    let (len, gso_size) = (frame.len() - layout.payload, usize::from(hdr.gso_size));
    if gso_size == 0 || len.div_ceil(gso_size) > SEGMENTS_MAX {
        return Err(Unreadable);
    }
    if len == 0 {
        return push_one(hdr, frame, batch);
    }
    Ok(push_segments(hdr, frame, &layout, batch))
}

/// A frame that is one frame: its checksum is completed over all that follows, as `skb_checksum_help` does.
fn push_one(hdr: VnetHdr, frame: &[u8], batch: &mut FrameBatch) -> Result<usize, Unreadable> {
    if !hdr.needs_checksum() {
        batch.push(&[frame]);
        return Ok(1);
    }
    let start = usize::from(hdr.csum_start);
    let at = start + usize::from(hdr.csum_offset);
    if frame.len() < at + 2 {
        return Err(Unreadable);
    }
    let frame = batch.push(&[frame]);
    let checksum = never_zero(Sum::default().bytes(&frame[start..]).checksum());
    frame[at..at + 2].copy_from_slice(&checksum);
    Ok(1)
}

/// Whether the headers found are those the kernel speaks of: a super-frame inside a tunnel of the host is not.
fn agrees(hdr: VnetHdr, layout: &Layout) -> bool {
    let kind = match (layout.ip, layout.transport) {
        (Ip::V4, Transport::Tcp) => GsoKind::Tcp4,
        (Ip::V6, Transport::Tcp) => GsoKind::Tcp6,
        (_, Transport::Udp) => GsoKind::Udp,
    };
    hdr.kind() == kind && (!hdr.needs_checksum() || usize::from(hdr.csum_start) == layout.l4)
}

fn push_segments(hdr: VnetHdr, frame: &[u8], layout: &Layout, batch: &mut FrameBatch) -> usize {
    let (head, payload) = frame.split_at(layout.payload);
    let gso_size = usize::from(hdr.gso_size);
    let count = payload.len().div_ceil(gso_size);
    // A UDP datagram sent without a checksum stays without one (RFC 768); the kernel leaves such a field at zero.
    let without_checksum = !hdr.needs_checksum() && layout.transport == Transport::Udp && read_u16(frame, layout.l4 + 6) == 0;
    for (index, part) in payload.chunks(gso_size).enumerate() {
        let segment = batch.push(&[head, part]);
        if layout.ip == Ip::V4 {
            // Every segment is a packet of its own, so its identification is too (RFC 791 §3.1).
            write_u16(segment, layout.l3 + 4, usize::from(read_u16(frame, layout.l3 + 4)) + index);
        }
        layout.write_ip_length(segment, segment.len());
        match layout.transport {
            Transport::Tcp => number_tcp(segment, layout, index * gso_size, index == 0, index + 1 == count),
            Transport::Udp => write_u16(segment, layout.l4 + 4, segment.len() - layout.l4),
        }
        if !without_checksum {
            layout.write_transport_checksum(segment);
        }
    }
    count
}

/// Each segment has its own place in the stream; FIN and PSH belong to the last, CWR to the first (RFC 3168 §6.1.2).
fn number_tcp(segment: &mut [u8], layout: &Layout, offset: usize, is_first: bool, is_last: bool) {
    #[expect(clippy::cast_possible_truncation, reason = "an offset within 64 KiB")]
    let seq = read_u32(segment, layout.l4 + 4).wrapping_add(offset as u32);
    segment[layout.l4 + 4..layout.l4 + 8].copy_from_slice(&seq.to_be_bytes());
    if !is_first {
        segment[layout.l4 + TCP_FLAGS] &= !TCP_CWR;
    }
    if !is_last {
        segment[layout.l4 + TCP_FLAGS] &= !(TCP_FIN | TCP_PSH);
    }
}
