//! The TCP socket below and the WebSocket above, configured for both ends alike.

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use futures_util::{SinkExt, StreamExt};

use super::challenge::Proof;
use super::clock::{HeardStream, Io};
use super::pump::{broken, closed_by_peer};
use crate::LinkEnded;

/// Longest message that is read. Ours have 64 KiB; this leaves room for other implementations.
const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Before a member has proven who it is, messages are short.
const PROOF_LEN_MAX: usize = 4 * 1024;
/// Read at once, and the memory of a quiet link.
const READ_BUFFER_LEN: usize = 32 * 1024;
/// Answers to pings that the other side does not read, and one message of ours.
const WRITE_BUFFER_LEN_MAX: usize = 256 * 1024;
/// The kernel takes no more than this ahead of what it sends: what waits, waits where it can still be dropped.
#[cfg(target_os = "linux")]
const NOT_SENT_LEN_MAX: u32 = 32 * 1024;

/// Packets of 1,000 bytes over IPv4, less headers with the options that are usual.
#[cfg(unix)]
const SEGMENT_LEN_MAX: u32 = 948;

pub(super) type WebSocket = WebSocketStream<HeardStream>;

/// A TCP socket for addresses of `remote`'s family.
pub(super) fn tcp_socket(remote: std::net::SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    stay_small(&socket)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Asks for segments that also pass where QUIC does not: a path that says nothing of being too small would swallow larger ones, and TCP
/// by itself does not notice. To be said before the connection is made, since each end says it of what it wants to get.
pub(super) fn stay_small(socket: &Socket) -> std::io::Result<()> {
    #[cfg(unix)]
    socket.set_tcp_mss(SEGMENT_LEN_MAX)?;
    #[cfg(not(unix))]
    let _ = socket;
    Ok(())
}

/// No waiting for company, and no hoard in the kernel.
pub(super) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT_LEN_MAX)?;
    Ok(())
}

fn config(message_len_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_LEN.min(message_len_max))
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_LEN_MAX)
        .max_message_size(Some(message_len_max))
        .max_frame_size(Some(message_len_max))
}

/// The member's end. A relay that proved itself may send all at once.
pub(super) async fn client_socket(io: Box<dyn Io>, behind: Vec<u8>) -> WebSocket {
    WebSocketStream::from_partially_read(HeardStream::new(io), behind, Role::Client, Some(config(MESSAGE_LEN_MAX))).await
}

/// The relay's end, for a stranger.
pub(super) async fn stranger_socket(io: Box<dyn Io>, behind: Vec<u8>) -> WebSocket {
    WebSocketStream::from_partially_read(HeardStream::new(io), behind, Role::Server, Some(config(PROOF_LEN_MAX))).await
}

/// The relay's end, for a member: from now on it may send long messages. It has sent none yet, because it waits to be accepted.
pub(super) async fn member_socket(stranger: WebSocket) -> WebSocket {
    WebSocketStream::from_raw_socket(stranger.into_inner(), Role::Server, Some(config(MESSAGE_LEN_MAX))).await
}

pub(super) async fn send_proof(socket: &mut WebSocket, proof: &Proof) -> Result<(), LinkEnded> {
    let json = serde_json::to_string(proof).expect("INVARIANT: a proof has a JSON form");
    socket.send(Message::text(json)).await.map_err(|e| broken(&e))
}

pub(super) async fn read_proof(socket: &mut WebSocket) -> Result<Proof, LinkEnded> {
    let unexpected =
        |what: &dyn std::fmt::Display| LinkEnded { reason: format!("the other side did not prove itself: {what}"), by_peer: false };
    loop {
        match socket.next().await.unwrap_or(Err(Error::ConnectionClosed)).map_err(|e| broken(&e))? {
            Message::Text(json) if json.len() <= PROOF_LEN_MAX => return serde_json::from_str(&json).map_err(|e| unexpected(&e)),
            Message::Close(frame) => return Err(closed_by_peer(frame)),
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return Err(unexpected(&"no challenge and no answer")),
        }
    }
}
