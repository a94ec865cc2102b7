//! Which rooms a relay has, and who may do what in them: what its operator has written down (docs/rooms.md).
//!
//! Rules are values that never change; a relay that reads its file anew gets others. Passwords are compared by whoever has the time for that:
//! here only the hash counts that one was found to fit.

mod pattern;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use lanparty_proto::{Hello, IdentityId, MulticastPolicy, Role, RoomCode};

use crate::limiter::{BumLimits, Limits, Rate};
pub use pattern::{InvalidPattern, PATTERN_LEN_MAX, RoomPattern};

/// Which rooms a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomName {
    /// The one of this name.
    Is(RoomCode),
    /// Each whose whole name matches.
    Matches(RoomPattern),
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(code) => code.fmt(f),
            Self::Matches(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

/// The networks of a room's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomNets {
    /// One of these, the first that the first member is not in elsewhere; none of them: one of the relay's pool.
    pub ipv4: Vec<Ipv4Net>,
    /// This prefix of /64, instead of one that follows from the relay's key.
    pub ipv6: Option<Ipv6Net>,
}

/// Limits of one member's flooded traffic that differ from the relay's, in copies per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `BumLimits`")]
pub struct StormLimits {
    pub arp_nd: Option<u64>,
    pub dhcp: Option<u64>,
    pub discovery: Option<u64>,
    pub other: Option<u64>,
}

impl StormLimits {
    /// `limits`, with these in place of theirs.
    #[must_use]
    pub fn over(self, limits: BumLimits) -> BumLimits {
        let copies = |other: Option<u64>, rate: Rate| other.map_or(rate, Rate::of_copies);
        BumLimits {
            arp_nd: copies(self.arp_nd, limits.arp_nd),
            dhcp: copies(self.dhcp, limits.dhcp),
            discovery: copies(self.discovery, limits.discovery),
            other: copies(self.other, limits.other),
        }
    }
}

/// Somebody on a room's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// What the operator calls it.
    pub name: Option<String>,
    /// It may bridge a LAN, also where the room allows that to nobody else.
    pub may_bridge: bool,
}

/// A user of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomUser {
    /// The hash of the password, as a PHC string.
    pub password: Arc<str>,
    /// The user may bridge a LAN, also where the room allows that to nobody else.
    pub may_bridge: bool,
}

/// What holds for a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRule {
    /// Which room, or rooms.
    pub name: RoomName,
    /// Its networks.
    pub nets: RoomNets,
    /// Whether a member may be a gateway.
    pub allows_gateway: bool,
    /// Most members, when it is fewer than the relay's.
    pub members_max: Option<usize>,
    /// What the relay sends to its members in all, in bytes.
    pub bandwidth: Option<Rate>,
    /// What each member may flood.
    pub storm: StormLimits,
    /// Which multicast it carries; nothing where it is the relay's.
    pub multicast: Option<MulticastPolicy>,
    /// Nobody else may be in it than those who are listed.
    pub is_closed: bool,
    /// Machines that may be in it.
    pub keys: BTreeMap<IdentityId, Listed>,
    /// Users that may be in it, by name.
    pub users: BTreeMap<String, RoomUser>,
}

impl RoomRule {
    /// A room that anybody may be in who knows its name.
    #[must_use]
    pub const fn open(name: RoomName) -> Self {
        Self {
            name,
            nets: RoomNets { ipv4: vec![], ipv6: None },
            allows_gateway: true,
            members_max: None,
            bandwidth: None,
            storm: StormLimits { arp_nd: None, dhcp: None, discovery: None, other: None },
            multicast: None,
            is_closed: false,
            keys: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// Whether only those who are listed may be in it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed || !self.keys.is_empty() || !self.users.is_empty()
    }

    /// Whether a machine with this key may be in it, whose owner has proven to be that user; else why not, for the operator.
    ///
    /// # Errors
    /// In words that do not leave the relay.
    pub fn admits(&self, identity: IdentityId, proven: Option<&ProvenUser>) -> Result<(), String> {
        if !self.is_closed() || self.keys.contains_key(&identity) || proven.is_some_and(|proven| self.knows(proven)) {
            return Ok(());
        }
        Err(match proven {
            Some(proven) => format!("user {} is none of the room's, or no longer", proven.user),
            None => format!("key {} is not on the room's list, and no user was proven", identity.to_hex()),
        })
    }

    /// Whether it may bridge a LAN.
    #[must_use]
    pub fn may_bridge(&self, identity: IdentityId, proven: Option<&ProvenUser>) -> bool {
        let by_key = || self.keys.get(&identity).is_some_and(|listed| listed.may_bridge);
        let by_user = || proven.filter(|proven| self.knows(proven)).is_some_and(|proven| self.users[&proven.user].may_bridge);
        self.allows_gateway || by_key() || by_user()
    }

    fn knows(&self, proven: &ProvenUser) -> bool {
        self.users.get(&proven.user).is_some_and(|user| user.password == proven.password)
    }

    /// The limits of one of its members.
    pub(crate) fn limits(&self, limits: Limits, role: Role) -> Limits {
        Limits { bum: self.storm.over(limits.bum), ..limits }.for_role(role)
    }
}

/// A member whose password was found to fit this hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUser {
    /// The user.
    pub user: String,
    /// The hash, as the rules had it then.
    pub password: Arc<str>,
}

/// What to do about a newcomer's password before its hello is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// Nothing: there is none, or nobody asks.
    None,
    /// Compare it with this hash.
    With(Arc<str>),
    /// There is nothing that it could fit. Who says so at once tells a stranger that there is no such room or user: compare it with this
    /// one, and say no.
    InVain(Arc<str>),
}

/// All rules of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomRules {
    rules: Vec<Arc<RoomRule>>,
    /// By name, the place of the rule.
    names: BTreeMap<RoomCode, usize>,
    /// For every room that no rule is about.
    otherwise: Option<Arc<RoomRule>>,
}

impl RoomRules {
    /// These; where several are about one room, the one that names it, else the first. With `is_open` anybody may make a room that none of
    /// them is about.
    #[must_use]
    pub fn new(rules: Vec<RoomRule>, is_open: bool) -> Self {
        let mut names = BTreeMap::new();
        for (at, rule) in rules.iter().enumerate() {
            if let RoomName::Is(code) = &rule.name {
                names.entry(code.clone()).or_insert(at);
            }
        }
        let anything = || Arc::new(RoomRule::open(RoomName::Matches(RoomPattern::anything())));
        Self { rules: rules.into_iter().map(Arc::new).collect(), names, otherwise: is_open.then(anything) }
    }

    /// Anybody may make any room.
    #[must_use]
    pub fn open() -> Self {
        Self::new(vec![], true)
    }

    /// The rules, as they were written.
    pub fn rules(&self) -> impl Iterator<Item = &RoomRule> {
        self.rules.iter().map(Arc::as_ref)
    }

    /// Whether anybody may make a room that no rule is about.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.otherwise.is_some()
    }

    /// The rule about a room; nothing when there is no such room.
    #[must_use]
    pub fn of(&self, room: &RoomCode) -> Option<&Arc<RoomRule>> {
        let named = self.names.get(room).and_then(|at| self.rules.get(*at));
        let matches = |rule: &&Arc<RoomRule>| matches!(&rule.name, RoomName::Matches(pattern) if pattern.matches(room));
        named.or_else(|| self.rules.iter().find(matches)).or(self.otherwise.as_ref())
    }

    /// What to do about the password of a newcomer's hello.
    #[must_use]
    pub fn password_check(&self, hello: &Hello, identity: IdentityId) -> PasswordCheck {
        let Some(login) = &hello.login else { return PasswordCheck::None };
        let rule = self.of(&hello.room);
        if rule.is_some_and(|rule| !rule.is_closed() || rule.keys.contains_key(&identity)) {
            return PasswordCheck::None;
        }
        if let Some(user) = rule.and_then(|rule| rule.users.get(&login.user)) {
            return PasswordCheck::With(Arc::clone(&user.password));
        }
        let any = self.rules.iter().flat_map(|rule| rule.users.values()).next();
        any.map_or(PasswordCheck::None, |user| PasswordCheck::InVain(Arc::clone(&user.password)))
    }

    /// What is other than in `before`, for the operator.
    #[must_use]
    pub fn news_since(&self, before: &Self) -> Vec<String> {
        let find = |rules: &Self, name: &RoomName| rules.rules.iter().find(|rule| rule.name == *name).cloned();
        let mut news = vec![];
        for rule in &self.rules {
            match find(before, &rule.name) {
                None => news.push(format!("room {} is new", rule.name)),
                Some(known) if known != *rule => news.push(format!("room {} has changed: {}", rule.name, changes(&known, rule))),
                Some(_) => {}
            }
        }
        let gone = before.rules.iter().filter(|rule| find(self, &rule.name).is_none());
        news.extend(gone.map(|rule| format!("room {} is gone", rule.name)));
        news
    }
}

/// What two rules of one room do not have in common.
fn changes(before: &RoomRule, now: &RoomRule) -> String {
    let mut changed = vec![];
    let mut look = |is_other: bool, what: &'static str| changed.extend(is_other.then_some(what));
    look(before.nets != now.nets, "nets");
    look(before.allows_gateway != now.allows_gateway, "gateway");
    look(before.members_max != now.members_max, "members");
    look(before.bandwidth != now.bandwidth, "bandwidth");
    look(before.storm != now.storm, "storm");
    look(before.multicast != now.multicast, "multicast");
    look(before.is_closed != now.is_closed, "closed");
    look(before.keys != now.keys, "machines");
    look(before.users != now.users, "users");
    changed.join(", ")
}

#[cfg(test)]
mod tests;
