//! The way to the relay: reachability, sizes in each direction, time, addresses, certificate.
//!
//! Sizes are UDP payload bytes unless a name says otherwise: an IP packet is 28 bytes larger over IPv4, 48 over IPv6.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What probing the way to one relay found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayFacts {
    /// As the user wrote it: `HOST:PORT`.
    pub name: String,
    /// The addresses the name has; empty when it resolves to none.
    pub resolved: Option<Vec<SocketAddr>>,
    /// Why it does not resolve.
    pub resolve_error: Option<String>,
    /// Those that were tried, in the order in which a join tries them.
    pub addresses: Option<Vec<AddressFacts>>,
    /// The address that was probed.
    pub remote: Option<SocketAddr>,
    /// The interface that leads there.
    pub uplink: Option<Uplink>,
    /// Whether any UDP came back from the relay: QUIC or the probe service.
    pub udp_reachable: Option<bool>,
    /// Whether the relay's host answered that nothing listens on the port (ICMP port unreachable, ECONNREFUSED).
    pub port_unreachable: Option<bool>,
    /// The QUIC handshake.
    pub quic: Option<QuicHandshake>,
    /// The places that a member dials by TLS over TCP, in its order; nothing where QUIC left no need for them.
    pub streams: Option<Vec<StreamFacts>>,
    /// By which way the relay is reached.
    pub way: Option<Way>,
    /// Whether the relay offers the probe service and it answered. `Some(false)`: sizes and NAT could not be measured.
    pub probe_service: Option<bool>,
    /// What the probe service would have told if there had been time for it.
    pub unmeasured: Vec<Measurement>,
    /// Sizes from this host to the relay.
    pub up: Option<DirectionFacts>,
    /// Sizes from the relay to this host.
    pub down: Option<DirectionFacts>,
    /// Round trips.
    pub rtt: Option<RttFacts>,
    /// What a modest rate lost.
    pub throttle: Option<ThrottleFacts>,
    /// Addresses as the relay sees them.
    pub nat: Option<NatFacts>,
    /// What the relay proves itself with.
    pub certificate: Option<CertificateFacts>,
    /// This host's clock less the relay's, in seconds.
    pub clock_offset_s: Option<f64>,
    /// The datagram budget that QUIC's own discovery settled on toward the relay, in bytes.
    pub budget_up: Option<u16>,
    /// The same from the relay to this host.
    pub budget_down: Option<u16>,
}

impl RelayFacts {
    /// Takes note of what the places for streams answered, where QUIC did not get through.
    pub fn note_streams(&mut self, streams: Vec<StreamFacts>) {
        self.streams = Some(streams);
        self.way = self.stream().map(|_| Way::Stream);
    }

    /// The stream that a member takes.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamFacts> {
        self.streams.iter().flatten().find(|stream| stream.ok)
    }
}

/// One place that a member dials by TLS over TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamFacts {
    /// Its address, and the proxy where one is between.
    pub place: String,
    /// The relay took the stream and was believed.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// Until it was taken or failed, in milliseconds.
    pub duration_ms: Option<f64>,
}

/// One address of the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressFacts {
    /// Itself; nothing in facts that were not learnt here.
    pub address: Option<SocketAddr>,
    /// Whether this host has a route to it.
    pub has_route: Option<bool>,
    /// Whether any UDP came back from it.
    pub udp_reachable: bool,
    /// The QUIC handshake with it.
    pub quic: QuicHandshake,
}

/// What is measured with the help of the probe service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measurement {
    /// Round trips of single packets.
    RoundTrips,
    /// This host's address as the relay sees it.
    Nat,
    /// Sizes from this host to the relay.
    SizesUp,
    /// Sizes from the relay to this host.
    SizesDown,
    /// What a modest rate loses.
    ModestRate,
}

/// The interface that leads to the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uplink {
    /// Its name.
    pub interface: String,
    /// Its IP MTU in bytes.
    pub mtu: Option<u32>,
}

/// How the QUIC handshake went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuicHandshake {
    /// It completed and the relay was believed.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// Until it completed or failed, in milliseconds.
    pub duration_ms: Option<f64>,
}

/// A way to the relay (DESIGN §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// QUIC to the port that was asked for.
    Quic,
    /// QUIC to the relay's alternative port.
    QuicAlternativePort,
    /// A TLS stream over TCP.
    Stream,
}

/// Sizes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectionFacts {
    /// Packets that forbid fragmentation (DF): what lanparty sends.
    pub with_df: Option<SizeProbe>,
    /// Packets that routers may fragment.
    pub without_df: Option<SizeProbe>,
    /// Whether a packet that left in fragments arrived whole.
    pub fragments_pass: Option<bool>,
    /// Whether a packet too big was answered by ICMP "packet too big" (type 3 code 4, ICMPv6 type 2). Unknown when none was too big.
    pub icmp_too_big_heard: Option<bool>,
    /// IP MTU of the route in bytes, as the sending system knew it when it sent without DF: it cut what was larger up itself.
    pub sender_mtu: Option<u32>,
}

/// The edge between the sizes that pass and those that do not, in UDP payload bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeProbe {
    /// The largest that passed; nothing when none did.
    pub passed: Option<u16>,
    /// The smallest that failed, every time it was tried; nothing when the largest tried passed.
    pub failed: Option<u16>,
    /// What became of `failed`.
    pub how: Option<SizeFailure>,
}

/// What becomes of a packet that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeFailure {
    /// It vanished; nobody said a word.
    Silent,
    /// The sending host itself refused it (EMSGSIZE): its interface or its route is smaller.
    Local,
    /// A router said so, naming this IP MTU in bytes.
    IcmpTooBig {
        /// As the ICMP message has it; old routers leave it 0.
        mtu: u32,
    },
}

/// Round trips to the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RttFacts {
    /// Questions asked.
    pub sent: u32,
    /// Questions without an answer.
    pub lost: u32,
    /// The shortest, in milliseconds.
    pub min_ms: Option<f64>,
    /// The middle one, in milliseconds.
    pub median_ms: Option<f64>,
    /// The longest, in milliseconds.
    pub max_ms: Option<f64>,
}

/// What became of a short burst at a modest rate, up and back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleFacts {
    /// Rate offered, in kbit/s of UDP payload.
    pub rate_kbit_s: u32,
    /// Packets sent.
    pub sent: u32,
    /// Packets that did not come back, however late.
    pub lost: u32,
    /// Rate at which they came back, in kbit/s of UDP payload.
    pub carried_kbit_s: Option<u32>,
    /// What the middle one took longer than the shortest single packet, in milliseconds: its time in a queue.
    pub queued_ms: Option<f64>,
}

/// How this host looks from the relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NatFacts {
    /// The socket's own address.
    pub local: Option<SocketAddr>,
    /// As seen by the relay, one entry for each of its ports that was asked from that one socket.
    pub observed: Vec<ObservedAddress>,
}

/// This host's address as one port of the relay sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedAddress {
    /// The relay's port.
    pub relay_port: u16,
    /// Where the question came from.
    pub address: SocketAddr,
}

/// The relay's certificate. Times are seconds since 1970-01-01 UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateFacts {
    /// The names it is issued for.
    pub names: Vec<String>,
    /// The name that was asked for.
    pub asked_name: String,
    /// Valid from.
    pub not_before_s: Option<i64>,
    /// Valid until.
    pub not_after_s: Option<i64>,
    /// Now, by this host's clock.
    pub now_s: Option<i64>,
    /// Whether it leads to an authority, or to the file, that this host trusts; its dates and names left aside.
    pub trusted: Option<bool>,
    /// Whether it is issued for the name that was asked for.
    pub name_matches: Option<bool>,
    /// What decides trust: a file's path, or this machine's certificate authorities.
    pub trust_source: Option<String>,
}
