//! Which IP addresses a client speaks for: its machine's own, and the networks that it routes for. It sends from no other, and takes nothing
//! for any other: a machine that forwards by itself (containers, internet sharing) does not become the room's router unasked
//! (docs/routing.md, docs/decisions/0040).

use std::net::IpAddr;

use ipnet::IpNet;
use lanparty_proto::{DhcpAnswer, DropReason, Frame, Sight, ip_ends};

/// Addresses and networks of one machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnAddresses {
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
}

impl OwnAddresses {
    /// A machine that routes for these networks; its addresses are not known yet.
    #[must_use]
    pub fn routing_for(networks: Vec<IpNet>) -> Self {
        Self { addresses: vec![], networks }
    }

    /// The machine has these addresses now.
    pub fn set(&mut self, addresses: Vec<IpAddr>) {
        self.addresses = addresses;
    }

    /// Whether a packet in `frame` comes from here.
    ///
    /// # Errors
    /// [`DropReason::ForeignAddress`].
    pub fn may_send(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        match ip_ends(frame) {
            // Who has no address yet says so by the one that nobody has (RFC 2131 §4.1, RFC 4862 §5.4.2).
            Some((from, _)) if !from.is_unspecified() => self.covers(from),
            _ => Ok(()),
        }
    }

    /// Whether a packet in `frame` is for here. What is for many no machine forwards.
    ///
    /// # Errors
    /// [`DropReason::ForeignAddress`].
    pub fn may_receive(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        match ip_ends(frame) {
            Some((_, to)) if !frame.dst().is_group() && !to.is_multicast() => {
                let verdict = self.covers(to);
                // A server gives an address to a machine that does not have it yet.
                if verdict.is_err() && is_lease(frame) { Ok(()) } else { verdict }
            }
            _ => Ok(()),
        }
    }

    fn covers(&self, address: IpAddr) -> Result<(), DropReason> {
        let is_own = is_of_link(address) || self.addresses.contains(&address) || self.networks.iter().any(|net| net.contains(&address));
        if is_own { Ok(()) } else { Err(DropReason::ForeignAddress) }
    }
}

/// Addresses that no router forwards (RFC 3927 §2.7, RFC 4291 §2.5.6).
const fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_lease(frame: &Frame<'_>) -> bool {
    matches!(Sight::of(frame), Some(Sight::DhcpAnswer(client, DhcpAnswer::Offer | DhcpAnswer::Ack)) if client == frame.dst())
}

#[cfg(test)]
mod tests {
    use lanparty_proto::MacAddr;

    use super::*;

    fn packet(dst: MacAddr, from: &str, to: &str) -> Vec<u8> {
        let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let (kind, head) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ([8, 0], [&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0][..], &from.octets(), &to.octets()].concat())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ([0x86, 0xdd], [&[0x60, 0, 0, 0, 0, 0, 59, 64][..], &from.octets(), &to.octets()].concat())
            }
            _ => panic!("two families"),
        };
        [&dst.0[..], &[2, 0, 0, 0, 0, 1], &kind, &head].concat()
    }

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn own() -> OwnAddresses {
        let networks = vec!["192.168.50.0/24".parse().unwrap(), "fd00:50::/64".parse().unwrap()];
        let mut own = OwnAddresses::routing_for(networks);
        own.set(vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        own
    }

    #[test]
    fn packets_come_from_here_and_are_for_here_or_for_a_network_behind() {
        for (address, is_ours) in [
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("192.168.50.7", true),
            ("192.168.51.7", false),
            ("169.254.1.1", true),
            ("fd00::1", true),
            ("fd00::2", false),
            ("fd00:50::7", true),
            ("fe80::1", true),
        ] {
            let other = if address.contains(':') { "2001:db8::1" } else { "8.8.8.8" };
            let (out, into) = (packet(HOST, address, other), packet(HOST, other, address));
            let (out, into) = (Frame::parse(&out).unwrap(), Frame::parse(&into).unwrap());
            assert_eq!((own().may_send(&out).is_ok(), own().may_receive(&into).is_ok()), (is_ours, is_ours), "{address}");
            assert_eq!(
                (own().may_send(&into), own().may_receive(&out)),
                (Err(DropReason::ForeignAddress), Err(DropReason::ForeignAddress))
            );
        }
    }

    #[test]
    fn who_has_no_address_yet_asks_for_one_and_what_is_for_many_is_for_here_too() {
        for (dst, from, to) in [(MacAddr::BROADCAST, "0.0.0.0", "255.255.255.255"), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), "::", "ff02::1")] {
            let bytes = packet(dst, from, to);
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!((own().may_send(&frame), own().may_receive(&frame)), (Ok(()), Ok(())));
        }
        let directed = packet(MacAddr::BROADCAST, "10.0.0.2", "10.0.0.255");
        assert_eq!(own().may_receive(&Frame::parse(&directed).unwrap()), Ok(()));
        let arp = [&MacAddr::BROADCAST.0[..], &[2, 0, 0, 0, 0, 1], &[8, 6], &[0; 46]].concat();
        assert_eq!(own().may_send(&Frame::parse(&arp).unwrap()), Ok(()));
    }

    #[test]
    fn a_lease_reaches_a_machine_that_does_not_have_its_address_yet() {
        let mut message = vec![2, 1, 6, 0];
        message.resize(28, 0);
        message.extend(HOST.0);
        message.resize(240, 0);
        let len = u16::try_from(28 + message.len()).unwrap();
        let udp = [&[0, 67, 0, 68][..], &(len - 20).to_be_bytes(), &[0, 0], &message].concat();
        let mut frame = [&packet(HOST, "10.0.0.254", "10.0.0.77")[..], &udp].concat();
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        assert_eq!(own().may_receive(&Frame::parse(&frame).unwrap()), Ok(()));
        frame[14 + 20 + 3] = 69;
        assert_eq!(own().may_receive(&Frame::parse(&frame).unwrap()), Err(DropReason::ForeignAddress));
    }
}
