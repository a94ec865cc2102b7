//! What its owner says of an uplink holds on direct paths as well: what they carry counts toward its cap, and its role is theirs.

use lanparty_proto::{BondPath, BondRole};

use super::Peers;
use super::met::Terms;

/// What a path goes by, at the last look.
#[derive(Default)]
pub(super) struct Used {
    pub(super) interface: Option<String>,
    carried: u64,
    own_role: BondRole,
    their_role: BondRole,
    /// What both together have made of it.
    role: BondRole,
}

impl Used {
    /// Another connection is this path.
    pub(super) fn begin(&mut self, terms: &Terms) {
        self.interface.clone_from(&terms.interface);
        (self.own_role, self.their_role) = (terms.own_role, terms.their_role);
        self.role = self.own_role.max(self.their_role);
    }

    /// What the path is for from now on, when our uplink is for something else than before; the other member may have changed it, too.
    fn follow(&mut self, own_role: BondRole, now: BondRole) -> Option<BondRole> {
        if now != self.role {
            (self.their_role, self.role) = (now, now);
        }
        if own_role == self.own_role {
            return None;
        }
        self.own_role = own_role;
        let role = own_role.max(self.their_role);
        let is_other = role != self.role;
        self.role = role;
        is_other.then_some(role)
    }
}

impl Peers {
    /// Counts what passed by each uplink, and sees to it that both members use its paths for what it is for now.
    pub(super) fn follow_uplinks(&mut self) {
        for peer in self.live.values_mut() {
            let Some((link, bond)) = peer.link.bond().zip(peer.bond.as_mut()) else { continue };
            let shared = link.shared_arc();
            for (path, used) in &mut bond.used {
                let Some(interface) = &used.interface else { continue };
                let carried = shared.carried(*path);
                if let Some(book) = &self.book {
                    book.count(interface, carried.saturating_sub(used.carried));
                }
                let uplinks = self.listening.iter().filter_map(|listening| listening.socket.uplink.as_ref());
                let own = uplinks.into_iter().find(|uplink| uplink.interface == *interface).map(|uplink| uplink.path.role);
                used.carried = carried;
                let changed = own.zip(shared.role_of(*path)).and_then(|(own, now)| used.follow(own, now.role));
                if let Some(role) = changed {
                    shared.set_role(BondPath { path: *path, role, rate: None });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use BondRole::{Backup, Primary, Secondary};

    use super::*;

    #[test]
    fn a_path_is_for_what_both_of_its_uplinks_are_for() {
        let mut used = Used { own_role: Primary, their_role: Secondary, role: Secondary, ..Used::default() };
        assert_eq!(used.follow(Primary, Secondary), None);
        assert_eq!(used.follow(Backup, Secondary), Some(Backup), "our line is over its cap");
        assert_eq!(used.follow(Primary, Backup), Some(Secondary), "and is not any more");
        assert_eq!(used.follow(Primary, Backup), None, "the other member says so");
        assert_eq!(used.follow(Secondary, Backup), None, "and that holds");
        assert_eq!(used.follow(Secondary, Primary), None, "nor do we turn back what it says");
    }
}
