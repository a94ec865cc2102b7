//! The kinds of NAT in the terms of RFC 4787, and what two households can have of each other.

use std::fmt;

/// How a household's packets reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// No NAT and no firewall: the host has a public address.
    Open,
    /// One external port for every destination, and anybody may answer to it (RFC 3489 §5).
    FullCone,
    /// One external port for every destination; only whom the host wrote to may answer, from the port it wrote to. Most home routers.
    PortRestricted,
    /// The same twice in a row, with 100.64.0.0/10 between (RFC 6598): the provider has a NAT as well.
    Carrier,
    /// Another external port for every destination; only that destination may answer.
    Symmetric,
}

/// Whether what a NAT does depends on the remote end (RFC 4787 §4.1, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// It is the same for every remote end.
    EndpointIndependent,
    /// It is for one remote address and port.
    AddressAndPortDependent,
}

impl NatKind {
    /// All of them, the most permissive first.
    pub const ALL: [Self; 5] = [Self::Open, Self::FullCone, Self::PortRestricted, Self::Carrier, Self::Symmetric];

    /// Does the external port depend on the destination?
    pub const fn mapping(self) -> Dependence {
        match self {
            Self::Open | Self::FullCone | Self::PortRestricted | Self::Carrier => Dependence::EndpointIndependent,
            Self::Symmetric => Dependence::AddressAndPortDependent,
        }
    }

    /// Does it depend on the sender whether a packet to the external port comes in?
    pub const fn filtering(self) -> Dependence {
        match self {
            Self::Open | Self::FullCone => Dependence::EndpointIndependent,
            Self::PortRestricted | Self::Carrier | Self::Symmetric => Dependence::AddressAndPortDependent,
        }
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::FullCone => "full cone",
            Self::PortRestricted => "port-restricted",
            Self::Carrier => "carrier",
            Self::Symmetric => "symmetric",
        })
    }
}

/// The best way between the hosts of two households.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// UDP from one to the other, when both begin at once.
    Direct,
    /// UDP by a relay only.
    Relay,
    /// No UDP: by a relay, over TCP.
    Stream,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Stream => "stream",
        })
    }
}

/// What two households whose UDP passes can have of each other by IPv4: each learns the other's external address from a third party,
/// both send there at once, and each answers where it is heard from. No ports are guessed.
pub const fn expected(a: NatKind, b: NatKind) -> Class {
    use NatKind::{Carrier, FullCone, Open, PortRestricted, Symmetric};
    match (a, b) {
        // Whoever lets everybody in hears the other from whatever port, and answers there.
        (Open | FullCone, _) | (_, Open | FullCone) => Class::Direct,
        // The port toward the other is not the one that the third party saw: the other's filter does not know it.
        (Symmetric, _) | (_, Symmetric) => Class::Relay,
        // What each sends opens its own filter for the other.
        (PortRestricted | Carrier, PortRestricted | Carrier) => Class::Direct,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_can_have_does_not_depend_on_who_is_named_first() {
        for a in NatKind::ALL {
            for b in NatKind::ALL {
                assert_eq!(expected(a, b), expected(b, a), "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_name_is_padded_as_a_table_needs_it() {
        assert_eq!(format!("[{:10}|{:>7}]", NatKind::FullCone, Class::Relay), "[full cone |  relay]");
    }
}
