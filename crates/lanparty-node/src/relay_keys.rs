//! What a relay keeps between runs: its development certificate, and the keys that let a restarted relay tell members
//! of its former self, at once, that their connection is gone (RFC 9000 §10.3).

use lanparty_proto::IdentityId;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::state::{StateDir, StateError, StateFile};
use crate::tls::identity_of;

/// The name in a relay's development certificate.
pub const RELAY_DEV_NAME: &str = "lanparty-relay.local";
const FILE: &str = "lanparty-relay-keys.json";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    certificate_pem: String,
    key_pem: String,
    /// Stateless reset key, hexadecimal.
    reset_key: String,
    /// Key of the connection IDs, hexadecimal.
    cid_key: String,
}

/// The keys of a relay.
pub struct RelayKeys {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    reset_key: [u8; 64],
    cid_key: [u8; 8],
    file: StateFile,
}

impl RelayKeys {
    /// Loads the keys from the state directory, or makes new ones when there are none.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged. It is never replaced silently: members trust the certificate in it.
    pub fn load_or_create(dir: &StateDir) -> Result<Self, StateError> {
        let path = dir.file(FILE);
        let content = StateFile::read(&path)?;
        let (content, fresh) = match content {
            Some(content) => (content, false),
            None => (serde_json::to_vec_pretty(&generate()).expect("INVARIANT: keys have a JSON form"), true),
        };
        let corrupt = |detail: String| StateError::Corrupt { path: path.clone(), detail };
        let stored: Stored = serde_json::from_slice(&content).map_err(|e| corrupt(format!("not a relay's key file: {e}")))?;
        if stored.format != FORMAT {
            return Err(corrupt(format!("format {} of another lanparty version; this one reads {FORMAT}", stored.format)));
        }
        let file = if fresh { StateFile::save(path.clone(), content) } else { StateFile::saved(path.clone(), content) };
        Self::parse(&stored, file).map_err(corrupt)
    }

    fn parse(stored: &Stored, file: StateFile) -> Result<Self, String> {
        use rustls::pki_types::pem::PemObject;
        let certificate = CertificateDer::from_pem_slice(stored.certificate_pem.as_bytes()).map_err(|e| format!("its certificate: {e}"))?;
        let key = rcgen::KeyPair::from_pem(&stored.key_pem).map_err(|e| format!("its key: {e}"))?.serialize_der();
        Ok(Self { certificate, key, reset_key: from_hex(&stored.reset_key)?, cid_key: from_hex(&stored.cid_key)?, file })
    }

    /// The development certificate, DER.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its private key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// SHA-256 of the certificate's public key: what people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Option<IdentityId> {
        identity_of(&self.certificate).ok()
    }

    /// The file behind it.
    pub const fn file(&mut self) -> &mut StateFile {
        &mut self.file
    }

    /// From which follow the prefixes of its rooms.
    #[must_use]
    pub fn address_key(&self) -> [u8; 16] {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.reset_key);
        let tag = ring::hmac::sign(&secret, b"addresses of rooms");
        *tag.as_ref().first_chunk().expect("INVARIANT: SHA-256 has 32 bytes")
    }

    pub(crate) const fn reset_key(&self) -> &[u8; 64] {
        &self.reset_key
    }

    pub(crate) const fn cid_key(&self) -> u64 {
        u64::from_be_bytes(self.cid_key)
    }
}

fn generate() -> Stored {
    let key = rcgen::KeyPair::generate().expect("INVARIANT: a P-256 key can be made from random bytes");
    let params = rcgen::CertificateParams::new(vec![RELAY_DEV_NAME.to_owned()]).expect("INVARIANT: the name is a DNS name");
    let certificate = params.self_signed(&key).expect("INVARIANT: a fresh key signs its own certificate");
    Stored {
        format: FORMAT,
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        reset_key: random_hex::<64>(),
        cid_key: random_hex::<8>(),
    }
}

fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    hex::encode(bytes)
}

fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|e| format!("a key of {N} bytes: {e}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_relay_has_the_same_certificate_and_keys() {
        let dir = tempfile::tempdir().unwrap();
        let dir = StateDir::locate(Some(dir.path().to_owned()));
        let (first, second) = (RelayKeys::load_or_create(&dir).unwrap(), RelayKeys::load_or_create(&dir).unwrap());
        assert_eq!(first.certificate(), second.certificate());
        assert_eq!((first.reset_key(), first.cid_key()), (second.reset_key(), second.cid_key()));
        std::fs::write(dir.file(FILE), b"{").unwrap();
        assert!(matches!(RelayKeys::load_or_create(&dir), Err(StateError::Corrupt { .. })));
    }
}
