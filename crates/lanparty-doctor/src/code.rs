//! The names of all findings. They are stable: scripts compare them, people search for them, and each is the name of its
//! page in docs/findings.

use std::fmt;

use serde::{Serialize, Serializer};

/// Makes the enum, the table of all of them and their names from one list, so that none can be forgotten.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The name of a finding. In the order in which causes come before consequences.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As users meet it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its page, whole (Markdown).
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../../docs/findings/", $name, ".md")),)* }
            }
        }
    };
}

codes! {
    /// This user may not make a TAP.
    MissingPermission = "missing-permission",
    /// The TAP driver is not there.
    NoTunDevice = "no-tun-device",
    /// No way out of this host.
    NoDefaultRoute = "no-default-route",
    /// The gateway's interface does not exist.
    LanInterfaceMissing = "lan-interface-missing",
    /// The gateway's interface is down or unplugged.
    LanInterfaceDown = "lan-interface-down",
    /// The gateway's interface is Wi-Fi.
    LanInterfaceWifi = "lan-interface-wifi",
    /// The gateway's interface is a port of a bridge.
    LanInterfaceBridgePort = "lan-interface-bridge-port",
    /// The gateway's interface is no LAN's: loopback, a tunnel's end, a bond's part, no Ethernet.
    LanInterfaceUnfit = "lan-interface-unfit",
    /// The gateway's interface is a port that a hypervisor made.
    LanInterfaceVmPort = "lan-interface-vm-port",
    /// The relay's name has no address.
    RelayNameUnresolved = "relay-name-unresolved",
    /// The relay's host says that nothing listens there.
    RelayPortClosed = "relay-port-closed",
    /// Nothing comes back by UDP.
    UdpBlocked = "udp-blocked",
    /// Less than QUIC's 1,200 bytes pass.
    PathBelowQuicMinimum = "path-below-quic-minimum",
    /// This host's clock is wrong.
    ClockWrong = "clock-wrong",
    /// The relay's certificate is too old.
    RelayCertificateExpired = "relay-certificate-expired",
    /// The relay's certificate is from the future.
    RelayCertificateNotYetValid = "relay-certificate-not-yet-valid",
    /// The relay's certificate leads to nobody trusted.
    RelayCertificateUntrusted = "relay-certificate-untrusted",
    /// The relay's certificate is for another name.
    RelayCertificateWrongName = "relay-certificate-wrong-name",
    /// UDP passes and QUIC does not.
    QuicHandshakeFailed = "quic-handshake-failed",
    /// One of the relay's addresses does not answer.
    RelayAddressDead = "relay-address-dead",
    /// The MTU of WSL2's interface is too small.
    WslEth0Mtu = "wsl-eth0-mtu",
    /// The MTU of the uplink is too small.
    UplinkMtuSmall = "uplink-mtu-small",
    /// The way to the relay leads through another tunnel.
    UplinkIsTunnel = "uplink-is-tunnel",
    /// Packets above some size vanish.
    PathBlackHole = "path-black-hole",
    /// Packet-too-big messages do not arrive.
    IcmpFiltered = "icmp-filtered",
    /// IP fragments do not arrive.
    FragmentsDropped = "fragments-dropped",
    /// An MTU was asked for that the path does not carry.
    MtuFlagTooLarge = "mtu-flag-too-large",
    /// The LAN MTU is below IPv6's 1,280.
    Ipv6NeedsLargerPath = "ipv6-needs-larger-path",
    /// UDP is lost at a modest rate.
    UdpThrottled = "udp-throttled",
    /// The line is slower than a modest rate.
    BandwidthLow = "bandwidth-low",
    /// Packets are lost.
    PathLossy = "path-lossy",
    /// The round trip is long.
    PathSlow = "path-slow",
    /// The NAT gives a new address to each destination.
    NatMappingVaries = "nat-mapping-varies",
    /// Sizes could not be measured.
    ProbeServiceMissing = "probe-service-missing",
    /// There was no time for all measurements.
    MeasurementIncomplete = "measurement-incomplete",
    /// A program of ours on this machine runs and says nothing.
    ProgramNotAnswering = "program-not-answering",
    /// An uplink of a bond carries nothing.
    UplinkWithoutPath = "uplink-without-path",
    /// Two uplinks of a bond are the same line.
    UplinksOnOneLine = "uplinks-on-one-line",
    /// The uplinks of a bond take packets of very different size.
    UplinkMtusDiffer = "uplink-mtus-differ",
    /// Nobody bridges a LAN into the room.
    NoGatewayInRoom = "no-gateway-in-room",
    /// The client here is a part of a loop.
    LoopBlocked = "loop-blocked",
    /// Two members bridge the same LAN.
    TwoGatewaysOnOneLan = "two-gateways-on-one-lan",
    /// More than one DHCP server answers.
    TwoDhcpServers = "two-dhcp-servers",
    /// Two machines use one identity.
    DuplicateIdentity = "duplicate-identity",
    /// Two machines use one MAC address.
    DuplicateMac = "duplicate-mac",
    /// This host never asked for a lease.
    DhcpStoppedAtTap = "dhcp-stopped-at-tap",
    /// The relay did not pass the question on.
    DhcpStoppedAtRelay = "dhcp-stopped-at-relay",
    /// The gateway did not receive the question.
    DhcpStoppedAtGateway = "dhcp-stopped-at-gateway",
    /// The gateway did not write the question on its LAN.
    DhcpStoppedAtWire = "dhcp-stopped-at-wire",
    /// No DHCP server answered on the LAN.
    DhcpServerSilent = "dhcp-server-silent",
    /// The gateway did not send the answer up.
    DhcpOfferStoppedAtGateway = "dhcp-offer-stopped-at-gateway",
    /// The relay did not pass the answer on.
    DhcpOfferStoppedAtRelay = "dhcp-offer-stopped-at-relay",
    /// The answer did not reach this host's TAP.
    DhcpOfferStoppedAtTap = "dhcp-offer-stopped-at-tap",
    /// A DHCP server refuses this host.
    DhcpRefused = "dhcp-refused",
    /// This host does not use the address that it was given.
    DhcpAnswerUnused = "dhcp-answer-unused",
    /// A search for games got no answer.
    DiscoveryUnanswered = "discovery-unanswered",
}

impl Code {
    /// Everything that is learnt of UDP on the way to the relay: meaningless where none passes.
    pub(crate) const BEHIND_UDP: &[Self] = &[
        Self::PathBelowQuicMinimum,
        Self::QuicHandshakeFailed,
        Self::RelayAddressDead,
        Self::PathBlackHole,
        Self::IcmpFiltered,
        Self::FragmentsDropped,
        Self::MtuFlagTooLarge,
        Self::UdpThrottled,
        Self::BandwidthLow,
        Self::PathLossy,
        Self::PathSlow,
        Self::NatMappingVaries,
        Self::ProbeServiceMissing,
        Self::MeasurementIncomplete,
    ];

    /// Everything that is learnt by talking to the relay: meaningless when that fails.
    pub(crate) const BEHIND_THE_RELAY: &[Self] = &[
        Self::PathBelowQuicMinimum,
        Self::ClockWrong,
        Self::RelayCertificateExpired,
        Self::RelayCertificateNotYetValid,
        Self::RelayCertificateUntrusted,
        Self::RelayCertificateWrongName,
        Self::QuicHandshakeFailed,
        Self::RelayAddressDead,
        Self::PathBlackHole,
        Self::IcmpFiltered,
        Self::FragmentsDropped,
        Self::MtuFlagTooLarge,
        Self::Ipv6NeedsLargerPath,
        Self::UdpThrottled,
        Self::BandwidthLow,
        Self::PathLossy,
        Self::PathSlow,
        Self::NatMappingVaries,
        Self::ProbeServiceMissing,
        Self::MeasurementIncomplete,
        Self::NoGatewayInRoom,
        Self::LoopBlocked,
        Self::TwoGatewaysOnOneLan,
        Self::TwoDhcpServers,
        Self::DuplicateMac,
        Self::DuplicateIdentity,
        Self::DhcpStoppedAtRelay,
        Self::DhcpStoppedAtGateway,
        Self::DhcpStoppedAtWire,
        Self::DhcpServerSilent,
        Self::DhcpOfferStoppedAtGateway,
        Self::DhcpOfferStoppedAtRelay,
        Self::DhcpOfferStoppedAtTap,
        Self::DhcpRefused,
        Self::DhcpAnswerUnused,
        Self::DiscoveryUnanswered,
    ];

    /// Every way in which DHCP can fail.
    pub(crate) const DHCP: &[Self] = &[
        Self::DhcpStoppedAtTap,
        Self::DhcpStoppedAtRelay,
        Self::DhcpStoppedAtGateway,
        Self::DhcpStoppedAtWire,
        Self::DhcpServerSilent,
        Self::DhcpOfferStoppedAtGateway,
        Self::DhcpOfferStoppedAtRelay,
        Self::DhcpOfferStoppedAtTap,
        Self::DhcpRefused,
        Self::DhcpAnswerUnused,
    ];

    /// Its page, from the root of the documentation.
    #[must_use]
    pub fn page(self) -> String {
        format!("docs/findings/{self}.md")
    }
}

/// This is the name of no finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCode;

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no finding of this name")
    }
}

impl std::error::Error for UnknownCode {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
