//! Where other members may try this host: its own addresses, which the relay cannot see, and which change when it moves.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanparty_core::worth_trying;

use super::sockets::PeerSocket;

/// How often this host's addresses are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A socket's interface, when it is bound to one, and its address.
type Door<'a> = (Option<&'a str>, SocketAddr);

/// What others have been told.
#[derive(Default)]
pub(super) struct Offer {
    told: Option<Vec<SocketAddr>>,
    look_at: Option<Instant>,
}

impl Offer {
    /// Where these sockets are reached now, at the router's `opened` port first, then where the relay sees them, then at this host's own
    /// addresses but that of `own_interface`, which leads into the tunnel; nothing when that was told before.
    pub(super) fn renew(
        &mut self,
        opened: Option<SocketAddr>,
        sockets: &[&PeerSocket],
        own_interface: Option<&str>,
        now: Instant,
    ) -> Option<Vec<SocketAddr>> {
        if sockets.is_empty() || self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        let doors = sockets.iter().filter_map(|socket| Some((socket.uplink.as_ref().map(|u| u.interface.as_str()), socket.local()?)));
        let doors: Vec<Door<'_>> = doors.collect();
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses: Vec<_> =
            interfaces.iter().filter(|i| Some(i.name.as_str()) != own_interface).map(|i| (i.name.as_str(), i.ip())).collect();
        let known = opened.into_iter().chain(sockets.iter().filter_map(|socket| socket.seen));
        self.tell(known, &addresses, &doors, now)
    }

    fn tell(
        &mut self,
        known: impl Iterator<Item = SocketAddr>,
        addresses: &[(&str, IpAddr)],
        doors: &[Door<'_>],
        now: Instant,
    ) -> Option<Vec<SocketAddr>> {
        self.look_at = Some(now + LOOK_INTERVAL);
        // A socket that is bound to an interface is reached at its addresses only.
        let is_of = |(interface, door): &&Door<'_>, (name, ip): &(&str, IpAddr)| {
            door.is_ipv6() == ip.is_ipv6() && interface.is_none_or(|interface| interface == *name)
        };
        let with_port = |at: &(&str, IpAddr)| doors.iter().find(|door| is_of(door, at)).map(|(_, door)| SocketAddr::new(at.1, door.port()));
        let offer = worth_trying(known.chain(addresses.iter().filter_map(with_port)));
        // The system lists them in any order.
        let sorted = |offer: &[SocketAddr]| {
            let mut offer = offer.to_vec();
            offer.sort();
            offer
        };
        if self.told.as_ref().is_some_and(|told| sorted(told) == sorted(&offer)) {
            return None;
        }
        self.told = Some(offer.clone());
        Some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<(&'static str, IpAddr)> {
        texts.iter().map(|text| ("eth0", text.parse().unwrap())).collect()
    }

    fn door(text: &str) -> Door<'static> {
        (None, text.parse().unwrap())
    }

    fn none() -> std::iter::Empty<SocketAddr> {
        std::iter::empty()
    }

    #[test]
    fn only_other_addresses_are_news() {
        let (mut offer, now) = (Offer::default(), Instant::now());
        let doors = [door("0.0.0.0:4000"), door("[::]:5000")];
        let first = offer.tell(none(), &addresses(&["127.0.0.1", "10.0.0.1", "2001:db8::1"]), &doors, now);
        assert_eq!(first, Some(vec!["10.0.0.1:4000".parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap()]));
        assert_eq!(offer.tell(none(), &addresses(&["2001:db8::1", "10.0.0.1"]), &doors, now), None, "in another order");
        let moved = offer.tell(none(), &addresses(&["10.0.0.2", "2001:db8::1"]), &doors, now).unwrap();
        assert!(moved.contains(&"10.0.0.2:4000".parse().unwrap()) && moved.len() == 2);
        let rebound = offer.tell(none(), &addresses(&["10.0.0.2", "2001:db8::1"]), &[door("0.0.0.0:4001")], now);
        assert_eq!(rebound, Some(vec!["10.0.0.2:4001".parse().unwrap()]), "another socket");
        let opened = ["192.0.2.1:4001".parse().unwrap()];
        let offered = offer.tell(opened.into_iter(), &addresses(&["10.0.0.2"]), &[door("0.0.0.0:4001")], now);
        assert_eq!(offered, Some(vec![opened[0], "10.0.0.2:4001".parse().unwrap()]), "the router's port");
    }

    #[test]
    fn a_socket_of_an_uplink_is_reached_at_that_uplink_only_and_where_the_relay_sees_it() {
        let mut offer = Offer::default();
        let doors = [(Some("dsl0"), "0.0.0.0:4000".parse().unwrap()), (Some("lte0"), "0.0.0.0:5000".parse().unwrap())];
        let addresses = [("eth9", "10.9.0.1"), ("lte0", "10.2.0.1"), ("dsl0", "10.1.0.1")].map(|(name, ip)| (name, ip.parse().unwrap()));
        let seen = ["192.0.2.1:4000", "198.51.100.1:777"].map(|seen| seen.parse().unwrap());
        let told = offer.tell(seen.into_iter(), &addresses, &doors, Instant::now()).unwrap();
        let expected = ["192.0.2.1:4000", "198.51.100.1:777", "10.2.0.1:5000", "10.1.0.1:4000"];
        assert_eq!(told, expected.map(|text| text.parse::<SocketAddr>().unwrap()));
    }

    #[tokio::test]
    async fn a_host_is_not_looked_at_all_the_time() {
        let (mut offer, now) = (Offer::default(), Instant::now());
        let endpoint = crate::endpoint::endpoint_at([0, 0, 0, 0], None);
        let socket = PeerSocket { endpoint, uplink: None, seen: None };
        assert!(offer.renew(None, &[], None, now).is_none(), "no socket, no offer");
        assert!(offer.renew(None, &[&socket], None, now).is_some());
        offer.told = None;
        assert!(offer.renew(None, &[&socket], None, now + LOOK_INTERVAL / 2).is_none());
        assert!(offer.renew(None, &[&socket], None, now + LOOK_INTERVAL).is_some());
    }
}
