//! Who a member is, proven inside the stream (docs/wire-format.md §8), so that an ordinary server may end TLS in front of a relay.
//!
//! The relay sends a fresh nonce; the member signs it together with the name of the relay it dialled. A relay accepts its own names
//! only, so another one cannot pass its challenge on to a member and enter here in the member's place.

use std::net::IpAddr;

use lanparty_proto::IdentityId;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::parse_x509_certificate;

use crate::examine::names;
use crate::tls::{identity_of, identity_of_key};
use crate::{Identity, RELAY_DEV_NAME};

/// What is signed begins with this, so that no signature made for something else is one of ours.
const DOMAIN: &[u8] = b"lanparty stream v1";
/// SubjectPublicKeyInfo of an Ed25519 key, before the key (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const NONCE_LEN: usize = 32;
/// Names of a relay that a refusal tells: it must fit a message.
const NAMES_SHOWN_MAX: usize = 4;
/// Longest DNS name (RFC 1035 §2.3.4).
const NAME_LEN_MAX: usize = 253;

/// The messages before the first control message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Proof {
    /// Relay to member, first: sign this.
    Challenge {
        /// In hexadecimal.
        #[serde(with = "hex")]
        nonce: [u8; NONCE_LEN],
    },
    /// Member to relay.
    Answer {
        /// SubjectPublicKeyInfo in DER.
        #[serde(with = "hex")]
        key: Vec<u8>,
        /// The relay it means.
        name: String,
        /// Ed25519 over [`DOMAIN`], nonce and name.
        #[serde(with = "hex")]
        signature: Vec<u8>,
    },
    /// Relay to member: proven.
    Accepted,
    /// Relay to member: not, and why; the connection closes.
    Refused {
        /// In words.
        message: String,
    },
    /// A message of a newer version.
    #[serde(other)]
    Unknown,
}

/// A fresh challenge.
pub(super) fn nonce() -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).expect("INVARIANT: the operating system gives random bytes");
    nonce
}

/// The member's answer to `nonce` of the relay called `name` (see [`name_of`]).
pub(super) fn answer(nonce: &[u8; NONCE_LEN], name: &str, identity: &Identity) -> Proof {
    Proof::Answer { key: identity.public_key().to_vec(), name: name.to_owned(), signature: identity.sign(&signed(nonce, name)) }
}

/// Whose answer it is.
///
/// # Errors
/// Words for the member, when the answer proves nothing to a relay with `own_names`.
pub(super) fn verify(answer: &Proof, nonce: &[u8; NONCE_LEN], own_names: &[String]) -> Result<IdentityId, String> {
    let Proof::Answer { key, name, signature } = answer else { return Err("the challenge was not answered".into()) };
    if !own_names.iter().any(|own| covers(own, name)) {
        let own = if own_names.is_empty() { "no name".into() } else { own_names.get(..NAMES_SHOWN_MAX).unwrap_or(own_names).join(", ") };
        let name: String = name.chars().take(NAME_LEN_MAX).collect();
        return Err(format!("this relay answers to {own}, and you dialled {name}; its operator can add that with --public-name"));
    }
    let raw = key.strip_prefix(&ED25519_SPKI).filter(|raw| raw.len() == 32).ok_or("your key is no Ed25519 key")?;
    UnparsedPublicKey::new(&ED25519, raw)
        .verify(&signed(nonce, name), signature)
        .map_err(|_| "your signature does not answer this relay's challenge".to_owned())?;
    Ok(identity_of_key(key))
}

fn signed(nonce: &[u8; NONCE_LEN], name: &str) -> Vec<u8> {
    [DOMAIN, nonce, name.as_bytes()].concat()
}

/// What a member calls the relay that it dialled as `server_name`, and that showed `certificate`.
///
/// All relays with a development certificate have one name. There the certificate's key tells them apart.
pub(super) fn name_of(server_name: &str, certificate: Option<&CertificateDer<'_>>) -> String {
    let name = server_name.trim_end_matches('.').to_ascii_lowercase();
    // An IPv6 address can be written in many ways.
    let name = name.parse::<IpAddr>().map_or(name, |ip| ip.to_string());
    match certificate.and_then(|c| identity_of(c).ok()).filter(|_| name == RELAY_DEV_NAME) {
        Some(key) => format!("{name} {}", hex::encode(key.0)),
        None => name,
    }
}

/// The names that a relay with this certificate answers to, besides those it was told.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return vec![] };
    names(&parsed).iter().map(|name| name_of(name, Some(certificate))).collect()
}

/// Whether a relay's name, perhaps with a wildcard (RFC 6125 §6.4.3), is what the member said.
fn covers(own: &str, said: &str) -> bool {
    match own.strip_prefix("*.") {
        Some(domain) => said.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => own.eq_ignore_ascii_case(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn an_answer_proves_the_identity_that_the_certificate_proves() {
        let (identity, nonce) = (Identity::ephemeral(), nonce());
        let proof = answer(&nonce, "relay.example.net", &identity);
        let json = serde_json::to_string(&proof).unwrap();
        let proof: Proof = serde_json::from_str(&json).unwrap();
        assert_eq!(verify(&proof, &nonce, &names(&["other.example", "RELAY.example.net"])), Ok(identity.id()));
        assert_eq!(identity_of(&identity.certificate()).unwrap(), identity.id());
        assert_eq!(verify(&proof, &nonce, &names(&["*.example.net"])), Ok(identity.id()));
    }

    #[test]
    fn an_answer_for_another_relay_is_refused_with_both_names() {
        let (identity, nonce) = (Identity::ephemeral(), nonce());
        let proof = answer(&nonce, "evil.example", &identity);
        let words = verify(&proof, &nonce, &names(&["relay.example.net", "*.example.org"])).unwrap_err();
        assert!(words.contains("relay.example.net") && words.contains("evil.example"), "{words}");
        assert!(
            !covers("*.example.org", "example.org")
                && !covers("*.example.org", "a.b.example.org")
                && !covers("*.example.org", ".example.org")
        );
    }

    #[test]
    fn an_answer_with_any_bit_changed_or_given_twice_proves_nothing() {
        let (identity, nonce_1, own) = (Identity::ephemeral(), nonce(), names(&["relay.example.net", "relay.example.org"]));
        let Proof::Answer { key, name, signature } = answer(&nonce_1, "relay.example.net", &identity) else { panic!() };
        let answer = |key: &[u8], name: &str, signature: &[u8]| Proof::Answer {
            key: key.to_vec(),
            name: name.to_owned(),
            signature: signature.to_vec(),
        };
        assert!(verify(&answer(&key, &name, &signature), &nonce_1, &own).is_ok());
        assert!(verify(&answer(&key, &name, &signature), &nonce(), &own).is_err(), "another challenge");
        assert!(verify(&answer(&key, "relay.example.org", &signature), &nonce_1, &own).is_err(), "another name of the same relay");
        assert!(verify(&answer(Identity::ephemeral().public_key(), &name, &signature), &nonce_1, &own).is_err(), "another key");
        for (changed, bit) in (0..signature.len()).flat_map(|i| (0..8).map(move |b| (i, b))) {
            let mut bad = signature.clone();
            bad[changed] ^= 1 << bit;
            assert!(verify(&answer(&key, &name, &bad), &nonce_1, &own).is_err());
        }
        for changed in 0..key.len() {
            let mut bad = key.clone();
            bad[changed] ^= 1;
            assert!(verify(&answer(&bad, &name, &signature), &nonce_1, &own).is_err());
            assert!(verify(&answer(&key[..changed], &name, &signature), &nonce_1, &own).is_err());
        }
        assert!(verify(&Proof::Accepted, &nonce_1, &own).is_err());
    }

    #[test]
    fn relays_with_development_certificates_are_told_apart_by_their_keys() {
        let certificate = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec![RELAY_DEV_NAME.to_owned()]).unwrap().self_signed(&key).unwrap().der().clone()
        };
        let (one, two) = (certificate(), certificate());
        assert_eq!(names_of(&one), [name_of(RELAY_DEV_NAME, Some(&one))]);
        assert_ne!(name_of(RELAY_DEV_NAME, Some(&one)), name_of(RELAY_DEV_NAME, Some(&two)));
        assert_eq!(name_of("Relay.Example.net.", Some(&one)), "relay.example.net");
        assert_eq!(name_of("2001:DB8:0::1", None), "2001:db8::1");
    }
}
