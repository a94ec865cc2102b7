//! The plain forwarder. Its TAP has no virtio header: each read is one frame as it is on a wire.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Longest frame: no interface here has an MTU above 1500.
const FRAME_LEN_MAX: usize = 2_048;

#[derive(Debug, Clone, Args)]
pub(crate) struct ForwardArgs {
    /// Name of the TAP to create
    #[arg(long)]
    tap: String,
    /// Where to receive
    #[arg(long)]
    listen: SocketAddr,
    /// Where to send
    #[arg(long)]
    peer: SocketAddr,
}

pub(super) fn run(args: &ForwardArgs) -> Result<()> {
    let socket = super::socket(args.listen)?;
    let tap = DeviceBuilder::new().name(&args.tap).layer(Layer::L2).enable(false).build_sync();
    let tap = tap.with_context(|| format!("create the TAP {}", args.tap))?;
    let mut frame = [0; FRAME_LEN_MAX];
    loop {
        let mut ready = [PollFd::new(&tap, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        poll(&mut ready, None).context("wait for a frame")?;
        let [outbound, inbound] = ready.map(|fd| !fd.revents().is_empty());
        if outbound {
            outward(&tap, &socket, args.peer, &mut frame);
        }
        if inbound {
            inward(&socket, &tap, &mut frame);
        }
    }
}

/// Frames that either side refuses are lost, as on a wire.
fn outward(tap: &SyncDevice, socket: &UdpSocket, peer: SocketAddr, frame: &mut [u8]) {
    if let Ok(len) = tap.recv(frame) {
        let _ = socket.send_to(&frame[..len], peer);
    }
}

fn inward(socket: &UdpSocket, tap: &SyncDevice, frame: &mut [u8]) {
    if let Ok(len) = socket.recv(frame) {
        let _ = tap.send(&frame[..len]);
    }
}
