//! One `--address`, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Prefixes where none is said: the networks of n3n and of RFC 4291 §2.5.4.
const PREFIX_IPV4: u8 = 24;
const PREFIX_IPV6: u8 = 64;

/// Where an address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFlag {
    /// The relay assigns it.
    Auto,
    /// The LAN's DHCP server gives it.
    Dhcp,
    /// The user says it.
    Static(IpNet),
    /// There is none.
    None,
}

impl FromStr for AddressFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "dhcp" => Ok(Self::Dhcp),
            "none" => Ok(Self::None),
            _ => parse_static(text.strip_prefix("static:").unwrap_or(text)).map(Self::Static),
        }
    }
}

impl fmt::Display for AddressFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Dhcp => f.write_str("dhcp"),
            Self::Static(net) => write!(f, "static:{net}"),
            Self::None => f.write_str("none"),
        }
    }
}

fn parse_static(text: &str) -> Result<IpNet, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr =
        address.parse().map_err(|_| format!("`{text}` is none of auto, dhcp, none, static:192.168.8.5/24, static:fd00:1::6/64"))?;
    let (usual, longest) = if address.is_ipv4() { (PREFIX_IPV4, 32) } else { (PREFIX_IPV6, 128) };
    let number = |prefix: &str| prefix.parse().map_err(|_| format!("`{prefix}` is no length of a prefix; write {address}/{usual}"));
    let prefix = prefix.map_or(Ok(usual), number)?;
    if !(1..=longest).contains(&prefix) {
        return Err(format!("a prefix of {address} has 1 to {longest} bits, not {prefix}; most networks have /{usual}"));
    }
    let net = IpNet::new(address, prefix).map_err(|e| e.to_string())?;
    match net {
        IpNet::V4(net) => check_ipv4(net)?,
        IpNet::V6(net) => check_ipv6(net)?,
    }
    Ok(net)
}

fn check_ipv4(net: Ipv4Net) -> Result<(), String> {
    let address = net.addr();
    let first = address.octets()[0];
    if address.is_multicast() || address.is_loopback() || first == 0 || first >= 240 {
        return Err(format!("{address} cannot be a machine's address on a LAN"));
    }
    // A network of two has neither (RFC 3021).
    if net.prefix_len() < 31 && address == net.network() {
        return Err(format!("{address} is the network {net} itself; a machine has one of {}", hosts(net)));
    }
    if net.prefix_len() < 31 && address == net.broadcast() {
        return Err(format!("{address} is the broadcast address of {}; a machine has one of {}", net.trunc(), hosts(net)));
    }
    Ok(())
}

fn check_ipv6(net: Ipv6Net) -> Result<(), String> {
    let address = net.addr();
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() || address.to_ipv4_mapped().is_some() {
        return Err(format!("{address} cannot be a machine's address on a LAN"));
    }
    if net.prefix_len() < 127 && address == net.network() {
        return Err(format!("{address} is every router's of {net} (RFC 4291 §2.6.1); take {} for example", next(address)));
    }
    Ok(())
}

fn hosts(net: Ipv4Net) -> String {
    let (first, last) = (u32::from(net.network()) + 1, u32::from(net.broadcast()) - 1);
    format!("{} to {}", Ipv4Addr::from(first), Ipv4Addr::from(last))
}

fn next(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address).wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them_and_have_the_usual_prefix() {
        for (text, read) in [
            ("auto", "auto"),
            ("dhcp", "dhcp"),
            ("none", "none"),
            ("static:192.168.8.5/16", "static:192.168.8.5/16"),
            ("static:192.168.8.5", "static:192.168.8.5/24"),
            ("192.168.8.5", "static:192.168.8.5/24"),
            ("static:fd00:1::6", "static:fd00:1::6/64"),
            ("fd00:1::6/48", "static:fd00:1::6/48"),
            ("static:10.0.0.0/31", "static:10.0.0.0/31"),
            ("static:10.0.1.0/16", "static:10.0.1.0/16"),
        ] {
            assert_eq!(text.parse::<AddressFlag>().unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "is none of auto, dhcp"),
            ("static:", "is none of auto, dhcp"),
            ("static:auto", "is none of auto, dhcp"),
            ("Auto", "is none of auto, dhcp"),
            ("static:192.168.8", "is none of auto, dhcp"),
            ("static:192.168.8.5/33", "1 to 32 bits, not 33; most networks have /24"),
            ("static:192.168.8.5/0", "1 to 32 bits, not 0"),
            ("static:192.168.8.5/256", "`256` is no length of a prefix"),
            ("static:192.168.8.5/", "`` is no length of a prefix"),
            ("static:fd00:1::6/129", "1 to 128 bits, not 129; most networks have /64"),
            (
                "static:192.168.8.0/24",
                "192.168.8.0 is the network 192.168.8.0/24 itself; a machine has one of 192.168.8.1 to 192.168.8.254",
            ),
            ("static:192.168.8.255", "192.168.8.255 is the broadcast address of 192.168.8.0/24"),
            ("static:224.0.0.5", "cannot be a machine's"),
            ("static:127.0.0.1/8", "cannot be a machine's"),
            ("static:0.0.0.0/24", "cannot be a machine's"),
            ("static:255.255.255.255/32", "cannot be a machine's"),
            ("static:fd00:1::/64", "fd00:1:: is every router's of fd00:1::/64 (RFC 4291 §2.6.1); take fd00:1::1"),
            ("static:ff02::1", "cannot be a machine's"),
            ("static:::1", "cannot be a machine's"),
        ] {
            let error = text.parse::<AddressFlag>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
