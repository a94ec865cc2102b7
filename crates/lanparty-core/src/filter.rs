//! The traffic filter: which packets may leave or enter this host's device, by the owner's rules. Asked first for what comes
//! from the device, and last for what goes into it.
//!
//! The most specific rule decides: the one whose source and destination prefixes are longest together, and of equals the one
//! that was said first. ARP and neighbour discovery always pass; what cannot be read never does (THREATS A8-A10); a later
//! fragment shares the verdict of its first. Compiled once: what a packet costs does not grow with the number of rules.

mod cache;
mod fragments;
mod grammar;
mod index;
mod port_table;
mod report;
mod rule;

use std::net::IpAddr;
use std::sync::Arc;

use lanparty_proto::{DropReason, Frame, Headers, IpHeaders, LoopProbe, Part};

use cache::{Cache, CacheKey};
use fragments::{FragmentKey, Fragments, Known};

pub use grammar::RuleError;
pub use index::{FilterRules, FilterTooLong, RULES_MAX};
pub use report::{FilterReport, RuleHits};
pub use rule::{FilterRule, Net, PortRange, Protocol, Verdict};

/// The number of a rule, in the order they were said.
pub type RuleNumber = u32;

/// Why a frame passes, or does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// This rule is the most specific one.
    Rule(RuleNumber),
    /// No rule speaks of it.
    Default,
    /// ARP or neighbour discovery; or a probe for loops, which must find every one.
    Neighbours,
    /// Its headers cannot be read.
    Unreadable(DropReason),
    /// It overlaps the first fragment, and could write over what was judged (RFC 3128, RFC 5722).
    OverlapsFirst,
    /// Its first fragment is not known, and whatever it said, it would pass.
    PassesAnyhow,
    /// Its first fragment is not known, and might not have passed.
    FirstUnknown,
}

/// What the filter says of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// Whether it passes.
    pub verdict: Verdict,
    /// And why.
    pub why: Why,
}

/// The filter of one direction: the rules, and what it remembers.
#[derive(Debug)]
pub struct Filter {
    rules: Arc<FilterRules>,
    cache: Cache,
    fragments: Fragments,
    hits: report::Hits,
}

impl Filter {
    /// A filter by these rules.
    #[must_use]
    pub fn new(rules: Arc<FilterRules>) -> Self {
        let hits = report::Hits::new(rules.rules().len());
        Self { rules, cache: Cache::default(), fragments: Fragments::default(), hits }
    }

    /// Whether `frame` may pass; counted.
    ///
    /// # Errors
    /// [`DropReason::Filtered`]; or why it cannot be read.
    pub fn judge(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let judgement = self.explain(frame);
        self.hits.count(judgement);
        match judgement {
            Judgement { verdict: Verdict::Accept, .. } => Ok(()),
            Judgement { why: Why::Unreadable(reason), .. } => Err(reason),
            Judgement { .. } => Err(DropReason::Filtered),
        }
    }

    /// The same with the reason, not counted.
    pub fn explain(&mut self, frame: &[u8]) -> Judgement {
        match Frame::parse(frame).and_then(|frame| Ok((frame, Headers::read(&frame)?))) {
            Ok((_, Headers::Ip(ip))) => self.explain_ip(&ip),
            Ok((frame, Headers::Other(_))) if LoopProbe::read(&frame).is_none() => self.rules.judgement(None),
            Ok((_, Headers::Neighbours | Headers::Other(_))) => Judgement { verdict: Verdict::Accept, why: Why::Neighbours },
            Err(reason) => Judgement { verdict: Verdict::Drop, why: Why::Unreadable(reason) },
        }
    }

    fn explain_ip(&mut self, ip: &IpHeaders) -> Judgement {
        let subject = Subject::of(ip);
        match ip.part {
            Part::Whole { ports } => self.by_rules(&subject, ports),
            Part::First { ports, id, end } => {
                let judgement = self.by_rules(&subject, ports);
                self.fragments.keep(FragmentKey::new(&subject, ip.protocol, id), Known { judgement, end });
                judgement
            }
            Part::Later { id, start } => match self.fragments.find(&FragmentKey::new(&subject, ip.protocol, id)) {
                Some(first) if first.end > start => Judgement { verdict: Verdict::Drop, why: Why::OverlapsFirst },
                Some(first) => first.judgement,
                None => self.without_first(&subject),
            },
        }
    }

    fn by_rules(&mut self, subject: &Subject, ports: Option<(u16, u16)>) -> Judgement {
        let ports = ports.unwrap_or_default();
        let key = CacheKey { subject: *subject, ports };
        let rules = &self.rules;
        let decided = self.cache.find_or(key, || rules.decide(subject, ports).map(|rule| (rule, rules.verdict_of(rule, subject))));
        rules.judgement(decided)
    }

    /// A later fragment that came before its first, or long after it: it passes where its first would whatever it said.
    fn without_first(&self, subject: &Subject) -> Judgement {
        if self.rules.surely_accepts(subject) {
            Judgement { verdict: Verdict::Accept, why: Why::PassesAnyhow }
        } else {
            Judgement { verdict: Verdict::Drop, why: Why::FirstUnknown }
        }
    }

    /// The rules that it goes by.
    #[must_use]
    pub fn rules(&self) -> &FilterRules {
        &self.rules
    }
}

/// The IP family of both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What rules are looked up by, but for the ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    family: Family,
    protocol: Protocol,
    src: u128,
    dst: u128,
}

impl Subject {
    fn of(ip: &IpHeaders) -> Self {
        let ((family, src), (_, dst)) = (number(ip.ends.0), number(ip.ends.1));
        Self { family, protocol: Protocol::of(ip.protocol, family), src, dst }
    }
}

/// An address as a number, IPv4 in the low 32 bits.
fn number(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(v4) => (Family::V4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
    }
}

#[cfg(test)]
mod tests;
