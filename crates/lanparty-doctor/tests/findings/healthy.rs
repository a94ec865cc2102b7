//! A network in which nothing is wrong, and everything is known.

use lanparty_doctor::*;
use lanparty_proto::{MacAddr, MemberId, Role};

pub(crate) fn healthy() -> Facts {
    Facts { host: host(), relay: Some(relay()), room: Some(room()) }
}

pub(crate) fn interface(name: &str) -> Interface {
    Interface {
        name: name.into(),
        mtu: 1500,
        is_up: true,
        carrier: Some(true),
        is_ethernet: true,
        is_candidate: true,
        ..Interface::default()
    }
}

fn host() -> HostFacts {
    HostFacts {
        os: Some("linux".into()),
        kernel: Some("6.8.0".into()),
        is_wsl2: Some(false),
        interfaces: Some(vec![Interface { is_uplink: true, ..interface("eth0") }]),
        default_routes: Some(vec![DefaultRoute {
            interface: "eth0".into(),
            is_ipv6: false,
            gateway: "192.168.1.1".parse().ok(),
            metric: 100,
        }]),
        ipv6: Some(true),
        resolvers: Some(vec!["192.168.1.1".parse().unwrap()]),
        tun_device: Some(TunDevice::Usable),
        can_net_admin: Some(true),
        can_net_raw: Some(true),
        rp_filter: Some(2),
        lan_interface: Some("eth0".into()),
        asked_lan_mtu: Some(1400),
        pmtu_discovery_off: Some(false),
        udp_listeners: Some(vec![68]),
        silent_programs: Some(vec![]),
        blocked_cables: Some(vec![]),
    }
}

pub(crate) fn direction(passed: u16, failed: u16, how: SizeFailure) -> DirectionFacts {
    DirectionFacts {
        with_df: Some(SizeProbe { passed: Some(passed), failed: Some(failed), how: Some(how) }),
        without_df: Some(SizeProbe { passed: Some(3000), failed: None, how: None }),
        fragments_pass: Some(true),
        icmp_too_big_heard: None,
        sender_mtu: Some(1500),
    }
}

fn relay() -> RelayFacts {
    RelayFacts {
        name: "relay.example.net:8443".into(),
        resolved: Some(vec!["192.0.2.1:8443".parse().unwrap()]),
        resolve_error: None,
        addresses: Some(vec![address("192.0.2.1:8443", true)]),
        remote: "192.0.2.1:8443".parse().ok(),
        uplink: Some(Uplink { interface: "eth0".into(), mtu: Some(1500) }),
        udp_reachable: Some(true),
        port_unreachable: Some(false),
        quic: Some(QuicHandshake { ok: true, error: None, duration_ms: Some(21.0) }),
        streams: None,
        way: Some(Way::Quic),
        probe_service: Some(true),
        unmeasured: vec![],
        up: Some(direction(1472, 1473, SizeFailure::Local)),
        down: Some(direction(1472, 1473, SizeFailure::Local)),
        rtt: Some(RttFacts { sent: 20, lost: 0, min_ms: Some(10.0), median_ms: Some(11.0), max_ms: Some(14.0) }),
        throttle: Some(ThrottleFacts { rate_kbit_s: 2000, sent: 200, lost: 0, carried_kbit_s: Some(1990), queued_ms: Some(0.4) }),
        nat: Some(NatFacts {
            local: "192.168.1.20:40000".parse().ok(),
            observed: vec![seen_at(8443, "198.51.100.7:40000"), seen_at(8444, "198.51.100.7:40000")],
        }),
        certificate: Some(CertificateFacts {
            names: vec!["relay.example.net".into()],
            asked_name: "relay.example.net".into(),
            not_before_s: Some(1_700_000_000),
            not_after_s: Some(1_900_000_000),
            now_s: Some(1_800_000_000),
            trusted: Some(true),
            name_matches: Some(true),
            trust_source: Some("this machine's certificate authorities".into()),
        }),
        clock_offset_s: Some(0.3),
        budget_up: Some(1434),
        budget_down: Some(1434),
    }
}

pub(crate) fn address(text: &str, ok: bool) -> AddressFacts {
    let quic = QuicHandshake { ok, error: (!ok).then(|| "no answer within 3 s".into()), duration_ms: Some(21.0) };
    AddressFacts { address: text.parse().ok(), has_route: Some(true), udp_reachable: ok, quic }
}

pub(crate) fn seen_at(relay_port: u16, address: &str) -> ObservedAddress {
    ObservedAddress { relay_port, address: address.parse().unwrap() }
}

pub(crate) fn member(id: u16, role: Role) -> MemberFacts {
    let mac = MacAddr([2, 0, 0, 0, 0, u8::try_from(id).unwrap()]);
    MemberFacts { id: MemberId(id), role, mac, is_self: id == 2, path_mtu: None, underlay_is_ipv6: Some(false) }
}

fn room() -> RoomFacts {
    let seen = Some(Sighting::Seen { age_ms: 2_000 });
    RoomFacts {
        room: Some("ROOM1".into()),
        lan_mtu: Some(1417),
        members: Some(vec![member(1, Role::Gateway), member(2, Role::Client)]),
        looped_interface: Some(String::new()),
        gateways_on_one_lan: Some(vec![]),
        dhcp_servers: Some(vec![MacAddr([2, 0, 0, 0, 0, 1])]),
        duplicate_macs: Some(vec![]),
        duplicate_identities: Some(vec![]),
        dhcp: Some(DhcpTrace {
            discover_at_tap: seen,
            discover_at_relay: seen,
            discover_at_gateway: seen,
            discover_on_wire: seen,
            offer_on_wire: seen,
            offer_at_gateway: seen,
            offer_at_relay: seen,
            offer_at_tap: seen,
            refused: None,
            answered_for_ms: Some(2_500),
            has_lease: Some(true),
        }),
        discovery: Some(vec![Discovery {
            kind: DiscoveryKind::Game("Quake III".into()),
            port: Some(27960),
            from: MacAddr([2, 0, 0, 0, 0, 2]),
            from_self: true,
            age_ms: 3_000,
            is_announcement: false,
            count: 4,
            unanswered: 0,
            answered: Some(true),
        }]),
        uplinks: Some(vec![]),
    }
}
