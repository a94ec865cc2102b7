//! What the relay's operator allows: asked when somebody joins, and of everybody when the rules change (docs/rooms.md).

use std::sync::Arc;
use std::time::Instant;

use lanparty_proto::{AddressRequest, Control, Hello, IdentityId, Refusal, Role, RoomCode};

use super::assign::assigned_event;
use super::join::Newcomer;
use super::{LinkId, Relay, RelayOutput};
use crate::{PasswordCheck, ProvenUser, RoomRule, RoomRules};

impl Relay {
    /// A relay with these rooms.
    #[must_use]
    pub fn with_rules(mut self, rules: RoomRules, now: Instant) -> Self {
        self.set_rules(rules, now);
        self
    }

    /// The rules that hold.
    #[must_use]
    pub fn rules(&self) -> &RoomRules {
        &self.rules
    }

    /// What to do about the password of a newcomer's hello before it is given to [`Relay::handle_input`].
    #[must_use]
    pub fn password_check(&self, hello: &Hello, identity: IdentityId) -> PasswordCheck {
        self.rules.password_check(hello, identity)
    }

    /// Other rules hold from now on. Whom they do not allow is told so and leaves; for all others nothing happens.
    pub fn set_rules(&mut self, rules: RoomRules, now: Instant) {
        self.rules = Arc::new(rules);
        self.addresses.reserve(self.rules.rules().flat_map(|rule| rule.nets.ipv4.clone()).collect());
        self.turn_standbys_away();
        for code in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.put_out(&code);
            self.apply_rule(&code, now);
        }
        self.fill_gateways(now);
    }

    /// The rule of a newcomer's room, if it may be in it as what it wants to be. Whether there is such a room is not told.
    pub(super) fn judge_rule(&self, newcomer: &Newcomer) -> Result<Arc<RoomRule>, (Refusal, String)> {
        let (hello, identity, proven) = (&newcomer.hello, newcomer.identity, newcomer.proven.as_ref());
        let rule = self.rules.of(&hello.room).filter(|rule| rule.admits(identity, proven).is_ok());
        let Some(rule) = rule else {
            let login = if hello.login.is_some() { ", or user name and password are not right" } else { "" };
            let (room, key) = (&hello.room, identity.to_hex());
            let message = format!("this relay has no room {room}, or does not let this machine into it{login}; the machine's key is {key}");
            return Err((Refusal::NotAllowed, message));
        };
        if hello.role == Role::Gateway && !rule.may_bridge(identity, proven) {
            return Err((Refusal::NoGateway, no_gateway(&hello.room)));
        }
        Ok(Arc::clone(rule))
    }

    /// Why somebody was not let in, for the operator.
    pub(super) fn why_not_allowed(&self, newcomer: &Newcomer) -> String {
        let Some(rule) = self.rules.of(&newcomer.hello.room) else {
            return format!("there is no such room; the machine's key is {}", newcomer.identity.to_hex());
        };
        let login = newcomer.hello.login.as_ref().filter(|_| newcomer.proven.is_none());
        let login = login.map_or_else(String::new, |login| {
            let user = crate::one_line(&login.user);
            let why = if rule.users.contains_key(&login.user) { "has another password" } else { "is not known in it" };
            format!("user {user} {why}; ")
        });
        login + &rule.admits(newcomer.identity, newcomer.proven.as_ref()).err().unwrap_or_default()
    }

    /// Members that the rules do not allow leave the room.
    fn put_out(&mut self, code: &RoomCode) {
        let Some(room) = self.rooms.get(code) else { return };
        let rule = self.rules.of(code).map(Arc::as_ref);
        let verdicts = room.members().filter_map(|m| Some((m.link, verdict(rule, code, m.identity, m.proven.as_ref(), m.role)?)));
        for (link, (code, message)) in verdicts.collect::<Vec<(LinkId, (Refusal, String))>>() {
            self.outputs.push_back(RelayOutput::Refuse { link, code, message });
            let reason = if code == Refusal::LoginAgain { "its password was changed" } else { "the relay's operator no longer allows it" };
            self.leave(link, reason);
        }
    }

    fn apply_rule(&mut self, code: &RoomCode, now: Instant) {
        let (Some(rule), Some(room)) = (self.rules.of(code).cloned(), self.rooms.get_mut(code)) else { return };
        let has_other_nets = room.rule().nets != rule.nets;
        let multicast = rule.multicast.unwrap_or(self.config.multicast);
        if multicast != room.multicast() {
            let message = Control::Multicast { policy: multicast };
            self.outputs.extend(room.links().map(|link| RelayOutput::Send { link, message: message.clone() }));
        }
        room.set_rule(rule, self.config.limits, multicast, now);
        if has_other_nets {
            self.assign_anew(code, now);
        }
    }

    /// The room's addresses are of another network now.
    fn assign_anew(&mut self, code: &RoomCode, now: Instant) {
        let Some(room) = self.rooms.get(code) else { return };
        let members = room.members().filter(|member| self.addresses.of(code, member.identity).is_some());
        let members: Vec<_> = members.map(|member| (member.id, member.link, member.identity)).collect();
        for (id, link, identity) in members {
            let Some(assigned) = self.assign(code, identity, &AddressRequest::default(), now) else { continue };
            self.outputs.push_back(assigned_event(code.clone(), id, &assigned));
            self.outputs.push_back(RelayOutput::Send { link, message: Control::Addresses(assigned) });
        }
    }

    /// Gateways that stand by, and may not be one any longer.
    fn turn_standbys_away(&mut self) {
        for (link, code, newcomer) in self.standing_by() {
            let rule = self.rules.of(&code).map(Arc::as_ref);
            if let Some((code, message)) = verdict(rule, &code, newcomer.identity, newcomer.proven.as_ref(), Role::Gateway) {
                self.outputs.push_back(RelayOutput::Refuse { link, code, message });
                self.forget_standby(link);
            }
        }
    }
}

/// Why somebody may not stay in a room.
fn verdict(
    rule: Option<&RoomRule>,
    code: &RoomCode,
    identity: IdentityId,
    proven: Option<&ProvenUser>,
    role: Role,
) -> Option<(Refusal, String)> {
    let Some(rule) = rule else { return Some((Refusal::NotAllowed, format!("the relay's operator has closed room {code}"))) };
    if rule.admits(identity, proven).is_err() {
        return Some(match proven.filter(|proven| rule.users.contains_key(&proven.user)) {
            Some(proven) => (Refusal::LoginAgain, format!("the password of user {} in room {code} was changed", proven.user)),
            None => (Refusal::NotAllowed, format!("the relay's operator lets this machine or user into room {code} no longer")),
        });
    }
    (role == Role::Gateway && !rule.may_bridge(identity, proven)).then(|| (Refusal::NoGateway, no_gateway(code)))
}

fn no_gateway(room: &RoomCode) -> String {
    format!("the relay's operator allows this machine to bridge no LAN into room {room}")
}
