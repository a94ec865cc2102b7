//! Why a frame was dropped. A drop is a value with a name and a counter, never an error.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a frame was dropped; spelled as users grep it (docs/first-lan.md says what to do about each).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// Every reason, in declaration order: counters are registered from this list, at zero.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason as logs and counters spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// One sentence for the person who found it in a log.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+)),+ }
            }
        }
    };
}

drop_reasons! {
    /// The bytes are no frame, no datagram, or a packet whose lengths contradict each other.
    Malformed,
    /// The source MAC address is multicast, broadcast or zero (IEEE 802.3 §3.2.3).
    InvalidSourceMac,
    /// The source MAC address is not the one this member announced and the relay accepted.
    UnauthorizedSourceMac,
    /// Link-local control traffic of the LAN: spanning tree, LLDP, CDP, EAPOL, LACP, pause, and all LLC;
    /// or a frame between members that is not for this one.
    ControlPlaneEtherType,
    /// The frame carries an 802.1Q, 802.1ad or 802.1ah tag.
    VlanTaggedFrame,
    /// A member that is not the gateway answered as a DHCP server (IPv4 or IPv6).
    DhcpServerReply,
    /// A member that is not the gateway announced itself as an IPv6 router.
    Ipv6RouterAdvertisement,
    /// Neighbour discovery inside an IPv6 fragment (RFC 6980).
    Ipv6Fragment,
    /// An IPv6 header chain that cannot be followed to its end (RFC 7112, RFC 7113).
    Ipv6Chain,
    /// A member that is not the gateway sent an ICMPv6 redirect.
    Ipv6Redirect,
    /// Neighbour discovery with a hop limit other than 255 (RFC 4861 §7.1).
    BadNd,
    /// Neighbour discovery that names another member's link-layer address.
    NdSpoof,
    /// ARP that names another member's hardware address.
    ArpSpoof,
    /// The frame is larger than the room's LAN MTU.
    TapMtuExceeded,
    /// The frame is within the LAN MTU but does not fit this path's datagram now.
    DatagramBudget,
    /// Nobody in the room has this destination.
    UnknownDestination,
    /// The member's rate limit is used up.
    RateLimit,
    /// The bandwidth that the relay's operator gives the room is used up.
    RoomRateLimit,
    /// A frame came back from the LAN that a remote member had sent into it.
    HairpinLoop,
    /// A LAN leads back to this port another way, so one of the ports on the loop carries nothing; or the frame is a probe that
    /// has come round.
    Loop,
    /// The source MAC address moves between both sides too often: it is believed only where it was first (RFC 7432 §15.1).
    MacMoves,
    /// The queue toward this member or device was full and the oldest frame made room, or the frame waited there for too long.
    QueueFull,
    /// Its flow kept the queue toward this member too long for too long: the loss tells its sender to slow down (RFC 8289).
    QueueDelay,
    /// There is no connection to the relay, or no LAN behind the gateway, at this moment.
    LinkDown,
    /// The sender of this datagram is no member of the room.
    UnknownSender,
    /// The operating system refused to take or give the frame.
    DeviceError,
    /// This host's own traffic filter drops it (`--filter-rule`, `--filter`); `lanparty filter check` says by which rule.
    Filtered,
    /// Multicast that does not pass: the room's policy or this host's own (`--multicast`) leaves the group out, or nobody has joined it.
    Multicast,
    /// A member that is not the gateway spoke as a multicast router: an IGMP or MLD query, or an advertisement (RFC 4286).
    MulticastQuery,
    /// A packet from an IP address that is not this machine's, or for one, and of no network that it routes for (`--route-from`).
    ForeignAddress,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way a frame crosses a node, as logs spell it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Direction {
    /// Client: from its TAP toward the relay.
    TapToRelay,
    /// Client: from the relay toward its TAP.
    RelayToTap,
    /// Gateway: from its LAN toward the room.
    LanToRemote,
    /// Gateway: from the room toward its LAN.
    RemoteToLan,
    /// Relay: from a member toward the others.
    MemberToRoom,
    /// Cable: from this end's TAP toward the other end.
    TapToCable,
    /// Cable: from the other end toward this end's TAP.
    CableToTap,
}

impl Direction {
    /// The direction as logs and counters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TapToRelay => "TapToRelay",
            Self::RelayToTap => "RelayToTap",
            Self::LanToRemote => "LanToRemote",
            Self::RemoteToLan => "RemoteToLan",
            Self::MemberToRoom => "MemberToRoom",
            Self::TapToCable => "TapToCable",
            Self::CableToTap => "CableToTap",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
