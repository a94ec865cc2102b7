//! What is read of files that people write: for those who try it with anything (fuzz/).

use lanparty_core::RoomRule;
use lanparty_node::TomlProblem;

/// The rules of a file of rooms.
///
/// # Errors
/// Everything that is wrong with it.
pub fn rooms(text: &str) -> Result<Vec<RoomRule>, Vec<TomlProblem>> {
    crate::rooms::of_text(text)
}

/// The file of rooms that a supernode's list becomes, and how many rooms are in it.
#[must_use]
pub fn communities(text: &str) -> (String, usize) {
    let imported = crate::rooms::import(text);
    (imported.toml, imported.rooms)
}
