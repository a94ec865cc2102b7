//! Cables and switches made by the kernel: veth pairs and bridges.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command::run;
use crate::namespace::Namespace;

/// Offloads that let one send cross a veth as one huge packet; a wire of the internet has none of them.
const OFFLOADS: [&str; 10] = ["tso", "off", "gso", "off", "gro", "off", "tx", "off", "tx-udp-segmentation", "off"];
/// The kernel's limit for an interface's name.
const INTERFACE_LEN_MAX: usize = 15;
/// The bridge of every switch.
pub(crate) const BRIDGE: &str = "br0";

/// One end of a cable: an interface of a host.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    pub(crate) host: &'a Namespace,
    pub(crate) interface: &'a str,
}

impl<'a> End<'a> {
    /// The end called `interface` on `host`. The interface must not exist yet.
    pub fn new(host: &'a Namespace, interface: &'a str) -> Self {
        Self { host, interface }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let length = self.interface.len();
        ensure!((1..=INTERFACE_LEN_MAX).contains(&length), "`{}` is no interface name of 1 to {INTERFACE_LEN_MAX} bytes", self.interface);
        Ok(())
    }
}

/// What a veth pair does with packets larger than its MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offloads {
    /// None: every packet crosses alone and with its checksum, as on a real wire.
    #[default]
    Off,
    /// The kernel's own: fast, and a rule such as `ip length > 1400 drop` sees packets that no wire ever carries. For benches.
    On,
}

/// Plugs a perfect cable between two hosts. Both ends are up.
pub fn veth(a: End<'_>, b: End<'_>, offloads: Offloads) -> Result<()> {
    for end in [a, b] {
        end.check()?;
    }
    let words =
        ["ip", "link", "add", a.interface, "netns", a.host.netns(), "type", "veth", "peer", "name", b.interface, "netns", b.host.netns()];
    run(&words)?;
    for end in [a, b] {
        if offloads == Offloads::Off {
            switch_offloads_off(end)?;
        }
        end.host.link_up(end.interface, true)?;
    }
    Ok(())
}

/// Makes every packet of this interface cross alone and finished, from now on.
pub fn switch_offloads_off(end: End<'_>) -> Result<()> {
    let words: Vec<&str> = ["ethtool", "-K", end.interface].into_iter().chain(OFFLOADS).collect();
    end.host.run(&words).map(drop)
}

/// Gives an interface an address such as `10.73.42.1/24`.
pub fn address(end: End<'_>, address: &str) -> Result<()> {
    end.host.ip(&format!("addr add {address} dev {}", end.interface)).map(drop)
}

/// A switch: a host whose bridge `br0` joins the cables plugged into it. It learns and ages MAC addresses, and stays quiet itself:
/// no spanning tree, no multicast snooping (which would need a querier).
#[derive(Debug, Clone)]
pub struct Switch {
    host: Namespace,
}

/// One row of a switch's MAC table, as its operator would read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacEntry {
    /// The learnt address, as `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// The port it was learnt on.
    pub port: String,
}

impl Switch {
    /// Makes `host` a switch.
    pub fn new(host: Namespace) -> Result<Self> {
        host.ip(&format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 30000"))?;
        host.link_up(BRIDGE, true)?;
        Ok(Self { host })
    }

    /// The host that is the switch.
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// How long an address is remembered after its last frame. Real switches: 300 s, which is the default.
    pub fn set_ageing(&self, seconds: u32) -> Result<()> {
        self.host.ip(&format!("link set dev {BRIDGE} type bridge ageing_time {}", seconds * 100)).map(drop)
    }

    /// Plugs a host into the port `port` with a perfect cable.
    pub fn plug(&self, host: End<'_>, port: &str, offloads: Offloads) -> Result<()> {
        veth(host, End::new(&self.host, port), offloads)?;
        self.join(port)
    }

    /// Makes an interface that exists already a port of this switch.
    pub fn join(&self, port: &str) -> Result<()> {
        self.host.ip(&format!("link set dev {port} master {BRIDGE}"))?;
        self.host.link_up(port, true)
    }

    /// Pulls a cable out at the switch, or puts it back: the host at its other end sees the carrier go.
    pub fn port_up(&self, port: &str, up: bool) -> Result<()> {
        self.host.link_up(port, up)
    }

    /// The learnt addresses, sorted. Those of the ports themselves are left out.
    pub fn mac_table(&self) -> Result<Vec<MacEntry>> {
        let json = run(&["bridge", "-n", self.host.netns(), "-j", "fdb", "show", "br", BRIDGE])?.stdout;
        parse_mac_table(&json)
    }

    /// The port on which a MAC address was learnt.
    pub fn port_of(&self, mac: &str) -> Result<Option<String>> {
        Ok(self.mac_table()?.into_iter().find(|entry| entry.mac.eq_ignore_ascii_case(mac)).map(|entry| entry.port))
    }
}

#[derive(Deserialize)]
struct FdbRow {
    mac: String,
    ifname: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    flags: Vec<String>,
}

fn parse_mac_table(json: &str) -> Result<Vec<MacEntry>> {
    let rows: Vec<FdbRow> = serde_json::from_str(json).context("the answer of `bridge -j fdb`")?;
    // A learnt entry has neither a state (permanent, static) nor the flag of an address that belongs to the port itself.
    let learnt = rows.into_iter().filter(|row| row.state.is_empty() && !row.flags.iter().any(|flag| flag == "self"));
    let mut table: Vec<MacEntry> = learnt.map(|row| MacEntry { mac: row.mac, port: row.ifname }).collect();
    table.sort();
    table.dedup();
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_table_holds_what_was_learnt_and_nothing_else() {
        let json = r#"[
            {"mac":"02:00:00:00:00:02","ifname":"pc2","flags":[],"master":"br0","state":""},
            {"mac":"02:00:00:00:00:01","ifname":"pc1","master":"br0"},
            {"mac":"6a:00:00:00:00:09","ifname":"pc1","vlan":1,"flags":[],"master":"br0","state":"permanent"},
            {"mac":"33:33:00:00:00:01","ifname":"pc1","flags":["self"],"state":"permanent"}]"#;
        let entry = |mac: &str, port: &str| MacEntry { mac: mac.into(), port: port.into() };
        let expected = [entry("02:00:00:00:00:01", "pc1"), entry("02:00:00:00:00:02", "pc2")];
        assert_eq!(parse_mac_table(json).unwrap(), expected);
    }
}
