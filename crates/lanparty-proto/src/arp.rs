//! ARP for IPv4 over Ethernet (RFC 826), as far as address conflicts are found by it (RFC 5227).

use std::net::Ipv4Addr;

use crate::packet::ethertype;
use crate::{Frame, MacAddr};

/// Hardware Ethernet, protocol IPv4, lengths six and four.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Who says what of which address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's address; 0.0.0.0 in a probe.
    pub sender: Ipv4Addr,
    /// The address that is asked for, or answered to.
    pub target: Ipv4Addr,
}

impl Arp {
    /// The ARP packet in a frame, when it is one.
    #[must_use]
    pub fn read(frame: &Frame<'_>) -> Option<Self> {
        if frame.ethertype() != ethertype::ARP {
            return None;
        }
        let rest = frame.payload().strip_prefix(&ETHERNET_IPV4)?;
        let (_operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_mac, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (_target_mac, rest) = rest.split_first_chunk::<6>()?;
        let target = rest.first_chunk::<4>()?;
        Some(Self { sender_mac: MacAddr(*sender_mac), sender: (*sender).into(), target: (*target).into() })
    }

    /// Asks whether anybody uses `address` (RFC 5227 §2.1.1), as a frame.
    #[must_use]
    pub fn probe(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
        request(mac, Ipv4Addr::UNSPECIFIED, address)
    }

    /// Says that `mac` uses `address` (RFC 5227 §2.3), as a frame.
    #[must_use]
    pub fn announcement(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
        request(mac, address, address)
    }

    /// Tells whoever asked with this packet that `mac` has the address, as a frame.
    #[must_use]
    pub fn answer(&self, mac: MacAddr) -> Vec<u8> {
        frame(self.sender_mac, mac, REPLY, self.target, (self.sender_mac, self.sender))
    }
}

fn request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    frame(MacAddr::BROADCAST, mac, REQUEST, sender, (MacAddr([0; 6]), target))
}

fn frame(to: MacAddr, mac: MacAddr, operation: [u8; 2], sender: Ipv4Addr, target: (MacAddr, Ipv4Addr)) -> Vec<u8> {
    let (sender, target_mac, target) = (sender.octets(), target.0.0, target.1.octets());
    let ethernet = [&to.0[..], &mac.0, &ethertype::ARP.to_be_bytes()];
    let arp = [&ETHERNET_IPV4[..], &operation, &mac.0, &sender, &target_mac, &target];
    ethernet.into_iter().chain(arp).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdmissionPolicy, LanMtu, Source, admit};

    #[test]
    fn an_answer_names_who_has_the_address_to_whoever_asked() {
        let (asker, owner) = (MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 8]));
        let question = request(asker, Ipv4Addr::new(10, 128, 5, 7), Ipv4Addr::new(10, 128, 5, 9));
        let bytes = Arp::read(&Frame::parse(&question).unwrap()).unwrap().answer(owner);
        let frame = Frame::parse(&bytes).unwrap();
        let expected = Arp { sender_mac: owner, sender: Ipv4Addr::new(10, 128, 5, 9), target: Ipv4Addr::new(10, 128, 5, 7) };
        assert_eq!((Arp::read(&frame), frame.dst(), frame.src()), (Some(expected), asker, owner));
        assert_eq!(frame.payload()[6..8], REPLY);
    }

    #[test]
    fn a_probe_and_an_announcement_are_read_as_they_were_made_and_may_pass() {
        let (mac, address) = (MacAddr([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(10, 128, 5, 7));
        for (bytes, sender) in [(Arp::probe(mac, address), Ipv4Addr::UNSPECIFIED), (Arp::announcement(mac, address), address)] {
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(Arp::read(&frame), Some(Arp { sender_mac: mac, sender, target: address }));
            assert!(frame.dst().is_broadcast() && frame.src() == mac && bytes.len() == 42);
            assert!(admit(&bytes, Source::Client(mac), &AdmissionPolicy::new(LanMtu::MAX), None).is_ok());
            for len in 14..bytes.len() {
                assert_eq!(Arp::read(&Frame::parse(&bytes[..len]).unwrap()), None, "{len} bytes");
            }
        }
    }
}
