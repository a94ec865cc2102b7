//! A gateway whose room joins several LANs: it learns which host is on which, and notices when two of the LANs are one, because
//! somebody has cabled them together (docs/decisions/0021-several-lans.md).

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::Roster;
use lanparty_nic::Device;
use lanparty_proto::{Control, DatagramHeader, Frame, MemberFrame, MemberId, Role};
use tracing::warn;

use super::MemberDriver;

/// Signs that are given for a reason, beside those that are due: whoever hears one acts on it at once.
const SIGN_PAUSE: Duration = Duration::from_millis(20);

/// What a gateway knows of two LANs that are one.
#[derive(Default)]
pub(super) struct Lans {
    /// The gateway on this very LAN for whose sake this one carries nothing.
    blocked_by: Option<MemberId>,
    /// What the relay has to hear of it.
    unsaid: Option<Control>,
    signed: Option<Instant>,
}

impl<D: Device> MemberDriver<D> {
    /// What the LAN gives now.
    pub(super) fn learn_from_lan(&mut self, now: Instant) {
        let Some(roster) = joining(&mut self.connected, &mut self.island) else { return };
        let (own, mut doubtful, mut heard) = (roster.own().id, false, None);
        for frame in self.batch.iter().filter_map(|frame| Frame::parse(frame).ok()) {
            match MemberFrame::read(&frame) {
                Some(MemberFrame::GatewaySign(_)) => heard = gateway_at(roster, &frame).or(heard),
                Some(_) => {}
                None => doubtful |= !roster.learn(frame.src(), own, now),
            }
        }
        match heard {
            Some(other) if other < own => self.block_for(other),
            // It is the other one that gives way, once it hears this one.
            Some(_) => self.sign_at_once(now),
            None if doubtful => self.sign_at_once(now),
            None => {}
        }
    }

    /// What the room gives now.
    pub(super) fn learn_from_room(&mut self, count: usize, now: Instant) {
        let Some(roster) = joining(&mut self.connected, &mut self.island) else { return };
        let mut doubtful = false;
        for (header, bytes) in self.received.iter().take(count).filter_map(|datagram| DatagramHeader::decode(datagram).ok()) {
            doubtful |=
                Frame::parse(bytes).is_ok_and(|frame| header.source != roster.own().id && !roster.learn(frame.src(), header.source, now));
        }
        if doubtful {
            self.sign_at_once(now);
        }
    }

    /// Whoever is on this LAN, too, hears that this gateway is.
    fn sign_at_once(&mut self, now: Instant) {
        if self.lans.signed.is_some_and(|at| now.saturating_duration_since(at) < SIGN_PAUSE) {
            return;
        }
        self.lans.signed = Some(now);
        let (Some(mac), Some(neighbours)) = (self.roster().map(|roster| roster.own().mac), self.neighbours()) else { return };
        let sign = Bytes::from(neighbours.sign(mac));
        if let Some(device) = &mut self.device {
            // A busy or failing interface is noticed elsewhere; the next sign comes soon.
            let _ = device.send(&[sign]);
        }
    }

    fn block_for(&mut self, other: MemberId) {
        if self.lans.blocked_by.replace(other).is_some() {
            return;
        }
        warn!(
            "two-gateways-on-one-lan: gateway peer {other} of this room gives its sign on {}, so the LANs that it joins are one; this gateway carries nothing and stands by",
            self.interface
        );
        self.set_blocked(true);
        self.lans.unsaid = Some(Control::SameLan { gateway: other });
    }

    /// A member left, or everybody did: who carried nothing for its sake carries again.
    pub(super) fn unblock_for(&mut self, gone: Option<MemberId>) {
        if self.lans.blocked_by.take_if(|other| gone.is_none_or(|id| id == *other)).is_some() {
            self.lans.unsaid = None;
            self.set_blocked(false);
        }
    }

    /// Tells the relay which gateway is here as well, so that it lets one of the two stand by.
    pub(super) async fn tell_lans(&mut self) {
        if let Some(message) = self.lans.unsaid.take() {
            self.tell(&message).await;
        }
    }
}

/// The room, where it joins LANs.
fn joining<'a>(connected: &'a mut Option<super::Connected>, island: &'a mut Option<Roster>) -> Option<&'a mut Roster> {
    connected.as_mut().map(|c| &mut c.roster).or(island.as_mut()).filter(|roster| roster.joins_lans())
}

fn gateway_at(roster: &Roster, frame: &Frame<'_>) -> Option<MemberId> {
    roster.by_mac(frame.src()).filter(|member| member.role == Role::Gateway).map(|member| member.id)
}
