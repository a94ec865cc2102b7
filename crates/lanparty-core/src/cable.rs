//! A cable: two ends without a relay. What may pass, what becomes of frames that are too large, which LAN MTU both ends
//! use, and which of two connections stays.
//!
//! The walk of a frame is the member's, with "the other end" where the switch was: [`CableOutbound`] holds stations 2
//! and 3, [`CableInbound`] station 10.

mod contact;
mod guard;
mod inbound;
mod loops;
mod mtu;
mod outbound;
mod tags;

use lanparty_proto::{LanMtu, MemberId};

pub use contact::Contact;
pub use guard::CableGuard;
pub use inbound::CableInbound;
pub use loops::{CableLoops, LoopNews, LoopReport};
pub use mtu::CableMtu;
pub use outbound::CableOutbound;

/// A cable that is plugged in, as one of its ends sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CableEnd {
    /// This end's number: in the header of every datagram that it sends.
    pub own: MemberId,
    /// The other end's.
    pub peer: MemberId,
    /// The LAN MTU that both use.
    pub lan_mtu: LanMtu,
}

impl CableEnd {
    /// The number of the end that dialled.
    const DIALLED: MemberId = MemberId(1);
    /// The number of the end that was dialled.
    const ANSWERED: MemberId = MemberId(2);

    /// The end that dialled, or the one that answered.
    #[must_use]
    pub const fn new(has_dialled: bool, lan_mtu: LanMtu) -> Self {
        let (own, peer) = if has_dialled { (Self::DIALLED, Self::ANSWERED) } else { (Self::ANSWERED, Self::DIALLED) };
        Self { own, peer, lan_mtu }
    }
}
