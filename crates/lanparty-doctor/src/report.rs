//! Findings in the order in which people should read them: without the consequences of others, the worst first.

mod seen;

use std::fmt;

use serde::Serialize;

use crate::words::count;
use crate::{Code, Facts, Finding, Severity, rules};

/// The shape of a report as JSON.
const FORMAT: u32 = 1;
/// What the program ends with when its answer is not whole.
const NOT_ALL_EXAMINED: u8 = 2;

/// What an examination comes to. As text for people (`{}` short, `{:#}` with evidence and advice), or serialised whole.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of this shape (docs/doctor-json.md). A new field leaves it; a field that goes or changes raises it.
    pub format: u32,
    /// The verdict in one sentence.
    pub verdict: String,
    /// What the program ends with: 0 no problem, 1 problems found, 2 not all of it could be examined.
    pub exit_code: u8,
    /// What is wrong, the worst first, and of equals the cause first.
    pub findings: Vec<Finding>,
    /// What was asked for and could not be looked at.
    pub not_examined: Vec<NotExamined>,
    /// What follows from those and is therefore not among them.
    pub hidden: Vec<Hidden>,
    /// What works or is worth seeing, one line each.
    pub seen: Vec<String>,
    /// What all of it is derived from.
    pub facts: Facts,
}

/// Something that was asked for and could not be looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotExamined {
    /// Such as `room`.
    pub what: String,
    /// Why not.
    pub cause: String,
    /// What to do about it.
    pub advice: String,
}

/// A finding that is the consequence of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Hidden {
    /// The consequence.
    pub finding: Finding,
    /// Its cause.
    pub because_of: Code,
}

/// What the facts come to.
#[must_use]
pub fn examine(facts: Facts) -> Report {
    let (mut findings, hidden) = without_consequences(rules::all(&facts));
    findings.sort_by_key(|f| (f.severity, f.code));
    let problems = findings.iter().filter(|f| f.severity != Severity::Info).count();
    Report {
        format: FORMAT,
        verdict: verdict(&findings, problems),
        exit_code: u8::from(problems > 0),
        findings,
        not_examined: vec![],
        hidden,
        seen: seen::lines(&facts),
        facts,
    }
}

impl Report {
    /// The same, without something that was asked for.
    #[must_use]
    pub fn without(mut self, missing: NotExamined) -> Self {
        self.exit_code = NOT_ALL_EXAMINED;
        self.not_examined.push(missing);
        self
    }
}

/// A cause stands before its consequences in the order of codes, so no two can hide each other.
fn without_consequences(all: Vec<Finding>) -> (Vec<Finding>, Vec<Hidden>) {
    let causes = all.clone();
    let cause_of = |f: &Finding| causes.iter().find(|cause| cause.code < f.code && cause.hides.contains(&f.code)).map(|c| c.code);
    let (mut findings, mut hidden) = (vec![], vec![]);
    for finding in all {
        match cause_of(&finding) {
            Some(because_of) => hidden.push(Hidden { finding, because_of }),
            None => findings.push(finding),
        }
    }
    (findings, hidden)
}

fn verdict(findings: &[Finding], problems: usize) -> String {
    let notes = findings.len() - problems;
    // "No problem" would be more than is known.
    let but = if findings.iter().any(|f| f.code == Code::ProbeServiceMissing) { ", but sizes could not be measured" } else { "" };
    match (findings.first(), problems) {
        (_, 0) if notes > 0 => format!("No problem found{but}; {}.", count(notes as u64, "note")),
        (None, _) | (_, 0) => "No problem found.".to_owned(),
        (Some(first), 1) => format!("1 problem: {}.", first.title),
        (Some(first), n) => format!("{n} problems, the first: {}.", first.title),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict)?;
        for missing in &self.not_examined {
            writeln!(f, "  {} not examined: {}", missing.what, missing.cause)?;
            writeln!(f, "          what to do: {}", missing.advice)?;
        }
        for finding in &self.findings {
            line(finding, f)?;
            if f.alternate() {
                details(finding, f)?;
            }
        }
        if f.alternate() {
            for Hidden { finding, because_of } in &self.hidden {
                writeln!(f, "  follows from {because_of}: {finding}")?;
            }
        }
        self.seen.iter().try_for_each(|seen| writeln!(f, "  - {seen}"))?;
        let has_more = !f.alternate() && !self.findings.is_empty();
        if has_more {
            writeln!(f, "-v shows what each finding was seen by and what to do about it, --explain CODE all about one")
        } else {
            Ok(())
        }
    }
}

fn line(finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  {:<8}{finding}", finding.severity.to_string())
}

fn details(finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    finding.evidence.iter().try_for_each(|evidence| writeln!(f, "          seen: {evidence}"))?;
    writeln!(f, "          what to do: {}", finding.advice)?;
    writeln!(f, "          more: lanparty doctor --explain {}", finding.code)
}
