//! What a member says of itself beside its key (docs/wire-format.md §4).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::MemberId;

/// Longest description that is kept, in bytes: a host name is no longer (RFC 1035 §2.3.4), and every member hears everybody's.
pub const DESCRIPTION_LEN_MAX: usize = 63;
/// Longest password, in bytes.
pub const PASSWORD_LEN_MAX: usize = 1024;

/// What a member calls itself, for people: shown to the others, and never an identity. Whatever is read as one is on one line, short, and
/// without characters that hide or turn text around.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "String", into = "String")]
pub struct Description(String);

impl Description {
    /// What is left of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut kept = String::new();
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
            let space = if kept.is_empty() { "" } else { " " };
            for c in space.chars().chain(word.chars()).filter(|c| !is_invisible(*c)) {
                if kept.len() + c.len_utf8() > DESCRIPTION_LEN_MAX {
                    return Self(kept.trim_end().to_owned());
                }
                kept.push(c);
            }
        }
        Self(kept.trim().to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Characters of no width, and those that turn the direction of what follows (Unicode Standard Annex 9 §2): with them a name looks like
/// another one, or turns the line around that it is in.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

impl From<String> for Description {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Description> for String {
    fn from(description: Description) -> Self {
        description.0
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member and what it calls itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Described {
    /// Who.
    pub id: MemberId,
    /// What it says.
    pub description: Description,
}

/// A user name and its password, for a room that asks for them. Said to the relay only, inside of the connection whose certificate the
/// member has checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The name, as the relay's operator has written it.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// A password that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_one_short_line_whatever_was_said() {
        for (said, kept) in [
            ("anna's  PC", "anna's PC"),
            (" \u{1b}[31mred\r\nsecond line\0 ", "[31mred second line"),
            ("\u{202e}evil\u{2069} \u{200b}x", "evil x"),
            ("\u{200b}", ""),
            ("\t\n", ""),
            ("Zoë 🎮", "Zoë 🎮"),
        ] {
            assert_eq!(Description::new(said).as_str(), kept, "{said:?}");
            let json = serde_json::to_string(said).unwrap();
            assert_eq!(serde_json::from_str::<Description>(&json).unwrap().as_str(), kept, "nor does the wire bring more");
        }
        let long = Description::new(&"ë".repeat(100));
        assert_eq!((long.as_str().chars().count(), long.as_str().len()), (31, 62), "cut between characters");
        assert_eq!(Description::new(&format!("{} x", "a".repeat(62))).as_str(), "a".repeat(62));
    }

    #[test]
    fn a_password_is_in_no_log() {
        let login = Login { user: "anna".into(), password: Password("secret".into()) };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
