//! What is wrong with a network, in words: facts become findings, findings become a report.
//!
//! Pure: whoever can read this host, probe the way to a relay or listen in a room fills [`Facts`]; the rules here only
//! compare values. A fact that nobody could learn is `None`, and the unknown is never a finding.

#![deny(clippy::indexing_slicing, clippy::iter_over_hash_type)]

mod code;
mod facts;
mod finding;
mod ports;
mod report;
mod rules;
mod sizes;
mod words;

pub use code::{Code, UnknownCode};
pub use facts::{
    AddressFacts, BondUplink, CertificateFacts, DefaultRoute, DhcpTrace, DirectionFacts, Discovery, DiscoveryKind, Duplicate, Facts,
    HostFacts, Interface, Measurement, MemberFacts, NatFacts, ObservedAddress, QuicHandshake, RelayFacts, RoomFacts, RttFacts, Sighting,
    SizeFailure, SizeProbe, StreamFacts, ThrottleFacts, TunDevice, Unfit, Uplink, Way,
};
pub use finding::{Finding, Severity};
pub use ports::discovery_kind;
pub use report::{Hidden, NotExamined, Report, examine};
pub use rules::{blocked_cable_finding, mtu_flag_finding, room_findings, uplink_findings};
