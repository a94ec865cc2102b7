//! A room that joins several LANs: whose gateway may enter as a further one, and what happens when two of the LANs are one all the same
//! (docs/decisions/0021-several-lans.md).

use std::time::{Duration, Instant};

use lanparty_proto::{Control, Hello, MemberId, Refusal, RoomCode};

use super::join::Newcomer;
use super::room::{Member, Room};
use super::{LinkId, Relay, RelayEvent, RelayOutput};

/// Two gateways that were seen on one LAN are on two again when neither has heard the other for this long: several signs missed.
pub(super) const APART_AFTER: Duration = Duration::from_secs(10);

impl Relay {
    /// Whether a gateway may enter beside those that are there, or why not.
    pub(super) fn judge_lan(&self, room: &Room, newcomer: &Newcomer, now: Instant) -> Result<(), String> {
        let others: Vec<&Member> = room.gateways().filter(|m| m.identity != newcomer.identity).collect();
        let Some(first) = others.first() else { return Ok(()) };
        let (hello, most) = (&newcomer.hello, self.config.lans_max);
        let is_with = |m: &&Member| hello.hears.contains(&m.mac) || self.were_together(room.code(), m.identity, newcomer.identity, now);
        let why = if !hello.joins_lans {
            let join = if most > 1 { "; to join their LANs, start every gateway with --join-lans" } else { "" };
            format!("stop it, or use another room code{join}")
        } else if most < 2 {
            "this relay joins no LANs (its --lans is 1)".to_owned()
        } else if others.len() >= most {
            format!("the room joins {} LANs, as many as this relay's --lans allows", others.len())
        } else if let Some(unasked) = others.iter().find(|m| !m.joins_lans) {
            format!("the gateway at {} was not started with --join-lans", unasked.remote)
        } else if !hello.has_listened {
            "this one has not listened for long enough whether they are on one LAN".to_owned()
        } else if let Some(with) = others.iter().find(|m| is_with(m)) {
            format!("the gateway at {} is on the same LAN", with.remote)
        } else {
            return Ok(());
        };
        Err(format!("room {} has a gateway already: member {} with MAC {} from {}; {why}", room.code(), first.id, first.mac, first.remote))
    }

    /// A further gateway is in: the owners of all of them read it.
    pub(super) fn tell_lans(&mut self, code: &RoomCode) {
        let Some(room) = self.rooms.get(code).filter(|room| room.lans() > 1) else { return };
        let all = room.gateways().map(|gateway| format!("peer {} at {}", gateway.id, gateway.remote)).collect::<Vec<_>>().join(", ");
        let message = format!(
            "room {code} joins {} LANs now (gateways {all}): their hosts and all members are on one Ethernet. With a DHCP server on more than one of them, whoever asks takes the first answer; let one LAN have it",
            room.lans()
        );
        let notice = |gateway: &Member| RelayOutput::Send { link: gateway.link, message: Control::Notice { message: message.clone() } };
        self.outputs.extend(room.gateways().map(notice));
        self.outputs.push_back(RelayOutput::Event(RelayEvent::LansJoined { room: code.clone(), count: room.lans() }));
    }

    /// A gateway hears another one of its room on its own LAN: somebody has cabled the two together, and one of them is enough.
    pub(super) fn same_lan(&mut self, link: LinkId, other: MemberId, now: Instant) {
        let Some((room, id)) = self.room_of(link) else { return };
        let (Some(own), Some(other)) = (room.gateway(id), room.gateway(other).filter(|other| other.id != id)) else { return };
        let message = format!("this LAN and that of the gateway at {} are one; both would be a loop", other.remote);
        let (code, pair) = (room.code().clone(), (own.identity, other.identity));
        self.note_together(&code, pair.0, pair.1, now);
        self.outputs.push_back(RelayOutput::Refuse { link, code: Refusal::StandBy, message });
        self.leave(link, "its LAN and that of another gateway of the room are one");
    }

    /// One that stands by does not hear the gateway before it, which is there all the same: after a while it is on another LAN, and may
    /// enter as such.
    pub fn unheard(&mut self, link: LinkId, now: Instant) {
        let Some((code, newcomer)) = self.note_unheard(link, now) else { return };
        let hello = Hello { hears: vec![], has_listened: true, ..newcomer.hello.clone() };
        let newcomer = Newcomer { hello, ..newcomer };
        let may = self.rooms.get(&code).is_some_and(|room| self.judge_lan(room, &newcomer, now).is_ok());
        if may && newcomer.hello.lan_up {
            self.forget_standby(link);
            self.join(link, &newcomer, now);
        }
    }
}
