//! Inbound: datagrams from the relay toward a member's device. Station 10 of the walk: decode, admit, filter.
//!
//! The relay has checked all of this already. It is checked again because the relay is trusted for availability, not
//! for content (THREATS §2.1).

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use lanparty_proto::{DATAGRAM_HEADER_LEN, DatagramHeader, Direction, DropReason, Frame, MemberId, Role, admit};

use crate::echo::Ear;
use crate::roster::source_of;
use crate::{Counters, Filter, FrameLog, FrameRecord, Heard, OwnAddresses, RefusedGroups, Roster};

/// The inbound half of a member.
pub struct Inbound {
    direction: Direction,
    counters: Counters,
    /// By source; `None` collects datagrams whose sender is not known.
    logs: BTreeMap<Option<MemberId>, FrameLog>,
    every_frame: bool,
    lan_flooded: u64,
    ear: Ear,
    is_blocked: bool,
    filter: Option<Filter>,
    refused: RefusedGroups,
    own: Option<OwnAddresses>,
}

impl Inbound {
    /// The inbound half of a member of that role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let direction = match role {
            Role::Client => Direction::RelayToTap,
            Role::Gateway => Direction::RemoteToLan,
        };
        Self {
            direction,
            counters: Counters::default(),
            logs: BTreeMap::new(),
            every_frame: false,
            lan_flooded: 0,
            ear: Ear::default(),
            is_blocked: false,
            filter: None,
            refused: RefusedGroups::default(),
            own: None,
        }
    }

    /// Records every frame from now on, not a sample.
    pub fn log_every_frame(&mut self) {
        self.every_frame = true;
        self.logs.clear();
    }

    /// Drops every frame for the device as [`DropReason::Loop`] from now on, or not any more.
    pub const fn set_blocked(&mut self, blocked: bool) {
        self.is_blocked = blocked;
    }

    /// Asks this filter about every frame for the device, after everything else was.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// Takes packets for these addresses only.
    pub fn listen_for(&mut self, own: OwnAddresses) {
        self.own = Some(own);
    }

    /// The filter, when there is one.
    #[must_use]
    pub const fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Takes `datagrams` and appends the frames that may enter the device to `out`. `roster` is `None` while this
    /// member is in no room.
    pub fn process(
        &mut self,
        datagrams: impl IntoIterator<Item = Bytes>,
        roster: Option<&Roster>,
        now: Instant,
        out: &mut Vec<Bytes>,
        records: &mut Vec<(Option<MemberId>, FrameRecord)>,
    ) {
        for datagram in datagrams {
            let frame = datagram.slice(DATAGRAM_HEADER_LEN.min(datagram.len())..);
            self.counters.count_in(frame.len());
            let (sender, mut outcome) = admit_inbound(&datagram, roster);
            // Between members: answered or dropped here, never the device's.
            let taken = roster.zip(outcome.as_ref().ok()).and_then(|(r, f)| self.ear.take(f, r.own().mac, now));
            if let Some(Err(reason)) = taken {
                outcome = Err(reason);
            }
            if taken.is_none() {
                outcome = outcome.and_then(|frame| self.let_in(frame));
            }
            let known = sender.filter(|id| roster.is_some_and(|r| r.member(*id).is_some()));
            self.prune_logs(roster);
            let log = self.logs.entry(known).or_insert_with(|| FrameLog::new(self.every_frame));
            records.extend(log.note(&frame, outcome.as_ref().map(|_| 1).map_err(|e| *e), now).map(|record| (known, record)));
            match outcome {
                Ok(_) if taken.is_some() => self.counters.count_answered(),
                Ok(admitted) => {
                    let from_lan = roster.and_then(|r| r.member(known?)).is_some_and(|m| m.role == Role::Gateway);
                    self.lan_flooded += u64::from(from_lan && admitted.dst().is_group());
                    self.counters.count_forwarded(frame.len());
                    out.push(frame);
                }
                Err(reason) => {
                    if reason == DropReason::Multicast {
                        self.refused.note(&frame);
                    }
                    self.counters.count_dropped(reason);
                }
            }
        }
    }

    /// Multicast groups that did not pass.
    pub const fn refused_groups(&mut self) -> &mut RefusedGroups {
        &mut self.refused
    }

    /// Whether the device may have it.
    fn let_in<'a>(&mut self, frame: Frame<'a>) -> Result<Frame<'a>, DropReason> {
        if self.is_blocked {
            return Err(DropReason::Loop);
        }
        self.own.as_ref().map_or(Ok(()), |own| own.may_receive(&frame))?;
        self.filter.as_mut().map_or(Ok(()), |filter| filter.judge(frame.bytes())).map(|()| frame)
    }

    /// Whoever left while there was no relay to say so is forgotten as soon as there is more to keep than members.
    fn prune_logs(&mut self, roster: Option<&Roster>) {
        if self.logs.len() > roster.map_or(0, Roster::len) + 1 {
            self.logs.retain(|id, _| id.is_none_or(|id| roster.is_some_and(|r| r.member(id).is_some())));
        }
    }

    /// Senders whose log state is kept, strangers together counting as one.
    #[must_use]
    pub fn logged_senders(&self) -> usize {
        self.logs.len()
    }

    /// A member left: its log state goes with it.
    pub fn forget(&mut self, member: MemberId) {
        self.logs.remove(&Some(member));
    }

    /// Frames between members that came since the last call: answers to send, replies to our own requests.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        self.ear.drain()
    }

    /// A frame that [`Self::process`] gave out did not enter the device after all.
    pub const fn take_back(&mut self, frame: &Bytes, reason: DropReason) {
        self.counters.recount_as_dropped(frame.len(), reason);
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The direction, as logs spell it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Broadcast and multicast frames that came from the LAN behind the gateway.
    #[must_use]
    pub const fn lan_flooded(&self) -> u64 {
        self.lan_flooded
    }
}

/// Station 10, decode and admit.
fn admit_inbound<'a>(datagram: &'a [u8], roster: Option<&Roster>) -> (Option<MemberId>, Result<Frame<'a>, DropReason>) {
    let (header, frame) = match DatagramHeader::decode(datagram) {
        Ok(parts) => parts,
        Err(reason) => return (None, Err(reason)),
    };
    let verdict = || {
        let roster = roster.ok_or(DropReason::LinkDown)?;
        let sender = roster.member(header.source).ok_or(DropReason::UnknownSender)?;
        let admitted = admit(frame, source_of(sender.role, sender.mac), &roster.policy(), None)?;
        // A client has passed as itself; only a gateway's LAN can send back what somebody here had sent into it.
        let own = roster.own();
        let is_anothers = roster.by_mac(admitted.src()).is_some_and(|owner| owner.id != sender.id);
        if is_anothers || admitted.src() == own.mac || roster.lan_of(admitted.src()).is_some_and(|gateway| gateway != sender.id) {
            return Err(DropReason::HairpinLoop);
        }
        if own.role == Role::Client && !admitted.dst().is_group() && admitted.dst() != own.mac {
            return Err(DropReason::UnknownDestination);
        }
        roster.is_listened_here(&admitted)?;
        Ok(admitted)
    };
    (Some(header.source), verdict())
}
