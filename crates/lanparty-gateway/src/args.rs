//! The command line of the gateway.

use std::path::PathBuf;

use clap::Args;
use lanparty_node::{LogFormat, RelayAddress};
use lanparty_proto::RoomCode;

/// Options of `lanparty-gateway` and `lanparty gateway`.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    /// The relay, as HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: RelayAddress,

    /// The name in the relay's certificate, when it is not HOST; lanparty-relay.local for a development certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,

    /// The relay's certificate (DER or PEM); without it this machine's certificate authorities decide
    #[arg(long, value_name = "FILE")]
    pub relay_ca_cert: Option<PathBuf>,

    /// The room to bridge the LAN into
    #[arg(long, value_name = "CODE")]
    pub room: RoomCode,

    /// The wired Ethernet interface that is plugged into the LAN
    #[arg(long, visible_alias = "iface", value_name = "IFACE")]
    pub interface: String,

    /// Where this gateway's identity is kept
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Give up when the relay cannot be joined for the first time within this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub connect_timeout: u64,

    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}
