//! What a gateway notices on its LAN that should not be there: another gateway, and machines with a member's MAC address.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanparty_proto::{Frame, GatewaySign, MacAddr, MemberFrame, Role};

use crate::Roster;

/// How often a gateway gives its sign: soon enough for somebody who waits for it, and nothing to a LAN.
pub const SIGN_INTERVAL: Duration = Duration::from_secs(2);
/// And while another one stands by: it takes over within two seconds of the last sign.
pub const SIGN_INTERVAL_WATCHED: Duration = Duration::from_millis(300);
/// What was not seen for this long is gone: several signs missed.
const GONE_AFTER: Duration = Duration::from_secs(20);
/// Of each kind that is remembered. A LAN with more has other problems.
const REMEMBERED_MAX: usize = 64;

/// The neighbours of one gateway.
pub struct Neighbours {
    own: GatewaySign,
    gateways: BTreeMap<MacAddr, Instant>,
    doubles: BTreeMap<MacAddr, Instant>,
}

impl Neighbours {
    /// Of the gateway that gives this sign.
    #[must_use]
    pub const fn new(own: GatewaySign) -> Self {
        Self { own, gateways: BTreeMap::new(), doubles: BTreeMap::new() }
    }

    /// The sign to give on the LAN, from the interface with that address.
    #[must_use]
    pub fn sign(&self, mac: MacAddr) -> Vec<u8> {
        MemberFrame::GatewaySign(self.own).encode(MacAddr::BROADCAST, mac, MemberFrame::LEN_MIN)
    }

    /// A frame from the LAN. Only frames to many are looked at: whoever uses an address says so by ARP. Gives the address of a
    /// gateway that was not known before.
    pub fn look(&mut self, frame: &[u8], roster: Option<&Roster>, now: Instant) -> Option<MacAddr> {
        if frame.first().is_none_or(|octet| octet & 1 == 0) {
            return None;
        }
        let frame = Frame::parse(frame).ok()?;
        let src = frame.src();
        if let Some(MemberFrame::GatewaySign(sign)) = MemberFrame::read(&frame) {
            return self.note_gateway(src, sign, now);
        }
        if roster.is_some_and(|r| r.by_mac(src).is_some_and(|member| member.role == Role::Client)) && self.doubles.len() < REMEMBERED_MAX {
            self.doubles.insert(src, now);
        }
        None
    }

    fn note_gateway(&mut self, mac: MacAddr, sign: GatewaySign, now: Instant) -> Option<MacAddr> {
        self.gateways.retain(|_, at| now.saturating_duration_since(*at) < GONE_AFTER);
        if sign.gateway == self.own.gateway || self.gateways.len() >= REMEMBERED_MAX {
            return None;
        }
        self.gateways.insert(mac, now).is_none().then_some(mac)
    }

    /// When the gateway with that interface address gave its sign last.
    #[must_use]
    pub fn heard(&self, gateway: MacAddr) -> Option<Instant> {
        self.gateways.get(&gateway).copied()
    }

    /// Interface addresses of the gateways that are there now.
    #[must_use]
    pub fn gateways(&self, now: Instant) -> Vec<MacAddr> {
        recent(&self.gateways, now)
    }

    /// Members' addresses that machines on the LAN use as well, of late.
    #[must_use]
    pub fn doubles(&self, now: Instant) -> Vec<MacAddr> {
        recent(&self.doubles, now)
    }
}

fn recent(all: &BTreeMap<MacAddr, Instant>, now: Instant) -> Vec<MacAddr> {
    all.iter().filter(|(_, at)| now.saturating_duration_since(**at) < GONE_AFTER).map(|(mac, _)| *mac).collect()
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{LanMtu, MemberId, MemberInfo, MulticastPolicy, PROTOCOL_VERSION, Welcome};

    use super::*;

    const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn sign(gateway: u8) -> GatewaySign {
        GatewaySign { gateway: [gateway; 8] }
    }

    fn roster() -> Roster {
        let client = MemberInfo { id: MemberId(2), role: Role::Client, mac: CLIENT, lan_up: true, path_mtu: None, description: None };
        let members = vec![client];
        let (lan_mtu, limited_by, budget_down) = (LanMtu::MAX, None, None);
        Roster::new(
            Role::Gateway,
            GATEWAY,
            &Welcome {
                version: PROTOCOL_VERSION,
                member: MemberId(1),
                lan_mtu,
                limited_by,
                budget_down,
                replaced: None,
                bond: false,
                addresses: None,
                multicast: MulticastPolicy::All,
                members,
            },
        )
    }

    #[test]
    fn another_gateway_is_known_by_its_sign_told_once_and_forgotten_when_it_is_gone() {
        let (mut here, there, now) = (Neighbours::new(sign(1)), Neighbours::new(sign(2)), Instant::now());
        let other = MacAddr([2, 0, 0, 0, 0, 7]);
        assert_eq!(here.look(&there.sign(other), None, now), Some(other));
        assert_eq!(here.look(&there.sign(other), None, now), None, "told once");
        assert_eq!(here.gateways(now), [other]);
        assert_eq!(here.gateways(now + GONE_AFTER), []);
        assert_eq!(here.look(&here.sign(GATEWAY), None, now), None, "its own, sent back by the LAN");
    }

    #[test]
    fn a_machine_with_a_members_address_is_noticed_by_what_it_says_to_all() {
        let (mut here, now, roster) = (Neighbours::new(sign(1)), Instant::now(), roster());
        let arp = |src: MacAddr| [&MacAddr::BROADCAST.0[..], &src.0, &[8, 6], &[0; 46]].concat();
        here.look(&arp(MacAddr([2, 0, 0, 0, 0, 9])), Some(&roster), now);
        assert_eq!(here.doubles(now), []);
        here.look(&arp(CLIENT), Some(&roster), now);
        assert_eq!((here.doubles(now), here.doubles(now + GONE_AFTER)), (vec![CLIENT], vec![]));
    }
}
