//! What happens to a member, told to whoever listens (docs/management.md).

use std::collections::BTreeMap;

use lanparty_doctor::Finding;
use lanparty_nic::Device;
use lanparty_proto::{Control, RoomCode};

use crate::BondReport;
use crate::management::{Event, Events};
use crate::session::{Session, SessionEvent};

/// Tells what happens to a member of one room.
pub struct MemberEvents {
    events: Events,
    room: String,
    conditions: Conditions,
}

impl MemberEvents {
    /// Of a member of this room.
    #[must_use]
    pub fn new(room: &RoomCode) -> Self {
        Self { events: Events::default(), room: room.to_string(), conditions: Conditions::default() }
    }

    /// Where they are told.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Something happened; what the relay said the roster of `session` follows already.
    pub fn tell<D: Device>(&self, event: &SessionEvent, session: &Session<D>) {
        let room = || self.room.clone();
        match event {
            SessionEvent::Joined { again } => {
                if let Some(roster) = session.roster() {
                    self.events.tell(Event::Joined { room: room(), peer: roster.own().id, lan_mtu: roster.lan_mtu(), again: *again });
                }
            }
            SessionEvent::Left => self.events.tell(Event::Left { room: room() }),
            SessionEvent::Control(Control::MemberJoined { member }) => {
                self.events.tell(Event::MemberJoined { room: room(), member: member.clone(), remote: None });
            }
            SessionEvent::Control(Control::MemberLeft { id, reason }) => {
                self.events.tell(Event::MemberLeft { room: room(), id: *id, mac: None, reason: reason.clone() });
            }
            SessionEvent::Control(Control::LanMtu { mtu, .. }) => self.events.tell(Event::LanMtu { room: Some(room()), lan_mtu: *mtu }),
            SessionEvent::Control(Control::LanState { up, id }) => self.events.tell(Event::LanState { room: room(), id: *id, up: *up }),
            _ => {}
        }
    }

    /// Looks whether paths or findings have come or gone. Called as often as that shall be noticed.
    pub fn look<D: Device>(&mut self, session: &Session<D>) {
        self.conditions.look(&self.events, || (session.bond(), session.driver.findings()));
    }
}

/// What holds for a while, and is told when it changes: compared from look to look, as long as somebody listens.
#[derive(Default)]
pub struct Conditions(Option<Seen>);

/// Paths by name, and whether each lives; findings by name, each with its sentence.
type Seen = (BTreeMap<String, bool>, BTreeMap<String, String>);

impl Conditions {
    /// Tells what has changed since the last look. The first look of a listener is what others are compared with.
    pub fn look(&mut self, events: &Events, now: impl FnOnce() -> (Option<BondReport>, Vec<Finding>)) {
        if !events.is_heard() {
            self.0 = None;
            return;
        }
        let (bond, findings) = now();
        let paths = bond.into_iter().flat_map(|bond| bond.paths).map(|path| (path.name, path.is_alive)).collect();
        let findings = findings.into_iter().map(|finding| (finding.code.to_string(), finding.title)).collect();
        let seen = (paths, findings);
        if let Some(before) = self.0.replace(seen.clone()) {
            changes(&before, &seen).for_each(|event| events.tell(event));
        }
    }
}

fn changes<'s>(before: &'s Seen, now: &'s Seen) -> impl Iterator<Item = Event> + 's {
    let lives = |paths: &BTreeMap<String, bool>, name: &str| paths.get(name).copied().unwrap_or(false);
    let names = now.0.keys().chain(before.0.keys().filter(|name| !now.0.contains_key(*name)));
    let changed = names.filter(move |name| lives(&now.0, name) != lives(&before.0, name));
    let paths = changed.map(move |name| Event::Path { name: name.clone(), is_alive: lives(&now.0, name) });
    let finding =
        |is_present| move |(code, title): (&String, &String)| Event::Finding { code: code.clone(), is_present, title: title.clone() };
    let come = now.1.iter().filter(|(code, _)| !before.1.contains_key(*code)).map(finding(true));
    let gone = before.1.iter().filter(|(code, _)| !now.1.contains_key(*code)).map(finding(false));
    paths.chain(come).chain(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(paths: &[(&str, bool)], findings: &[&str]) -> Seen {
        let findings = findings.iter().map(|code| ((*code).to_owned(), "a sentence".to_owned()));
        (paths.iter().map(|(name, lives)| ((*name).to_owned(), *lives)).collect(), findings.collect())
    }

    #[test]
    fn what_comes_and_goes_is_told_once() {
        let path = |name: &str, is_alive| Event::Path { name: name.into(), is_alive };
        let told = |before: &Seen, now: &Seen| changes(before, now).collect::<Vec<_>>();
        let first = seen(&[("dsl0", true), ("lte0", true)], &["clock"]);
        assert_eq!(told(&first, &first), []);
        let second = seen(&[("dsl0", false), ("usb0", true), ("wifi0", false)], &["mtu"]);
        let finding = |code: &str, is_present| Event::Finding { code: code.into(), is_present, title: "a sentence".into() };
        let expected = [path("dsl0", false), path("usb0", true), path("lte0", false), finding("mtu", true), finding("clock", false)];
        assert_eq!(told(&first, &second), expected);
    }
}
