//! Random frames of one client, honest and hostile: header chains of any kind and order, fragments cut, shuffled and
//! overlapping, messages of servers and routers. Seeded: the same number gives the same frames for ever.

use lanparty_proto::MacAddr;
use lanparty_proto::corpus::wire::{self, Header, ICMPV6, IPV4, IPV6, Ipv4, Ipv6, TCP, UDP, VICTIM};

/// SplitMix64: small, and good enough to choose with.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The frames that a client sends, in order.
pub(crate) type Scenario = Vec<Vec<u8>>;

/// Anything a client may try.
pub(crate) fn hostile(random: &mut Random, client: MacAddr) -> Scenario {
    let mut frames = match random.below(12) {
        0 => vec![link_frame(random, client)],
        1 => vec![wire::ethernet(MacAddr::BROADCAST, client, pick_arp(random), &arp(random, client))],
        2..=4 => to_frames(client, IPV4, &ipv4(random)),
        _ => to_frames(client, IPV6, &ipv6(random, client)),
    };
    for frame in &mut frames {
        if random.one_in(40) {
            let src = random.pick(&[VICTIM.0, [0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]]);
            frame[6..12].copy_from_slice(&src);
        }
        if random.one_in(40) {
            let kind: u16 = random.pick(&[0x8100, 0x88a8, 0x88e7, 0x9100, 0x9200]);
            frame.splice(12..12, [&kind.to_be_bytes()[..], &[0, 5]].concat());
        }
        if random.one_in(8) {
            frame.extend(vec![0xa5; random.below(50)]);
        }
        if random.one_in(60) && frame.len() > 14 {
            let at = 14 + random.below((frame.len() - 14).min(60));
            frame[at] = random.next() as u8;
        }
    }
    frames
}

/// What a client may well send: every frame of it has to pass.
pub(crate) fn honest(random: &mut Random, client: MacAddr) -> Scenario {
    let ip = Ipv6::default();
    match random.below(6) {
        0 => vec![wire::ethernet(
            MacAddr::BROADCAST,
            client,
            wire::ARP,
            &wire::arp(random.pick(&[1, 2]), (client, [10, 77, 0, 9]), (VICTIM, [10, 77, 0, 1])),
        )],
        1 => {
            let option_words = random.below(11) as u8;
            let (protocol, payload) = honest_v4(random);
            to_frames(client, IPV4, &[Ipv4 { option_words, ..Ipv4::new(protocol) }.packet(&payload)])
        }
        2 => {
            let body = wire::udp(27_005, 27_015, &vec![7; 64 + random.below(400)]);
            let cut = 16 + 8 * random.below(6);
            let ip = Ipv4::new(UDP);
            let (first, last) = body.split_at(cut);
            to_frames(client, IPV4, &[ip.clone().fragment(0, true).packet(first), ip.fragment(cut as u16 / 8, false).packet(last)])
        }
        3 => {
            let (upper, message) = honest_v6(random, client, &ip, true);
            to_frames(client, IPV6, &[ip.packet(&headers(random), upper, &message)])
        }
        _ => {
            let (upper, message) = honest_v6(random, client, &ip, false);
            let (next, body) = wire::chain(&headers(random), upper, &message);
            let cut = (body.len() - message.len() + 24).min(body.len()) / 8 * 8 + 8;
            let (first, last) = body.split_at(cut.min(body.len()));
            let packets =
                [ip.packet(&[Header::fragment(0, true)], next, first), ip.packet(&[Header::fragment(cut as u16 / 8, false)], next, last)];
            to_frames(client, IPV6, &packets)
        }
    }
}

fn honest_v4(random: &mut Random) -> (u8, Vec<u8>) {
    match random.below(3) {
        0 => (TCP, wire::tcp()),
        1 => (UDP, wire::udp(68, 67, &wire::dhcp(1, random.pick(&[1, 3, 4, 7, 8])))),
        _ => (UDP, wire::udp(random.pick(&[5353, 27_005]), random.pick(&[5353, 1900, 27_015]), &vec![9; random.below(300)])),
    }
}

fn honest_v6(random: &mut Random, client: MacAddr, ip: &Ipv6, with_nd: bool) -> (u8, Vec<u8>) {
    let own = wire::link_layer_option(1, client);
    match random.below(if with_nd { 6 } else { 3 }) {
        0 => (TCP, [&wire::tcp()[..], &[0; 100]].concat()),
        1 => (UDP, ip.udp(546, 547, &[&[random.pick(&[1, 3, 5, 8, 11])][..], &[0; 100]].concat())),
        2 => (ICMPV6, ip.icmp(128, &[0; 100])),
        3 => (ICMPV6, ip.icmp(133, &[&[0; 4][..], &own].concat())),
        4 => (ICMPV6, ip.icmp(135, &[&[0; 20][..], &own].concat())),
        _ => (ICMPV6, ip.icmp(136, &[&[0; 20][..], &wire::link_layer_option(2, client)].concat())),
    }
}

fn to_frames(client: MacAddr, kind: u16, packets: &[Vec<u8>]) -> Scenario {
    packets.iter().map(|packet| wire::ethernet(MacAddr::BROADCAST, client, kind, packet)).collect()
}

fn link_frame(random: &mut Random, client: MacAddr) -> Vec<u8> {
    let last = random.below(0x34) as u8;
    let dst = random.pick(&[[0xff; 6], VICTIM.0, [1, 0x80, 0xc2, 0, 0, last], [1, 0, 0x0c, 0xcc, 0xcc, 0xcb + last % 4]]);
    let known = [0x8808, 0x8809, 0x8863, 0x8864, 0x888e, 0x88c7, 0x88cc, 0x88f5, 0x88f6, 0x8902, 0x9000, 0x88b5, 0x88b5, 0x88b5];
    let kind = if random.one_in(4) { random.below(0x700) as u16 } else { random.pick(&known) };
    wire::ethernet(MacAddr(dst), client, kind, &vec![random.next() as u8; random.below(64)])
}

fn pick_arp(random: &mut Random) -> u16 {
    random.pick(&[wire::ARP, wire::ARP, wire::ARP, 0x8035])
}

fn arp(random: &mut Random, client: MacAddr) -> Vec<u8> {
    let sender = random.pick(&[client, client, VICTIM, MacAddr([0; 6])]);
    let mut message = wire::arp(random.pick(&[1, 2, 3, 9]), (sender, random.pick(&[[0; 4], [10, 77, 0, 1]])), (VICTIM, [10, 77, 0, 1]));
    if random.one_in(4) {
        let at = random.below(8);
        message[at] = random.pick(&[0, 1, 4, 6, 8]);
    }
    if random.one_in(8) {
        message.truncate(random.below(29));
    }
    message
}

/// DHCP and other UDP, whole, cut, or with an op field that a second fragment overwrites.
fn ipv4(random: &mut Random) -> Vec<Vec<u8>> {
    let ports = (random.pick(&[67, 68, 6767, 547, 27_005]), random.pick(&[68, 68, 67, 27_015]));
    let message = match random.below(4) {
        0 => vec![random.pick(&[1, 2, 9]); random.below(40)],
        _ => wire::dhcp(random.pick(&[1, 2, 2, 0]), random.pick(&[1, 2, 3, 5, 6])),
    };
    let body = wire::udp(ports.0, ports.1, &message);
    let protocol = if random.one_in(12) { TCP } else { UDP };
    let ip = Ipv4 { option_words: if random.one_in(2) { 0 } else { random.below(11) as u8 }, ..Ipv4::new(protocol) };
    match random.below(6) {
        0 | 1 => vec![ip.packet(&body)],
        2 => vec![Ipv4 { total_len: Some(random.below(400) as u16), ..ip }.packet(&body)],
        3 => {
            let mut packets = overwriting(random, &ip, &body);
            random.shuffle(&mut packets);
            packets
        }
        _ => {
            let pieces = cut(random, &body);
            pieces.into_iter().map(|(at, more, piece)| ip.clone().fragment(at, more).packet(&piece)).collect()
        }
    }
}

/// An innocent first fragment, and a second one that turns it into something else where the later one counts: behind
/// the ports, or the ports themselves.
fn overwriting(random: &mut Random, ip: &Ipv4, body: &[u8]) -> Vec<Vec<u8>> {
    let mut evil = body.to_vec();
    evil.resize(evil.len().max(32), 2);
    evil[8] = 2;
    let (head, tail) = evil.split_at(8);
    if random.one_in(2) {
        let first = &body[..body.len().min(random.pick(&[12, 16, 24, 64]))];
        return vec![ip.clone().fragment(0, true).packet(first), ip.clone().fragment(1, false).packet(tail)];
    }
    let innocent = [&wire::udp(27_005, 27_015, &[])[..], tail].concat();
    let (front, back) = innocent.split_at(24);
    vec![ip.clone().fragment(0, true).packet(front), ip.clone().fragment(3, false).packet(back), ip.clone().fragment(0, true).packet(head)]
}

/// Pieces of `body` as (offset in eight bytes, more, bytes): often tiny at first, sometimes shuffled or overlapping.
fn cut(random: &mut Random, body: &[u8]) -> Vec<(u16, bool, Vec<u8>)> {
    let mut pieces = vec![];
    let mut at = 0;
    while at < body.len() {
        let len = 8 * if random.one_in(2) { 1 + random.below(3) } else { 1 + random.below(30) };
        let end = (at + len).min(body.len());
        pieces.push(((at / 8) as u16, end < body.len(), body[at..end].to_vec()));
        at = end;
    }
    if random.one_in(4) {
        let (at, more, bytes) = pieces[random.below(pieces.len())].clone();
        pieces.push((at, more, vec![random.pick(&[0, 2, 58, 134]); bytes.len()]));
    }
    if random.one_in(3) {
        random.shuffle(&mut pieces);
    }
    pieces
}

/// Up to forty extension headers, mostly few, together at most some 800 bytes.
fn headers(random: &mut Random) -> Vec<Header> {
    let count = match random.below(10) {
        0..=2 => 0,
        3..=7 => 1 + random.below(3),
        _ => 1 + random.below(40),
    };
    (0..count)
        .map(|_| Header::new(random.pick(&Header::KINDS), if count < 4 { random.below(20) as u8 } else { random.below(2) as u8 }))
        .collect()
}

fn ipv6(random: &mut Random, client: MacAddr) -> Vec<Vec<u8>> {
    let mut ip = Ipv6 { hop_limit: random.pick(&[255, 255, 255, 255, 255, 254, 64, 0]), ..Ipv6::default() };
    let (upper, message) = message_v6(random, client, &ip);
    let mut headers = headers(random);
    if random.one_in(20) {
        ip.payload_len = Some(random.below(200) as u16);
    }
    match random.below(10) {
        0..=3 => {}
        4 => headers.insert(random.below(headers.len() + 1), Header::fragment(0, false)),
        5 => {
            for _ in 0..2 {
                headers.insert(random.below(headers.len() + 1), Header::fragment(random.pick(&[0, 0, 3]), random.one_in(2)));
            }
        }
        _ => return fragmented(random, &ip, headers, upper, &message),
    }
    vec![ip.packet(&headers, upper, &message)]
}

fn fragmented(random: &mut Random, ip: &Ipv6, mut headers: Vec<Header>, upper: u8, message: &[u8]) -> Vec<Vec<u8>> {
    let behind = headers.split_off(random.below(headers.len() + 1));
    let (next, body) = wire::chain(&behind, upper, message);
    let pieces = cut(random, &body);
    let mut packets = vec![];
    for (at, more, piece) in pieces {
        let next = if at > 0 && random.one_in(4) { random.pick(&[58, 59, 6, 253]) } else { next };
        let chain = [&headers[..], &[Header::fragment(at, more)]].concat();
        packets.push(ip.packet(&chain, next, &piece));
    }
    packets
}

fn message_v6(random: &mut Random, client: MacAddr, ip: &Ipv6) -> (u8, Vec<u8>) {
    let mac = random.pick(&[client, client, VICTIM]);
    let mut options = if random.one_in(3) { vec![14, 1, 1, 2, 3, 4, 5, 6] } else { vec![] };
    if !random.one_in(4) {
        options.extend(wire::link_layer_option(random.pick(&[1, 2]), mac));
    }
    if random.one_in(12) {
        options.extend([random.pick(&[1, 2, 200]), random.pick(&[0, 1, 2, 9]), 1, 2, 3, 4, 5, 6]);
    }
    let nd = |kind, fixed: usize| (ICMPV6, ip.icmp(kind, &[&vec![0; fixed][..], &options].concat()));
    match random.below(14) {
        0..=3 => nd(134, 12),
        4 => nd(137, 36),
        5 => nd(133, 4),
        6 => nd(135, 20),
        7 => nd(136, 20),
        8 => (ICMPV6, ip.icmp(random.pick(&[128, 129, 131, 143]), &[0; 60])),
        9 => (random.pick(&[TCP, 4, 41, 50, 59, 132, 253, 254, 99]), wire::tcp()),
        10 => (UDP, ip.udp(27_005, 27_015, &[7; 100])),
        _ => {
            let ports = (random.pick(&[547, 546, 50_000]), random.pick(&[546, 546, 547, 5353]));
            (UDP, ip.udp(ports.0, ports.1, &[&[random.pick(&[1, 2, 7, 10, 13, 3])][..], &vec![0; random.below(100)]].concat()))
        }
    }
}
