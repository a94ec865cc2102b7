//! `supernode.conf`.

use lanparty_core::AddressPool;

use super::{Entry, Imported, Line, Outcome, of_the_daemon, switch, table, text};
use crate::Role;

pub(super) fn import(entries: &[Entry]) -> Imported {
    let value = |key: &str| entries.iter().rev().find(|entry| entry.key() == key).map(|entry| entry.value.as_str());
    let pool = (value("supernode.auto_ip_min"), value("supernode.auto_ip_max"));
    let is_last = |n: usize, entry: &Entry| entries.iter().skip(n + 1).all(|other| other.key() != entry.key());
    let lines: Vec<_> = entries
        .iter()
        .enumerate()
        .map(|(n, entry)| {
            let is_one = entry.key() == "supernode.peer" || is_last(n, entry);
            let outcome = if is_one { outcome(entry, pool) } else { Outcome::NotNeeded("it is said again below") };
            Line { number: entry.number, text: entry.text(), outcome }
        })
        .collect();
    // Without a list a supernode takes every community.
    let open = value("supernode.community_file").is_none().then(|| "open = true".to_owned());
    let toml = table(Role::Relay, &lines, open.as_slice());
    let mut notes = vec![
        "a relay makes a development certificate for itself; members need it as relay-ca-cert, or give the relay a real one with cert and key",
        "it listens on TCP as well, for members whose network passes no UDP",
    ];
    if open.is_none() {
        notes.push("it does not start before its rooms are named: say rooms = \"rooms.toml\", made of the community list, or open = true");
    }
    Imported { role: Role::Relay, toml, lines, notes }
}

fn outcome(entry: &Entry, pool: (Option<&str>, Option<&str>)) -> Outcome {
    let value = entry.value.as_str();
    match entry.key().as_str() {
        "connection.bind" => listen(value),
        "supernode.auto_ip_min" => auto_pool(pool),
        "supernode.auto_ip_max" => Outcome::NotNeeded("auto_ip_min says it"),
        "supernode.community_file" => Outcome::Lost(format!(
            "make rooms of it: `lanparty-relay import-communities {value} > rooms.toml`, then say rooms = \"rooms.toml\""
        )),
        "supernode.federation" | "supernode.peer" => {
            Outcome::Lost("relays do not federate: every member of a room is on one relay".to_owned())
        }
        "supernode.macaddr" => Outcome::NotNeeded("a relay has no MAC address"),
        "supernode.version" => Outcome::NotNeeded("a relay says its own version"),
        "supernode.spoofing_protection" => match switch(value) {
            Some(true) => Outcome::NotNeeded("nobody can speak for another member"),
            _ => Outcome::Lost("it cannot be switched off: nobody can speak for another member".to_owned()),
        },
        _ => of_the_daemon(entry).unwrap_or_else(|| Outcome::Wrong(format!("n3n's supernode has no option {}", entry.key()))),
    }
}

/// n3n's `[address]:[port]`, each of which may be left out.
fn listen(bind: &str) -> Outcome {
    let (address, port) = bind.rsplit_once(':').unwrap_or(("", bind));
    let address = if address.is_empty() { "0.0.0.0" } else { address };
    let listen = format!("{address}:{port}");
    match listen.parse::<std::net::SocketAddr>() {
        Ok(_) => Outcome::Became(vec![text("listen", &listen)]),
        Err(_) => Outcome::Wrong(format!("`{bind}` is no address and port to listen on")),
    }
}

/// `10.128.0.0/24` and `10.255.255.0/24` as one pool of networks.
fn auto_pool((min, max): (Option<&str>, Option<&str>)) -> Outcome {
    let (Some(min), Some(max)) = (min, max) else {
        return Outcome::Wrong("auto_ip_min and auto_ip_max belong together".to_owned());
    };
    let (first, _) = min.split_once('/').unwrap_or((min, ""));
    let (last, len) = max.split_once('/').unwrap_or((max, "24"));
    let pool = format!("{first}-{last}/{len}");
    match pool.parse::<AddressPool>() {
        Ok(_) => Outcome::Became(vec![text("auto-pool", &pool)]),
        Err(e) => Outcome::Wrong(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::n3n::{Outcome, import};

    #[test]
    fn a_supernode_becomes_a_relay() {
        let supernode = "[connection]\nbind=7777\n[supernode]\nauto_ip_min=10.128.0.0/24\nauto_ip_max=10.255.255.0/24\n\
                         spoofing_protection=true\nmacaddr=de:ad:be:ef:00:01\n";
        let imported = import(supernode).unwrap();
        assert_eq!(imported.toml, "[relay]\nlisten = \"0.0.0.0:7777\"\nauto-pool = \"10.128.0.0-10.255.255.0/24\"\nopen = true\n");
        assert!(
            imported.is_whole() && !imported.notes.iter().any(|note| note.contains("rooms")),
            "it is open, as a supernode without a list"
        );
    }

    #[test]
    fn what_is_said_twice_is_taken_once_and_the_last_time() {
        let imported = import("[connection]\nbind=7777\n[supernode]\nspoofing_protection=true\n[connection]\nbind=7778\n").unwrap();
        assert_eq!(imported.toml, "[relay]\nlisten = \"0.0.0.0:7778\"\nopen = true\n");
    }

    #[test]
    fn what_a_relay_does_not_do_is_said() {
        let supernode = "[supernode]\nfederation=secret\npeer=other.node:7777\ncommunity_file=/etc/n3n/community.list\n";
        let imported = import(supernode).unwrap();
        assert!(imported.lines.iter().all(|line| matches!(line.outcome, Outcome::Lost(_))), "{imported:?}");
        assert_eq!(imported.toml, "[relay]\n", "who had a list does not get a relay that is open");
        assert!(imported.notes.iter().any(|note| note.contains("rooms = \"rooms.toml\"")), "{:?}", imported.notes);
        for wrong in ["[supernode]\nauto_ip_min=10.0.0.0/24\n", "[connection]\nbind=70000\n[supernode]\nversion=1\n"] {
            assert!(import(wrong).unwrap().lines.iter().any(|line| matches!(line.outcome, Outcome::Wrong(_))), "{wrong}");
        }
    }
}
