//! What a command takes, as keys of a file.

use clap::{Arg, ArgAction, Command};

/// The option that names the file.
pub(crate) const CONFIG: &str = "config";

/// Options that ask for something to be shown or done once, instead of running: these are said by hand.
const ONCE: [&str; 13] = [
    "config",
    "doctor",
    "help",
    "json",
    "list-tap-adapters",
    "new",
    "new-identity",
    "selftest",
    "service",
    "service-name",
    "status",
    "undo",
    "version",
];

/// What a key of the file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionKind {
    /// `true` or `false`.
    Switch,
    /// One string or number.
    One,
    /// One, or several in brackets.
    Several,
}

impl OptionKind {
    fn of(arg: &Arg) -> Option<Self> {
        match arg.get_action() {
            ArgAction::SetTrue => Some(Self::Switch),
            ArgAction::Set => Some(Self::One),
            ArgAction::Append => Some(Self::Several),
            _ => None,
        }
    }
}

/// Every option of `command` that a file may hold: its key, which is its long name, and what the key holds.
pub fn options(command: &Command) -> impl Iterator<Item = (&str, OptionKind, &Arg)> {
    command.get_arguments().filter_map(|arg| {
        let key = arg.get_long().filter(|long| !ONCE.contains(long))?;
        Some((key, OptionKind::of(arg)?, arg))
    })
}

/// The variable of the environment that stands for the option with this long name.
pub(crate) fn variable(long: &str) -> Option<String> {
    let is_kept = long == CONFIG || !ONCE.contains(&long);
    is_kept.then(|| format!("LANPARTY_{}", long.to_uppercase().replace('-', "_")))
}
