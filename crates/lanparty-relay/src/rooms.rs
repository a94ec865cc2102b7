//! The rooms that the relay's operator has written down in a file (docs/rooms.md).

mod file;
mod import;

use std::io::Read;
use std::path::{Path, PathBuf};

use lanparty_core::{RoomRule, RoomRules};
use lanparty_node::{ExitCode, Fault, TomlProblem};
use tracing::{info, warn};

pub(crate) use import::import;

/// Largest file of rooms: ten thousand of them with their users need less.
const FILE_LEN_MAX: u64 = 8 << 20;
/// Lines about a file that a relay logs at once. Who has it checked is told all of them.
const PROBLEMS_MAX: usize = 12;

/// The file, and whether there may be rooms beside those in it.
#[derive(Clone, Debug)]
pub(crate) struct RoomsFile {
    path: Option<PathBuf>,
    is_open: bool,
}

impl RoomsFile {
    pub(crate) const fn new(path: Option<PathBuf>, is_open: bool) -> Self {
        Self { path, is_open }
    }

    /// Whether there is something to read anew.
    pub(crate) const fn is_there(&self) -> bool {
        self.path.is_some()
    }

    /// The rules that it has now.
    pub(crate) fn load(&self) -> Result<RoomRules, Fault> {
        let rules = self.path.as_deref().map(|path| read(path, PROBLEMS_MAX)).transpose()?.unwrap_or_default();
        Ok(RoomRules::new(rules, self.is_open))
    }

    /// The same, and the log says what they are.
    pub(crate) fn start(&self) -> Result<RoomRules, Fault> {
        let rules = self.load()?;
        match &self.path {
            Some(path) => info!(file = %path.display(), open = self.is_open, "{}", in_words(&rules)),
            None => info!("anybody who reaches this relay may make a room; --rooms says which there are"),
        }
        Ok(rules)
    }

    /// What it has now, when that can be used and is something else; the log says which, or why not.
    pub(crate) fn reload(&self, before: &RoomRules) -> Option<RoomRules> {
        match self.load() {
            Err(fault) => {
                warn!("the rooms stay as they are: {fault}");
                None
            }
            Ok(rules) => {
                let news = rules.news_since(before);
                news.iter().take(PROBLEMS_MAX).for_each(|line| info!("{line}"));
                let more = news.len().saturating_sub(PROBLEMS_MAX);
                info!(changes = news.len(), unsaid = more, "rooms read anew: {}", in_words(&rules));
                Some(rules)
            }
        }
    }
}

/// The rules of a file, for who has it checked.
///
/// # Errors
/// In words, when it cannot be used: everything that is wrong with it.
pub(crate) fn read_checked(path: &Path) -> Result<Vec<RoomRule>, Fault> {
    read(path, usize::MAX)
}

/// At most `told_max` problems are in the words.
fn read(path: &Path, told_max: usize) -> Result<Vec<RoomRule>, Fault> {
    let text = std::fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map(|_| text)
    });
    let unreadable = |why: String| {
        let cause = format!("the rooms in {} cannot be read: {why}", path.display());
        Fault::new(ExitCode::Configuration, cause, "--rooms names a file of rooms (docs/rooms.md)")
    };
    let text = text.map_err(|e| unreadable(e.to_string()))?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(unreadable(format!("it is larger than {} MiB", FILE_LEN_MAX >> 20)));
    }
    file::read(&text).map_err(|problems| not_understood(path, &problems, told_max))
}

/// The rules in a text.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn of_text(text: &str) -> Result<Vec<RoomRule>, Vec<TomlProblem>> {
    file::read(text)
}

fn not_understood(path: &Path, problems: &[TomlProblem], told_max: usize) -> Fault {
    let more = problems.len().saturating_sub(told_max);
    let told = problems.iter().take(told_max).map(|problem| format!("\n  {}:{problem}", path.display()));
    let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let cause = format!("the rooms are not understood:{}{rest}", told.collect::<String>());
    Fault::new(ExitCode::Configuration, cause, format!("correct it, then ask `lanparty-relay check {}`", path.display()))
}

/// How many there are of what.
pub(crate) fn in_words(rules: &RoomRules) -> String {
    let (rooms, closed) = (rules.rules().count(), rules.rules().filter(|rule| rule.is_closed()).count());
    let machines: usize = rules.rules().map(|rule| rule.keys.len()).sum();
    let users: usize = rules.rules().map(|rule| rule.users.len()).sum();
    let others = if rules.is_open() { "; anybody may make other rooms" } else { "" };
    format!("{rooms} rooms, {closed} of them closed, {machines} machines and {users} users listed{others}")
}
