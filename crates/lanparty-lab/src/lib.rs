//! The internet in a box: machines as network namespaces, wires with a character, real programs. For tests, the demo and the bench.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use lanparty_lab::{Lab, Program};
//!
//! let lab = Lab::new("hello")?;
//! let host = lab.namespace("host")?;
//! let server = host.spawn(Program::new("dnsmasq").args(["--no-daemon", "--log-facility=-"]))?;
//! server.wait_for("started", Duration::from_secs(5))?;
//! # Ok(()) }
//! ```
//!
//! Everything lives inside namespaces and is gone when the [`Lab`] is dropped; what a killed test leaves is removed by the next lab.

mod binaries;
mod bonded;
mod bulk;
mod command;
mod dhcp;
mod endpoint;
mod flow;
mod game;
mod lab;
mod labwire;
mod link;
mod namespace;
mod neighbours;
mod ping;
mod probe;
mod process;
mod programs;
mod requirements;
pub mod sizes;
mod topology;

pub use binaries::{BIN_DIR_VARIABLE, Binaries};
pub use bonded::Bonded;
pub use bulk::{Bulk, BulkReport};
pub use command::{Output, run, run_any};
pub use dhcp::{DhcpClient, DhcpServer, ServerLease, dhclient, start_dhclient};
pub use endpoint::Endpoint;
pub use flow::{transfer, transfer_within};
pub use game::{GameInfo, browse_lan, game_server};
pub use lab::{DIR_VARIABLE, KEEP_VARIABLE, Lab, SEED_VARIABLE};
pub use labwire::{Direction, LabWire, LabWireStats, Side, Verdict};
pub use link::{End, MacEntry, Offloads, Switch, address, switch_offloads_off, veth};
pub use namespace::{Namespace, NamespaceOptions};
pub use neighbours::{Neighbour, neighbours};
pub use ping::{PingStats, Pinging, RoundTrips, ping, ping_with};
pub use probe::{Arrival, Probe, ProbeReport};
pub use process::{Proc, Program};
pub use programs::Programs;
pub use requirements::{LAB_VARIABLE, Missing, Requirements, Tool};
pub use topology::{
    Captured, Class, Dependence, Dual, DualOptions, Home, Household, HouseholdOptions, Internet, LAN, Line, LineCapture, LineOptions,
    Narrow, NatKind, Pair, PairOptions, Party, PartyOptions, Routers, Uplink, WAN, Way, expected,
};

// What wires are described with.
pub use lanparty_sim::{Impairment, ImpairmentError, Lateness, WireStats};
