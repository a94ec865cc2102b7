//! How a member comes into a room, or is carried by another connection, and why it is refused (docs/wire-format.md §4).

use serde::{Deserialize, Serialize};

use super::{AddressRequest, AssignedAddresses, BondPath, Description, Login, MemberInfo, PROTOCOL_VERSION, Role};
use crate::{DatagramBudget, LanMtu, MacAddr, MemberId, MulticastPolicy, RoomCode};

/// The first message of a member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u16,
    /// What it wants to be.
    pub role: Role,
    /// The room.
    pub room: RoomCode,
    /// Its MAC address (see [`MemberInfo::mac`]).
    pub mac: MacAddr,
    /// Largest datagram its path takes toward the relay.
    pub budget: DatagramBudget,
    /// Program and version, for the relay's log.
    #[serde(default)]
    pub software: String,
    /// Gateway: whether its LAN has a carrier.
    #[serde(default = "super::yes")]
    pub lan_up: bool,
    /// The number this member had before; given back when it is still free.
    #[serde(default)]
    pub resume: Option<MemberId>,
    /// A random number of this run of the program, for its later [`Move`]s; 0 when it makes none.
    #[serde(default)]
    pub run: u64,
    /// Gateway: interface addresses of the gateways that it hears on its LAN. One that hears the room's own may stand by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hears: Vec<MacAddr>,
    /// Gateway: its owner agrees that its LAN and those of other gateways become one.
    #[serde(default, skip_serializing_if = "super::is_no")]
    pub joins_lans: bool,
    /// Gateway: it has listened on its LAN for as long as the sign of any other one takes.
    #[serde(default, skip_serializing_if = "super::is_no")]
    pub has_listened: bool,
    /// What the path is to a bond, when further connections are going to [`Attach`](crate::Attach) themselves to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondPath>,
    /// It wants addresses of the relay. A gateway that does hands out others of the room's by DHCP, so that the room is one without a LAN
    /// that has addresses of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressRequest>,
    /// What it calls itself, for the others.
    #[serde(default, skip_serializing_if = "Description::is_empty")]
    pub description: Description,
    /// A user of a room that asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

impl Hello {
    /// A hello that leaves out all that it may: it says as much as one that is read without that.
    #[must_use]
    pub fn new(role: Role, room: RoomCode, mac: MacAddr, budget: DatagramBudget) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            role,
            room,
            mac,
            budget,
            software: String::new(),
            lan_up: true,
            resume: None,
            run: 0,
            hears: vec![],
            joins_lans: false,
            has_listened: false,
            bond: None,
            addresses: None,
            description: Description::default(),
            login: None,
        }
    }
}

/// The first message on a connection that takes the place of one that joined. What this message does not say stays as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u16,
    /// The room.
    pub room: RoomCode,
    /// [`Hello::run`] of the connection that joined: a copied identity on another machine cannot know it.
    pub run: u64,
    /// Largest datagram the new path takes toward the relay.
    pub budget: DatagramBudget,
    /// Do not move unless the way back takes larger ones than this.
    #[serde(default)]
    pub above: DatagramBudget,
}

/// The relay's answer to an accepted [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The relay's [`PROTOCOL_VERSION`].
    pub version: u16,
    /// The member's number in this room.
    pub member: MemberId,
    /// The room's LAN MTU now.
    pub lan_mtu: LanMtu,
    /// The member whose path keeps it that small, when it is one of them.
    #[serde(default)]
    pub limited_by: Option<MemberId>,
    /// Largest datagram from the relay to the new member, as the relay found.
    #[serde(default)]
    pub budget_down: Option<DatagramBudget>,
    /// Where the member was that had this identity until now, when this looks like another machine: it joined from another
    /// address, and did not ask for its number back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// Further connections may [`Attach`](crate::Attach) themselves to this one.
    #[serde(default, skip_serializing_if = "super::is_no")]
    pub bond: bool,
    /// The addresses that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AssignedAddresses>,
    /// Which multicast the room carries.
    #[serde(default)]
    pub multicast: MulticastPolicy,
    /// Everybody else in the room.
    pub members: Vec<MemberInfo>,
}

/// Why a relay refuses a member. The code is stable; the message is for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Another protocol version.
    Version,
    /// The room has a gateway already.
    SecondGateway,
    /// A member with this MAC address is in the room.
    DuplicateMac,
    /// The MAC address cannot be a member's: multicast, broadcast or zero.
    InvalidMac,
    /// The room, or the relay, is full.
    Full,
    /// Too many joins in a short time.
    TooManyJoins,
    /// The path is too small for the smallest LAN MTU.
    PathTooSmall,
    /// The same identity joined again from elsewhere; the newer connection stays.
    Replaced,
    /// Another gateway on the same LAN takes over, as this one's LAN has no carrier: join again, to stand by.
    StandBy,
    /// The relay's operator lets this member into no such room, if there is one.
    NotAllowed,
    /// The relay's operator allows no gateway in this room, or not this one.
    NoGateway,
    /// The user's password was changed: join again with the new one.
    LoginAgain,
    /// There is nothing to move: the relay restarted, or the membership ended. The connection that joined, if any, stays.
    NotMoved,
    /// The first message was no `Hello`.
    Protocol,
    /// A code of a newer relay.
    #[serde(other)]
    Other,
}
