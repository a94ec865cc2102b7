//! Bad input for the real programs: what is wrong is refused before anything is changed, with words that name it; what is only much is taken.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use programs::{RELAY, SOON};
use town::{Town, ready};

/// Exit codes of what was started wrongly, and of what the relay refused.
const WRONG: i32 = 2;
const REFUSED: i32 = 4;
/// As many problems are told of one file.
const TOLD: usize = 40;

/// As people slip: a letter twice.
fn misspelled(key: &str) -> String {
    let (begin, end) = key.split_at(key.len() / 2);
    format!("{begin}{}{end}", begin.chars().last().unwrap())
}

#[test]
fn a_file_with_every_key_misspelled_is_told_key_by_key() {
    if !ready() {
        return;
    }
    let town = Town::new("keys", 0);
    let all = town.programs.run(&town.relay_host, &["lanparty", "config", "print-default"]).success().unwrap().stdout;
    let tables: Vec<_> = all.split("\n[").skip(1).filter_map(|table| table.split_once("]\n")).collect();
    assert_eq!(tables.iter().map(|(role, _)| *role).collect::<Vec<_>>(), ["client", "gateway", "relay", "cable"]);
    for (role, options) in tables {
        let lines = options.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = "));
        let options: Vec<_> = lines.filter(|(key, _)| !key.starts_with(' ')).collect();
        let wrong: String = options.iter().map(|(key, value)| format!("{} = {value}\n", misspelled(key))).collect();
        let file = town.write("wrong.toml", &format!("[{role}]\n{wrong}"));
        let said = town.programs.run(&town.relay_host, &["lanparty", "config", "check", &file]);
        assert_eq!(said.status.code(), Some(WRONG), "{}", said.stderr);
        for (n, (key, _)) in options.iter().take(TOLD).enumerate() {
            let line = said
                .stderr
                .lines()
                .find(|line| line.contains(&format!("line {}: ", n + 2)))
                .unwrap_or_else(|| panic!("{key}: {}", said.stderr));
            assert!(line.contains(&format!("did you mean `{key}`")), "{line}");
        }
        let more = options.len().saturating_sub(TOLD);
        assert!(more == 0 || said.stderr.contains(&format!("and {more} more")), "{}", said.stderr);
        println!("[{role}]: {} keys; {}", options.len(), said.stderr.lines().take(3).collect::<Vec<_>>().join(" | "));
        let started = town.programs.run(&town.relay_host, &["lanparty", "run", &file]);
        assert_eq!(started.status.code(), Some(WRONG), "and nothing is started: {}", started.stderr);
    }
}

#[test]
fn prefixes_and_ranges_that_cannot_be_are_refused_wherever_they_are_written() {
    if !ready() {
        return;
    }
    let town = Town::new("ranges", 0);
    let client = ["lanparty", "client", "--relay", RELAY, "--room", "RED"];
    let backwards = town.write("backwards.toml", "[[rule]]\nto-ports = \"9-5\"\naccept = \"udp\"\n");
    let rooms = town.write("rooms.toml", "[[room]]\nname = \"RED\"\nnets = [\"10.0.0.0/33\", \"fd00::/129\"]\n");
    for (words, why) in [
        ([&client[..], &["--address", "static:10.0.0.5/33"]].concat(), &["33", "1 to 32 bits"][..]),
        ([&client[..], &["--address", "static:fd00::5/129"]].concat(), &["129"]),
        ([&client[..], &["--route-from", "10.0.0.0/33"]].concat(), &["10.0.0.0/33"]),
        ([&client[..], &["--route", "10.0.0.0/33=2"]].concat(), &["10.0.0.0/33"]),
        ([&client[..], &["--filter-rule", "10.0.0.0/33,0.0.0.0/0,UDP-"]].concat(), &["33"]),
        ([&client[..], &["--filter-rule", "10.0.0.0/8:[9,5],10.0.0.1,UDP+"]].concat(), &["[5,9]"]),
        ([&client[..], &["--filter", &backwards]].concat(), &["backwards.toml:2: ", "9-5", "5-9"]),
        (vec!["lanparty-relay", "--auto-pool", "10.0.0.0-10.1.0.0/33"], &["10.0.0.0-10.1.0.0/33"]),
        (vec!["lanparty-relay", "--auto-pool", "10.2.0.0-10.1.0.0/24"], &["10.2.0.0-10.1.0.0/24"]),
        (vec!["lanparty-relay", "--rooms", &rooms], &["rooms.toml:3: ", "33", "129"]),
    ] {
        let said = town.programs.run(&town.relay_host, &words);
        println!("{}", said.stderr);
        assert_eq!(said.status.code(), Some(WRONG), "{words:?}: {}", said.stderr);
        assert!(why.iter().all(|word| said.stderr.contains(word)), "{words:?} lacks one of {why:?}: {}", said.stderr);
    }
}

#[test]
fn an_expression_that_would_never_end_elsewhere_takes_no_time() {
    if !ready() {
        return;
    }
    let town = Town::new("expression", 2);
    // A name of so many letters takes a backtracking engine longer than the sun shines.
    let relay = town.relay(&["--rooms", &town.write("rooms.toml", "[[room]]\nmatch = \"(a+)+b\"\n")]);
    let member = town.client(0, "aab", &[]);
    member.wait_for("TAP is up", SOON).unwrap();
    let stranger = town.client(1, &"a".repeat(64), &[]);
    assert_eq!(stranger.exit_code(SOON).unwrap(), REFUSED);
    relay.wait_for("there is no such room", SOON).unwrap();
    assert!(member.running() && !member.tail().contains("joining again"), "{}", member.tail());
}

#[test]
fn ten_thousand_rules_are_taken_and_too_many_are_refused_with_the_number() {
    if !ready() {
        return;
    }
    let town = Town::new("rules", 2);
    let rules = |count: u32| -> String {
        let rule =
            |n: u32| format!("[[rule]]\nto = \"10.{}.{}.{}\"\nto-ports = {}\ndrop = \"udp\"\n", n >> 16, n >> 8 & 255, n & 255, 1000 + n);
        (0..count).map(rule).collect()
    };
    let _relay = town.relay(&[]);
    let _other = town.client(0, "RED", &[]);
    let member = town.client(1, "RED", &["--filter", &town.write("rules.toml", &rules(10_000))]);
    let [ipv4, ipv6] = town.addresses(0);
    town.addresses(1);
    assert!(town.reaches(1, &ipv4) && town.reaches(1, &ipv6), "{}", member.tail());
    assert_eq!(town.status(1)["frames"]["filter"]["rules"].as_array().map(Vec::len), Some(10_000));
    let many = town.write("many.toml", &rules(16_385));
    let said = town.programs.run(&town.relay_host, &["lanparty", "filter", "check", &many]);
    println!("{}", said.stderr);
    assert!(said.status.code() == Some(WRONG) && said.stderr.contains("16384"), "{}", said.stderr);
}
