//! Building blocks of test frames, written without the parser they test.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::MacAddr;

/// A host of the gateway's LAN, its router too.
pub const HOST: MacAddr = MacAddr([0x02, 0x1a, 0x4e, 0, 0, 0x10]);
/// Somebody else: neither the client nor [`HOST`].
pub const VICTIM: MacAddr = MacAddr([0x02, 0x1a, 0x4e, 0, 0, 0x66]);
/// An EtherType for experiments, which nothing looks into (IEEE 802 local experimental 1).
pub const EXPERIMENT: u16 = 0x88b5;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Protocol numbers as both IP versions use them.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// An Ethernet II frame, or an 802.3 one when `kind` is a length.
#[must_use]
pub fn ethernet(dst: MacAddr, src: MacAddr, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &kind.to_be_bytes(), payload].concat()
}

/// An ARP message; `sender` and `target` are hardware and IP address.
#[must_use]
pub fn arp(op: u16, sender: (MacAddr, [u8; 4]), target: (MacAddr, [u8; 4])) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4], &op.to_be_bytes()[..], &sender.0.0, &sender.1, &target.0.0, &target.1].concat()
}

/// A UDP datagram without checksum, which IPv4 allows.
#[must_use]
pub fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = be_len(8 + payload.len());
    [&source_port.to_be_bytes()[..], &destination_port.to_be_bytes(), &len, &[0, 0], payload].concat()
}

/// A TCP SYN, without checksum.
#[must_use]
pub fn tcp() -> Vec<u8> {
    [&50_000u16.to_be_bytes()[..], &27_015u16.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat()
}

/// A BOOTP message with DHCP message type `kind` (RFC 2132 §9.6).
#[must_use]
pub fn dhcp(op: u8, kind: u8) -> Vec<u8> {
    let mut message = vec![op, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe];
    message.resize(236, 0);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 255]);
    message
}

/// An IPv4 header to be.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// Protocol number.
    pub protocol: u8,
    /// Flags and fragment offset as the header carries them: 0x4000 DF, 0x2000 MF, then the offset in eight bytes.
    pub fragment: u16,
    /// Four-byte words of options, each a no-operation.
    pub option_words: u8,
    /// What the header claims instead of the true total length.
    pub total_len: Option<u16>,
    /// The first byte instead of the true version and header length.
    pub version_ihl: Option<u8>,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
}

impl Ipv4 {
    /// An unfragmented header from the client to a host.
    #[must_use]
    pub fn new(protocol: u8) -> Self {
        let (src, dst) = (Ipv4Addr::new(10, 77, 0, 9), Ipv4Addr::new(10, 77, 0, 1));
        Self { protocol, fragment: 0, option_words: 0, total_len: None, version_ihl: None, src, dst }
    }

    /// The same as a fragment, `offset` in units of eight bytes.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = offset | if more { 0x2000 } else { 0 };
        self
    }

    /// The packet, with a right header checksum.
    #[must_use]
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + 4 * usize::from(self.option_words);
        let total_len = self.total_len.map_or(be_len(header_len + payload.len()), u16::to_be_bytes);
        let head =
            [&[self.version_ihl.unwrap_or(0x45 + self.option_words), 0], &total_len[..], &[0x12, 0x34], &self.fragment.to_be_bytes()]
                .concat();
        let tail = [&self.src.octets()[..], &self.dst.octets(), &vec![1; 4 * usize::from(self.option_words)]].concat();
        let sum = checksum(&[&head, &[64, self.protocol], &tail]);
        [&head, &[64, self.protocol][..], &sum, &tail, payload].concat()
    }
}

/// One IPv6 extension header: its number, and its bytes behind the next-header byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header(pub u8, pub Vec<u8>);

impl Header {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication: the one that counts its length in four bytes.
    pub const AUTHENTICATION: u8 = 51;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility.
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
    /// All that [`Self::new`] makes.
    pub const KINDS: [u8; 7] =
        [Self::HOP_BY_HOP, Self::DESTINATION, Self::ROUTING, Self::MOBILITY, Self::HIP, Self::SHIM6, Self::AUTHENTICATION];

    /// A well-formed header of `8 * (1 + units)` bytes that asks for nothing: padding, or an unknown type in it.
    #[must_use]
    pub fn new(kind: u8, units: u8) -> Self {
        let pad = 4 + 8 * units;
        let body = match kind {
            Self::HOP_BY_HOP | Self::DESTINATION => [&[units, 1, pad][..], &vec![0; usize::from(pad)]].concat(),
            Self::AUTHENTICATION => [&[2 * units][..], &vec![0; usize::from(pad) + 2]].concat(),
            _ => [&[units, 4][..], &vec![0; usize::from(pad) + 1]].concat(),
        };
        Self(kind, body)
    }

    /// A fragment header, `offset` in units of eight bytes.
    #[must_use]
    pub fn fragment(offset: u16, more: bool) -> Self {
        let field = (offset << 3 | u16::from(more)).to_be_bytes();
        Self(Self::FRAGMENT, [&[0][..], &field, &[0, 0, 0x12, 0x34]].concat())
    }
}

/// `headers` in front of `payload`: the first header's number, and the bytes.
#[must_use]
pub fn chain(headers: &[Header], upper: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    headers.iter().rev().fold((upper, payload.to_vec()), |(next, rest), header| (header.0, [&[next], &header.1[..], &rest].concat()))
}

/// An IPv6 header to be.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// Hop limit.
    pub hop_limit: u8,
    /// What the header claims instead of the true payload length.
    pub payload_len: Option<u16>,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
}

impl Default for Ipv6 {
    /// From the client to all nodes, hop limit 255 as neighbour discovery has it.
    fn default() -> Self {
        let (src, dst) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
        Self { hop_limit: 255, payload_len: None, src, dst }
    }
}

impl Ipv6 {
    /// The packet: `headers`, then `payload` of protocol `upper`.
    #[must_use]
    pub fn packet(&self, headers: &[Header], upper: u8, payload: &[u8]) -> Vec<u8> {
        let (next, body) = chain(headers, upper, payload);
        let len = self.payload_len.map_or(be_len(body.len()), u16::to_be_bytes);
        [&[0x60, 0, 0, 0], &len[..], &[next, self.hop_limit], &self.src.octets(), &self.dst.octets(), &body].concat()
    }

    /// An ICMPv6 message with its checksum; `body` starts behind it.
    #[must_use]
    pub fn icmp(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let sum = self.upper_checksum(ICMPV6, &[&[kind, 0, 0, 0], body].concat());
        [&[kind, 0], &sum[..], body].concat()
    }

    /// A UDP datagram with its checksum.
    #[must_use]
    pub fn udp(&self, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
        let bare = udp(source_port, destination_port, payload);
        let sum = self.upper_checksum(UDP, &bare);
        let (ports_and_len, _) = bare.split_at(6);
        [ports_and_len, &sum, payload].concat()
    }

    fn upper_checksum(&self, protocol: u8, message: &[u8]) -> [u8; 2] {
        checksum(&[&self.src.octets(), &self.dst.octets(), &be_len(message.len()), &[0, protocol], message])
    }
}

/// A neighbour discovery option that names `mac`: type 1 is the source's, 2 the target's link-layer address.
#[must_use]
pub fn link_layer_option(kind: u8, mac: MacAddr) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

fn be_len(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// The internet checksum (RFC 1071) over parts, each but the last of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (2 - word.len()))).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    (!u16::try_from(folded).unwrap_or(u16::MAX)).to_be_bytes()
}
