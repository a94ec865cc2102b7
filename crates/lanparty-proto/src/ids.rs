//! Names of things: MAC addresses, members, rooms, identities. Parsed once at the edge, then carried as types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit IEEE 802 MAC address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set: multicast or broadcast (IEEE 802.3 §3.2.3).
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the all-ones broadcast address.
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether this may be the source of a frame: unicast and not zero.
    #[must_use]
    pub const fn is_valid_source(self) -> bool {
        !self.is_group() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether the bit is set that keeps it out of the manufacturers' numbers (IEEE 802 §8.4).
    #[must_use]
    pub const fn is_locally_administered(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// A locally administered unicast address from six random bytes (IEEE 802c: bit 1 of the first octet set, bit 0 clear).
    #[must_use]
    pub const fn locally_administered(mut random: [u8; 6]) -> Self {
        random[0] = (random[0] & 0xfc) | 0x02;
        Self(random)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six hexadecimal octets separated by `:` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address such as 02:12:34:56:78:9a")]
pub struct InvalidMac(pub String);

impl FromStr for MacAddr {
    type Err = InvalidMac;

    fn from_str(s: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(s.to_owned());
        let mut octets = [0u8; 6];
        let mut parts = s.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(invalid)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        parts.next().map_or(Ok(Self(octets)), |_| Err(invalid()))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = InvalidMac;

    fn try_from(s: String) -> Result<Self, InvalidMac> {
        s.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

/// A member of a room, as its relay numbers it. Never 0 on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct MemberId(pub u16);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The name of a room: 1 to 64 letters, digits, `-`, `_` or `.`; compared as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RoomCode(String);

/// The text cannot be a room code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be a room code: use 1 to 64 letters, digits, `-`, `_` or `.`")]
pub struct InvalidRoomCode(pub String);

impl RoomCode {
    /// Longest room code, in bytes: it appears in every log line.
    pub const LEN_MAX: usize = 64;

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomCode {
    type Err = InvalidRoomCode;

    fn from_str(s: &str) -> Result<Self, InvalidRoomCode> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if s.is_empty() || s.len() > Self::LEN_MAX || !s.bytes().all(legal) {
            return Err(InvalidRoomCode(s.chars().take(Self::LEN_MAX).collect()));
        }
        Ok(Self(s.to_owned()))
    }
}

impl TryFrom<String> for RoomCode {
    type Error = InvalidRoomCode;

    fn try_from(s: String) -> Result<Self, InvalidRoomCode> {
        s.parse()
    }
}

impl From<RoomCode> for String {
    fn from(code: RoomCode) -> Self {
        code.0
    }
}

impl fmt::Display for RoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a node is: SHA-256 of the public key it proved to own in the TLS handshake (RFC 8446 §4.4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdentityId(pub [u8; 32]);

impl IdentityId {
    /// All of it, as 64 hexadecimal digits: what people copy to the other end of a cable.
    #[must_use]
    pub fn to_hex(self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // A string never refuses.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no key: 64 hexadecimal digits, as `lanparty cable --new` prints them on the other host")]
pub struct InvalidIdentity(pub String);

impl From<IdentityId> for String {
    fn from(id: IdentityId) -> Self {
        id.to_hex()
    }
}

impl TryFrom<String> for IdentityId {
    type Error = InvalidIdentity;

    fn try_from(text: String) -> Result<Self, InvalidIdentity> {
        text.parse()
    }
}

impl FromStr for IdentityId {
    type Err = InvalidIdentity;

    fn from_str(s: &str) -> Result<Self, InvalidIdentity> {
        let invalid = || InvalidIdentity(s.chars().take(80).collect());
        if s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut octets = [0; 32];
        for (at, octet) in octets.iter_mut().enumerate() {
            let digits = s.get(2 * at..2 * at + 2).ok_or_else(invalid)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| invalid())?;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for IdentityId {
    /// The first eight octets in hexadecimal: enough to tell two machines apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_survives_text_and_back() {
        let mac: MacAddr = "02:12:34:56:78:9a".parse().unwrap();
        assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
        assert_eq!("02-12-34-56-78-9A".parse::<MacAddr>().unwrap(), mac);
        for bad in ["", "02:12:34:56:78", "02:12:34:56:78:9a:bc", "02:12:34:56:78:+1", "2:12:34:56:78:9a0"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_random_virtual_mac_is_unicast_and_locally_administered() {
        for first in 0..=255 {
            let mac = MacAddr::locally_administered([first, 0, 0, 0, 0, 0]);
            assert!(mac.is_valid_source() && mac.is_locally_administered(), "{mac}");
        }
    }

    #[test]
    fn a_key_survives_text_and_back_and_half_a_key_is_none() {
        let key = IdentityId(std::array::from_fn(|at| at as u8 * 7));
        assert_eq!(key.to_hex().parse(), Ok(key));
        assert_eq!(key.to_hex().to_uppercase().parse(), Ok(key));
        for bad in ["", &key.to_string(), &format!("{}0", key.to_hex()), &"\u{e9}".repeat(32), &format!("+{}", &key.to_hex()[1..])] {
            assert!(bad.parse::<IdentityId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_room_code_is_short_and_plain() {
        assert!("ROOM1".parse::<RoomCode>().is_ok());
        for bad in ["", "a b", "ROOM\n1", &"x".repeat(65)] {
            assert!(bad.parse::<RoomCode>().is_err(), "{bad:?}");
        }
    }
}
