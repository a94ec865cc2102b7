//! The flags that every member takes: which relay, which room, how to log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lanparty_core::Redundancy;
use lanparty_proto::{BondRole, LanMtu, MulticastPolicy, RoomCode};

#[cfg(unix)]
use crate::BusyPoll;
use crate::sizing::parse_lan_mtu;
use crate::{
    BOND_PATHS_MAX, BondPlan, Captures, Dialer, ExitCode, Fault, FilterFlags, IntroductionFlags, LogFormat, ManagementFlags,
    PlannedUplinks, PmtuDiscovery, Proxy, RelayAddress, RelayTrust, Rights, Sizing, StateDir, Transport, UnderlayFix, UplinkPlan, UseBook,
};

/// Several uplinks at once. Only the long help has them.
#[derive(Args, Clone, Debug)]
pub struct BondFlags {
    /// Use this interface as one of several ways at once; may be said several times. Behind its name, separated by commas:
    /// role=primary|secondary|backup|never, cap=GB/month (then it is a backup), rate=UP/DOWN in Mbit/s, cc=delay|cubic|bbr
    #[arg(long, hide_short_help = true, value_name = "IFACE[,KEY=VALUE...]", value_parser = parse_uplink)]
    pub uplink: Vec<UplinkPlan>,

    /// Use every interface with a default route at once
    #[arg(long, hide_short_help = true)]
    pub bond: bool,

    /// What goes by two uplinks at once: auto (what is felt when it is lost: ARP, DHCP, games, calls), off, or all
    #[arg(long, hide_short_help = true, value_name = "WHAT", default_value = "auto", value_parser = parse_redundancy)]
    pub redundant: Redundancy,
}

impl BondFlags {
    /// What they ask for, when they ask for several uplinks. What these have carried is kept in `state_dir`.
    ///
    /// # Errors
    /// When they contradict themselves, or the count that a cap needs is damaged.
    pub fn plan(&self, state_dir: Option<PathBuf>) -> Result<Option<BondPlan>, Fault> {
        self.warn();
        if self.uplink.is_empty() && !self.bond {
            return Ok(None);
        }
        for (n, plan) in self.uplink.iter().enumerate() {
            if self.uplink.iter().take(n).any(|other| other.interface == plan.interface) {
                let cause = format!("--uplink names {} twice", plan.interface);
                return Err(Fault::new(
                    ExitCode::Configuration,
                    cause,
                    "one line is one uplink; it does not carry more by being named again",
                ));
            }
        }
        if !self.uplink.is_empty() && self.uplink.iter().all(|plan| plan.role.is_none()) {
            let cause = "every --uplink says role=never, so there is no way to the relay";
            return Err(Fault::new(ExitCode::Configuration, cause, "leave out role=never of those that may be used"));
        }
        if !self.uplink.is_empty() && self.uplink.iter().all(|plan| plan.role.is_none_or(|role| role == BondRole::Backup)) {
            tracing::info!("all uplinks are backups, so each is used as if it were none");
        }
        if self.uplink.len() > BOND_PATHS_MAX {
            let cause = format!("{} uplinks are named; a bond has {BOND_PATHS_MAX} at most", self.uplink.len());
            return Err(Fault::new(ExitCode::Configuration, cause, "leave out the slowest"));
        }
        let (uplinks, is_automatic) = (PlannedUplinks::new(self.uplink.clone()), self.bond && self.uplink.is_empty());
        Ok(Some(BondPlan {
            uplinks,
            is_automatic,
            redundancy: self.redundant,
            book: self.use_book(state_dir)?,
            captures: Captures::default(),
        }))
    }

    /// Says what has no effect.
    fn warn(&self) {
        self.without_effect().iter().for_each(|words| tracing::warn!("{words}"));
    }

    fn without_effect(&self) -> Vec<&'static str> {
        let mut without = vec![];
        if self.bond && !self.uplink.is_empty() {
            without.push("--bond has no effect beside --uplink: the uplinks that are named are used, and no others");
        }
        if self.redundant != Redundancy::default() && !self.bond && self.uplink.is_empty() {
            without.push("--redundant has no effect with one way only; say --bond or --uplink, too");
        }
        without
    }

    /// What the uplinks have carried so far. A count that cannot be read matters to caps alone.
    fn use_book(&self, state_dir: Option<PathBuf>) -> Result<Option<Arc<UseBook>>, Fault> {
        match UseBook::open(&StateDir::locate(state_dir)) {
            Ok(book) => Ok(Some(Arc::new(book))),
            Err(error) if self.uplink.iter().any(|uplink| uplink.cap.is_some()) => Err(error.into()),
            Err(error) => {
                tracing::warn!("what the uplinks carry is not counted: {error}");
                Ok(None)
            }
        }
    }
}

/// Where to join, and how.
#[derive(Args, Clone, Debug)]
pub struct MemberFlags {
    /// The relay, as HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: RelayAddress,

    /// The name in the relay's certificate, when it is not HOST; lanparty-relay.local for a development certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,

    /// The relay's certificate (DER or PEM); without it this machine's certificate authorities decide
    #[arg(long, value_name = "FILE")]
    pub relay_ca_cert: Option<PathBuf>,

    /// The room
    #[arg(long, value_name = "CODE")]
    pub room: RoomCode,

    /// Who this is.
    #[command(flatten)]
    pub introduction: IntroductionFlags,

    /// How the relay is reached: QUIC over UDP, or a stream (TLS over TCP) where that does not work
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub transport: Transport,

    /// HTTP proxy for the stream, as `http://USER:PASSWORD@HOST:PORT`; without it https_proxy and no_proxy decide
    #[arg(long, value_name = "URL")]
    pub proxy: Option<Proxy>,

    /// Where the relay takes streams, when that is neither HOST:PORT of --relay nor port 443 there
    #[arg(long, value_name = "HOST:PORT")]
    pub relay_tls: Option<RelayAddress>,

    /// Exchange frames with other members by the relay only, and tell nobody this machine's addresses
    #[arg(long)]
    pub no_direct: bool,

    /// Take part in no more multicast than this: none, discovery (how machines and games find each other), snooped (groups that this
    /// machine joined), or all; the room may carry less
    #[arg(long, value_name = "POLICY", default_value = "all")]
    pub multicast: MulticastPolicy,

    /// Several ways at once.
    #[command(flatten)]
    pub bonding: BondFlags,

    /// Which packets pass.
    #[command(flatten)]
    pub filtering: FilterFlags,

    /// Ask this network's router for no open port (PCP, NAT-PMP, UPnP) by which other members come in
    #[arg(long)]
    pub no_port_mapping: bool,

    /// Write down what each path of the bond carries, as DIR/IFACE.pcapng of at most 256 MiB each, and of direct links as
    /// DIR/peerNUMBER-IFACE.pcapng (docs/bond.md says how to read it)
    #[arg(long, value_name = "DIR")]
    pub pcap: Option<PathBuf>,

    /// Where state is kept between runs
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Give up when the relay cannot be joined for the first time within this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub connect_timeout: u64,

    /// Largest IP packet that this member asks the room to carry (its LAN MTU), 576 to 1500; the path may carry less
    #[arg(long, value_name = "BYTES", value_parser = parse_lan_mtu)]
    pub mtu: Option<LanMtu>,

    /// Whether the size that the path carries is searched; off takes --mtu as it is (1145 without it)
    #[arg(long, value_name = "WHEN", default_value = "on")]
    pub pmtu_discovery: PmtuDiscovery,

    /// Under WSL2, raise the MTU of the interface that leads to the relay for as long as this runs
    #[arg(long)]
    pub fix_underlay: bool,

    /// After anything came, look for more for so many microseconds instead of letting the processor rest: shorter round trips for a
    /// processor that is always busy
    #[cfg(unix)]
    #[arg(long, hide_short_help = true, value_name = "MICROSECONDS", default_value = "0")]
    pub busy_poll: BusyPoll,

    /// How the program may be asked.
    #[command(flatten)]
    pub management: ManagementFlags,

    /// How log lines look: text, json, or auto: entries of the journal under systemd, else text
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

impl MemberFlags {
    /// A dialer for this relay.
    ///
    /// # Errors
    /// When the certificate file, or that of the password, cannot be used.
    pub fn dialer(&self) -> Result<Dialer, Fault> {
        self.introduction.warn();
        let trust = RelayTrust::load(self.relay_ca_cert.as_deref())?;
        let dialer = Dialer::new(self.relay.clone(), self.server_name.clone(), trust).sized(self.sizing());
        Ok(dialer
            .introduced(self.introduction.clone())?
            .bonded(self.bond_plan()?)
            .by(self.transport, self.stream_proxy()?, self.relay_tls.clone())
            .direct(!self.no_direct)
            .mapping_ports(!self.no_port_mapping))
    }

    fn bond_plan(&self) -> Result<Option<BondPlan>, Fault> {
        let plan = self.bonding.plan(self.state_dir.clone())?;
        if plan.is_none() && self.pcap.is_some() {
            return Err(Fault::new(ExitCode::Configuration, "--pcap captures the paths of a bond", "say --bond or --uplink, too"));
        }
        let captures = self.captures()?;
        Ok(plan.map(|plan| BondPlan { captures, ..plan }))
    }

    fn captures(&self) -> Result<Captures, Fault> {
        let Some(dir) = &self.pcap else { return Ok(Captures::default()) };
        Captures::to(dir).map_err(|e| {
            let cause = format!("captures cannot be written to {}: {e}", dir.display());
            Fault::new(ExitCode::Configuration, cause, "choose another directory with --pcap")
        })
    }

    fn stream_proxy(&self) -> Result<Option<Proxy>, Fault> {
        Proxy::for_stream(self.proxy.as_ref(), self.relay_tls.as_ref().unwrap_or(&self.relay))
    }

    /// The sizes that the flags ask for.
    #[must_use]
    pub fn sizing(&self) -> Sizing {
        Sizing::new(self.mtu, self.pmtu_discovery)
    }

    /// Repairs the way to the relay, when the user agreed to that; else says what is wrong with it.
    ///
    /// # Errors
    /// When the system refuses the repair.
    pub async fn ready_underlay(&self) -> Result<Option<UnderlayFix>, Fault> {
        UnderlayFix::at_start(&self.relay, self.fix_underlay).await
    }

    /// The rights that a member needs as long as it runs.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        if self.pcap.is_some() { Rights::NetworkAndFiles } else { Rights::Network }
    }

    /// How long the first join may take.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }
}

fn parse_uplink(text: &str) -> Result<UplinkPlan, String> {
    text.parse()
}

fn parse_redundancy(text: &str) -> Result<Redundancy, String> {
    match text {
        "auto" => Ok(Redundancy::Auto),
        "off" => Ok(Redundancy::Off),
        "all" => Ok(Redundancy::All),
        _ => Err("it is none of auto, off, all".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_said() {
        let said = |bond: bool, uplink: &[&str], redundant| {
            let uplink = uplink.iter().map(|name| UplinkPlan::plain((*name).to_owned())).collect();
            BondFlags { uplink, bond, redundant }.without_effect().len()
        };
        assert_eq!((said(true, &["dsl0"], Redundancy::All), said(false, &[], Redundancy::All)), (1, 1));
        assert_eq!(
            (said(true, &[], Redundancy::All), said(false, &["dsl0"], Redundancy::Off), said(false, &[], Redundancy::Auto)),
            (0, 0, 0)
        );
    }
}
