//! Multicast at the driver: the policy that holds here, what this host listens to, and what was not carried.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{GroupSet, Listeners, ListenersOutput, RefusedGroup};
use lanparty_nic::Device;
use lanparty_proto::{MulticastPolicy, Role};
use schemars::JsonSchema;
use serde::Serialize;
use tracing::{info, warn};

use super::MemberDriver;

/// What a member does about multicast.
pub(super) struct Groups {
    listeners: Listeners,
    poll_at: Option<Instant>,
    /// This member's own choice.
    own: MulticastPolicy,
    /// What holds, as it was said last.
    said: Option<MulticastPolicy>,
}

impl Default for Groups {
    fn default() -> Self {
        Self { listeners: Listeners::default(), poll_at: None, own: MulticastPolicy::All, said: None }
    }
}

impl Groups {
    /// When there is something to do.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.poll_at
    }

    /// Frames from the device.
    pub(super) fn look<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>, now: Instant) {
        for frame in frames {
            if self.listeners.look(frame, now) {
                self.poll_at = Some(now);
            }
        }
    }
}

/// Multicast, for `lanparty status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MulticastReport {
    /// What passes here: the stricter of the two.
    pub policy: MulticastPolicy,
    /// What the room carries, while in one.
    pub room: Option<MulticastPolicy>,
    /// This member's own choice.
    pub own: MulticastPolicy,
    /// The groups that this host gets, beside those that everybody gets; nothing when it gets all that pass.
    pub joined: Option<Vec<IpAddr>>,
    /// Groups of this host, or LAN, that did not pass into the room.
    pub not_sent: Vec<RefusedGroup>,
    /// Groups of the room that did not pass to this host, or LAN.
    pub not_received: Vec<RefusedGroup>,
}

impl<D: Device> MemberDriver<D> {
    /// Takes part in no more multicast than this.
    pub const fn limit_multicast(&mut self, policy: MulticastPolicy) {
        self.groups.own = policy;
    }

    /// The room has a policy, or another one.
    pub(super) fn follow_multicast(&mut self) {
        let Some(c) = &mut self.connected else { return };
        c.roster.limit_multicast(self.groups.own);
        let (room, now) = (c.roster.room_multicast(), Instant::now());
        let holds = c.roster.multicast();
        if self.groups.said.replace(holds) != Some(holds) {
            info!(policy = %holds, %room, own = %self.groups.own, "multicast that passes here: {holds}");
        }
        if self.role != Role::Client || room != MulticastPolicy::Snooped {
            return self.groups.listeners.stop();
        }
        // A relay that knows that this member wants none of them sends none.
        if holds < room {
            self.groups.listeners.start_without();
        } else {
            self.groups.listeners.start(now);
        }
        c.roster.set_own_groups(self.groups.listeners.known(now).unwrap_or_default());
        self.groups.poll_at = Some(now);
    }

    /// Asks this host, and tells the relay.
    pub(super) async fn drive_groups(&mut self) {
        let now = Instant::now();
        loop {
            match self.groups.listeners.poll_output(now) {
                ListenersOutput::Ask(frame) => {
                    if let Some(device) = &mut self.device {
                        // A device that fails says so when it is read next, and the question comes again.
                        let _ = device.send(&[Bytes::from(frame)]);
                    }
                }
                ListenersOutput::Tell(groups) => self.tell_groups(groups).await,
                ListenersOutput::Timeout(at, _) => {
                    self.groups.poll_at = Some(at);
                    return;
                }
                ListenersOutput::Idle => {
                    self.groups.poll_at = None;
                    return;
                }
            }
        }
    }

    async fn tell_groups(&mut self, groups: GroupSet) {
        self.tell(&groups.message(None)).await;
        if let Some(c) = &mut self.connected {
            c.roster.set_own_groups(groups);
        }
    }

    /// Says of each group that does not pass that it does not, and what would help.
    pub(super) fn say_refused_groups(&mut self) {
        let Some(roster) = self.roster() else { return };
        let (holds, room, own) = (roster.multicast(), roster.room_multicast(), self.groups.own);
        let help = help(holds, room, own);
        for RefusedGroup { group, from, .. } in self.outbound.refused_groups().take_news() {
            // What a LAN is full of, and nobody wants, is no trouble.
            if holds == MulticastPolicy::Snooped {
                info!(%group, %from, "multicast to group {group} from {from} is not forwarded: nobody in the room has joined it (IGMP, MLD)");
            } else {
                warn!(%group, %from, policy = %holds, "multicast to group {group} from {from} is not forwarded: policy {holds}; {help}");
            }
        }
        for RefusedGroup { group, from, .. } in self.inbound.refused_groups().take_news() {
            info!(%group, %from, policy = %holds, "multicast to group {group} from {from} is not let in: policy {holds}; {help}");
        }
    }

    pub(super) fn multicast_report(&mut self) -> MulticastReport {
        let own = self.groups.own;
        let room = self.roster().map(lanparty_core::Roster::room_multicast);
        let joined = self.groups.listeners.known(Instant::now()).and_then(|groups| groups.list());
        let not_sent = self.outbound.refused_groups().list().to_vec();
        let not_received = self.inbound.refused_groups().list().to_vec();
        MulticastReport { policy: room.map_or(own, |room| room.min(own)), room, own, joined, not_sent, not_received }
    }
}

/// What lets a group pass that did not.
fn help(holds: MulticastPolicy, room: MulticastPolicy, own: MulticastPolicy) -> &'static str {
    match (holds, own < room, own == room) {
        (MulticastPolicy::Snooped, ..) => "this machine has not joined it on this interface (IGMP, MLD)",
        (_, true, _) => "start this program with --multicast snooped",
        (_, _, true) => "start this program, and the relay, with --multicast snooped",
        _ => "the room's policy is the relay's: use --multicast snooped there",
    }
}
