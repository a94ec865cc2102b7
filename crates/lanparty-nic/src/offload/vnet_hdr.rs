//! The header in front of every frame of a device with offloads (Virtio 1.2 §5.1.6, legacy: native byte order).

/// Bytes of the header: without `num_buffers`, the length both TAP and AF_PACKET use unless told otherwise.
pub(crate) const VNET_HDR_LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// The sender wants CWR on the first segment only: what segmentation does in any case (RFC 3168 §6.1.2).
const GSO_ECN: u8 = 0x80;

/// What a super-frame consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GsoKind {
    None,
    Tcp4,
    Tcp6,
    Udp,
    /// A kind this crate does not know, or never asked for.
    Unknown,
}

/// The header in front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct VnetHdr {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    /// Payload bytes of each segment but the last.
    pub(super) gso_size: u16,
    /// Where the sum starts, and where it belongs from there.
    pub(super) csum_start: u16,
    pub(super) csum_offset: u16,
}

impl VnetHdr {
    /// The header of a super-frame whose transport checksum holds the sum of the pseudo-header.
    pub(super) fn super_frame(kind: GsoKind, hdr_len: u16, gso_size: u16, csum_start: u16, csum_offset: u16) -> Self {
        let gso_type = match kind {
            GsoKind::Tcp4 => GSO_TCPV4,
            GsoKind::Tcp6 => GSO_TCPV6,
            GsoKind::Udp => GSO_UDP_L4,
            GsoKind::None | GsoKind::Unknown => 0,
        };
        Self { flags: NEEDS_CSUM, gso_type, hdr_len, gso_size, csum_start, csum_offset }
    }

    pub(crate) fn from_bytes(b: &[u8; VNET_HDR_LEN]) -> Self {
        let field = |i: usize| u16::from_ne_bytes([b[i], b[i + 1]]);
        Self { flags: b[0], gso_type: b[1], hdr_len: field(2), gso_size: field(4), csum_start: field(6), csum_offset: field(8) }
    }

    pub(crate) fn to_bytes(self) -> [u8; VNET_HDR_LEN] {
        let mut bytes = [0; VNET_HDR_LEN];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        for (slot, field) in bytes[2..].chunks_exact_mut(2).zip([self.hdr_len, self.gso_size, self.csum_start, self.csum_offset]) {
            slot.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// Whether the transport checksum is unfinished.
    pub(super) fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// The same header for a frame that grew by `bytes` in front of its transport header.
    pub(crate) fn shifted(self, bytes: u16) -> Self {
        Self { csum_start: self.csum_start.saturating_add(bytes), ..self }
    }

    pub(super) fn kind(self) -> GsoKind {
        match self.gso_type & !GSO_ECN {
            0 => GsoKind::None,
            GSO_TCPV4 => GsoKind::Tcp4,
            GSO_TCPV6 => GsoKind::Tcp6,
            GSO_UDP_L4 => GsoKind::Udp,
            _ => GsoKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_bytes_and_back() {
        let hdr = VnetHdr::super_frame(GsoKind::Tcp6, 86, 1340, 54, 16);
        assert_eq!(VnetHdr::from_bytes(&hdr.to_bytes()), hdr);
        assert_eq!(hdr.kind(), GsoKind::Tcp6);
        assert_eq!(VnetHdr { gso_type: GSO_TCPV4 | GSO_ECN, ..hdr }.kind(), GsoKind::Tcp4);
        assert_eq!(VnetHdr { gso_type: 3, ..hdr }.kind(), GsoKind::Unknown);
    }
}
