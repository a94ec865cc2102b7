//! The compiled filter against one that walks all rules, and what must not slip past either.

use std::net::{Ipv4Addr, Ipv6Addr};

use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};

use super::*;

mod grammar;
mod reference;

const GAME: &str = "0.0.0.0/0,192.168.8.0/24:27015,UDP+";
const CLOSED: [&str; 2] = ["0.0.0.0/0,0.0.0.0/0,TCP-,UDP-,ICMP-", "::/0,::/0,TCP-,UDP-,ICMP-"];

fn filter(rules: &[&str], default: Verdict) -> Filter {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Filter::new(Arc::new(FilterRules::compile(rules, default).unwrap()))
}

/// Closed but for a game.
fn game() -> Filter {
    filter(&[CLOSED[0], CLOSED[1], GAME, "::/0,fd00::/64:27015,UDP+"], Verdict::Accept)
}

fn v4(header: &Ipv4, payload: &[u8]) -> Vec<u8> {
    let to_game = Ipv4 { dst: Ipv4Addr::new(192, 168, 8, 1), ..header.clone() };
    wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV4, &to_game.packet(payload))
}

fn v6(chain: &[Header], upper: u8, payload: &[u8]) -> Vec<u8> {
    let to_game = Ipv6 { dst: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), ..Ipv6::default() };
    wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV6, &to_game.packet(chain, upper, payload))
}

fn udp_v4(port: u16) -> Vec<u8> {
    v4(&Ipv4::new(wire::UDP), &wire::udp(50_000, port, &[7; 16]))
}

#[test]
fn a_game_passes_and_nothing_else_does() {
    let mut filter = game();
    assert_eq!(filter.judge(&udp_v4(27015)), Ok(()));
    assert_eq!(filter.judge(&v6(&[], wire::UDP, &wire::udp(1, 27015, &[]))), Ok(()));
    for other in [udp_v4(27016), v4(&Ipv4::new(wire::TCP), &wire::tcp()), v4(&Ipv4::new(1), &[8; 8])] {
        assert_eq!(filter.judge(&other), Err(DropReason::Filtered));
    }
    assert_eq!(filter.judge(&v6(&[], wire::TCP, &wire::tcp())), Err(DropReason::Filtered));
    assert_eq!(filter.judge(&v6(&[], wire::ICMPV6, &Ipv6::default().icmp(128, &[0; 4]))), Err(DropReason::Filtered));
}

#[test]
fn neighbours_find_each_other_and_loops_are_found_though_nothing_passes() {
    let mut closed = filter(&[], Verdict::Drop);
    let ip = Ipv6::default();
    let solicitation = wire::ethernet(wire::VICTIM, wire::HOST, wire::IPV6, &ip.packet(&[], wire::ICMPV6, &ip.icmp(135, &[0; 20])));
    let (rank, name) = (lanparty_proto::PortRank { since: 1, port: 2 }, lanparty_proto::PortName::new("cable0"));
    let probe = LoopProbe { nonce: [9; 16], rank, name, is_blocked: false }.encode(wire::HOST);
    for frame in [wire::ethernet(wire::VICTIM, wire::HOST, wire::ARP, &[0; 28]), solicitation, probe] {
        assert_eq!(closed.judge(&frame), Ok(()));
    }
    for kind in [wire::EXPERIMENT, 0x8137] {
        assert_eq!(closed.judge(&wire::ethernet(wire::VICTIM, wire::HOST, kind, &[0; 46])), Err(DropReason::Filtered));
    }
}

#[test]
fn a_later_fragment_shares_the_verdict_of_its_first() {
    let first = |port| v4(&Ipv4::new(wire::UDP).fragment(0, true), &wire::udp(1, port, &[0; 16]));
    let later = |offset| v4(&Ipv4::new(wire::UDP).fragment(offset, false), &[0; 8]);
    let mut filter = game();
    assert_eq!(filter.explain(&later(3)).why, Why::FirstUnknown, "it might be anything");
    assert_eq!(filter.judge(&first(27015)), Ok(()));
    assert_eq!(filter.judge(&later(3)), Ok(()));
    assert_eq!(filter.explain(&later(2)).why, Why::OverlapsFirst, "it overlaps what was judged");
    assert_eq!(filter.judge(&later(1)), Err(DropReason::Malformed), "RFC 3128");
    assert_eq!(filter.judge(&first(80)), Err(DropReason::Filtered));
    assert_eq!(filter.judge(&later(3)), Err(DropReason::Filtered), "another packet of the same number");
}

#[test]
fn an_ipv6_fragment_shares_the_verdict_of_its_first_whatever_it_claims_to_be() {
    let options = [Header::fragment(0, true), Header::new(Header::DESTINATION, 0)];
    let first = |port| v6(&options, wire::UDP, &wire::udp(1, port, &[0; 16]));
    let later = |offset, upper| v6(&[Header::fragment(offset, false)], upper, &[0; 8]);
    let mut filter = game();
    assert_eq!(filter.explain(&later(4, wire::UDP)).why, Why::FirstUnknown);
    assert_eq!(filter.judge(&first(27015)), Ok(()));
    assert_eq!(filter.judge(&later(4, Header::DESTINATION)), Ok(()));
    assert_eq!(filter.explain(&later(1, wire::UDP)).why, Why::OverlapsFirst, "there the ports are");
    assert_eq!(filter.judge(&first(80)), Err(DropReason::Filtered));
    assert_eq!(filter.judge(&later(4, wire::UDP)), Err(DropReason::Filtered));
}

#[test]
fn what_hides_its_ports_is_dropped_by_the_name_of_what_is_wrong() {
    let mut filter = filter(&["10.0.0.0/8,10.0.0.0/8:1,TCP-"], Verdict::Accept);
    let tiny = v4(&Ipv4::new(wire::TCP).fragment(0, true), &[0; 8]);
    let cut = v6(&[Header::fragment(0, true), Header::new(Header::DESTINATION, 0)], wire::UDP, &[]);
    let unknown = v6(&[], 253, &[0; 40]);
    let tags = wire::ethernet(wire::VICTIM, wire::HOST, 0x8100, &[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0]);
    for (frame, why) in [
        (tiny, DropReason::Malformed),
        (cut, DropReason::Ipv6Chain),
        (unknown, DropReason::Ipv6Chain),
        (tags, DropReason::VlanTaggedFrame),
        (vec![0; 13], DropReason::Malformed),
    ] {
        assert_eq!(filter.judge(&frame), Err(why));
    }
}

#[test]
fn a_chain_or_a_tag_hides_nothing_from_the_rules() {
    let mut filter = game();
    let [game, other] = [27015, 80].map(|port| wire::udp(1, port, &[0; 8]));
    for kind in Header::KINDS {
        for count in [1, 2, 9, 40] {
            let chain = vec![Header::new(kind, 0); if kind == Header::FRAGMENT { 0 } else { count }];
            assert_eq!(filter.judge(&v6(&chain, wire::UDP, &game)), Ok(()), "{kind} {count}");
            assert_eq!(filter.judge(&v6(&chain, wire::UDP, &other)), Err(DropReason::Filtered), "{kind} {count}");
        }
    }
    let tagged = |frame: &[u8]| [&frame[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], &frame[12..]].concat();
    assert_eq!(filter.judge(&tagged(&udp_v4(27015))), Ok(()));
    assert_eq!(filter.judge(&tagged(&udp_v4(80))), Err(DropReason::Filtered));
}

#[test]
fn hits_are_counted_by_what_decided() {
    let mut out = filter(&[CLOSED[0], GAME], Verdict::Accept);
    let into = filter(&[CLOSED[0], GAME], Verdict::Accept);
    let arp = wire::ethernet(wire::VICTIM, wire::HOST, wire::ARP, &[0; 28]);
    let later = v4(&Ipv4::new(wire::UDP).fragment(9, false), &[0; 8]);
    for frame in [udp_v4(27015), udp_v4(27015), udp_v4(1), arp, vec![0; 13], v6(&[], wire::TCP, &wire::tcp()), later] {
        let _ = out.judge(&frame);
    }
    let report = FilterReport::of(&out, &into);
    let hits: Vec<_> = report.rules.iter().map(|rule| (rule.rule.as_str(), rule.hits)).collect();
    assert_eq!(hits, [("0.0.0.0/0,0.0.0.0/0,TCP-,UDP-,ICMP-", [1, 0]), (GAME, [2, 0])]);
    assert_eq!((report.default_hits, report.neighbours, report.unreadable, report.fragments), ([1, 0], [1, 0], [1, 0], [1, 0]));
}

#[test]
fn gaps_of_a_closed_filter_are_told() {
    let gaps = |rules: &[&str], default| filter(rules, default).rules().gaps().len();
    assert_eq!((gaps(&[GAME], Verdict::Accept), gaps(&CLOSED[..1], Verdict::Accept)), (0, 2));
    assert_eq!((gaps(&CLOSED, Verdict::Accept), gaps(&CLOSED[..1], Verdict::Drop)), (1, 0));
}

#[test]
fn there_is_a_limit_to_rules() {
    let rule: FilterRule = GAME.parse().unwrap();
    assert!(FilterRules::compile(vec![rule.clone(); RULES_MAX], Verdict::Accept).is_ok());
    assert_eq!(FilterRules::compile(vec![rule; RULES_MAX + 1], Verdict::Accept).unwrap_err(), FilterTooLong(RULES_MAX + 1));
}
