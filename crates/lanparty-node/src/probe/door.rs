//! A listening socket that answers from the very address that was asked: a host may have several, and who asks one listens to
//! no other.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};

use lanparty_quic::udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::endpoint::udp_socket;

/// What the system may hand over in one piece: it puts packets of one sender together (UDP_GRO).
const BUFFER_LEN: usize = 1 << 16;

pub(super) struct Door {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// From where questions came, and to which address of this host.
pub(super) struct Asked {
    pub(super) from: SocketAddr,
    to: Option<IpAddr>,
    len: usize,
    each_len: usize,
}

impl Asked {
    /// Each question that is in the buffer.
    pub(super) fn questions<'a>(&self, buffer: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        buffer.get(..self.len).unwrap_or_default().chunks(self.each_len.max(1))
    }
}

impl Door {
    pub(super) fn open(at: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::from_std(udp_socket(at)?)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket, state })
    }

    pub(super) fn buffer() -> Vec<u8> {
        vec![0; BUFFER_LEN]
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next questions. Cancel-safe.
    pub(super) async fn recv(&self, buffer: &mut [u8]) -> io::Result<Asked> {
        let mut metas = [RecvMeta::default()];
        let mut take = || self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut *buffer)], &mut metas);
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, &mut take) {
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        let [RecvMeta { addr, dst_ip, len, stride, .. }] = metas;
        Ok(Asked { from: addr, to: dst_ip, len, each_len: stride })
    }

    /// Sends now or not at all.
    pub(super) fn reply(&self, bytes: &[u8], asked: &Asked) -> io::Result<()> {
        let transmit = Transmit { destination: asked.from, ecn: None, contents: bytes, segment_size: None, src_ip: asked.to };
        self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&self.socket).into(), &transmit))
    }
}

#[cfg(windows)]
impl AsSocket for Door {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

#[cfg(unix)]
impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use lanparty_nic::{Fragmentation, set_fragmentation};

    use super::*;

    /// Loopback has all of 127.0.0.0/8; without more words a packet to one of them leaves from that of the route, 127.0.0.1.
    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let door = Door::open(any.parse().unwrap()).unwrap();
            let port = door.local_addr().unwrap().port();
            for asked in ["127.0.0.1", "127.0.0.7"] {
                let asker = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                asker.connect((asked, port)).unwrap();
                asker.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
                asker.send(b"question").unwrap();
                let mut buffer = Door::buffer();
                let heard = door.recv(&mut buffer).await.unwrap();
                assert_eq!(heard.questions(&buffer).collect::<Vec<_>>(), [b"question"], "{any}");
                set_fragmentation(&door, Fragmentation::Forbidden).unwrap();
                door.reply(b"answer", &heard).unwrap();
                let mut answer = [0; 16];
                assert_eq!(asker.recv(&mut answer).unwrap(), 6, "{any}: {asked} is heard by who asked it");
            }
        }
    }
}
