//! DHCP messages (RFC 2131, RFC 2132) and the frames that carry them. What cannot be read is nobody's question.
//!
//! Read are only the options that a server needs: `dhcproto` as a whole trusts lengths that come from the network.

use std::net::Ipv4Addr;

use dhcproto::v4::{
    CLIENT_PORT, DhcpOption, Encodable, Encoder, Flags, HType, Message, MessageType, Opcode, OptionCode, SERVER_PORT, borrowed,
};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use ipnet::Ipv4Net;
use lanparty_proto::{Arp, Frame, MacAddr};

/// How long an address is leased, in seconds: a console that is switched off makes room soon, and what changes in the room is heard soon.
pub(super) const LEASE_TIME: u32 = 600;
/// When it is renewed, and when any server is asked, as parts of that (RFC 2131 §4.4.5).
const RENEWAL_TIME: u32 = LEASE_TIME / 2;
const REBINDING_TIME: u32 = LEASE_TIME / 8 * 7;
/// Length of a hardware address.
const MAC_LEN: u8 = 6;
/// BOOTP clients take no smaller message (RFC 1542 §2.1).
const MESSAGE_LEN_MIN: usize = 300;
const TTL: u8 = 64;

/// What a frame says, as far as it is of interest to a DHCP server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Question(Question),
    /// Another server answered somebody, and names itself, as all but BOOTP servers do.
    Answer {
        from: MacAddr,
        server: Option<Ipv4Addr>,
    },
    Arp(Arp),
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) kind: MessageType,
    /// Whose it is; another machine may have sent it.
    pub(super) client: MacAddr,
    pub(super) from: MacAddr,
    /// The address that it has, when it can be reached by it.
    pub(super) has: Option<Ipv4Addr>,
    /// The address that it would like, or is to have.
    pub(super) wanted: Option<Ipv4Addr>,
    /// The server that it has chosen.
    pub(super) server: Option<Ipv4Addr>,
    /// A relay agent of another LAN passed it on.
    pub(super) is_relayed: bool,
    xid: u32,
    wants_broadcast: bool,
    client_id: Option<Vec<u8>>,
}

/// The server, and what holds for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    pub(super) mac: MacAddr,
    /// Its own address in the room's network.
    pub(super) own: Ipv4Net,
    /// The LAN MTU, in bytes.
    pub(super) mtu: u16,
}

/// Reads a frame.
pub(super) fn read(bytes: &[u8]) -> Option<Heard> {
    let frame = Frame::parse(bytes).ok()?;
    if let Some(arp) = Arp::read(&frame) {
        return Some(Heard::Arp(arp));
    }
    let sliced = SlicedPacket::from_ethernet(bytes).ok()?;
    let Some(TransportSlice::Udp(udp)) = sliced.transport else { return None };
    let message = borrowed::Message::new(udp.payload()).ok()?;
    let server = option(&message, OptionCode::ServerIdentifier).and_then(|data| address(&data));
    match (message.opcode(), udp.destination_port()) {
        (Opcode::BootReply, CLIENT_PORT) => Some(Heard::Answer { from: frame.src(), server }),
        (Opcode::BootRequest, SERVER_PORT) => question(&message, frame.src(), server).map(Heard::Question),
        _ => None,
    }
}

fn question(message: &borrowed::Message<'_>, from: MacAddr, server: Option<Ipv4Addr>) -> Option<Question> {
    if message.htype() != HType::Eth || message.hlen() != MAC_LEN {
        return None;
    }
    let client = MacAddr(*message.chaddr().first_chunk()?);
    let kind = option(message, OptionCode::MessageType)?.first().copied()?;
    client.is_valid_source().then(|| Question {
        kind: MessageType::from(kind),
        client,
        from,
        has: Some(message.ciaddr()).filter(|address| !address.is_unspecified()),
        wanted: option(message, OptionCode::RequestedIpAddress).and_then(|data| address(&data)),
        server,
        is_relayed: !message.giaddr().is_unspecified(),
        xid: message.xid(),
        wants_broadcast: message.flags().broadcast(),
        client_id: option(message, OptionCode::ClientIdentifier),
    })
}

fn option(message: &borrowed::Message<'_>, code: OptionCode) -> Option<Vec<u8>> {
    message.opts().find(|option| option.code() == code).map(|option| option.data().to_vec())
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    data.first_chunk::<4>().filter(|_| data.len() == 4).map(|octets| Ipv4Addr::from(*octets))
}

impl Question {
    /// The answer as a frame: an offer or a lease of `given`, a refusal, or, without an address, what else holds in the room. There is no
    /// router in it and no name server: whoever plays here has those elsewhere, or none.
    pub(super) fn answered(&self, kind: MessageType, given: Option<Ipv4Addr>, terms: &Terms) -> Option<Vec<u8>> {
        let refuses = kind == MessageType::Nak;
        let mut message = Message::default();
        message.set_opcode(Opcode::BootReply).set_xid(self.xid).set_chaddr(&self.client.0);
        message.set_flags(if self.wants_broadcast { Flags::default().set_broadcast() } else { Flags::default() });
        message.set_yiaddr(given.unwrap_or(Ipv4Addr::UNSPECIFIED));
        message.set_ciaddr(self.has.filter(|_| !refuses).unwrap_or(Ipv4Addr::UNSPECIFIED));
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(terms.own.addr()));
        // RFC 6842.
        if let Some(id) = &self.client_id {
            options.insert(DhcpOption::ClientIdentifier(id.clone()));
        }
        if !refuses {
            options.insert(DhcpOption::SubnetMask(terms.own.netmask()));
            options.insert(DhcpOption::BroadcastAddr(terms.own.broadcast()));
            options.insert(DhcpOption::InterfaceMtu(terms.mtu));
        }
        if given.is_some() {
            options.insert(DhcpOption::AddressLeaseTime(LEASE_TIME));
            options.insert(DhcpOption::Renewal(RENEWAL_TIME));
            options.insert(DhcpOption::Rebinding(REBINDING_TIME));
        }
        // RFC 2131 §4.1: to its address where it has one; else to the one it gets, unless it cannot hear that yet.
        let to = match (self.has, given) {
            (Some(has), _) if !refuses => (self.client, has),
            (None, Some(given)) if !self.wants_broadcast => (self.client, given),
            _ => (MacAddr::BROADCAST, Ipv4Addr::BROADCAST),
        };
        framed(&message, (terms.mac, terms.own.addr(), SERVER_PORT), (to.0, to.1, CLIENT_PORT))
    }
}

/// Asks whether any server is on the LAN.
pub(super) fn probe(mac: MacAddr) -> Option<Vec<u8>> {
    let mut message = Message::default();
    message.set_chaddr(&mac.0).set_flags(Flags::default().set_broadcast());
    message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
    framed(&message, (mac, Ipv4Addr::UNSPECIFIED, CLIENT_PORT), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST, SERVER_PORT))
}

fn framed(message: &Message, from: (MacAddr, Ipv4Addr, u16), to: (MacAddr, Ipv4Addr, u16)) -> Option<Vec<u8>> {
    let mut payload = vec![];
    message.encode(&mut Encoder::new(&mut payload)).ok()?;
    payload.resize(payload.len().max(MESSAGE_LEN_MIN), 0);
    let packet = PacketBuilder::ethernet2(from.0.0, to.0.0).ipv4(from.1.octets(), to.1.octets(), TTL).udp(from.2, to.2);
    let mut frame = Vec::with_capacity(packet.size(payload.len()));
    packet.write(&mut frame, &payload).ok()?;
    Some(frame)
}

#[cfg(test)]
pub(super) mod tests {
    use dhcproto::v4::{Decodable, Decoder};
    use proptest::prelude::*;

    use super::*;

    pub(in crate::dhcp) const CONSOLE: MacAddr = MacAddr([0x98, 0xb6, 0xe9, 0, 0, 7]);
    const TERMS: Terms = Terms { mac: MacAddr([2, 0, 0, 0, 0, 9]), own: OWN, mtu: 1380 };
    const OWN: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 5, 3), 24);

    /// What a console says.
    pub(in crate::dhcp) fn asks(kind: MessageType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        message.set_chaddr(&CONSOLE.0).set_xid(0x1234_5678);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        change(&mut message);
        framed(&message, (CONSOLE, Ipv4Addr::UNSPECIFIED, CLIENT_PORT), (MacAddr::BROADCAST, Ipv4Addr::BROADCAST, SERVER_PORT)).unwrap()
    }

    /// The message in an answer, with where it goes.
    pub(in crate::dhcp) fn parsed(frame: &[u8]) -> (Message, MacAddr, Ipv4Addr) {
        let packet = etherparse::PacketHeaders::from_ethernet_slice(frame).unwrap();
        let (Some(etherparse::NetHeaders::Ipv4(ip, _)), etherparse::PayloadSlice::Udp(payload)) = (packet.net, packet.payload) else {
            panic!("{frame:?}")
        };
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let message = Message::decode(&mut Decoder::new(payload)).unwrap();
        (message, Frame::parse(frame).unwrap().dst(), ip.destination.into())
    }

    fn question(frame: &[u8]) -> Question {
        match read(frame) {
            Some(Heard::Question(question)) => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_goes_where_the_client_hears_it_and_says_what_the_room_needs_and_no_more() {
        let given = Ipv4Addr::new(10, 128, 5, 77);
        let (message, to, address) =
            parsed(&question(&asks(MessageType::Discover, |_| ())).answered(MessageType::Offer, Some(given), &TERMS).unwrap());
        assert_eq!((to, address, message.yiaddr(), message.xid()), (CONSOLE, given, given, 0x1234_5678));
        let codes: Vec<u8> = message.opts().iter().map(|(code, _)| u8::from(*code)).collect();
        assert_eq!(codes, [1, 26, 28, 51, 53, 54, 58, 59], "no router (3), no name server (6)");
        assert!(matches!(message.opts().get(OptionCode::InterfaceMtu), Some(DhcpOption::InterfaceMtu(1380))));

        let cannot_hear = asks(MessageType::Discover, |message| {
            message.set_flags(Flags::default().set_broadcast());
            message.opts_mut().insert(DhcpOption::ClientIdentifier(vec![1, 2, 3]));
        });
        let (message, to, address) = parsed(&question(&cannot_hear).answered(MessageType::Offer, Some(given), &TERMS).unwrap());
        assert!(to.is_broadcast() && address.is_broadcast() && message.opts().contains(OptionCode::ClientIdentifier));

        let renews = asks(MessageType::Request, |message| {
            message.set_ciaddr(given);
        });
        let (_, to, address) = parsed(&question(&renews).answered(MessageType::Ack, Some(given), &TERMS).unwrap());
        assert_eq!((to, address), (CONSOLE, given));
        let (message, to, _) = parsed(&question(&renews).answered(MessageType::Nak, None, &TERMS).unwrap());
        assert!(to.is_broadcast() && message.ciaddr().is_unspecified() && !message.opts().contains(OptionCode::AddressLeaseTime));
    }

    #[test]
    fn what_no_ethernet_client_says_is_no_question() {
        let changed = |change: fn(&mut Message)| read(&asks(MessageType::Discover, change));
        assert_eq!(
            changed(|message| {
                message.set_chaddr(&[1; 16]);
            }),
            None
        );
        assert_eq!(
            changed(|message| {
                message.set_htype(HType::ExperimentalEth);
            }),
            None
        );
        assert_eq!(
            changed(|message| {
                message.set_chaddr(&MacAddr::BROADCAST.0);
            }),
            None
        );
        assert_eq!(changed(|message| drop(message.opts_mut().remove(OptionCode::MessageType))), None, "BOOTP has no lease");
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_reason_to_fall(bytes in prop::collection::vec(any::<u8>(), 0..700), at in 0usize..400, byte: u8, cut in 0usize..400) {
            let _ = read(&bytes);
            let mut frame = asks(MessageType::Request, |message| { message.opts_mut().insert(DhcpOption::ClientIdentifier(bytes.clone())); });
            let at = at % frame.len();
            frame[at] = byte;
            let _ = read(&frame);
            frame.truncate(cut);
            let _ = read(&frame);
            let head = asks(MessageType::Discover, |_| ());
            // Any options behind the cookie.
            let _ = read(&[&head[..head.len() - 60], &bytes].concat());
        }
    }
}
