//! What a frame shows about DHCP and about searches, for whoever follows them through a room (`lanparty doctor --room`).

use serde::{Deserialize, Serialize};

use crate::packet::{Ipv4Packet, Ipv6Packet, Udp, ethertype, protocol};
use crate::{Frame, MacAddr};

/// BOOTP ports (RFC 2131 §4.1).
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
/// Offset of the client's hardware address in a BOOTP message (RFC 951 §3).
const CHADDR: usize = 28;
/// BOOTP operations.
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;

/// What a frame is, to whoever follows DHCP and searches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A DHCP client with this address asked.
    DhcpQuestion(MacAddr),
    /// A DHCP server answered that client.
    DhcpAnswer(MacAddr),
    /// UDP to many, toward this port.
    Search(u16),
    /// UDP to one, from this port.
    Reply(u16),
    /// To many, and not UDP: ARP and neighbour discovery left out.
    OtherBroadcast,
}

impl Sight {
    /// `None` for what says nothing about either.
    #[must_use]
    pub fn of(frame: &Frame<'_>) -> Option<Self> {
        let to_many = frame.dst().is_group();
        let udp = match frame.ethertype() {
            ethertype::IPV4 => udp_of_ipv4(frame.payload()),
            ethertype::IPV6 => udp_of_ipv6(frame.payload()),
            ethertype::ARP => return None,
            _ => return to_many.then_some(Self::OtherBroadcast),
        };
        let Some(udp) = udp else { return to_many.then_some(Self::OtherBroadcast) };
        dhcp(&udp).or(Some(if to_many { Self::Search(udp.destination_port) } else { Self::Reply(udp.source_port) }))
    }
}

fn udp_of_ipv4(bytes: &[u8]) -> Option<Udp<'_>> {
    let packet = Ipv4Packet::read(bytes).ok()?;
    if packet.protocol == protocol::UDP && packet.fragment_offset == 0 { Udp::read(packet.payload) } else { None }
}

fn udp_of_ipv6(bytes: &[u8]) -> Option<Udp<'_>> {
    let packet = Ipv6Packet::read(bytes).ok()?;
    if packet.upper == protocol::UDP && packet.has_upper_header() { Udp::read(packet.payload) } else { None }
}

fn dhcp(udp: &Udp<'_>) -> Option<Sight> {
    let client = || udp.payload.get(CHADDR..)?.first_chunk().map(|mac| MacAddr(*mac));
    match (udp.destination_port, udp.payload.first()?) {
        (DHCP_SERVER, &BOOT_REQUEST) => client().map(Sight::DhcpQuestion),
        (DHCP_CLIENT, &BOOT_REPLY) => client().map(Sight::DhcpAnswer),
        _ => None,
    }
}

/// How long ago, in milliseconds, one node saw a client's DHCP pass; nothing where it did not see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DhcpSights {
    /// The question came in.
    pub question_in: Option<u64>,
    /// The question went on.
    pub question_out: Option<u64>,
    /// The answer came in.
    pub answer_in: Option<u64>,
    /// The answer went on.
    pub answer_out: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    /// A UDP datagram over IPv4 in a frame to `dst`.
    fn udp(dst: MacAddr, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = [&dst.0[..], &HOST.0, &[8, 0]].concat();
        let len = u16::try_from(28 + payload.len()).unwrap();
        frame.extend([0x45, 0]);
        frame.extend(len.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 255, 255, 255, 255]);
        frame.extend(from.to_be_bytes());
        frame.extend(to.to_be_bytes());
        frame.extend((len - 20).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    fn sight(bytes: &[u8]) -> Option<Sight> {
        Sight::of(&Frame::parse(bytes).unwrap())
    }

    #[test]
    fn dhcp_is_known_by_port_operation_and_client() {
        let mut message = vec![0; 240];
        message[0] = 1;
        message[28..34].copy_from_slice(&HOST.0);
        assert_eq!(sight(&udp(MacAddr::BROADCAST, 68, 67, &message)), Some(Sight::DhcpQuestion(HOST)));
        message[0] = 2;
        assert_eq!(sight(&udp(HOST, 67, 68, &message)), Some(Sight::DhcpAnswer(HOST)));
        assert_eq!(sight(&udp(HOST, 67, 68, &message[..20])), Some(Sight::Reply(67)), "cut off");
    }

    #[test]
    fn searches_replies_and_other_broadcast_are_told_apart() {
        assert_eq!(sight(&udp(MacAddr::BROADCAST, 40_000, 27_960, b"\xff\xff\xff\xffgetinfo")), Some(Sight::Search(27_960)));
        assert_eq!(sight(&udp(HOST, 27_960, 40_000, b"info")), Some(Sight::Reply(27_960)));
        let arp = [&MacAddr::BROADCAST.0[..], &HOST.0, &[8, 6], &[0; 46]].concat();
        assert_eq!(sight(&arp), None);
        let ipx = [&MacAddr::BROADCAST.0[..], &HOST.0, &[0x81, 0x37], &[0; 46]].concat();
        assert_eq!(sight(&ipx), Some(Sight::OtherBroadcast));
        let mut fragment = udp(MacAddr::BROADCAST, 1, 2, b"later");
        fragment[20] = 1;
        assert_eq!(sight(&fragment), Some(Sight::OtherBroadcast));
    }
}
