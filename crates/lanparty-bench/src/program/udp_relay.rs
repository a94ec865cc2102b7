//! The plain relay: what a third host costs when it does nothing but hand datagrams on.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use clap::Args;

/// Longest datagram a plain forwarder sends.
const DATAGRAM_LEN_MAX: usize = 2_048;

#[derive(Debug, Clone, Args)]
pub(crate) struct UdpRelayArgs {
    /// Where to receive
    #[arg(long)]
    listen: SocketAddr,
    /// The two members
    #[arg(long, value_delimiter = ',')]
    members: Vec<SocketAddr>,
}

pub(super) fn run(args: &UdpRelayArgs) -> Result<()> {
    ensure!(args.members.len() == 2, "a plain relay has two members, not {}", args.members.len());
    let socket = super::socket(args.listen)?;
    let mut datagram = [0; DATAGRAM_LEN_MAX];
    loop {
        // An error is an ICMP message about a member that is not there yet.
        if let Ok((len, from)) = socket.recv_from(&mut datagram) {
            for member in args.members.iter().filter(|member| **member != from) {
                let _ = socket.send_to(&datagram[..len], member);
            }
        }
    }
}
