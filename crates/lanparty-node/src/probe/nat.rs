//! One socket of this host, as both ports of the probe service see it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanparty_doctor::{NatFacts, ObservedAddress};
use lanparty_nic::{Fragmentation, set_fragmentation};
use lanparty_proto::{PROBE_LEN_MIN, ProbeAnswer, ProbeQuestion};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::wire::bound;
use crate::endpoint::canonical;

/// Questions to each port.
const TRIES: u32 = 3;

/// Asks both ports of `remote` from one socket, which has the address `local` toward it.
pub(super) async fn observe(
    remote: SocketAddr,
    ports: [u16; 2],
    uplink: Option<&str>,
    local: Option<IpAddr>,
    patience: Duration,
) -> io::Result<NatFacts> {
    let socket = bound(remote, uplink)?;
    set_fragmentation(&socket, Fragmentation::Allowed)?;
    let socket = UdpSocket::from_std(socket)?;
    let mut observed = vec![];
    for port in ports {
        observed.extend(from_port(&socket, SocketAddr::new(remote.ip(), port), patience).await);
    }
    let local = local.zip(socket.local_addr().ok()).map(|(ip, socket)| SocketAddr::new(ip, socket.port()));
    Ok(NatFacts { local: local.map(canonical), observed })
}

async fn from_port(socket: &UdpSocket, port: SocketAddr, patience: Duration) -> Option<ObservedAddress> {
    for sequence in 0..TRIES {
        socket.send_to(&ProbeQuestion { sequence, ..ProbeQuestion::default() }.encode(PROBE_LEN_MIN), port).await.ok()?;
        let mut buffer = [0; 2 * PROBE_LEN_MIN];
        let deadline = Instant::now() + patience;
        while let Ok(Ok((len, from))) = timeout_at(deadline, socket.recv_from(&mut buffer)).await {
            let answer = ProbeAnswer::decode(&buffer[..len]).filter(|_| from == port);
            if let Some(answer) = answer {
                return Some(ObservedAddress { relay_port: port.port(), address: answer.observed });
            }
        }
    }
    None
}
