//! What can be known of a host, of the way to a relay, and of a room. Values only; units are in the names or the docs.

mod bond;
mod host;
mod relay;
mod room;

use serde::{Deserialize, Serialize};

pub use bond::BondUplink;
pub use host::{DefaultRoute, HostFacts, Interface, TunDevice, Unfit};
pub use relay::{
    AddressFacts, CertificateFacts, DirectionFacts, Measurement, NatFacts, ObservedAddress, QuicHandshake, RelayFacts, RttFacts,
    SizeFailure, SizeProbe, StreamFacts, ThrottleFacts, Uplink, Way,
};
pub use room::{DhcpTrace, Discovery, DiscoveryKind, Duplicate, MemberFacts, RoomFacts, Sighting};

/// Everything that was learnt in one examination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// This machine.
    pub host: HostFacts,
    /// The way to the relay, when one was asked for.
    pub relay: Option<RelayFacts>,
    /// The room, when one was asked for or a program here is in one.
    pub room: Option<RoomFacts>,
}
