//! The interface that a gateway bridges: can it carry the frames of other machines?

use crate::{Code, Finding, HostFacts, Interface};

pub(super) fn findings(host: &HostFacts, found: &mut Vec<Finding>) {
    let Some(all) = &host.interfaces else { return };
    let Some(name) = &host.lan_interface else {
        found.extend(only_wifi(all));
        return;
    };
    let Some(interface) = all.iter().find(|i| i.name == *name) else {
        found.push(missing(name, all));
        return;
    };
    found.extend(wifi(interface, all));
    found.extend(bridge_port(interface));
    found.extend(vm_port(interface));
    found.extend(down(interface, all));
}

/// Wired, connected, and nobody else's: what a gateway may bridge.
fn is_fit(i: &Interface) -> bool {
    let is_wired = i.is_ethernet && !i.is_wireless && !i.is_loopback && !i.is_tun_tap;
    is_wired && i.bridge.is_none() && i.part_of.is_none() && i.is_up && i.carrier != Some(false)
}

fn candidates(all: &[Interface]) -> String {
    let fit: Vec<_> = all.iter().filter(|i| is_fit(i)).map(|i| format!("`{}`", i.name)).collect();
    if fit.is_empty() { "no other interface here is up, wired and connected".to_owned() } else { format!("use {}", fit.join(" or ")) }
}

/// Not asked about a gateway: said only where this machine could not be one.
fn only_wifi(all: &[Interface]) -> Option<Finding> {
    let wifi = all.iter().find(|i| i.is_wireless && i.is_up)?;
    if all.iter().any(is_fit) {
        return None;
    }
    let title = format!("this machine has only Wi-Fi (`{}`): it can be a client, not a gateway", wifi.name);
    Some(
        Finding::info(Code::LanInterfaceWifi, title)
            .seen_by([wifi_is_why(&wifi.name)])
            .advise("bridge the LAN from a machine with a cable"),
    )
}

fn wifi_is_why(name: &str) -> String {
    format!("`{name}` is 802.11, which carries no frames of foreign MAC addresses")
}

fn missing(name: &str, all: &[Interface]) -> Finding {
    Finding::error(Code::LanInterfaceMissing, format!("there is no interface `{name}` to bridge"))
        .seen_by([format!("interfaces here: {}", all.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", "))])
        .advise(candidates(all))
}

fn down(i: &Interface, all: &[Interface]) -> Option<Finding> {
    let (what, advice) = match (i.is_up, i.carrier) {
        (false, _) => ("is switched off", format!("switch it on with `ip link set {} up`, or {}", i.name, candidates(all))),
        (true, Some(false)) => ("has no cable connected", format!("plug the cable in, or {}", candidates(all))),
        _ => return None,
    };
    Some(Finding::error(Code::LanInterfaceDown, format!("`{}` {what}, so no LAN is behind it", i.name)).advise(advice))
}

fn wifi(i: &Interface, all: &[Interface]) -> Option<Finding> {
    let title = format!("`{}` is Wi-Fi and cannot be the LAN side of a gateway: the LAN would never hear the members", i.name);
    let advice = format!("connect the gateway by cable; {}", candidates(all));
    i.is_wireless.then(|| Finding::error(Code::LanInterfaceWifi, title).seen_by([wifi_is_why(&i.name)]).advise(advice))
}

fn bridge_port(i: &Interface) -> Option<Finding> {
    let bridge = i.bridge.as_ref()?;
    let title = format!("`{}` is a port of the bridge `{bridge}`, which takes its frames first", i.name);
    Some(
        Finding::error(Code::LanInterfaceBridgePort, title)
            .seen_by([format!("/sys/class/net/{}/brport exists", i.name)])
            .advise(format!("use `{bridge}`"))
            .hiding(&[Code::LanInterfaceVmPort]),
    )
}

fn vm_port(i: &Interface) -> Option<Finding> {
    let driver = i.vm_driver.as_ref()?;
    let title = format!("`{}` is a virtual machine's port: most hypervisors drop the members' frames unless it is told not to", i.name);
    Some(Finding::warning(Code::LanInterfaceVmPort, title).seen_by([format!("its driver is {driver}")]).advise(
        "allow promiscuous mode, forged transmits and MAC address spoofing on this port in the hypervisor, or pass a real card through",
    ))
}
