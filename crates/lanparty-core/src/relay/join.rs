//! Who may enter a room, and what the others hear of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_proto::{Control, DatagramBudget, Hello, IdentityId, LanMtu, PROTOCOL_VERSION, Refusal, Role, Welcome};

use super::assign::{LEASE_RATE, TAKEN_RATE, assigned_event};
use super::attach::ATTACH_RATE;
use super::direct::CANDIDATES_RATE;
use super::groups::GROUPS_RATE;
use super::room::{Member, Room};
use super::sightings::ASK_RATE;
use super::{Copies, LinkId, Relay, RelayConfig, RelayEvent, RelayOutput};
use crate::limiter::{Rate, TokenBucket};
use crate::words::one_line;
use crate::{Counters, FrameLog, GroupSet, MemberLimiter, ProvenUser, RoomRule, WayThere};

/// Joins of one identity: a machine that reconnects after every outage needs a few at once, a flood is another thing
/// (THREATS A17).
const JOINS_BURST: u64 = 20;
const JOIN_INTERVAL: Duration = Duration::from_secs(6);
/// Identities whose joins are remembered. Beyond it those who joined least are forgotten.
const IDENTITIES_MAX: usize = 4096;
/// Time between two notices that somebody tried to join with a member's MAC address: identities cost nothing, so a
/// limit on theirs alone would not keep anybody from filling the member's control stream.
const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// Somebody at the door.
#[derive(Clone)]
pub(super) struct Newcomer {
    pub(super) identity: IdentityId,
    pub(super) remote: String,
    pub(super) budget: DatagramBudget,
    pub(super) hello: Hello,
    pub(super) proven: Option<ProvenUser>,
}

impl Relay {
    pub(super) fn join(&mut self, link: LinkId, newcomer: &Newcomer, now: Instant) {
        let (allowed, rule) = match self.judge(link, newcomer, now) {
            Ok(judged) => judged,
            Err((code, message)) => {
                return match self.may_stand_by(newcomer).filter(|_| code == Refusal::SecondGateway) {
                    Some(behind) => self.stand_by(link, newcomer, behind, now),
                    None => self.refuse(link, newcomer, code, message, now),
                };
            }
        };
        let replaced = self.take_over(newcomer);
        let (code, minimum, multicast) =
            (newcomer.hello.room.clone(), self.config.lan_mtu_min, rule.multicast.unwrap_or(self.config.multicast));
        let addresses = newcomer.hello.addresses.as_ref().and_then(|request| self.assign(&code, newcomer.identity, request, now));
        let room =
            self.rooms.entry(code.clone()).or_insert_with(|| Room::new(code.clone(), allowed, minimum, Arc::clone(&rule), multicast, now));
        let wanted = replaced.as_ref().map(|(id, _)| *id).or(newcomer.hello.resume);
        let replaced =
            replaced.map(|(_, remote)| remote).filter(|remote| newcomer.hello.resume.is_none() && is_elsewhere(remote, &newcomer.remote));
        let id = room.free_id(wanted);
        let shrunk = if room.is_empty() { None } else { room.sizes().admit(allowed) };
        let member = new_member(id, link, newcomer, &self.config, &rule, now);
        let info = member.info();
        let (members, descriptions) = (room.infos(id), room.descriptions(id));
        room.insert(member);
        let (limited_by, news) = (room.limited_by(), room.size_news(shrunk));
        let (budget_down, bond) = (Some(newcomer.budget), is_bonded(&newcomer.hello));
        let (version, lan_mtu) = (PROTOCOL_VERSION, room.lan_mtu());
        let assigned = addresses.as_ref().map(|addresses| assigned_event(code.clone(), id, addresses));
        let multicast = room.multicast();
        let welcome = Welcome { version, member: id, lan_mtu, limited_by, budget_down, replaced, bond, addresses, multicast, members };
        self.outputs.push_back(RelayOutput::Send { link, message: Control::Welcome(welcome) });
        self.outputs.extend(descriptions.into_iter().map(|message| RelayOutput::Send { link, message }));
        for to in room.others(id) {
            self.outputs.push_back(RelayOutput::Send { link: to, message: Control::MemberJoined { member: info.clone() } });
            self.outputs.extend(news.clone().map(|message| RelayOutput::Send { link: to, message }));
        }
        self.outputs.push_back(RelayOutput::Event(accepted(newcomer, id, wanted == Some(id))));
        self.outputs.extend(assigned);
        if let Some(mtu) = shrunk {
            let reason = "a member with a smaller path joined";
            self.outputs.push_back(RelayOutput::Event(RelayEvent::LanMtu { room: code.clone(), mtu, reason }));
        }
        if newcomer.hello.role == Role::Gateway {
            self.tell_groups(&code, link);
            self.tell_lans(&code);
        }
        self.links.insert(link, code);
        self.schedule_check(now);
    }

    /// The LAN MTU that the newcomer's path and this relay allow, and the rule of its room, or why it may not enter.
    fn judge(&mut self, link: LinkId, newcomer: &Newcomer, now: Instant) -> Result<(LanMtu, Arc<RoomRule>), (Refusal, String)> {
        let hello = &newcomer.hello;
        if hello.version != PROTOCOL_VERSION {
            let message = format!(
                "you speak protocol version {}, this relay speaks {PROTOCOL_VERSION}; install the same lanparty version on both",
                hello.version
            );
            return Err((Refusal::Version, message));
        }
        if self.links.contains_key(&link) {
            return Err((Refusal::Protocol, "a connection joins one room, once".into()));
        }
        if !hello.mac.is_valid_source() {
            return Err((Refusal::InvalidMac, format!("{} cannot be a member's MAC address: it must be unicast and not zero", hello.mac)));
        }
        if !self.may_join_again(newcomer.identity, now) {
            return Err((Refusal::TooManyJoins, format!("too many joins in a short time; wait {} s", JOIN_INTERVAL.as_secs())));
        }
        let rule = self.judge_rule(newcomer)?;
        let smallest = hello.budget.min(newcomer.budget);
        let allowed = smallest.lan_mtu().ok_or_else(|| {
            let message = format!(
                "your path takes datagrams of {smallest} bytes only; an Ethernet of at least {} bytes does not fit",
                lanparty_proto::LAN_MTU_MIN
            );
            (Refusal::PathTooSmall, message)
        })?;
        match self.rooms.get(&hello.room) {
            Some(room) => self.judge_room(room, &rule, newcomer, now)?,
            None if self.rooms.len() >= self.config.rooms_max => {
                return Err((Refusal::Full, "this relay has no space for another room".into()));
            }
            None => {}
        }
        Ok((allowed.max(self.config.lan_mtu_min), rule))
    }

    fn judge_room(&self, room: &Room, rule: &RoomRule, newcomer: &Newcomer, now: Instant) -> Result<(), (Refusal, String)> {
        let (hello, code) = (&newcomer.hello, room.code());
        // The same identity is the same machine coming back; it takes its own place over.
        let other = |m: &&Member| m.identity != newcomer.identity;
        if hello.role == Role::Gateway {
            self.judge_lan(room, newcomer, now).map_err(|message| (Refusal::SecondGateway, message))?;
        }
        if let Some(holder) = room.by_mac(hello.mac).filter(other) {
            let message = format!(
                "MAC {} is already in room {code}: member {} from {}; each machine needs one of its own: leave --mac out, start a copy once with --new-identity, or give a cloned gateway's interface another address",
                hello.mac, holder.id, holder.remote
            );
            return Err((Refusal::DuplicateMac, message));
        }
        if room.len() >= rule.members_max.unwrap_or(usize::MAX).min(self.config.members_max)
            && room.by_identity(newcomer.identity).is_none()
        {
            return Err((Refusal::Full, format!("room {code} is full: {} members", room.len())));
        }
        Ok(())
    }

    pub(super) fn may_join_again(&mut self, identity: IdentityId, now: Instant) -> bool {
        let rate = Rate { per_second: 1, burst: JOINS_BURST * JOIN_INTERVAL.as_secs() };
        if self.joins.len() >= IDENTITIES_MAX && !self.joins.contains_key(&identity) {
            self.forget_joins(rate.burst, now);
        }
        let bucket = self.joins.entry(identity).or_insert_with(|| TokenBucket::new(rate, now));
        bucket.take(JOIN_INTERVAL.as_secs(), now)
    }

    /// A full bucket says nothing that an absent one does not. When none is full, the fullest says least.
    fn forget_joins(&mut self, burst: u64, now: Instant) {
        self.joins.retain(|_, bucket| bucket.tokens(now) < burst);
        while self.joins.len() >= IDENTITIES_MAX {
            let Some(fullest) = self.joins.iter().max_by_key(|(_, bucket)| bucket.tokens(now)).map(|(id, _)| *id) else { return };
            self.joins.remove(&fullest);
        }
    }

    /// Ends an older connection of the same identity in the same room. The number it had, and where it was.
    fn take_over(&mut self, newcomer: &Newcomer) -> Option<(lanparty_proto::MemberId, String)> {
        let old = self.rooms.get(&newcomer.hello.room)?.by_identity(newcomer.identity)?;
        let (id, link, remote) = (old.id, old.link, old.remote.clone());
        let message = format!("this identity joined again from {}; only one of them can be in the room", newcomer.remote);
        self.outputs.push_back(RelayOutput::Refuse { link, code: Refusal::Replaced, message });
        self.leave(link, "joined again");
        Some((id, remote))
    }

    fn refuse(&mut self, link: LinkId, newcomer: &Newcomer, code: Refusal, message: String, now: Instant) {
        if code == Refusal::DuplicateMac {
            self.warn_holder_of_mac(newcomer, now);
        }
        let hello = &newcomer.hello;
        let told = if code == Refusal::NotAllowed { self.why_not_allowed(newcomer) } else { message.clone() };
        self.outputs.push_back(RelayOutput::Event(RelayEvent::Refused {
            room: hello.room.clone(),
            role: hello.role,
            mac: hello.mac,
            remote: newcomer.remote.clone(),
            code,
            message: told,
        }));
        self.outputs.push_back(RelayOutput::Refuse { link, code, message });
    }

    /// A MAC address that two machines claim is named on both sides.
    fn warn_holder_of_mac(&mut self, newcomer: &Newcomer, now: Instant) {
        let Some(holder) = self.rooms.get_mut(&newcomer.hello.room).and_then(|room| room.by_mac_mut(newcomer.hello.mac)) else { return };
        let fresh = holder.noticed.is_none_or(|at| now.saturating_duration_since(at) >= NOTICE_INTERVAL);
        if holder.identity != newcomer.identity && fresh {
            holder.noticed = Some(now);
            let message = format!("another machine at {} tried to join with your MAC {} and was refused", newcomer.remote, holder.mac);
            self.outputs.push_back(RelayOutput::Send { link: holder.link, message: Control::Notice { message } });
        }
    }
}

/// Whether two ends of connections, `ADDRESS:PORT`, are of different hosts as far as one can see.
fn is_elsewhere(one: &str, other: &str) -> bool {
    let host = |end: &str| end.rsplit_once(':').map(|(host, _)| host.to_owned());
    host(one) != host(other)
}

fn new_member(
    id: lanparty_proto::MemberId,
    link: LinkId,
    newcomer: &Newcomer,
    config: &RelayConfig,
    rule: &RoomRule,
    now: Instant,
) -> Member {
    let hello = &newcomer.hello;
    Member {
        id,
        role: hello.role,
        mac: hello.mac,
        lan_up: hello.lan_up || hello.role == Role::Client,
        joins_lans: hello.joins_lans,
        identity: newcomer.identity,
        proven: newcomer.proven.clone(),
        description: hello.description.clone(),
        link,
        run: hello.run,
        is_bonded: is_bonded(hello),
        attaches: TokenBucket::new(ATTACH_RATE, now),
        remote: newcomer.remote.clone(),
        software: one_line(&hello.software),
        joined: now,
        noticed: None,
        budget_up: hello.budget,
        budget_down: newcomer.budget,
        rtt: Duration::ZERO,
        way: WayThere::new(now),
        below: None,
        limiter: MemberLimiter::new(rule.limits(config.limits, hello.role), now),
        counters: Counters::default(),
        copies: Copies::default(),
        log: FrameLog::new(config.log_every_frame),
        asks: TokenBucket::new(ASK_RATE, now),
        named: None,
        candidate_rate: TokenBucket::new(CANDIDATES_RATE, now),
        taken_rate: TokenBucket::new(TAKEN_RATE, now),
        has_leases: hello.role == Role::Gateway && hello.addresses.is_some(),
        lease_rate: TokenBucket::new(LEASE_RATE, now),
        no_lease: None,
        groups: GroupSet::All,
        groups_rate: TokenBucket::new(GROUPS_RATE, now),
    }
}

fn is_bonded(hello: &Hello) -> bool {
    hello.bond.is_some() && hello.run != 0
}

fn accepted(newcomer: &Newcomer, member: lanparty_proto::MemberId, resumed: bool) -> RelayEvent {
    let hello = &newcomer.hello;
    RelayEvent::Accepted {
        room: hello.room.clone(),
        member,
        role: hello.role,
        mac: hello.mac,
        identity: newcomer.identity,
        remote: newcomer.remote.clone(),
        software: one_line(&hello.software),
        description: hello.description.clone(),
        resumed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RelayConfig;

    fn stranger(n: u32) -> IdentityId {
        let mut id = [0; 32];
        id[28..].copy_from_slice(&n.to_be_bytes());
        IdentityId(id)
    }

    #[test]
    fn fresh_identities_without_end_are_not_all_remembered() {
        let (mut relay, now) = (Relay::new(RelayConfig::default()), Instant::now());
        let busy = IdentityId([0xff; 32]);
        while relay.may_join_again(busy, now) {}
        for n in 0..IDENTITIES_MAX as u32 + 500 {
            assert!(relay.may_join_again(stranger(n), now));
        }
        assert_eq!(relay.joins.len(), IDENTITIES_MAX);
        assert!(!relay.may_join_again(busy, now), "who joined most is remembered");
    }
}
