//! Looks at the relay's certificate instead of judging it by yes or no: what it says, who vouches for it, for which name.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanparty_doctor::CertificateFacts;
use rustls::RootCertStore;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::tls::signatures_by;

/// A verifier that lets every relay pass and notes what it saw. For connections on which nothing is said.
#[derive(Debug)]
pub(crate) struct Witness {
    roots: Arc<RootCertStore>,
    source: String,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<CertificateFacts>>,
}

impl Witness {
    pub(crate) fn new(roots: Arc<RootCertStore>, source: String, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, source, provider, seen: Mutex::new(None) }
    }

    /// What was shown last.
    pub(crate) fn seen(&self) -> Option<CertificateFacts> {
        self.seen.lock().ok()?.clone()
    }

    fn look(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], asked: &ServerName<'_>) -> CertificateFacts {
        let mut facts = CertificateFacts {
            asked_name: asked.to_str().into_owned(),
            now_s: SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|t| i64::try_from(t.as_secs()).ok()),
            trust_source: Some(self.source.clone()),
            ..CertificateFacts::default()
        };
        if let Ok((_, parsed)) = parse_x509_certificate(leaf) {
            facts.names = names(&parsed);
            facts.not_before_s = Some(parsed.validity().not_before.timestamp());
            facts.not_after_s = Some(parsed.validity().not_after.timestamp());
        }
        if let Ok(parsed) = ParsedCertificate::try_from(leaf) {
            facts.name_matches = Some(verify_server_name(&parsed, asked).is_ok());
            // Who vouches for it, whatever the date: judged at a time when it is valid.
            let at = facts.not_before_s.zip(facts.not_after_s).map(|(from, until)| from.midpoint(until));
            let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.unwrap_or(0)).unwrap_or(0)));
            let algorithms = self.provider.signature_verification_algorithms.all;
            facts.trusted = Some(verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, chain, at, algorithms).is_ok());
        }
        facts
    }
}

/// The names it is issued for: DNS names and addresses (RFC 5280 §4.2.1.6).
pub(crate) fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    all.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string())).ok()
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let facts = self.look(end_entity, intermediates, server_name);
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(facts);
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures_by!(provider);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    const YEAR: i64 = 365 * 86_400;

    /// A certificate for `names` that is valid from and until so many years from now, and its witness that trusts `trusted`.
    fn issue(from: i32, until: i32) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026 + from, 1, 1), rcgen::date_time_ymd(2026 + until, 1, 1));
        params.self_signed(&key).unwrap().der().clone()
    }

    fn look(certificate: &CertificateDer<'_>, trusts_it: bool, asked: &str) -> CertificateFacts {
        let mut roots = RootCertStore::empty();
        if trusts_it {
            roots.add(certificate.clone().into_owned()).unwrap();
        }
        let witness = Witness::new(Arc::new(roots), "a file".into(), provider());
        witness.look(certificate, &[], &ServerName::try_from(asked.to_owned()).unwrap())
    }

    #[test]
    fn names_dates_trust_and_the_asked_name_are_noted_each_for_itself() {
        let certificate = issue(-6, -5);
        let facts = look(&certificate, true, "relay.example.net");
        assert_eq!(facts.names, ["relay.example.net", "192.0.2.1"]);
        assert_eq!((facts.trusted, facts.name_matches), (Some(true), Some(true)), "too old, and that is another thing");
        let (from, until) = (facts.not_before_s.unwrap(), facts.not_after_s.unwrap());
        assert!((YEAR..=YEAR + 86_400).contains(&(until - from)), "{from} to {until}");
        let facts = look(&certificate, false, "other.example.net");
        assert_eq!((facts.trusted, facts.name_matches), (Some(false), Some(false)));
    }
}
