//! The uplinks that a bond uses: what its owner says of each, and what the system says happens to them.

use std::net::SocketAddr;
use std::str::FromStr;

use lanparty_core::CapUse;
use lanparty_doctor::BondUplink;
use lanparty_nic::InterfaceFacts;
use lanparty_proto::BondRole;
#[cfg(not(windows))]
use rtnetlink::MulticastGroup;
use serde::Serialize;
use tokio::sync::watch;
#[cfg(not(windows))]
use tracing::warn;

use crate::CongestionControl;
use crate::uplink::Place;

/// The kind of link that a TAP is, and a TUN is not.
const ARPHRD_ETHER: u16 = 1;

/// What an uplink is for, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkPlan {
    /// The interface.
    pub interface: String,
    /// What it is used for; nothing for never.
    pub role: Option<BondRole>,
    /// Bytes that it may carry in a month, both ways together.
    pub cap: Option<u64>,
    /// The most that it is given to carry away and back, in bits per second.
    pub rate: Option<(u64, u64)>,
    /// How fast it is sent on.
    pub congestion: CongestionControl,
}

/// An uplink in `lanparty status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UplinkReport {
    /// Its interface, what is known of the line behind it, and why it carries nothing, when it does not.
    #[serde(flatten)]
    pub line: BondUplink,
    /// The number of its path.
    pub path: u8,
    /// What it is used for now.
    pub role: BondRole,
    /// Bytes that it has carried this month for lanparty, both ways together, headers in it.
    pub month_bytes: u64,
    /// Its cap, when it has one, and what is used of it.
    pub cap: Option<CapUse>,
}

impl UplinkPlan {
    /// An interface that is used for whatever it carries.
    #[must_use]
    pub const fn plain(interface: String) -> Self {
        Self { interface, role: Some(BondRole::Primary), cap: None, rate: None, congestion: CongestionControl::Delay }
    }
}

impl FromStr for UplinkPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',');
        let interface = parts.next().filter(|name| !name.is_empty()).ok_or("an uplink begins with the name of its interface")?;
        let mut plan = Self::plain(interface.to_owned());
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is none of role=…, cap=…, rate=…, cc=…"))?;
            match key {
                "role" => plan.role = role(value)?,
                "cap" => plan.cap = Some(cap(value)?),
                "rate" => plan.rate = Some(rates(value)?),
                "cc" => plan.congestion = congestion(value)?,
                _ => return Err(format!("`{key}` is none of role, cap, rate, cc")),
            }
        }
        Ok(plan)
    }
}

fn role(value: &str) -> Result<Option<BondRole>, String> {
    match value {
        "primary" => Ok(Some(BondRole::Primary)),
        "secondary" => Ok(Some(BondRole::Secondary)),
        "backup" => Ok(Some(BondRole::Backup)),
        "never" => Ok(None),
        _ => Err(format!("role `{value}` is none of primary, secondary, backup, never")),
    }
}

fn congestion(value: &str) -> Result<CongestionControl, String> {
    match value {
        "delay" => Ok(CongestionControl::Delay),
        "cubic" => Ok(CongestionControl::Cubic),
        "bbr" => Ok(CongestionControl::Bbr),
        _ => Err(format!("cc `{value}` is none of delay, cubic, bbr")),
    }
}

/// Gigabytes, as contracts count them: of 10^9 bytes.
fn cap(value: &str) -> Result<u64, String> {
    let digits = value.strip_suffix("GB/month").or_else(|| value.strip_suffix("GB")).unwrap_or(value);
    let gigabytes: f64 = digits.trim().parse().map_err(|_| format!("cap `{value}` is no number of gigabytes, as in cap=50GB/month"))?;
    let is_sane = gigabytes.is_finite() && (0.001..=1e6).contains(&gigabytes);
    is_sane.then_some((gigabytes * 1e9) as u64).ok_or_else(|| format!("cap `{value}` is not between 0.001 and 1000000 GB"))
}

/// Megabits per second, or with k, M or G behind the number.
fn rates(value: &str) -> Result<(u64, u64), String> {
    let (up, down) = value.split_once('/').ok_or_else(|| format!("rate `{value}` is not UP/DOWN in Mbit/s, as in rate=10/50"))?;
    Ok((rate(up)?, rate(down)?))
}

fn rate(value: &str) -> Result<u64, String> {
    let (digits, unit) = match value.strip_suffix(['k', 'M', 'G']) {
        Some(digits) if value.ends_with('k') => (digits, 1e3),
        Some(digits) if value.ends_with('G') => (digits, 1e9),
        Some(digits) => (digits, 1e6),
        None => (value, 1e6),
    };
    let bits = digits.parse::<f64>().map_err(|_| format!("rate `{value}` is no number of Mbit/s"))? * unit;
    let is_sane = bits.is_finite() && (64e3..=1e12).contains(&bits);
    is_sane.then_some(bits as u64).ok_or_else(|| format!("rate `{value}` is not between 64k and 1000G"))
}

/// The place that an uplink gives this machine on its way to `remote`, while there is one.
pub(crate) fn place_toward(remote: SocketAddr, interface: &str) -> Option<Place> {
    if !is_connected(interface) {
        return None;
    }
    Place::toward(remote, Some(interface)).filter(|place| place.interface == interface)
}

/// Whether an interface is there, switched on, and its cable plugged in as far as it has one.
pub(crate) fn is_connected(interface: &str) -> bool {
    lanparty_nic::interface_facts(interface).is_ok_and(|facts| facts.exists && facts.is_up && facts.carrier != Some(false))
}

/// What is in the way of using an interface at all, in words.
pub(crate) fn obstacle(name: &str) -> Option<String> {
    match lanparty_nic::interface_facts(name) {
        Ok(facts) if !facts.exists => Some(format!("there is no interface {name}{}", others())),
        Ok(facts) if !facts.is_up => Some(format!("{name} is switched off")),
        Ok(facts) if facts.carrier == Some(false) => Some(format!("{name} has no carrier")),
        _ => None,
    }
}

/// Whether there is no interface of that name at all, in words. One that is switched off may be switched on.
pub(crate) fn obstacle_of_name(name: &str) -> Option<String> {
    lanparty_nic::interface_facts(name).ok().filter(|facts| !facts.exists).and_then(|_| obstacle(name))
}

/// The interfaces that there are, for who mistook a name. A TAP, as the tunnel's own, is no line.
fn others() -> String {
    let all = lanparty_nic::list_interfaces().unwrap_or_default();
    let is_tap = |facts: &InterfaceFacts| facts.is_tun_tap && facts.arphrd == ARPHRD_ETHER;
    let may_lead_out = |facts: &InterfaceFacts| !facts.is_loopback && !is_tap(facts);
    let names: Vec<_> = all.into_iter().filter(may_lead_out).map(|facts| facts.name).collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

/// The IPv4 and IPv6 networks that an interface is on; a link-local one says nothing of the line.
pub(crate) fn networks(name: &str) -> Vec<String> {
    let of = if_addrs::get_if_addrs().unwrap_or_default().into_iter().filter(|found| found.name == name);
    let network = |found: if_addrs::Interface| match found.addr {
        if_addrs::IfAddr::V4(v4) => {
            let bits = u32::from(v4.ip) & u32::from(v4.netmask);
            Some(format!("{}/{}", std::net::Ipv4Addr::from(bits), v4.prefixlen))
        }
        if_addrs::IfAddr::V6(v6) if !v6.ip.is_unicast_link_local() => {
            let bits = u128::from(v6.ip) & u128::from(v6.netmask);
            Some(format!("{}/{}", std::net::Ipv6Addr::from(bits), v6.prefixlen))
        }
        if_addrs::IfAddr::V6(_) => None,
    };
    of.filter_map(network).collect()
}

/// Whether an interface that had a carrier has none, or is gone. Where the system has no such file, only its news tell.
pub(crate) fn has_lost_carrier(interface: &str) -> bool {
    let class = std::path::Path::new("/sys/class/net");
    class.exists() && std::fs::read_to_string(class.join(interface).join("carrier")).is_ok_and(|carrier| carrier.trim() == "0")
}

/// How often Windows' interfaces and routes are looked at: a new uplink joins a bond within a second.
#[cfg(windows)]
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);

/// A number that changes as often as it is worth looking at interfaces, addresses and routes.
#[cfg(windows)]
pub(crate) fn news() -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        while !sender.is_closed() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            sender.send_modify(|n| *n += 1);
        }
    });
    receiver
}

/// A number that changes whenever the system says that an interface, an address or a route has changed.
#[cfg(not(windows))]
pub(crate) fn news() -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    match rtnetlink::new_multicast_connection(&groups) {
        Ok((connection, _, mut messages)) => {
            tokio::spawn(async move {
                let connection = tokio::spawn(connection);
                while futures_util::StreamExt::next(&mut messages).await.is_some() {
                    sender.send_modify(|n| *n += 1);
                    if sender.is_closed() {
                        break;
                    }
                }
                connection.abort();
            });
        }
        // Then only looking tells, a little later.
        Err(e) => warn!("no news of interfaces: {e}"),
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_is_what_its_owner_says() {
        let plan: UplinkPlan = "lte0,role=backup,cap=50GB/month,rate=10/50,cc=cubic".parse().unwrap();
        let expected = UplinkPlan {
            interface: "lte0".into(),
            role: Some(BondRole::Backup),
            cap: Some(50_000_000_000),
            rate: Some((10_000_000, 50_000_000)),
            congestion: CongestionControl::Cubic,
        };
        assert_eq!(plan, expected);
        assert_eq!("dsl0".parse(), Ok(UplinkPlan::plain("dsl0".into())));
        assert_eq!("x,role=never".parse::<UplinkPlan>().unwrap().role, None);
        assert_eq!("x,cap=1.5".parse::<UplinkPlan>().unwrap().cap, Some(1_500_000_000));
        assert_eq!("x,rate=500k/1G".parse::<UplinkPlan>().unwrap().rate, Some((500_000, 1_000_000_000)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "name of its interface"),
            ("x,fast", "none of role"),
            ("x,speed=1", "none of role, cap, rate, cc"),
            ("x,cc=vegas", "delay, cubic, bbr"),
            ("x,role=first", "primary, secondary"),
            ("x,cap=much", "gigabytes"),
            ("x,cap=-1", "between"),
            ("x,rate=10", "UP/DOWN"),
            ("x,rate=0/0", "between"),
            ("x,rate=nan/1", "between"),
        ] {
            let error = text.parse::<UplinkPlan>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
