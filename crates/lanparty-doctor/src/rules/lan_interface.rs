//! The interface that a gateway bridges: can it carry the frames of other machines? The verdict is the gateway's own
//! (`nic::check_lan_interface`), so both say the same of an interface.

use crate::{Code, Finding, HostFacts, Interface, Unfit};

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
    found.extend(interface.unfit.as_ref().map(|why| unfit(interface, why, all)));
    found.extend(vm_port(interface));
}

fn candidates(all: &[Interface]) -> String {
    let fit: Vec<_> = all.iter().filter(|i| i.is_candidate).map(|i| format!("`{}`", i.name)).collect();
    if fit.is_empty() { "no other interface here is up, wired and connected".to_owned() } else { format!("use {}", fit.join(" or ")) }
}

/// Not asked about a gateway: said only where this machine could not be one.
fn only_wifi(all: &[Interface]) -> Option<Finding> {
    let wifi = all.iter().find(|i| i.is_wireless && i.is_up)?;
    if all.iter().any(|i| i.is_candidate) {
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

fn unfit(i: &Interface, why: &Unfit, all: &[Interface]) -> Finding {
    let name = &i.name;
    let no_lan = |what: &str| {
        let title = format!("`{name}` {what}, so it cannot be the LAN side of a gateway");
        Finding::error(Code::LanInterfaceUnfit, title).advise(candidates(all)).hiding(&[Code::LanInterfaceVmPort])
    };
    match why {
        Unfit::Loopback => no_lan("is the loopback interface, which leads to no other machine"),
        Unfit::TunTap => no_lan("is the end of a tunnel of some program on this machine"),
        Unfit::NotEthernet => no_lan("carries no Ethernet frames"),
        Unfit::PartOf(master) => no_lan(&format!("is a part of `{master}`, which speaks for it")).advise(format!("use `{master}`")),
        Unfit::BridgePort(bridge) => bridge_port(name, bridge),
        Unfit::Wireless => wifi(name, all),
        Unfit::Down => down(name, "is switched off", &format!("switch it on with `ip link set {name} up`"), all),
        Unfit::NoCarrier => down(name, "has no cable connected", "plug the cable in", all),
    }
}

fn down(name: &str, what: &str, first: &str, all: &[Interface]) -> Finding {
    Finding::error(Code::LanInterfaceDown, format!("`{name}` {what}, so no LAN is behind it"))
        .advise(format!("{first}, or {}", candidates(all)))
}

fn wifi(name: &str, all: &[Interface]) -> Finding {
    let title = format!("`{name}` is Wi-Fi and cannot be the LAN side of a gateway: the LAN would never hear the members");
    let advice = format!("connect the gateway by cable; {}", candidates(all));
    Finding::error(Code::LanInterfaceWifi, title).seen_by([wifi_is_why(name)]).advise(advice)
}

fn bridge_port(name: &str, bridge: &str) -> Finding {
    Finding::error(Code::LanInterfaceBridgePort, format!("`{name}` is a port of the bridge `{bridge}`, which takes its frames first"))
        .seen_by([format!("/sys/class/net/{name}/brport exists")])
        .advise(format!("use `{bridge}`"))
        .hiding(&[Code::LanInterfaceVmPort])
}

fn vm_port(i: &Interface) -> Option<Finding> {
    let driver = i.vm_driver.as_ref()?;
    let title = format!("`{}` is a virtual machine's port: most hypervisors drop the members' frames unless it is told not to", i.name);
    Some(Finding::warning(Code::LanInterfaceVmPort, title).seen_by([format!("its driver is {driver}")]).advise(
        "allow promiscuous mode, forged transmits and MAC address spoofing on this port in the hypervisor, or pass a real card through",
    ))
}
