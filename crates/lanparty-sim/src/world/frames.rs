//! Frames as a LAN of players makes them, each with a number of its own at its end, so that the oracle knows it again
//! wherever it turns up.

use lanparty_proto::{Checksum, ETHERNET_HEADER_LEN, MacAddr};

use crate::Rng;

/// In front of the number: nothing else in the simulated world looks like it.
const MARK: [u8; 8] = *b"lanparty";
const TAG_LEN: usize = 16;
const UDP_HEADERS_LEN: usize = ETHERNET_HEADER_LEN + 20 + 8;
const TCP_HEADERS_LEN: usize = ETHERNET_HEADER_LEN + 20 + 20;
/// Shortest Ethernet frame without FCS (IEEE 802.3 §3.2.8).
const FRAME_LEN_MIN: usize = 60;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address, or the answer.
    Arp,
    /// A lease is looked for.
    Dhcp,
    /// A game server is looked for.
    Discovery,
    /// A game is played: a frame of this length.
    Udp(u16),
    /// A file is copied: a frame of this length.
    Tcp(u16),
}

impl Kind {
    /// What a host sends to one other, above the LAN MTU now and then.
    pub fn any_unicast(rng: &mut Rng) -> Self {
        match rng.below(8) {
            0 => Self::Arp,
            1..=4 => Self::Udp(60 + rng.below(400) as u16),
            5 => Self::Udp(60 + rng.below(1454) as u16),
            6 => Self::Tcp(1514),
            _ => Self::Tcp(70 + rng.below(1444) as u16),
        }
    }

    /// What a host sends to all.
    pub fn any_broadcast(rng: &mut Rng) -> Self {
        [Self::Arp, Self::Dhcp, Self::Discovery, Self::Udp(200)][rng.below(4) as usize]
    }

    /// The frame from `src` to `dst`, with number `id`.
    pub fn frame(self, dst: MacAddr, src: MacAddr, id: u64) -> Vec<u8> {
        let mut frame = [&dst.0[..], &src.0].concat();
        match self {
            Self::Arp => {
                let op = if dst.is_group() { 1 } else { 2 };
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, op]);
                frame.extend(src.0);
                frame.extend([10, 7, 0, src.0[5], 0, 0, 0, 0, 0, 0, 10, 7, 0, dst.0[5]]);
                frame.resize(FRAME_LEN_MIN, 0);
            }
            Self::Dhcp => {
                let mut bootp = vec![1, 1, 6, 0];
                bootp.resize(236 + TAG_LEN, 0);
                udp(&mut frame, (68, 67), &bootp);
            }
            Self::Discovery => udp(&mut frame, (27_015, 27_015), &[0x54; 40]),
            Self::Udp(len) => udp(&mut frame, (27_005, 27_015), &vec![0x66; usize::from(len).saturating_sub(UDP_HEADERS_LEN).max(TAG_LEN)]),
            Self::Tcp(len) => tcp(&mut frame, usize::from(len).saturating_sub(TCP_HEADERS_LEN).max(TAG_LEN)),
        }
        let end = frame.len();
        frame[end - TAG_LEN..end - 8].copy_from_slice(&MARK);
        frame[end - 8..].copy_from_slice(&id.to_be_bytes());
        frame
    }
}

/// The number of a frame made here.
pub fn id_of(frame: &[u8]) -> Option<u64> {
    let (_, tag) = frame.split_last_chunk::<TAG_LEN>()?;
    let (mark, id) = tag.split_first_chunk::<8>()?;
    (*mark == MARK).then_some(u64::from_be_bytes(id.try_into().ok()?))
}

fn ipv4(frame: &mut Vec<u8>, protocol: u8, payload_len: usize) {
    let [high, low] = (20 + payload_len as u16).to_be_bytes();
    let to = match frame.as_slice() {
        [1, 0, 0x5e, a, b, c, ..] => [224, *a, *b, *c],
        _ => [10, 7, 0, 1],
    };
    let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 7, 0, 9, to[0], to[1], to[2], to[3]];
    let sum = Checksum::default().with(&header).field();
    header[10..12].copy_from_slice(&sum);
    frame.extend([8, 0]);
    frame.extend(header);
}

fn udp(frame: &mut Vec<u8>, (from, to): (u16, u16), payload: &[u8]) {
    ipv4(frame, 17, 8 + payload.len());
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend_from_slice(payload);
}

fn tcp(frame: &mut Vec<u8>, payload_len: usize) {
    ipv4(frame, 6, 20 + payload_len);
    frame.extend([0xc0, 0, 0x69, 0x87, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(frame.len() + payload_len, 0x77);
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{AdmissionPolicy, LanMtu, Source, admit};

    use super::*;

    #[test]
    fn every_kind_is_admitted_has_its_length_and_is_known_again() {
        let (src, policy) = (MacAddr([2, 0, 0, 0, 0, 1]), AdmissionPolicy::new(LanMtu::MAX));
        let mut rng = Rng::new(1);
        for id in 0..500 {
            let to_one = id % 2 == 0;
            let kind = if to_one { Kind::any_unicast(&mut rng) } else { Kind::any_broadcast(&mut rng) };
            let dst = if to_one { MacAddr([2, 0, 0, 0, 0, 2]) } else { MacAddr::BROADCAST };
            let frame = kind.frame(dst, src, id);
            assert!(admit(&frame, Source::Client(src), &policy, None).is_ok(), "{kind:?}");
            assert_eq!(id_of(&frame), Some(id));
            if let Kind::Udp(len) | Kind::Tcp(len) = kind {
                assert_eq!(frame.len(), usize::from(len).max(60), "{kind:?}");
            }
        }
        assert_eq!(id_of(&[0; 60]), None);
    }
}
