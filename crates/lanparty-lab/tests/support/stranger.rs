//! Somebody who speaks QUIC and is no lanparty: to a relay as a client, to a member as a server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The application protocol of lanparty.
pub(crate) const LANPARTY: &[u8] = b"lanparty/1";
/// The name in a relay's development certificate.
pub(crate) const RELAY_NAME: &str = "lanparty-relay.local";

/// A self-signed certificate and its key.
fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// An endpoint that connects to a relay with that certificate, with a key of its own as every member has.
pub(crate) fn client(relay_certificate: &Path) -> noq::Endpoint {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(relay_certificate).unwrap())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let (own, key) = certificate("stranger");
    let mut tls = tls.with_root_certificates(roots).with_client_auth_cert(vec![own], key).unwrap();
    tls.alpn_protocols = vec![LANPARTY.to_vec()];
    let config = noq::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = noq::Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

/// An endpoint that listens and speaks `protocol` only; its certificate, for [`RELAY_NAME`], is written to `file`.
pub(crate) fn server(listen: SocketAddr, protocol: &[u8], file: &Path) -> noq::Endpoint {
    let (own, key) = certificate(RELAY_NAME);
    std::fs::write(file, &own).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut tls = tls.with_no_client_auth().with_single_cert(vec![own], key).unwrap();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let config = noq::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    noq::Endpoint::server(config, listen).unwrap()
}
