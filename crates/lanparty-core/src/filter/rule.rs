//! One rule: from where to where, and what it says of each protocol.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::{Family, number};

/// Whether a packet passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    #[default]
    Accept,
    /// It does not.
    Drop,
}

impl Verdict {
    /// As files and reports spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        }
    }
}

/// What rules tell apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of the packet's family, neighbour discovery not among it.
    Icmp,
    /// Any other protocol of IP.
    Other,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Icmp, Self::Other];

    /// As files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    pub(super) const fn of(number: u8, family: Family) -> Self {
        match (number, family) {
            (6, _) => Self::Tcp,
            (17, _) => Self::Udp,
            (1, Family::V4) | (58, Family::V6) => Self::Icmp,
            _ => Self::Other,
        }
    }

    pub(super) const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp)
    }
}

/// Addresses with a prefix in common; no bit is set behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    address: IpAddr,
    prefix_len: u8,
}

impl Net {
    /// The addresses whose first `prefix_len` bits are those of `address`.
    ///
    /// # Errors
    /// In words, when the prefix is longer than the address, or the address has bits behind it.
    pub fn new(address: IpAddr, prefix_len: u8) -> Result<Self, String> {
        let (bits, name) = if address.is_ipv4() { (32, "IPv4") } else { (128, "IPv6") };
        if prefix_len > bits {
            return Err(format!("the prefix /{prefix_len} is longer than an {name} address, which has {bits} bits"));
        }
        let net = Self { address, prefix_len };
        let (family, value) = number(address);
        if value & !net.mask() & Self::family_mask(family) == 0 {
            return Ok(net);
        }
        let masked = value & net.mask();
        let first: IpAddr = match family {
            // The mask of a family leaves no more bits than it has.
            Family::V4 => std::net::Ipv4Addr::from_bits(u32::try_from(masked).unwrap_or_default()).into(),
            Family::V6 => std::net::Ipv6Addr::from_bits(masked).into(),
        };
        Err(format!(
            "{address}/{prefix_len} names a host within a net: write {first}/{prefix_len} for the net, or {address}/{bits} for the host"
        ))
    }

    /// How many bits decide.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether they are IPv4 addresses.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    pub(super) fn family(&self) -> Family {
        number(self.address).0
    }

    pub(super) fn value(&self) -> u128 {
        number(self.address).1
    }

    /// The bits that decide.
    pub(super) fn mask(&self) -> u128 {
        mask(self.family(), self.prefix_len)
    }

    const fn family_mask(family: Family) -> u128 {
        mask(family, if matches!(family, Family::V4) { 32 } else { 128 })
    }
}

/// The first `prefix_len` bits of an address.
pub(super) const fn mask(family: Family, prefix_len: u8) -> u128 {
    let bits: u8 = if matches!(family, Family::V4) { 32 } else { 128 };
    let all = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
    if prefix_len == 0 { 0 } else { (all << (bits - prefix_len)) & all }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, which is no smaller.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// From `first` to `last`.
    ///
    /// # Errors
    /// In words, when they are the wrong way round.
    pub fn new(first: u16, last: u16) -> Result<Self, String> {
        if first <= last {
            return Ok(Self { first, last });
        }
        Err(format!("the port range from {first} to {last} is the wrong way round: write [{last},{first}]"))
    }

    pub(super) const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "[{},{}]", self.first, self.last) }
    }
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterRule {
    /// What its author calls it.
    pub name: Option<String>,
    /// From where; nothing for anywhere, in either family.
    pub src: Option<Net>,
    /// From which ports.
    pub src_ports: PortRange,
    /// To where; nothing for anywhere, in either family.
    pub dst: Option<Net>,
    /// To which ports.
    pub dst_ports: PortRange,
    /// What it says of each of [`Protocol::ALL`]: of some nothing.
    pub verdicts: [Option<Verdict>; 4],
}

impl FilterRule {
    /// What it says of that protocol.
    #[must_use]
    pub fn says(&self, protocol: Protocol) -> Option<Verdict> {
        let [tcp, udp, icmp, other] = self.verdicts;
        match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
            Protocol::Icmp => icmp,
            Protocol::Other => other,
        }
    }

    /// Whether it can match packets of that family.
    pub(super) fn is_of(&self, family: Family) -> bool {
        [self.src, self.dst].into_iter().flatten().all(|net| net.family() == family)
    }

    /// What it is chosen by: bits of both prefixes.
    #[must_use]
    pub fn specificity(&self) -> u16 {
        [self.src, self.dst].into_iter().flatten().map(|net| u16::from(net.prefix_len())).sum()
    }
}

impl fmt::Display for FilterRule {
    /// The rule as `--filter-rule` takes it, where that has words for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (net, ports) in [(self.src, self.src_ports), (self.dst, self.dst_ports)] {
            match net {
                Some(net) => write!(f, "{net}")?,
                None => f.write_str("any")?,
            }
            if ports != PortRange::ALL {
                write!(f, ":{ports}")?;
            }
            f.write_str(",")?;
        }
        let said = Protocol::ALL.into_iter().filter_map(|protocol| Some((protocol, self.says(protocol)?)));
        for (n, (protocol, verdict)) in said.enumerate() {
            let sign = if verdict == Verdict::Accept { '+' } else { '-' };
            write!(f, "{}{}{sign}", if n > 0 { "," } else { "" }, protocol.as_str().to_uppercase())?;
        }
        Ok(())
    }
}
