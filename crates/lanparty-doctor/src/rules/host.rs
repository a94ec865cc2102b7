//! This machine: may it make a TAP, and is there a way out?

use crate::{Code, Finding, HostFacts, RelayFacts, TunDevice};

pub(super) fn findings(host: &HostFacts, relay: Option<&RelayFacts>, found: &mut Vec<Finding>) {
    found.extend(no_tun_device(host));
    found.extend(missing_permission(host));
    found.extend(no_default_route(host, relay));
}

fn no_tun_device(host: &HostFacts) -> Option<Finding> {
    let (title, evidence, advice) = match host.tun_device.as_ref()? {
        TunDevice::Usable => return None,
        TunDevice::Missing => (
            "this machine has no TAP driver, so it cannot appear in a LAN",
            "/dev/net/tun does not exist".to_owned(),
            "load the driver with `sudo modprobe tun`; in a container, pass the device in (`--device /dev/net/tun`)",
        ),
        TunDevice::Unusable(why) => (
            "the TAP driver of this machine cannot be opened",
            format!("/dev/net/tun: {why}"),
            "check the permissions of /dev/net/tun, and that the container may use the device",
        ),
    };
    Some(Finding::error(Code::NoTunDevice, title).seen_by([evidence]).advise(advice))
}

fn missing_permission(host: &HostFacts) -> Option<Finding> {
    if host.can_net_admin? {
        return None;
    }
    let raw = match host.can_net_raw {
        Some(false) => " and CAP_NET_RAW",
        _ => "",
    };
    let finding = Finding::warning(Code::MissingPermission, "this user may not create a TAP interface, so a client started this way fails")
        .seen_by([format!("this process has no CAP_NET_ADMIN{raw}")])
        .advise("start client and gateway as root, for example with sudo");
    // A device that only root may open is the same thing once more.
    Some(match host.tun_device {
        Some(TunDevice::Unusable(_)) => finding.hiding(&[Code::NoTunDevice]),
        _ => finding,
    })
}

fn no_default_route(host: &HostFacts, relay: Option<&RelayFacts>) -> Option<Finding> {
    let has_a_way = relay.is_some_and(|r| r.uplink.is_some() || r.udp_reachable == Some(true));
    if has_a_way || !host.default_routes.as_ref()?.is_empty() {
        return None;
    }
    let up: Vec<_> = host.interfaces.iter().flatten().filter(|i| i.is_up && !i.is_loopback).map(|i| i.name.clone()).collect();
    let interfaces = if up.is_empty() { "no interface is up".to_owned() } else { format!("interfaces that are up: {}", up.join(", ")) };
    Some(
        Finding::error(Code::NoDefaultRoute, "this machine has no way to the internet: there is no default route")
            .seen_by(["no default route in the routing table".to_owned(), interfaces])
            .advise("connect this machine to a network; `ip route` shows the default route when it is there")
            .hiding(&[Code::RelayNameUnresolved, Code::UdpBlocked])
            .hiding(Code::BEHIND_THE_RELAY),
    )
}
