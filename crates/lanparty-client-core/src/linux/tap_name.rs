//! What the TAP is called when nobody says: after the room, so that a player finds it, and never by a name that another interface has.

use std::hash::Hasher as _;

use lanparty_nic::{Tap, TapConfig, TapError};
use lanparty_proto::{MacAddr, RoomCode};
use siphasher::sip::SipHasher13;

/// What every such name begins with.
const PREFIX: &str = "lp-";
/// Longest name of an interface: `IFNAMSIZ` with the zero that ends it.
const NAME_LEN_MAX: usize = 15;
/// Names with a number behind them that are tried at last.
const NUMBERED: std::ops::RangeInclusive<u8> = 2..=9;

/// Creates the client's TAP: by the name that was asked for, or by the first one of the room's that is free.
///
/// # Errors
/// As [`Tap::create`]; of several names, what was said of the last.
pub(super) fn create_tap(wanted: Option<&str>, room: &RoomCode, mac: MacAddr) -> Result<Tap, TapError> {
    let create = |name: &str| Tap::create(&TapConfig { name: name.to_owned(), mac: Some(mac), mtu: None, reuse: true });
    if let Some(name) = wanted {
        return create(name);
    }
    let mut created = create(&of_room(room));
    for name in others(room, mac) {
        if !created.as_ref().is_err_and(TapError::is_usage) {
            break;
        }
        created = create(&name);
    }
    created
}

/// `lp-friday` for the room FRIDAY; of a name that is too long its beginning, and four digits that tell it from others like it.
fn of_room(room: &RoomCode) -> String {
    let name = plain(room);
    if PREFIX.len() + name.len() <= NAME_LEN_MAX {
        return format!("{PREFIX}{name}");
    }
    let mut hasher = SipHasher13::new();
    hasher.write(room.as_str().as_bytes());
    ending_in(&name, &format!("{:04x}", hasher.finish() & 0xffff))
}

/// Where that name is taken, by another instance in the room, for example: one of this instance's own, the same at every start, and at
/// last numbered ones.
fn others(room: &RoomCode, mac: MacAddr) -> impl Iterator<Item = String> {
    let name = plain(room);
    let [.., a, b] = mac.0;
    std::iter::once(format!("{a:02x}{b:02x}")).chain(NUMBERED.map(|n| n.to_string())).map(move |end| ending_in(&name, &end))
}

/// Lower case as interfaces have it. A dot would part the name's own sysctl keys.
fn plain(room: &RoomCode) -> String {
    room.as_str().to_ascii_lowercase().replace('.', "-")
}

fn ending_in(name: &str, end: &str) -> String {
    let left = NAME_LEN_MAX - PREFIX.len() - 1 - end.len();
    let beginning = name.get(..left).unwrap_or(name).trim_end_matches(['-', '_']);
    format!("{PREFIX}{beginning}-{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(text: &str) -> RoomCode {
        text.parse().unwrap()
    }

    #[test]
    fn the_tap_is_called_after_the_room() {
        assert_eq!(of_room(&room("FRIDAY")), "lp-friday");
        assert_eq!(of_room(&room("Club_9.b")), "lp-club_9-b");
        assert_eq!(of_room(&room("exactlytwelv")), "lp-exactlytwelv");
    }

    #[test]
    fn long_names_with_one_beginning_are_told_apart() {
        let [a, b] = ["birthday-of-anna", "birthday-of-berta"].map(|name| of_room(&room(name)));
        assert!(a != b && [&a, &b].iter().all(|name| name.starts_with("lp-birthda-") && name.len() == NAME_LEN_MAX), "{a} {b}");
        assert_eq!(a, of_room(&room("birthday-of-anna")), "the same at every start");
    }

    #[test]
    fn every_other_name_fits_and_begins_with_the_machines_own() {
        let mac = MacAddr([2, 0, 0, 0, 0xa7, 0xf3]);
        let names: Vec<String> = others(&room("FRIDAY"), mac).collect();
        assert_eq!(names[..3], ["lp-friday-a7f3", "lp-friday-2", "lp-friday-3"]);
        let longest = "x".repeat(RoomCode::LEN_MAX);
        assert!(others(&room(&longest), mac).all(|name| name.len() <= NAME_LEN_MAX));
        assert_eq!(others(&room("----"), mac).next().unwrap(), "lp--a7f3");
    }
}
