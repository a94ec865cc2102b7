//! Networks that many tests need, ready to use.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use lanparty_sim::Impairment;

use crate::lab::Lab;
use crate::labwire::LabWire;
use crate::link::{BRIDGE, End, Offloads, Switch, address};
use crate::namespace::Namespace;

mod dual;
mod narrow;
mod nat;
mod pair;
mod party;

pub use dual::{Captured, Dual, DualOptions, Home, Line, LineCapture, LineOptions, Way};
pub use narrow::{Narrow, Routers};
pub use nat::{Class, Dependence, Household, HouseholdOptions, NatKind, expected};
pub use pair::{Pair, PairOptions};
pub use party::{Party, PartyOptions};

/// The interface of a host toward the internet.
pub const WAN: &str = "wan";
/// The interface of a host on a LAN.
pub const LAN: &str = "lan";

/// The number of the provider's router.
const ROUTER_NUMBER: u8 = 254;

/// How a host is connected to the internet.
#[derive(Debug, Clone, PartialEq)]
pub enum Uplink {
    /// A perfect cable of the kernel.
    Cable(Offloads),
    /// A wire with a character, the same both ways.
    Wire(Impairment),
}

impl Default for Uplink {
    fn default() -> Self {
        Self::Cable(Offloads::Off)
    }
}

impl Uplink {
    /// A wire from its text: `delay=15ms rate=50M queue=64000`.
    pub fn wire(text: &str) -> Result<Self> {
        Ok(Self::Wire(text.parse().with_context(|| format!("the wire `{text}`"))?))
    }
}

/// The internet: one network, 10.99.0.0/24, on which everyone reaches everyone. Homes and NATs are attached to it.
#[derive(Debug)]
pub struct Internet {
    switch: Switch,
}

impl Internet {
    /// What hosts take for their provider's router: it answers, and leads nowhere else.
    pub const ROUTER: Ipv4Addr = Self::address(ROUTER_NUMBER);

    /// Adds the internet to a lab, as host `internet`.
    pub fn new(lab: &Lab) -> Result<Self> {
        let switch = Switch::new(lab.namespace("internet")?)?;
        address(End::new(switch.host(), BRIDGE), &format!("{}/24", Self::ROUTER))?;
        Ok(Self { switch })
    }

    /// The switch that it is made of.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Connects `host` with address 10.99.0.`number` on its interface `wan`, and with a default route. Gives the wire, when there is one.
    pub fn attach(&self, lab: &Lab, host: &Namespace, number: u8, uplink: &Uplink) -> Result<Option<LabWire>> {
        let wire = self.attach_interface(lab, host, WAN, number, uplink)?;
        host.ip(&format!("route add default via {} dev {WAN}", Self::ROUTER))?;
        Ok(wire)
    }

    /// As [`Internet::attach`] with an interface of any name and without a route: a second uplink.
    pub fn attach_interface(&self, lab: &Lab, host: &Namespace, interface: &str, number: u8, uplink: &Uplink) -> Result<Option<LabWire>> {
        let end = End::new(host, interface);
        let port = format!("to-{number}");
        let wire = match uplink {
            Uplink::Cable(offloads) => {
                self.switch.plug(end, &port, *offloads)?;
                None
            }
            Uplink::Wire(impairment) => {
                let wire = lab.labwire(end, End::new(self.switch.host(), &port), impairment)?;
                self.switch.join(&port)?;
                Some(wire)
            }
        };
        address(end, &format!("{}/24", Self::address(number)))?;
        Ok(wire)
    }

    /// Gives an attached interface the address 2001:db8:99::`number` as well, and its host a default route by IPv6. The internet
    /// forwards IPv6 from then on: households have networks of their own in it.
    pub fn attach_ipv6(&self, host: &Namespace, interface: &str, number: u8) -> Result<()> {
        let own = self.switch.host();
        own.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        // A router asks for the neighbours of others from its link-local address (RFC 4861 §7.2.2), which the lab's hosts lack.
        for ip in [Self::ipv6(ROUTER_NUMBER), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, ROUTER_NUMBER.into())] {
            own.ip(&format!("addr replace {ip}/64 dev {BRIDGE} nodad"))?;
        }
        host.ip(&format!("addr add {}/64 dev {interface} nodad", Self::ipv6(number)))?;
        host.ip(&format!("-6 route add default via {}", Self::ipv6(ROUTER_NUMBER))).map(drop)
    }

    /// The address 10.99.0.`number`.
    pub const fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, number)
    }

    /// The address 2001:db8:99::`number`.
    pub const fn ipv6(number: u8) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, number as u16)
    }
}
