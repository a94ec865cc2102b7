//! Which cipher seals a connection: what the slower of the two processors does fastest.
//!
//! Measured with frames of 1,400 bytes on a processor with AES instructions: AES-128-GCM 0.49 µs, AES-256-GCM 0.54, ChaCha20-Poly1305 0.86
//! (docs/decisions/0050). Without such instructions, as in many a router and the Raspberry Pi 4, ChaCha20 is the faster one, by what others report.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

/// Our cryptography, with this processor's favourite first: a client's order decides (RFC 8446 §4.1.2).
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(provider_of(has_aes()))
}

/// Lets a server's own order decide when it has no AES instructions, whatever its clients have.
pub(crate) fn choose(config: &mut ServerConfig) {
    choose_for(config, has_aes());
}

const fn choose_for(config: &mut ServerConfig, has_aes: bool) {
    config.ignore_client_order = !has_aes;
}

fn provider_of(has_aes: bool) -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| rank(*suite, has_aes));
    provider
}

/// Lower is better. TLS 1.2, which only servers in front of a relay speak, keeps its order behind.
fn rank(suite: SupportedCipherSuite, has_aes: bool) -> u8 {
    match suite.suite() {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 if !has_aes => 0,
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 1,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 2,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 3,
        _ => 4,
    }
}

/// Whether the processor has instructions for both halves of AES-GCM.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    /// What a client and a server agree on, that have such instructions or not.
    fn agreed(client_has: bool, server_has: bool) -> CipherSuite {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["relay".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
        let server = ServerConfig::builder_with_provider(Arc::new(provider_of(server_has))).with_safe_default_protocol_versions().unwrap();
        let mut server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        choose_for(&mut server, server_has);
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(provider_of(client_has))).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("relay").unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = vec![];
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = vec![];
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client.negotiated_cipher_suite().unwrap().suite()
    }

    #[test]
    fn who_has_no_instructions_for_aes_decides() {
        assert_eq!(agreed(true, true), CipherSuite::TLS13_AES_128_GCM_SHA256);
        for (client, server) in [(true, false), (false, true), (false, false)] {
            assert_eq!(agreed(client, server), CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "client {client}, server {server}");
        }
    }
}
