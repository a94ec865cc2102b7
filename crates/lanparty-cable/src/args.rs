//! The command line of a cable's end. Its help fits one screen.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use lanparty_node::{
    BondFlags, BusyPoll, CABLE_PORT, CableAddress, ExitCode, Fault, FilterFlags, LogFormat, ManagementFlags, parse_lan_mtu,
};
use lanparty_proto::{IdentityId, LanMtu};

const AFTER_HELP: &str = "\
On both:  `lanparty cable --new` prints a key, and the line for the other.
On one:   `lanparty cable --peer KEY`.
There:    `lanparty cable --peer KEY --remote HOST`.
Needs root or CAP_NET_ADMIN. The guide is docs/cable.md; --help has more.";

/// Options of `lanparty cable` and `lanparty-cable`.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct CableArgs {
    /// The other end's key: nobody else is let in
    #[arg(long, value_name = "KEY")]
    pub peer: Option<IdentityId>,

    /// Dial it there; without this, wait for it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub remote: Option<CableAddress>,

    /// Print this host's key and the line for the other
    #[arg(long)]
    pub new: bool,

    /// With --new: as JSON
    #[arg(long, requires = "new")]
    pub json: bool,

    /// Listen there [default: all addresses, port 8442]
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,

    #[expect(missing_docs, reason = "its own options have docs")]
    #[command(flatten)]
    pub bonding: BondFlags,

    #[expect(missing_docs, reason = "its own options have docs")]
    #[command(flatten)]
    pub filtering: FilterFlags,

    /// Interface to create
    #[arg(long, value_name = "NAME", default_value = "cable0")]
    pub tap_name: String,

    /// Largest IP packet [default: as the path carries]
    #[arg(long, value_name = "BYTES", value_parser = parse_lan_mtu)]
    pub mtu: Option<LanMtu>,

    /// What this end calls itself to the other, for people [default: its host name]
    #[arg(long, hide_short_help = true, value_name = "TEXT")]
    pub description: Option<String>,

    /// One host at each end: no VLAN, switch or server
    #[arg(long)]
    pub isolate: bool,

    /// Run this when it carries for the first time
    #[arg(long, value_name = "SCRIPT")]
    pub up: Option<PathBuf>,

    /// Run this at the end, when --up has been due
    #[arg(long, value_name = "SCRIPT")]
    pub down: Option<PathBuf>,

    /// Where the key is kept
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// After anything came, look for more for so many microseconds instead of letting the processor rest: shorter round trips for a
    /// processor that is always busy
    #[arg(long, hide_short_help = true, value_name = "MICROSECONDS", default_value = "0")]
    pub busy_poll: BusyPoll,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub management: ManagementFlags,

    /// Log lines: auto, text or json
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

impl CableArgs {
    /// What a cable would refuse at its start, as far as its options and their files say it.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), Fault> {
        self.filtering.rules()?;
        if self.peer.is_some() || self.new {
            return Ok(());
        }
        let advice = "run `lanparty cable --new` on the other host, and give its key here with --peer";
        Err(Fault::new(ExitCode::Configuration, "a cable needs the other end's key", advice))
    }
}

/// `ADDR:PORT`, `ADDR`, or `:PORT`.
fn parse_listen(s: &str) -> Result<SocketAddr, String> {
    let port = |s: &str| s.strip_prefix(':').and_then(|port| port.parse().ok());
    let address = |s: &str| s.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let any = port(s).map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    any.or_else(|| s.parse().ok())
        .or_else(|| address(s).map(|ip| SocketAddr::new(ip, CABLE_PORT)))
        .ok_or_else(|| format!("`{s}` is no address to listen on; write [::]:{CABLE_PORT}, 192.0.2.1 or :{CABLE_PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_one_screen() {
        let command = CableArgs::augment_args(clap::Command::new("cable").version("0").about("Plug a cable").term_width(80));
        let help = command.after_help(AFTER_HELP).render_help().to_string();
        assert!(help.lines().count() <= 24 && help.lines().all(|line| line.len() <= 80), "{help}");
    }

    #[test]
    fn where_to_listen_reads_as_people_write_it() {
        for (text, addr) in
            [(":9000", "[::]:9000"), ("192.0.2.1", "192.0.2.1:8442"), ("[::1]", "[::1]:8442"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(parse_listen(text).unwrap().to_string(), addr);
        }
        for bad in ["", ":x", "host", "host:1", ":99999"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
    }
}
