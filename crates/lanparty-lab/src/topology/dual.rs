//! A home with two to four lines to the internet, and a LAN behind a gateway beside the relay: where a bond is proved.
//!
//! ```text
//! [home] dsl0 -- in [dsl0-modem] out == LabWire == in [dsl0-provider] out -- internet -- wan [relay]
//! [home] lte0 -- in [lte0-modem] out == LabWire == in [lte0-provider] out ----/    \---- wan [gateway] lan -- [switch] -- lan [pc]
//! ```
//! Only the lines have a character; everything else is a perfect cable. So what is measured between `home` and `pc` is what the
//! lines carry. Each line has a subnet and a default route of its own at home, the first one the best, and nothing else: no policy
//! routing. A socket that is bound to an interface leaves by it; an unbound one leaves by the first line, even while that is cut.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use lanparty_sim::Lateness;

use super::nat::NatKind;
use super::{Internet, LAN, Uplink};
use crate::endpoint::Endpoint;
use crate::lab::Lab;
use crate::labwire::Verdict;
use crate::link::{BRIDGE, End, Offloads, Switch, address};
use crate::namespace::Namespace;

mod capture;
mod line;

pub use capture::{Captured, LineCapture};
use line::Provider;
pub use line::{Line, LineOptions, Way};

/// Lines of a home.
const LINES: std::ops::RangeInclusive<usize> = 2..=4;
/// More than a home has lines.
const SUBFLOWS: u8 = 8;
/// The number of the provider of all lines on the internet; that of a line's own is this and the line's number.
const PROVIDER_NUMBER: u8 = 40;

/// The home's lines, the one that is preferred by routing first.
#[derive(Debug, Clone)]
pub struct DualOptions {
    /// Two to four.
    pub lines: Vec<LineOptions>,
    /// All lines end at one provider, which has a NAT of this kind and one address: they look like one household.
    pub one_nat: Option<NatKind>,
    /// IPv6 at the relay as well, for lines that have it.
    pub ipv6: bool,
}

impl DualOptions {
    /// Lines with addresses of their own.
    pub fn new(lines: impl IntoIterator<Item = LineOptions>) -> Self {
        let lines: Vec<LineOptions> = lines.into_iter().collect();
        let ipv6 = lines.iter().any(|line| line.ipv6);
        Self { lines, one_nat: None, ipv6 }
    }
}

/// Another home on the same internet.
#[derive(Debug)]
pub struct Home {
    /// Its lines, the one that is preferred by routing first.
    pub lines: Vec<Line>,
    /// The machine that bonds.
    pub host: Namespace,
}

/// A home (`home`), a relay (10.99.0.1), and a LAN (10.73.42.0/24) with one host (`pc`) behind `gateway` (10.99.0.20).
#[derive(Debug)]
pub struct Dual {
    /// The lines, in the order of the options.
    pub lines: Vec<Line>,
    /// The machine that bonds. Its program makes a TAP there.
    pub home: Namespace,
    /// The relay's host.
    pub relay: Namespace,
    /// The host that bridges the LAN into a room.
    pub gateway: Namespace,
    /// A host on the LAN: the far end of what is measured.
    pub pc: Namespace,
    /// The LAN's switch; its ports are `pc` and `gateway`.
    pub switch: Switch,
    /// The internet.
    pub internet: Internet,
    /// Owns all of it; last, so that everything that uses it is dropped before.
    pub lab: Lab,
}

impl Dual {
    /// The relay's address.
    pub const RELAY: Ipv4Addr = Internet::address(1);
    /// The gateway's address on the internet.
    pub const GATEWAY: Ipv4Addr = Internet::address(20);
    /// The LAN host's address.
    pub const PC: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 11);
    /// What a client at home gives its TAP to reach the LAN.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);

    /// Builds it in a lab called `name`.
    pub fn build(name: &str, options: &DualOptions) -> Result<Self> {
        Self::build_in(Lab::new(name)?, options)
    }

    /// Builds it in an empty lab.
    pub fn build_in(lab: Lab, options: &DualOptions) -> Result<Self> {
        ensure!(LINES.contains(&options.lines.len()), "a home has two to four lines, not {}", options.lines.len());
        let internet = Internet::new(&lab)?;
        let [home, relay, gateway, pc] = hosts(&lab)?;
        for host in [&home, &relay, &pc] {
            allow_long_fat_lines(host)?;
        }
        let switch = Switch::new(lab.namespace("switch")?)?;
        for host in [&pc, &gateway] {
            switch.plug(End::new(host, LAN), host.host(), Offloads::Off)?;
        }
        address(End::new(&pc, LAN), &format!("{}/24", Self::PC))?;
        for (host, number) in [(&relay, 1), (&gateway, 20)] {
            internet.attach(&lab, host, number, &Uplink::default())?;
        }
        route_between_lines(&internet)?;
        if options.ipv6 {
            internet.attach_ipv6(&relay, super::WAN, 1)?;
        }
        let shared = options.one_nat.map(|kind| Provider::new(&lab, &internet, "provider", PROVIDER_NUMBER, Some(kind))).transpose()?;
        let lines = connect(&lab, &internet, &home, &options.lines, 1, shared.as_ref())?;
        Ok(Self { lines, home, relay, gateway, pc, switch, internet, lab })
    }

    /// Another home, a host called `name`, with lines of its own. Names of lines are used once in a lab.
    pub fn add_home(&self, name: &str, lines: &[LineOptions]) -> Result<Home> {
        let host = self.lab.namespace(name)?;
        allow_long_fat_lines(&host)?;
        let first = u8::try_from(self.lines.len())? + 1;
        Ok(Home { lines: connect(&self.lab, &self.internet, &host, lines, first, None)?, host })
    }

    /// The line of that name.
    ///
    /// # Panics
    /// There is none: a mistake of the test.
    pub fn line(&self, name: &str) -> &Line {
        let line = self.lines.iter().find(|line| line.name() == name);
        line.unwrap_or_else(|| panic!("there is no line `{name}`"))
    }

    /// Makes `line` the one that unbound sockets leave by.
    pub fn prefer(&self, line: &Line) -> Result<()> {
        self.lines.iter().try_for_each(|other| other.set_preferred(other.name() == line.name()))
    }

    /// Lets connections that home opens to the relay's host use all lines at once, by the kernel's Multipath TCP: without a tunnel,
    /// what the field has. Gives the ends of such connections; an error when the kernel has none.
    pub fn allow_multipath(&self) -> Result<[Endpoint<'_>; 2]> {
        for host in [&self.home, &self.relay] {
            host.sysctl("net/mptcp/enabled", "1")?;
            host.ip(&format!("mptcp limits set subflows {SUBFLOWS} add_addr_accepted {SUBFLOWS}"))?;
        }
        // The first line is what the connection itself is opened by.
        for line in &self.lines[1..] {
            self.home.ip(&format!("mptcp endpoint add {} dev {} subflow", line.address(), line.name()))?;
        }
        let ends = [Endpoint::new(&self.home, self.lines[0].address()), Endpoint::new(&self.relay, Self::RELAY)];
        Ok(ends.map(Endpoint::by_multipath))
    }

    /// Measures all lines' lateness anew: before the part of a test that measures.
    pub fn forget_lateness(&self) -> Result<()> {
        self.lines.iter().try_for_each(|line| line.wire().forget_lateness())
    }

    /// Were all lines served in time? The first that was not decides.
    pub fn verdict(&self) -> Result<Verdict> {
        for line in &self.lines {
            let verdict = line.wire().verdict()?;
            if verdict != Verdict::Conclusive {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Conclusive)
    }

    /// How late all lines were served, together.
    pub fn lateness(&self) -> Result<Lateness> {
        let mut all = Lateness::default();
        for line in &self.lines {
            all.merge(&line.wire().stats()?.lateness);
        }
        Ok(all)
    }
}

/// Lines of a home, numbered from `first`, that end at one provider when it is shared.
fn connect(
    lab: &Lab,
    internet: &Internet,
    home: &Namespace,
    lines: &[LineOptions],
    first: u8,
    shared: Option<&Provider>,
) -> Result<Vec<Line>> {
    let connect = |(line, number): (&LineOptions, u8)| {
        let own = || Provider::new(lab, internet, &format!("{}-provider", line.name), PROVIDER_NUMBER + number, None);
        let provider = shared.cloned().map_or_else(own, Ok)?;
        Line::connect(lab, internet, home, &provider, number, line)
    };
    lines.iter().zip(first..).map(connect).collect()
}

fn hosts(lab: &Lab) -> Result<[Namespace; 4]> {
    Ok([lab.namespace("home")?, lab.namespace("relay")?, lab.namespace("gateway")?, lab.namespace("pc")?])
}

/// One TCP flow can fill 100 Mbit/s over a satellite: what limits it is to be the lines, not a host's default.
fn allow_long_fat_lines(host: &Namespace) -> Result<()> {
    ["rmem", "wmem"].iter().try_for_each(|key| host.sysctl(&format!("net/ipv4/tcp_{key}"), "4096 131072 67108864"))
}

/// Makes the internet a router: what is behind a line has an address that is not on the internet's own network.
fn route_between_lines(internet: &Internet) -> Result<()> {
    let own = internet.switch().host();
    own.sysctl("net/ipv4/ip_forward", "1")?;
    // What turns back on the bridge is not to be told of a shorter way, which would come and go with the lines.
    for interface in ["all", "default", BRIDGE] {
        own.sysctl(&format!("net/ipv4/conf/{interface}/send_redirects"), "0")?;
    }
    // Where bridges hand packets to the firewall, one that is to turn back would be lost in the bridge.
    let _ = own.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    Ok(())
}
