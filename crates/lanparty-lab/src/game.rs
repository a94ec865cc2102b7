//! A real game on the LAN: Teeworlds' dedicated server, and the search that its client does when a player opens the LAN tab.
//!
//! Teeworlds is the smallest game in Debian (170 KiB of server, 8 MiB of data, free) that runs headless and is found by broadcast only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process::{Proc, Program};
use crate::requirements::find_program;

mod browse;

/// How long the server may take to load its map.
const START_WITHIN: Duration = Duration::from_secs(15);
/// The ports on which the client looks for servers.
const PORTS: std::ops::RangeInclusive<u16> = 8303..=8310;
/// How often the client asks again while no server has answered.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Larger than any answer.
const DATAGRAM_MAX: usize = 2_048;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GameInfo {
    /// Where it is.
    pub address: SocketAddrV4,
    /// Its name in the list.
    pub name: String,
    /// The map that is played.
    pub map: String,
    /// The kind of game, `DM` and so on.
    pub mode: String,
    /// Players and the most it takes.
    pub players: (u32, u32),
    /// Time from the question to this answer.
    pub after: Duration,
}

/// Starts a game server called `name` on its usual port, for the LAN only (it registers nowhere).
pub fn game_server(host: &Namespace, name: &str) -> Result<Proc> {
    let path = find_program("teeworlds-server").context("teeworlds-server is not installed (Debian: teeworlds-server)")?;
    let settings = [format!("sv_name {name}"), "sv_register 0".into(), "sv_map dm1".into(), "sv_port 8303".into()];
    // It keeps its files in HOME.
    let server = host.spawn(Program::new(path).args(settings).env("HOME", host.dir()).dir(host.dir()))?;
    server.wait_for("server name is", START_WITHIN)?;
    Ok(server)
}

/// Opens the LAN tab: asks by broadcast to 255.255.255.255 from this host, wherever its routes send that, and returns all servers that
/// answered within `timeout`; ends early with the first when `first_only`.
pub fn browse_lan(host: &Namespace, timeout: Duration, first_only: bool) -> Result<Vec<GameInfo>> {
    host.enter(|| search(timeout, first_only))?.with_context(|| format!("search for games on host {}", host.host()))
}

fn search(timeout: Duration, first_only: bool) -> Result<Vec<GameInfo>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("bind")?;
    socket.set_broadcast(true).context("SO_BROADCAST")?;
    let browser = browse::Browser::new(u32::from(socket.local_addr()?.port()));
    let (start, mut found) = (Instant::now(), Vec::new());
    let mut asked = None;
    while start.elapsed() < timeout {
        if asked.is_none_or(|asked: Instant| asked.elapsed() >= ASK_AGAIN) {
            asked = Some(Instant::now());
            broadcast(&socket, &browser.token_request(), PORTS)?;
        }
        let mut bytes = [0; DATAGRAM_MAX];
        socket.set_read_timeout(Some(timeout.saturating_sub(start.elapsed()).clamp(Duration::from_millis(1), ASK_AGAIN / 10)))?;
        let (len, from) = match socket.recv_from(&mut bytes) {
            Ok((len, SocketAddr::V4(from))) => (len, from),
            Ok(_) => continue,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).context("receive an answer"),
        };
        match browser.handle(&bytes[..len]) {
            // As the client does it, the question itself is a broadcast too, with the token of the server that answered.
            Some(browse::Step::Ask(question)) => broadcast(&socket, &question, from.port()..=from.port())?,
            Some(browse::Step::Info(info)) => found.push(info.at(from, start.elapsed())),
            None => {}
        }
        if first_only && !found.is_empty() {
            break;
        }
    }
    found.sort_by_key(|info| info.address);
    found.dedup_by_key(|info| info.address);
    Ok(found)
}

fn broadcast(socket: &UdpSocket, bytes: &[u8], ports: std::ops::RangeInclusive<u16>) -> Result<()> {
    for port in ports {
        socket.send_to(bytes, (Ipv4Addr::BROADCAST, port)).with_context(|| format!("send to 255.255.255.255:{port}"))?;
    }
    Ok(())
}
