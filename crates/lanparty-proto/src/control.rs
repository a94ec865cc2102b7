//! The control stream: length-delimited JSON messages, one bidirectional stream per connection (docs/wire-format.md §3).
//!
//! Unknown fields are ignored and unknown messages decode as [`Control::Unknown`], so that either side may be newer.
//! Sizes are bounded here; what a message means is decided in `lanparty-core`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{DatagramBudget, DhcpSights, IdentityId, LanMtu, MacAddr, MemberId, MulticastPolicy, RoomCode};

mod address;
mod bond;
mod cable;
mod introduction;
mod peer;

pub use address::{AddressRequest, AssignedAddresses, OWN_NETWORKS_MAX, is_private_network};
pub use bond::{Attach, BondPath, BondRole, TrialStep};
pub use cable::{CableAttach, CableHello};
pub use introduction::{DESCRIPTION_LEN_MAX, Described, Description, Login, PASSWORD_LEN_MAX, Password};
pub use peer::{PeerHello, PeerPath};

/// Version of the protocol spoken after ALPN `lanparty/1`. A relay refuses another one with words.
pub const PROTOCOL_VERSION: u16 = 1;
/// Longest control message, in bytes, without its length prefix. A room of 200 members is listed in less.
pub const CONTROL_MESSAGE_LEN_MAX: usize = 64 * 1024;
/// Most addresses at which one member may be tried (THREATS A18).
pub const CANDIDATES_MAX: usize = 8;
/// Multicast groups of one member that are told apart; who listens to more gets all (THREATS A20).
pub const GROUPS_MAX: usize = 64;
const LEN_PREFIX: usize = 4;

/// What a member is in its room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Role {
    /// Bridges a physical LAN; its frames come from many MAC addresses.
    Gateway,
    /// One host with one virtual MAC address.
    Client,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gateway => "Gateway",
            Self::Client => "Client",
        })
    }
}

/// A member as the relay announces it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemberInfo {
    /// Its number in this room.
    pub id: MemberId,
    /// What it is.
    pub role: Role,
    /// Client: the only source MAC address it may use. Gateway: its interface's own.
    pub mac: MacAddr,
    /// Gateway: whether its LAN has a carrier. Always true for clients.
    #[serde(default = "yes")]
    pub lan_up: bool,
    /// What the way to it takes for now, when that is below the room's LAN MTU (see [`Control::PathMtu`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<LanMtu>,
    /// What it calls itself; a welcome does not say it, [`Control::Descriptions`] does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
}

impl MemberInfo {
    /// What it calls itself, to follow its address in a sentence; nothing when it says nothing.
    #[must_use]
    pub fn in_words(&self) -> String {
        self.description.as_ref().map_or_else(String::new, |said| format!(", calls itself \"{said}\""))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_no(value: &bool) -> bool {
    !value
}

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
    #[serde(default = "yes")]
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
    #[serde(default, skip_serializing_if = "is_no")]
    pub joins_lans: bool,
    /// Gateway: it has listened on its LAN for as long as the sign of any other one takes.
    #[serde(default, skip_serializing_if = "is_no")]
    pub has_listened: bool,
    /// What the path is to a bond, when further connections are going to [`Attach`] themselves to this one.
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
    /// Further connections may [`Attach`] themselves to this one.
    #[serde(default, skip_serializing_if = "is_no")]
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

/// What is wrong with a control stream. It ends the connection: after it the stream has no known message boundary.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The length prefix is above [`CONTROL_MESSAGE_LEN_MAX`].
    #[error("control message of {0} bytes, at most {CONTROL_MESSAGE_LEN_MAX} are allowed")]
    TooLong(usize),
    /// The message is no JSON of a known shape.
    #[error("control message not understood: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// A message as the stream carries it: four bytes of length, big-endian, then JSON.
///
/// # Panics
/// Never: every [`Control`] has a JSON form.
#[must_use]
pub fn encode_control(message: &Control) -> Vec<u8> {
    let mut out = vec![0; LEN_PREFIX];
    serde_json::to_writer(&mut out, message).expect("INVARIANT: every control message has a JSON form");
    let len = u32::try_from(out.len() - LEN_PREFIX).unwrap_or(u32::MAX);
    if let Some(prefix) = out.first_chunk_mut::<LEN_PREFIX>() {
        *prefix = len.to_be_bytes();
    }
    out
}

/// A message as JSON alone, for a transport that keeps messages apart by itself.
///
/// # Panics
/// Never: every [`Control`] has a JSON form.
#[must_use]
pub fn control_to_json(message: &Control) -> String {
    serde_json::to_string(message).expect("INVARIANT: every control message has a JSON form")
}

/// The message that [`control_to_json`] wrote.
///
/// # Errors
/// [`ControlError`] when it is too long, or no JSON of a known shape.
pub fn control_from_json(json: &str) -> Result<Control, ControlError> {
    if json.len() > CONTROL_MESSAGE_LEN_MAX {
        return Err(ControlError::TooLong(json.len()));
    }
    Ok(serde_json::from_str(json)?)
}

/// Cuts a byte stream into messages. Holds at most one unfinished message.
#[derive(Default)]
pub struct ControlDecoder {
    buffer: Vec<u8>,
}

impl ControlDecoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes read from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`ControlError`] when the stream cannot be followed any further.
    pub fn next_message(&mut self) -> Result<Option<Control>, ControlError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<LEN_PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > CONTROL_MESSAGE_LEN_MAX {
            return Err(ControlError::TooLong(len));
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.buffer.drain(..LEN_PREFIX + len);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Control {
        Control::Hello(Hello {
            version: PROTOCOL_VERSION,
            role: Role::Client,
            room: "ROOM1".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            budget: DatagramBudget(1404),
            software: "test".into(),
            lan_up: true,
            resume: None,
            run: 7,
            hears: vec![],
            joins_lans: false,
            has_listened: false,
            bond: None,
            addresses: None,
            description: Description::default(),
            login: None,
        })
    }

    #[test]
    fn messages_survive_a_stream_cut_anywhere() {
        let bye = Control::Bye { reason: "done".into() };
        let stream = [encode_control(&hello()), encode_control(&bye)].concat();
        let (mut decoder, mut got) = (ControlDecoder::new(), vec![]);
        for byte in stream {
            decoder.extend(&[byte]);
            while let Some(message) = decoder.next_message().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got, [hello(), bye]);
    }

    #[test]
    fn unknown_fields_and_messages_are_ignored() {
        let mut decoder = ControlDecoder::new();
        for json in [r#"{"type":"Bye","reason":"x","more":[1]}"#, r#"{"type":"Sing","song":1}"#] {
            decoder.extend(&u32::try_from(json.len()).unwrap().to_be_bytes());
            decoder.extend(json.as_bytes());
        }
        assert_eq!(decoder.next_message().unwrap(), Some(Control::Bye { reason: "x".into() }));
        assert_eq!(decoder.next_message().unwrap(), Some(Control::Unknown));
    }

    #[test]
    fn a_message_survives_as_json_alone_and_is_bounded_there_too() {
        assert_eq!(control_from_json(&control_to_json(&hello())).unwrap(), hello());
        assert_eq!(control_from_json(r#"{"type":"Sing","song":1}"#).unwrap(), Control::Unknown);
        assert!(matches!(control_from_json("{"), Err(ControlError::Syntax(_))));
        let long = Control::Notice { message: "x".repeat(CONTROL_MESSAGE_LEN_MAX) };
        assert!(matches!(control_from_json(&control_to_json(&long)), Err(ControlError::TooLong(_))));
    }

    #[test]
    fn a_member_without_a_bond_says_little_and_is_understood() {
        let hello = PeerHello { version: PROTOCOL_VERSION, uplink: None, lines: 1 };
        assert_eq!(control_from_json(r#"{"type":"PeerHello","version":1}"#).unwrap(), Control::PeerHello(hello));
        let path = PeerPath { run: 7, begins: false, heard: 3 };
        assert_eq!(control_to_json(&Control::PeerPath(path)), r#"{"type":"PeerPath","run":7,"heard":3}"#);
        assert_eq!(control_from_json(r#"{"type":"PeerPath","run":7,"heard":3}"#).unwrap(), Control::PeerPath(path));
        assert!(control_from_json(r#"{"type":"PeerPath","heard":3}"#).is_err(), "a path of no link");
    }

    #[test]
    fn a_length_above_the_limit_ends_the_stream_at_once() {
        let mut decoder = ControlDecoder::new();
        decoder.extend(&u32::MAX.to_be_bytes());
        assert!(matches!(decoder.next_message(), Err(ControlError::TooLong(_))));
    }
}
