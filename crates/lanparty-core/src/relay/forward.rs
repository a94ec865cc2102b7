//! Station 6, the switch: from one member to those of its room that the destination names.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{
    AdmissionPolicy, DatagramHeader, DropReason, Frame, MemberId, MulticastPolicy, MulticastUse, Role, RoomCode, admit, frame_fits,
};

use super::room::{Member, Room};
use super::{LinkId, Relay};
use crate::multicast::joined_group;
use crate::roster::source_of;
use crate::{Drops, FrameRecord, Point};

/// Where a connection stands: looked up once per batch.
#[derive(Clone, Debug)]
pub struct Place {
    room: RoomCode,
    member: MemberId,
}

impl Place {
    /// The room.
    #[must_use]
    pub const fn room(&self) -> &RoomCode {
        &self.room
    }

    /// The member's number in it.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }
}

/// What became of the copies of frames toward a member, or toward several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Sent toward it.
    pub out: u64,
    /// Not, and why.
    pub dropped: Drops,
}

impl Copies {
    pub(super) fn add_all(&mut self, other: &Self) {
        self.out += other.out;
        self.dropped.add_all(&other.dropped);
    }

    /// These were to be sent, and were not.
    fn take_back(&mut self, dropped: &Drops) {
        self.out = self.out.saturating_sub(dropped.total());
        self.dropped.add_all(dropped);
    }
}

/// A datagram to send.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// To this connection.
    pub link: LinkId,
    /// These bytes: exactly those that came in.
    pub datagram: Bytes,
}

impl Relay {
    /// Where `link` stands, once it has joined.
    #[must_use]
    pub fn place(&self, link: LinkId) -> Option<Place> {
        let room = self.links.get(&link)?;
        let member = self.rooms.get(room)?.id_of(link)?;
        Some(Place { room: room.clone(), member })
    }

    /// Forwards a batch of datagrams from the member at `place`. Appends what is to be sent to `out` and what is to be
    /// logged to `records`.
    pub fn forward(
        &mut self,
        place: &Place,
        datagrams: impl IntoIterator<Item = Bytes>,
        now: Instant,
        out: &mut Vec<Delivery>,
        records: &mut Vec<FrameRecord>,
    ) {
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        for datagram in datagrams {
            forward_one(room, place.member, &datagram, now, out, records);
        }
    }

    /// These deliveries to `link` were dropped behind the switch. Its member may have left by then, or have another link.
    pub fn count_copies_dropped(&mut self, link: LinkId, dropped: &Drops) {
        let room = self.links.get(&link).and_then(|code| self.rooms.get_mut(code));
        let member = room.and_then(|room| room.id_of(link).and_then(|id| room.member_mut(id)));
        member.map_or(&mut self.gone_copies, |member| &mut member.copies).take_back(dropped);
    }
}

fn forward_one(room: &mut Room, from: MemberId, datagram: &Bytes, now: Instant, out: &mut Vec<Delivery>, records: &mut Vec<FrameRecord>) {
    let start = out.len();
    let frame_len = datagram.len().saturating_sub(lanparty_proto::DATAGRAM_HEADER_LEN);
    let outcome = switch(room, from, datagram, now, out);
    let frame = datagram.get(lanparty_proto::DATAGRAM_HEADER_LEN..).unwrap_or_default();
    if outcome.is_ok() {
        room.watch.look(frame, Point::ToRoom, now);
    }
    let Some(member) = room.member_mut(from) else { return };
    member.counters.count_in(frame_len);
    let outcome = match outcome {
        Ok(()) => {
            member.counters.count_forwarded(frame_len);
            Ok(out.len() - start)
        }
        Err(reason) => {
            member.counters.count_dropped(reason);
            Err(reason)
        }
    };
    records.extend(member.log.note(frame, outcome, now));
}

/// Decode, admit, charge, and choose the members: unicast to its member or to the gateway of its host; broadcast and multicast to
/// all others, or to those that listen to the group; unicast to a host that nobody has heard to the gateways only, and never back to the LAN that it comes from.
fn switch(room: &mut Room, from: MemberId, datagram: &Bytes, now: Instant, out: &mut Vec<Delivery>) -> Result<(), DropReason> {
    let (header, bytes) = DatagramHeader::decode(datagram)?;
    let lan_mtu = room.lan_mtu();
    let parsed = Frame::parse(bytes).ok();
    let target = parsed.map_or(Target::All, |f| target_of(room, from, &f));
    let copies = copies(room, from, &target);
    let policy = AdmissionPolicy { multicast: room.multicast(), ..AdmissionPolicy::new(lan_mtu) };
    let is_anothers = parsed.is_some_and(|f| room.by_mac(f.src()).is_some_and(|owner| owner.id != from));
    let sender = room.member_mut(from).ok_or(DropReason::UnknownSender)?;
    if header.source != from {
        return Err(DropReason::UnknownSender);
    }
    let frame = admit(bytes, source_of(sender.role, sender.mac), &policy, None)?;
    // Only a gateway gets here under a member's address: its LAN sends back what the member had sent into it (THREATS A13).
    if is_anothers {
        return Err(DropReason::HairpinLoop);
    }
    let (is_gateway, src) = (sender.role == Role::Gateway, frame.src());
    if !sender.limiter.admits_bytes(bytes.len(), now) {
        return Err(DropReason::RateLimit);
    }
    match target {
        Target::Nobody => return Err(DropReason::UnknownDestination),
        Target::Listeners(_) if copies == 0 => return Err(DropReason::Multicast),
        Target::One { is_known: true, .. } => {}
        _ if sender.limiter.admits_flood(frame.class(), copies, now) => {}
        _ => return Err(DropReason::RateLimit),
    }
    if !room.admits_bytes(&frame, bytes.len(), copies, now) {
        return Err(DropReason::RoomRateLimit);
    }
    let joins_lans = is_gateway && room.lans() > 1;
    if joins_lans && room.by_mac(src).is_none() && !room.hosts.learn(src, from, now) {
        return Err(DropReason::HairpinLoop);
    }
    match target {
        Target::One { member, .. } => {
            deliver(room.member_mut(member).ok_or(DropReason::UnknownDestination)?, bytes.len(), lan_mtu, datagram, out)
        }
        Target::Gateways => flood(room, |m| m.id != from && m.role == Role::Gateway, bytes.len(), datagram, out),
        Target::Listeners(group) => flood(room, |m| m.id != from && listens(m, group), bytes.len(), datagram, out),
        _ => flood(room, |m| m.id != from, bytes.len(), datagram, out),
    }
}

enum Target {
    /// A member, or the gateway of a host; `is_known` where nobody has to look for it.
    One {
        member: MemberId,
        is_known: bool,
    },
    /// A host that nobody has heard, on one of several LANs.
    Gateways,
    /// Whoever listens to this multicast group.
    Listeners(IpAddr),
    All,
    Nobody,
}

fn target_of(room: &Room, from: MemberId, frame: &Frame<'_>) -> Target {
    let dst = frame.dst();
    if dst.is_group() {
        return target_of_group(room, frame);
    }
    if let Some(member) = room.by_mac(dst) {
        return if member.id == from { Target::Nobody } else { Target::One { member: member.id, is_known: true } };
    }
    // A LAN host behind a gateway, or nobody: only the gateways can know.
    let to = |gateway: &Member| Target::One { member: gateway.id, is_known: gateway.lan_up };
    if let Some(gateway) = room.hosts.gateway_of(dst).and_then(|id| room.gateway(id)) {
        return if gateway.id == from { Target::Nobody } else { to(gateway) };
    }
    let mut gateways = room.gateways().filter(|g| g.id != from);
    match (gateways.next(), gateways.next()) {
        (None, _) => Target::Nobody,
        (Some(only), None) => to(only),
        _ => Target::Gateways,
    }
}

/// Broadcast is for all. Reports of who listens are for multicast routers, which only gateways lead to: a host that hears of another's
/// keeps silent about its own (RFC 4541 §2.1.1).
fn target_of_group(room: &Room, frame: &Frame<'_>) -> Target {
    if MulticastUse::of(frame) == Some(MulticastUse::Report) {
        return Target::Gateways;
    }
    let group = if room.multicast() == MulticastPolicy::Snooped { joined_group(frame) } else { None };
    group.map_or(Target::All, Target::Listeners)
}

/// A gateway's LAN has hosts and routers that say nothing here.
fn listens(member: &Member, group: IpAddr) -> bool {
    member.role == Role::Gateway || member.groups.has(group)
}

fn copies(room: &Room, from: MemberId, target: &Target) -> usize {
    match target {
        Target::One { .. } | Target::Nobody => 1,
        Target::Gateways => room.gateways().filter(|g| g.id != from).count(),
        Target::Listeners(group) => room.members().filter(|m| m.id != from && listens(m, *group)).count(),
        Target::All => room.len() - 1,
    }
}

/// Nobody to hear a broadcast is no loss: the frame went to all others, who are none.
fn flood(
    room: &mut Room,
    is_meant: impl Fn(&Member) -> bool,
    len: usize,
    datagram: &Bytes,
    out: &mut Vec<Delivery>,
) -> Result<(), DropReason> {
    let lan_mtu = room.lan_mtu();
    let mut verdict = Ok(());
    let mut delivered = false;
    for member in room.members_mut().filter(|m| is_meant(m)) {
        match deliver(member, len, lan_mtu, datagram, out) {
            Ok(()) => delivered = true,
            Err(reason) => verdict = Err(reason),
        }
    }
    if delivered { Ok(()) } else { verdict }
}

fn deliver(
    to: &mut Member,
    len: usize,
    lan_mtu: lanparty_proto::LanMtu,
    datagram: &Bytes,
    out: &mut Vec<Delivery>,
) -> Result<(), DropReason> {
    if let Err(reason) = frame_fits(len, lan_mtu, Some(to.budget_down)) {
        to.copies.dropped.add(reason, 1);
        return Err(reason);
    }
    to.copies.out += 1;
    out.push(Delivery { link: to.link, datagram: datagram.clone() });
    Ok(())
}
