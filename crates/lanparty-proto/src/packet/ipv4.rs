//! An IPv4 packet whose lengths agree with each other and with the frame.

use std::net::Ipv4Addr;

use crate::DropReason;

const HEADER_LEN_MIN: usize = 20;

/// An IPv4 packet (RFC 791 §3.1), cut at its total length: Ethernet padding is not part of it.
pub(crate) struct Ipv4Packet<'a> {
    /// Source and destination.
    pub(crate) ends: (Ipv4Addr, Ipv4Addr),
    pub(crate) protocol: u8,
    /// What the fragments of one packet have in common.
    pub(crate) identification: u16,
    /// In units of eight bytes.
    pub(crate) fragment_offset: u16,
    pub(crate) more_fragments: bool,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// Reads the packet at the start of `bytes`.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] for another version, a header or total length that contradicts the other or the frame.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let header = bytes.first_chunk::<HEADER_LEN_MIN>().ok_or(DropReason::Malformed)?;
        let [version_ihl, _, total_high, total_low, id_high, id_low, frag_high, frag_low, _, protocol, _, _, ends @ ..] = *header;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = ends;
        let header_len = usize::from(version_ihl & 0x0f) * 4;
        if version_ihl >> 4 != 4 || header_len < HEADER_LEN_MIN {
            return Err(DropReason::Malformed);
        }
        let total_len = usize::from(u16::from_be_bytes([total_high, total_low]));
        let payload = bytes.get(header_len..total_len).ok_or(DropReason::Malformed)?;
        let fragment = u16::from_be_bytes([frag_high, frag_low]);
        Ok(Self {
            ends: (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3)),
            protocol,
            identification: u16::from_be_bytes([id_high, id_low]),
            fragment_offset: fragment & 0x1fff,
            more_fragments: fragment & 0x2000 != 0,
            payload,
        })
    }
}
