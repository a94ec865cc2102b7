//! Which addresses a client wants, where each came from, and what became of it. What this means for the machine is `Client`'s business.

mod flag;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use lanparty_node::{ExitCode, Fault};
use lanparty_proto::{AddressRequest, MacAddr, OWN_NETWORKS_MAX};
use schemars::JsonSchema;
use serde::Serialize;

pub use flag::AddressFlag;

/// Addresses that one client may be given by hand.
const FIXED_MAX: usize = 32;
/// An address of the user's choice that another machine has is tried again after this (RFC 5227 §1.1, RATE_LIMIT_INTERVAL).
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Whether the relay is asked for addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AutoWish {
    /// No.
    #[default]
    No,
    /// While the room has no gateway.
    UnlessGateway,
    /// Yes.
    Yes,
}

/// What the user wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressPlan {
    /// Addresses of the relay.
    pub auto: AutoWish,
    /// A lease of the LAN's DHCP server.
    pub dhcp: bool,
    /// Addresses of the user's own choice.
    pub fixed: Vec<IpNet>,
}

impl AddressPlan {
    /// What several `--address`, and `--dhcp`, mean together.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn new(flags: &[AddressFlag], dhcp: bool) -> Result<Self, Fault> {
        let wrong = |cause: String, advice: &str| Err(Fault::new(ExitCode::Configuration, cause, advice));
        let count = |flag: &AddressFlag| flags.iter().filter(|other| *other == flag).count();
        if let Some(twice) = flags.iter().find(|flag| count(flag) > 1) {
            return wrong(format!("--address {twice} is said twice"), "say it once; several addresses are several static:…");
        }
        if flags.contains(&AddressFlag::None) && (flags.len() > 1 || dhcp) {
            return wrong("--address none is said beside another address".into(), "leave one of them out");
        }
        let fixed: Vec<_> = flags.iter().filter_map(|flag| if let AddressFlag::Static(net) = flag { Some(*net) } else { None }).collect();
        if let Some(again) = fixed.iter().enumerate().find(|(n, net)| fixed.iter().take(*n).any(|other| other.addr() == net.addr())) {
            return wrong(format!("--address names {} with two prefixes", again.1.addr()), "say it once");
        }
        if fixed.len() > FIXED_MAX {
            return wrong(format!("{} addresses are more than the {FIXED_MAX} that one client takes", fixed.len()), "");
        }
        let auto = match (flags, dhcp) {
            ([], false) => AutoWish::UnlessGateway,
            (flags, _) if flags.contains(&AddressFlag::Auto) => AutoWish::Yes,
            _ => AutoWish::No,
        };
        Ok(Self { auto, dhcp: dhcp || flags.contains(&AddressFlag::Dhcp), fixed })
    }

    /// What the relay is asked for, by a machine that `had` an address of it, and is in these networks.
    pub(crate) fn request(&self, had: Option<Ipv4Net>, networks: &[(String, Ipv4Net)]) -> Option<AddressRequest> {
        let unless_gateway = match self.auto {
            AutoWish::No => return None,
            AutoWish::UnlessGateway => had.is_none(),
            AutoWish::Yes => false,
        };
        let networks = networks.iter().map(|(_, network)| *network).take(OWN_NETWORKS_MAX).collect();
        Some(AddressRequest { unless_gateway, had, networks })
    }
}

/// Where an address came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Auto,
    Static,
}

impl Origin {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Static => "static",
        }
    }
}

/// What became of an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "state")]
pub(crate) enum State {
    /// The room is asked whether anybody has it.
    Asking,
    /// The system has it, and asks the room itself (RFC 4862 §5.4).
    Tentative,
    /// In use.
    Set,
    /// Another machine has it.
    Taken {
        /// Which, when it is known.
        by: Option<MacAddr>,
        #[serde(skip)]
        again: Option<Instant>,
    },
    /// It was there before, or the system refused it.
    Refused {
        /// Why, in words.
        because: String,
    },
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) net: IpNet,
    pub(crate) origin: Origin,
    pub(crate) state: State,
}

/// All of a client's addresses but those of DHCP.
#[derive(Debug, Default)]
pub(crate) struct Addressing {
    pub(crate) plan: AddressPlan,
    pub(crate) held: Vec<Held>,
    /// What the relay assigned last.
    pub(crate) had: Option<Ipv4Net>,
    /// Why it has assigned no IPv4 address.
    pub(crate) because: Option<String>,
}

impl Addressing {
    pub(crate) fn new(plan: AddressPlan) -> Self {
        Self { plan, ..Self::default() }
    }

    pub(crate) fn get_mut(&mut self, address: IpAddr) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.net.addr() == address)
    }

    /// What the relay has assigned, of one family.
    pub(crate) fn assigned(&self, is_ipv4: bool) -> Option<IpNet> {
        let mut held = self.held.iter().filter(|held| held.origin == Origin::Auto);
        held.find(|held| held.net.addr().is_ipv4() == is_ipv4).map(|held| held.net)
    }

    /// IPv4 addresses that the client has set.
    pub(crate) fn set_here(&self) -> Vec<Ipv4Addr> {
        let set = self.held.iter().filter(|held| held.state == State::Set);
        set.filter_map(|held| if let IpAddr::V4(address) = held.net.addr() { Some(address) } else { None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str], dhcp: bool) -> Result<AddressPlan, String> {
        let flags: Vec<AddressFlag> = words.iter().map(|word| word.parse().unwrap()).collect();
        AddressPlan::new(&flags, dhcp).map_err(|fault| fault.cause)
    }

    #[test]
    fn without_a_word_the_relay_is_asked_unless_there_is_a_gateway() {
        assert_eq!(plan(&[], false).unwrap().auto, AutoWish::UnlessGateway);
        assert_eq!(plan(&[], true).unwrap(), AddressPlan { dhcp: true, ..AddressPlan::default() });
        assert_eq!(plan(&["none"], false).unwrap(), AddressPlan::default());
        assert_eq!(plan(&["dhcp"], true).unwrap(), plan(&[], true).unwrap());
        let all = plan(&["auto", "static:192.168.8.5", "static:fd00:1::6", "dhcp"], false).unwrap();
        assert_eq!((all.auto, all.dhcp, all.fixed.len()), (AutoWish::Yes, true, 2));
        assert_eq!(plan(&["static:192.168.8.5"], false).unwrap().auto, AutoWish::No);
    }

    #[test]
    fn words_that_contradict_each_other_are_named() {
        for (words, dhcp, why) in [
            (&["auto", "auto"][..], false, "--address auto is said twice"),
            (&["none", "auto"], false, "none is said beside another"),
            (&["none"], true, "none is said beside another"),
            (&["static:10.0.0.5", "static:10.0.0.5/24"], false, "static:10.0.0.5/24 is said twice"),
            (&["static:10.0.0.5/24", "static:10.0.0.5/16"], false, "names 10.0.0.5 with two prefixes"),
        ] {
            let error = plan(words, dhcp).unwrap_err();
            assert!(error.contains(why), "{words:?}: {error}");
        }
        let many: Vec<String> = (1..=33).map(|n| format!("static:10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(plan(&many, false).unwrap_err().contains("33 addresses are more"));
    }

    #[test]
    fn who_had_an_address_keeps_it_when_a_gateway_comes() {
        let plan = plan(&[], false).unwrap();
        let own: Vec<_> = (0..20).map(|n| (format!("eth{n}"), format!("192.168.{n}.0/24").parse().unwrap())).collect();
        let first = plan.request(None, &own).unwrap();
        assert!(first.unless_gateway && first.networks.len() == OWN_NETWORKS_MAX);
        assert!(!plan.request(Some("10.128.0.5/24".parse().unwrap()), &[]).unwrap().unless_gateway);
        assert_eq!(AddressPlan::default().request(None, &own), None);
    }
}
