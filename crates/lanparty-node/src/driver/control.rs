//! The control stream at the driver: what the relay says of the room, and what it is told of the path.

use std::time::Instant;

use lanparty_core::GroupSet;
use lanparty_nic::Device;
use lanparty_proto::Control;

use super::{DriverEvent, MemberDriver};
use crate::LinkEnded;

impl<D: Device> MemberDriver<D> {
    /// Tells the relay something. Lost without harm when the link is just ending.
    pub async fn tell(&mut self, message: &Control) {
        if let Some(connected) = &mut self.connected {
            let _ = connected.control_out.send(message).await;
        }
    }

    /// The relay said something: a question is answered here, the rest is followed and passed on.
    pub(super) async fn handle_control(&mut self, message: Control) -> Option<DriverEvent> {
        if let Control::AskSightings { mac } = message {
            self.answer_sightings(mac).await;
            return None;
        }
        Some(self.follow(message))
    }

    fn follow(&mut self, message: Control) -> DriverEvent {
        self.follow_room(&message);
        if matches!(message, Control::Multicast { .. }) {
            self.follow_multicast();
        }
        if let Control::MemberLeft { id, .. } = &message {
            self.unblock_for(Some(*id));
        }
        if matches!(message, Control::LanMtu { .. } | Control::MemberLeft { .. }) {
            self.say_findings();
        }
        if matches!(message, Control::Sightings { .. }) {
            self.observed.hear(&message);
            self.end_inquiries();
        }
        DriverEvent::Control(message)
    }

    /// Keeps the roster, and what is known of its members, as the relay says.
    fn follow_room(&mut self, message: &Control) {
        let Some(c) = &mut self.connected else { return };
        match message {
            Control::MemberJoined { member } => {
                self.awaited.is_known(member.id);
                // The number may be another machine's now.
                if c.roster.member(member.id).is_some_and(|before| before.mac != member.mac) {
                    self.peers.forget(member.id);
                }
                c.roster.insert(member.clone());
            }
            Control::MemberLeft { id, .. } => {
                self.awaited.is_known(*id);
                c.roster.remove(*id);
                self.peers.forget(*id);
                self.inbound.forget(*id);
            }
            Control::LanMtu { mtu, limited_by } => c.roster.set_lan_mtu(*mtu, *limited_by),
            Control::Descriptions { members } => members.iter().for_each(|said| c.roster.describe(said)),
            Control::PathMtu { id, mtu } if *id == c.roster.own().id => c.way_back = *mtu,
            Control::PathMtu { id, mtu } => c.roster.set_path_mtu(*id, *mtu),
            Control::LanState { up, id } => c.roster.set_lan_state(*id, *up),
            Control::Groups { id: Some(id), groups } => c.roster.set_groups(*id, GroupSet::of(groups.as_deref())),
            Control::Multicast { policy } => c.roster.set_room_multicast(*policy),
            Control::PeerAt { id, identity, addresses } => {
                if let Some(member) = c.roster.member(*id) {
                    self.peers.introduce((*id, member.mac), *identity, addresses, Instant::now());
                }
            }
            _ => {}
        }
    }

    /// As is due now and then: looks at the path and at the room, and tells the relay what has come up since.
    pub(super) async fn take_stock(&mut self) -> Result<DriverEvent, LinkEnded> {
        self.look_at_path().await?;
        if let Some(left) = self.stop_waiting() {
            return Ok(self.follow(left));
        }
        self.say_refused_groups();
        self.look_at_bridge_in(0, Instant::now());
        self.tell_bridge().await;
        self.tell_lans().await;
        Ok(DriverEvent::Looked)
    }

    /// Looks at the path, and tells the relay when its budget has moved.
    async fn look_at_path(&mut self) -> Result<(), LinkEnded> {
        let Some(c) = &mut self.connected else { return Ok(()) };
        self.outbound.count_discarded(&c.link.take_discarded());
        let budget = c.watch.look(&c.link)?;
        let now = Instant::now();
        self.peers.dial_due(now);
        // The LAN MTU is one for the room, whatever way a frame takes.
        let budget = self.peers.smallest(now).map_or(budget, |direct| direct.min(budget));
        if budget != c.budget {
            c.budget = budget;
            self.tell(&Control::Budget { budget }).await;
        }
        Ok(())
    }
}
