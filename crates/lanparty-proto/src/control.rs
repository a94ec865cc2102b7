//! The control stream: length-delimited JSON messages, one bidirectional stream per connection (docs/wire-format.md §3).
//!
//! Unknown fields are ignored and unknown messages decode as [`Control::Unknown`], so that either side may be newer.
//! Sizes are bounded here; what a message means is decided in `lanparty-core`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{DatagramBudget, DhcpSights, IdentityId, LanMtu, MacAddr, MemberId, MulticastPolicy};

mod address;
mod bond;
mod cable;
mod introduction;
mod join;
mod member;
mod peer;
mod stream;

pub use address::{AddressRequest, AssignedAddresses, OWN_NETWORKS_MAX, is_private_network};
pub use bond::{Attach, BondPath, BondRole, TrialStep};
pub use cable::{CableAttach, CableHello};
pub use introduction::{DESCRIPTION_LEN_MAX, Described, Description, Login, PASSWORD_LEN_MAX, Password};
pub use join::{Hello, Move, Refusal, Welcome};
pub use member::{MemberInfo, Role};
pub use peer::{PeerHello, PeerPath};
pub use stream::{CONTROL_MESSAGE_LEN_MAX, ControlDecoder, ControlError, control_from_json, control_to_json, encode_control};

/// Version of the protocol spoken after ALPN `lanparty/1`. A relay refuses another one with words.
pub const PROTOCOL_VERSION: u16 = 1;
/// Most addresses at which one member may be tried (THREATS A18).
pub const CANDIDATES_MAX: usize = 8;
/// Multicast groups of one member that are told apart; who listens to more gets all (THREATS A20).
pub const GROUPS_MAX: usize = 64;

/// Every message of the control stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Control {
    /// Member to relay: let me in.
    Hello(Hello),
    /// Member to relay: this connection carries me from now on.
    Move(Move),
    /// Member to relay: this connection carries me as well.
    Attach(Attach),
    /// An end of a cable to the other: this connection carries the cable as well.
    CableAttach(CableAttach),
    /// Relay to member, or an end of a cable to the other: it does.
    Attached {
        /// So many numbered messages came from the member.
        heard: u32,
    },
    /// Either way, on every connection of a bond: a message that counts once.
    Numbered {
        /// Its number, from 0.
        n: u32,
        /// The message.
        message: Box<Control>,
    },
    /// Member to relay: a path is used for something else from now on.
    PathRole(BondPath),
    /// Either way: a path brings nothing any more, send nothing there until it answers again.
    PathDown {
        /// Its number at the member.
        path: u8,
    },
    /// Relay to member, on a bond: what comes by a path comes from this address.
    PathSeenAt {
        /// Its number at the member.
        path: u8,
        /// Where the relay sees it.
        address: SocketAddr,
    },
    /// Member to relay, on a bond: about a test of it. Each is answered.
    Trial {
        /// Which test, a random number.
        test: u32,
        /// What is asked.
        step: TrialStep,
    },
    /// Relay to member: the answer.
    TrialAnswer {
        /// Which test.
        test: u32,
        /// Why it is not done, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
        /// Bytes of the test's loads that have arrived.
        #[serde(default)]
        received: u64,
        /// When that was, in microseconds from the beginning.
        #[serde(default)]
        at_us: u64,
    },
    /// Relay to member: you are in, or moved.
    Welcome(Welcome),
    /// Relay to member: you are not, or no longer, in.
    Refused {
        /// Stable code.
        code: Refusal,
        /// The reason in words, and what to do.
        message: String,
    },
    /// Relay to members: somebody joined, or joined anew.
    MemberJoined {
        /// Who.
        member: MemberInfo,
    },
    /// Relay to member, behind a welcome: what the others call themselves. Those of a large room come in several messages.
    Descriptions {
        /// The members that say something.
        members: Vec<Described>,
    },
    /// Relay to members: somebody is gone.
    MemberLeft {
        /// Who.
        id: MemberId,
        /// Why, in words.
        reason: String,
    },
    /// Relay to members: the room's LAN MTU changed.
    LanMtu {
        /// The LAN MTU from now on.
        mtu: LanMtu,
        /// The member whose path keeps it that small, when it is one of them.
        #[serde(default)]
        limited_by: Option<MemberId>,
    },
    /// Relay to members, also to the one it is about: the way to one of them takes less than the room's LAN MTU for now, or takes all
    /// of it again.
    /// Comes sooner than a new LAN MTU, and without one when the path recovers.
    PathMtu {
        /// Whose path.
        id: MemberId,
        /// The largest IP packet that reaches it; nothing when the LAN MTU does.
        mtu: Option<LanMtu>,
    },
    /// Member to relay: my path's budget changed.
    Budget {
        /// Largest datagram my path takes.
        budget: DatagramBudget,
    },
    /// Gateway to relay, relay to members: the LAN behind the gateway went down or came back.
    LanState {
        /// Whether its Ethernet has a carrier.
        up: bool,
        /// Relay to members: which gateway's; of all when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MemberId>,
    },
    /// Member to relay, relay to gateways: how far did the DHCP of this member come at your place? A client may ask about itself
    /// only.
    AskSightings {
        /// The client's MAC address.
        mac: MacAddr,
    },
    /// The answer: gateway to relay, relay to the member that asked.
    Sightings {
        /// The client's MAC address.
        mac: MacAddr,
        /// The gateway that answers; nothing for the relay itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<MemberId>,
        /// What it saw of that client's DHCP.
        dhcp: DhcpSights,
        /// Gateway: whether its LAN has a machine with that MAC address as well.
        #[serde(default)]
        is_on_lan: bool,
        /// Gateway: interface addresses of other gateways that bridge its LAN.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        other_gateways: Vec<MacAddr>,
    },
    /// Member to relay: another machine in the room uses the address that I was assigned.
    AddressTaken {
        /// That address.
        address: Ipv4Addr,
        /// The other machine.
        by: MacAddr,
    },
    /// Gateway that asked for an address in its hello to relay: a machine that speaks DHCP asks for one of the room's addresses.
    AskLease {
        /// The machine's MAC address.
        mac: MacAddr,
        /// The address that it would like, or has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wanted: Option<Ipv4Addr>,
        /// It takes the address that it asks for; else it shall be offered one.
        #[serde(default, skip_serializing_if = "is_no")]
        takes: bool,
    },
    /// The answer.
    Lease {
        /// The machine's MAC address.
        mac: MacAddr,
        /// As asked.
        #[serde(default, skip_serializing_if = "is_no")]
        takes: bool,
        /// Its address. Who wanted to take another one does not have that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Net>,
        /// Why there is none, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Gateway to relay: the machine found that another one uses the address that it was offered.
    LeaseTaken {
        /// The machine's MAC address.
        mac: MacAddr,
        /// That address.
        address: Ipv4Addr,
    },
    /// Client to relay, relay to gateways: its machine listens to these multicast groups, and no others but those that everybody gets.
    /// Until a client says so it gets them all.
    Groups {
        /// Relay to gateways: whose they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MemberId>,
        /// At most [`GROUPS_MAX`]; all there are, when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<IpAddr>>,
    },
    /// Relay to members: the room carries this multicast from now on.
    Multicast {
        /// Which.
        policy: MulticastPolicy,
    },
    /// Relay to member: use these from now on.
    Addresses(AssignedAddresses),
    /// Member to relay: other members may try to reach me at these addresses of mine. Replaces what was said before.
    Candidates {
        /// At most [`CANDIDATES_MAX`] count.
        addresses: Vec<SocketAddr>,
    },
    /// Relay to member: try to reach this member directly, now. It is told the same of you.
    PeerAt {
        /// Which member.
        id: MemberId,
        /// The key that it proves.
        identity: IdentityId,
        /// Where: as the relay sees it first, then as it sees itself.
        addresses: Vec<SocketAddr>,
    },
    /// Between members, either way, first on a connection between them.
    PeerHello(PeerHello),
    /// Between members: this connection is a path of their direct link. The answer is [`Control::Attached`] or [`Control::Refused`].
    PeerPath(PeerPath),
    /// Between members, on a numbered direct link: so many lines carry my frames to the relay now.
    PeerLines {
        /// How many.
        lines: u8,
    },
    /// Relay to gateway, in place of a welcome: not in the room, but it will be when the one that is has gone. The welcome comes on this
    /// connection.
    Standby {
        /// The room's gateway.
        behind: MemberId,
        /// Its interface's address, with which it gives its sign.
        mac: MacAddr,
    },
    /// Relay to gateway: so many others stand by behind it, and wait for its signs.
    Standbys {
        /// How many.
        count: u16,
    },
    /// Gateway that stands by to relay: the room's gateway gives no sign any more.
    GatewaySilent,
    /// Gateway to relay: that other gateway of the room gives its sign on this one's LAN, so their LANs are one. Said by the one with
    /// the higher number.
    SameLan {
        /// The other one.
        gateway: MemberId,
    },
    /// Relay to member: something its owner should know, in words.
    Notice {
        /// The words.
        message: String,
    },
    /// Cable, either way: the first message.
    CableHello(CableHello),
    /// Cable, either way: this end carries nothing from now on because its LAN leads back to it another way, or carries again. Client to
    /// relay: the same, because its interface is bridged to the gateway's LAN; the gateway reads the words.
    Loop {
        /// Whether it carries nothing.
        blocked: bool,
        /// What happened, for people.
        message: String,
    },
    /// Either way: I am leaving.
    Bye {
        /// Why, in words.
        reason: String,
    },
    /// A message of a newer version: ignored.
    #[serde(other)]
    Unknown,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_no(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests;
