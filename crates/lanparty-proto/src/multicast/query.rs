//! The question who listens to what, as a member puts it to its own host: IGMPv3 and MLDv2.
//!
//! Its sources never win an election of queriers: no address at all in IPv4 (RFC 4541 §2.1.1), one of the highest in IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::MacAddr;
use crate::checksum::Checksum;
use crate::packet::{ethertype, protocol};

/// Where the question seems to come from: no member's.
const QUERIER: MacAddr = MacAddr([0x02, 0x6c, 0x61, 0x6e, 0xff, 0xff]);
const QUERIER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xffff, 0xffff, 0xffff, 0xfffe);
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// "Internetwork control" (RFC 2474 §4.2.2.2), as routers send it.
const PRECEDENCE: u8 = 0xc0;
/// How often a question is asked again in case it was lost, and how long until the next, in seconds (RFC 3376 §8.1, §8.2).
const ROBUSTNESS: u8 = 2;
const INTERVAL_S: u8 = 125;

/// A question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupQuery {
    /// Who listens to this group; to any, when left out.
    pub group: Option<IpAddr>,
    /// Answers come within this, at most twelve seconds.
    pub within: Duration,
}

impl GroupQuery {
    /// As frames: of IPv4, of IPv6, or of the group's family alone.
    #[must_use]
    pub fn frames(self) -> Vec<Vec<u8>> {
        match self.group {
            Some(IpAddr::V4(group)) => vec![self.igmp(group, group)],
            Some(IpAddr::V6(group)) => vec![self.mld(group, group)],
            None => vec![self.igmp(ALL_HOSTS, Ipv4Addr::UNSPECIFIED), self.mld(ALL_NODES, Ipv6Addr::UNSPECIFIED)],
        }
    }

    /// RFC 3376 §4.1, with the router alert option of RFC 2113.
    fn igmp(self, to: Ipv4Addr, group: Ipv4Addr) -> Vec<u8> {
        // Below 128 the code is the time itself, in tenths of a second.
        let within = u8::try_from(self.within.as_millis() / 100).map_or(127, |tenths| tenths.clamp(1, 127));
        let [a, b, c, d] = group.octets();
        let mut message = [IGMP_QUERY, within, 0, 0, a, b, c, d, ROBUSTNESS, INTERVAL_S, 0, 0];
        let sum = Checksum::default().with(&message).field();
        message[2..4].copy_from_slice(&sum);
        let [a, b, c, d] = to.octets();
        let mut header = [0x46, PRECEDENCE, 0, 36, 0, 0, 0, 0, 1, protocol::IGMP, 0, 0, 0, 0, 0, 0, a, b, c, d, 0x94, 4, 0, 0];
        let sum = Checksum::default().with(&header).field();
        header[10..12].copy_from_slice(&sum);
        let ethernet = [0x01, 0x00, 0x5e, b & 0x7f, c, d];
        [&ethernet[..], &QUERIER.0, &ethertype::IPV4.to_be_bytes(), &header, &message].concat()
    }

    /// RFC 3810 §5.1, behind the router alert option of RFC 2711.
    fn mld(self, to: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
        // Below 32,768 the code is the time itself, in milliseconds.
        let within = u16::try_from(self.within.as_millis()).map_or(12_700, |ms| ms.clamp(1, 12_700)).to_be_bytes();
        let mut message =
            [&[MLD_QUERY, 0, 0, 0, within[0], within[1], 0, 0][..], &group.octets(), &[ROBUSTNESS, INTERVAL_S, 0, 0]].concat();
        let sum = icmpv6_checksum((QUERIER_IPV6, to), &message);
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
        let hop_by_hop = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        let header = [0x60, 0, 0, 0, 0, 36, 0, 1];
        let [.., a, b, c, d] = to.octets();
        let ethernet = [0x33, 0x33, a, b, c, d];
        let (ipv6, ends) = (ethertype::IPV6.to_be_bytes(), [QUERIER_IPV6.octets(), to.octets()].concat());
        [&ethernet[..], &QUERIER.0, &ipv6, &header, &ends, &hop_by_hop, &message].concat()
    }
}

const IGMP_QUERY: u8 = super::IGMP_ROUTER[0];
const MLD_QUERY: u8 = super::MLD_ROUTER[0];

/// The checksum of an ICMPv6 message, zero when it has its own in it.
pub(super) fn icmpv6_checksum(ends: (Ipv6Addr, Ipv6Addr), message: &[u8]) -> [u8; 2] {
    let len = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    let sum = Checksum::default().with(&ends.0.octets()).with(&ends.1.octets()).with(&len);
    sum.with(&[0, 0, 0, protocol::ICMPV6]).with(message).field()
}
