//! This machine: may it make a TAP, and is there a way out?

use crate::{Code, Finding, HostFacts, RelayFacts, TunDevice};

pub(super) fn findings(host: &HostFacts, relay: Option<&RelayFacts>, found: &mut Vec<Finding>) {
    found.extend(no_tun_device(host));
    found.extend(missing_permission(host));
    found.extend(no_default_route(host, relay));
    found.extend(program_not_answering(host));
    found.extend(host.blocked_cables.iter().flatten().map(|interface| blocked_cable_finding(interface)));
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

/// Only who asks about a gateway has shown that this user is to start it; else it is worth knowing.
fn missing_permission(host: &HostFacts) -> Option<Finding> {
    let lacks = |right: Option<bool>, name: &'static str| right.is_some_and(|has| !has).then_some(name);
    let (admin, raw) = (lacks(host.can_net_admin, "CAP_NET_ADMIN"), lacks(host.can_net_raw, "CAP_NET_RAW"));
    let gateway_title = "this user may not read a LAN's frames, so a gateway started this way fails";
    let finding = match (&host.lan_interface, admin, raw) {
        (Some(_), _, Some(_)) => Finding::warning(Code::MissingPermission, gateway_title),
        (_, Some(_), _) => {
            Finding::info(Code::MissingPermission, "this user may not create a TAP interface, so a client started this way fails")
        }
        (None, None, Some(_)) => Finding::info(Code::MissingPermission, gateway_title),
        _ => return None,
    };
    let lacking: Vec<_> = [admin, raw].into_iter().flatten().collect();
    let finding = finding
        .seen_by([format!("this process has no {}", lacking.join(" and no "))])
        .advise("start client and gateway as root, for example with sudo");
    // A device that only root may open is the same thing once more.
    Some(match host.tun_device {
        Some(TunDevice::Unusable(_)) if admin.is_some() => finding.hiding(&[Code::NoTunDevice]),
        _ => finding,
    })
}

fn program_not_answering(host: &HostFacts) -> Option<Finding> {
    let silent = host.silent_programs.as_ref().filter(|all| !all.is_empty())?;
    let title = match silent.as_slice() {
        [one] => format!("{one} runs on this machine and does not answer"),
        all => format!("{} lanparty programs on this machine run and do not answer", all.len()),
    };
    Some(
        Finding::warning(Code::ProgramNotAnswering, title)
            .seen_by(silent.iter().map(|program| format!("{program} was asked about its room and was silent")))
            .advise("look at its log; `kill -CONT` wakes a process that was stopped (state T in `ps`), and one that hangs must be started again"),
    )
}

/// What is wrong with a cable that is the newest of a loop.
#[must_use]
pub fn blocked_cable_finding(interface: &str) -> Finding {
    Finding::warning(Code::LoopBlocked, format!("a loop: {interface} is the newest cable of one, so it carries nothing; the other ways go on"))
        .seen_by([format!("loop probes that leave by {interface} come back through its other end")])
        .advise(format!(
            "nothing, when another way between the two LANs is there on purpose: {interface} takes over when it fails; else take {interface} out of its bridge (`ip link set {interface} nomaster`), or find the other way"
        ))
}

fn no_default_route(host: &HostFacts, relay: Option<&RelayFacts>) -> Option<Finding> {
    let has_a_way = relay.is_some_and(|r| r.uplink.is_some() || r.udp_reachable == Some(true) || r.stream().is_some());
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
