//! How far a member's DHCP came: the relay's own word, and the way to the gateways' and back.

use std::time::Instant;

use lanparty_proto::{Control, MacAddr, MemberId, Role};

use super::{LinkId, Relay, RelayOutput};
use crate::limiter::Rate;
use crate::words::one_line;

/// Questions of one member: a person asks now and then, and a script must not keep the gateways busy.
pub(super) const ASK_RATE: Rate = Rate { per_second: 1, burst: 5 };
/// Other gateways that one gateway may name.
const OTHER_GATEWAYS_MAX: usize = 8;

impl Relay {
    /// A client asks about itself: the relay answers, and passes the question on to the gateways.
    pub(super) fn ask_sightings(&mut self, link: LinkId, mac: MacAddr, now: Instant) {
        let Some((room, id)) = self.room_of(link) else { return };
        let Some(member) = room.member_mut(id).filter(|member| member.role == Role::Client && member.mac == mac) else { return };
        if !member.asks.take(1, now) {
            return;
        }
        let dhcp = room.watch.dhcp(mac, now);
        let answer = Control::Sightings { mac, by: None, dhcp, is_on_lan: false, other_gateways: vec![] };
        let gateways: Vec<_> = room.members().filter(|m| m.role == Role::Gateway).map(|m| m.link).collect();
        self.outputs.push_back(RelayOutput::Send { link, message: answer });
        self.outputs.extend(gateways.into_iter().map(|link| RelayOutput::Send { link, message: Control::AskSightings { mac } }));
    }

    /// A client is bridged to the gateway's LAN, or not any more: its owner and the gateway's read it.
    pub(super) fn pass_loop(&mut self, from: MemberId, link: LinkId, message: &str, now: Instant) {
        let Some((room, _)) = self.room_of(link) else { return };
        if room.member_mut(from).is_none_or(|member| member.role != Role::Client || !member.asks.take(1, now)) {
            return;
        }
        let message = format!("peer {from} says: {}", one_line(message));
        let notice = |to: LinkId| RelayOutput::Send { link: to, message: Control::Notice { message: message.clone() } };
        let notices = room.gateways().map(|gateway| notice(gateway.link)).collect::<Vec<_>>();
        self.outputs.extend(notices);
    }

    /// A gateway's answer goes to the member that it is about, under the gateway's own number.
    pub(super) fn pass_sightings(&mut self, from: MemberId, link: LinkId, answer: Control) {
        let Control::Sightings { mac, dhcp, is_on_lan, mut other_gateways, .. } = answer else { return };
        let Some((room, _)) = self.room_of(link) else { return };
        if room.member_mut(from).is_none_or(|member| member.role != Role::Gateway) {
            return;
        }
        let Some(to) = room.by_mac(mac).filter(|member| member.id != from).map(|member| member.link) else { return };
        other_gateways.truncate(OTHER_GATEWAYS_MAX);
        let message = Control::Sightings { mac, by: Some(from), dhcp, is_on_lan, other_gateways };
        self.outputs.push_back(RelayOutput::Send { link: to, message });
    }
}
