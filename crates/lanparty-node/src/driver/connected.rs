//! The link to the relay at the driver: it is taken, moved away from, and left.

use std::time::Duration;

use lanparty_core::{PathSize, Roster, WayFacts};
use lanparty_nic::Device;
use lanparty_proto::{Control, DatagramBudget, LanMtu, MacAddr};

use super::MemberDriver;
use crate::{ControlReader, ControlWriter, Draining, Joined, LINK_DEAD_AFTER, Link, PathWatch};

/// How long a link that was moved away from stays open: what it still holds is on its way, and the other side reads it first.
const RETIRE_AFTER: Duration = Duration::from_secs(1);

/// The room, and the connection by which the member is in it.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) control_in: ControlReader,
    pub(super) control_out: ControlWriter,
    pub(super) roster: Roster,
    pub(super) budget: DatagramBudget,
    pub(super) watch: PathWatch,
    /// What the way from the relay takes, while that is less than the room's LAN MTU.
    pub(super) way_back: Option<LanMtu>,
    /// Whether the way to the relay is IPv6, whose header is larger.
    pub(super) is_over_ipv6: bool,
}

impl Connected {
    pub(super) fn path_size(&self) -> PathSize {
        PathSize { budget: self.link.budget(), settled: self.watch.is_settled() }
    }
}

impl<D: Device> MemberDriver<D> {
    /// Uses a joined room from now on.
    pub fn connect(&mut self, joined: Joined, mac: MacAddr) {
        let roster = Roster::new(self.role, mac, &joined.welcome);
        // The path may have moved since the hello; the next look tells the relay.
        let budget = joined.told_budget;
        let Joined { link, control_in, control_out, welcome, remote, .. } = joined;
        self.observed.join(welcome.replaced);
        let watch = PathWatch::new(&link);
        self.connected =
            Some(Connected { link, control_in, control_out, roster, budget, watch, way_back: None, is_over_ipv6: remote.is_ipv6() });
        self.draining = None;
        self.unblock_for(None);
        self.leave_island();
        self.follow_multicast();
        self.say_findings();
    }

    /// Uses another link of the same membership from now on. Frames of the old one that are on their way go first. What the old
    /// one had not yet told of the room comes back as the relay would have said it.
    pub fn move_to(&mut self, joined: Joined, mac: MacAddr) -> Vec<Control> {
        let before = self.connected.take();
        self.connect(joined, mac);
        let (Some(before), Some(now)) = (before, &self.connected) else { return vec![] };
        let news = now.roster.news_since(&before.roster);
        news.iter().for_each(|message| {
            if let Control::MemberLeft { id, .. } = message {
                self.inbound.forget(*id);
            }
        });
        self.draining = Some(Draining::new(before.link.clone()));
        tokio::spawn(retire(before));
        news
    }

    /// What the way in use did so far; what its path takes, both ways.
    pub(crate) fn way_facts(&self) -> Option<WayFacts> {
        // A further move would leave behind what waits in the link of this one.
        let c = self.connected.as_ref().filter(|_| self.draining.is_none())?;
        let there = c.path_size();
        let back = c.way_back.map_or(there.budget, DatagramBudget::for_lan_mtu);
        let (path, received) = (c.link.path_facts(), c.link.received_packets());
        let size = PathSize { budget: there.budget.min(back), ..there };
        Some(WayFacts { size, sent: path.sent_packets, lost: path.lost_packets, received })
    }

    /// Leaves the room, with words for the relay.
    pub async fn disconnect(&mut self, reason: &str) {
        self.drop_pending();
        if let Some(mut connected) = self.connected.take() {
            let bye = Control::Bye { reason: reason.to_owned() };
            if connected.control_out.send(&bye).await.is_ok() {
                connected.control_out.finish();
            }
            connected.link.close(reason);
            connected.link.wait_idle().await;
        }
    }

    /// The link before this one has nothing more to give.
    pub(super) fn end_draining(&mut self) {
        if let Some(draining) = self.draining.take() {
            self.outbound.count_discarded(&draining.link().take_discarded());
        }
    }
}

/// The room, and what the path to it takes now; nothing without any link. A direct link takes all that the room agreed on.
pub(super) fn room_and_path<'a>(connected: Option<&'a Connected>, island: Option<&'a Roster>) -> (Option<&'a Roster>, PathSize) {
    match (connected, island) {
        (Some(c), _) => (Some(&c.roster), c.path_size()),
        (None, Some(roster)) => (Some(roster), PathSize::settled(DatagramBudget::for_lan_mtu(roster.lan_mtu()))),
        (None, None) => (None, PathSize::settled(DatagramBudget(0))),
    }
}

/// Ends the way out by a link that was moved away from, and the link when the other side has had time to read what it holds.
/// Its control stream stays open as long: the end of that is the end of a membership.
async fn retire(before: Connected) {
    let _ = tokio::time::timeout(LINK_DEAD_AFTER, before.link.end_way()).await;
    tokio::time::sleep(RETIRE_AFTER).await;
    before.link.close("moved to another connection");
}
