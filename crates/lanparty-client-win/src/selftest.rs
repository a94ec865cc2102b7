//! `--selftest`: each call to Windows that the client makes is made, read back and undone, and reported line by line and as JSON. For the
//! parts that no test of ours reaches: a real driver and a real IP stack.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lanparty_client_core::next_hop;
use lanparty_proto::{MacAddr, MemberId};
use serde::Serialize;

use crate::adapter::TapAdapter;
use crate::game::rule_name;
use crate::net_cfg::{Hop, IpSettings, NetCfg};
use crate::tap_io::TapIo;

/// An address for documentation (RFC 5737): a route to it takes nothing from anybody.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// A network for documentation, likewise.
const NOWHERE: IpNet = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)), 24);
/// A locally administered address, as an identity has one.
const TRIAL_ADDRESS: &str = "02005E005301";

/// How one call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As the client needs it.
    Ok,
    /// Not so.
    Failed,
    /// Not tried, because there is nothing to try it on.
    Skipped,
}

/// One call, or one and what was read back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// What was tried.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What came of it, in words.
    pub detail: String,
}

impl Step {
    /// `ok      media up: …`
    #[must_use]
    pub fn line(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        format!("{outcome:<8}{}: {}", self.name, self.detail)
    }
}

/// Every step, in the order in which the client makes the calls.
pub fn run(tap: &mut impl TapIo, net: &mut impl NetCfg, adapter: &TapAdapter) -> Vec<Step> {
    let mut steps = Steps(vec![]);
    steps.network_address(net, adapter);
    steps.driver(tap);
    steps.ip_settings(net, adapter, false);
    steps.ip_settings(net, adapter, true);
    steps.route(net, adapter);
    steps.member_route(net, adapter);
    steps.firewall(net, adapter);
    steps.profile(net, adapter);
    steps.read_only(net, adapter);
    steps.restart(net, adapter);
    steps.0
}

/// Whether none has failed.
#[must_use]
pub fn is_good(steps: &[Step]) -> bool {
    steps.iter().all(|step| step.outcome != Outcome::Failed)
}

struct Steps(Vec<Step>);

impl Steps {
    /// Notes how a call went, and passes on what it gave.
    fn call<T: Debug>(&mut self, name: &'static str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.note(name, Outcome::Ok, format!("{value:?}"));
                Some(value)
            }
            Err(e) => {
                self.note(name, Outcome::Failed, e.to_string());
                None
            }
        }
    }

    /// Notes whether what is read back is what was written.
    fn compare<T: Debug + PartialEq>(&mut self, name: &'static str, result: io::Result<T>, wanted: &T) {
        match result {
            Ok(value) if value == *wanted => self.note(name, Outcome::Ok, format!("{value:?}")),
            Ok(value) => self.note(name, Outcome::Failed, format!("{value:?} instead of {wanted:?}")),
            Err(e) => self.note(name, Outcome::Failed, e.to_string()),
        }
    }

    fn note(&mut self, name: &'static str, outcome: Outcome, detail: String) {
        self.0.push(Step { name, outcome, detail });
    }

    fn network_address(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        let key = &adapter.class_key;
        let Some(before) = self.call("read NetworkAddress", net.network_address(key)) else { return };
        self.call("write NetworkAddress", net.set_network_address(key, Some(TRIAL_ADDRESS)));
        self.compare("read NetworkAddress back", net.network_address(key), &Some(TRIAL_ADDRESS.to_owned()));
        self.call("restore NetworkAddress", net.set_network_address(key, before.as_deref()));
        self.compare("NetworkAddress is as before", net.network_address(key), &before);
    }

    fn driver(&mut self, tap: &mut impl TapIo) {
        if self.call("open the TAP", tap.open().map_err(io::Error::other)).is_none() {
            return;
        }
        self.call("MAC address of the driver", tap.mac());
        self.call("MTU of the driver", tap.mtu());
        self.call("media up", tap.set_media(true));
        self.call("media down", tap.set_media(false));
        tap.close();
        self.note("close the TAP", Outcome::Ok, "closed".into());
    }

    fn ip_settings(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter, is_ipv6: bool) {
        let id = &adapter.instance_id;
        let [read, write, back, restore, as_before] = if is_ipv6 {
            ["read IPv6 settings", "write IPv6 settings", "read IPv6 settings back", "restore IPv6 settings", "IPv6 settings are as before"]
        } else {
            ["read IPv4 settings", "write IPv4 settings", "read IPv4 settings back", "restore IPv4 settings", "IPv4 settings are as before"]
        };
        let Some(before) = self.call(read, net.ip_settings(id, is_ipv6)) else { return };
        let Some(before) = before else { return self.note(write, Outcome::Skipped, "not bound to this adapter".into()) };
        let wanted = IpSettings { mtu: 1390, automatic_metric: false, metric: 1, ignores_default_routes: true };
        self.call(write, net.set_ip_settings(id, is_ipv6, wanted));
        self.compare(back, net.ip_settings(id, is_ipv6), &Some(wanted));
        self.call(restore, net.set_ip_settings(id, is_ipv6, before));
        let now = net.ip_settings(id, is_ipv6);
        // With an automatic metric, Windows says which one it has chosen now.
        let same = now.map(|now| now.map(|now| if before.automatic_metric { IpSettings { metric: before.metric, ..now } } else { now }));
        self.compare(as_before, same, &Some(before));
    }

    fn route(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        let Some(luid) = self.call("number of the adapter", net.luid(&adapter.instance_id)) else { return };
        let Ok(hop) = net.way_out(NOBODY, luid) else {
            return self.note("host route", Outcome::Skipped, "this machine has no default route".into());
        };
        self.compare("create a host route", net.add_host_route(NOBODY, hop), &true);
        self.compare("the same route already exists", net.add_host_route(NOBODY, hop), &false);
        self.compare("the host route is taken", net.route_to(NOBODY), &hop);
        self.call("remove the host route", net.remove_host_route(NOBODY, hop));
        self.call("remove it again", net.remove_host_route(NOBODY, hop));
        let is_left = net.routes(false).map(|routes| routes.iter().any(|route| route.is_for_alone(NOBODY)));
        self.compare("no host route is left", is_left, &false);
    }

    fn member_route(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        let Ok(luid) = net.luid(&adapter.instance_id) else { return };
        let hop = Hop { luid, next_hop: next_hop(NOWHERE, MemberId(1)) };
        self.compare("create a route through a member", net.add_member_route(NOWHERE, hop, MacAddr([2, 0, 0x5e, 0, 0x53, 1])), &true);
        self.call("remove the route through a member", net.remove_member_route(NOWHERE, hop));
        let is_left = net.routes(false).map(|routes| routes.iter().any(|route| route.is_to(NOWHERE)));
        self.compare("no route through a member is left", is_left, &false);
        self.call("whether Windows forwards", net.forwards(&adapter.instance_id, false));
    }

    fn firewall(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        let rule = format!("{}-selftest", rule_name(adapter));
        self.call("add a firewall rule", net.add_firewall_rule(&rule, &adapter.instance_id));
        self.call("remove the firewall rule", net.remove_firewall_rule(&rule));
        self.call("remove it again (firewall)", net.remove_firewall_rule(&rule));
    }

    /// Without a LAN behind the TAP there is no network to trust: its profile is read, and its note written back.
    fn profile(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        match self.call("network behind the TAP", net.profile(&adapter.instance_id)) {
            Some(Some(profile)) => {
                self.call("note how far the network is trusted", net.note_category(&profile.id, profile.category));
                self.compare("the note is read back", net.noted_category(&profile.id), &Some(profile.category));
            }
            Some(None) => self.note("note how far the network is trusted", Outcome::Skipped, "the TAP's cable is unplugged".into()),
            None => {}
        }
    }

    fn read_only(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        self.call("addresses of the TAP", net.addresses(&adapter.instance_id));
        self.call("multicast groups on other adapters", net.groups_elsewhere(&adapter.instance_id));
    }

    fn restart(&mut self, net: &mut impl NetCfg, adapter: &TapAdapter) {
        self.call("restart the adapter", net.restart_adapter(&adapter.class_key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_cfg::Model;
    use crate::tap_io::OpenFault;

    struct Quiet;

    impl TapIo for Quiet {
        fn open(&mut self) -> Result<(), OpenFault> {
            Ok(())
        }

        fn close(&mut self) {}

        fn mac(&self) -> io::Result<MacAddr> {
            Ok(MacAddr([2, 0, 0, 0, 0, 1]))
        }

        fn mtu(&self) -> io::Result<u32> {
            Ok(1500)
        }

        fn set_media(&mut self, _: bool) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_selftest_changes_nothing_and_says_what_it_did() {
        let mut net = Model::default();
        let (before, adapter) = (net.settings(), net.tap_adapters().unwrap().remove(0));
        let steps = run(&mut Quiet, &mut net, &adapter);
        assert!(is_good(&steps), "{:#?}", steps.iter().map(Step::line).collect::<Vec<_>>());
        assert_eq!(net.settings(), before);
        assert!(steps.iter().any(|step| step.line() == "ok      create a host route: true"), "{steps:#?}");
        assert!(serde_json::to_string(&steps).unwrap().contains(r#""outcome":"skipped""#));
    }

    #[test]
    fn whatever_fails_is_told_and_the_rest_is_tried_all_the_same() {
        for call in 0..12 {
            let mut net = Model::default();
            let adapter = net.tap_adapters().unwrap().remove(0);
            net.state().fails_in = Some(call);
            let steps = run(&mut Quiet, &mut net, &adapter);
            assert!(!is_good(&steps) && steps.len() > 20, "call {call}: {steps:#?}");
        }
    }
}
