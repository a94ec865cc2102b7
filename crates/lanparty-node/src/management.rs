//! Management: every running program answers JSON-RPC 2.0 over HTTP on a local socket of its own, tells what happens, and gives numbers.
//!
//! Anybody who reaches the socket may look; only the user who runs the program, and root, may change something. What is asked of the
//! program itself goes through its own loop ([`Management::next`]); everything else, and every wait for an asker, is other tasks' work, so
//! that no asker holds up a frame. docs/management.md is for its users; each program describes itself (`rpc.discover`).

mod api;
mod ask;
mod client;
mod envelope;
mod events;
mod http;
mod metrics;
mod patient;
mod rpc;
mod scrape;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use clap::Args;

pub(crate) use api::Access;
pub use api::{API_VERSION, Api, Topic};
pub use ask::{AddUplinkAsk, Answers, Ask, BondTestAsk, LogLevelAsk, MembersAsk, PingAsk, RemoveUplinkAsk, Request, RouteAsk};
pub use client::{Conversation, Texts, cable_sockets, call, listen, member_sockets, program_at, query_all, sockets};
pub use events::{Event, Events};
pub use metrics::Numbers;
pub use server::Management;

/// How a running program may be asked.
#[derive(Args, Clone, Debug, Default)]
pub struct ManagementFlags {
    /// What this program is called among those that run here [default: its interface]
    #[arg(long, hide_short_help = true, value_name = "NAME", value_parser = parse_name)]
    pub name: Option<String>,

    /// Group whose members may see what this program does, and change nothing [default: lanparty, where there is such a group]
    #[arg(long, hide_short_help = true, value_name = "GROUP")]
    pub management_group: Option<String>,

    /// Give Prometheus' numbers also on this TCP port, to everybody who reaches it; PORT alone is this machine's own
    #[arg(long, hide_short_help = true, value_name = "[ADDR:]PORT", value_parser = scrape::parse_address)]
    pub metrics: Option<SocketAddr>,
}

fn parse_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = (1..=server::NAME_LEN_MAX).contains(&text.len()) && text.chars().all(is_plain);
    is_name.then(|| text.to_owned()).ok_or_else(|| "it is 1 to 32 letters, digits, `.`, `_` or `-`".to_owned())
}
