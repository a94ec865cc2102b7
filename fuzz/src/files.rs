//! What each fuzz target asserts of a file that people write. Shared with the replay of the committed corpus in `cargo test`.

use lanparty_core::RoomRules;
use lanparty_node::TomlReader;
use lanparty_relay::files;

/// A file of rooms: rules that can be asked, or what is wrong with it, each on a line that there is.
pub fn rooms(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match files::rooms(&text) {
        Ok(rules) => {
            let rules = RoomRules::new(rules, false);
            for name in ["ROOM1", "party-07", "a"] {
                let _ = rules.of(&name.parse().expect("a room's name"));
            }
            assert!(rules.news_since(&rules).is_empty(), "the same rules are no news");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems.iter().map(ToString::to_string) {
                let line = problem.split(':').next().and_then(|line| line.parse::<usize>().ok());
                assert!(line.is_some_and(|line| (1..=text.split('\n').count()).contains(&line)), "{problem}");
            }
        }
    }
}

/// A supernode's list becomes a file of rooms that is understood, whatever it is.
pub fn communities(data: &[u8]) {
    let (toml, rooms) = files::communities(&String::from_utf8_lossy(data));
    match files::rooms(&toml) {
        Ok(rules) => assert_eq!(rules.len(), rooms, "{toml}"),
        Err(problems) => panic!("{}\n{toml}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// A configuration of n3n becomes TOML, and each of its lines is told of once.
pub fn n3n(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(imported) = lanparty_config::n3n::import(&text) else { return };
    let mut reader = TomlReader::new(&imported.toml);
    assert!(reader.parse(&imported.toml).is_some(), "{}", imported.toml);
    let numbers: Vec<usize> = imported.lines.iter().map(|line| line.number).collect();
    assert!(numbers.iter().all(|number| (1..=text.lines().count()).contains(number)), "{numbers:?}");
    let mut told = numbers.clone();
    told.dedup();
    assert_eq!(told, numbers);
}
