//! What is measured: one file per program, each with the settings that its own documentation recommends.

mod cable;
mod easytier;
mod fastd;
mod lanparty;
pub(crate) mod lanparty_relay;
mod n2n;
mod n3n;
mod openvpn;
mod plain;
mod quincy;
mod raw;
mod tinc;
mod vpncloud;
mod wireguard;
mod zerotier;

use std::time::Duration;

use anyhow::{Context, Result};
use lanparty_lab::run_any;
use serde::Serialize;

pub(crate) use crate::variant::cable::LANPARTY_CABLE;
pub(crate) use crate::variant::lanparty::{FILTER_FILE, LANPARTY, LANPARTY_DIRECT, LANPARTY_GATEWAY, LANPARTY_TLS, join};
pub(crate) use crate::variant::n2n::N2N;
pub(crate) use crate::variant::plain::{PLAIN, PLAIN_RELAYED};
pub(crate) use crate::variant::quincy::QUINCY;
pub(crate) use crate::variant::raw::RAW;
pub(crate) use crate::variant::tinc::TINC;
pub(crate) use crate::variant::wireguard::{WIREGUARD, remove_leftovers};

use crate::bed::{Bed, Route};
use crate::tools::{Needed, Tools};

/// Everything that can be measured, in the order of a round.
pub(crate) const VARIANTS: [&Variant; 22] = [
    &RAW,
    &PLAIN,
    &PLAIN_RELAYED,
    &TINC,
    &tinc::TINC_11,
    &tinc::TINC_11_RELAYED,
    &N2N,
    &n2n::N2N_RELAYED,
    &n3n::N3N,
    &n3n::N3N_RELAYED,
    &fastd::FASTD,
    &openvpn::OPENVPN,
    &vpncloud::VPNCLOUD,
    &zerotier::ZEROTIER,
    &WIREGUARD,
    &QUINCY,
    &easytier::EASYTIER_RELAYED,
    &LANPARTY,
    &LANPARTY_TLS,
    &LANPARTY_DIRECT,
    &LANPARTY_CABLE,
    &LANPARTY_GATEWAY,
];
/// What others run and this bench does not, and why.
pub(crate) const ABSENT: [(&str, &str); 2] = [
    ("softether", "it keeps settings and process numbers in directories of the system, which both ends would share"),
    ("tap2tap, mqvpn", "no registry has them"),
];
/// What `--quick` measures: the yardsticks and peers that targets are set against.
pub(crate) const QUICK: [&Variant; 12] = [
    &RAW,
    &PLAIN,
    &PLAIN_RELAYED,
    &TINC,
    &tinc::TINC_11,
    &vpncloud::VPNCLOUD,
    &zerotier::ZEROTIER,
    &WIREGUARD,
    &QUINCY,
    &LANPARTY,
    &LANPARTY_TLS,
    &LANPARTY_DIRECT,
];
/// What the small wire is measured with: the yardstick, and those whose defaults people run.
pub(crate) const ON_SMALL_WIRE: [&Variant; 6] = [&RAW, &TINC, &N2N, &openvpn::OPENVPN, &WIREGUARD, &LANPARTY];

/// What a distance is measured with: no tunnel, forwarders that do nothing else, and every way of lanparty.
pub(crate) const OVER_DISTANCE: [&Variant; 7] = [&RAW, &PLAIN, &PLAIN_RELAYED, &LANPARTY, &LANPARTY_TLS, &LANPARTY_DIRECT, &LANPARTY_CABLE];

/// The tunnel's interface, where it may be called anything.
pub(crate) const INTERFACE: &str = "vpn0";

/// Whose a variant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    /// No tunnel, or one of the bench itself that does nothing else.
    Yardstick,
    /// What others use.
    Peer,
    /// lanparty.
    Ours,
}

/// A way to carry packets between the two ends of a [`Bed`].
#[derive(Debug)]
pub(crate) struct Variant {
    /// What `--only` and the table call it.
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    /// 2 carries Ethernet, 3 only IP.
    pub(crate) layer: u8,
    pub(crate) crypto: &'static str,
    pub(crate) route: Route,
    pub(crate) needs: &'static [Needed],
    /// Time after the first reply until its way is the final one.
    pub(crate) settle: Duration,
    pub(crate) version: fn(&Tools) -> Result<String>,
    /// Keys and files: not timed.
    pub(crate) prepare: fn(&Bed) -> Result<()>,
    /// Starts the processes and gives the interfaces their addresses.
    pub(crate) start: fn(&Bed) -> Result<()>,
}

/// Long enough for a tunnel that does not change its way.
const SETTLE: Duration = Duration::from_secs(1);

fn nothing_to_prepare(_: &Bed) -> Result<()> {
    Ok(())
}

/// The first word that looks like a version in what a program prints, whatever its exit code.
fn printed_version(tools: &Tools, needed: Needed, args: &[&str]) -> Result<String> {
    let path = tools.path(needed)?;
    let mut words = vec![path.to_str().context("a path that is no text")?];
    words.extend(args);
    let output = run_any(&words)?;
    let text = format!("{}\n{}", output.stdout, output.stderr);
    find_version(&text).with_context(|| format!("`{}` names no version", output.command))
}

fn find_version(text: &str) -> Option<String> {
    let word = |word: &str| -> Option<String> {
        let version = word.trim_start_matches("v.").trim_start_matches('v').trim_end_matches([',', ';']);
        let looks = version.starts_with(|c: char| c.is_ascii_digit()) && (version.contains('.') || word.starts_with('v'));
        looks.then(|| version.to_owned())
    };
    text.split_whitespace().find_map(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, version) in [
            ("tinc version 1.0.36 (built May  5 2023 21:06:38, protocol 17)", "1.0.36"),
            ("Welcome to n2n v.1.3.2 for unknown\nBuilt on 04/17/18", "1.3.2"),
            ("fastd v22", "22"),
            ("OpenVPN 2.6.14 x86_64-pc-linux-gnu", "2.6.14"),
            ("wireguard-go v0.0.20220316\n\nUserspace", "0.0.20220316"),
            ("lanparty 0.1.0", "0.1.0"),
        ] {
            assert_eq!(find_version(text).as_deref(), Some(version));
        }
        assert_eq!(find_version("no number here"), None);
    }

    #[test]
    fn names_are_unique_and_fit_a_lab() {
        let names: std::collections::BTreeSet<_> = VARIANTS.iter().map(|variant| variant.name).collect();
        assert_eq!(names.len(), VARIANTS.len());
        assert!(names.iter().all(|name| name.len() <= 20));
    }
}
