//! What the size ladder promises of any frame: who clamps changes nothing else, pieces make the packet again, an answer is small and
//! right, and never one to an ICMP error.

use arbitrary::{Arbitrary, Unstructured};
use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};
use lanparty_proto::{
    AdmissionPolicy, Checksum, DropReason, Frame, LAN_MTU_MAX, LAN_MTU_MIN, LanMtu, MacAddr, Source, admit, clamp_mss, forbids_fragments,
    fragment_ipv4, is_intact, lower_told_mtu, packet_too_big, trim,
};

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);
const ETHERNET: usize = 14;
/// The longest answers: 576 bytes of IPv4 (RFC 1812 §4.3.2.3), 1,280 of IPv6 (RFC 4443 §2.4 (c)).
const ANSWER_MAX: [usize; 2] = [ETHERNET + 576, ETHERNET + 1280];

/// The bytes as a frame, and as the recipe for one whose lengths and checksums are right.
pub fn ladder(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let limit = bytes.int_in_range(LAN_MTU_MIN..=LAN_MTU_MAX).unwrap_or(LAN_MTU_MAX);
    let limit = LanMtu::new(limit).expect("within its own range");
    judge(data, limit);
    if let Ok(recipe) = Recipe::arbitrary(&mut bytes) {
        judge(&recipe.cook(), limit);
    }
}

fn judge(bytes: &[u8], limit: LanMtu) {
    changes_sizes_only(bytes, 6, |frame| clamp_mss(frame, limit));
    changes_sizes_only(bytes, 4, |frame| lower_told_mtu(frame, limit));
    let Ok(frame) = Frame::parse(bytes) else { return };
    let only_large = admit(bytes, Source::Gateway, &AdmissionPolicy::new(limit), None).err() == Some(DropReason::TapMtuExceeded);
    if !only_large || !is_intact(&frame) {
        return;
    }
    if let Some(trimmed) = trim(&frame, limit) {
        assert!(trimmed.len() <= limit.frame_len_max() && bytes.starts_with(trimmed));
    } else if !forbids_fragments(&frame)
        && let Ok(pieces) = fragment_ipv4(&frame, limit)
    {
        pieces_make_the_packet(bytes, &pieces, limit);
    }
    if let Some(answer) = packet_too_big(&frame, limit) {
        assert!(!is_icmp_error(bytes), "an answer to an ICMP error");
        an_answer_is_small_and_right(&frame, &answer);
    }
}

/// At most so many bytes change for each value that is lowered, the length not at all, and what was lowered once stays.
fn changes_sizes_only(bytes: &[u8], changed_max: usize, lower: impl Fn(&mut [u8]) -> bool) {
    let mut after = bytes.to_vec();
    let lowered = lower(&mut after);
    let changed = bytes.iter().zip(&after).filter(|(before, after)| before != after).count();
    // A list of options may name the same size many times.
    assert!(if lowered { changed > 0 && changed <= changed_max + bytes.len() / 4 * 2 } else { changed == 0 }, "{changed} bytes changed");
    assert!(!lower(&mut after.clone()), "lowered twice");
}

fn pieces_make_the_packet(bytes: &[u8], pieces: &[Vec<u8>], limit: LanMtu) {
    let (field, payload) = fragment_of(bytes);
    let (mut at, mut whole) = (u32::from(field & 0x1fff) * 8, vec![]);
    for (index, piece) in pieces.iter().enumerate() {
        assert!(piece.len() <= limit.frame_len_max());
        assert!(Frame::parse(piece).is_ok_and(|frame| is_intact(&frame)), "a header with its checksum");
        let (piece_field, part) = fragment_of(piece);
        assert_eq!(u32::from(piece_field & 0x1fff) * 8, at, "pieces follow each other");
        let more = index + 1 < pieces.len() || field & 0x2000 != 0;
        assert_eq!(piece_field & 0x2000 != 0, more, "the last piece is the packet's last");
        at += part.len() as u32;
        whole.extend_from_slice(part);
    }
    assert_eq!(whole, payload);
    assert!(at <= 65_535, "no receiver has room for more");
}

/// Flags and offset of the IPv4 packet in a frame, and its payload.
fn fragment_of(frame: &[u8]) -> (u16, &[u8]) {
    let packet = &frame[ETHERNET..];
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    (u16::from_be_bytes([packet[6], packet[7]]), &packet[usize::from(packet[0] & 0x0f) * 4..total])
}

fn an_answer_is_small_and_right(frame: &Frame<'_>, answer: &[u8]) {
    let is_v6 = frame.ethertype() == wire::IPV6;
    assert!(answer.len() <= ANSWER_MAX[usize::from(is_v6)] && answer.len() <= frame.bytes().len(), "{} bytes", answer.len());
    let parsed = Frame::parse(answer).expect("a frame");
    assert_eq!((parsed.dst(), parsed.src()), (frame.src(), frame.dst()));
    assert!(is_intact(&parsed) && is_summed(answer, is_v6));
    assert!(admit(answer, Source::Gateway, &AdmissionPolicy::new(LanMtu::MAX), None).is_ok(), "a frame that any member may receive");
}

/// Whether a frame plainly carries an ICMP error: unreachable, quench, redirect, time exceeded, parameter problem; in IPv6 all below 128.
fn is_icmp_error(frame: &[u8]) -> bool {
    let packet = &frame[ETHERNET..];
    match (packet[0] >> 4, packet.get(9), packet.get(6)) {
        (4, Some(1), _) => packet.get(usize::from(packet[0] & 0x0f) * 4).is_some_and(|kind| matches!(kind, 3..=5 | 11 | 12)),
        (6, _, Some(&wire::ICMPV6)) => packet.get(40).is_some_and(|kind| *kind < 128),
        _ => false,
    }
}

/// Whether the checksum of the ICMP message in an answer of ours is right; its IP header has no options.
fn is_summed(answer: &[u8], is_v6: bool) -> bool {
    let packet = &answer[ETHERNET..];
    let sum = if is_v6 {
        let message = &packet[40..];
        let len = (message.len() as u32).to_be_bytes();
        Checksum::default().with(&packet[8..40]).with(&len).with(&[0, 0, 0, wire::ICMPV6]).with(message)
    } else {
        Checksum::default().with(&packet[20..])
    };
    sum.field() == [0, 0]
}

#[derive(Arbitrary)]
enum Recipe {
    V4 { protocol: Upper, flags: u16, option_words: u8, payload: Payload, trailer: u8 },
    V6 { headers: Vec<(u8, u8)>, protocol: Upper, payload: Payload, trailer: u8 },
}

#[derive(Arbitrary, Clone, Copy)]
enum Upper {
    Tcp,
    Udp,
    Icmp(u8),
    Any(u8),
}

#[derive(Arbitrary)]
struct Payload {
    tcp_options: Vec<u8>,
    syn: bool,
    ports: (u16, u16),
    start: Vec<u8>,
    len: u16,
}

impl Payload {
    fn cook(&self, protocol: Upper) -> (u8, Vec<u8>) {
        let rest = || {
            let mut rest = self.start.clone();
            rest.resize(usize::from(self.len) % 2000, 7);
            rest
        };
        match protocol {
            Upper::Tcp => {
                let mut header = wire::tcp();
                let words = self.tcp_options.len().min(40) / 4;
                header[12] = (5 + words as u8) << 4;
                header[13] = if self.syn { 0x02 } else { 0x10 };
                (wire::TCP, [&header[..], &self.tcp_options[..words * 4], &rest()].concat())
            }
            Upper::Udp => (wire::UDP, wire::udp(self.ports.0, self.ports.1, &rest())),
            Upper::Icmp(kind) => (1, [&[kind, 0, 0, 0][..], &rest()].concat()),
            Upper::Any(number) => (number, rest()),
        }
    }
}

/// A single host: what goes to a group is answered to nobody.
const NEIGHBOUR: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);

/// Every second packet is no later fragment.
fn fields(flags: u16) -> u16 {
    if flags & 1 == 0 { flags & 0x6000 } else { flags & 0x7fff }
}

impl Recipe {
    fn cook(self) -> Vec<u8> {
        let (kind, packet, trailer) = match self {
            Self::V4 { protocol, flags, option_words, payload, trailer } => {
                let (protocol, payload) = payload.cook(protocol);
                let ip = Ipv4 { option_words: option_words % 11, fragment: fields(flags), ..Ipv4::new(protocol) };
                (wire::IPV4, ip.packet(&payload), trailer)
            }
            Self::V6 { headers, protocol, payload, trailer } => {
                let (protocol, payload) = payload.cook(protocol);
                let kinds =
                    headers.iter().map(|(kind, units)| Header::new(Header::KINDS[usize::from(*kind) % Header::KINDS.len()], units % 8));
                (wire::IPV6, Ipv6 { dst: NEIGHBOUR, ..Ipv6::default() }.packet(&kinds.collect::<Vec<_>>(), protocol, &payload), trailer)
            }
        };
        let mut frame = wire::ethernet(wire::HOST, CLIENT, kind, &packet);
        frame.resize(frame.len() + usize::from(trailer), 0);
        frame
    }
}
