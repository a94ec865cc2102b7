//! Questions and answers of the probe service: how a host measures its way to a relay, packet by packet, without QUIC.
//!
//! Every length is one of UDP payload. An answer to an address that has not proven itself is never longer than its question,
//! so the service amplifies nothing; whoever sends back the cookie of an earlier answer receives there, and may ask for
//! more. Layout, big-endian:
//!
//! ```text
//!  0  magic "LPpr", version, kind (1 question, 2 answer), flags, zero
//!  8  sequence (4)
//! 12  question: wanted length of the answer; answer: length of the question as it arrived (2)
//! 14  answer: IP MTU of the route back, as the relay's system knows it; 0 unknown (2)
//! 16  cookie: as given before, zeros at first; answer: the one for this address (16)
//! 32  answer: the relay's clock, in milliseconds since 1970 (8)
//! 40  answer: where the question came from: port (2), IPv6 or mapped IPv4 address (16)
//! 58  zeros, as many as the length needs
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const MAGIC: [u8; 4] = *b"LPpr";
const VERSION: u8 = 1;
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
/// Flag of a question: routers may fragment the answer.
const MAY_FRAGMENT: u8 = 1;
/// Flag of an answer: longer ones are refused by the relay's own system (EMSGSIZE).
const TOO_LONG_HERE: u8 = 1;

/// Shortest question and answer, in bytes of UDP payload.
pub const PROBE_LEN_MIN: usize = 64;
/// Longest question and answer, in bytes of UDP payload: enough for fragments of several kinds of wire.
pub const PROBE_LEN_MAX: usize = 4096;

/// Proof that its owner receives at its address: 128 bits that only the relay can make.
pub type ProbeCookie = [u8; 16];

/// What a host asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProbeQuestion {
    /// Comes back in the answer.
    pub sequence: u32,
    /// Wanted length of the answer.
    pub answer_len: u16,
    /// Whether the answer goes without DF.
    pub may_fragment: bool,
    /// Zeros at first.
    pub cookie: ProbeCookie,
}

/// What the relay answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeAnswer {
    /// Of the question.
    pub sequence: u32,
    /// Length of the question as it arrived.
    pub question_len: u16,
    /// IP MTU of the route back as the relay's system knows it, in bytes.
    pub route_mtu: Option<u16>,
    /// The wanted length is refused by the relay's own system.
    pub too_long_here: bool,
    /// For further questions.
    pub cookie: ProbeCookie,
    /// The relay's clock, in milliseconds since 1970-01-01 UTC.
    pub clock_ms: u64,
    /// Where the question came from.
    pub observed: SocketAddr,
}

impl ProbeQuestion {
    /// A question of `len` bytes, within [`PROBE_LEN_MIN`] and [`PROBE_LEN_MAX`].
    #[must_use]
    pub fn encode(&self, len: usize) -> Vec<u8> {
        let mut out = head(QUESTION, u8::from(self.may_fragment) * MAY_FRAGMENT, self.sequence);
        out.extend(self.answer_len.to_be_bytes());
        out.extend([0; 2]);
        out.extend(self.cookie);
        out.resize(len.clamp(PROBE_LEN_MIN, PROBE_LEN_MAX), 0);
        out
    }

    /// `None` when it is no question of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, sequence, rest) = open(bytes, QUESTION)?;
        let (answer_len, rest) = rest.split_first_chunk()?;
        let (cookie, _) = rest.get(2..)?.split_first_chunk()?;
        let may_fragment = flags & MAY_FRAGMENT != 0;
        Some(Self { sequence, answer_len: u16::from_be_bytes(*answer_len), may_fragment, cookie: *cookie })
    }
}

impl ProbeAnswer {
    /// An answer of `len` bytes, within [`PROBE_LEN_MIN`] and [`PROBE_LEN_MAX`].
    #[must_use]
    pub fn encode(&self, len: usize) -> Vec<u8> {
        let mut out = head(ANSWER, u8::from(self.too_long_here) * TOO_LONG_HERE, self.sequence);
        out.extend(self.question_len.to_be_bytes());
        out.extend(self.route_mtu.unwrap_or(0).to_be_bytes());
        out.extend(self.cookie);
        out.extend(self.clock_ms.to_be_bytes());
        out.extend(self.observed.port().to_be_bytes());
        out.extend(mapped(self.observed.ip()).octets());
        out.resize(len.clamp(PROBE_LEN_MIN, PROBE_LEN_MAX), 0);
        out
    }

    /// `None` when it is no answer of this version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags, sequence, rest) = open(bytes, ANSWER)?;
        let (question_len, rest) = rest.split_first_chunk()?;
        let (route_mtu, rest) = rest.split_first_chunk()?;
        let (cookie, rest) = rest.split_first_chunk()?;
        let (clock, rest) = rest.split_first_chunk()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (address, _) = rest.split_first_chunk::<16>()?;
        Some(Self {
            sequence,
            question_len: u16::from_be_bytes(*question_len),
            route_mtu: Some(u16::from_be_bytes(*route_mtu)).filter(|mtu| *mtu > 0),
            too_long_here: flags & TOO_LONG_HERE != 0,
            cookie: *cookie,
            clock_ms: u64::from_be_bytes(*clock),
            observed: (Ipv6Addr::from(*address).to_canonical(), u16::from_be_bytes(*port)).into(),
        })
    }
}

fn head(kind: u8, flags: u8, sequence: u32) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend([VERSION, kind, flags, 0]);
    out.extend(sequence.to_be_bytes());
    out
}

/// Flags, sequence, and what follows.
fn open(bytes: &[u8], kind: u8) -> Option<(u8, u32, &[u8])> {
    if bytes.len() < PROBE_LEN_MIN || bytes.len() > PROBE_LEN_MAX {
        return None;
    }
    let ([version, found, flags, _], rest) = bytes.strip_prefix(&MAGIC)?.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    (*version == VERSION && *found == kind).then(|| (*flags, u32::from_be_bytes(*sequence), rest))
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(observed: &str) -> ProbeAnswer {
        ProbeAnswer {
            sequence: 7,
            question_len: 1472,
            route_mtu: Some(1400),
            too_long_here: true,
            cookie: [9; 16],
            clock_ms: 1_800_000_000_123,
            observed: observed.parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_at_every_length() {
        let question = ProbeQuestion { sequence: 0xdead_beef, answer_len: 1472, may_fragment: true, cookie: [3; 16] };
        for len in [PROBE_LEN_MIN, 1200, PROBE_LEN_MAX] {
            let bytes = question.encode(len);
            assert_eq!((bytes.len(), ProbeQuestion::decode(&bytes), ProbeAnswer::decode(&bytes)), (len, Some(question), None));
            for observed in ["192.0.2.1:40000", "[2001:db8::7]:1"] {
                let bytes = answer(observed).encode(len);
                assert_eq!((bytes.len(), ProbeAnswer::decode(&bytes), ProbeQuestion::decode(&bytes)), (len, Some(answer(observed)), None));
            }
        }
    }

    #[test]
    fn lengths_stay_within_their_limits() {
        assert_eq!(ProbeQuestion::default().encode(0).len(), PROBE_LEN_MIN);
        assert_eq!(ProbeQuestion::default().encode(1 << 20).len(), PROBE_LEN_MAX);
        assert_eq!(ProbeQuestion::decode(&ProbeQuestion::default().encode(PROBE_LEN_MIN)[..PROBE_LEN_MIN - 1]), None);
    }

    #[test]
    fn another_version_and_a_quic_packet_are_no_probes() {
        let mut bytes = ProbeQuestion::default().encode(100);
        bytes[4] = 2;
        assert_eq!(ProbeQuestion::decode(&bytes), None);
        assert_eq!(ProbeQuestion::decode(&[0xc3; 1200]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let with_magic = [&MAGIC[..], &bytes].concat();
            for bytes in [&bytes, &with_magic] {
                let _ = (ProbeQuestion::decode(bytes), ProbeAnswer::decode(bytes));
            }
        }
    }
}
