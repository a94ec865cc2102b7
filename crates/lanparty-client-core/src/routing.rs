//! Networks behind members: those that this client routes for (`--route-from`), and those that it reaches through others (`--route`,
//! `lanparty route`). What this means for the machine is `Host`'s business.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use lanparty_proto::{MacAddr, MemberId, MemberInfo, Role};
use schemars::JsonSchema;
use serde::Serialize;

/// Networks of each kind that one client takes.
pub(crate) const NETWORKS_MAX: usize = 64;

/// One `--route-from`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteFrom(pub Vec<IpNet>);

impl FromStr for RouteFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self(vec![all(true), all(false)]));
        }
        let net = parse_network(text)?;
        if net.prefix_len() == 0 {
            return Err(format!("{net} is every address there is; say --route-from any if this machine is to route for all the world"));
        }
        Ok(Self(vec![net]))
    }
}

/// One `--route`: a network, and the member that leads there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteFlag {
    /// The network.
    pub network: IpNet,
    /// The member, as it was named.
    pub via: String,
}

impl FromStr for RouteFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (network, via) =
            text.split_once('=').ok_or_else(|| "write NETWORK=MEMBER, for example 192.168.50.0/24=02:00:00:00:00:07".to_owned())?;
        Ok(Self { network: parse_route(network)?, via: parse_member(via)? })
    }
}

impl fmt::Display for RouteFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.network, self.via)
    }
}

/// A network to reach, where `default` is all of IPv4.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn parse_route(text: &str) -> Result<IpNet, String> {
    if text == "default" { Ok(all(true)) } else { parse_network(text) }
}

/// A peer number or a MAC address.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn parse_member(text: &str) -> Result<String, String> {
    let is_known = text.parse::<MacAddr>().is_ok() || text.parse::<u16>().is_ok();
    if is_known { Ok(text.to_owned()) } else { Err(format!("`{text}` is no member: say its MAC address, or its peer number")) }
}

/// What a route through a member has for its next hop. No LAN has it: a link-local address made of the member's number.
#[must_use]
pub fn next_hop(network: IpNet, member: MemberId) -> IpAddr {
    let number = member.0;
    match network {
        // The first and last 256 are reserved (RFC 3927 §2.1).
        IpNet::V4(_) => Ipv4Addr::new(169, 254, (number / 254 % 254) as u8 + 1, (number % 254) as u8 + 1).into(),
        IpNet::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0x6c61, 0x6e70, 0x6172, number).into(),
    }
}

/// What a network is in the system's table. All the world is two halves: each is more specific than the route that is there, which stays.
#[must_use]
pub fn parts(network: IpNet) -> Vec<IpNet> {
    if network.prefix_len() == 0 { network.subnets(1).map(Iterator::collect).unwrap_or_default() } else { vec![network] }
}

const fn all(is_ipv4: bool) -> IpNet {
    if is_ipv4 { IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) } else { IpNet::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0) }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let no_network = |_| format!("`{text}` is no network; write one as 192.168.50.0/24, or default for all of IPv4");
    let address: IpAddr = address.parse().map_err(no_network)?;
    let (usual, longest) = if address.is_ipv4() { (24, 32) } else { (64, 128) };
    let prefix = prefix.ok_or_else(|| format!("`{text}` has no length; write {text}/{usual} for a network, or /{longest} for one host"))?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest);
    let prefix = prefix.ok_or_else(|| format!("`{text}` is no network: its length is a number from 0 to {longest}"))?;
    let net = IpNet::new(address, prefix).map_err(|e| e.to_string())?;
    if net.trunc() != net {
        return Err(format!("{net} has bits behind its length: {} is the network, {address}/{longest} this one host", net.trunc()));
    }
    let is_special = match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_loopback() || v4.is_link_local() || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_loopback() || v6.is_unicast_link_local(),
    };
    if is_special && net.prefix_len() > 0 { Err(format!("{net} is not routed by anybody")) } else { Ok(net) }
}

/// A network reached through a member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub(crate) struct Route {
    /// The network.
    #[schemars(with = "String")]
    pub(crate) network: IpNet,
    /// The member, as it was named.
    pub(crate) via: String,
    #[serde(flatten)]
    pub(crate) state: RouteState,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "state")]
pub(crate) enum RouteState {
    /// The system has it.
    Set {
        /// The member's number.
        peer: MemberId,
        /// Its MAC address.
        mac: MacAddr,
    },
    /// It is set as soon as that is over.
    Waiting {
        /// Why it is not set.
        because: String,
    },
}

/// What a new route is judged by.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// Networks behind this machine.
    pub(crate) behind: Vec<IpNet>,
    /// The networks of the TAP.
    pub(crate) of_room: Vec<IpNet>,
    /// The relay, and whether what goes there keeps to another interface whatever the routes say.
    pub(crate) relay: Option<(IpAddr, bool)>,
}

/// Whether a route to this network may be set.
///
/// # Errors
/// Why not, in words.
pub(crate) fn judge(network: IpNet, around: &Surroundings) -> Result<(), String> {
    let meets = |other: &&IpNet| other.contains(&network) || network.contains(*other);
    // Networks of all the world do not say where anything is.
    if let Some(behind) = around.behind.iter().filter(|net| net.prefix_len() > 0).find(meets) {
        return Err(format!(
            "{network} meets {behind}, which is behind this machine (--route-from): packets for it would go round in a circle"
        ));
    }
    if let Some(room) = around.of_room.iter().find(|room| room.contains(&network)) {
        return Err(format!("{network} is in {}, the room's own network: its members are reached without a route", room.trunc()));
    }
    match around.relay {
        Some((relay, false)) if network.contains(&relay) => Err(format!(
            "{network} has the relay in it ({relay}), and this program may not bind its sockets to the way there (CAP_NET_RAW): the tunnel would go through itself"
        )),
        Some((relay, _)) if network.prefix_len() == network.max_prefix_len() && network.addr() == relay => {
            Err(format!("{relay} is the relay itself, which carries the tunnel: it is not reached through it"))
        }
        _ => Ok(()),
    }
}

/// The member that a route leads through, when it is there and can route.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn member_of<'a>(via: &str, members: impl Iterator<Item = &'a MemberInfo>, own: &MemberInfo) -> Result<&'a MemberInfo, String> {
    let is_meant = |member: &MemberInfo| via.parse() == Ok(member.mac) || via.parse() == Ok(member.id.0);
    if is_meant(own) {
        return Err(format!("{via} is this machine itself"));
    }
    let mut members = members;
    match members.find(|member| is_meant(member)) {
        None => Err(format!("member {via} is not in the room")),
        Some(member) if member.role == Role::Gateway => Err(format!(
            "member {via} is a gateway: it bridges its LAN and routes nothing; the LAN's own router is reached by its address (ip route add NETWORK via ADDRESS)"
        )),
        Some(member) => Ok(member),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_a_next_hop_and_all_the_world_is_two_halves() {
        let everything: IpNet = "0.0.0.0/0".parse().unwrap();
        assert_eq!(next_hop(everything, MemberId(1)).to_string(), "169.254.1.2");
        assert_ne!(next_hop(everything, MemberId(254)), next_hop(everything, MemberId(508)));
        assert_eq!(next_hop("::/0".parse().unwrap(), MemberId(0x1234)).to_string(), "fe80::6c61:6e70:6172:1234");
        assert_eq!(parts(everything).iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(parts("10.0.0.0/8".parse().unwrap()).len(), 1);
    }

    #[test]
    fn networks_read_as_people_write_them_and_what_is_none_is_refused_with_words() {
        for good in ["192.168.50.0/24", "10.0.0.7/32", "fd00:50::/48", "2001:db8::1/128"] {
            assert_eq!(good.parse::<RouteFrom>().unwrap().0, [good.parse::<IpNet>().unwrap()]);
        }
        for (bad, why) in [
            ("10.0.0.0/33", "a number from 0 to 32"),
            ("fd00::/129", "a number from 0 to 128"),
            ("10.0.0.0/x", "a number from 0 to 32"),
            ("10.0.0.0", "write 10.0.0.0/24 for a network, or /32"),
            ("fd00::1", "write fd00::1/64 for a network, or /128"),
            ("foo", "`foo` is no network; write one as 192.168.50.0/24"),
            ("here/24", "`here/24` is no network"),
            ("10.0.0.9/24", "10.0.0.0/24 is the network, 10.0.0.9/32 this one host"),
            ("0.0.0.0/0", "say --route-from any"),
            ("::/0", "say --route-from any"),
            ("239.0.0.0/8", "not routed"),
            ("127.0.0.0/8", "not routed"),
            ("fe80::/64", "not routed"),
        ] {
            let error = bad.parse::<RouteFrom>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert_eq!("any".parse::<RouteFrom>().unwrap().0.len(), 2);
        let route: RouteFlag = "default=7".parse().unwrap();
        assert_eq!((route.network.to_string(), route.via.as_str()), ("0.0.0.0/0".into(), "7"));
        assert!("10.0.0.0/24=bob".parse::<RouteFlag>().unwrap_err().contains("MAC address"));
        assert!("10.0.0.0/24".parse::<RouteFlag>().unwrap_err().contains("NETWORK=MEMBER"));
    }

    #[test]
    fn a_route_that_would_loop_is_refused() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let around = Surroundings {
            behind: vec![net("192.168.50.0/24"), net("0.0.0.0/0")],
            of_room: vec![net("10.60.0.11/24")],
            relay: Some(("203.0.113.9".parse().unwrap(), true)),
        };
        for (network, why) in [
            ("192.168.50.128/25", "behind this machine"),
            ("192.168.0.0/16", "behind this machine"),
            ("10.60.0.0/25", "the room's own network"),
            ("203.0.113.9/32", "the relay itself"),
        ] {
            let error = judge(net(network), &around).unwrap_err();
            assert!(error.contains(why), "{network}: {error}");
        }
        for good in ["192.168.60.0/24", "10.0.0.0/8", "203.0.113.0/24"] {
            assert_eq!(judge(net(good), &around), Ok(()), "{good}");
        }
        assert_eq!(judge(net("0.0.0.0/0"), &Surroundings { behind: vec![], ..around }), Ok(()));
        let unbound = Surroundings { relay: Some(("203.0.113.9".parse().unwrap(), false)), ..Surroundings::default() };
        assert!(judge(net("0.0.0.0/0"), &unbound).unwrap_err().contains("through itself"));
    }

    #[test]
    fn a_member_is_found_by_number_or_address_and_a_gateway_routes_nothing() {
        let info = |id: u16, role| MemberInfo {
            id: MemberId(id),
            role,
            mac: MacAddr([2, 0, 0, 0, 0, id as u8]),
            lan_up: true,
            path_mtu: None,
            description: None,
        };
        let (own, all) = (info(1, Role::Client), [info(2, Role::Client), info(3, Role::Gateway)]);
        let find = |via: &str| member_of(via, all.iter(), &own).map(|member| member.id.0);
        assert_eq!((find("2"), find("02:00:00:00:00:02")), (Ok(2), Ok(2)));
        for (via, why) in [("1", "this machine itself"), ("3", "bridges its LAN"), ("9", "not in the room")] {
            assert!(find(via).unwrap_err().contains(why), "{via}");
        }
    }
}
