//! The UDP header (RFC 768), and what is behind it as far as it is visible.

use super::be16;

const HEADER_LEN: usize = 8;

/// The start of a UDP datagram; in a first fragment not all of it is there.
pub(crate) struct Udp<'a> {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// What the header claims, itself included.
    pub(crate) len: usize,
    /// What is visible behind the header, whatever `len` claims: a receiver may read either.
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads the header at the start of `bytes`, when it is whole.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let payload = bytes.get(HEADER_LEN..)?;
        Some(Self { source_port: be16(bytes, 0)?, destination_port: be16(bytes, 2)?, len: usize::from(be16(bytes, 4)?), payload })
    }

    /// Whether the claimed length can be true; `whole` when no fragment is missing. Bytes behind the claimed length are
    /// legal (RFC 9868 gives them a meaning), a claim of more than there is, or of less than a header, is not.
    pub(crate) fn len_is_honest(&self, whole: bool) -> bool {
        self.len >= HEADER_LEN && (!whole || self.len <= HEADER_LEN + self.payload.len())
    }
}
