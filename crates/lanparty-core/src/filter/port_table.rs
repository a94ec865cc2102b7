//! Rules that differ in nothing but their ports: which of them, the earliest first, is for a packet.
//!
//! Most rules limit the destination's port alone. They become a partition of all ports, in which each part knows its
//! earliest rule. Those that limit the source's are few, and are walked.

use std::collections::BTreeSet;

use super::{FilterRule, PortRange, Protocol, RuleNumber, Verdict};

/// Rules for one pair of nets and one protocol.
#[derive(Debug, Default)]
pub(super) struct PortTable {
    /// From this destination port on, until the next part, this rule.
    parts: Vec<(u16, Option<RuleNumber>)>,
    /// Rules that ask for the destination's port alone; turned into `parts`.
    by_destination: Vec<(PortRange, RuleNumber)>,
    /// Rules that ask for the source's port: source, destination, rule.
    by_both: Vec<(PortRange, PortRange, RuleNumber)>,
    drops_some: bool,
    speaks_of_all: bool,
}

impl PortTable {
    /// Adds a rule, later than all before.
    pub(super) fn add(&mut self, number: RuleNumber, rule: &FilterRule, protocol: Protocol, verdict: Verdict) {
        // n3n's way: ports say nothing of what has none.
        let (src, dst) = if protocol.has_ports() { (rule.src_ports, rule.dst_ports) } else { (PortRange::ALL, PortRange::ALL) };
        if self.speaks_of_all {
            return;
        }
        self.drops_some |= verdict == Verdict::Drop;
        self.speaks_of_all = src == PortRange::ALL && dst == PortRange::ALL;
        if src == PortRange::ALL {
            self.by_destination.push((dst, number));
        } else {
            self.by_both.push((src, dst, number));
        }
    }

    /// Ready to be asked.
    pub(super) fn finished(mut self) -> Self {
        self.parts = partition(&std::mem::take(&mut self.by_destination));
        self
    }

    /// The earliest rule for these ports, source and destination.
    pub(super) fn find(&self, (src, dst): (u16, u16)) -> Option<RuleNumber> {
        let behind = self.parts.partition_point(|(first, _)| *first <= dst);
        let by_destination = behind.checked_sub(1).and_then(|at| self.parts.get(at)).and_then(|(_, rule)| *rule);
        let mut earlier = self.by_both.iter().take_while(|(_, _, rule)| by_destination.is_none_or(|other| *rule < other));
        let by_both = earlier.find(|(from, to, _)| from.contains(src) && to.contains(dst));
        by_both.map(|(_, _, rule)| *rule).or(by_destination)
    }

    /// Whether some ports are dropped.
    pub(super) const fn drops_some(&self) -> bool {
        self.drops_some
    }

    /// Whether all ports are spoken of by one rule.
    pub(super) const fn speaks_of_all(&self) -> bool {
        self.speaks_of_all
    }
}

/// The ports cut where a rule begins or ends, each part with the earliest rule that covers it.
fn partition(rules: &[(PortRange, RuleNumber)]) -> Vec<(u16, Option<RuleNumber>)> {
    let begins = rules.iter().map(|(range, rule)| (u32::from(range.first), true, *rule));
    let ends = rules.iter().map(|(range, rule)| (u32::from(range.last) + 1, false, *rule));
    let mut changes: Vec<_> = begins.chain(ends).collect();
    changes.sort_unstable();
    let (mut parts, mut open) = (vec![], BTreeSet::new());
    for together in changes.chunk_by(|a, b| a.0 == b.0) {
        for (_, is_begin, rule) in together {
            if *is_begin {
                open.insert(*rule)
            } else {
                open.remove(rule)
            };
        }
        let Some(first) = together.first().and_then(|(port, ..)| u16::try_from(*port).ok()) else { break };
        parts.push((first, open.first().copied()));
    }
    parts
}
