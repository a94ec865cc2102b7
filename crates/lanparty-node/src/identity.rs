//! Who this node is: an Ed25519 key, and for a client the virtual MAC address that goes with it. Both live in one file,
//! so that the next run is the same machine to the LAN.

use std::path::{Path, PathBuf};

use lanparty_proto::{IdentityId, MacAddr};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use serde::{Deserialize, Serialize};

use crate::state::{StateError, StateFile};
use crate::tls::identity_of;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    format: u32,
    mac: MacAddr,
    ed25519_pkcs8_pem: String,
}

/// A node's identity.
pub struct Identity {
    mac: MacAddr,
    id: IdentityId,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    public_key: Vec<u8>,
    signer: Ed25519KeyPair,
}

impl Identity {
    /// Loads the identity from `path`; makes a new one when there is no such file, or when `new` asks for it (the old
    /// file is then kept with the ending `.bad`). The file comes back beside it, to be saved later if the disk is full.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged: it is never replaced silently, because a new identity is a new
    /// machine to the room, to DHCP and to the switch.
    pub fn load_or_create(path: PathBuf, new: bool) -> Result<(Self, StateFile), StateError> {
        if new && path.exists() {
            let kept = path.with_extension("json.bad");
            std::fs::rename(&path, kept).map_err(|source| StateError::Write { path: path.clone(), source })?;
        }
        match StateFile::read(&path)? {
            Some(content) => Self::parse(&path, content),
            None => Ok(Self::create(path)),
        }
    }

    fn parse(path: &Path, content: Vec<u8>) -> Result<(Self, StateFile), StateError> {
        let corrupt = |detail: String| StateError::Corrupt { path: path.to_owned(), detail };
        let stored: IdentityFile = serde_json::from_slice(&content).map_err(|e| corrupt(format!("not an identity file: {e}")))?;
        if stored.format != FORMAT {
            return Err(corrupt(format!("format {} of another lanparty version; this one reads {FORMAT}", stored.format)));
        }
        if !stored.mac.is_valid_source() {
            return Err(corrupt(format!("{} cannot be a machine's MAC address", stored.mac)));
        }
        let key = rcgen::KeyPair::from_pem(&stored.ed25519_pkcs8_pem).map_err(|e| corrupt(format!("its key: {e}")))?;
        let identity = Self::assemble(stored.mac, &key).map_err(corrupt)?;
        Ok((identity, StateFile::saved(path.to_owned(), content)))
    }

    fn create(path: PathBuf) -> (Self, StateFile) {
        let mut random = [0; 6];
        SystemRandom::new().fill(&mut random).expect("INVARIANT: the operating system gives random bytes");
        let mac = MacAddr::locally_administered(random);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("INVARIANT: an Ed25519 key can be made from random bytes");
        let stored = IdentityFile { format: FORMAT, mac, ed25519_pkcs8_pem: key.serialize_pem() };
        let content = serde_json::to_vec_pretty(&stored).expect("INVARIANT: an identity has a JSON form");
        let identity = Self::assemble(mac, &key).expect("INVARIANT: a fresh key signs its own certificate");
        (identity, StateFile::save(path, content))
    }

    /// An identity that nobody will see again, for connections that join nothing.
    pub(crate) fn ephemeral() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("INVARIANT: an Ed25519 key can be made from random bytes");
        Self::assemble(MacAddr::locally_administered([0; 6]), &key).expect("INVARIANT: a fresh key signs its own certificate")
    }

    fn assemble(mac: MacAddr, key: &rcgen::KeyPair) -> Result<Self, String> {
        let params = rcgen::CertificateParams::new(vec!["lanparty-member".to_owned()]).map_err(|e| e.to_string())?;
        let certificate = params.self_signed(key).map_err(|e| e.to_string())?.der().clone();
        let id = identity_of(&certificate).map_err(|e| e.to_string())?;
        let public_key = ParsedCertificate::try_from(&certificate).map_err(|e| e.to_string())?.subject_public_key_info().to_vec();
        let key = key.serialize_der();
        let signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).map_err(|e| format!("its key is no Ed25519 key: {e}"))?;
        Ok(Self { mac, id, certificate, key, public_key, signer })
    }

    /// The virtual MAC address.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The same identity with another virtual MAC address, for this run.
    #[must_use]
    pub fn with_mac(self, mac: MacAddr) -> Self {
        Self { mac, ..self }
    }

    /// Who this is to a relay.
    #[must_use]
    pub const fn id(&self) -> IdentityId {
        self.id
    }

    /// The public key: a SubjectPublicKeyInfo in DER, whose SHA-256 is [`Self::id`].
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// An Ed25519 signature (RFC 8032) of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signer.sign(message).as_ref().to_vec()
    }

    /// A virtual MAC address for one purpose, the same in the next run: for a node with several interfaces.
    #[must_use]
    pub fn mac_for(&self, purpose: &str) -> MacAddr {
        let derived = self.derive(purpose);
        MacAddr::locally_administered(*derived.first_chunk().expect("INVARIANT: 32 bytes begin with 6"))
    }

    /// A key that is this identity's for one purpose, and the same in the next run.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key);
        let tag = ring::hmac::sign(&secret, purpose.as_bytes());
        tag.as_ref().try_into().expect("INVARIANT: SHA-256 has 32 bytes")
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_is_the_same_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lanparty-client-identity.json");
        let (first, _) = Identity::load_or_create(path.clone(), false).unwrap();
        let (second, _) = Identity::load_or_create(path.clone(), false).unwrap();
        assert_eq!((first.mac(), first.id()), (second.mac(), second.id()));
        assert_eq!(first.mac_for("one"), second.mac_for("one"));
        assert!(first.mac_for("one") != first.mac_for("two") && first.mac_for("one").is_valid_source());
        let (third, _) = Identity::load_or_create(path.clone(), true).unwrap();
        assert_ne!(first.id(), third.id());
        assert!(path.with_extension("json.bad").exists());
    }

    #[test]
    fn a_damaged_file_is_an_error_at_every_length_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.json");
        Identity::load_or_create(path.clone(), false).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..len]).unwrap();
            let outcome = Identity::load_or_create(path.clone(), false);
            assert!(matches!(outcome, Err(StateError::Corrupt { .. })), "{len} of {} bytes", whole.len());
            assert_eq!(std::fs::read(&path).unwrap().len(), len);
        }
    }
}
