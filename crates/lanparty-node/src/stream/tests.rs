//! Both ends on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_proto::{Control, IdentityId};

use super::*;
use crate::{CertificateSource, Identity, JoinError, LinkEnded, RelayTrust, ServerTls};

mod carry;
mod enter;
mod proxied;
mod throughput;

/// A relay's certificate for `name`.
struct Certificate {
    params: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        Self { params: rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap(), key }
    }

    fn tls(&self) -> ServerTls {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        ServerTls::load(CertificateSource::Development { certificate: self.params.der().clone(), key }).unwrap()
    }

    fn trust(&self, dir: &Path) -> RelayTrust {
        let file = dir.join("certificate.der");
        std::fs::write(&file, self.params.der()).unwrap();
        RelayTrust::load(Some(&file)).unwrap()
    }
}

const NAME: &str = "relay.example.net";

/// A relay that listens, and what a member needs to trust it.
struct Relay {
    listener: StreamListener,
    trust: RelayTrust,
    identity: Identity,
    _dir: tempfile::TempDir,
}

impl Relay {
    fn new() -> Self {
        Self::named(NAME, &[])
    }

    fn named(name: &str, public_names: &[&str]) -> Self {
        let (certificate, dir) = (Certificate::new(name), tempfile::tempdir().unwrap());
        let public_names: Vec<_> = public_names.iter().map(|n| (*n).to_owned()).collect();
        let listener = StreamListener::listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certificate.tls(), &public_names).unwrap();
        Self { listener, trust: certificate.trust(dir.path()), identity: Identity::ephemeral(), _dir: dir }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn target(&self) -> StreamTarget {
        let relay = format!("{NAME}:{}", self.address().port()).parse().unwrap();
        StreamTarget { relay, way: StreamWay::Direct(self.address()), server_name: NAME.into(), uplink: None }
    }

    async fn dial(&self) -> Result<StreamLink, JoinError> {
        dial_stream(&self.target(), &self.trust, &self.identity).await
    }

    async fn accept(&self) -> Result<(StreamLink, IdentityId), LinkEnded> {
        self.listener.accept().await.unwrap().handshake().await
    }

    /// The member's end and the relay's.
    async fn joined(&self) -> (StreamLink, StreamLink) {
        let (dialled, accepted) = tokio::join!(self.dial(), self.accept());
        (dialled.unwrap(), accepted.unwrap().0)
    }

    /// A member without a link around its socket, and the relay's end.
    async fn joined_by_hand(&self) -> (socket::WebSocket, StreamLink) {
        let target = self.target();
        let (dialled, accepted) = tokio::join!(dial::open(&target, &self.trust, &self.identity), self.accept());
        (dialled.unwrap().0, accepted.unwrap().0)
    }
}

/// Frames with a number each, of different lengths.
fn frames(numbers: std::ops::Range<u32>) -> Vec<Bytes> {
    let frame = |n: u32| [&[0x10, 0, 1][..], &n.to_be_bytes(), &vec![n as u8; n as usize * 7 % 1510]].concat().into();
    numbers.map(frame).collect()
}

fn number_of(frame: &Bytes) -> u32 {
    u32::from_be_bytes(frame[3..7].try_into().unwrap())
}

async fn receive(link: &StreamLink, count: usize) -> Vec<Bytes> {
    let mut got = vec![];
    while got.len() < count {
        let mut into = vec![Bytes::new(); 64.min(count - got.len())];
        let n = tokio::time::timeout(Duration::from_secs(5), link.recv(&mut into)).await.expect("frames stopped coming").unwrap();
        got.extend(into.into_iter().take(n));
    }
    got
}

fn words(refused: Result<StreamLink, JoinError>) -> String {
    match refused {
        Ok(_) => panic!("it was not refused"),
        Err(e) => e.to_string(),
    }
}
