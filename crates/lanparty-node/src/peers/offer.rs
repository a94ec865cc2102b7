//! Where other members may try this host: its own addresses, which the relay cannot see, and which change when it moves.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanparty_core::worth_trying;

/// How often this host's addresses are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What others have been told.
#[derive(Default)]
pub(super) struct Offer {
    told: Option<Vec<SocketAddr>>,
    look_at: Option<Instant>,
}

impl Offer {
    /// Where these sockets are reached now, at the router's `opened` port first, but for `own_interface`, which leads into the tunnel; nothing when that was told before.
    pub(super) fn renew(
        &mut self,
        opened: Option<SocketAddr>,
        sockets: impl Iterator<Item = SocketAddr>,
        own_interface: Option<&str>,
        now: Instant,
    ) -> Option<Vec<SocketAddr>> {
        let sockets: Vec<SocketAddr> = sockets.collect();
        if sockets.is_empty() || self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses = interfaces.into_iter().filter(|i| Some(i.name.as_str()) != own_interface).map(|i| i.ip());
        self.tell(opened, addresses, &sockets, now)
    }

    fn tell(
        &mut self,
        opened: Option<SocketAddr>,
        addresses: impl Iterator<Item = IpAddr>,
        sockets: &[SocketAddr],
        now: Instant,
    ) -> Option<Vec<SocketAddr>> {
        self.look_at = Some(now + LOOK_INTERVAL);
        let with_port = |ip: IpAddr| sockets.iter().find(|s| s.is_ipv6() == ip.is_ipv6()).map(|s| SocketAddr::new(ip, s.port()));
        let offer = worth_trying(opened.into_iter().chain(addresses.filter_map(with_port)));
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

    fn addresses(texts: &[&str]) -> impl Iterator<Item = IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn only_other_addresses_are_news() {
        let (mut offer, now) = (Offer::default(), Instant::now());
        let sockets = ["0.0.0.0:4000".parse().unwrap(), "[::]:5000".parse().unwrap()];
        let first = offer.tell(None, addresses(&["127.0.0.1", "10.0.0.1", "2001:db8::1"]), &sockets, now);
        assert_eq!(first, Some(vec!["10.0.0.1:4000".parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap()]));
        assert_eq!(offer.tell(None, addresses(&["2001:db8::1", "10.0.0.1"]), &sockets, now), None, "in another order");
        let moved = offer.tell(None, addresses(&["10.0.0.2", "2001:db8::1"]), &sockets, now).unwrap();
        assert!(moved.contains(&"10.0.0.2:4000".parse().unwrap()) && moved.len() == 2);
        let rebound = offer.tell(None, addresses(&["10.0.0.2", "2001:db8::1"]), &["0.0.0.0:4001".parse().unwrap()], now);
        assert_eq!(rebound, Some(vec!["10.0.0.2:4001".parse().unwrap()]), "another socket");
        let opened = offer.tell(Some("192.0.2.1:4001".parse().unwrap()), addresses(&["10.0.0.2"]), &["0.0.0.0:4001".parse().unwrap()], now);
        assert_eq!(opened, Some(vec!["192.0.2.1:4001".parse().unwrap(), "10.0.0.2:4001".parse().unwrap()]), "the router's port");
    }

    #[test]
    fn a_host_is_not_looked_at_all_the_time() {
        let (mut offer, now) = (Offer::default(), Instant::now());
        let socket = || ["0.0.0.0:4000".parse().unwrap()].into_iter();
        assert!(offer.renew(None, [].into_iter(), None, now).is_none(), "no socket, no offer");
        assert!(offer.renew(None, socket(), None, now).is_some());
        offer.told = None;
        assert!(offer.renew(None, socket(), None, now + LOOK_INTERVAL / 2).is_none());
        assert!(offer.renew(None, socket(), None, now + LOOK_INTERVAL).is_some());
    }
}
