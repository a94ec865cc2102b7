//! IP packets from a seed: with options and extension headers, whole or damaged in one way.

use std::net::{Ipv4Addr, Ipv6Addr};

use lanparty_proto::{Checksum, MacAddr};

/// What is wrong with a packet: each of these must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    /// IPv4: a header whose checksum is wrong. IPv6: a length that the frame does not hold.
    Header,
    /// It is an ICMP error itself.
    Error,
    /// Its source is nobody's address.
    Nobody,
}

impl Damage {
    pub(crate) const ALL: [Self; 6] = [Self::None, Self::Header, Self::None, Self::Error, Self::None, Self::Nobody];
}

/// UDP from one host to another.
pub(crate) struct Packets {
    state: u64,
    macs: (MacAddr, MacAddr),
    v4: (Ipv4Addr, Ipv4Addr),
    v6: (Ipv6Addr, Ipv6Addr),
}

impl Packets {
    pub(crate) const FROM_PORT: u16 = 40_001;
    pub(crate) const TO_PORT: u16 = 40_002;

    pub(crate) fn new(seed: u64, macs: (MacAddr, MacAddr), v4: (Ipv4Addr, Ipv4Addr), v6: (Ipv6Addr, Ipv6Addr)) -> Self {
        Self { state: seed, macs, v4, v6 }
    }

    /// A number from `low` to `high`, both included (xorshift).
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        low + (self.state % (high - low + 1) as u64) as usize
    }

    /// A frame with a packet of `len` bytes that must not be fragmented.
    pub(crate) fn too_large(&mut self, is_v6: bool, len: usize, damage: Damage) -> Vec<u8> {
        if is_v6 { self.v6(len, damage) } else { self.v4(len, 0x4000, damage).0 }
    }

    /// A frame with an IPv4 packet of `len` bytes that may be, and its UDP payload.
    pub(crate) fn may_be_cut(&mut self, len: usize) -> (Vec<u8>, Vec<u8>) {
        self.v4(len, 0, Damage::None)
    }

    fn v4(&mut self, len: usize, flags: u16, damage: Damage) -> (Vec<u8>, Vec<u8>) {
        let options = self.options();
        let header_len = 20 + options.len();
        let (from, to) = self.v4;
        let from = if damage == Damage::Nobody { Ipv4Addr::UNSPECIFIED } else { from };
        let id = self.between(1, 0xffff) as u16;
        let protocol = if damage == Damage::Error { 1 } else { 17 };
        let mut header = vec![0x40 | (header_len / 4) as u8, 0];
        header.extend((len as u16).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(flags.to_be_bytes());
        header.extend([64, protocol, 0, 0]);
        header.extend(from.octets());
        header.extend(to.octets());
        header.extend(options);
        let sum = Checksum::default().with(&header).field();
        header[10..12].copy_from_slice(&sum);
        header[11] ^= u8::from(damage == Damage::Header);
        let payload = self.noise(len - header_len - 8);
        let upper = if damage == Damage::Error { unreachable_v4(len - header_len) } else { udp(&payload, [0, 0]) };
        (self.frame([8, 0], &header, &upper), payload)
    }

    fn v6(&mut self, len: usize, damage: Damage) -> Vec<u8> {
        let (from, to) = self.v6;
        let from = if damage == Damage::Nobody { Ipv6Addr::UNSPECIFIED } else { from };
        let last = if damage == Damage::Error { 58 } else { 17 };
        let (first, headers) = self.headers(last);
        let body_len = len - 40 - headers.len();
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((len as u16 - 40 + if damage == Damage::Header { 600 } else { 0 }).to_be_bytes());
        header.extend([first, 64]);
        header.extend(from.octets());
        header.extend(to.octets());
        let pseudo = [&from.octets()[..], &to.octets(), &(body_len as u32).to_be_bytes(), &[0, 0, 0, last]].concat();
        let body = if damage == Damage::Error { vec![1; body_len] } else { udp(&self.noise(body_len - 8), [0, 0]) };
        let sum = Checksum::default().with(&pseudo).with(&body).field();
        let mut body = body;
        if damage != Damage::Error {
            body[6..8].copy_from_slice(&sum);
        }
        self.frame([0x86, 0xdd], &header, &[&headers[..], &body].concat())
    }

    /// Options as real packets have them, in any order: no operation, a stream number (copied into fragments), a timestamp (not copied).
    fn options(&mut self) -> Vec<u8> {
        let mut options = vec![];
        for _ in 0..self.between(0, 3) {
            match self.between(0, 2) {
                0 => options.extend([1, 1, 1, 1]),
                1 if !options.contains(&0x88) => options.extend([0x88, 4, 0, 7]),
                _ if !options.contains(&0x44) => options.extend([0x44, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                _ => {}
            }
        }
        options
    }

    /// Extension headers in the order of RFC 8200 §4.1, all of them padding: the first one's number, and their bytes.
    fn headers(&mut self, last: u8) -> (u8, Vec<u8>) {
        let mut kinds = vec![];
        if self.between(0, 1) == 1 {
            kinds.push(0);
        }
        kinds.extend(vec![60; self.between(0, 2)]);
        let mut bytes = vec![];
        for (index, _) in kinds.iter().enumerate() {
            let units = self.between(0, 3);
            let pad = units * 8 + 4;
            bytes.extend([kinds.get(index + 1).copied().unwrap_or(last), units as u8, 1, pad as u8]);
            bytes.extend(vec![0; pad]);
        }
        (kinds.first().copied().unwrap_or(last), bytes)
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.between(0, 255) as u8).collect()
    }

    fn frame(&self, ethertype: [u8; 2], header: &[u8], payload: &[u8]) -> Vec<u8> {
        let (src, dst) = self.macs;
        [&dst.0[..], &src.0, &ethertype, header, payload].concat()
    }
}

fn udp(payload: &[u8], sum: [u8; 2]) -> Vec<u8> {
    let len = (8 + payload.len() as u16).to_be_bytes();
    [&Packets::FROM_PORT.to_be_bytes()[..], &Packets::TO_PORT.to_be_bytes(), &len, &sum, payload].concat()
}

/// Port unreachable, with more quoted than anybody does.
fn unreachable_v4(len: usize) -> Vec<u8> {
    let mut icmp = vec![0; len];
    icmp[..2].copy_from_slice(&[3, 3]);
    let sum = Checksum::default().with(&icmp).field();
    icmp[2..4].copy_from_slice(&sum);
    icmp
}
