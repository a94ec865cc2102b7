//! What the programs say of themselves: the answer of `lanparty status --json`, read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

/// A member as the relay sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) role: String,
    pub(crate) number: u64,
    pub(crate) mac: String,
    pub(crate) remote: String,
}

/// The frames of one direction of one program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Books {
    /// Whose, and which way.
    pub(crate) title: &'static str,
    pub(crate) frames_in: u64,
    pub(crate) forwarded: u64,
    /// Drops by reason, none of them zero.
    pub(crate) dropped: BTreeMap<String, u64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Facts {
    pub(crate) rooms: Vec<String>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) gateway_connected: bool,
    pub(crate) client_mac: Option<String>,
    pub(crate) client_addresses: Vec<Ipv4Addr>,
    pub(crate) client_rtt_ms: Option<f64>,
    pub(crate) gateway_rtt_ms: Option<f64>,
    pub(crate) lan_mtu: Option<u64>,
    pub(crate) books: Vec<Books>,
}

impl Facts {
    /// Reads the programs' answers. What is missing stays empty: a program may have started a moment ago.
    pub(crate) fn read(programs: &[Value]) -> Self {
        let mut facts = Self::default();
        for program in programs {
            match program["program"].as_str() {
                Some("lanparty-client") => facts.read_client(program),
                Some("lanparty-gateway") => facts.read_gateway(program),
                Some("lanparty-relay") => facts.read_relay(program),
                _ => {}
            }
        }
        facts.books.sort_by_key(|books| ROWS.iter().position(|title| *title == books.title));
        facts
    }

    /// How many frames all programs together dropped for this reason.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        self.books.iter().filter_map(|books| books.dropped.get(reason)).sum()
    }

    fn read_client(&mut self, program: &Value) {
        self.gateway_connected = program["gateway_connected"].as_bool().unwrap_or(false);
        self.client_mac = program["mac"].as_str().map(str::to_owned);
        let addresses = program["addresses"].as_array().into_iter().flatten();
        self.client_addresses = addresses.filter_map(|address| address.as_str()?.parse().ok()).collect();
        self.client_rtt_ms = program["rtt_ms"].as_f64();
        self.lan_mtu = program["lan_mtu"].as_u64();
        self.books.push(Books::read(ROWS[0], [&program["frames"]["outbound"]]));
        self.books.push(Books::read(ROWS[1], [&program["frames"]["inbound"]]));
    }

    fn read_gateway(&mut self, program: &Value) {
        self.gateway_rtt_ms = program["rtt_ms"].as_f64();
        self.books.push(Books::read(ROWS[3], [&program["frames"]["outbound"]]));
        self.books.push(Books::read(ROWS[4], [&program["frames"]["inbound"]]));
    }

    fn read_relay(&mut self, program: &Value) {
        let rooms: Vec<&Value> = program["rooms"].as_array().into_iter().flatten().collect();
        self.rooms = rooms.iter().filter_map(|room| room["room"].as_str().map(str::to_owned)).collect();
        let members: Vec<&Value> = rooms.iter().flat_map(|room| room["members"].as_array().into_iter().flatten()).collect();
        self.peers = members.iter().map(|member| Peer::read(member)).collect();
        self.books.push(Books::read(ROWS[2], members.iter().map(|member| &member["from_member"])));
    }
}

/// The titles of the books, in a frame's order from home to the LAN.
const ROWS: [&str; 5] = ["client, from home", "client, to home", "relay", "gateway, from LAN", "gateway, to LAN"];

impl Peer {
    fn read(member: &Value) -> Self {
        let text = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
        Self { role: text("role").to_lowercase(), number: member["member"].as_u64().unwrap_or(0), mac: text("mac"), remote: text("remote") }
    }
}

impl Books {
    /// Adds counters up.
    fn read<'a>(title: &'static str, counters: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut books = Self { title, ..Self::default() };
        for counters in counters {
            books.frames_in += counters["frames_in"].as_u64().unwrap_or(0);
            books.forwarded += counters["forwarded"].as_u64().unwrap_or(0);
            let reasons = counters["dropped"].as_object().into_iter().flatten();
            for (reason, count) in reasons.filter_map(|(reason, count)| Some((reason, count.as_u64().filter(|count| *count > 0)?))) {
                *books.dropped.entry(reason.clone()).or_default() += count;
            }
        }
        books
    }

    /// `RateLimit 1, UnknownDestination 7`, or `none`.
    pub(crate) fn drops(&self) -> String {
        let drops: Vec<String> = self.dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if drops.is_empty() { "none".into() } else { drops.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::good_show;

    #[test]
    fn the_answers_of_the_programs_are_read() {
        let facts = good_show().facts;
        assert_eq!((facts.rooms.as_slice(), facts.lan_mtu), (&["PARTY".to_owned()][..], Some(1389)));
        let rows: Vec<_> = facts.books.iter().map(|books| (books.title, books.frames_in, books.forwarded, books.drops())).collect();
        assert_eq!(rows[0], ("client, from home", 9, 8, "DhcpServerReply 1".into()));
        assert_eq!(rows[2], ("relay", 7, 6, "RateLimit 1".into()));
        assert_eq!(facts.peers[1].remote, "10.99.0.30:1");
    }

    #[test]
    fn a_program_that_does_not_answer_is_left_out() {
        let answers = [serde_json::json!({ "socket": "/run/x.sock", "error": "no answer" })];
        assert_eq!(super::Facts::read(&answers), super::Facts::default());
    }
}
