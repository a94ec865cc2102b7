//! A household: a host behind a router that is a NAT of a chosen kind.
//!
//! ```text
//! [host] wan ---- br0 [router] out ------------------ internet
//! [host] wan ---- br0 [router] out -- in [carrier] out -- internet
//! ```
//! The host's interface is `wan` as everywhere in the lab, so that what runs on a host in public runs here unchanged. To the
//! internet the household is 10.99.0.`number`; with IPv6, its host is 2001:db8:97:`number`::2 there as well as at home, and the
//! router lets only replies in.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use super::{Internet, Uplink, WAN};
use crate::lab::Lab;
use crate::labwire::LabWire;
use crate::link::{BRIDGE, End, Offloads, Switch, address, veth};
use crate::namespace::Namespace;

mod hop;
mod kind;

pub(super) use hop::Hop;
pub use kind::{Class, Dependence, NatKind, expected};

/// A router's interface toward the internet.
const OUT: &str = "out";
/// The carrier's interface toward the household.
const IN: &str = "in";
/// The largest number: above are [`MOVED_OFFSET`] and [`ROUTER_OFFSET`].
const NUMBER_MAX: u8 = 49;
/// An open host that moved has the address of its number and this.
const MOVED_OFFSET: u8 = 50;
/// What an open household's router is on the internet, beside its host.
const ROUTER_OFFSET: u8 = 100;
/// Below are the router and the host, before and after it moved.
const HOUSEMATE_MIN: u8 = 4;

/// What a household is beside its NAT.
#[derive(Debug, Clone, Default)]
pub struct HouseholdOptions {
    /// The household's own external address works from inside. A symmetric NAT does not do that, and an open one need not.
    pub hairpin: bool,
    /// No UDP passes the router.
    pub udp_blocked: bool,
    /// IPv6 beside IPv4, without NAT and with a firewall that lets only replies in.
    pub ipv6: bool,
    /// The router lets in what it was told to give somebody: whoever puts such rules beside the NAT's own gets through.
    pub forwards_ports: bool,
    /// How the outermost router is connected.
    pub uplink: Uplink,
}

/// A host, its router and perhaps the carrier's.
#[derive(Debug)]
pub struct Household {
    /// The host.
    pub host: Namespace,
    /// The household's router.
    pub router: Namespace,
    /// The carrier's router, when the carrier has a NAT.
    pub carrier: Option<Namespace>,
    /// The uplink of the outermost router, when it is a wire.
    pub wire: Option<LabWire>,
    /// The kind of NAT.
    pub kind: NatKind,
    number: u8,
    options: HouseholdOptions,
    /// The NATs, the innermost first.
    hops: Vec<Hop>,
    moved: bool,
}

impl Household {
    /// Adds host `name` in a household of its own. `number` is 1 to 49 and nobody else's, nor the numbers 50 and 100 above it.
    pub fn attach(lab: &Lab, internet: &Internet, name: &str, number: u8, kind: NatKind, options: HouseholdOptions) -> Result<Self> {
        Self::build(lab, internet, lab.namespace(name)?, number, kind, options)
    }

    /// Puts it around `host`, which is attached as 10.99.0.`number` by a cable. The host's addresses change.
    pub fn put_before(
        lab: &Lab,
        internet: &Internet,
        host: &Namespace,
        number: u8,
        kind: NatKind,
        options: HouseholdOptions,
    ) -> Result<Self> {
        host.ip(&format!("link del dev {WAN}"))?;
        Self::build(lab, internet, host.clone(), number, kind, options)
    }

    fn build(lab: &Lab, internet: &Internet, host: Namespace, number: u8, kind: NatKind, options: HouseholdOptions) -> Result<Self> {
        ensure!((1..=NUMBER_MAX).contains(&number), "a household's number is 1 to {NUMBER_MAX}, not {number}");
        let router = lab.namespace(&format!("{}-router", host.host()))?;
        let carrier = (kind == NatKind::Carrier).then(|| lab.namespace(&format!("{}-carrier", host.host()))).transpose()?;
        Switch::new(router.clone())?.plug(End::new(&host, WAN), host.host(), Offloads::Off)?;
        // Where bridges hand packets to the firewall, one that is to turn back at the router would be lost in the bridge.
        let _ = router.sysctl("net/bridge/bridge-nf-call-iptables", "0");
        address(End::new(&router, BRIDGE), &format!("{}/24", at_home(number, 1)))?;
        let mut household = Self { host, router, carrier, wire: None, kind, number, options, hops: vec![], moved: false };
        household.connect(lab, internet)?;
        household.number_host()?;
        household.translate()?;
        household.set_udp(!household.options.udp_blocked)?;
        if household.options.ipv6 {
            household.connect_ipv6(internet)?;
        }
        Ok(household)
    }

    /// Adds another host to a household with a NAT, as 10.97.`number`.`end`; `end` is 4 or more.
    pub fn housemate(&self, lab: &Lab, name: &str, end: u8) -> Result<Namespace> {
        ensure!(self.kind != NatKind::Open && end >= HOUSEMATE_MIN, "{name} has no place in this household");
        let host = lab.namespace(name)?;
        veth(End::new(&host, WAN), End::new(&self.router, name), Offloads::Off)?;
        self.router.ip(&format!("link set dev {name} master {BRIDGE}"))?;
        address(End::new(&host, WAN), &format!("{}/24", at_home(self.number, end)))?;
        host.ip(&format!("route add default via {}", at_home(self.number, 1)))?;
        Ok(host)
    }

    /// The host's IPv4 address now.
    pub fn address(&self) -> Ipv4Addr {
        match (self.kind, self.moved) {
            (NatKind::Open, false) => Internet::address(self.number),
            (NatKind::Open, true) => Internet::address(self.number + MOVED_OFFSET),
            (_, false) => at_home(self.number, 2),
            (_, true) => at_home(self.number, 3),
        }
    }

    /// What the internet knows the host by now.
    pub fn external_address(&self) -> Ipv4Addr {
        self.hops.last().map_or_else(|| self.address(), |hop| hop.address)
    }

    /// The host's IPv6 address, when it has one.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.options.ipv6.then(|| ipv6_at_home(self.number, 2))
    }

    /// What it and another one can have of each other.
    pub const fn expected(&self, other: &Self) -> Class {
        if self.options.udp_blocked || other.options.udp_blocked { Class::Stream } else { expected(self.kind, other.kind) }
    }

    /// The outermost NAT forgets every mapping and takes other ports from now on. What is sent to the old ones is lost.
    pub fn rebind(&mut self) -> Result<()> {
        let Some(hop) = self.hops.last_mut() else { anyhow::bail!("an open household has no NAT that could be rebound") };
        hop.rebind(self.kind, &self.options)
    }

    /// Gives the host another IPv4 address, as another network would: what it had is gone. A second change brings the first back.
    pub fn change_address(&mut self) -> Result<()> {
        self.host.ip(&format!("-4 addr flush dev {WAN}"))?;
        self.moved = !self.moved;
        self.number_host()
    }

    /// Takes the host's IPv4 address away: where it is now, there is none.
    pub fn lose_ipv4(&self) -> Result<()> {
        self.host.ip(&format!("-4 addr flush dev {WAN}")).map(drop)
    }

    /// Lets UDP pass the router, or drops it, both ways and in both families.
    pub fn set_udp(&mut self, passes: bool) -> Result<()> {
        self.options.udp_blocked = !passes;
        let rule = if passes { "" } else { "meta l4proto udp drop" };
        let table = format!(
            "add table inet gate\ndelete table inet gate\ntable inet gate {{ chain forward {{ type filter hook forward priority -10;\n{rule}\n}}\n}}"
        );
        self.router.run(&["nft", &table]).map(drop)
    }

    fn connect(&mut self, lab: &Lab, internet: &Internet) -> Result<()> {
        let (router, number) = (&self.router, self.number);
        let public = Internet::address(number);
        let own = if self.kind == NatKind::Open { number + ROUTER_OFFSET } else { number };
        let mut between = None;
        if let Some(carrier) = &self.carrier {
            let [before, behind] = [1, 2].map(|end| Ipv4Addr::new(100, 64, number, end));
            veth(End::new(router, OUT), End::new(carrier, IN), Offloads::Off)?;
            address(End::new(router, OUT), &format!("{behind}/24"))?;
            address(End::new(carrier, IN), &format!("{before}/24"))?;
            router.ip(&format!("route add default via {before}"))?;
            between = Some(behind);
        }
        let outermost = self.carrier.as_ref().unwrap_or(router);
        self.wire = internet.attach_interface(lab, outermost, OUT, own, &self.options.uplink)?;
        outermost.ip(&format!("route add default via {}", Internet::ROUTER))?;
        for router in [Some(router), self.carrier.as_ref()].into_iter().flatten() {
            router.sysctl("net/ipv4/ip_forward", "1")?;
        }
        match (self.kind, &self.carrier, between) {
            (NatKind::Open, ..) => {}
            (_, Some(carrier), Some(between)) => self.hops = vec![Hop::new(router, BRIDGE, between), Hop::new(carrier, IN, public)],
            _ => self.hops = vec![Hop::new(router, BRIDGE, public)],
        }
        Ok(())
    }

    /// The host's address and route; an open one's router answers for it.
    fn number_host(&self) -> Result<()> {
        let (own, gateway) = (self.address(), at_home(self.number, 1));
        if self.kind == NatKind::Open {
            address(End::new(&self.host, WAN), &format!("{own}/32"))?;
            self.router.ip(&format!("route replace {own} dev {BRIDGE}"))?;
            self.router.sysctl(&format!("net/ipv4/neigh/{OUT}/proxy_delay"), "0")?;
            self.router.sysctl(&format!("net/ipv4/conf/{OUT}/proxy_arp"), "1")?;
        } else {
            address(End::new(&self.host, WAN), &format!("{own}/24"))?;
        }
        self.host.ip(&format!("route replace default via {gateway} dev {WAN} onlink")).map(drop)
    }

    fn translate(&self) -> Result<()> {
        self.hops.iter().try_for_each(|hop| hop.apply(self.kind, &self.options))
    }

    fn connect_ipv6(&self, internet: &Internet) -> Result<()> {
        let (host, router, number) = (&self.host, &self.router, self.number);
        let give = |host: &Namespace, interface: &str, ip: Ipv6Addr| host.ip(&format!("addr add {ip}/64 dev {interface} nodad")).map(drop);
        // A router asks for the neighbours of others from its link-local address (RFC 4861 §7.2.2).
        let local = |host: &Namespace, interface, end: u8| give(host, interface, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, end.into()));
        let route = |host: &Namespace, to: &str, via: Ipv6Addr| host.ip(&format!("-6 route add {to} via {via}")).map(drop);
        let inner = format!("{}/64", ipv6_at_home(number, 0));
        give(router, BRIDGE, ipv6_at_home(number, 1))?;
        local(router, BRIDGE, 1)?;
        give(host, WAN, ipv6_at_home(number, 2))?;
        route(host, "default", ipv6_at_home(number, 1))?;
        let outermost = self.carrier.as_ref().unwrap_or(router);
        internet.attach_ipv6(outermost, OUT, number)?;
        local(outermost, OUT, number)?;
        route(internet.switch().host(), &inner, Internet::ipv6(number))?;
        if let Some(carrier) = &self.carrier {
            let between = |end| Ipv6Addr::new(0x2001, 0xdb8, 0x98, number.into(), 0, 0, 0, end);
            give(carrier, IN, between(1))?;
            local(carrier, IN, 1)?;
            give(router, OUT, between(2))?;
            local(router, OUT, 2)?;
            route(router, "default", between(1))?;
            route(carrier, &inner, between(2))?;
            carrier.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        router.run(&["nft", &firewall_ipv6()]).map(drop)
    }
}

/// Only replies come in, and what IPv6 cannot do without (RFC 4890 §4.3.1): conntrack calls those related.
fn firewall_ipv6() -> String {
    format!(
        "table ip6 firewall {{ chain forward {{ type filter hook forward priority filter;
         iifname {OUT} ct state established,related accept
         iifname {OUT} drop
         }}
         }}"
    )
}

const fn at_home(number: u8, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 97, number, end)
}

const fn ipv6_at_home(number: u8, end: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x97, number as u16, 0, 0, 0, end)
}
