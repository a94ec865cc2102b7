//! The relay's side of TLS: its certificate, reloaded when the files change, and the members' identities.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use lanparty_proto::IdentityId;
use rustls::DistinguishedName;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub(crate) use crate::cipher::provider;
use crate::{ExitCode, Fault, Identity, cipher};

/// Application protocol name (RFC 7301) of lanparty over QUIC.
pub(crate) const ALPN: &[u8] = b"lanparty/1";
/// And over a stream, where it must look like what every network lets pass.
pub(crate) const STREAM_ALPN: &[u8] = b"http/1.1";
/// TLS versions over a stream: a server that ends TLS in front of a relay may be old.
pub(crate) const STREAM_VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The part of a certificate verifier that is the same for all: handshake signatures, by the algorithms of the provider in that field.
macro_rules! signatures_by {
    ($field:tt) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls12_signature(message, cert, dss, &self.$field.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, cert, dss, &self.$field.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$field.signature_verification_algorithms.supported_schemes()
        }
    };
}
pub(crate) use signatures_by;

/// SHA-256 of the certificate's public key (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7).
pub(crate) fn identity_of(certificate: &CertificateDer<'_>) -> Result<IdentityId, rustls::Error> {
    Ok(identity_of_key(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// SHA-256 of a SubjectPublicKeyInfo in DER.
pub(crate) fn identity_of_key(spki: &[u8]) -> IdentityId {
    let digest = ring::digest::digest(&ring::digest::SHA256, spki);
    IdentityId(digest.as_ref().try_into().expect("INVARIANT: SHA-256 has 32 bytes"))
}

/// PEM files of a real certificate.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where the relay's certificate comes from.
#[derive(Debug)]
pub enum CertificateSource {
    /// Self-signed, kept in the state directory.
    Development {
        /// DER.
        certificate: CertificateDer<'static>,
        /// PKCS#8.
        key: PrivateKeyDer<'static>,
    },
    /// Issued by a CA, in files that may be renewed while we run.
    Files(CertificateFiles),
}

/// The relay's certificate, exchangeable under running connections.
pub struct ServerTls {
    source: CertificateSource,
    current: Arc<Current>,
    stamp: Option<Stamp>,
}

/// The certificate that is shown now.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    /// The relay's own certificate, without those that vouch for it.
    pub(crate) fn end_entity(&self) -> Option<CertificateDer<'static>> {
        self.0.read().ok()?.cert.first().cloned()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().ok().map(|key| Arc::clone(&key))
    }
}

impl ServerTls {
    /// Loads the certificate.
    ///
    /// # Errors
    /// When files cannot be read, hold no certificate or key, or do not belong together.
    pub fn load(source: CertificateSource) -> Result<Self, Fault> {
        let key = certified_key(&source)?;
        let stamp = stamp_of(&source);
        Ok(Self { source, current: Arc::new(Current(RwLock::new(Arc::new(key)))), stamp })
    }

    /// Takes the certificate anew when its files changed. `None` when they did not.
    pub fn reload_if_changed(&mut self) -> Option<Result<(), Fault>> {
        let stamp = stamp_of(&self.source);
        if stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        Some(certified_key(&self.source).map(|key| {
            if let Ok(mut current) = self.current.0.write() {
                *current = Arc::new(key);
            }
        }))
    }

    pub(crate) fn config(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyIdentity(provider())))
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        cipher::choose(&mut config);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// For streams: who a member is, is proven inside (docs/wire-format.md §8).
    pub(crate) fn stream_config(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(STREAM_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(self.current() as Arc<dyn ResolvesServerCert>);
        cipher::choose(&mut config);
        config.alpn_protocols = vec![STREAM_ALPN.to_vec()];
        Ok(config)
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }
}

/// When chain and key were last written, and how long they are: a renewed file may well be older than the other one.
type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp_of(source: &CertificateSource) -> Option<Stamp> {
    let CertificateSource::Files(files) = source else { return None };
    Some([&files.chain, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }))
}

fn certified_key(source: &CertificateSource) -> Result<CertifiedKey, Fault> {
    let (chain, key) = match source {
        CertificateSource::Development { certificate, key } => (vec![certificate.clone()], key.clone_key()),
        CertificateSource::Files(files) => read_files(files)?,
    };
    CertifiedKey::from_der(chain, key, &provider()).map_err(|e| {
        Fault::new(
            ExitCode::Configuration,
            format!("the relay's certificate cannot be used: {e}"),
            "check that --cert and --key belong together",
        )
    })
}

fn read_files(files: &CertificateFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Fault> {
    let unreadable = |path: &std::path::Path, e: &dyn std::fmt::Display| {
        let cause = format!("cannot read {}: {e}", path.display());
        Fault::new(ExitCode::Configuration, cause, "--cert takes a PEM certificate chain, --key its PEM private key")
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.chain).map_err(|e| unreadable(&files.chain, &e))?.collect();
    let chain = chain.map_err(|e| unreadable(&files.chain, &e))?;
    if chain.is_empty() {
        return Err(unreadable(&files.chain, &"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable(&files.key, &e))?;
    Ok((chain, key))
}

/// What a member shows to other members that dial it; any key is let in, and its link judged by it.
pub(crate) fn any_member(identity: &Identity, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, rustls::Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyIdentity(provider())))
        .with_single_cert(vec![identity.certificate()], identity.key())?;
    cipher::choose(&mut config);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Accepts any key a member proves to own: the key *is* the identity (RFC 7250's idea, in a self-signed certificate).
#[derive(Debug)]
struct AnyIdentity(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyIdentity {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        identity_of(end_entity).map(|_| ClientCertVerified::assertion())
    }

    signatures_by!(0);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_renewed_certificate_is_noticed_even_when_it_is_older_than_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles { chain: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        let key = rcgen::KeyPair::generate().unwrap();
        let issue = |age: u64| {
            let certificate = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).unwrap().self_signed(&key).unwrap();
            std::fs::write(&files.chain, certificate.pem()).unwrap();
            let written = SystemTime::now() - Duration::from_secs(age);
            std::fs::File::options().write(true).open(&files.chain).unwrap().set_modified(written).unwrap();
        };
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        issue(3600);
        let mut tls = ServerTls::load(CertificateSource::Files(files.clone())).unwrap();
        assert!(tls.reload_if_changed().is_none());
        issue(60);
        assert!(tls.reload_if_changed().unwrap().is_ok());
        assert!(tls.reload_if_changed().is_none());
    }
}
