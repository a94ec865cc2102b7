//! Keeps the LAN's switches informed: for every remote member, a frame from its MAC address when it joins and about
//! once a minute, so that the switch learns (and keeps, IEEE 802.1Q §8.8.3: 300 s by default) the gateway's port.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{MacAddr, MemberId, ethertype};

/// Time between two announcements of one member.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(60);
/// Shortest Ethernet frame without FCS (IEEE 802.3 §3.2.8).
const FRAME_LEN_MIN: usize = 60;

/// Why a member is announced, as logs spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceReason {
    /// It just joined.
    PeerJoined,
    /// A minute has passed.
    Periodic,
    /// The LAN's carrier came back.
    LanReturned,
    /// Another gateway left the room, and with it a port on which switches may have learned the member.
    GatewayLeft,
}

impl AnnounceReason {
    /// The reason as logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerJoined => "peer_joined",
            Self::Periodic => "periodic",
            Self::LanReturned => "lan_returned",
            Self::GatewayLeft => "gateway_left",
        }
    }
}

/// A frame to send into the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The member it speaks for.
    pub member: MemberId,
    /// Its MAC address, the frame's source.
    pub mac: MacAddr,
    /// Why now.
    pub reason: AnnounceReason,
}

impl Announcement {
    /// A broadcast RARP request from the member's MAC address (RFC 903), 60 bytes: every switch on the way learns the
    /// port, and no host has anything to answer. Hypervisors announce migrated machines the same way.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mac = self.mac.0;
        let mut frame = Vec::with_capacity(FRAME_LEN_MIN);
        frame.extend([0xff; 6]);
        frame.extend(mac);
        frame.extend(ethertype::RARP.to_be_bytes());
        // Hardware type Ethernet, protocol type IPv4, lengths 6 and 4, opcode 3: "request reverse".
        frame.extend([0, 1, 0x08, 0, 6, 4, 0, 3]);
        frame.extend(mac);
        frame.extend([0; 4]);
        frame.extend(mac);
        frame.resize(FRAME_LEN_MIN, 0);
        frame
    }
}

/// When each member is due.
#[derive(Default)]
pub struct Announcer {
    due: BTreeMap<MemberId, (MacAddr, Instant, AnnounceReason)>,
}

impl Announcer {
    /// A member joined: it is due now.
    pub fn joined(&mut self, member: MemberId, mac: MacAddr, now: Instant) {
        self.due.insert(member, (mac, now, AnnounceReason::PeerJoined));
    }

    /// A member left. Whether it was one that is announced: the others are gateways.
    pub fn left(&mut self, member: MemberId) -> bool {
        self.due.remove(&member).is_some()
    }

    /// Nobody is left: the room is joined anew.
    pub fn clear(&mut self) {
        self.due.clear();
    }

    /// The switches have to learn this port anew: everybody is due now.
    pub fn all_due(&mut self, why: AnnounceReason, now: Instant) {
        for (_, at, reason) in self.due.values_mut() {
            (*at, *reason) = (now, why);
        }
    }

    /// The next announcement that is due, if any.
    pub fn poll(&mut self, now: Instant) -> Option<Announcement> {
        let (member, slot) = self.due.iter_mut().find(|(_, (_, at, _))| *at <= now)?;
        let announcement = Announcement { member: *member, mac: slot.0, reason: slot.2 };
        (slot.1, slot.2) = (now + ANNOUNCE_INTERVAL, AnnounceReason::Periodic);
        Some(announcement)
    }

    /// When [`Self::poll`] is next worth calling.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.values().map(|(_, at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_announced_on_join_and_about_once_a_minute() {
        let (mut announcer, start) = (Announcer::default(), Instant::now());
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        announcer.joined(MemberId(2), mac, start);
        assert_eq!(announcer.poll(start).unwrap().reason, AnnounceReason::PeerJoined);
        assert_eq!(announcer.poll(start + Duration::from_secs(59)), None);
        assert_eq!(announcer.poll(start + ANNOUNCE_INTERVAL).unwrap().reason, AnnounceReason::Periodic);
        announcer.all_due(AnnounceReason::LanReturned, start + Duration::from_secs(61));
        assert_eq!(announcer.poll(start + Duration::from_secs(61)).unwrap().reason, AnnounceReason::LanReturned);
        assert!(announcer.left(MemberId(2)) && !announcer.left(MemberId(3)));
        assert_eq!(announcer.next_due(), None);
    }

    #[test]
    fn the_frame_is_a_broadcast_from_the_members_mac() {
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        let frame = Announcement { member: MemberId(2), mac, reason: AnnounceReason::Periodic }.frame();
        assert_eq!((frame.len(), &frame[0..6], &frame[6..12]), (60, &[0xff; 6][..], &mac.0[..]));
    }
}
