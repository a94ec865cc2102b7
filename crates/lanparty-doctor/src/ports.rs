//! What a broadcast or multicast to a UDP port is for. Ports from the games' own documentation and the IANA registry.

use crate::DiscoveryKind;

/// First and last port, and whose search goes there.
const GAMES: &[(u16, u16, &str)] = &[
    (2350, 2360, "TrackMania"),
    (3979, 3979, "OpenTTD"),
    (4445, 4445, "Minecraft (announcement)"),
    (6112, 6112, "Warcraft III, StarCraft, Age of Empires II"),
    (7777, 7788, "Unreal Engine"),
    (8303, 8310, "Teeworlds"),
    (12_203, 12_203, "Medal of Honor"),
    (13_139, 13_139, "GameSpy"),
    (14_567, 14_567, "Battlefield 1942"),
    (23_000, 23_009, "Battlefield 1942"),
    (26_000, 26_004, "Quake, Xonotic"),
    (27_005, 27_020, "Source and GoldSrc (Counter-Strike, Half-Life, Team Fortress)"),
    (27_036, 27_036, "Steam (Remote Play)"),
    (27_500, 27_501, "QuakeWorld"),
    (27_666, 27_667, "Doom 3"),
    (27_733, 27_733, "Quake 4"),
    (27_910, 27_911, "Quake II"),
    (27_960, 27_963, "Quake III"),
    (28_960, 28_963, "Call of Duty"),
    (34_197, 34_197, "Factorio"),
    (47_624, 47_624, "DirectPlay"),
];

/// What a search to this UDP port is; without a port it is no UDP.
#[must_use]
pub fn discovery_kind(port: Option<u16>) -> DiscoveryKind {
    let Some(port) = port else { return DiscoveryKind::Other };
    match port {
        5353 => DiscoveryKind::Mdns,
        1900 => DiscoveryKind::Ssdp,
        5355 => DiscoveryKind::Llmnr,
        137 | 138 => DiscoveryKind::NetBios,
        _ => {
            let game = GAMES.iter().find(|(first, last, _)| (*first..=*last).contains(&port));
            game.map_or(DiscoveryKind::Other, |(_, _, name)| DiscoveryKind::Game((*name).to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ports_have_names_and_ranges_do_not_overlap() {
        assert_eq!(discovery_kind(Some(27_961)), DiscoveryKind::Game("Quake III".into()));
        assert_eq!((discovery_kind(Some(5353)), discovery_kind(Some(9))), (DiscoveryKind::Mdns, DiscoveryKind::Other));
        assert_eq!(discovery_kind(None), DiscoveryKind::Other);
        assert!(GAMES.windows(2).all(|pair| matches!(pair, [a, b] if a.0 <= a.1 && a.1 < b.0)));
    }
}
