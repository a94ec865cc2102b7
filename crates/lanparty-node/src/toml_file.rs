//! TOML files that people write: everything that is wrong is told at once, each with its line.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub type TomlValue<'v> = Spanned<DeValue<'v>>;

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TomlProblem {
    line: usize,
    words: String,
}

impl fmt::Display for TomlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.words)
    }
}

/// Collects what is wrong while a file is read.
pub struct TomlReader {
    line_ends: Vec<usize>,
    problems: Vec<TomlProblem>,
}

impl TomlReader {
    /// For this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { line_ends, problems: vec![] }
    }

    /// The tables of that text, unless it is no TOML at all.
    pub fn parse<'t>(&mut self, text: &'t str) -> Option<Spanned<DeTable<'t>>> {
        DeTable::parse(text).map_err(|e| self.problem(e.span().unwrap_or_default(), e.message().to_owned())).ok()
    }

    /// The line on which `at` begins, counted from 1.
    #[must_use]
    pub fn line(&self, at: Range<usize>) -> usize {
        self.line_ends.partition_point(|end| *end < at.start) + 1
    }

    /// Remembers that there is something wrong at `at`.
    pub fn problem(&mut self, at: Range<usize>, words: String) {
        let line = self.line(at);
        self.problems.push(TomlProblem { line, words });
    }

    /// `value`, or nothing when its problem is told here.
    pub fn told<T>(&mut self, at: Range<usize>, value: Result<T, String>) -> Option<T> {
        value.map_err(|words| self.problem(at, words)).ok()
    }

    /// How many problems there are so far.
    #[must_use]
    pub fn problems(&self) -> usize {
        self.problems.len()
    }

    /// The text of a string.
    pub fn string<'v>(&mut self, value: &'v TomlValue<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.problem(value.span(), format!("a string stands here, in quotes, not {}", value.get_ref().type_str()));
        }
        text
    }

    /// A string that is one of `known`.
    pub fn word<'v>(&mut self, value: &'v TomlValue<'_>, known: &[&str], what: &str) -> Option<&'v str> {
        let word = self.string(value)?;
        let found = if known.contains(&word) { Ok(word) } else { Err(unknown_word(what, word, known)) };
        self.told(value.span(), found)
    }

    /// What was read, when nothing was wrong.
    ///
    /// # Errors
    /// Every problem, in the order of the lines.
    pub fn end<T>(mut self, value: T) -> Result<T, Vec<TomlProblem>> {
        self.problems.sort_unstable();
        if self.problems.is_empty() { Ok(value) } else { Err(self.problems) }
    }
}

/// What is not known, and what was probably meant.
#[must_use]
pub fn unknown_word(what: &str, word: &str, known: &[&str]) -> String {
    let distance = |other: &&&str| strsim::damerau_levenshtein(&word.to_lowercase(), other);
    let nearest = known.iter().min_by_key(distance).filter(|other| distance(other) <= word.len().max(4) / 2);
    match nearest {
        Some(nearest) => format!("unknown {what} `{word}`, did you mean `{nearest}`?"),
        None => format!("unknown {what} `{word}`: it is one of {}", known.join(", ")),
    }
}
