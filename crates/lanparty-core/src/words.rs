//! What a member says of itself in words, before it is logged or passed on to others.

/// Longest text of a member that is kept, in characters. As long as a control message, it would not fit into one
/// together with what the relay adds, and so end the connection of everybody who hears it.
const TEXT_LEN_MAX: usize = 120;

/// `text` on one line of bounded length.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().take(TEXT_LEN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
