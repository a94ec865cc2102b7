//! One thing that is wrong, or worth knowing: with its numbers, its evidence and the next step.

use std::fmt;

use serde::Serialize;

use crate::Code;

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something works badly, or will not work in some rooms.
    Warning,
    /// Worth knowing; no problem.
    #[serde(rename = "note")]
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "note",
        })
    }
}

/// Something that is wrong with a network, or worth knowing of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[non_exhaustive]
pub struct Finding {
    /// Its stable name.
    #[schemars(with = "String")]
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence with the numbers in it, for people; in lower case, as it follows a colon.
    pub title: String,
    /// What it was seen by.
    pub evidence: Vec<String>,
    /// What to do.
    pub advice: String,
    /// What follows from this, and is not said as well.
    #[schemars(with = "Vec<String>")]
    pub hides: Vec<Code>,
    /// Its page, from the root of the documentation.
    pub page: String,
}

impl Finding {
    pub(crate) fn error(code: Code, title: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, title.into())
    }

    pub(crate) fn warning(code: Code, title: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, title.into())
    }

    pub(crate) fn info(code: Code, title: impl Into<String>) -> Self {
        Self::new(code, Severity::Info, title.into())
    }

    fn new(code: Code, severity: Severity, title: String) -> Self {
        Self { code, severity, title, evidence: vec![], advice: String::new(), hides: vec![], page: code.page() }
    }

    pub(crate) fn seen_by(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    pub(crate) fn hiding(mut self, consequences: &[Code]) -> Self {
        self.hides.extend_from_slice(consequences);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.title)
    }
}
