//! The command line of the relay.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use lanparty_core::{AddressPool, Limits, Rate, RelayConfig};
use lanparty_node::{
    BusyPoll, CertificateFiles, ExitCode, Fault, LogFormat, ManagementFlags, ProbePorts, RELAY_THREADS_MAX, every_frame_is_logged,
    parse_lan_mtu,
};
use lanparty_proto::{LanMtu, MulticastPolicy};

use crate::rooms::RoomsFile;

/// Port of a relay when none is given.
const PORT: u16 = 8443;

/// Where streams are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenTls {
    /// Nowhere.
    Off,
    /// On this address.
    At(SocketAddr),
}

impl FromStr for ListenTls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self::Off) } else { parse_listen(text).map(Self::At) }
    }
}

/// Options of `lanparty-relay` and `lanparty relay`.
#[derive(Args, Clone, Debug)]
pub struct RelayArgs {
    /// Address and UDP port to listen on; `[::]:8443` serves IPv4 and IPv6
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8443", value_parser = parse_listen)]
    pub listen: SocketAddr,

    /// Address and TCP port for members whose network passes no UDP, or off; that of --listen when left out, 443 for the strictest
    #[arg(long, value_name = "ADDR:PORT|off")]
    pub listen_tls: Option<ListenTls>,

    /// The same without TLS, behind a server on this machine or network that ends it; needs --public-name
    #[arg(long, value_name = "ADDR:PORT", requires = "public_name", value_parser = parse_listen_plain)]
    pub listen_plain: Option<SocketAddr>,

    /// A name by which members call this relay, besides those in its certificate
    #[arg(long, value_name = "NAME")]
    pub public_name: Vec<String>,

    /// Write the development certificate here (DER), for gateways and clients to trust
    #[arg(long, value_name = "FILE")]
    pub dev_cert_der_out: Option<PathBuf>,

    /// Certificate chain of a real certificate (PEM); taken anew when the file changes
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Where keys and the development certificate are kept
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Most each member may send, in bits per second, e.g. 500M or 1G
    #[arg(long, value_name = "RATE", value_parser = parse_scaled, default_value = "10G")]
    pub member_rate: u64,

    /// What a member may send at once above its rate, in bytes, e.g. 4M
    #[arg(long, value_name = "BYTES", value_parser = parse_scaled, default_value = "8M")]
    pub member_burst: u64,

    /// Which rooms there are, and who may do what in them (TOML; docs/rooms.md); read anew on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub rooms: Option<PathBuf>,

    /// Let anybody who reaches this relay make a room, beside those of --rooms; without --rooms the default on loopback
    #[arg(long)]
    pub open: bool,

    /// Most rooms at once
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub rooms_max: usize,

    /// Most members in one room
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(2..=800))]
    pub members: u16,

    /// Most LANs that one room joins into one, each by a gateway with --join-lans; 1 refuses a gateway on a second LAN
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub lans: u16,

    /// No member makes its room's LAN MTU smaller than this, in bytes; 1280 keeps IPv6 in every room
    #[arg(long, value_name = "N", default_value_t = LanMtu::MIN, value_parser = parse_lan_mtu)]
    pub min_lan_mtu: LanMtu,

    /// Which multicast rooms carry: none, discovery (how machines and games find each other), snooped (each group to those that joined
    /// it), or all
    #[arg(long, value_name = "POLICY", default_value_t)]
    pub multicast: MulticastPolicy,

    /// Networks for the addresses of rooms without a gateway, one each, as FIRST-LAST/PREFIX
    #[arg(long, value_name = "POOL", default_value_t = AddressPool::default())]
    pub auto_pool: AddressPool,

    /// Take part in no `lanparty bond test` of a member: one fills the member's lines for half a minute or more, and this relay's for as long
    #[arg(long)]
    pub no_bond_test: bool,

    /// UDP ports on which `lanparty doctor` may measure the way here, as A,B, or off; the two above the relay's own when left out
    #[arg(long, value_name = "A,B|off")]
    pub probe_ports: Option<ProbePorts>,

    /// Threads that carry members, for machines with several processors and more to carry than one of them can
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(RELAY_THREADS_MAX)))]
    pub threads: u8,

    /// After anything came, look for more for so many microseconds instead of letting the processor rest: shorter round trips for a
    /// processor that is always busy
    #[arg(long, hide_short_help = true, value_name = "MICROSECONDS", default_value = "0")]
    pub busy_poll: BusyPoll,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub management: ManagementFlags,

    /// How log lines look: text, json, or auto: entries of the journal under systemd, else text
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

impl RelayArgs {
    /// What a relay would refuse at its start, as far as files say it.
    ///
    /// # Errors
    /// In words, when nobody has said which rooms there are, or their file cannot be used.
    pub fn check(&self) -> Result<(), Fault> {
        self.rooms_file()?.load().map(drop)
    }

    pub(crate) fn certificate_files(&self) -> Option<CertificateFiles> {
        Some(CertificateFiles { chain: self.cert.clone()?, key: self.key.clone()? })
    }

    /// Which rooms there may be.
    ///
    /// # Errors
    /// When strangers could make some, and nobody has said that they may.
    pub(crate) fn rooms_file(&self) -> Result<RoomsFile, Fault> {
        let place = self.public_place();
        let is_open = self.open || (self.rooms.is_none() && place.is_none());
        if let Some(place) = place.filter(|_| self.rooms.is_none() && !is_open) {
            let cause = format!("strangers reach a relay on {place}, and nobody has said which rooms it has");
            let advice = "name its rooms in a file (--rooms FILE, docs/rooms.md), or let anybody who reaches it make one (--open)";
            return Err(Fault::new(ExitCode::Configuration, cause, advice));
        }
        Ok(RoomsFile::new(self.rooms.clone(), is_open))
    }

    /// Where others than this machine reach it.
    fn public_place(&self) -> Option<String> {
        let streams = match self.listen_tls {
            Some(ListenTls::At(addr)) => Some(addr),
            Some(ListenTls::Off) | None => None,
        };
        let direct = [Some(self.listen), streams].into_iter().flatten().find(|addr| !addr.ip().is_loopback());
        // Whoever stands in front of that is reached by others.
        let behind = || self.listen_plain.map(|addr| format!("{addr} (--listen-plain), through the server in front of it"));
        direct.map(|addr| addr.to_string()).or_else(behind)
    }

    pub(crate) fn config(&self) -> RelayConfig {
        let bandwidth = Rate { per_second: (self.member_rate / 8).max(1), burst: self.member_burst.max(2048) };
        let limits = Limits { bandwidth, ..Limits::default() };
        RelayConfig {
            rooms_max: self.rooms_max,
            members_max: usize::from(self.members),
            lans_max: usize::from(self.lans),
            lan_mtu_min: self.min_lan_mtu,
            multicast: self.multicast,
            limits,
            log_every_frame: every_frame_is_logged(),
        }
    }
}

/// `ADDR:PORT`, `ADDR`, or `:PORT`.
fn parse_listen(s: &str) -> Result<SocketAddr, String> {
    if let Some(port) = s.strip_prefix(':') {
        return port.parse().map(|port| SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port)).map_err(|_| format!("`{port}` is no port"));
    }
    SocketAddr::from_str(s)
        .or_else(|_| IpAddr::from_str(s.trim_matches(['[', ']'])).map(|ip| SocketAddr::new(ip, PORT)))
        .map_err(|_| format!("`{s}` is no address to listen on; write 0.0.0.0:{PORT} or [::]:{PORT}"))
}

/// `ADDR:PORT`: which port a server in front of it dials is said there, and has no default here.
fn parse_listen_plain(s: &str) -> Result<SocketAddr, String> {
    s.parse().map_err(|_| format!("`{s}` is no address and port to listen on; write 127.0.0.1:8081 or [::1]:8081"))
}

/// A number with k, M or G (powers of ten).
fn parse_scaled(s: &str) -> Result<u64, String> {
    let (digits, factor) = match s.as_bytes().last() {
        Some(b'k' | b'K') => (&s[..s.len() - 1], 1_000),
        Some(b'M') => (&s[..s.len() - 1], 1_000_000),
        Some(b'G') => (&s[..s.len() - 1], 1_000_000_000),
        _ => (s, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0);
    number.ok_or_else(|| format!("`{s}` is no amount; write it like 500k, 100M or 1G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_addresses_read_as_people_write_them() {
        assert_eq!(parse_scaled("500M"), Ok(500_000_000));
        assert_eq!(parse_scaled("1500"), Ok(1500));
        for bad in ["", "M", "-1", "0", "1.5G", "99999999999G"] {
            assert!(parse_scaled(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_listen(":443").unwrap().to_string(), "0.0.0.0:443");
        assert_eq!(parse_listen("[::]").unwrap().to_string(), "[::]:8443");
        assert!(parse_listen("relay.example.net:1").is_err());
        assert_eq!(parse_listen_plain("[::1]:8081").unwrap().to_string(), "[::1]:8081");
        for bad in ["foo", "127.0.0.1", ":8081"] {
            assert!(parse_listen_plain(bad).unwrap_err().contains("write 127.0.0.1:8081"), "{bad}");
        }
    }
}
