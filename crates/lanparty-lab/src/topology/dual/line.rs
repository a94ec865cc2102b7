//! One line of a home: the cable to its modem, the wire with a character, and the provider at its far end.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanparty_sim::Impairment;

use super::capture::LineCapture;
use crate::lab::Lab;
use crate::labwire::{Direction, LabWire};
use crate::link::{End, Offloads, address, veth};
use crate::namespace::Namespace;
use crate::topology::Internet;
use crate::topology::nat::{Hop, HouseholdOptions, NatKind};

/// A modem's interface toward the home, and a provider's toward the line.
const IN: &str = "in";
/// A modem's interface toward the line, and a provider's toward the internet.
const OUT: &str = "out";
/// Metric of the first line's route; each further line's is this much higher.
const METRIC: u32 = 100;
/// Metric of the line that is preferred whatever its number.
const METRIC_PREFERRED: u32 = 10;
/// The time that a full buffer before a bottleneck takes to drain, unless told otherwise: what modest modems have.
const BUFFER: Duration = Duration::from_millis(50);
/// The usual MTU of Ethernet.
const MTU: u16 = 1500;

/// A direction of a line, as its user calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From the home to the internet.
    Up,
    /// From the internet to the home.
    Down,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    pub(super) const fn direction(self) -> Direction {
        match self {
            Self::Up => Direction::AToB,
            Self::Down => Direction::BToA,
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub struct LineOptions {
    /// The interface at home.
    pub name: String,
    /// The character from the home to the internet. Its queue is the modem's buffer.
    pub up: Impairment,
    /// The character from the internet to the home. Its queue is the provider's buffer.
    pub down: Impairment,
    /// The NAT of the modem. [`NatKind::Carrier`]: and another one at the provider.
    pub nat: NatKind,
    /// The IP MTU between modem and provider. Both answer that a packet is too big; the home's interface does not know.
    pub mtu: u16,
    /// IPv6 beside IPv4, without NAT.
    pub ipv6: bool,
}

impl LineOptions {
    /// A line of one rate and one-way delay both ways, with 50 ms of buffer before each bottleneck, a public address and nothing else.
    pub fn new(name: &str, mbit_s: f64, delay_ms: f64) -> Self {
        let delay = Duration::from_secs_f64(delay_ms / 1e3);
        let both = Impairment { rate: (mbit_s * 1e6) as u64, delay, ..Impairment::default() };
        let line = Self { name: name.into(), up: both.clone(), down: both, nat: NatKind::Open, mtu: MTU, ipv6: false };
        line.buffer(BUFFER)
    }

    /// Another rate up than down.
    pub fn rates(mut self, up_mbit_s: f64, down_mbit_s: f64) -> Self {
        let buffers = [&self.up, &self.down].map(|way| Duration::from_secs_f64(way.queue as f64 * 8.0 / way.rate as f64));
        (self.up.rate, self.down.rate) = ((up_mbit_s * 1e6) as u64, (down_mbit_s * 1e6) as u64);
        (self.up.queue, self.down.queue) = (bytes_in(buffers[0], self.up.rate), bytes_in(buffers[1], self.down.rate));
        self
    }

    /// Buffers that take so long to drain, both ways.
    pub fn buffer(mut self, time: Duration) -> Self {
        (self.up.queue, self.down.queue) = (bytes_in(time, self.up.rate), bytes_in(time, self.down.rate));
        self
    }

    /// Changes both directions: `line.both(|way| way.loss = 0.01)`.
    pub fn both(mut self, change: impl Fn(&mut Impairment)) -> Self {
        change(&mut self.up);
        change(&mut self.down);
        self
    }

    /// Another kind of NAT.
    pub fn nat(self, nat: NatKind) -> Self {
        Self { nat, ..self }
    }

    /// Another MTU of the line itself.
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// IPv6 as well.
    pub fn with_ipv6(self) -> Self {
        Self { ipv6: true, ..self }
    }
}

/// What a rate sends in a time.
fn bytes_in(time: Duration, rate: u64) -> u64 {
    (time.as_secs_f64() * rate as f64 / 8.0) as u64
}

/// The router at the far end of one line, or of all of them.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    host: Namespace,
    /// On the internet.
    number: u8,
    /// The NAT of all lines.
    shared: Option<(NatKind, Hop)>,
}

impl Provider {
    /// Adds it to the internet as 10.99.0.`number`.
    pub(super) fn new(lab: &Lab, internet: &Internet, name: &str, number: u8, shared: Option<NatKind>) -> Result<Self> {
        let host = lab.namespace(name)?;
        internet.attach_interface(lab, &host, OUT, number, &super::Uplink::default())?;
        host.ip(&format!("route add default via {}", Internet::ROUTER))?;
        become_router(&host)?;
        let shared = shared.map(|kind| (kind, Hop::new(&host, IN, Internet::address(number))));
        if let Some((kind, hop)) = &shared {
            ensure!(*kind != NatKind::Open, "one NAT of all lines is not an open one");
            hop.apply(*kind, &HouseholdOptions::default())?;
        }
        Ok(Self { host, number, shared })
    }
}

/// A line that is connected.
#[derive(Debug)]
pub struct Line {
    options: LineOptions,
    number: u8,
    home: Namespace,
    /// The home's router on this line.
    pub modem: Namespace,
    /// The router at its far end.
    pub provider: Namespace,
    wire: LabWire,
    /// The NATs between home and internet, the innermost first.
    hops: Vec<(NatKind, Hop)>,
    moved: bool,
}

impl Line {
    pub(super) fn connect(
        lab: &Lab,
        internet: &Internet,
        home: &Namespace,
        provider: &Provider,
        number: u8,
        options: &LineOptions,
    ) -> Result<Self> {
        let modem = lab.namespace(&format!("{}-modem", options.name))?;
        become_router(&modem)?;
        let far = if provider.shared.is_some() { format!("{IN}{number}") } else { IN.to_owned() };
        let wire = lab.labwire(End::new(&modem, OUT), End::new(&provider.host, &far), &options.up)?;
        wire.set(Direction::BToA, &options.down)?;
        let hops = hops(&modem, provider, number, options.nat);
        let (options, home, host) = (options.clone(), home.clone(), provider.host.clone());
        let line = Self { options, number, home, modem, provider: host, wire, hops, moved: false };
        line.number_wire(internet, provider, &far)?;
        line.attach()?;
        if line.options.ipv6 {
            line.connect_ipv6(internet, provider, &far)?;
        }
        line.hops.iter().try_for_each(|(kind, hop)| hop.apply(*kind, &HouseholdOptions::default()))?;
        Ok(line)
    }

    /// The interface at home.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// What it is now.
    pub fn options(&self) -> &LineOptions {
        &self.options
    }

    /// The part of it that has a character: A is the modem, B is the provider.
    pub fn wire(&self) -> &LabWire {
        &self.wire
    }

    /// The home's IPv4 address on this line.
    pub fn address(&self) -> Ipv4Addr {
        at_home(self.number, if self.moved { 3 } else { 2 })
    }

    /// The home's IPv6 address on this line, when it has one.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.options.ipv6.then(|| ipv6_at_home(self.number, 2))
    }

    /// What the internet sees this line's packets come from.
    pub fn external_address(&self) -> Ipv4Addr {
        self.hops.last().map_or_else(|| self.address(), |(_, hop)| hop.address)
    }

    /// Gives one direction another character from now on.
    pub fn set(&mut self, way: Way, impairment: &Impairment) -> Result<()> {
        match way {
            Way::Up => self.options.up = impairment.clone(),
            Way::Down => self.options.down = impairment.clone(),
        }
        self.wire.set(way.direction(), impairment)
    }

    /// Cuts it both ways between modem and provider: nothing at home tells of it.
    pub fn cut(&self) -> Result<()> {
        self.wire.down()
    }

    /// Cuts one direction only.
    pub fn cut_way(&self, way: Way) -> Result<()> {
        self.wire.set_down(way.direction(), true)
    }

    /// Mends what was cut.
    pub fn restore(&self) -> Result<()> {
        self.wire.up()
    }

    /// Switches the modem's port off or on: the home sees its carrier go or come. Address and route stay.
    pub fn carrier(&self, carrier: bool) -> Result<()> {
        self.modem.link_up(IN, carrier)
    }

    /// Takes the interface away from home, as an unplugged modem by USB.
    pub fn unplug(&self) -> Result<()> {
        self.home.ip(&format!("link del dev {}", self.name())).map(drop)
    }

    /// Brings the interface back, with what it had before.
    pub fn plug(&self) -> Result<()> {
        self.attach()?;
        if self.options.ipv6 { self.attach_ipv6() } else { Ok(()) }
    }

    /// Gives the home another IPv4 address on this line; what it had is gone. A second change brings the first back.
    pub fn change_address(&mut self) -> Result<()> {
        self.home.ip(&format!("-4 addr flush dev {}", self.name()))?;
        self.moved = !self.moved;
        self.number_home()
    }

    /// Takes the home's IPv4 address on this line away.
    pub fn lose_ipv4(&self) -> Result<()> {
        self.home.ip(&format!("-4 addr flush dev {}", self.name())).map(drop)
    }

    /// The outermost NAT forgets every mapping and takes other ports from now on.
    pub fn rebind(&mut self) -> Result<()> {
        let name = &self.options.name;
        let (kind, hop) = self.hops.last_mut().with_context(|| format!("{name} has no NAT that could be rebound"))?;
        hop.rebind(*kind, &HouseholdOptions::default())
    }

    /// Writes down every frame between home and modem from now on, into `NAME.pcapng` in the lab's directory, and remembers when
    /// each passed.
    pub fn capture(&self) -> Result<LineCapture> {
        let file = self.modem.dir().join(format!("{}.pcapng", self.name()));
        LineCapture::start(&self.modem, IN, &self.home.mac(self.name())?, file)
    }

    pub(super) fn set_preferred(&self, preferred: bool) -> Result<()> {
        // Whether it was preferred before is not known, and need not be.
        let _ = self.home.ip(&format!("route del default dev {} metric {METRIC_PREFERRED}", self.name()));
        if preferred { self.route(METRIC_PREFERRED) } else { Ok(()) }
    }

    /// Plugs the home into the modem.
    fn attach(&self) -> Result<()> {
        veth(End::new(&self.home, self.name()), End::new(&self.modem, IN), Offloads::Off)?;
        address(End::new(&self.modem, IN), &format!("{}/24", at_home(self.number, 1)))?;
        // Loose, as distributions have it: strict, the kernel would take every line but the best for a forger of answers.
        self.home.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        self.home.sysctl(&format!("net/ipv4/conf/{}/rp_filter", self.name()), "2")?;
        self.number_home()
    }

    /// The home's address and route.
    fn number_home(&self) -> Result<()> {
        address(End::new(&self.home, self.name()), &format!("{}/24", self.address()))?;
        self.route(METRIC * u32::from(self.number))
    }

    fn route(&self, metric: u32) -> Result<()> {
        let gateway = at_home(self.number, 1);
        self.home.ip(&format!("route replace default via {gateway} dev {} metric {metric}", self.name())).map(drop)
    }

    /// Addresses and routes from the modem to the internet.
    fn number_wire(&self, internet: &Internet, provider: &Provider, far: &str) -> Result<()> {
        let (modem, host) = (End::new(&self.modem, OUT), End::new(&provider.host, far));
        let (near_ip, far_ip) = (on_wire(self.number, 2), on_wire(self.number, 1));
        address(modem, &format!("{near_ip}/24"))?;
        address(host, &format!("{far_ip}/24"))?;
        for end in [modem, host] {
            end.host.ip(&format!("link set dev {} mtu {}", end.interface, self.options.mtu))?;
        }
        // A line of this kind has no ARP, which could be lost on it, or fail at once where a cut is to be silent.
        for (end, other, ip) in [(modem, host, far_ip), (host, modem, near_ip)] {
            let mac = other.host.mac(other.interface)?;
            end.host.ip(&format!("neigh replace {ip} lladdr {mac} dev {} nud permanent", end.interface))?;
        }
        self.modem.ip(&format!("route add default via {far_ip}"))?;
        let behind = format!("{}/24", at_home(self.number, 0));
        provider.host.ip(&format!("route add {behind} via {near_ip}"))?;
        for network in [behind, format!("{}/24", on_wire(self.number, 0))] {
            internet.switch().host().ip(&format!("route add {network} via {}", Internet::address(provider.number)))?;
        }
        Ok(())
    }

    fn connect_ipv6(&self, internet: &Internet, provider: &Provider, far: &str) -> Result<()> {
        let via = |end| Ipv6Addr::new(0x2001, 0xdb8, 0x98, self.number.into(), 0, 0, 0, end);
        for (host, interface, end) in [(&self.modem, OUT, 2), (&provider.host, far, 1)] {
            host.ip(&format!("addr add {}/64 dev {interface} nodad", via(end)))?;
            give_local(host, interface, end)?;
            host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        self.modem.ip(&format!("-6 route add default via {}", via(1)))?;
        if provider.shared.is_none() || self.number == 1 {
            internet.attach_ipv6(&provider.host, OUT, provider.number)?;
            give_local(&provider.host, OUT, provider.number.into())?;
        }
        let behind = format!("{}/64", ipv6_at_home(self.number, 0));
        provider.host.ip(&format!("-6 route add {behind} via {}", via(2)))?;
        internet.switch().host().ip(&format!("-6 route add {behind} via {}", Internet::ipv6(provider.number)))?;
        // A port that is switched off and on is still the same router.
        self.modem.sysctl("net/ipv6/conf/all/keep_addr_on_down", "1")?;
        self.attach_ipv6()
    }

    fn attach_ipv6(&self) -> Result<()> {
        self.modem.ip(&format!("addr add {}/64 dev {IN} nodad", ipv6_at_home(self.number, 1)))?;
        give_local(&self.modem, IN, 1)?;
        self.home.ip(&format!("addr add {}/64 dev {} nodad", ipv6_at_home(self.number, 2), self.name()))?;
        let metric = METRIC * u32::from(self.number);
        let route = format!("-6 route add default via {} dev {} metric {metric}", ipv6_at_home(self.number, 1), self.name());
        self.home.ip(&route).map(drop)
    }
}

/// The NATs of a line's own, and the one that it shares, the innermost first.
fn hops(modem: &Namespace, provider: &Provider, number: u8, kind: NatKind) -> Vec<(NatKind, Hop)> {
    let mut hops = Vec::new();
    if kind != NatKind::Open {
        hops.push((kind, Hop::new(modem, IN, on_wire(number, 2))));
    }
    if kind == NatKind::Carrier && provider.shared.is_none() {
        hops.push((kind, Hop::new(&provider.host, IN, Internet::address(provider.number))));
    }
    hops.extend(provider.shared.clone());
    hops
}

fn become_router(host: &Namespace) -> Result<()> {
    host.sysctl("net/ipv4/ip_forward", "1")?;
    for interface in ["all", "default"] {
        host.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    Ok(())
}

/// A router asks for the neighbours of others from its link-local address (RFC 4861 §7.2.2), which the lab's hosts lack.
fn give_local(host: &Namespace, interface: &str, end: u16) -> Result<()> {
    host.ip(&format!("addr add {}/64 dev {interface} nodad", Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, end))).map(drop)
}

const fn at_home(number: u8, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 96, number, end)
}

const fn on_wire(number: u8, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, number, end)
}

const fn ipv6_at_home(number: u8, end: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x96, number as u16, 0, 0, 0, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_a_time_whatever_the_rate() {
        let line = LineOptions::new("dsl0", 30.0, 10.0);
        assert_eq!((line.up.rate, line.up.queue, line.up.delay), (30_000_000, 187_500, Duration::from_millis(10)));
        let line = line.buffer(Duration::from_millis(200)).rates(10.0, 50.0);
        assert_eq!((line.up.queue, line.down.queue), (250_000, 1_250_000));
    }
}
