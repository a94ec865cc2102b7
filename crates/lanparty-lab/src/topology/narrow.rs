//! A way to the internet that is narrow in its middle, as behind PPPoE or inside a provider's tunnel.
//!
//! ```text
//! [host] wan -- 1500 -- [near] -- narrow -- [far] -- 1500 -- internet
//! ```
//! Neither end sees the narrow link on its own interface. Both routers are the kernel's: they fragment, and answer that a packet
//! is too big, unless they are told not to. Nothing in them tracks connections, which would reassemble fragments.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Internet, WAN};
use crate::lab::Lab;
use crate::link::{End, Offloads, address, veth};
use crate::namespace::Namespace;

/// The interface of each router toward the other.
const NARROW: &str = "narrow";
/// The interface of each router away from the other.
const WIDE: &str = "wide";
/// What the far router's own address is above its host's: it must not meet any host's.
const FAR_OFFSET: u8 = 100;

/// What the routers do with a packet that is too large for the narrow link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Routers {
    /// They fragment it, or answer that it is too big when it must not be fragmented.
    Answer,
    /// They fragment it; no answer comes back (ICMP is filtered).
    Silent,
    /// No answer comes back, and fragments vanish (Hyper-V's NAT, many firewalls).
    DropFragments,
}

impl Routers {
    /// All of them, the most helpful first.
    pub const ALL: [Self; 3] = [Self::Answer, Self::Silent, Self::DropFragments];

    /// What nftables is told.
    const fn rules(self) -> &'static str {
        match self {
            Self::Answer => "",
            Self::Silent => {
                "add chain ip hop answers { type filter hook output priority 0; }
                 add rule ip hop answers icmp type destination-unreachable drop"
            }
            // Before the kernel could reassemble (priority -400), whoever asks it to.
            Self::DropFragments => {
                "add chain ip hop answers { type filter hook output priority 0; }
                 add rule ip hop answers icmp type destination-unreachable drop
                 add chain ip hop pieces { type filter hook prerouting priority -450; }
                 add rule ip hop pieces ip frag-off & 0x3fff != 0 drop"
            }
        }
    }
}

/// The narrow part of one host's way.
#[derive(Debug, Clone)]
pub struct Narrow {
    near: Namespace,
    far: Namespace,
}

impl Narrow {
    /// Puts it between `host`, attached as 10.99.0.`number`, and the internet. The host keeps its address.
    pub fn put_before(lab: &Lab, internet: &Internet, host: &Namespace, number: u8) -> Result<Self> {
        let near = lab.namespace(&format!("{}-near", host.host()))?;
        let far = lab.namespace(&format!("{}-far", host.host()))?;
        host.ip(&format!("link del dev {WAN}"))?;
        veth(End::new(host, WAN), End::new(&near, WIDE), Offloads::Off)?;
        veth(End::new(&near, NARROW), End::new(&far, NARROW), Offloads::Off)?;
        internet.switch().plug(End::new(&far, WIDE), &format!("to-{number}"), Offloads::Off)?;
        let narrow = Self { near, far };
        narrow.route(host, number)?;
        Ok(narrow)
    }

    /// Makes the narrow link this wide, for packets in both directions.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        [&self.near, &self.far].into_iter().try_for_each(|router| router.ip(&format!("link set dev {NARROW} mtu {mtu}")).map(drop))
    }

    /// Tells both routers how to behave from now on.
    pub fn set_routers(&self, routers: Routers) -> Result<()> {
        let rules = format!("flush ruleset\nadd table ip hop\n{}", routers.rules());
        [&self.near, &self.far].into_iter().try_for_each(|router| router.run(&["nft", &rules]).map(drop))
    }

    /// Makes the near router drop or reject what these rules say, in both directions; nothing ends that.
    pub fn set_filter(&self, rules: &[&str]) -> Result<()> {
        let rules: Vec<String> = rules.iter().map(|rule| format!("add rule ip firewall forward {rule}")).collect();
        let hook = "add chain ip firewall forward { type filter hook forward priority 0; }";
        let table = "add table ip firewall\ndelete table ip firewall\nadd table ip firewall";
        self.near.run(&["nft", &format!("{table}\n{hook}\n{}", rules.join("\n"))]).map(drop)
    }

    fn route(&self, host: &Namespace, number: u8) -> Result<()> {
        let (near, far) = (&self.near, &self.far);
        let (own, at_home) = (Internet::address(number), Ipv4Addr::new(10, 98, number, 1));
        let [before, behind] = [5, 6].map(|end| Ipv4Addr::new(10, 98, number, end));
        address(End::new(host, WAN), &format!("{own}/32"))?;
        host.ip(&format!("route add {at_home} dev {WAN} src {own}"))?;
        host.ip(&format!("route add default via {at_home} dev {WAN} src {own}"))?;
        address(End::new(near, WIDE), &format!("{at_home}/32"))?;
        near.ip(&format!("route add {own} dev {WIDE}"))?;
        address(End::new(near, NARROW), &format!("{before}/30"))?;
        near.ip(&format!("route add default via {behind}"))?;
        address(End::new(far, NARROW), &format!("{behind}/30"))?;
        far.ip(&format!("route add {own} via {before}"))?;
        address(End::new(far, WIDE), &format!("{}/24", Internet::address(number + FAR_OFFSET)))?;
        // To the internet it is the host itself.
        far.sysctl(&format!("net/ipv4/conf/{WIDE}/proxy_arp"), "1")?;
        for router in [near, far] {
            router.sysctl("net/ipv4/ip_forward", "1")?;
        }
        Ok(())
    }
}
