//! Game mode: what Windows needs so that LAN games find each other over the TAP, beyond the metric that the policy sets.
//!
//! Each call takes seconds, so all of it runs beside the frames, on a thread of its own.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tracing::{debug, info, warn};

use crate::adapter::TapAdapter;
use crate::journal::{Change, Journal};
use crate::net_cfg::{Category, NetCfg};

/// Groups that Windows itself joins on every card: all hosts and routers, mDNS and LLMNR (224.0.0.0/24), and SSDP.
fn is_of_system(group: Ipv4Addr) -> bool {
    group.octets()[..3] == [224, 0, 0] || group == Ipv4Addr::new(239, 255, 255, 250)
}

/// The name of the firewall's rule: ours alone, and the adapter's.
#[must_use]
pub fn rule_name(adapter: &TapAdapter) -> String {
    format!("lanparty-{}", adapter.instance_id.trim_matches(['{', '}']))
}

/// Game mode on one adapter.
pub struct GameMode<N> {
    net: N,
    journal: Journal,
    adapter: TapAdapter,
    is_open: bool,
    is_trusted: bool,
    told: BTreeSet<Ipv4Addr>,
}

impl<N: NetCfg> GameMode<N> {
    /// Not begun yet.
    pub const fn new(net: N, journal: Journal, adapter: TapAdapter) -> Self {
        Self { net, journal, adapter, is_open: false, is_trusted: false, told: BTreeSet::new() }
    }

    /// Does what can be done now; `has_address` once the LAN has given one.
    pub fn advance(&mut self, has_address: bool) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.open_firewall();
        }
        if has_address && !self.is_trusted {
            self.trust();
        }
        self.note_groups();
    }

    fn open_firewall(&mut self) {
        let (rule, id) = (rule_name(&self.adapter), self.adapter.instance_id.clone());
        let name = &self.adapter.name;
        match self.journal.change(&Change::FirewallRule { rule: rule.clone() }, &mut self.net, |net| net.add_firewall_rule(&rule, &id)) {
            Ok(()) => info!("game mode: the firewall lets hosts of the LAN in by {name}, and by no other card"),
            Err(e) => warn!("game mode: the firewall stays as it is ({e}); a game may have to be allowed in it by hand"),
        }
    }

    /// A new network is public to Windows until the user says otherwise, and then nobody finds this machine in it.
    fn trust(&mut self) {
        let id = self.adapter.instance_id.clone();
        let profile = match self.net.profile(&id) {
            Ok(Some(profile)) => profile,
            Ok(None) => return debug!("Windows has not recognised the LAN yet"),
            Err(e) => {
                self.is_trusted = true;
                return warn!("game mode: Windows does not say how far it trusts the LAN ({e})");
            }
        };
        self.is_trusted = true;
        if profile.category != Category::Public {
            return;
        }
        let change = Change::Category { profile: profile.id, before: profile.category, after: Category::Private };
        match self.journal.change(&change, &mut self.net, |net| net.trust(&id, Category::Private)) {
            Ok(()) => info!("game mode: the LAN behind {} is a private network to Windows", self.adapter.name),
            Err(e) => warn!("game mode: the LAN stays a public network to Windows ({e})"),
        }
    }

    /// A game that joined its group on another card hears nothing of the LAN: only its player can change that.
    fn note_groups(&mut self) {
        for (group, card) in self.net.groups_elsewhere(&self.adapter.instance_id).unwrap_or_default() {
            if !is_of_system(group) && self.told.insert(group) {
                let name = &self.adapter.name;
                info!(
                    "game mode: a program listens for {group} on {card} and not on {name}; if a game finds nobody, choose {name} in it or start it again"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::MemoryStore;
    use crate::net_cfg::Model;

    fn game(net: &Model) -> (GameMode<Model>, Journal) {
        let journal = Journal::open(Box::new(MemoryStore::default())).unwrap();
        (GameMode::new(net.clone(), journal.clone(), net.tap_adapters().unwrap().remove(0)), journal)
    }

    #[test]
    fn the_firewall_opens_at_once_and_trust_waits_for_the_network() {
        let mut net = Model::default();
        let before = net.settings();
        let (mut game, journal) = game(&net);
        game.advance(false);
        assert_eq!(net.settings().rules.len(), 2);
        game.advance(true);
        assert_eq!(net.settings().categories["{LAN}"], Category::Public, "not recognised yet");
        net.state().profile = Some("{LAN}".into());
        game.advance(true);
        game.advance(true);
        assert_eq!((net.settings().categories["{LAN}"], net.settings().rules.len()), (Category::Private, 2));
        // The network is away by then.
        net.state().profile = None;
        assert!(journal.undo_all(&mut net).is_empty());
        assert_eq!(net.settings(), before);
    }

    #[test]
    fn what_the_user_trusts_already_is_not_touched() {
        let net = Model::default();
        net.state().profile = Some("{LAN}".into());
        net.state().settings.categories.insert("{LAN}".into(), Category::Domain);
        let (mut game, journal) = game(&net);
        game.advance(true);
        assert_eq!(net.settings().categories["{LAN}"], Category::Domain);
        assert_eq!(journal.changes().len(), 1, "the firewall's rule alone");
    }

    #[test]
    fn a_group_on_another_card_is_told_once_and_windows_own_are_not() {
        let net = Model::default();
        let group = Ipv4Addr::new(224, 0, 2, 60);
        net.state().groups = vec![
            (group, "Wi-Fi".into()),
            (Ipv4Addr::new(224, 0, 0, 251), "Wi-Fi".into()),
            (Ipv4Addr::new(239, 255, 255, 250), "Wi-Fi".into()),
        ];
        let (mut game, _) = game(&net);
        game.advance(false);
        assert_eq!(game.told, [group].into());
    }
}
