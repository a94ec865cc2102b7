//! Bytes to meaning, and back: what an Ethernet frame is, what a datagram carries, what the control stream says,
//! which sizes a room promises, and which frames are admitted.
//!
//! Pure: no clock, no socket, no thread. Everything here takes bytes and returns values, so that the client, the
//! gateway, the relay, the simulator and the fuzzer all call the same functions.

#![deny(clippy::indexing_slicing, clippy::iter_over_hash_type)]

mod admission;
mod arp;
mod batch;
mod checksum;
mod class;
mod control;
#[cfg(feature = "corpus")]
pub mod corpus;
mod drop_reason;
mod echo;
mod flow;
mod frame;
mod header;
mod headers;
mod ids;
mod loop_probe;
mod mss;
mod mtu;
mod mtu_option;
mod multicast;
mod oversize;
mod packet;
mod probe;
mod purpose;
mod sight;
mod trial;

pub use admission::{AdmissionPolicy, Source, admit};
pub use arp::Arp;
pub use batch::FrameBatch;
pub use checksum::Checksum;
pub use class::TrafficClass;
pub use control::{
    AddressRequest, AssignedAddresses, Attach, BondPath, BondRole, CANDIDATES_MAX, CONTROL_MESSAGE_LEN_MAX, CableAttach, CableHello,
    Control, ControlDecoder, ControlError, DESCRIPTION_LEN_MAX, Described, Description, GROUPS_MAX, Hello, Login, MemberInfo, Move,
    OWN_NETWORKS_MAX, PASSWORD_LEN_MAX, PROTOCOL_VERSION, Password, PeerHello, PeerPath, Refusal, Role, TrialStep, Welcome,
    control_from_json, control_to_json, encode_control, is_private_network,
};
pub use drop_reason::{Direction, DropReason};
pub use echo::{Echo, GatewaySign, MemberFrame};
pub use flow::Flow;
pub use frame::Frame;
pub use header::{
    ASKED_MAX, DATAGRAM_HEADER_LEN, DatagramHeader, SEQUENCE_FLOWS, SEQUENCE_LEN, Sequence, ask_again, asked_again, end_of_way,
    is_end_of_way, is_padding, padding,
};
pub use headers::{Headers, IpHeaders, Part};
pub use ids::{IdentityId, InvalidIdentity, InvalidMac, InvalidRoomCode, MacAddr, MemberId, RoomCode};
pub use loop_probe::{LoopProbe, PortName, PortRank};
pub use mss::clamp_mss;
pub use mtu::{DatagramBudget, ETHERNET_HEADER_LEN, IPV6_LAN_MTU_MIN, LAN_MTU_MAX, LAN_MTU_MIN, LanMtu, SizeVerdict, WireMtu, frame_fits};
pub use mtu_option::lower_told_mtu;
pub use multicast::{GroupChange, GroupKind, GroupQuery, Listening, MulticastPolicy, MulticastUse};
pub use oversize::{forbids_fragments, fragment_ipv4, ip_ends, is_intact, packet_too_big, trim};
pub use packet::ethertype;
pub use probe::{PROBE_LEN_MAX, PROBE_LEN_MIN, ProbeAnswer, ProbeCookie, ProbeQuestion};
pub use purpose::Purpose;
pub use sight::{DhcpAnswer, DhcpSights, Ports, Sight};
pub use trial::{TrialDatagram, TrialPart};
