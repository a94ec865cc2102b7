//! What a traffic filter reads of a frame: who speaks to whom, by which protocol and ports, beneath VLAN tags and behind
//! the whole IPv6 extension header chain.
//!
//! It promises that ports are those that a receiver will see: a packet whose ports are not all there, or could be written
//! over by a later fragment, is an error (RFC 1858, RFC 3128, RFC 7112). Tunnels are not looked into.

use std::net::IpAddr;

use crate::packet::{Ipv4Packet, Ipv6Fragment, Ipv6Packet, Udp, be16, ethertype, nd_type, protocol};
use crate::{DropReason, Frame};

/// Tags that are looked beneath: two, as providers stack them (802.1ad).
const TAGS_MAX: usize = 2;
/// Type fields below this are 802.3 lengths (IEEE 802.3 §3.2.6).
const ETHERTYPE_MIN: u16 = 0x600;
/// LLC and SNAP in front of an EtherType (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
const TCP_HEADER_LEN: usize = 20;
const ND_HOP_LIMIT: u8 = 255;

/// What a frame is, as far as a filter can say something of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Headers {
    /// An IP packet, or a part of one.
    Ip(IpHeaders),
    /// ARP, RARP, and the IPv6 neighbour discovery that does its work (RFC 4861): without it nobody reaches anybody.
    Neighbours,
    /// Anything else, by its EtherType, or its 802.3 length.
    Other(u16),
}

/// Of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpHeaders {
    /// Source and destination address, of one family.
    pub ends: (IpAddr, IpAddr),
    /// The protocol of the upper layer. A later IPv6 fragment only claims one: receivers believe the first.
    pub protocol: u8,
    /// How much of the packet this is.
    pub part: Part,
}

/// A packet, or what it was cut into. Ports are source and destination, where the protocol is TCP or UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole {
        /// Its ports.
        ports: Option<(u16, u16)>,
    },
    /// The first fragment: it has the ports of all.
    First {
        /// Its ports.
        ports: Option<(u16, u16)>,
        /// What the fragments of one packet have in common.
        id: u32,
        /// Where it ends, in bytes: a fragment that begins before overlaps it.
        end: u16,
    },
    /// A later one.
    Later {
        /// What the fragments of one packet have in common.
        id: u32,
        /// Where it begins, in bytes.
        start: u16,
    },
}

impl Headers {
    /// What `frame` is.
    ///
    /// # Errors
    /// Why it cannot be read: [`DropReason::VlanTaggedFrame`] beneath too many tags, [`DropReason::Malformed`] and
    /// [`DropReason::Ipv6Chain`] as [`admit`](crate::admit) means them.
    pub fn read(frame: &Frame<'_>) -> Result<Self, DropReason> {
        let (kind, payload) = beneath_tags(frame)?;
        let (kind, payload) = match payload {
            [a, b, c, d, e, f, high, low, rest @ ..] if kind < ETHERTYPE_MIN && [*a, *b, *c, *d, *e, *f] == SNAP => {
                (u16::from_be_bytes([*high, *low]), rest)
            }
            _ => (kind, payload),
        };
        match kind {
            ethertype::IPV4 => read_ipv4(payload).map(Self::Ip),
            ethertype::IPV6 => read_ipv6(payload),
            ethertype::ARP | ethertype::RARP => Ok(Self::Neighbours),
            other => Ok(Self::Other(other)),
        }
    }
}

fn beneath_tags<'a>(frame: &Frame<'a>) -> Result<(u16, &'a [u8]), DropReason> {
    let (mut kind, mut payload) = (frame.ethertype(), frame.payload());
    for _ in 0..TAGS_MAX {
        let (0x8100 | 0x88a8 | 0x9100) = kind else { break };
        let ([_, _, high, low], rest) = payload.split_first_chunk().ok_or(DropReason::Malformed)?;
        (kind, payload) = (u16::from_be_bytes([*high, *low]), rest);
    }
    // Further tags, and those whose form is another one (802.1ah), or was never agreed on.
    if matches!(kind, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x88e7) { Err(DropReason::VlanTaggedFrame) } else { Ok((kind, payload)) }
}

fn read_ipv4(payload: &[u8]) -> Result<IpHeaders, DropReason> {
    let packet = Ipv4Packet::read(payload)?;
    let id = u32::from(packet.identification);
    let part = match packet.fragment_offset {
        0 => {
            let ports = ports(packet.protocol, packet.payload).ok_or(DropReason::Malformed)?;
            let end = u16::try_from(packet.payload.len()).map_err(|_| DropReason::Malformed)?;
            if packet.more_fragments { Part::First { ports, id, end } } else { Part::Whole { ports } }
        }
        // No honest first fragment is eight bytes long (RFC 3128).
        1 => return Err(DropReason::Malformed),
        // The field has thirteen bits, so eight times it has sixteen.
        offset => Part::Later { id, start: offset << 3 },
    };
    let (src, dst) = packet.ends;
    Ok(IpHeaders { ends: (src.into(), dst.into()), protocol: packet.protocol, part })
}

fn read_ipv6(payload: &[u8]) -> Result<Headers, DropReason> {
    let packet = Ipv6Packet::read(payload)?;
    if is_neighbour_discovery(&packet) {
        return Ok(Headers::Neighbours);
    }
    // Behind a header that we do not know a receiver may find any other (RFC 7045).
    if packet.has_upper_header() && !packet.upper_is_known() {
        return Err(DropReason::Ipv6Chain);
    }
    let part = match (packet.fragment, packet.piece) {
        (Some(Ipv6Fragment::Later), Some(piece)) => Part::Later { id: piece.identification, start: piece.offset },
        (Some(Ipv6Fragment::First), Some(piece)) => {
            let ports = ports(packet.upper, packet.payload).ok_or(DropReason::Ipv6Chain)?;
            let end = u16::try_from(piece.len).map_err(|_| DropReason::Malformed)?;
            Part::First { ports, id: piece.identification, end }
        }
        _ => Part::Whole { ports: ports(packet.upper, packet.payload).ok_or(DropReason::Malformed)? },
    };
    let (src, dst) = packet.ends;
    Ok(Headers::Ip(IpHeaders { ends: (src.into(), dst.into()), protocol: packet.upper, part }))
}

/// Solicitations and advertisements of routers and neighbours, as a receiver takes them (RFC 4861 §7.1, RFC 6980).
fn is_neighbour_discovery(packet: &Ipv6Packet<'_>) -> bool {
    let kinds = nd_type::ROUTER_SOLICITATION..nd_type::REDIRECT;
    packet.upper == protocol::ICMPV6
        && packet.fragment.is_none()
        && packet.hop_limit == ND_HOP_LIMIT
        && packet.payload.first().is_some_and(|kind| kinds.contains(kind))
}

/// The ports of TCP and UDP, when all of the header is there; nothing in the place of ports for other protocols.
fn ports(upper: u8, payload: &[u8]) -> Option<Option<(u16, u16)>> {
    match upper {
        protocol::UDP => Udp::read(payload).map(|udp| Some((udp.source_port, udp.destination_port))),
        protocol::TCP if payload.len() < TCP_HEADER_LEN => None,
        protocol::TCP => Some(be16(payload, 0).zip(be16(payload, 2))),
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::wire::{self, Header, Ipv4, Ipv6};

    fn read(kind: u16, payload: &[u8]) -> Result<Headers, DropReason> {
        Headers::read(&Frame::parse(&wire::ethernet(wire::VICTIM, wire::HOST, kind, payload)).unwrap())
    }

    fn part(kind: u16, payload: &[u8]) -> Result<Part, DropReason> {
        read(kind, payload).map(|headers| match headers {
            Headers::Ip(ip) => ip.part,
            other => panic!("{other:?} is no IP"),
        })
    }

    #[test]
    fn ports_are_found_behind_options_every_extension_header_and_two_tags() {
        let udp = wire::udp(7, 27015, &[0; 8]);
        let whole = Ok(Part::Whole { ports: Some((7, 27015)) });
        let v4 = Ipv4 { option_words: 3, ..Ipv4::new(wire::UDP) }.packet(&udp);
        assert_eq!(part(wire::IPV4, &v4), whole);
        for count in 0..40 {
            let chain: Vec<_> = (0..count).map(|n| Header::new(Header::KINDS[n % 7], 0)).filter(|h| h.0 != Header::FRAGMENT).collect();
            assert_eq!(part(wire::IPV6, &Ipv6::default().packet(&chain, wire::UDP, &udp)), whole, "{count}");
        }
        for tags in [&[0u8, 5, 8, 0][..], &[0, 5, 0x81, 0, 0, 6, 8, 0], &[0, 5, 0x91, 0, 0, 6, 8, 0]] {
            assert_eq!(part(0x8100, &[tags, &v4].concat()), whole);
        }
        assert_eq!(read(0x8100, &[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0]), Err(DropReason::VlanTaggedFrame));
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &v4].concat();
        assert_eq!(part(u16::try_from(snap.len()).unwrap(), &snap), whole);
    }

    #[test]
    fn a_packet_that_hides_its_ports_is_an_error() {
        let tiny = |protocol, len: usize| part(wire::IPV4, &Ipv4::new(protocol).fragment(0, true).packet(&vec![0; len]));
        for (protocol, len) in [(wire::UDP, 0), (wire::UDP, 4), (wire::TCP, 8), (wire::TCP, 16)] {
            assert_eq!(tiny(protocol, len), Err(DropReason::Malformed), "{protocol} {len}");
        }
        assert_eq!(part(wire::IPV4, &Ipv4::new(wire::UDP).fragment(1, false).packet(&[0; 16])), Err(DropReason::Malformed));
        let options = [Header::fragment(0, true), Header::new(Header::DESTINATION, 0)];
        assert_eq!(part(wire::IPV6, &Ipv6::default().packet(&options, wire::UDP, &[])), Err(DropReason::Ipv6Chain));
        let twice = [Header::fragment(0, true), Header::fragment(0, false)];
        assert_eq!(part(wire::IPV6, &Ipv6::default().packet(&twice, wire::UDP, &[0; 16])), Err(DropReason::Ipv6Chain));
        assert_eq!(part(wire::IPV6, &Ipv6::default().packet(&[], 253, &[0; 16])), Err(DropReason::Ipv6Chain));
    }

    #[test]
    fn a_fragment_says_where_it_belongs() {
        let payload = wire::udp(7, 9, &[0; 16]);
        let first = part(wire::IPV4, &Ipv4::new(wire::UDP).fragment(0, true).packet(&payload)).unwrap();
        assert!(matches!(first, Part::First { ports: Some((7, 9)), end: 24, .. }), "{first:?}");
        let later = part(wire::IPV4, &Ipv4::new(wire::UDP).fragment(3, false).packet(&[0; 8])).unwrap();
        assert!(matches!(later, Part::Later { start: 24, .. }), "{later:?}");
        let options = [Header::fragment(0, true), Header::new(Header::DESTINATION, 0)];
        let first = part(wire::IPV6, &Ipv6::default().packet(&options, wire::UDP, &payload)).unwrap();
        assert!(matches!(first, Part::First { ports: Some((7, 9)), end: 32, .. }), "{first:?}");
        let later = part(wire::IPV6, &Ipv6::default().packet(&[Header::fragment(4, false)], wire::UDP, &[0; 8])).unwrap();
        assert!(matches!(later, Part::Later { start: 32, .. }), "{later:?}");
        let atomic = part(wire::IPV6, &Ipv6::default().packet(&[Header::fragment(0, false)], wire::UDP, &payload)).unwrap();
        assert_eq!(atomic, Part::Whole { ports: Some((7, 9)) });
    }

    #[test]
    fn what_makes_neighbours_known_is_told_from_other_icmp() {
        assert_eq!(read(wire::ARP, &[]), Ok(Headers::Neighbours));
        let icmp = |kind, hop_limit| {
            let ip = Ipv6 { hop_limit, ..Ipv6::default() };
            read(wire::IPV6, &ip.packet(&[], wire::ICMPV6, &ip.icmp(kind, &[0; 20])))
        };
        for kind in 133..=136 {
            assert_eq!(icmp(kind, 255), Ok(Headers::Neighbours), "{kind}");
            assert!(matches!(icmp(kind, 64), Ok(Headers::Ip(_))), "{kind}");
        }
        for kind in [128, 131, 137, 143] {
            assert!(matches!(icmp(kind, 255), Ok(Headers::Ip(_))), "{kind}");
        }
        assert_eq!(read(0x8137, &[]), Ok(Headers::Other(0x8137)));
    }
}
