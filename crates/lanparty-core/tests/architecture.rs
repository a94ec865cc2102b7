//! DESIGN §3 as a test: the pure crates stay pure, and nothing points back.
//!
//! Asks `cargo tree` for what is really linked, because a feature of a dependency brings tokio as surely as a line in a
//! manifest does.

use std::process::Command;

/// What a pure crate must never link: runtimes, QUIC, TLS, sockets, devices, the operating system's clock and chance.
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "polling",
    "lanparty-quic",
    "noq-udp",
    "quinn",
    "quinn-proto",
    "rustls",
    "ring",
    "socket2",
    "libc",
    "rustix",
    "nix",
    "tun",
    "pcap",
    "windows-sys",
    "rtnetlink",
    "getrandom",
    "rand",
    "tracing-subscriber",
];

/// Our crates by rank. A crate depends on lower ranks only, so nothing points back and nothing points sideways.
const RANKS: &[(&str, u8)] = &[
    ("lanparty-proto", 0),
    ("lanparty-core", 1),
    ("lanparty-doctor", 1),
    ("lanparty-nic", 1),
    ("lanparty-quic", 1),
    ("lanparty-node", 2),
    ("lanparty-config", 3),
    ("lanparty-client-core", 3),
    ("lanparty-relay", 4),
    ("lanparty-gateway", 4),
    ("lanparty-cable", 4),
    ("lanparty-client-win", 4),
    ("lanparty", 5),
];

fn cargo_tree(args: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--manifest-path", manifest, "--prefix", "depth", "--format", " {p}"])
        .args(args)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are text")
}

/// Depth and name of every line `1 name v0.1.0 (…)`.
fn packages(tree: &str) -> impl Iterator<Item = (&str, &str)> {
    tree.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    })
}

/// The impure packages in a tree: by name, or as a part of such a family (`tokio-util`, `quinn-proto`).
fn impure(tree: &str) -> Vec<&str> {
    let is_impure =
        |name: &str| IMPURE.iter().any(|bad| name.strip_prefix(bad).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')));
    packages(tree).map(|(_, name)| name).filter(|name| is_impure(name)).collect()
}

/// `from -> to` of every dependency between our crates that points back or sideways, or from the product into its tests.
fn backward(tree: &str) -> Vec<String> {
    let rank = |name: &str| RANKS.iter().find(|(known, _)| *known == name).map(|(_, rank)| *rank);
    let (mut from, mut found) = ("", vec![]);
    for (depth, name) in packages(tree) {
        match depth {
            "0" => from = name,
            _ if !name.starts_with("lanparty") => {}
            // Simulator, lab and tools may use everything; nothing of the product may use them.
            _ => match (rank(from), rank(name)) {
                (None, _) => {}
                (Some(above), Some(below)) if below < above => {}
                _ => found.push(format!("{from} -> {name}")),
            },
        }
    }
    found
}

#[test]
fn the_pure_crates_link_no_clock_no_socket_no_runtime() {
    for package in ["lanparty-proto", "lanparty-core", "lanparty-doctor"] {
        let tree = cargo_tree(&["-p", package, "-e", "normal", "--target", "all"]);
        assert!(packages(&tree).any(|(_, name)| name == "bytes"), "{package}: this is no tree:\n{tree}");
        assert_eq!(impure(&tree), [""; 0], "{package} is pure; take what it needs as an argument instead");
    }
}

#[test]
fn dependencies_between_our_crates_point_one_way() {
    let tree = cargo_tree(&["--workspace", "-e", "normal,build", "--target", "all", "--depth", "1"]);
    assert!(packages(&tree).any(|p| p == ("1", "lanparty-proto")), "this is no tree:\n{tree}");
    assert_eq!(backward(&tree), [""; 0], "DESIGN §3: bins -> client-core -> node -> core -> proto");
}

#[test]
fn what_must_not_be_is_found() {
    let tree = "0 lanparty-core v0.1.0 (/x)\n1 bytes v1.0.0\n1 tokio-util v0.7.0\n2 tokio v1.0.0\n1 randomize v3.0.0\n1 libc v0.2.0 (*)\n";
    assert_eq!(impure(tree), ["tokio-util", "tokio", "libc"]);
    let tree = "0 lanparty-core v0.1.0 (/x)\n1 lanparty-nic v0.1.0\n1 lanparty-proto v0.1.0\n0 lanparty-sim v0.1.0\n1 lanparty-core v0.1.0\n\
                0 lanparty-node v0.1.0\n1 lanparty-sim v0.1.0\n1 lanparty-client-core v0.1.0\n1 lanparty-core v0.1.0\n";
    assert_eq!(backward(tree), ["lanparty-core -> lanparty-nic", "lanparty-node -> lanparty-sim", "lanparty-node -> lanparty-client-core"]);
}
