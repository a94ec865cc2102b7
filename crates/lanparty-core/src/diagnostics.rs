//! What a player reads about the state of the connection: facts in, lines out, each said once when it becomes true and
//! again in a summary now and then.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Time between two summaries when nothing changes.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);

/// What a client knows of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Joined at the relay.
    pub relay_reachable: bool,
    /// A gateway is in the room.
    pub gateway_connected: bool,
    /// The LAN behind the gateway has a carrier.
    pub lan_up: bool,
    /// The TAP's IPv4 addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Those of them that are not of DHCP, as far as the client knows.
    pub not_leased: Vec<Ipv4Addr>,
    /// Whether a route keeps the way to the relay out of the tunnel; nothing where that takes no route.
    pub route_pinned: Option<bool>,
    /// Smoothed round-trip time to the relay.
    pub rtt: Option<Duration>,
    /// Broadcast and multicast frames sent toward the LAN.
    pub broadcasts_sent: u64,
    /// Broadcast and multicast frames received from the LAN.
    pub broadcasts_received: u64,
}

impl ClientFacts {
    /// The address to show: a real one before one that the host gave itself (RFC 3927).
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().copied().find(|a| !a.is_link_local()).or_else(|| self.addresses.first().copied())
    }

    fn lan_address(&self) -> Option<Ipv4Addr> {
        self.address().filter(|a| !a.is_link_local())
    }

    fn summary(&self) -> String {
        let yes_no = |b: bool| if b { "yes" } else { "no" };
        let ip = self.address().map_or_else(|| "unknown".to_owned(), |a| a.to_string());
        let rtt = self.rtt.map_or_else(|| "unknown".to_owned(), |rtt| format!("{} ms", rtt_ms(rtt)));
        let pinned = self.route_pinned.map_or_else(String::new, |pinned| format!(" route pinned {}", yes_no(pinned)));
        format!(
            "client diagnostics: relay reachable {} gateway connected {}{pinned} LAN up {} IP {ip} RTT {rtt} broadcasts sent {} received {}",
            yes_no(self.relay_reachable),
            yes_no(self.gateway_connected),
            yes_no(self.gateway_connected && self.lan_up),
            self.broadcasts_sent,
            self.broadcasts_received,
        )
    }

    /// The states that hold now, one line each.
    fn states(&self) -> Vec<String> {
        if !self.relay_reachable {
            return vec!["Waiting for relay".into()];
        }
        let mut states = vec![];
        states.push(match (self.gateway_connected, self.lan_up) {
            (true, true) => "Connected to LAN gateway".into(),
            (true, false) => "Connected to LAN gateway, but its LAN has no carrier".into(),
            (false, _) => "Waiting for LAN gateway".into(),
        });
        states.push(match self.lan_address() {
            Some(ip) if self.not_leased.contains(&ip) => format!("Address set: {ip}"),
            Some(ip) => format!("DHCP received: {ip}"),
            None => "Waiting for TAP IP".to_owned(),
        });
        match (self.broadcasts_sent > 0, self.broadcasts_received > 0) {
            (true, true) => states.push("Broadcast traffic flowing".into()),
            (true, false) => states.push("Broadcast sent toward LAN; waiting for LAN broadcast reply".into()),
            (false, true) => states.push("LAN broadcast received".into()),
            (false, false) => {}
        }
        states
    }
}

fn rtt_ms(rtt: Duration) -> String {
    let ms = rtt.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// Turns facts into lines.
#[derive(Default)]
pub struct Diagnostics {
    said: Vec<String>,
    summary_at: Option<Instant>,
}

impl Diagnostics {
    /// The lines to print now.
    pub fn observe(&mut self, facts: &ClientFacts, now: Instant) -> Vec<String> {
        let states = facts.states();
        let mut lines: Vec<String> = states.iter().filter(|s| !self.said.contains(s)).cloned().collect();
        let due = self.summary_at.is_none_or(|at| now.saturating_duration_since(at) >= SUMMARY_INTERVAL);
        if due || !lines.is_empty() {
            self.summary_at = Some(now);
            lines.insert(0, facts.summary());
            lines.extend(facts.rtt.filter(|_| facts.relay_reachable).map(|rtt| format!("Relay RTT: {} ms", rtt_ms(rtt))));
        }
        self.said = states;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> ClientFacts {
        ClientFacts { relay_reachable: true, rtt: Some(Duration::from_millis(23)), ..ClientFacts::default() }
    }

    #[test]
    fn a_player_reads_each_step_once_as_it_happens() {
        let (mut d, now) = (Diagnostics::default(), Instant::now());
        let first = d.observe(&joined(), now);
        assert!(first[0].starts_with("client diagnostics: relay reachable yes gateway connected no "), "{first:?}");
        assert!(first[0].contains("IP unknown"));
        assert!(first.contains(&"Waiting for LAN gateway".into()) && first.contains(&"Waiting for TAP IP".into()));
        assert!(first.contains(&"Relay RTT: 23 ms".into()));
        assert!(d.observe(&joined(), now).is_empty());
        let facts = ClientFacts { gateway_connected: true, lan_up: true, broadcasts_sent: 1, ..joined() };
        let next = d.observe(&facts, now);
        assert!(next[0].contains("gateway connected yes"));
        assert_eq!(next[1..3], ["Connected to LAN gateway", "Broadcast sent toward LAN; waiting for LAN broadcast reply"]);
        let facts = ClientFacts { broadcasts_received: 1, addresses: vec![Ipv4Addr::new(10, 73, 42, 9)], ..facts };
        let last = d.observe(&facts, now);
        assert_eq!(last[1..3], ["DHCP received: 10.73.42.9", "Broadcast traffic flowing"]);
    }

    #[test]
    fn a_pinned_route_is_said_where_there_are_such() {
        let facts = ClientFacts { gateway_connected: true, ..joined() };
        assert!(facts.summary().starts_with("client diagnostics: relay reachable yes gateway connected yes LAN up no"));
        let facts = ClientFacts { route_pinned: Some(true), ..facts };
        assert!(facts.summary().starts_with("client diagnostics: relay reachable yes gateway connected yes route pinned yes LAN up no"));
    }

    #[test]
    fn a_link_local_address_is_no_lease() {
        let mut facts = ClientFacts { addresses: vec![Ipv4Addr::new(169, 254, 7, 7)], ..joined() };
        assert!(facts.states().contains(&"Waiting for TAP IP".into()));
        facts.addresses.push(Ipv4Addr::new(10, 1, 2, 3));
        assert!(facts.states().contains(&"DHCP received: 10.1.2.3".into()));
        assert!(facts.summary().contains("IP 10.1.2.3 "));
        facts.not_leased = vec![Ipv4Addr::new(10, 1, 2, 3)];
        assert!(facts.states().contains(&"Address set: 10.1.2.3".into()));
    }

    #[test]
    fn a_summary_comes_every_half_minute() {
        let (mut d, start) = (Diagnostics::default(), Instant::now());
        d.observe(&joined(), start);
        assert!(d.observe(&joined(), start + Duration::from_secs(29)).is_empty());
        let lines = d.observe(&joined(), start + Duration::from_secs(30));
        assert!(lines[0].starts_with("client diagnostics:") && lines[1] == "Relay RTT: 23 ms");
    }
}
