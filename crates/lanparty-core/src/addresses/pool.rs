//! The networks that a relay gives to rooms, one each.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use lanparty_proto::is_private_network;

/// Shortest and longest prefix of a room's network: 16 million machines, and 5.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=29;

/// Networks of one size, one after the other: `10.128.0.0-10.255.255.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressPool {
    first: u32,
    last: u32,
    prefix: u8,
}

impl Default for AddressPool {
    /// The upper half of 10.0.0.0/8, as users of n3n know it.
    fn default() -> Self {
        Self { first: u32::from(Ipv4Addr::new(10, 128, 0, 0)), last: u32::from(Ipv4Addr::new(10, 255, 255, 0)), prefix: 24 }
    }
}

/// The text is no pool, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pool of addresses: {why}; write FIRST-LAST/PREFIX, as 10.128.0.0-10.255.255.0/24")]
pub struct InvalidPool {
    text: String,
    why: String,
}

impl FromStr for AddressPool {
    type Err = InvalidPool;

    fn from_str(text: &str) -> Result<Self, InvalidPool> {
        parse(text).map_err(|why| InvalidPool { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<AddressPool, String> {
    let (range, prefix) = text.split_once('/').ok_or("the length of the prefix is missing")?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let network = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| format!("`{text}` is no IPv4 address"));
    let (first, last) = (network(first)?, network(last)?);
    let prefix: u8 = prefix.trim().parse().map_err(|_| format!("`{prefix}` is no length of a prefix"))?;
    if !PREFIXES.contains(&prefix) {
        return Err(format!("a room's network has a prefix of {} to {}, not {prefix}", PREFIXES.start(), PREFIXES.end()));
    }
    if first > last {
        return Err(format!("{first} lies behind {last}"));
    }
    let pool = AddressPool { first: first.into(), last: last.into(), prefix };
    if let Some(inside) = [first, last].into_iter().find(|address| u32::from(*address) % pool.size() != 0) {
        return Err(format!("{inside} is not where a network of /{prefix} begins"));
    }
    let (start, end) = (pool.network(0), pool.network(pool.networks() - 1));
    // Both ends may be private and what lies between them not.
    let is_private = is_private_network(start) && is_private_network(end) && first.octets()[0] == last.octets()[0];
    if !is_private {
        return Err("only private networks are a relay's to assign: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10".into());
    }
    Ok(pool)
}

impl AddressPool {
    /// How many networks there are.
    #[must_use]
    pub const fn networks(&self) -> u32 {
        (self.last - self.first) / self.size() + 1
    }

    /// One of them; it begins again behind the last.
    #[must_use]
    pub fn network(&self, number: u32) -> Ipv4Net {
        let start = self.first + (number % self.networks()) * self.size();
        Ipv4Net::new(start.into(), self.prefix).expect("INVARIANT: a pool's prefix is one of IPv4's")
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, network: Ipv4Net) -> bool {
        network.prefix_len() == self.prefix && network.trunc() == network && (self.first..=self.last).contains(&network.network().into())
    }

    /// The number of the first network behind `other`.
    pub(super) fn behind(&self, other: Ipv4Net) -> u32 {
        (u32::from(other.broadcast()).max(self.first) - self.first) / self.size() + 1
    }

    const fn size(&self) -> u32 {
        1 << (32 - self.prefix)
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}/{}", Ipv4Addr::from(self.first), Ipv4Addr::from(self.last), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_as_people_write_it_and_is_written_the_same() {
        let pool: AddressPool = "10.128.0.0-10.255.255.0/24".parse().unwrap();
        assert_eq!((pool, pool.networks()), (AddressPool::default(), 32_768));
        assert_eq!(pool.to_string().parse(), Ok(pool));
        assert_eq!(pool.network(1).to_string(), "10.128.1.0/24");
        assert_eq!(pool.network(32_768), pool.network(0));
        let one: AddressPool = "192.168.7.0/24".parse().unwrap();
        assert_eq!((one.networks(), one.network(9).to_string()), (1, "192.168.7.0/24".to_owned()));
        assert!(one.contains(one.network(0)) && !one.contains(pool.network(0)) && !one.contains("192.168.7.9/24".parse().unwrap()));
        assert_eq!("10.0.0.0-10.255.0.0/16".parse::<AddressPool>().unwrap().networks(), 256);
    }

    #[test]
    fn what_is_no_pool_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "prefix is missing"),
            ("10.0.0.0", "prefix is missing"),
            ("10.0.0.0/33", "8 to 29, not 33"),
            ("10.0.0.0/30", "8 to 29, not 30"),
            ("10.0.0.0/x", "`x` is no length"),
            ("10.0.0/24", "`10.0.0` is no IPv4 address"),
            ("10.9.0.0-10.8.0.0/24", "10.9.0.0 lies behind 10.8.0.0"),
            ("10.0.0.5/24", "10.0.0.5 is not where a network of /24 begins"),
            ("10.0.0.0-10.0.1.9/24", "10.0.1.9 is not where"),
            ("126.0.0.0-128.0.0.0/8", "only private networks"),
            ("203.0.113.0/24", "only private networks"),
            ("10.0.0.0-192.168.0.0/24", "only private networks"),
            ("10.255.0.0-11.0.0.0/16", "only private networks"),
            ("169.254.7.0/24", "only private networks"),
        ] {
            let error = text.parse::<AddressPool>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("FIRST-LAST/PREFIX"), "{text}: {error}");
        }
    }
}
