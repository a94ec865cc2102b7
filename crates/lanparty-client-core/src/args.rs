//! The command line of the client, and what it shares with the gateway's.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lanparty_node::{Dialer, Fault, LogFormat, RelayAddress, RelayTrust};
use lanparty_proto::RoomCode;

/// Options of `lanparty client`.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// The relay, as HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: RelayAddress,

    /// The name in the relay's certificate, when it is not HOST; lanparty-relay.local for a development certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,

    /// The relay's certificate (DER or PEM); without it this machine's certificate authorities decide
    #[arg(long, value_name = "FILE")]
    pub relay_ca_cert: Option<PathBuf>,

    /// The room to join
    #[arg(long, value_name = "CODE")]
    pub room: RoomCode,

    /// Name of the TAP interface to create
    #[arg(long, value_name = "NAME", default_value = "lan0")]
    pub tap_name: String,

    /// Get an address from the LAN with this machine's DHCP client (udhcpc or dhclient); takes no default route
    #[arg(long)]
    pub dhcp: bool,

    /// Run this when the interface is up (LANPARTY_INTERFACE, LANPARTY_MAC, LANPARTY_MTU, LANPARTY_ROOM are set)
    #[arg(long, value_name = "SCRIPT")]
    pub up: Option<PathBuf>,

    /// Run this before the interface goes away, with the same environment
    #[arg(long, value_name = "SCRIPT")]
    pub down: Option<PathBuf>,

    /// Leave limited broadcast and multicast to this machine's ordinary routes: game browsers may then miss the LAN
    #[arg(long)]
    pub no_game_discovery: bool,

    /// File that keeps this machine's identity and virtual MAC address
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,

    /// Become another machine: new identity, new MAC address; the old file is kept as *.bad
    #[arg(long)]
    pub new_identity: bool,

    /// Where state is kept when --identity does not say
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Give up when the relay cannot be joined for the first time within this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub connect_timeout: u64,

    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl ClientArgs {
    pub(crate) fn dialer(&self) -> Result<Dialer, Fault> {
        let trust = RelayTrust::load(self.relay_ca_cert.as_deref())?;
        Ok(Dialer::new(self.relay.clone(), self.server_name.clone(), trust).avoiding(self.tap_name.clone()))
    }

    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }
}
