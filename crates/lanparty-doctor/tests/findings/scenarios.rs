//! For each code a network in which it is found: the healthy one with one thing broken.

use lanparty_doctor::*;
use lanparty_proto::{MacAddr, Role};

use crate::healthy::{address, direction, healthy, interface, member, seen_at};

/// What else is said in the scenario of a code; usually nothing.
pub(crate) fn seen_together(code: Code) -> Vec<Code> {
    match code {
        Code::IcmpFiltered => vec![Code::PathBlackHole, code],
        _ => vec![code],
    }
}

/// The network in which `code` is found.
pub(crate) fn scenario(code: Code) -> Facts {
    let mut facts = healthy();
    host(code, &mut facts.host);
    relay(code, facts.relay.as_mut().unwrap());
    underlay(code, &mut facts);
    room(code, facts.room.as_mut().unwrap());
    facts
}

fn host(code: Code, host: &mut HostFacts) {
    let only = |i: Interface| Some(vec![Interface { is_uplink: true, ..i }]);
    match code {
        Code::MissingPermission => {
            (host.can_net_admin, host.tun_device) = (Some(false), Some(TunDevice::Unusable("Operation not permitted".into())));
        }
        Code::ProgramNotAnswering => host.silent_programs = Some(vec!["the client with process number 7".into()]),
        Code::NoTunDevice => host.tun_device = Some(TunDevice::Missing),
        Code::LanInterfaceMissing => host.lan_interface = Some("eth9".into()),
        Code::LanInterfaceDown => host.interfaces = only(Interface { carrier: Some(false), ..unfit(Unfit::NoCarrier) }),
        Code::LanInterfaceWifi => host.interfaces = only(Interface { is_wireless: true, ..unfit(Unfit::Wireless) }),
        Code::LanInterfaceBridgePort => {
            host.interfaces = only(Interface { vm_driver: Some("virtio_net".into()), ..unfit(Unfit::BridgePort("br0".into())) });
        }
        Code::LanInterfaceUnfit => host.interfaces = only(unfit(Unfit::PartOf("bond0".into()))),
        Code::LanInterfaceVmPort => host.interfaces = only(Interface { vm_driver: Some("virtio_net".into()), ..interface("eth0") }),
        Code::WslEth0Mtu => (host.is_wsl2, host.interfaces) = (Some(true), only(Interface { mtu: 1280, ..interface("eth0") })),
        Code::UplinkMtuSmall => host.interfaces = only(Interface { mtu: 1280, ..interface("eth0") }),
        Code::UplinkIsTunnel => host.interfaces = only(Interface { tunnel_kind: Some("wireguard".into()), ..interface("eth0") }),
        Code::MtuFlagTooLarge => host.asked_lan_mtu = Some(1450),
        _ => {}
    }
}

fn unfit(why: Unfit) -> Interface {
    Interface { unfit: Some(why), is_candidate: false, ..interface("eth0") }
}

fn relay(code: Code, relay: &mut RelayFacts) {
    let silent = |passed: u16| Some(direction(passed, passed + 1, SizeFailure::Silent));
    let certificate = relay.certificate.as_mut().unwrap();
    match code {
        Code::RelayNameUnresolved => {
            (relay.resolved, relay.resolve_error, relay.udp_reachable) = (Some(vec![]), Some("no such name".into()), Some(false));
        }
        Code::RelayPortClosed => (relay.port_unreachable, relay.udp_reachable) = (Some(true), Some(false)),
        Code::UdpBlocked => relay.udp_reachable = Some(false),
        Code::PathBelowQuicMinimum => {
            (relay.up, relay.quic) = (silent(1172), failed("timed out"));
            (relay.budget_up, relay.budget_down) = (None, None);
        }
        Code::ClockWrong => {
            relay.clock_offset_s = Some(150_000_000.0);
            (certificate.now_s, certificate.not_after_s) = (Some(1_950_000_000), Some(1_900_000_000));
            relay.quic = failed("invalid peer certificate");
        }
        Code::RelayCertificateExpired => certificate.not_after_s = Some(1_799_000_000),
        Code::RelayCertificateNotYetValid => certificate.not_before_s = Some(1_801_000_000),
        Code::RelayCertificateUntrusted => (certificate.trusted, relay.quic) = (Some(false), failed("unknown issuer")),
        Code::RelayCertificateWrongName => certificate.name_matches = Some(false),
        Code::QuicHandshakeFailed => relay.quic = failed("no application protocol"),
        Code::PathBlackHole => (relay.up, relay.udp_reachable) = (silent(1252).map(unfragmented), Some(true)),
        Code::IcmpFiltered => {
            relay.up = silent(1372).map(|d| DirectionFacts { icmp_too_big_heard: Some(false), ..d });
        }
        Code::FragmentsDropped => {
            relay.down = relay.down.take().map(unfragmented).map(|d| DirectionFacts { fragments_pass: Some(false), ..d });
        }
        Code::UdpThrottled => relay.throttle.as_mut().unwrap().lost = 80,
        Code::BandwidthLow => {
            let burst = relay.throttle.as_mut().unwrap();
            (burst.lost, burst.carried_kbit_s, burst.queued_ms) = (110, Some(490), Some(310.0));
        }
        Code::RelayAddressDead => relay.addresses.as_mut().unwrap().insert(0, address("[2001:db8::1]:8443", false)),
        Code::MeasurementIncomplete => {
            (relay.up, relay.down) = (None, None);
            relay.unmeasured = vec![Measurement::SizesUp, Measurement::SizesDown];
        }
        Code::PathLossy => relay.rtt.as_mut().unwrap().lost = 3,
        Code::PathSlow => relay.rtt.as_mut().unwrap().median_ms = Some(312.0),
        Code::NatMappingVaries => relay.nat.as_mut().unwrap().observed[1] = seen_at(8444, "198.51.100.7:40001"),
        Code::ProbeServiceMissing => (relay.probe_service, relay.up, relay.down) = (Some(false), None, None),
        _ => {}
    }
}

fn failed(error: &str) -> Option<QuicHandshake> {
    Some(QuicHandshake { ok: false, error: Some(error.into()), duration_ms: Some(3000.0) })
}

/// Nothing larger passes by being fragmented either.
fn unfragmented(d: DirectionFacts) -> DirectionFacts {
    DirectionFacts { without_df: d.with_df.clone(), ..d }
}

/// Where host, path and room change together.
fn underlay(code: Code, facts: &mut Facts) {
    let relay = facts.relay.as_mut().unwrap();
    match code {
        Code::NoDefaultRoute => {
            facts.host.default_routes = Some(vec![]);
            (relay.uplink, relay.udp_reachable, relay.resolve_error) = (None, Some(false), Some("network unreachable".into()));
        }
        Code::WslEth0Mtu | Code::UplinkMtuSmall => {
            relay.up = Some(direction(1252, 1253, SizeFailure::Local));
            (relay.budget_up, facts.host.asked_lan_mtu) = (Some(1214), None);
            facts.room.as_mut().unwrap().lan_mtu = Some(1197);
        }
        _ => {}
    }
}

fn room(code: Code, room: &mut RoomFacts) {
    let duplicate = |what: &str| Some(vec![Duplicate { what: what.into(), holders: vec!["peer 2".into(), "peer 3".into()] }]);
    match code {
        Code::Ipv6NeedsLargerPath => {
            room.lan_mtu = Some(1197);
            room.members.as_mut().unwrap().push(MemberFacts { path_mtu: Some(1197), ..member(3, Role::Client) });
        }
        Code::NoGatewayInRoom => room.members.as_mut().unwrap().retain(|m| m.role == Role::Client),
        Code::LoopBlocked => room.looped_interface = Some("lan0".into()),
        Code::TwoGatewaysOnOneLan => {
            room.gateways_on_one_lan = Some(vec!["gateway peer 1 of this room".into(), "the gateway at 02:00:00:00:00:07".into()]);
        }
        Code::TwoDhcpServers => room.dhcp_servers = Some([1, 7].map(|n| MacAddr([2, 0, 0, 0, 0, n])).into()),
        Code::UplinkWithoutPath => {
            let trouble = Some("wwan0 has no carrier".into());
            room.uplinks = Some(vec![uplink("eth0", 1445), BondUplink { trouble, lan_mtu: None, ..uplink("wwan0", 0) }]);
        }
        Code::UplinksOnOneLine => {
            let routers = vec!["192.168.1.1".parse().unwrap()];
            room.uplinks = Some(["eth0", "wlan0"].map(|name| BondUplink { routers: routers.clone(), ..uplink(name, 1445) }).to_vec());
        }
        Code::UplinkMtusDiffer => room.uplinks = Some(vec![uplink("eth0", 1445), uplink("wwan0", 1345)]),
        Code::DuplicateMac => room.duplicate_macs = duplicate("02:00:00:00:00:02"),
        Code::DuplicateIdentity => room.duplicate_identities = duplicate("a1b2c3"),
        Code::DhcpRefused | Code::DhcpAnswerUnused => {
            let trace = room.dhcp.as_mut().unwrap();
            (trace.has_lease, trace.answered_for_ms) = (Some(false), Some(20_000));
            trace.refused = (code == Code::DhcpRefused).then_some(Sighting::Seen { age_ms: 2_000 });
        }
        Code::DiscoveryUnanswered => {
            let search = &mut room.discovery.as_mut().unwrap()[0];
            (search.answered, search.unanswered) = (Some(false), 4);
        }
        _ => room.dhcp = dhcp(code).or_else(|| room.dhcp.take()),
    }
}

fn uplink(interface: &str, lan_mtu: u16) -> BondUplink {
    let routers = vec![std::net::Ipv4Addr::new(10, 0, interface.len() as u8, interface.as_bytes()[0]).into()];
    BondUplink { interface: interface.into(), routers, lan_mtu: Some(lan_mtu), ..BondUplink::default() }
}

/// A trace that ends before the stage of `code`.
fn dhcp(code: Code) -> Option<DhcpTrace> {
    const STAGES: [Code; 8] = [
        Code::DhcpStoppedAtTap,
        Code::DhcpStoppedAtRelay,
        Code::DhcpStoppedAtGateway,
        Code::DhcpStoppedAtWire,
        Code::DhcpServerSilent,
        Code::DhcpOfferStoppedAtGateway,
        Code::DhcpOfferStoppedAtRelay,
        Code::DhcpOfferStoppedAtTap,
    ];
    let stop = STAGES.iter().position(|c| *c == code)?;
    let stage = |at: usize| Some(if at < stop { Sighting::Seen { age_ms: 1_000 } } else { Sighting::NotSeen });
    Some(DhcpTrace {
        discover_at_tap: stage(0),
        discover_at_relay: stage(1),
        discover_at_gateway: stage(2),
        discover_on_wire: stage(3),
        offer_on_wire: stage(4),
        offer_at_gateway: stage(5),
        offer_at_relay: stage(6),
        offer_at_tap: stage(7),
        has_lease: Some(false),
        ..DhcpTrace::default()
    })
}
