//! The zero-copy view of an Ethernet frame: what every boundary reads before it decides anything.
//!
//! It promises fourteen bytes of header and nothing more. What the payload claims to be is checked by
//! [`admit`](crate::admit); a frame that was only parsed may still lie about everything behind its EtherType.

use crate::{DropReason, ETHERNET_HEADER_LEN, MacAddr, TrafficClass, class};

/// A frame with at least an Ethernet II header (IEEE 802.3 §3.1.1), without FCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    header: &'a [u8; ETHERNET_HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `bytes` as a frame.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when there is no whole Ethernet header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, payload) = bytes.split_first_chunk().ok_or(DropReason::Malformed)?;
        Ok(Self { bytes, header, payload })
    }

    /// The whole frame, as it came.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The destination MAC address.
    #[must_use]
    pub const fn dst(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.header;
        MacAddr([a, b, c, d, e, f])
    }

    /// The source MAC address.
    #[must_use]
    pub const fn src(&self) -> MacAddr {
        let [_, _, _, _, _, _, a, b, c, d, e, f, _, _] = *self.header;
        MacAddr([a, b, c, d, e, f])
    }

    /// The type field: an EtherType from 0x600 up, an 802.3 length below.
    #[must_use]
    pub const fn ethertype(&self) -> u16 {
        let [.., high, low] = *self.header;
        u16::from_be_bytes([high, low])
    }

    /// Everything behind the Ethernet header, padding included.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The budget class that this frame is charged to when it goes to many.
    #[must_use]
    pub fn class(&self) -> TrafficClass {
        class::classify(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_alone_is_a_frame_and_one_byte_less_is_malformed() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x06];
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.dst(), frame.src()), (MacAddr([1, 2, 3, 4, 5, 6]), MacAddr([7, 8, 9, 10, 11, 12])));
        assert_eq!((frame.ethertype(), frame.payload(), frame.bytes()), (0x0806, &[][..], &bytes[..]));
        for len in 0..ETHERNET_HEADER_LEN {
            assert_eq!(Frame::parse(&bytes[..len]), Err(DropReason::Malformed), "{len} bytes");
        }
    }
}
