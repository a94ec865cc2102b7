//! `edge.conf`.

use std::net::Ipv4Addr;

use lanparty_core::FilterRule;
use lanparty_proto::{MacAddr, RoomCode};

use super::{Entry, Imported, Line, Outcome, not_a_switch, of_the_daemon, quoted, switch, table, text};
use crate::Role;

pub(super) fn import(entries: &[Entry]) -> Imported {
    let mode = last(entries, "tuntap.address_mode");
    let mut rules = vec![];
    let mut lines = vec![];
    let mut has_relay = false;
    for (n, entry) in entries.iter().enumerate() {
        let is_last = entries.iter().skip(n + 1).all(|other| other.key() != entry.key());
        let outcome = match entry.key().as_str() {
            "filter.rule" => rule(entry, &mut rules),
            "community.supernode" if !has_relay => {
                has_relay = true;
                relay(&entry.value)
            }
            "community.supernode" => {
                Outcome::Lost("a client has one relay; where it dies, members that are linked directly go on".to_owned())
            }
            _ if !is_last => Outcome::NotNeeded("it is said again below"),
            _ => outcome(entry, mode),
        };
        lines.push(Line { number: entry.number, text: entry.text(), outcome });
    }
    let more = if rules.is_empty() { vec![] } else { vec![format!("filter-rule = [{}]", rules.join(", "))] };
    let toml = table(Role::Client, &lines, &more);
    let notes = vec![
        "frames are sealed between members and the relay by TLS 1.3, and between members that are linked directly: there is no key to \
         give out; who may be in a room is said by the relay's rooms.toml (docs/rooms.md)",
        "the relay has a certificate: a real one needs nothing here, a development one needs relay-ca-cert and server-name",
        "n3n passes no multicast unless allow_multicast is true; here what finds games and machines passes, and say multicast = \"none\" \
         when nothing shall (docs/multicast.md)",
        "n3n and lanparty do not speak with each other: every member and the supernode move",
    ];
    Imported { role: Role::Client, toml, lines, notes }
}

fn last<'e>(entries: &'e [Entry], key: &str) -> Option<&'e str> {
    entries.iter().rev().find(|entry| entry.key() == key).map(|entry| entry.value.as_str())
}

fn outcome(entry: &Entry, mode: Option<&str>) -> Outcome {
    let value = entry.value.as_str();
    match entry.section.as_str() {
        "community" => community(entry),
        "connection" => connection(entry),
        "tuntap" => tuntap(entry, mode),
        "auth" => auth(entry),
        "filter" => filter(entry),
        _ => of_the_daemon(entry).unwrap_or_else(|| Outcome::Wrong(format!("n3n has no option {} (value `{value}`)", entry.key()))),
    }
}

fn community(entry: &Entry) -> Outcome {
    match entry.option.as_str() {
        "name" => room(&entry.value),
        "key" => Outcome::NotNeeded("frames are sealed by TLS 1.3, with keys of each connection"),
        "cipher" | "header_encryption" => Outcome::NotNeeded("everything is sealed by TLS 1.3, headers too"),
        "compression" if entry.value == "0" || entry.value == "none" => Outcome::NotNeeded("nothing is compressed"),
        "compression" => Outcome::NotNeeded("nothing is compressed: games and media do not become smaller, and time is lost"),
        _ => unknown(entry),
    }
}

fn room(name: &str) -> Outcome {
    if name.parse::<RoomCode>().is_ok() {
        return Outcome::Became(vec![text("room", name)]);
    }
    let legal = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let room: String = name.chars().take(RoomCode::LEN_MAX).map(legal).collect();
    match room.parse::<RoomCode>() {
        Ok(_) => Outcome::Became(vec![format!("{} # n3n's name `{}` is none for a room", text("room", &room), name.escape_debug())]),
        Err(e) => Outcome::Lost(format!("a room needs a name: {e}")),
    }
}

/// Our relay where their supernode was: what its own file becomes listens on the same port.
fn relay(supernode: &str) -> Outcome {
    match supernode.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Outcome::Became(vec![format!("{} # where a lanparty relay takes the supernode's place", text("relay", supernode))])
        }
        _ => Outcome::Wrong(format!("`{supernode}` is no HOST:PORT")),
    }
}

fn connection(entry: &Entry) -> Outcome {
    match (entry.option.as_str(), switch(&entry.value)) {
        ("allow_p2p", Some(true)) => Outcome::NotNeeded("members are linked directly where the network allows it"),
        ("allow_p2p", Some(false)) => Outcome::Became(vec!["no-direct = true".to_owned()]),
        ("connect_tcp", Some(true)) => Outcome::Became(vec![text("transport", "stream")]),
        ("connect_tcp", Some(false)) => Outcome::NotNeeded("TCP is used where UDP does not pass, and left when it does again"),
        ("pmtu_discovery", Some(_)) => Outcome::NotNeeded("the size that the path carries is always searched, and never guessed"),
        ("allow_p2p" | "connect_tcp" | "pmtu_discovery", None) => not_a_switch(&entry.value),
        ("bind", _) => Outcome::NotNeeded("the port is asked of the router, and kept open, by itself"),
        ("advertise_addr", _) => Outcome::NotNeeded("a member's addresses are found by itself"),
        ("description", _) => Outcome::Became(vec![text("description", &entry.value)]),
        ("register_interval" | "register_pkt_ttl", _) => {
            Outcome::NotNeeded("how a way through a NAT is opened and kept is not set by hand")
        }
        ("supernode_selection", _) => Outcome::NotNeeded("a client has one relay"),
        ("tos", _) => Outcome::Lost("packets of the tunnel have no type of service of their own; the bond's classes sort them".to_owned()),
        _ => unknown(entry),
    }
}

fn tuntap(entry: &Entry, mode: Option<&str>) -> Outcome {
    let value = entry.value.as_str();
    match entry.option.as_str() {
        "name" => Outcome::Became(vec![text("tap-name", value)]),
        "macaddr" => mac(value),
        "address" => address(value, mode),
        "address_mode" => match value {
            "auto" => Outcome::Became(vec![text("address", "auto")]),
            "dhcp" => Outcome::Became(vec![text("address", "dhcp")]),
            "static" => Outcome::NotNeeded("the address says it"),
            _ => Outcome::Wrong(format!("`{value}` is none of auto, static, dhcp")),
        },
        "mtu" => Outcome::NotNeeded("the largest packet that every way carries is measured, and the room agrees on it"),
        "metric" => Outcome::Became(vec![format!("metric = {value}")]).numbered(value),
        _ => unknown(entry),
    }
}

impl Outcome {
    /// Only when `value` is a number.
    fn numbered(self, value: &str) -> Self {
        if value.parse::<u32>().is_ok() { self } else { Self::Wrong(format!("`{value}` is no number")) }
    }
}

fn mac(value: &str) -> Outcome {
    let Ok(mac) = value.parse::<MacAddr>() else { return Outcome::Wrong(format!("`{value}` is no MAC address")) };
    if mac.is_group() {
        return Outcome::Wrong(format!("{mac} is a multicast address"));
    }
    let mut ours = vec![text("mac", &mac.to_string())];
    if !mac.is_locally_administered() {
        ours.push("allow-global-mac = true".to_owned());
    }
    Outcome::Became(ours)
}

fn address(value: &str, mode: Option<&str>) -> Outcome {
    let (address, len) = value.split_once('/').unwrap_or((value, "24"));
    let is_legal = address.parse::<Ipv4Addr>().is_ok() && len.parse::<u8>().is_ok_and(|len| len <= 32);
    match mode {
        _ if !is_legal => Outcome::Wrong(format!("`{value}` is no IPv4 address")),
        Some("auto") => Outcome::NotNeeded("address_mode is auto: the relay assigns it"),
        Some("dhcp") => Outcome::NotNeeded("address_mode is dhcp: the server in the room assigns it"),
        // Without a mode n3n's supernode assigns one instead; who wrote an address meant it.
        _ => Outcome::Became(vec![text("address", &format!("static:{address}/{len}"))]),
    }
}

fn auth(entry: &Entry) -> Outcome {
    match entry.option.as_str() {
        "password" => {
            Outcome::Lost("passwords stand in files of their own: write it into one that only root reads, and say password-file".to_owned())
        }
        "pubkey" => Outcome::NotNeeded("the relay is known by its certificate"),
        _ => unknown(entry),
    }
}

fn filter(entry: &Entry) -> Outcome {
    match (entry.option.as_str(), switch(&entry.value)) {
        ("allow_multicast", Some(true)) => Outcome::Became(vec![text("multicast", "all")]),
        ("allow_multicast", Some(false)) => Outcome::Became(vec![text("multicast", "none")]),
        ("allow_routing", Some(false)) => Outcome::NotNeeded("a client forwards for nobody by itself"),
        ("allow_routing", Some(true)) => Outcome::Lost(
            "name the networks behind this machine, each with route-from = \"192.168.8.0/24\"; a room's DHCP needs none of it".to_owned(),
        ),
        ("allow_multicast" | "allow_routing", None) => not_a_switch(&entry.value),
        _ => unknown(entry),
    }
}

fn rule(entry: &Entry, rules: &mut Vec<String>) -> Outcome {
    match entry.value.parse::<FilterRule>() {
        Ok(_) => {
            rules.push(quoted(&entry.value));
            Outcome::Joined("filter-rule")
        }
        Err(e) => Outcome::Wrong(e.to_string()),
    }
}

fn unknown(entry: &Entry) -> Outcome {
    Outcome::Wrong(format!("n3n has no option {}", entry.key()))
}

#[cfg(test)]
mod tests {
    use crate::n3n::{Outcome, import};

    fn toml(text: &str) -> String {
        import(text).unwrap().toml
    }

    fn outcomes(text: &str) -> Vec<Outcome> {
        import(text).unwrap().lines.into_iter().map(|line| line.outcome).collect()
    }

    #[test]
    fn an_edge_with_everything_becomes_a_client() {
        let edge = "[community]\nname=net/1\nkey=k\ncipher=AES\ncompression=lzo\nheader_encryption=true\nsupernode=one.example:7777\n\
                    supernode=two.example:7777\n[connection]\nallow_p2p=false\nconnect_tcp=true\ndescription=the \"den\"\nbind=50001\n\
                    [filter]\nallow_multicast=true\nrule=192.168.1.0/24:[1,2],0.0.0.0/0,UDP+\nrule=10.0.0.0/8,0.0.0.0/0,TCP-\n[tuntap]\nname=n3n0\n\
                    macaddr=00:1B:21:00:00:01\naddress=192.168.100.1\naddress_mode=static\nmtu=1290\nmetric=5\n[daemon]\nuserid=99\n";
        let expected = "[client]\nroom = \"net-1\" # n3n's name `net/1` is none for a room\n\
                        relay = \"one.example:7777\" # where a lanparty relay takes the supernode's place\nno-direct = true\n\
                        transport = \"stream\"\ndescription = \"the \\\"den\\\"\"\nmulticast = \"all\"\ntap-name = \"n3n0\"\n\
                        mac = \"00:1b:21:00:00:01\"\nallow-global-mac = true\naddress = \"static:192.168.100.1/24\"\nmetric = 5\n\
                        filter-rule = [\"192.168.1.0/24:[1,2],0.0.0.0/0,UDP+\", \"10.0.0.0/8,0.0.0.0/0,TCP-\"]\n";
        assert_eq!(toml(edge), expected);
    }

    #[test]
    fn how_the_address_comes_is_kept() {
        for (lines, ours) in [
            ("address=10.0.0.1", "address = \"static:10.0.0.1/24\"\n"),
            ("address=10.0.0.1/16\naddress_mode=static", "address = \"static:10.0.0.1/16\"\n"),
            ("address_mode=auto", "address = \"auto\"\n"),
            ("address_mode=dhcp\naddress=0.0.0.0", "address = \"dhcp\"\n"),
            ("address=10.0.0.1\naddress=10.0.0.2", "address = \"static:10.0.0.2/24\"\n"),
        ] {
            assert_eq!(toml(&format!("[tuntap]\n{lines}\n")), format!("[client]\n{ours}"));
        }
    }

    #[test]
    fn what_cannot_be_carried_over_and_what_is_wrong_is_said() {
        let lost = "[filter]\nallow_routing=true\n[connection]\ntos=16\n[auth]\npassword=007\n";
        assert!(outcomes(lost).iter().all(|outcome| matches!(outcome, Outcome::Lost(_))));
        let wrong = "[tuntap]\naddress=10.0.0.1/33\nmacaddr=01:00:5e:00:00:01\nmetric=low\nnoname=1\naddress_mode=magic\n\
                     [connection]\nallow_p2p=maybe\n[filter]\nrule=10.0.0.0/8:[9,5],0.0.0.0/0,UDP+\n[nowhere]\nx=1\n\
                     [community]\nsupernode=host\n";
        for outcome in outcomes(wrong) {
            assert!(matches!(outcome, Outcome::Wrong(_)), "{outcome:?}");
        }
    }
}
