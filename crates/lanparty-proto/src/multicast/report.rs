//! IGMP and MLD reports, of every version: which groups their sender listens to from now on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{IGMP_REPORTS, MLD_REPORTS, be16};
use crate::Frame;
use crate::checksum::Checksum;
use crate::packet::{Ipv4Packet, Ipv6Packet, ethertype, protocol};

/// Types of group records (RFC 3376 §4.2.12, RFC 3810 §5.2.12), beside those that only take sources away.
const IS_INCLUDE: u8 = 1;
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;
const ALLOW_NEW: u8 = 5;

/// What a report says of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listening {
    /// Its sender listens, to any source or to some.
    Joined,
    /// It does no more.
    Left,
    /// It listens as before, to fewer sources.
    Unchanged,
}

/// One group of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupChange {
    /// The group.
    pub group: IpAddr,
    /// What is said of it.
    pub listening: Listening,
}

impl GroupChange {
    /// What the report in `frame` says; nothing when there is none, or it is not whole, or its checksum is wrong (RFC 4541 §2.1.1).
    #[must_use]
    pub fn read(frame: &Frame<'_>) -> Option<Vec<Self>> {
        let changes = match frame.ethertype() {
            ethertype::IPV4 => read_igmp(frame.payload())?,
            ethertype::IPV6 => read_mld(frame.payload())?,
            _ => return None,
        };
        Some(changes.into_iter().filter(|change| change.group.is_multicast()).collect())
    }
}

fn read_igmp(bytes: &[u8]) -> Option<Vec<GroupChange>> {
    let packet = Ipv4Packet::read(bytes).ok()?;
    let message = packet.payload;
    let [kind, ..] = *message.first_chunk::<8>()?;
    let is_whole = packet.fragment_offset == 0 && !packet.more_fragments && Checksum::default().with(message).field() == [0; 2];
    if packet.protocol != protocol::IGMP || !IGMP_REPORTS.contains(&kind) || !is_whole {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*message.get(at..)?.first_chunk::<4>()?)));
    match kind {
        0x22 => read_records(message, address, 4),
        kind => Some(vec![GroupChange { group: address(4)?, listening: if kind == 0x17 { Listening::Left } else { Listening::Joined } }]),
    }
}

fn read_mld(bytes: &[u8]) -> Option<Vec<GroupChange>> {
    let packet = Ipv6Packet::read(bytes).ok()?;
    let message = packet.payload;
    let [kind, ..] = *message.first_chunk::<8>()?;
    if packet.upper != protocol::ICMPV6 || !packet.is_whole() || !MLD_REPORTS.contains(&kind) || !is_sum_right(&packet) {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*message.get(at..)?.first_chunk::<16>()?)));
    match kind {
        143 => read_records(message, address, 16),
        kind => Some(vec![GroupChange { group: address(8)?, listening: if kind == 132 { Listening::Left } else { Listening::Joined } }]),
    }
}

/// With the pseudo header (RFC 8200 §8.1).
fn is_sum_right(packet: &Ipv6Packet<'_>) -> bool {
    super::query::icmpv6_checksum(packet.ends, packet.payload) == [0; 2]
}

/// The records of a report of IGMPv3 or MLDv2, whose addresses have `address_len` bytes.
fn read_records(message: &[u8], address: impl Fn(usize) -> Option<IpAddr>, address_len: usize) -> Option<Vec<GroupChange>> {
    let mut changes = vec![];
    let mut at = 8;
    for _ in 0..be16(message, 6)? {
        let (kind, auxiliary) = (*message.get(at)?, usize::from(*message.get(at + 1)?) * 4);
        let sources = usize::from(be16(message, at + 2)?);
        let listening = match (kind, sources) {
            (IS_INCLUDE | TO_INCLUDE, 0) => Listening::Left,
            (IS_INCLUDE | IS_EXCLUDE | TO_INCLUDE | TO_EXCLUDE | ALLOW_NEW, _) => Listening::Joined,
            // Sources that it no longer takes; records of other types are ignored (RFC 3376 §4.2.12).
            _ => Listening::Unchanged,
        };
        changes.push(GroupChange { group: address(at + 4)?, listening });
        at += 4 + address_len + sources * address_len + auxiliary;
    }
    if at > message.len() { None } else { Some(changes) }
}
