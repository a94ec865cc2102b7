//! No frame disappears silently: what came in went out, was answered, or was dropped with a reason, on every node and between them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Evening;

/// Frames that are on their way when the books are read make them differ for a moment.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// The books of one direction of one node.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) frames_in: u64,
    pub(crate) forwarded: u64,
    pub(crate) answered: u64,
    /// Frames that exist because one was cut up.
    pub(crate) split: u64,
    /// By reason, those that happened.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} + {} split = {} forwarded + {} answered + dropped {:?}",
            self.frames_in, self.split, self.forwarded, self.answered, self.dropped
        )
    }
}

impl Books {
    /// From a node's counters.
    pub(crate) fn read(counters: &Value) -> Self {
        let count = |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"));
        let dropped = counters["dropped"].as_object().unwrap().iter().map(|(reason, n)| (reason.clone(), n.as_u64().unwrap()));
        let dropped = dropped.filter(|(_, n)| *n > 0).collect();
        Self { frames_in: count("frames_in"), forwarded: count("forwarded"), answered: count("answered"), split: count("split"), dropped }
    }

    /// Is every frame accounted for?
    pub(crate) fn assert_whole(&self, whose: &str) {
        let dropped: u64 = self.dropped.values().sum();
        assert_eq!(self.frames_in + self.split, self.forwarded + self.answered + dropped, "{whose}: {self:?}");
    }
}

/// One look at the books of a member and of the relay about that member: do they agree?
struct Crossing {
    outbound: Books,
    inbound: Books,
    at_relay: Books,
    copies_out: u64,
}

impl Crossing {
    fn read(member: &Value, relay: &Value) -> Self {
        let rows = relay["rooms"][0]["members"].as_array().unwrap();
        let row = rows.iter().find(|row| row["member"] == member["peer"]).unwrap_or_else(|| panic!("{} is not in {relay}", member["peer"]));
        let frames = &member["frames"];
        Self {
            outbound: Books::read(&frames["outbound"]),
            inbound: Books::read(&frames["inbound"]),
            at_relay: Books::read(&row["from_member"]),
            copies_out: row["copies_out"].as_u64().unwrap(),
        }
    }

    fn agrees(&self) -> bool {
        self.outbound.forwarded == self.at_relay.frames_in && self.copies_out == self.inbound.frames_in
    }
}

/// Asserts that every frame is accounted for: on gateway, relay and client, and on the wires between them when `no_loss`. Prints the books.
pub(crate) fn assert_conserved(evening: &Evening, no_loss: bool) {
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        let party = &evening.party;
        let relay = evening.status(&party.relay);
        let members = [("client", evening.status(&party.home)), ("gateway", evening.status(&party.gateway))];
        let crossings = members.map(|(name, member)| (name, Crossing::read(&member, &relay)));
        if no_loss && Instant::now() < deadline && !crossings.iter().all(|(_, crossing)| crossing.agrees()) {
            continue;
        }
        for (name, crossing) in crossings {
            crossing.outbound.assert_whole(&format!("{name}, outbound"));
            crossing.inbound.assert_whole(&format!("{name}, inbound"));
            crossing.at_relay.assert_whole(&format!("relay, from {name}"));
            let Crossing { outbound, inbound, at_relay, copies_out } = crossing;
            println!("conservation: from {name} {outbound:?}, at the relay {at_relay:?}; to {name} {copies_out} copies, there {inbound:?}");
            if no_loss {
                assert_eq!(outbound.forwarded, at_relay.frames_in, "frames from {name} to the relay");
                assert_eq!(copies_out, inbound.frames_in, "frames from the relay to {name}");
            }
        }
        return;
    }
}
