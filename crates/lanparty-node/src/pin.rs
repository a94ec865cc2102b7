//! TLS between two nodes without a relay: each shows a self-signed certificate, and accepts one key only.

use std::sync::{Arc, Mutex, PoisonError};

use lanparty_proto::IdentityId;
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName};

use crate::Identity;
use crate::cipher;
use crate::tls::{identity_of, provider, signatures_by};

/// TLS wants a name to ask for. The key decides, not the name.
pub(crate) const SERVER_NAME: &str = "lanparty-node";
/// The alert with which an end says that the key is another one than it was told (`access_denied`, RFC 8446 §6.2).
pub(crate) const WRONG_KEY_ALERT: u8 = 49;

/// The one key that may be at the other end, and the other one that was shown in this handshake.
#[derive(Debug)]
pub(crate) struct Pin {
    peer: IdentityId,
    /// Application protocol names (RFC 7301), the one that is liked best first.
    alpn: &'static [&'static [u8]],
    shown: Mutex<Option<IdentityId>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    /// A pin for one handshake.
    pub(crate) fn new(peer: IdentityId, alpn: &'static [&'static [u8]]) -> Arc<Self> {
        Arc::new(Self { peer, alpn, shown: Mutex::default(), provider: provider() })
    }

    /// The key that was shown and is not the one.
    pub(crate) fn wrong_key(&self) -> Option<IdentityId> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let shown = identity_of(certificate)?;
        if shown == self.peer {
            return Ok(());
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn protocols(&self) -> Vec<Vec<u8>> {
        self.alpn.iter().map(|name| name.to_vec()).collect()
    }

    /// What the end that was dialled uses.
    pub(crate) fn server(self: &Arc<Self>, identity: &Identity) -> Result<rustls::ServerConfig, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::clone(self) as Arc<dyn ClientCertVerifier>)
            .with_single_cert(vec![identity.certificate()], identity.key())?;
        cipher::choose(&mut config);
        config.alpn_protocols = self.protocols();
        config.max_early_data_size = 0;
        // Both keys are proven in every handshake; there is nothing to resume.
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// What the end that dials uses.
    pub(crate) fn client(self: &Arc<Self>, identity: &Identity) -> Result<rustls::ClientConfig, rustls::Error> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_client_auth_cert(vec![identity.certificate()], identity.key())?;
        config.alpn_protocols = self.protocols();
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    signatures_by!(provider);
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    signatures_by!(provider);
}
