//! Whom a member trusts to be its relay: a certificate given as a file, or the system's certificate authorities.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::examine::Witness;
use crate::tls::{ALPN, STREAM_ALPN, STREAM_VERSIONS, provider};
use crate::{ExitCode, Fault, Identity};

/// What the relay must prove.
#[derive(Clone, Debug)]
pub struct RelayTrust {
    roots: Arc<RootCertStore>,
    source: String,
}

impl RelayTrust {
    /// Trusts the certificate in `file` (DER or PEM: the relay's own, or a CA's), or the system's authorities.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate, or the system has no authorities.
    pub fn load(file: Option<&Path>) -> Result<Self, Fault> {
        match file {
            Some(path) => Self::from_file(path),
            None => Self::from_system(),
        }
    }

    fn from_file(path: &Path) -> Result<Self, Fault> {
        let unusable = |detail: &dyn std::fmt::Display| {
            let cause = format!("--relay-ca-cert {}: {detail}", path.display());
            Fault::new(ExitCode::Configuration, cause, "copy the file that the relay wrote with --dev-cert-der-out")
        };
        let bytes = std::fs::read(path).map_err(|e| unusable(&e))?;
        let certificates: Vec<_> = if bytes.starts_with(b"-----BEGIN") {
            CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|e| unusable(&e))?
        } else {
            vec![CertificateDer::from(bytes)]
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|e| unusable(&format!("not a certificate: {e}")))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"no certificate in it"));
        }
        Ok(Self { roots: Arc::new(roots), source: path.display().to_string() })
    }

    fn from_system() -> Result<Self, Fault> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let advice = "give the relay's certificate with --relay-ca-cert FILE, or install the package ca-certificates";
            return Err(Fault::new(ExitCode::Configuration, "this machine has no certificate authorities", advice));
        }
        Ok(Self { roots: Arc::new(roots), source: "this machine's certificate authorities".into() })
    }

    /// Where the trust comes from, for people.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn config(&self, identity: &Identity) -> Result<rustls::ClientConfig, rustls::Error> {
        finish(builder()?.with_root_certificates(Arc::clone(&self.roots)), identity)
    }

    /// For streams: without a certificate of our own, because a server that ends TLS in front of a relay would not pass it on.
    pub(crate) fn stream_config(&self) -> Result<rustls::ClientConfig, rustls::Error> {
        let builder = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(STREAM_VERSIONS)?;
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols = vec![STREAM_ALPN.to_vec()];
        Ok(config)
    }

    /// A witness of what a relay shows, judged by this trust.
    pub(crate) fn witness(&self) -> Arc<Witness> {
        Arc::new(Witness::new(Arc::clone(&self.roots), self.source.clone(), provider()))
    }

    /// Lets every relay pass, before `witness`. For connections on which nothing is said.
    pub(crate) fn config_with(witness: &Arc<Witness>, identity: &Identity) -> Result<rustls::ClientConfig, rustls::Error> {
        let verifier = Arc::clone(witness) as Arc<dyn rustls::client::danger::ServerCertVerifier>;
        finish(builder()?.dangerous().with_custom_certificate_verifier(verifier), identity)
    }
}

fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])
}

fn finish(
    builder: rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>,
    identity: &Identity,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut config = builder.with_client_auth_cert(vec![identity.certificate()], identity.key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
