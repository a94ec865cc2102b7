//! The interface that leads out: is it large enough, and is it a wire at all?

use std::net::SocketAddr;

use crate::sizes::{headers, wire_for_ipv6, wire_for_quic};
use crate::{Code, Facts, Finding, Interface, SizeFailure};

/// Many interfaces receive packets that are longer than their MTU by this much (IEEE 802.1Q), in bytes.
const VLAN_TAG_LEN: u32 = 4;

pub(super) fn findings(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(uplink) = uplink(facts) else { return };
    found.extend(wsl_eth0_mtu(facts, uplink));
    found.extend(mtu_small(facts, uplink));
    found.extend(is_tunnel(uplink));
}

/// The interface toward the relay; without a relay, the one of the preferred default route.
fn uplink(facts: &Facts) -> Option<&Interface> {
    let toward_relay = facts.relay.as_ref().and_then(|r| r.uplink.as_ref()).map(|u| &u.interface);
    let name = toward_relay.or_else(|| facts.host.default_routes.as_ref()?.first().map(|r| &r.interface))?;
    facts.host.interfaces.as_ref()?.iter().find(|i| i.name == *name)
}

fn remote(facts: &Facts) -> Option<SocketAddr> {
    facts.relay.as_ref()?.remote
}

/// What a wire of this MTU does to a room.
fn consequence(mtu: u32, remote: Option<SocketAddr>) -> Option<String> {
    if mtu < u32::from(wire_for_quic(remote)) {
        return Some(format!("lanparty needs {} at least, so it cannot work over it", wire_for_quic(remote)));
    }
    (mtu < u32::from(wire_for_ipv6(remote))).then(|| format!("a room with IPv6 needs {}", wire_for_ipv6(remote)))
}

fn wsl_eth0_mtu(facts: &Facts, uplink: &Interface) -> Option<Finding> {
    if !facts.host.is_wsl2? {
        return None;
    }
    let consequence = consequence(uplink.mtu, remote(facts))?;
    let title = format!("this is WSL2 and the MTU of its `{}` is only {}: {consequence}", uplink.name, uplink.mtu);
    let advice = format!(
        "raise it with `lanparty doctor --fix` or `sudo ip link set dev {} mtu 1500`; client and gateway do it for as long as they run with --fix-underlay",
        uplink.name
    );
    Some(
        Finding::warning(Code::WslEth0Mtu, title)
            .seen_by(facts.host.kernel.iter().map(|k| format!("the kernel calls itself {k}")))
            .seen_by([format!("`{}` has MTU {}", uplink.name, uplink.mtu)])
            .advise(advice)
            .hiding(&[Code::UplinkMtuSmall])
            .hiding(&caused_by_mtu(facts, uplink)),
    )
}

fn mtu_small(facts: &Facts, uplink: &Interface) -> Option<Finding> {
    let consequence = consequence(uplink.mtu, remote(facts))?;
    let title = format!("the MTU of `{}`, which leads to the relay, is only {}: {consequence}", uplink.name, uplink.mtu);
    Some(
        Finding::warning(Code::UplinkMtuSmall, title)
            .seen_by([format!("`{}` has MTU {}", uplink.name, uplink.mtu)])
            .advise(format!("find out why it is small; when its network carries more: `sudo ip link set dev {} mtu 1500`", uplink.name))
            .hiding(&caused_by_mtu(facts, uplink)),
    )
}

/// What the small interface itself explains: the edge in the sizes that lies exactly at its MTU, and a small room.
fn caused_by_mtu(facts: &Facts, uplink: &Interface) -> Vec<Code> {
    let mut caused = vec![];
    let edge = |probe: &crate::SizeProbe| {
        let packet = |payload: u16| u32::from(payload) + u32::from(headers(remote(facts)));
        let at_mtu = probe.passed.is_some_and(|p| (uplink.mtu..=uplink.mtu + VLAN_TAG_LEN).contains(&packet(p)));
        at_mtu || probe.how == Some(SizeFailure::Local)
    };
    let relay = facts.relay.as_ref();
    let directions = relay.into_iter().flat_map(|r| [&r.up, &r.down]).flatten();
    let mut probes = directions.filter_map(|d| d.with_df.as_ref()).filter(|p| p.failed.is_some()).peekable();
    if probes.peek().is_none() || probes.all(edge) {
        caused.extend([Code::PathBlackHole, Code::IcmpFiltered]);
    }
    let others = facts.room.iter().flat_map(|r| r.members.iter().flatten()).filter(|m| !m.is_self);
    if others.filter_map(|m| m.path_mtu).all(|mtu| mtu >= lanparty_proto::IPV6_LAN_MTU_MIN) {
        caused.push(Code::Ipv6NeedsLargerPath);
    }
    caused
}

fn is_tunnel(uplink: &Interface) -> Option<Finding> {
    let kind = match &uplink.tunnel_kind {
        Some(kind) => kind.as_str(),
        None if uplink.is_tun_tap => "TUN/TAP",
        None => return None,
    };
    let title =
        format!("the way to the relay leads through another tunnel, `{}` ({kind}), which makes packets smaller and slower", uplink.name);
    Some(
        Finding::info(Code::UplinkIsTunnel, title)
            .seen_by([format!("`{}` has MTU {}", uplink.name, uplink.mtu)])
            .advise("when play is slow, leave the relay's address out of that tunnel, or switch it off"),
    )
}
