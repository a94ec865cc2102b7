//! What a member does by the clock.

use std::time::Instant;

use lanparty_nic::Device;
use lanparty_proto::MemberId;

use super::{DriverEvent, MemberDriver};
use crate::LinkEnded;
use crate::peers::PeerEvent;

/// What is due.
#[derive(Clone, Copy)]
pub(super) enum Due {
    /// `lanparty ping` and its like.
    Runs,
    /// A look at direct links.
    Peers,
    /// Frames of that member have waited long enough for those that came before by the relay.
    Held(MemberId),
    /// Probes and watch over this machine's addresses.
    Addresses,
    /// Questions to this host, and words to the relay, about multicast.
    Groups,
    /// An inquiry has waited long enough.
    Inquiries,
    /// A look at the path to the relay.
    Path,
}

impl<D: Device> MemberDriver<D> {
    /// What is due next, and when; of most things only while there is a link to the relay.
    pub(super) fn next_due(&self) -> Option<(Instant, Due)> {
        let peers = self.peers.due().map(|(at, held)| (at, held.map_or(Due::Peers, Due::Held)));
        let always = [self.runs.due().map(|at| (at, Due::Runs)), peers];
        let joined = self.connected.as_ref().map(|c| {
            let addresses = self.addresses.due().map(|at| (at, Due::Addresses));
            let groups = self.groups.due().map(|at| (at, Due::Groups));
            let inquiries = self.observed.due().map(|at| (at, Due::Inquiries));
            [addresses, groups, inquiries, Some((c.watch.next(), Due::Path))]
        });
        always.into_iter().chain(joined.into_iter().flatten()).flatten().min_by_key(|(at, _)| *at)
    }

    pub(super) async fn handle_due(&mut self, due: Due) -> Result<Option<DriverEvent>, LinkEnded> {
        match due {
            Due::Runs => self.drive_runs()?,
            Due::Peers => self.look_at_peers(),
            Due::Held(member) => return self.handle_peer(PeerEvent::HeldLongEnough { member }),
            Due::Addresses => return self.drive_addresses(),
            Due::Groups => self.drive_groups().await,
            Due::Inquiries => self.end_inquiries(),
            Due::Path => return self.take_stock().await.map(Some),
        }
        Ok(None)
    }
}
