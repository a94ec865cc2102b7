//! Frames that members say to each other and no device ever sees: echo requests and replies (`lanparty ping`), and the
//! sign that a gateway gives on its LAN (docs/wire-format.md §5).
//!
//! EtherType 0x88B5 is free for local experiments (IEEE 802 §9.2.4), so a magic tells ours from others'. A frame with
//! the magic and an unknown kind is of a newer version: still ours, still kept from every device.

use crate::{ETHERNET_HEADER_LEN, Frame, MacAddr};

/// Local experimental EtherType 1.
pub(crate) const ETHERTYPE: u16 = 0x88b5;
pub(crate) const MAGIC: [u8; 8] = *b"lanparty";
pub(crate) const VERSION: u8 = 1;
const KIND_REQUEST: u8 = 1;
const KIND_REPLY: u8 = 2;
const KIND_GATEWAY_SIGN: u8 = 3;
const KIND_DIRECT: u8 = 5;
/// Magic, version, kind, two zero octets, sixteen octets of content.
const PAYLOAD_LEN: usize = 28;
/// Shortest Ethernet frame without FCS (IEEE 802.3 §3.2.8).
pub(crate) const FRAME_LEN_MIN: usize = 60;

/// Which request a reply answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Drawn by who asks, once per run: a reply with another one is not for it.
    pub nonce: u64,
    /// Counts the requests of a run.
    pub sequence: u32,
}

/// What a gateway says of itself on its own LAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatewaySign {
    /// The start of the gateway's identity. Nothing of its room: a room's code is what lets people in.
    pub gateway: [u8; 8],
}

/// A frame between members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberFrame {
    /// Answer this, with as many bytes.
    Request(Echo),
    /// The answer.
    Reply(Echo),
    /// A gateway bridges this LAN.
    GatewaySign(GatewaySign),
    /// By the relay: what follows from me to you comes directly, and this is behind all that came before.
    DirectBegins,
    /// Of a newer version.
    Unknown,
}

impl MemberFrame {
    /// Shortest frame that is made, in bytes.
    pub const LEN_MIN: usize = FRAME_LEN_MIN;

    /// What `frame` says, when it is ours at all.
    #[must_use]
    pub fn read(frame: &Frame<'_>) -> Option<Self> {
        if frame.ethertype() != ETHERTYPE {
            return None;
        }
        let rest = frame.payload().strip_prefix(&MAGIC)?;
        Some(Self::read_kind(rest).unwrap_or(Self::Unknown))
    }

    fn read_kind(rest: &[u8]) -> Option<Self> {
        let ([version, kind, _, _], content) = rest.split_first_chunk()?;
        let (first, second) = content.split_first_chunk::<8>()?;
        let second = second.first_chunk::<8>()?;
        let [a, b, c, d, ..] = *second;
        let echo = Echo { nonce: u64::from_be_bytes(*first), sequence: u32::from_be_bytes([a, b, c, d]) };
        match (*version, *kind) {
            (VERSION, KIND_REQUEST) => Some(Self::Request(echo)),
            (VERSION, KIND_REPLY) => Some(Self::Reply(echo)),
            (VERSION, KIND_DIRECT) => Some(Self::DirectBegins),
            (VERSION, KIND_GATEWAY_SIGN) => Some(Self::GatewaySign(GatewaySign { gateway: *first })),
            _ => None,
        }
    }

    /// The frame from `src` to `dst`, `len` bytes long with its Ethernet header, at least [`Self::LEN_MIN`].
    #[must_use]
    pub fn encode(&self, dst: MacAddr, src: MacAddr, len: usize) -> Vec<u8> {
        let (kind, first, second) = match self {
            Self::Request(echo) => (KIND_REQUEST, echo.nonce.to_be_bytes(), sequence_bytes(*echo)),
            Self::Reply(echo) => (KIND_REPLY, echo.nonce.to_be_bytes(), sequence_bytes(*echo)),
            Self::GatewaySign(sign) => (KIND_GATEWAY_SIGN, sign.gateway, [0; 8]),
            Self::DirectBegins => (KIND_DIRECT, [0; 8], [0; 8]),
            Self::Unknown => (0, [0; 8], [0; 8]),
        };
        let mut frame = Vec::with_capacity(len.max(FRAME_LEN_MIN));
        frame.extend(dst.0);
        frame.extend(src.0);
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend(MAGIC);
        frame.extend([VERSION, kind, 0, 0]);
        frame.extend(first);
        frame.extend(second);
        frame.resize(len.max(FRAME_LEN_MIN), 0);
        frame
    }
}

fn sequence_bytes(echo: Echo) -> [u8; 8] {
    (u64::from(echo.sequence) << 32).to_be_bytes()
}

const _: () = assert!(ETHERNET_HEADER_LEN + PAYLOAD_LEN <= FRAME_LEN_MIN);

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const ECHO: Echo = Echo { nonce: 0x0102_0304_0506_0708, sequence: 0x090a_0b0c };

    fn read(bytes: &[u8]) -> Option<MemberFrame> {
        MemberFrame::read(&Frame::parse(bytes).unwrap())
    }

    #[test]
    fn a_member_frame_survives_the_wire_at_any_length() {
        let sign = GatewaySign { gateway: [7; 8] };
        let all = [
            MemberFrame::Request(ECHO),
            MemberFrame::Reply(ECHO),
            MemberFrame::GatewaySign(sign),
            MemberFrame::DirectBegins,
            MemberFrame::Unknown,
        ];
        for frame in all {
            for len in [0, 60, 61, 1431] {
                let bytes = frame.encode(A, B, len);
                assert_eq!((bytes.len(), read(&bytes)), (len.max(60), Some(frame)));
            }
        }
    }

    #[test]
    fn the_layout_is_what_the_wire_format_says() {
        let bytes = MemberFrame::Reply(ECHO).encode(A, B, 60);
        assert_eq!(bytes[..14], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
        assert_eq!(bytes[14..26], *b"lanparty\x01\x02\0\0");
        assert_eq!(bytes[26..42], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]);
    }

    #[test]
    fn what_others_experiment_with_is_not_ours_and_a_newer_version_is() {
        let ours = MemberFrame::Request(ECHO).encode(A, B, 60);
        let mut other = ours.clone();
        other[14] ^= 1;
        assert_eq!(read(&other), None);
        other.clone_from(&ours);
        other[13] = 0xb6;
        assert_eq!(read(&other), None);
        for (at, value) in [(22, 2), (23, 9)] {
            let mut newer = ours.clone();
            newer[at] = value;
            assert_eq!(read(&newer), Some(MemberFrame::Unknown));
        }
        for len in 22..42 {
            assert_eq!(read(&ours[..len]), Some(MemberFrame::Unknown), "cut at {len}");
        }
        assert_eq!(read(&ours[..21]), None);
    }
}
