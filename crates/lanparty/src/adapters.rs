//! `lanparty adapters`: the interfaces of this machine, and what each could be used for.

use clap::Args;
use lanparty_nic::{InterfaceFacts, check_lan_interface, list_interfaces};
use lanparty_node::{ExitCode, Fault, print};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct AdaptersArgs {
    /// Print JSON: an array with one object per interface
    #[arg(long)]
    json: bool,
}

/// One interface, as people and scripts read it.
#[derive(Serialize)]
struct Adapter {
    name: String,
    kind: &'static str,
    mac: Option<String>,
    mtu: u32,
    up: bool,
    carrier: Option<bool>,
    driver: Option<String>,
    /// Whether it can be the LAN side of a gateway.
    gateway: bool,
    /// Why not.
    gateway_because: Option<String>,
    /// Whether it may lead to a relay, by itself or beside others (`--uplink`).
    uplink: bool,
    /// Whether it is the TUN or TAP of a program, whose name is taken for --tap-name.
    tap: bool,
}

pub(crate) async fn run(args: AdaptersArgs) -> Result<(), Fault> {
    let all = list_interfaces().map_err(|e| Fault::new(ExitCode::Unexpected, e.to_string(), ""))?;
    let adapters: Vec<Adapter> = all.iter().map(|facts| adapter(facts, &all)).collect();
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&adapters).expect("INVARIANT: an adapter has a JSON form"))
    } else {
        adapters.iter().map(in_words).collect()
    };
    print(&text)
}

fn adapter(facts: &InterfaceFacts, all: &[InterfaceFacts]) -> Adapter {
    let fitness = check_lan_interface(facts, all);
    let is_part = facts.bridge_master.is_some() || facts.other_master.is_some();
    Adapter {
        name: facts.name.clone(),
        kind: kind(facts),
        mac: facts.mac.map(|mac| mac.to_string()),
        mtu: facts.mtu,
        up: facts.is_up,
        carrier: facts.carrier,
        driver: facts.driver.clone(),
        gateway: fitness.is_ok(),
        gateway_because: fitness.err().map(|why| why.to_string()),
        uplink: facts.is_up && facts.carrier != Some(false) && !facts.is_loopback && !facts.is_tun_tap && !is_part,
        tap: facts.is_tun_tap,
    }
}

const fn kind(facts: &InterfaceFacts) -> &'static str {
    match facts {
        InterfaceFacts { is_loopback: true, .. } => "loopback",
        InterfaceFacts { is_tun_tap: true, .. } => "TUN/TAP",
        InterfaceFacts { is_wireless: true, .. } => "Wi-Fi",
        InterfaceFacts { is_bridge: true, .. } => "bridge",
        InterfaceFacts { is_bond: true, .. } => "bond",
        InterfaceFacts { is_vlan: true, .. } => "VLAN",
        InterfaceFacts { arphrd: 1, .. } => "Ethernet",
        _ => "other",
    }
}

fn in_words(adapter: &Adapter) -> String {
    let state = match (adapter.up, adapter.carrier) {
        (false, _) => "down",
        (true, Some(false)) => "no carrier",
        (true, _) => "up",
    };
    let mac = adapter.mac.as_deref().map_or_else(String::new, |mac| format!(" MAC {mac}"));
    let driver = adapter.driver.as_deref().map_or_else(String::new, |driver| format!(", driver {driver}"));
    let gateway = adapter.gateway_because.as_deref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
    let mut out = format!("{}: {}, {state}{mac} MTU {}{driver}\n", adapter.name, adapter.kind, adapter.mtu);
    out.push_str(&format!("  LAN of a gateway (--interface): {gateway}\n"));
    out.push_str(&format!("  uplink to a relay (--uplink): {}\n", if adapter.uplink { "yes" } else { "no" }));
    if adapter.tap {
        out.push_str("  it belongs to a program; --tap-name of another client must be another name\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_lan_is_listed_with_the_reason() {
        let missing = InterfaceFacts::default();
        let one = adapter(&missing, &[]);
        let words = in_words(&one);
        assert!(!one.gateway && !one.uplink, "{words}");
        assert!(words.contains("down") && words.contains("--interface): no: there is no interface"), "{words}");
    }
}
