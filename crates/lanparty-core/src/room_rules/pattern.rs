//! Names of rooms by regular expression.

use std::fmt;

use lanparty_proto::RoomCode;
use regex::bytes::{Regex, RegexBuilder};

/// Longest expression, in bytes.
pub const PATTERN_LEN_MAX: usize = 256;
/// Largest automaton that one may become, in bytes: repetitions of repetitions grow beyond every length of the text.
const PROGRAM_LEN_MAX: usize = 64 << 10;

/// A regular expression that the whole name of a room matches, or does not. It takes time in proportion to the name, whatever it is: the
/// syntax is RE2's, without backreferences and looking around.
#[derive(Clone, Debug)]
pub struct RoomPattern {
    text: String,
    regex: Regex,
}

/// The text is no such expression, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Too long.
    #[error("the expression has {0} bytes, at most {PATTERN_LEN_MAX} are allowed")]
    TooLong(usize),
    /// Too much work to match.
    #[error("the expression becomes too large: repeat less, and fewer repetitions within each other")]
    TooLarge,
    /// No regular expression.
    #[error("`{text}` is no regular expression: {why}")]
    Syntax {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl RoomPattern {
    /// # Errors
    /// [`InvalidPattern`] in words.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(InvalidPattern::TooLong(text.len()));
        }
        // By itself first: `a)|(b` would become something else between the brackets of ours.
        compile(text)?;
        Ok(Self { text: text.to_owned(), regex: compile(&format!(r"\A(?:{text})\z"))? })
    }

    /// The one that every name matches.
    #[must_use]
    pub fn anything() -> Self {
        Self::new(".*").expect("INVARIANT: this is a small regular expression")
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, room: &RoomCode) -> bool {
        self.regex.is_match(room.as_str().as_bytes())
    }
}

/// Room codes are ASCII.
fn compile(text: &str) -> Result<Regex, InvalidPattern> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(PROGRAM_LEN_MAX).dfa_size_limit(PROGRAM_LEN_MAX).build();
    built.map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => InvalidPattern::TooLarge,
        other => InvalidPattern::Syntax { text: text.to_owned(), why: last_line(&other.to_string()) },
    })
}

/// The words; above them the expression is drawn again.
fn last_line(drawn: &str) -> String {
    drawn.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl PartialEq for RoomPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RoomPattern {}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn matches(pattern: &str, room: &str) -> bool {
        RoomPattern::new(pattern).unwrap().matches(&room.parse().unwrap())
    }

    #[test]
    fn the_whole_name_matches_or_the_name_does_not() {
        for (pattern, room, does) in [
            ("party-[0-9]+", "party-17", true),
            ("party-[0-9]+", "party-17x", false),
            ("party-[0-9]+", "my-party-17", false),
            ("a|ab", "ab", true),
            ("a|b", "xb", false),
            ("(?i)room.", "ROOM1", true),
            (r"\w+", "room-1", false),
            (r"\d\d", "42", true),
            ("", "x", false),
            (".*", "x", true),
        ] {
            assert_eq!(matches(pattern, room), does, "{pattern} {room}");
        }
        assert!(RoomPattern::anything().matches(&"Any.room_at-all".parse().unwrap()));
    }

    #[test]
    fn an_expression_that_would_run_for_ever_elsewhere_takes_no_time() {
        let started = Instant::now();
        for evil in ["(a+)+b", "(a|aa)+b", "(.*a){12}b", "(a*)*b"] {
            assert!(!matches(evil, &"a".repeat(64)), "{evil}");
        }
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }

    #[test]
    fn what_is_none_or_too_large_is_refused_with_words() {
        for (text, why) in [
            ("a)|(b", "unopened group"),
            ("[a", "unclosed character class"),
            ("*a", "repetition operator missing expression"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)b", "look-around"),
            ("a{1000}{1000}", "too large"),
            ("(?x)a # ", "no regular expression"),
        ] {
            let error = RoomPattern::new(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(RoomPattern::new(&"a".repeat(257)), Err(InvalidPattern::TooLong(257)));
        assert!(RoomPattern::new(&"a".repeat(256)).is_ok());
    }
}
