use std::sync::Arc;

use super::*;
use crate::tls::provider;

/// A QUIC server that speaks something else.
fn stranger() -> lanparty_quic::Endpoint {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = lanparty_quic::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    crate::endpoint::endpoint_at([127, 0, 0, 1], Some(lanparty_quic::ServerConfig::with_crypto(Arc::new(quic))))
}

#[tokio::test]
async fn a_refused_handshake_shows_that_udp_passes() {
    let server = stranger();
    let address = server.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.accept().unwrap().await;
        }
    });
    let (relay, trust) = (address.to_string().parse().unwrap(), RelayTrust::load(None).unwrap());
    let facts =
        RelayExamination { relay, server_name: None, trust, ports: ProbePorts::Off, proxy: None, stream_relay: None }.run(&|_| {}).await;
    accepting.abort();
    assert_eq!((facts.udp_reachable, facts.port_unreachable, facts.probe_service), (Some(true), None, None));
    let report = lanparty_doctor::examine(lanparty_doctor::Facts { relay: Some(facts), ..Default::default() });
    let codes: Vec<_> = report.findings.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(codes, ["quic-handshake-failed"], "{report:#}");
}
