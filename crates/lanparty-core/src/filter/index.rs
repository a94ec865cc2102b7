//! The rules, compiled: by family and protocol, then by the lengths of both prefixes, then by both prefixes.
//!
//! Rules of the same two lengths are one table (tuple space search). A lookup first asks which lengths have a net with the packet's
//! source, and which one with its destination; then the tables of those pairs, from the most specific one on, until one knows it.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::port_table::PortTable;
use super::rule::mask;
use super::{Family, FilterRule, Judgement, Net, Protocol, RuleNumber, Subject, Verdict, Why};

/// Rules of a filter: more than ten thousand, and no more than status and memory bear.
pub const RULES_MAX: usize = 16_384;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// More rules than [`RULES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("there are {0} rules, and a filter has {RULES_MAX} at most")]
pub struct FilterTooLong(pub usize);

/// The rules of a filter, ready to be asked. The default has none, and accepts.
#[derive(Debug, Default)]
pub struct FilterRules {
    rules: Vec<FilterRule>,
    default: Verdict,
    /// By family and protocol.
    slots: [Slot; FAMILIES.len() * Protocol::ALL.len()],
}

/// Rules for one protocol of one family.
#[derive(Debug, Default)]
struct Slot {
    srcs: Nets,
    dsts: Nets,
    /// The most specific first.
    tables: Vec<Table>,
}

impl Slot {
    /// The rules of nets that have both ends, the most specific first, with how specific they are.
    fn tables_of(&self, subject: &Subject) -> impl Iterator<Item = (u16, &PortTable)> {
        let (srcs, dsts) = (self.srcs.lens_with(subject.src), self.dsts.lens_with(subject.dst));
        let candidates = self.tables.iter().filter(move |table| srcs.has(table.lens.0) && dsts.has(table.lens.1));
        candidates.filter_map(|table| Some((table.specificity, table.of(subject)?)))
    }
}

/// All nets of one end, by their lengths: the length, its mask, and the nets in order.
#[derive(Debug, Default)]
struct Nets(Vec<(u8, u128, Vec<u128>)>);

impl Nets {
    fn lens_with(&self, address: u128) -> Lens {
        let lens = self.0.iter().filter(|(_, mask, nets)| nets.binary_search(&(address & mask)).is_ok());
        lens.fold(Lens(0), |lens, (len, ..)| Lens(lens.0 | Lens::bit(*len)))
    }
}

/// Prefix lengths. Zero is always one of them.
#[derive(Clone, Copy)]
struct Lens(u128);

impl Lens {
    const fn bit(len: u8) -> u128 {
        if len == 0 { 0 } else { 1 << (len - 1) }
    }

    const fn has(self, len: u8) -> bool {
        len == 0 || self.0 & Self::bit(len) != 0
    }
}

/// Rules whose prefixes have the same two lengths.
#[derive(Debug)]
struct Table {
    lens: (u8, u8),
    specificity: u16,
    src_mask: u128,
    dst_mask: u128,
    /// By source and destination net, in order. A search costs less than a hash that nobody can predict: most tables are short.
    nets: Vec<((u128, u128), PortTable)>,
}

impl Table {
    fn of(&self, subject: &Subject) -> Option<&PortTable> {
        let net = (subject.src & self.src_mask, subject.dst & self.dst_mask);
        let at = self.nets.binary_search_by_key(&net, |(net, _)| *net).ok()?;
        self.nets.get(at).map(|(_, table)| table)
    }
}

impl FilterRules {
    /// Compiles `rules`; `default` is for what none of them speaks of.
    ///
    /// # Errors
    /// When there are too many.
    pub fn compile(rules: Vec<FilterRule>, default: Verdict) -> Result<Self, FilterTooLong> {
        if rules.len() > RULES_MAX {
            return Err(FilterTooLong(rules.len()));
        }
        let slots = std::array::from_fn(|slot| {
            let (family, protocol) = (FAMILIES[slot / Protocol::ALL.len()], Protocol::ALL[slot % Protocol::ALL.len()]);
            compile_slot(&rules, family, protocol)
        });
        Ok(Self { rules, default, slots })
    }

    /// The rules, in the order they were said.
    #[must_use]
    pub fn rules(&self) -> &[FilterRule] {
        &self.rules
    }

    /// What becomes of what no rule speaks of.
    #[must_use]
    pub const fn default_verdict(&self) -> Verdict {
        self.default
    }

    /// What passes although rules close everything else, in words: nothing, where that cannot surprise.
    #[must_use]
    pub fn gaps(&self) -> Vec<&'static str> {
        let closes =
            |rule: &FilterRule, family| rule.is_of(family) && rule.specificity() == 0 && rule.verdicts.contains(&Some(Verdict::Drop));
        let [v4, v6] = FAMILIES.map(|family| self.rules.iter().any(|rule| closes(rule, family)));
        let drops_other = self.rules.iter().any(|rule| rule.says(Protocol::Other).is_some());
        let mut gaps = vec![];
        if self.default == Verdict::Drop || !(v4 || v6) {
            return gaps;
        }
        if !v6 {
            gaps.push("rules close IPv4 (0.0.0.0/0) and none closes IPv6 (::/0): IPv6 passes");
        }
        if !v4 {
            gaps.push("rules close IPv6 (::/0) and none closes IPv4 (0.0.0.0/0): IPv4 passes");
        }
        if !drops_other {
            gaps.push("protocols other than TCP, UDP and ICMP pass, as in n3n; --filter-default drop closes them too");
        }
        gaps
    }

    /// The rule that decides, if any does. Without ports, for protocols that have none, they are zero.
    pub(super) fn decide(&self, subject: &Subject, ports: (u16, u16)) -> Option<RuleNumber> {
        let mut best: Option<(u16, RuleNumber)> = None;
        for (specificity, nets) in self.slot(subject.family, subject.protocol).into_iter().flat_map(|slot| slot.tables_of(subject)) {
            if best.is_some_and(|(other, _)| other > specificity) {
                break;
            }
            if let Some(rule) = nets.find(ports).filter(|rule| best.is_none_or(|(_, other)| *rule < other)) {
                best = Some((specificity, rule));
            }
        }
        best.map(|(_, rule)| rule)
    }

    /// Whether a packet passes whatever its ports are; of an IPv6 fragment not even the protocol is sure. A rule that drops some
    /// of it is reason enough to say no, if no rule for all of it is more specific.
    pub(super) fn surely_accepts(&self, subject: &Subject) -> bool {
        match subject.family {
            Family::V4 => self.surely_accepts_protocol(subject, subject.protocol),
            Family::V6 => Protocol::ALL.into_iter().all(|protocol| self.surely_accepts_protocol(subject, protocol)),
        }
    }

    fn surely_accepts_protocol(&self, subject: &Subject, protocol: Protocol) -> bool {
        let mut accepted_at = None;
        for (specificity, nets) in self.slot(subject.family, protocol).into_iter().flat_map(|slot| slot.tables_of(subject)) {
            if accepted_at.is_some_and(|other| other > specificity) {
                break;
            }
            if nets.drops_some() {
                return false;
            }
            if nets.speaks_of_all() {
                accepted_at = Some(specificity);
            }
        }
        accepted_at.is_some() || self.default == Verdict::Accept
    }

    fn slot(&self, family: Family, protocol: Protocol) -> Option<&Slot> {
        self.slots.get(family as usize * Protocol::ALL.len() + protocol as usize)
    }

    pub(super) fn verdict_of(&self, rule: RuleNumber, subject: &Subject) -> Verdict {
        let rule = self.rules.get(rule as usize);
        rule.and_then(|rule| rule.says(subject.protocol)).expect("INVARIANT: a rule decides what it speaks of")
    }

    pub(super) const fn judgement(&self, decided: Option<(RuleNumber, Verdict)>) -> Judgement {
        match decided {
            Some((rule, verdict)) => Judgement { verdict, why: Why::Rule(rule) },
            None => Judgement { verdict: self.default, why: Why::Default },
        }
    }
}

fn compile_slot(rules: &[FilterRule], family: Family, protocol: Protocol) -> Slot {
    let mut by_lens: BTreeMap<(u8, u8), BTreeMap<(u128, u128), PortTable>> = BTreeMap::new();
    for (number, rule) in (0..).zip(rules).filter(|(_, rule)| rule.is_of(family)) {
        let Some(verdict) = rule.says(protocol) else { continue };
        let lens = (prefix_len(rule.src), prefix_len(rule.dst));
        let nets = by_lens.entry(lens).or_default();
        let net = (rule.src.map_or(0, |net| net.value()), rule.dst.map_or(0, |net| net.value()));
        nets.entry(net).or_default().add(number, rule, protocol, verdict);
    }
    let nets = || by_lens.iter().flat_map(|(lens, nets)| nets.keys().map(move |net| (lens, net)));
    let srcs = nets_by_len(family, nets().map(|(lens, net)| (lens.0, net.0)));
    let dsts = nets_by_len(family, nets().map(|(lens, net)| (lens.1, net.1)));
    let mut tables: Vec<_> = by_lens.into_iter().map(|(lens, nets)| finish(family, lens, nets)).collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.specificity));
    Slot { srcs, dsts, tables }
}

/// Nets that matter: all addresses have a net of length zero.
fn nets_by_len(family: Family, nets: impl Iterator<Item = (u8, u128)>) -> Nets {
    let nets: BTreeSet<_> = nets.filter(|(len, _)| *len > 0).collect();
    let mut by_len: BTreeMap<u8, Vec<u128>> = BTreeMap::new();
    nets.into_iter().for_each(|(len, net)| by_len.entry(len).or_default().push(net));
    Nets(by_len.into_iter().map(|(len, nets)| (len, mask(family, len), nets)).collect())
}

fn prefix_len(net: Option<Net>) -> u8 {
    net.map_or(0, |net| net.prefix_len())
}

fn finish(family: Family, (src_len, dst_len): (u8, u8), nets: BTreeMap<(u128, u128), PortTable>) -> Table {
    Table {
        lens: (src_len, dst_len),
        specificity: u16::from(src_len) + u16::from(dst_len),
        src_mask: mask(family, src_len),
        dst_mask: mask(family, dst_len),
        nets: nets.into_iter().map(|(net, table)| (net, table.finished())).collect(),
    }
}
