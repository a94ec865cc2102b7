//! What is to be seen, without a terminal, a clock or a process: events in, state out.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use lanparty_lab::{GameInfo, MacEntry, Party, ServerLease};

mod conditions;
mod facts;

pub(crate) use conditions::Condition;
pub(crate) use facts::Facts;

/// Round trips kept for the graph.
const PINGS_KEPT: usize = 240;

/// What a member's DHCP offer is dropped as.
const ROGUE_REASON: &str = "DhcpServerReply";

/// The steps of the show, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Lan,
    Server,
    Relay,
    Gateway,
    Client,
    Lease,
    Ping,
    Switch,
    Found,
    Rogue,
}

impl Step {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Lan,
        Self::Server,
        Self::Relay,
        Self::Gateway,
        Self::Client,
        Self::Lease,
        Self::Ping,
        Self::Switch,
        Self::Found,
        Self::Rogue,
    ];

    /// In words.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Lan => "LAN with switch, DHCP server, 3 PCs",
            Self::Server => "game server on pc2",
            Self::Relay => "relay up on the internet",
            Self::Gateway => "gateway joined",
            Self::Client => "player at home joined",
            Self::Lease => "lease from the LAN",
            Self::Ping => "pc1 answers the player's ping",
            Self::Switch => "switch knows the player's MAC",
            Self::Found => "game found by broadcast",
            Self::Rogue => "false DHCP offer from home stopped",
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Progress {
    /// Not begun.
    #[default]
    Waiting,
    /// Under way.
    Doing,
    /// Done, with what came of it.
    Done(String),
}

/// What the director tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// A step got further.
    Step(Step, Progress),
    /// What the programs say of themselves.
    Facts(Facts),
    /// The switch's MAC table.
    MacTable(Vec<MacEntry>),
    /// What the DHCP server gave away.
    Leases(Vec<ServerLease>),
    /// A round trip from the player to pc1, or `None` when the answer did not come.
    Ping(Option<Duration>),
    /// A game server seen in the player's LAN browser.
    Game(GameInfo),
}

/// Everything that is to be seen now.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) elapsed: Duration,
    pub(crate) facts: Facts,
    pub(crate) mac_table: Vec<MacEntry>,
    pub(crate) leases: Vec<ServerLease>,
    pub(crate) pings: VecDeque<Option<Duration>>,
    pub(crate) pings_sent: usize,
    pub(crate) pings_answered: usize,
    pub(crate) game: Option<GameInfo>,
    steps: [Progress; Step::ALL.len()],
}

impl Scene {
    /// Before the first event.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Time passes.
    pub(crate) fn now(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Takes an event; those that show a step to be done tick it off.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Step(step, progress) => self.steps[step as usize] = progress,
            Event::Facts(facts) => self.facts = facts,
            Event::MacTable(table) => self.mac_table = table,
            Event::Leases(leases) => self.leases = leases,
            Event::Ping(round_trip) => self.ping(round_trip),
            Event::Game(game) => {
                self.done(Step::Found, format!("after {} ms", game.after.as_millis()));
                self.game = Some(game);
            }
        }
        if let Some(address) = self.leased_address() {
            self.done(Step::Lease, address.to_string());
        }
        let stopped = self.facts.drops(ROGUE_REASON);
        if stopped > 0 {
            self.done(Step::Rogue, format!("{ROGUE_REASON} {stopped}"));
        }
        if let Some(port) = self.player_port().map(str::to_owned) {
            self.done(Step::Switch, format!("on port {port}"));
        }
    }

    fn ping(&mut self, round_trip: Option<Duration>) {
        self.pings_sent += 1;
        self.pings_answered += usize::from(round_trip.is_some());
        if let Some(time) = round_trip {
            self.done(Step::Ping, format!("first in {:.1} ms", time.as_secs_f64() * 1e3));
        }
        self.pings.push_back(round_trip);
        if self.pings.len() > PINGS_KEPT {
            self.pings.pop_front();
        }
    }

    /// What was said first stays.
    fn done(&mut self, step: Step, outcome: String) {
        let progress = &mut self.steps[step as usize];
        if !matches!(progress, Progress::Done(_)) {
            *progress = Progress::Done(outcome);
        }
    }

    /// How far a step is.
    pub(crate) fn progress(&self, step: Step) -> &Progress {
        &self.steps[step as usize]
    }

    /// Is it done?
    pub(crate) fn is_done(&self, step: Step) -> bool {
        matches!(self.progress(step), Progress::Done(_))
    }

    /// The player's MAC address.
    pub(crate) fn player_mac(&self) -> Option<&str> {
        self.facts.client_mac.as_deref()
    }

    /// The address that both the player's interface and the DHCP server's books show.
    pub(crate) fn leased_address(&self) -> Option<Ipv4Addr> {
        let mac = self.player_mac()?;
        let lease = self.leases.iter().find(|lease| lease.mac.eq_ignore_ascii_case(mac))?;
        self.facts.client_addresses.contains(&lease.address).then_some(lease.address)
    }

    /// The switch's port on which the player's MAC address was learnt.
    pub(crate) fn player_port(&self) -> Option<&str> {
        let mac = self.player_mac()?;
        self.mac_table.iter().find(|entry| entry.mac.eq_ignore_ascii_case(mac)).map(|entry| entry.port.as_str())
    }

    /// Is a row of the MAC table the player, where the player belongs?
    pub(crate) fn is_player_on_gateway(&self, entry: &MacEntry) -> bool {
        entry.port == Party::gateway_port() && self.player_mac().is_some_and(|mac| mac.eq_ignore_ascii_case(&entry.mac))
    }

    /// Median of the round trips kept.
    pub(crate) fn ping_median(&self) -> Option<Duration> {
        let mut times: Vec<Duration> = self.pings.iter().copied().flatten().collect();
        times.sort();
        times.get(times.len() / 2).copied()
    }

    /// The guide's pass conditions as they stand now.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        conditions::judge(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const MAC: &str = "02:6c:70:00:00:07";

    /// A show in which everything went well.
    pub(crate) fn good_show() -> Scene {
        let mut scene = Scene::new();
        let address = Ipv4Addr::new(10, 73, 42, 123);
        let status = serde_json::json!([
            { "program": "lanparty-client", "mac": MAC, "addresses": ["169.254.1.1", address], "gateway_connected": true, "rtt_ms": 16.25,
              "lan_mtu": 1389, "frames": { "outbound": { "frames_in": 9, "forwarded": 8, "dropped": { "DhcpServerReply": 1, "Malformed": 0 } },
              "inbound": { "frames_in": 5, "forwarded": 5, "dropped": {} } } },
            { "program": "lanparty-relay", "rooms": [{ "room": "PARTY", "lan_mtu": 1389, "members": [
                { "role": "Gateway", "member": 1, "mac": "02:00:00:00:00:01", "remote": "10.99.0.20:1", "from_member": { "frames_in": 4, "forwarded": 4 } },
                { "role": "Client", "member": 2, "mac": MAC, "remote": "10.99.0.30:1", "from_member": { "frames_in": 3, "forwarded": 2, "dropped": { "RateLimit": 1 } } } ] }] }
        ]);
        scene.apply(Event::Facts(Facts::read(status.as_array().unwrap())));
        scene.apply(Event::Leases(vec![ServerLease { mac: MAC.into(), address, name: None }]));
        scene.apply(Event::MacTable(vec![
            MacEntry { mac: MAC.to_uppercase(), port: "gateway".into() },
            MacEntry { mac: "02:00:00:00:00:11".into(), port: "pc1".into() },
        ]));
        for ms in [22, 21, 25] {
            scene.apply(Event::Ping(Some(Duration::from_millis(ms))));
        }
        scene.apply(Event::Ping(None));
        let game = GameInfo {
            address: "10.73.42.12:8303".parse().unwrap(),
            name: "the venue's server".into(),
            map: "dm1".into(),
            mode: "DM".into(),
            players: (0, 8),
            after: Duration::from_millis(61),
        };
        scene.apply(Event::Game(game));
        scene
    }

    #[test]
    fn observations_tick_their_steps_off() {
        let scene = good_show();
        for step in [Step::Lease, Step::Ping, Step::Switch, Step::Found, Step::Rogue] {
            assert!(scene.is_done(step), "{step:?}");
        }
        assert_eq!(scene.progress(Step::Rogue), &Progress::Done("DhcpServerReply 1".into()));
        assert_eq!(scene.progress(Step::Ping), &Progress::Done("first in 22.0 ms".into()));
        assert_eq!(scene.ping_median(), Some(Duration::from_millis(22)));
        assert_eq!((scene.pings_sent, scene.pings_answered), (4, 3));
    }

    #[test]
    fn a_self_given_address_is_no_lease() {
        let mut scene = good_show();
        scene.leases[0].address = Ipv4Addr::new(10, 73, 42, 99);
        assert_eq!(scene.leased_address(), None);
    }
}
