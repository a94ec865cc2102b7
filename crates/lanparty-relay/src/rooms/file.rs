//! Reads rooms.toml. Everything that is wrong is told at once, each with its line; a key that is none, with the one that was meant.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lanparty_core::{Listed, MEMBERS_MAX, Rate, RoomName, RoomNets, RoomPattern, RoomRule, RoomUser, StormLimits};
use lanparty_node::{TomlProblem, TomlReader, TomlValue, unknown_word};
use lanparty_proto::{IdentityId, MulticastPolicy, is_private_network};
use toml::de::{DeTable, DeValue};

use crate::passwords::check_hash;

const ROOT_KEYS: [&str; 1] = ["room"];
const ROOM_KEYS: [&str; 12] =
    ["name", "match", "nets", "gateway", "members", "bandwidth", "storm", "multicast", "vlan", "closed", "member", "user"];
const MULTICAST: [&str; 4] = ["none", "discovery", "snooped", "all"];
const STORM_KEYS: [&str; 4] = ["arp", "dhcp", "discovery", "other"];
const MEMBER_KEYS: [&str; 3] = ["key", "name", "gateway"];
const USER_KEYS: [&str; 3] = ["name", "password", "gateway"];
/// Longest name of a user or machine, in bytes.
const NAME_LEN_MAX: usize = 64;
/// Prefixes of a room's IPv4 network: as those of a pool.
const PREFIXES: RangeInclusive<u8> = 8..=29;
/// Shortest and longest a room's bandwidth, in bits per second: an ISDN line, and more than a machine forwards.
const BANDWIDTHS: RangeInclusive<u64> = 64_000..=1_000_000_000_000;
/// What may be sent above a room's bandwidth at once: this part of a second of it, and as many bytes at least.
const BURST_PART: u64 = 4;
const BURST_MIN: u64 = 64 << 10;
/// Most copies a second: what a limit above it would let through nobody sends.
const COPIES: RangeInclusive<u64> = 1..=1_000_000;

/// The rules in `text`.
pub(super) fn read(text: &str) -> Result<Vec<RoomRule>, Vec<TomlProblem>> {
    let mut reader = Reader { toml: TomlReader::new(text), lines: BTreeMap::new() };
    let root = reader.toml.parse(text);
    let rules = root.map_or_else(Vec::new, |root| reader.root(root.get_ref()));
    reader.toml.end(rules)
}

struct Reader {
    toml: TomlReader,
    /// Where each room was.
    lines: BTreeMap<String, usize>,
}

impl Reader {
    fn root(&mut self, root: &DeTable<'_>) -> Vec<RoomRule> {
        let mut rules = vec![];
        for (key, value) in root {
            match &**key.get_ref() {
                "room" => rules = self.tables(value, "[[room]]").into_iter().filter_map(|room| self.room(room)).collect(),
                other => self.toml.problem(key.span(), unknown_word("key", other, &ROOT_KEYS)),
            }
        }
        rules
    }

    /// The tables under `[[title]]`.
    fn tables<'v>(&mut self, value: &'v TomlValue<'_>, title: &str) -> Vec<&'v TomlValue<'v>> {
        let all = value.get_ref().as_array().map(|all| all.iter().collect::<Vec<_>>()).unwrap_or_default();
        if all.is_empty() || all.iter().any(|one| one.get_ref().as_table().is_none()) {
            self.toml.problem(value.span(), format!("these are tables of their own: write {title} above each"));
            return vec![];
        }
        all
    }

    fn room(&mut self, value: &TomlValue<'_>) -> Option<RoomRule> {
        let (table, before) = (value.get_ref().as_table()?, self.toml.problems());
        let mut rule = RoomRule::open(RoomName::Matches(RoomPattern::anything()));
        let mut names = vec![];
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => names.extend(self.name(value)),
                "match" => names.extend(self.pattern(value)),
                "nets" => rule.nets = self.nets(value),
                "gateway" => rule.allows_gateway = self.yes_or_no(value).unwrap_or(true),
                "closed" => rule.is_closed = self.yes_or_no(value).unwrap_or(true),
                "members" => rule.members_max = self.number(value, &(1..=MEMBERS_MAX as u64)).and_then(|n| usize::try_from(n).ok()),
                "bandwidth" => rule.bandwidth = self.bandwidth(value),
                "storm" => rule.storm = self.storm(value),
                "multicast" => rule.multicast = self.multicast(value),
                "vlan" => self.vlan(value),
                "member" => rule.keys = self.members(value),
                "user" => rule.users = self.users(value),
                other => self.toml.problem(key.span(), unknown_word("key", other, &ROOM_KEYS)),
            }
        }
        match [table.contains_key("name"), table.contains_key("match")] {
            [true, true] => {
                let words = "a room has a name or an expression that names match, and here are both: leave out name or match";
                self.toml.problem(value.span(), words.to_owned());
            }
            [false, false] => {
                let words = "a room has a name, or an expression that names match: write name = \"…\" or match = \"…\"";
                self.toml.problem(value.span(), words.to_owned());
            }
            _ => {}
        }
        // Also of a room with something else wrong: all of it is told at once.
        for name in &names {
            let line = self.toml.line(value.span());
            if let Some(first) = self.lines.insert(name.to_string(), line) {
                self.toml.problem(value.span(), format!("room {name} is on line {first} already"));
            }
        }
        let name = names.pop().filter(|_| self.toml.problems() == before)?;
        Some(RoomRule { name, ..rule })
    }

    fn name(&mut self, value: &TomlValue<'_>) -> Option<RoomName> {
        let read = self.toml.string(value)?.parse().map_err(|e: lanparty_proto::InvalidRoomCode| e.to_string());
        self.toml.told(value.span(), read).map(RoomName::Is)
    }

    fn pattern(&mut self, value: &TomlValue<'_>) -> Option<RoomName> {
        let read = RoomPattern::new(self.toml.string(value)?).map_err(|e| e.to_string());
        self.toml.told(value.span(), read).map(RoomName::Matches)
    }

    fn nets(&mut self, value: &TomlValue<'_>) -> RoomNets {
        let mut nets = RoomNets::default();
        let all: Vec<_> = match value.get_ref() {
            DeValue::Array(all) => all.iter().collect(),
            _ => vec![value],
        };
        for one in all {
            let read = self.toml.string(one).map(read_net);
            match read.and_then(|read| self.toml.told(one.span(), read)) {
                Some(IpNet::V4(net)) => nets.ipv4.push(net),
                Some(IpNet::V6(net)) if nets.ipv6.is_none() => nets.ipv6 = Some(net),
                Some(IpNet::V6(_)) => self.toml.problem(one.span(), "a room has one IPv6 network".to_owned()),
                None => {}
            }
        }
        nets
    }

    fn bandwidth(&mut self, value: &TomlValue<'_>) -> Option<Rate> {
        let read = self.toml.string(value).map(read_bandwidth)?;
        let bytes = self.toml.told(value.span(), read)? / 8;
        Some(Rate { per_second: bytes, burst: (bytes / BURST_PART).max(BURST_MIN) })
    }

    fn storm(&mut self, value: &TomlValue<'_>) -> StormLimits {
        let mut storm = StormLimits::default();
        let Some(table) = value.get_ref().as_table() else {
            self.toml.problem(value.span(), "these limits are a table: write [room.storm] above them".to_owned());
            return storm;
        };
        for (key, value) in table {
            let limit = match &**key.get_ref() {
                "arp" => &mut storm.arp_nd,
                "dhcp" => &mut storm.dhcp,
                "discovery" => &mut storm.discovery,
                "other" => &mut storm.other,
                other => {
                    self.toml.problem(key.span(), unknown_word("key", other, &STORM_KEYS));
                    continue;
                }
            };
            *limit = self.number(value, &COPIES);
        }
        storm
    }

    fn multicast(&mut self, value: &TomlValue<'_>) -> Option<MulticastPolicy> {
        self.toml.word(value, &MULTICAST, "policy")?.parse().ok()
    }

    /// A room carries no tags: nobody in it could tell which of them may be whose.
    fn vlan(&mut self, value: &TomlValue<'_>) {
        if let Some(word) = self.toml.string(value)
            && word != "drop"
        {
            let words = "a room carries no VLAN tags, so the only policy is \"drop\"; have a room for each VLAN, with a gateway on its interface (docs/rooms.md)";
            self.toml.problem(value.span(), words.to_owned());
        }
    }

    fn members(&mut self, value: &TomlValue<'_>) -> BTreeMap<IdentityId, Listed> {
        let mut keys = BTreeMap::new();
        for value in self.tables(value, "[[room.member]]") {
            let (mut identity, mut listed, before) = (None, Listed::default(), self.toml.problems());
            for (key, value) in value.get_ref().as_table().into_iter().flatten() {
                match &**key.get_ref() {
                    "key" => identity = self.key(value),
                    "name" => listed.name = self.line(value),
                    "gateway" => listed.may_bridge = self.yes_or_no(value).unwrap_or_default(),
                    other => self.toml.problem(key.span(), unknown_word("key", other, &MEMBER_KEYS)),
                }
            }
            match identity {
                None if self.toml.problems() > before => {}
                None => self.toml.problem(value.span(), "a machine has a key: write key = \"64 hexadecimal digits\"".to_owned()),
                Some(identity) if keys.insert(identity, listed).is_some() => {
                    self.toml.problem(value.span(), "this machine is on the list twice".to_owned());
                }
                Some(_) => {}
            }
        }
        keys
    }

    fn users(&mut self, value: &TomlValue<'_>) -> BTreeMap<String, RoomUser> {
        let mut users = BTreeMap::new();
        for value in self.tables(value, "[[room.user]]") {
            let (mut name, mut password, mut may_bridge, before) = (None, None, false, self.toml.problems());
            for (key, value) in value.get_ref().as_table().into_iter().flatten() {
                match &**key.get_ref() {
                    "name" => name = self.line(value),
                    "password" => password = self.password(value),
                    "gateway" => may_bridge = self.yes_or_no(value).unwrap_or_default(),
                    other => self.toml.problem(key.span(), unknown_word("key", other, &USER_KEYS)),
                }
            }
            let (Some(name), Some(password)) = (name, password) else {
                if self.toml.problems() == before {
                    self.toml.problem(value.span(), "a user has a name and the hash of a password".to_owned());
                }
                continue;
            };
            if users.insert(name, RoomUser { password: password.into(), may_bridge }).is_some() {
                self.toml.problem(value.span(), "this user is on the list twice".to_owned());
            }
        }
        users
    }

    fn key(&mut self, value: &TomlValue<'_>) -> Option<IdentityId> {
        let text = self.toml.string(value)?;
        let words = |_| format!("`{}` is no key: 64 hexadecimal digits, as a refused member reads them", lanparty_core::one_line(text));
        self.toml.told(value.span(), text.parse().map_err(words))
    }

    /// What stands here is never shown: it may be a password after all.
    fn password(&mut self, value: &TomlValue<'_>) -> Option<String> {
        let text = self.toml.string(value)?;
        self.toml.told(value.span(), check_hash(text).map(|()| text.to_owned()))
    }

    /// A name of somebody.
    fn line(&mut self, value: &TomlValue<'_>) -> Option<String> {
        let text = self.toml.string(value)?;
        let is_good = !text.trim().is_empty() && text.len() <= NAME_LEN_MAX && !text.chars().any(char::is_control);
        let read = if is_good { Ok(text.to_owned()) } else { Err(format!("a name is one line of at most {NAME_LEN_MAX} bytes")) };
        self.toml.told(value.span(), read)
    }

    fn yes_or_no(&mut self, value: &TomlValue<'_>) -> Option<bool> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            self.toml.problem(value.span(), format!("true or false stands here, without quotes, not {}", value.get_ref().type_str()));
        }
        read
    }

    fn number(&mut self, value: &TomlValue<'_>, range: &RangeInclusive<u64>) -> Option<u64> {
        let read = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let words = || format!("a number from {} to {} stands here", range.start(), range.end());
        self.toml.told(value.span(), read.filter(|n| range.contains(n)).ok_or_else(words))
    }
}

fn read_net(text: &str) -> Result<IpNet, String> {
    let Some((address, prefix)) = text.split_once('/') else { return Err(format!("`{text}` is no network: write it as 10.9.0.0/24")) };
    let longest = if address.contains(':') { 128 } else { 32 };
    if prefix.parse::<u32>().is_ok_and(|prefix| prefix > longest) {
        return Err(format!("/{prefix} is longer than an {} address", if longest == 32 { "IPv4" } else { "IPv6" }));
    }
    let net: IpNet = text.parse().map_err(|_| format!("`{text}` is no network: write it as 10.9.0.0/24 or fd12:3456:789a:1::/64"))?;
    if net.addr() != net.network() {
        return Err(format!("{text} is an address in a network: write {}", net.trunc()));
    }
    match net {
        IpNet::V4(net) => check_ipv4(net)?,
        IpNet::V6(net) => check_ipv6(net)?,
    }
    Ok(net)
}

fn check_ipv4(net: Ipv4Net) -> Result<(), String> {
    if !PREFIXES.contains(&net.prefix_len()) {
        return Err(format!("a room's network has a prefix of {} to {}, not {}", PREFIXES.start(), PREFIXES.end(), net.prefix_len()));
    }
    if !is_private_network(net) {
        return Err(format!("{net} is not private: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and 100.64.0.0/10 are"));
    }
    Ok(())
}

/// RFC 4193 §3.1.
fn check_ipv6(net: Ipv6Net) -> Result<(), String> {
    if net.prefix_len() != 64 || net.network().octets()[0] != 0xfd {
        return Err(format!("{net} is no IPv6 network of a room: it is a /64 that begins with fd"));
    }
    Ok(())
}

/// Bits per second.
fn read_bandwidth(text: &str) -> Result<u64, String> {
    let words = || format!("`{text}` is no bandwidth: write it as \"500 kbit/s\", \"20 Mbit/s\" or \"1 Gbit/s\"");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(words)?;
    let (number, unit) = text.split_at(at);
    let factor = match unit.trim_start() {
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        _ => return Err(words()),
    };
    let bits = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(words)?;
    if !BANDWIDTHS.contains(&bits) {
        return Err(format!("{text} is no bandwidth of a room: 64 kbit/s to 1000 Gbit/s are"));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests;
