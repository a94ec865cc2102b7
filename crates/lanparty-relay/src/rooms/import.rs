//! Turns the `community.list` of an n3n or n2n supernode into rooms.toml, and says line by line what it could not carry over.
//!
//! Facts from n3n's docs/community.list.sample, docs/configure/Communities.md and Authentication.md: a line names a community, perhaps with
//! its network; one with any of `. * + ? [ ] \` is a regular expression that the whole name matches; `* NAME KEY` is a user of the community
//! above it; `#` begins a comment in the first column.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::Ipv4Net;
use lanparty_core::RoomPattern;
use lanparty_proto::{RoomCode, is_private_network};

/// What makes a name a regular expression there.
const EXPRESSION: [char; 7] = ['.', '*', '+', '?', '[', ']', '\\'];
/// Longest name of a community there, in bytes: what is behind it was never looked at.
const COMMUNITY_LEN_MAX: usize = 19;

/// What came of a list.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// The rooms, as rooms.toml has them.
    pub(crate) toml: String,
    /// What was not carried over, or is other than before; each with its line.
    pub(crate) notes: Vec<String>,
    /// How many rooms there are.
    pub(crate) rooms: usize,
}

/// One room to be.
struct Room {
    key: &'static str,
    name: String,
    net: Option<Ipv4Net>,
    users: Vec<String>,
}

#[derive(Default)]
struct Reader {
    rooms: Vec<Room>,
    lines: BTreeMap<String, usize>,
    notes: Vec<String>,
    /// Whether the community above was carried over; nothing where users belong to none.
    above: Option<bool>,
}

/// Reads the list in `text`.
pub(crate) fn import(text: &str) -> Imported {
    let mut reader = Reader::default();
    for (n, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            _ if line.starts_with('#') => {}
            [] => {}
            ["*", user, _] => reader.user(n + 1, user),
            ["*", ..] => reader.note(n + 1, "a user has a name and a key there, `* NAME KEY`; this line has not"),
            [name, ref rest @ ..] => reader.community(n + 1, name, rest),
        }
    }
    let mut toml = String::from("# Rooms of an n3n or n2n supernode's community list. What the words mean: docs/rooms.md\n");
    reader.rooms.iter().for_each(|room| room.write(&mut toml));
    Imported { toml, notes: reader.notes, rooms: reader.rooms.len() }
}

impl Reader {
    fn note(&mut self, line: usize, words: impl AsRef<str>) {
        self.notes.push(format!("line {line}: {}", words.as_ref()));
    }

    fn community(&mut self, line: usize, name: &str, rest: &[&str]) {
        self.above = None;
        let (key, room) = if name.contains(EXPRESSION) {
            ("match", self.expression(line, name))
        } else {
            self.above = Some(false);
            ("name", self.name(line, name))
        };
        let Some(room) = room else { return };
        if let Some(first) = self.lines.insert(room.clone(), line) {
            return self.note(line, format!("`{room}` is on line {first} already, and stays as it is there"));
        }
        let net = if key == "name" { rest.first().and_then(|net| self.net(line, &room, net)) } else { None };
        if key == "match" && !rest.is_empty() {
            self.note(
                line,
                format!("the network of `{room}` is left out: rooms by expression have one of the relay's pool each, as there"),
            );
        }
        if rest.len() > 1 {
            self.note(line, format!("`{}` is not understood, and was not there either", rest[1..].join(" ")));
        }
        self.above = self.above.map(|_| true);
        self.rooms.push(Room { key, name: room, net, users: vec![] });
    }

    fn name(&mut self, line: usize, name: &str) -> Option<String> {
        let short: String = name.chars().take(COMMUNITY_LEN_MAX).collect();
        if name.len() > COMMUNITY_LEN_MAX {
            self.note(line, format!("`{name}` is longer than the {COMMUNITY_LEN_MAX} bytes that counted there; all of it counts here"));
        }
        let code = name.parse::<RoomCode>().map_err(|_| {
            self.note(
                line,
                format!(
                    "`{}` cannot be a room's name: those have letters, digits, `-`, `_` and `.` only; give it another one",
                    short.escape_debug()
                ),
            );
        });
        code.ok().map(|code| code.to_string())
    }

    fn expression(&mut self, line: usize, name: &str) -> Option<String> {
        let translated = translate(name);
        if name.contains("[^") {
            self.note(line, format!("`{name}`: `[^…]` did not work there (docs/configure/Communities.md); it does here"));
        }
        match RoomPattern::new(&translated) {
            Ok(_) if translated == ".*" => {
                self.note(line, "`.*` lets anybody make any room; `lanparty-relay --open` beside --rooms does the same");
                Some(translated)
            }
            Ok(_) => Some(translated),
            Err(e) => {
                self.note(line, format!("`{name}` is left out: {e}"));
                None
            }
        }
    }

    fn net(&mut self, line: usize, room: &str, text: &str) -> Option<Ipv4Net> {
        let instead = format!("room {room} has one of the relay's pool instead");
        let Ok(net) = text.parse::<Ipv4Net>() else {
            self.note(line, format!("`{text}` is no network; {instead}"));
            return None;
        };
        let why = if net.addr() != net.network() {
            "is not where a network begins"
        } else if !(8..=29).contains(&net.prefix_len()) {
            "has a prefix that is not from 8 to 29"
        } else if !is_private_network(net) {
            "is not private (RFC 1918)"
        } else {
            return Some(net);
        };
        self.note(line, format!("{net} {why}; {instead}"));
        None
    }

    fn user(&mut self, line: usize, user: &str) {
        let name: String = user.chars().filter(|c| !c.is_control()).collect();
        match (self.above, self.rooms.last_mut()) {
            (Some(true), Some(room)) if room.users.contains(&name) => {
                self.note(line, format!("user {name} is on the list twice"));
            }
            (Some(true), Some(room)) => {
                let words = format!(
                    "user {name} of {} needs a password: the key there is made of one by n3n's own way, and tells nobody else what it was; write the line that `lanparty-relay password` prints into the file",
                    room.name
                );
                room.users.push(name);
                self.note(line, words);
            }
            (Some(false), _) => self.note(line, format!("user {name} is left out with the community above")),
            _ => self.note(line, format!("user {name} belongs to no community: those by expression have no users there")),
        }
    }
}

impl Room {
    fn write(&self, out: &mut String) {
        // A string never refuses.
        let _ = writeln!(out, "\n[[room]]\n{} = {}", self.key, quoted(&self.name));
        if let Some(net) = self.net {
            let _ = writeln!(out, "nets = [\"{net}\"]");
        }
        if !self.users.is_empty() {
            out.push_str("# Nobody but those below, once they have passwords.\nclosed = true\n");
        }
        for user in &self.users {
            let _ = writeln!(out, "#[[room.user]]\n#name = {}\n#password = \"$argon2id$…\"", quoted(user));
        }
    }
}

/// In single quotes nothing is special in TOML; a text that cannot stand there is between double ones (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    if !text.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    let escaped = text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
        out
    });
    format!("\"{escaped}\"")
}

/// An expression of the small engine there, for the one here: what is not special there is escaped.
fn translate(expression: &str) -> String {
    let (mut out, mut in_class, mut chars) = (String::new(), false, expression.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next();
                out.push('\\');
                match next {
                    // An escaped letter that means nothing there stands for itself.
                    Some(c) if c.is_ascii_alphanumeric() && !"sSwWdD".contains(c) => {
                        out.pop();
                        out.push(c);
                    }
                    Some(c) => out.push(c),
                    None => out.push('\\'),
                }
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            '(' | ')' | '{' | '}' | '|' if !in_class => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::file::read;

    /// As n3n ships it (docs/community.list.sample, docs/configure/Authentication.md), with what people add.
    const LIST: &str = "\
# List of allowed communities
mynetwork
netleo
* logan nHWum+r42k1qDXdIeH-WFKeylK5UyLStRzxofRNAgpG
* sister HwHpPrdMft+38tFDDiunUds6927t0+zhCMMkQdJafcC
ntop[0-1][0-9]
* nobody nHWum+r42k1qDXdIeH-WFKeylK5UyLStRzxofRNAgpG

home 192.168.168.0/24
office 192.168.1.7/24
public 203.0.113.0/24
small 10.1.1.0/30
odd 10.1.1.0/33
my:net
* lost nHWum+r42k1qDXdIeH-WFKeylK5UyLStRzxofRNAgpG
mynetwork 10.0.0.0/8
my(Community)\\d\\d 10.0.0.0/8
[abc
.*
";

    fn rooms(list: &str) -> Vec<String> {
        let imported = import(list);
        let rules = read(&imported.toml).unwrap_or_else(|problems| panic!("{problems:?}\n{}", imported.toml));
        assert_eq!(rules.len(), imported.rooms);
        rules.iter().map(|rule| format!("{} {:?} {}", rule.name, rule.nets.ipv4, rule.is_closed())).collect()
    }

    #[test]
    fn what_can_be_carried_over_is_read_by_our_own_reader() {
        let expected = [
            "mynetwork [] false",
            "netleo [] true",
            "/ntop[0-1][0-9]/ [] false",
            "home [192.168.168.0/24] false",
            "office [] false",
            "public [] false",
            "small [] false",
            "odd [] false",
            r"/my\(Community\)\d\d/ [] false",
            "/.*/ [] false",
        ];
        assert_eq!(rooms(LIST), expected);
    }

    #[test]
    fn what_cannot_is_said_with_its_line() {
        let notes = import(LIST).notes;
        for (line, words) in [
            (4, "user logan of netleo needs a password"),
            (5, "user sister"),
            (7, "nobody belongs to no community"),
            (10, "192.168.1.7/24 is not where a network begins; room office"),
            (11, "not private"),
            (12, "10.1.1.0/30 has a prefix"),
            (13, "`10.1.1.0/33` is no network"),
            (14, "`my:net` cannot be a room's name"),
            (15, "user lost is left out with the community above"),
            (16, "`mynetwork` is on line 2 already"),
            (17, "the network of"),
            (18, "`[abc` is left out"),
            (19, "--open"),
        ] {
            let start = format!("line {line}: ");
            assert!(notes.iter().any(|note| note.starts_with(&start) && note.contains(words)), "{line} {words}: {notes:#?}");
        }
        assert_eq!(notes.len(), 13, "{notes:#?}");
    }

    #[test]
    fn users_without_passwords_do_not_leave_the_room_open() {
        let toml = import("netleo\n* logan nHWum\n").toml;
        assert!(toml.contains("closed = true") && toml.contains("#name = 'logan'"), "{toml}");
        // With the stubs filled in it is a room with users.
        let filled = toml.replace('#', "").replace("$argon2id$…", &crate::passwords::hash("x").unwrap());
        let filled = filled.lines().filter(|line| !line.starts_with(' ')).collect::<Vec<_>>().join("\n");
        assert_eq!(read(&filled).unwrap()[0].users.len(), 1);
    }

    #[test]
    fn anything_at_all_becomes_a_file_that_is_understood() {
        for list in [
            "",
            "*",
            "* x",
            "\u{0}\u{1} 1/2",
            "a'b\\c \"",
            "x' 10.0.0.0/24",
            "net\n* o'\"\\x key",
            "\\",
            "[\\",
            "a\\",
            "[]]",
            "[a&&b]",
            "x[~~]y",
            "\u{e9}+",
            "a\u{7f}*",
            "\u{1b}[0m'",
        ] {
            rooms(list);
        }
    }

    #[test]
    fn expressions_mean_here_what_they_meant_there() {
        for (there, here) in
            [(r"a.b\d+", r"a.b\d+"), ("(x)|{y}", r"\(x\)\|\{y\}"), (r"\m\.", r"m\."), (r"[\w.]x", r"[\w.]x"), ("[a[b]", r"[a\[b]")]
        {
            assert_eq!(translate(there), here);
        }
    }
}
