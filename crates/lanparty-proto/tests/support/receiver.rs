//! A receiver of a client's frames that believes everything: bridge, ARP and neighbour caches, router discovery, DHCP
//! clients and relay agents, both reassemblies. It is the oracle of admission, so it shares no code with it and is
//! written the other way round: it follows whatever leads to belief, and forgives every fault on the way.

use std::collections::{BTreeMap, BTreeSet};

/// What the receiver was made to believe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Harm {
    /// Its bridge learned an address that is not the client's.
    ForeignSource,
    /// It saw a VLAN tag.
    Tag,
    /// Its switch, or a daemon beside it, took a link-local control frame.
    ControlPlane,
    /// Its ARP cache took another hardware address.
    ArpCache,
    /// Its neighbour cache took another link-layer address.
    NeighbourCache,
    /// Neighbour discovery that may have come from off the link.
    OffLinkNd,
    /// It has a new default route.
    Router,
    /// It has a new first hop for somebody.
    Redirect,
    /// Its DHCP client or relay agent took a server's message.
    Dhcp,
    /// The same for DHCPv6.
    Dhcpv6,
}

/// Whose bytes count where IPv4 fragments overlap; RFC 791 leaves it open. IPv6 forbids overlaps (RFC 5722).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overlap {
    FirstWins,
    LastWins,
}

struct Piece {
    at: usize,
    more: bool,
    bytes: Vec<u8>,
}

pub(crate) struct Receiver {
    client: [u8; 6],
    overlap: Overlap,
    v4: BTreeMap<(u16, u8), Vec<Piece>>,
    v6: BTreeMap<Vec<u8>, Vec<(u8, Piece)>>,
    pub(crate) harms: BTreeSet<Harm>,
}

impl Receiver {
    pub(crate) fn new(client: [u8; 6], overlap: Overlap) -> Self {
        Self { client, overlap, v4: BTreeMap::new(), v6: BTreeMap::new(), harms: BTreeSet::new() }
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) {
        if frame.len() < 14 {
            return;
        }
        let (header, payload) = frame.split_at(14);
        self.expect(header[6..12] == self.client, Harm::ForeignSource);
        let kind = usize::from(header[12]) << 8 | usize::from(header[13]);
        let control_types = [0x8808, 0x8809, 0x8863, 0x8864, 0x888e, 0x88c7, 0x88cc, 0x88f5, 0x88f6, 0x8902, 0x9000];
        let bridge_group = header[..5] == [1, 0x80, 0xc2, 0, 0] && header[5] < 0x30;
        let cisco_group = header[..5] == [1, 0, 0x0c, 0xcc, 0xcc] && header[5] >> 1 == 0x66;
        self.expect(!bridge_group && !cisco_group && kind >= 0x600 && !control_types.contains(&kind), Harm::ControlPlane);
        match kind {
            0x8100 | 0x88a8 | 0x88e7 | 0x9100 | 0x9200 => self.harm(Harm::Tag),
            0x0806 | 0x8035 => self.arp(payload),
            0x0800 => self.ipv4(payload),
            0x86dd => self.ipv6(payload),
            _ => {}
        }
    }

    fn harm(&mut self, harm: Harm) {
        self.harms.insert(harm);
    }

    fn expect(&mut self, innocent: bool, harm: Harm) {
        if !innocent {
            self.harm(harm);
        }
    }

    /// Any hardware type whose addresses have six bytes.
    fn arp(&mut self, arp: &[u8]) {
        if arp.len() >= 28 && arp[2..6] == [8, 0, 6, 4] {
            self.expect(arp[8..14] == self.client, Harm::ArpCache);
        }
    }

    fn ipv4(&mut self, packet: &[u8]) {
        if packet.len() < 20 || packet[0] & 0xf0 != 0x40 {
            return;
        }
        let header_len = usize::from(packet[0] % 16) * 4;
        let end = usize::from(packet[2]) * 256 + usize::from(packet[3]);
        if header_len < 20 || end < header_len || end > packet.len() {
            return;
        }
        let (bytes, protocol) = (packet[header_len..end].to_vec(), packet[9]);
        let (at, more) = ((usize::from(packet[6] % 32) * 256 + usize::from(packet[7])) * 8, packet[6] & 0x20 != 0);
        if at == 0 && !more {
            return self.upper_v4(protocol, &bytes);
        }
        let id = u16::from(packet[4]) << 8 | u16::from(packet[5]);
        let pieces = self.v4.entry((id, protocol)).or_default();
        pieces.push(Piece { at, more, bytes });
        let in_order: Vec<&Piece> = match self.overlap {
            Overlap::LastWins => pieces.iter().collect(),
            Overlap::FirstWins => pieces.iter().rev().collect(),
        };
        if let Some(whole) = overlay(&in_order) {
            self.upper_v4(protocol, &whole);
        }
    }

    /// UDP whatever its length field says. A DHCP client looks at the op field or at the message type, never at both.
    fn upper_v4(&mut self, protocol: u8, bytes: &[u8]) {
        if protocol != 17 || bytes.len() < 9 {
            return;
        }
        let (to, message) = (port(bytes, 2), &bytes[8..]);
        let offers = message.windows(3).any(|option| option[..2] == [53, 1] && [2, 5, 6].contains(&option[2]));
        let believed = (to == 68 && (message[0] == 2 || offers)) || (to == 67 && message[0] == 2);
        self.expect(!believed, Harm::Dhcp);
    }

    fn ipv6(&mut self, packet: &[u8]) {
        if packet.len() < 40 || packet[0] & 0xf0 != 0x60 {
            return;
        }
        let claimed = usize::from(packet[4]) * 256 + usize::from(packet[5]);
        // A jumbogram is as long as its frame.
        let end = if claimed == 0 { packet.len() } else { 40 + claimed };
        if end <= packet.len() {
            self.header(packet[6], &packet[40..end], packet[7]);
        }
    }

    /// One header of the chain, or what stands at its end.
    fn header(&mut self, kind: u8, bytes: &[u8], hop_limit: u8) {
        match kind {
            17 => self.udp_v6(bytes),
            58 => self.icmpv6(bytes, hop_limit),
            44 if bytes.len() >= 8 => self.fragment(bytes, hop_limit),
            0 | 43 | 51 | 60 | 135 | 139 | 140 if bytes.len() >= 8 => {
                let len = if kind == 51 { 8 + 4 * usize::from(bytes[1]) } else { 8 + 8 * usize::from(bytes[1]) };
                if len <= bytes.len() {
                    self.header(bytes[0], &bytes[len..], hop_limit);
                }
            }
            _ => {}
        }
    }

    /// RFC 8200 §4.5: the first fragment names what the whole starts with; overlaps end it all; atomic ones stand alone.
    fn fragment(&mut self, bytes: &[u8], hop_limit: u8) {
        let field = usize::from(bytes[2]) * 256 + usize::from(bytes[3]);
        let (at, more) = (field / 8 * 8, field % 2 == 1);
        if at == 0 && !more {
            return self.header(bytes[0], &bytes[8..], hop_limit);
        }
        let pieces = self.v6.entry(bytes[4..8].to_vec()).or_default();
        pieces.push((bytes[0], Piece { at, more, bytes: bytes[8..].to_vec() }));
        let mut sorted: Vec<&(u8, Piece)> = pieces.iter().collect();
        sorted.sort_by_key(|(_, piece)| piece.at);
        let overlaps = sorted.windows(2).any(|pair| pair[0].1.at + pair[0].1.bytes.len() > pair[1].1.at);
        let whole = overlay(&sorted.iter().map(|(_, piece)| piece).collect::<Vec<_>>());
        let first = sorted.first().map_or(59, |(next, _)| *next);
        if let (false, Some(whole)) = (overlaps, whole) {
            self.header(first, &whole, hop_limit);
        }
    }

    fn udp_v6(&mut self, bytes: &[u8]) {
        if bytes.len() < 9 {
            return;
        }
        let server_speaks = matches!(bytes[8], 2 | 7 | 10 | 13);
        let believed = (matches!(port(bytes, 2), 546 | 547) && server_speaks) || (port(bytes, 0) == 547 && port(bytes, 2) == 546);
        self.expect(!believed, Harm::Dhcpv6);
    }

    fn icmpv6(&mut self, bytes: &[u8], hop_limit: u8) {
        let options_at = match bytes.first() {
            Some(134) => return self.harm(Harm::Router),
            Some(137) => return self.harm(Harm::Redirect),
            Some(133) => 8,
            Some(135 | 136) => 24,
            _ => return,
        };
        self.expect(hop_limit == 255, Harm::OffLinkNd);
        let mut at = options_at;
        while at + 8 <= bytes.len() && bytes[at + 1] != 0 {
            let is_address = matches!(bytes[at], 1 | 2);
            self.expect(!is_address || bytes[at + 2..at + 8] == self.client, Harm::NeighbourCache);
            at += usize::from(bytes[at + 1]) * 8;
        }
    }
}

fn port(udp: &[u8], at: usize) -> u16 {
    u16::from(udp[at]) << 8 | u16::from(udp[at + 1])
}

/// The pieces laid over each other in order, later ones on top; nothing while a hole or the end is missing.
fn overlay(pieces: &[&Piece]) -> Option<Vec<u8>> {
    let end = pieces.iter().filter(|piece| !piece.more).map(|piece| piece.at + piece.bytes.len()).max()?;
    let mut known = vec![None; end.min(9000)];
    for piece in pieces {
        for (slot, byte) in known.iter_mut().skip(piece.at).zip(&piece.bytes) {
            *slot = Some(*byte);
        }
    }
    known.into_iter().collect()
}
