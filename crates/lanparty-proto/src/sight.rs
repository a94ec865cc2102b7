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
/// Where DHCP's options begin, behind the magic cookie (RFC 2131 §3).
const DHCP_OPTIONS: usize = 240;
/// The option with the kind of message, and its values (RFC 2132 §9.6). The padding and end options have no length.
const MESSAGE_TYPE: u8 = 53;
const PAD: u8 = 0;
const END: u8 = 255;
const OFFER: u8 = 2;
const NAK: u8 = 6;

/// Ports on which names are asked for and told.
const MDNS: u16 = 5353;
const SSDP: u16 = 1900;
const LLMNR: u16 = 5355;
const NETBIOS_NAMES: u16 = 137;
/// Datagrams of the browser service: hosts tell that they are there.
const NETBIOS_DATAGRAMS: u16 = 138;
/// Games that tell of themselves instead of being asked: Minecraft's "open to LAN", and Steam.
const ANNOUNCED: [u16; 2] = [4445, 27_036];

/// What a frame is, to whoever follows DHCP and searches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A DHCP client with this address asked.
    DhcpQuestion(MacAddr),
    /// A DHCP server answered that client.
    DhcpAnswer(MacAddr, DhcpAnswer),
    /// UDP to many that asks for something.
    Search(Ports),
    /// UDP to many that tells something, unasked or as an answer to all, toward this port.
    Announcement(u16),
    /// UDP to one.
    Reply(Ports),
    /// To many, and not UDP: ARP and neighbour discovery left out.
    OtherBroadcast,
}

/// Ports of a UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Its source.
    pub from: u16,
    /// Its destination.
    pub to: u16,
}

/// What a DHCP server said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DhcpAnswer {
    /// It offers an address.
    Offer,
    /// It gives the address, or what else was asked for.
    Ack,
    /// It refuses the address that was asked for.
    Nak,
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
        let ports = Ports { from: udp.source_port, to: udp.destination_port };
        dhcp(&udp).or(Some(match to_many {
            false => Self::Reply(ports),
            true if tells(ports.to, udp.payload) => Self::Announcement(ports.to),
            true => Self::Search(ports),
        }))
    }
}

/// Whether what is sent to many on this port asks nothing.
fn tells(port: u16, payload: &[u8]) -> bool {
    let flags = payload.get(2).copied().unwrap_or(0);
    match port {
        // The bit QR of DNS (RFC 1035 §4.1.1).
        MDNS | LLMNR => flags & 0x80 != 0,
        // The same bit; and every operation but the query, such as registering a name (RFC 1002 §4.2.1.1).
        NETBIOS_NAMES => flags & 0xf8 != 0,
        NETBIOS_DATAGRAMS => true,
        SSDP => payload.starts_with(b"NOTIFY "),
        _ => ANNOUNCED.contains(&port),
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
        (DHCP_CLIENT, &BOOT_REPLY) => client().map(|client| Sight::DhcpAnswer(client, dhcp_answer(udp.payload))),
        _ => None,
    }
}

/// What says nothing of its kind is BOOTP's, which gives and does not offer.
fn dhcp_answer(message: &[u8]) -> DhcpAnswer {
    let mut options = message.get(DHCP_OPTIONS..).unwrap_or_default();
    loop {
        match options {
            [PAD, rest @ ..] => options = rest,
            [MESSAGE_TYPE, 1, OFFER, ..] => return DhcpAnswer::Offer,
            [MESSAGE_TYPE, 1, NAK, ..] => return DhcpAnswer::Nak,
            [MESSAGE_TYPE | END, ..] | [] | [_] => return DhcpAnswer::Ack,
            [_, len, rest @ ..] => options = rest.get(usize::from(*len)..).unwrap_or_default(),
        }
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
        let answer = |options: &[u8]| sight(&udp(HOST, 67, 68, &[&message[..], options].concat()));
        assert_eq!(answer(&[]), Some(Sight::DhcpAnswer(HOST, DhcpAnswer::Ack)), "BOOTP");
        assert_eq!(answer(&[53, 1, 2, 255]), Some(Sight::DhcpAnswer(HOST, DhcpAnswer::Offer)));
        assert_eq!(answer(&[0, 54, 4, 10, 0, 0, 1, 53, 1, 5, 255]), Some(Sight::DhcpAnswer(HOST, DhcpAnswer::Ack)));
        assert_eq!(answer(&[54, 4, 53, 1, 2, 0, 53, 1, 6]), Some(Sight::DhcpAnswer(HOST, DhcpAnswer::Nak)), "not inside another option");
        assert_eq!(answer(&[54, 200, 53, 1, 6]), Some(Sight::DhcpAnswer(HOST, DhcpAnswer::Ack)), "a length that lies");
        assert_eq!(sight(&udp(HOST, 67, 68, &message[..20])), Some(Sight::Reply(Ports { from: 67, to: 68 })), "cut off");
    }

    #[test]
    fn searches_replies_and_other_broadcast_are_told_apart() {
        assert_eq!(
            sight(&udp(MacAddr::BROADCAST, 40_000, 27_960, b"\xff\xff\xff\xffgetinfo")),
            Some(Sight::Search(Ports { from: 40_000, to: 27_960 }))
        );
        assert_eq!(sight(&udp(HOST, 27_960, 40_000, b"info")), Some(Sight::Reply(Ports { from: 27_960, to: 40_000 })));
        let arp = [&MacAddr::BROADCAST.0[..], &HOST.0, &[8, 6], &[0; 46]].concat();
        assert_eq!(sight(&arp), None);
        let ipx = [&MacAddr::BROADCAST.0[..], &HOST.0, &[0x81, 0x37], &[0; 46]].concat();
        assert_eq!(sight(&ipx), Some(Sight::OtherBroadcast));
        let mut fragment = udp(MacAddr::BROADCAST, 1, 2, b"later");
        fragment[20] = 1;
        assert_eq!(sight(&fragment), Some(Sight::OtherBroadcast));
    }

    #[test]
    fn what_is_told_to_many_is_no_search() {
        let all = MacAddr([1, 0, 0x5e, 0, 0, 0xfb]);
        let is_told = |port: u16, payload: &[u8]| match sight(&udp(all, 5353, port, payload)) {
            Some(Sight::Announcement(to)) => to == port,
            Some(Sight::Search(ports)) => ports.to != port,
            other => panic!("{port}: {other:?}"),
        };
        let (question, answer) = ([0, 0, 0, 0, 0, 1], [0, 0, 0x84, 0, 0, 0]);
        for port in [MDNS, LLMNR] {
            assert!(!is_told(port, &question) && is_told(port, &answer), "{port}");
        }
        let (query, registration, answered) = ([0, 1, 0x01, 0x10], [0, 1, 0x29, 0x10], [0, 1, 0x85, 0]);
        assert!(!is_told(NETBIOS_NAMES, &query) && is_told(NETBIOS_NAMES, &registration) && is_told(NETBIOS_NAMES, &answered));
        assert!(!is_told(SSDP, b"M-SEARCH * HTTP/1.1\r\n") && is_told(SSDP, b"NOTIFY * HTTP/1.1\r\n"));
        assert!(is_told(NETBIOS_DATAGRAMS, b"\x11") && is_told(4445, b"[MOTD]A world[/MOTD]") && is_told(27_036, b""));
        assert!(!is_told(27_015, b"\xff\xff\xff\xffTSource Engine Query\0") && !is_told(MDNS, b""), "cut off");
    }
}
