//! The yardsticks, tunnels of our own without anything a tunnel needs beyond carrying frames, and the members of a crowd. The bench runs
//! itself as these.

mod forward;
mod members;
mod udp_relay;

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use clap::Subcommand;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};

/// Socket buffers that a burst of one TCP window fits into.
const BUFFER_LEN: usize = 4 << 20;

/// A program that the bench starts inside the namespaces it made.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum YardstickProgram {
    /// Carry frames between a TAP and UDP: one read and one sendto per frame, nothing else
    #[command(hide = true)]
    Forward(forward::ForwardArgs),
    /// Hand each datagram of one member to the other
    #[command(hide = true)]
    UdpRelay(udp_relay::UdpRelayArgs),
    /// Join the rooms of a relay and stay there, saying nothing
    #[command(hide = true)]
    Members(members::MembersArgs),
}

impl YardstickProgram {
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Self::Forward(args) => forward::run(args),
            Self::UdpRelay(args) => udp_relay::run(args),
            Self::Members(args) => members::run(args),
        }
    }
}

fn socket(listen: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("listen on {listen}"))?;
    set_socket_recv_buffer_size_force(&socket, BUFFER_LEN).context("the receive buffer")?;
    set_socket_send_buffer_size_force(&socket, BUFFER_LEN).context("the send buffer")?;
    Ok(socket)
}
