//! Which interfaces can be the LAN side of a gateway. The rule only; whether to override it is the caller's decision.

use super::InterfaceFacts;

/// Why an interface cannot be the LAN side of a gateway, and what to use instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitInterface {
    /// There is none of that name.
    #[error("there is no interface `{name}`; {}", offer(candidates))]
    Missing {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// It leads nowhere but to this host.
    #[error("`{name}` is the loopback interface and leads to no LAN; {}", offer(candidates))]
    Loopback {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// It leads to a process: the tunnel's own, or another's.
    #[error("`{name}` is a TUN/TAP interface, a tunnel's own end and not a LAN; {}", offer(candidates))]
    TunTap {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// The bridge takes its frames before anybody else sees them whole.
    #[error("`{name}` is a port of the bridge `{bridge}`: use `{bridge}`")]
    BridgePort {
        /// As asked for.
        name: String,
        /// The bridge.
        bridge: String,
    },
    /// The bond, or what else it is a part of, speaks for it.
    #[error("`{name}` is a part of `{master}`: use `{master}`")]
    PartOf {
        /// As asked for.
        name: String,
        /// What it is a part of.
        master: String,
    },
    /// An access point accepts no frames from stations it does not know (IEEE 802.11 three-address format).
    #[error(
        "`{name}` is Wi-Fi: 802.11 cannot carry foreign source MACs, so the LAN would never hear the members; use a cable; {}",
        offer(candidates)
    )]
    Wireless {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// Its frames are not Ethernet's.
    #[error("`{name}` is not Ethernet (link type {arphrd}); {}", offer(candidates))]
    NotEthernet {
        /// As asked for.
        name: String,
        /// `ARPHRD_*`.
        arphrd: u16,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// It is switched off.
    #[error("`{name}` is down: switch it on with `ip link set {name} up`; {}", offer(candidates))]
    Down {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
    /// It is on, and nothing is at the other end.
    #[error("`{name}` reports no carrier: plug the cable in, or switch on what is at its other end; {}", offer(candidates))]
    NoCarrier {
        /// As asked for.
        name: String,
        /// Interfaces that would do.
        candidates: Vec<String>,
    },
}

/// Whether the interface can be the LAN side of a gateway; `all` is where candidates are taken from.
///
/// # Errors
/// An [`UnfitInterface`] with the first reason that applies, the most fundamental first.
pub fn check_lan_interface(facts: &InterfaceFacts, all: &[InterfaceFacts]) -> Result<(), UnfitInterface> {
    unfit(facts, || lan_candidates(all)).map_or(Ok(()), Err)
}

/// The names of those that would do and are behind some hardware: a container's bridge (`docker0`) or an end of a veth is
/// wired and leads to no cable. Where nothing here has hardware, in a container or a lab, all that would do.
#[must_use]
pub fn lan_candidates(all: &[InterfaceFacts]) -> Vec<String> {
    let is_without_hardware = all.iter().all(|one| one.driver.is_none());
    let is_candidate = |one: &&InterfaceFacts| unfit(one, Vec::new).is_none() && (is_without_hardware || has_hardware(one, all));
    all.iter().filter(is_candidate).map(|one| one.name.clone()).collect()
}

/// A driver of its own, or of a port of this bridge, a part of this bond, the parent of this VLAN.
fn has_hardware(facts: &InterfaceFacts, all: &[InterfaceFacts]) -> bool {
    let mut beneath = facts.ports.iter().chain(&facts.lower).filter_map(|name| all.iter().find(|one| one.name == *name));
    facts.driver.is_some() || beneath.any(|one| one.driver.is_some())
}

fn unfit(facts: &InterfaceFacts, candidates: impl Fn() -> Vec<String>) -> Option<UnfitInterface> {
    use UnfitInterface as U;
    let name = facts.name.clone();
    if !facts.exists {
        return Some(U::Missing { name, candidates: candidates() });
    }
    if facts.is_loopback {
        return Some(U::Loopback { name, candidates: candidates() });
    }
    if let Some(bridge) = facts.bridge_master.clone() {
        return Some(U::BridgePort { name, bridge });
    }
    if facts.is_tun_tap {
        return Some(U::TunTap { name, candidates: candidates() });
    }
    if let Some(master) = facts.other_master.clone() {
        return Some(U::PartOf { name, master });
    }
    if facts.is_wireless {
        return Some(U::Wireless { name, candidates: candidates() });
    }
    if facts.arphrd != super::ARPHRD_ETHER {
        return Some(U::NotEthernet { name, arphrd: facts.arphrd, candidates: candidates() });
    }
    if !facts.is_up {
        return Some(U::Down { name, candidates: candidates() });
    }
    // Some drivers cannot tell; what is up and does not say "no cable" may be tried.
    (facts.carrier == Some(false)).then(|| U::NoCarrier { name, candidates: candidates() })
}

fn offer(candidates: &[String]) -> String {
    match candidates {
        [] => "no other interface here is up, wired and connected".to_owned(),
        names => format!("candidates: {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    }
}
