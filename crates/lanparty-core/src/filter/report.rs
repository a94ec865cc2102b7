//! How often each rule decided, for `lanparty status`.

use serde::Serialize;

use super::{Filter, Judgement, Verdict, Why};

/// Frames of one direction, by what decided.
#[derive(Debug)]
pub(super) struct Hits {
    rules: Vec<u64>,
    by_default: u64,
    neighbours: u64,
    unreadable: u64,
    fragments: u64,
}

impl Hits {
    pub(super) fn new(rules: usize) -> Self {
        Self { rules: vec![0; rules], by_default: 0, neighbours: 0, unreadable: 0, fragments: 0 }
    }

    pub(super) fn count(&mut self, judgement: Judgement) {
        let counter = match judgement.why {
            Why::Rule(rule) => match self.rules.get_mut(rule as usize) {
                Some(counter) => counter,
                None => return,
            },
            Why::Default => &mut self.by_default,
            Why::Neighbours => &mut self.neighbours,
            Why::Unreadable(_) => &mut self.unreadable,
            Why::OverlapsFirst | Why::PassesAnyhow | Why::FirstUnknown => &mut self.fragments,
        };
        *counter += 1;
    }
}

/// A filter, and the frames that each part of it decided: out of the device, and into it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FilterReport {
    /// In the order they were said.
    pub rules: Vec<RuleHits>,
    /// What becomes of the rest.
    pub default: Verdict,
    /// How much of it there was, out and in.
    pub default_hits: [u64; 2],
    /// ARP and neighbour discovery, which pass.
    pub neighbours: [u64; 2],
    /// Frames whose headers could not be read, dropped.
    pub unreadable: [u64; 2],
    /// Later fragments without their first one.
    pub fragments: [u64; 2],
}

/// How often a rule decided.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct RuleHits {
    /// What its author calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The rule in one line.
    pub rule: String,
    /// Frames out of the device, and into it.
    pub hits: [u64; 2],
}

impl FilterReport {
    /// The report of both directions of one device.
    #[must_use]
    pub fn of(outbound: &Filter, inbound: &Filter) -> Self {
        let (out, into) = (&outbound.hits, &inbound.hits);
        let hits = out.rules.iter().zip(&into.rules);
        let rules = outbound.rules().rules().iter().zip(hits);
        Self {
            rules: rules
                .map(|(rule, (out, into))| RuleHits { name: rule.name.clone(), rule: rule.to_string(), hits: [*out, *into] })
                .collect(),
            default: outbound.rules().default_verdict(),
            default_hits: [out.by_default, into.by_default],
            neighbours: [out.neighbours, into.neighbours],
            unreadable: [out.unreadable, into.unreadable],
            fragments: [out.fragments, into.fragments],
        }
    }
}
