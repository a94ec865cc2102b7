//! A filter that walks all rules for every packet, and thousands of random rules and packets that both judge.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// A packet in parts, so that the reference need not read bytes.
#[derive(Clone, Debug)]
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    ports: (u16, u16),
}

impl Packet {
    fn frame(&self, fragment: Option<(u16, bool)>) -> Vec<u8> {
        let ports = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        let payload = match self.protocol {
            wire::UDP => wire::udp(self.ports.0, self.ports.1, &[0; 8]),
            wire::TCP => [&ports[..], &wire::tcp()[4..]].concat(),
            _ => vec![8; 16],
        };
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = Ipv4 { src, dst, ..Ipv4::new(self.protocol) };
                let header = fragment.into_iter().fold(header, |header, (offset, more)| header.fragment(offset, more));
                wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV4, &header.packet(&payload))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let chain: Vec<_> = fragment.into_iter().map(|(offset, more)| Header::fragment(offset, more)).collect();
                let ip = Ipv6 { src, dst, ..Ipv6::default() };
                wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV6, &ip.packet(&chain, self.protocol, &payload))
            }
            _ => unreachable!("both are of one family"),
        }
    }
}

fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

/// Whether it is IPv4, and its first bits.
type Prefix = (bool, Vec<bool>);

/// A net's first bits, read from its text; nothing for anywhere.
fn prefix(net: Option<Net>) -> Option<Prefix> {
    let text = net?.to_string();
    let (first, len) = text.split_once('/').unwrap();
    let (first, len): (IpAddr, usize) = (first.parse().unwrap(), len.parse().unwrap());
    Some((first.is_ipv4(), bits(first)[..len].to_vec()))
}

/// Walks all rules, by n3n's order: the sum of both prefix lengths, of equals the first.
struct Walk {
    rules: Vec<(FilterRule, [Option<Prefix>; 2])>,
    default: Verdict,
}

impl Walk {
    fn new(rules: &[FilterRule], default: Verdict) -> Self {
        Self { rules: rules.iter().map(|rule| (rule.clone(), [prefix(rule.src), prefix(rule.dst)])).collect(), default }
    }

    fn decide(&self, packet: &Packet) -> Verdict {
        let mut best: Option<(usize, Verdict)> = None;
        let ends = [packet.src, packet.dst].map(|address| (address.is_ipv4(), bits(address)));
        for (rule, nets) in &self.rules {
            let protocol = match (packet.protocol, packet.src) {
                (6, _) => Protocol::Tcp,
                (17, _) => Protocol::Udp,
                (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)) => Protocol::Icmp,
                _ => Protocol::Other,
            };
            let Some(verdict) = rule.says(protocol) else { continue };
            let in_ports = |range: PortRange, port| (range.first..=range.last).contains(&port);
            let ports_match = !matches!(packet.protocol, 6 | 17)
                || (in_ports(rule.src_ports, packet.ports.0) && in_ports(rule.dst_ports, packet.ports.1));
            let is_in =
                |net: &Option<Prefix>, end: &Prefix| net.as_ref().is_none_or(|(is_v4, first)| *is_v4 == end.0 && end.1.starts_with(first));
            if !ports_match || !nets.iter().zip(&ends).all(|(net, end)| is_in(net, end)) {
                continue;
            }
            let specificity = nets.iter().flatten().map(|(_, first)| first.len()).sum();
            if best.is_none_or(|(other, _)| specificity > other) {
                best = Some((specificity, verdict));
            }
        }
        best.map_or(self.default, |(_, verdict)| verdict)
    }
}

/// Few addresses, near each other, so that rules and packets meet.
fn address(is_v4: bool) -> impl Strategy<Value = IpAddr> {
    (0u16..4, 0u16..8).prop_map(move |(net, host)| {
        if is_v4 {
            IpAddr::from([10, 0, net.to_be_bytes()[1], host.to_be_bytes()[1]])
        } else {
            IpAddr::from([0xfd00, 0, 0, net, 0, 0, 0, host])
        }
    })
}

fn net(is_v4: bool) -> impl Strategy<Value = Option<Net>> {
    let lens = if is_v4 { vec![0, 8, 16, 22, 23, 24, 29, 30, 31, 32] } else { vec![0, 8, 48, 62, 63, 64, 125, 127, 128] };
    (address(is_v4), prop::sample::select(lens), 0..8).prop_map(move |(address, len, anywhere)| {
        let (family, value) = number(address);
        let masked = value & rule::mask(family, len);
        let first = match family {
            Family::V4 => IpAddr::from(Ipv4Addr::from_bits(u32::try_from(masked).unwrap())),
            Family::V6 => IpAddr::from(Ipv6Addr::from_bits(masked)),
        };
        (anywhere > 0).then(|| Net::new(first, len).unwrap())
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0, 1, 2, 3, 4, 80, 27014, 27015, 27016, 65534, 65535])
}

fn ports() -> impl Strategy<Value = PortRange> {
    let some = (port(), port()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) });
    prop_oneof![2 => Just(PortRange::ALL), 3 => some]
}

fn rule() -> impl Strategy<Value = FilterRule> {
    let verdict = || prop_oneof![Just(None), Just(Some(Verdict::Accept)), Just(Some(Verdict::Drop))];
    let ends = any::<bool>().prop_flat_map(|is_v4| (net(is_v4), net(is_v4)));
    (ends, ports(), ports(), [verdict(), verdict(), verdict(), verdict()])
        .prop_map(|((src, dst), src_ports, dst_ports, verdicts)| FilterRule { name: None, src, src_ports, dst, dst_ports, verdicts })
}

fn packet() -> impl Strategy<Value = Packet> {
    let ends = any::<bool>().prop_flat_map(|is_v4| (address(is_v4), address(is_v4)));
    (ends, prop::sample::select(vec![1, 6, 6, 17, 17, 47, 58]), (port(), port())).prop_map(|((src, dst), protocol, ports)| {
        // ICMP of IPv4 in IPv6 is what no receiver knows.
        let protocol = if protocol == 1 && src.is_ipv6() { 58 } else { protocol };
        Packet { src, dst, protocol, ports }
    })
}

fn default() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Accept), Just(Verdict::Drop)]
}

fn passes(filter: &mut Filter, frame: &[u8]) -> Verdict {
    if filter.judge(frame).is_ok() { Verdict::Accept } else { Verdict::Drop }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Fifteen thousand packets, each twice, by nine thousand rules.
    #[test]
    fn it_says_what_a_walk_through_all_rules_says(
        rules in prop::collection::vec(rule(), 0..60),
        default in default(),
        packets in prop::collection::vec(packet(), 50),
    ) {
        let walk = Walk::new(&rules, default);
        let mut filter = Filter::new(Arc::new(FilterRules::compile(rules, default).unwrap()));
        for packet in packets.iter().chain(&packets) {
            let expected = walk.decide(packet);
            prop_assert_eq!(passes(&mut filter, &packet.frame(None)), expected, "{:?}", packet);
        }
    }

    /// Later fragments pass with their first one, and without it only where every packet that they could be part of would.
    #[test]
    fn fragments_pass_where_their_packet_does(
        rules in prop::collection::vec(rule(), 0..12),
        default in default(),
        packet in packet(),
        others in prop::collection::vec((prop::sample::select(vec![1u8, 6, 17, 47, 58]), (port(), port())), 30),
    ) {
        let walk = Walk::new(&rules, default);
        let mut filter = Filter::new(Arc::new(FilterRules::compile(rules, default).unwrap()));
        if passes(&mut filter, &packet.frame(Some((100, false)))) == Verdict::Accept {
            for (protocol, ports) in others {
                // The protocol of a later IPv6 fragment is what it claims, and no receiver believes it.
                let protocol = if packet.src.is_ipv4() { packet.protocol } else { protocol };
                let whole = Packet { protocol, ports, ..packet.clone() };
                prop_assert_eq!(walk.decide(&whole), Verdict::Accept, "{:?}", whole);
            }
        }
        let expected = walk.decide(&packet);
        prop_assert_eq!(passes(&mut filter, &packet.frame(Some((0, true)))), expected);
        prop_assert_eq!(passes(&mut filter, &packet.frame(Some((100, false)))), expected);
    }

    /// No bytes make it panic, and what it cannot read does not pass.
    #[test]
    fn any_bytes_are_judged(
        kind in prop::sample::select(vec![0x0800u16, 0x86dd, 0x8100, 0x0806, 20]),
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut filter = game();
        let _ = filter.judge(&wire::ethernet(wire::VICTIM, wire::HOST, kind, &payload));
        let _ = filter.judge(&payload);
    }
}

#[test]
fn ten_thousand_rules_say_what_a_walk_through_all_of_them_says() {
    let rules: Vec<FilterRule> = (0..10_000u32)
        .map(|n| {
            let (net, len) = (Ipv4Addr::from_bits(0x0a00_0000 | (n << 8)), 24 + n % 9);
            let sign = if n % 3 == 0 { '-' } else { '+' };
            format!("10.0.0.0/8:[{},65535],{net}/{len}:[{},{}],UDP{sign},TCP-", n % 7, n % 1000, n % 1000 + 500).parse().unwrap()
        })
        .collect();
    let walk = Walk::new(&rules, Verdict::Accept);
    let mut filter = Filter::new(Arc::new(FilterRules::compile(rules, Verdict::Accept).unwrap()));
    for n in 0..1_000u32 {
        let dst = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 | ((n * 37 % 12_000) << 8)));
        let ports = (u16::try_from(n % 9).unwrap(), u16::try_from(n * 31 % 1_600).unwrap());
        let packet = Packet { src: IpAddr::from([10, 1, 2, 3]), dst, protocol: if n % 2 == 0 { 6 } else { 17 }, ports };
        assert_eq!(passes(&mut filter, &packet.frame(None)), walk.decide(&packet), "{packet:?}");
    }
}
