//! The relay's command: without a word more it runs; the others help with its file of rooms.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lanparty_core::RoomRules;
use lanparty_node::{Fault, block_on, print, serve};
use lanparty_proto::PASSWORD_LEN_MAX;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::rooms::{import, in_words, read_checked};
use crate::{RelayArgs, passwords};

/// Largest list of communities.
const LIST_LEN_MAX: u64 = 8 << 20;

/// `lanparty-relay`, or `lanparty relay`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RelayCommand {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    args: RelayArgs,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Read a password, and print its hash for a user in the file of rooms
    ///
    /// On a terminal the password is asked for and not shown; else it is the first line of standard input.
    Password,
    /// Check a file of rooms, and say what is in it
    Check {
        /// The file, as for --rooms
        file: PathBuf,
    },
    /// Print a file of rooms made from an n3n or n2n supernode's community list
    ///
    /// What could not be carried over is said line by line on standard error.
    ImportCommunities {
        /// The list, as for the supernode's `community_file`, or -c of n2n
        file: PathBuf,
    },
}

/// For `main`: runs a relay, or does one of its tasks; the exit code.
#[must_use]
pub fn end(command: RelayCommand) -> ExitCode {
    match command.task {
        None => serve(crate::run(command.args)),
        Some(Task::Password) => block_on(async { print_hash() }),
        Some(Task::Check { file }) => block_on(async move { check(&file) }),
        Some(Task::ImportCommunities { file }) => block_on(async move { import_communities(&file) }),
    }
}

fn print_hash() -> Result<(), Fault> {
    let wrong = |cause: String| Fault::new(lanparty_node::ExitCode::Configuration, cause, "");
    let password = read_password().map_err(|e| wrong(format!("no password was read: {e}")))?;
    print(&format!("{}\n", passwords::hash(&password).map_err(wrong)?))
}

fn read_password() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut line = String::new();
        stdin.take(2 * PASSWORD_LEN_MAX as u64).read_to_string(&mut line)?;
        return Ok(line.lines().next().unwrap_or_default().to_owned());
    }
    let _ = write!(std::io::stderr(), "Password: ");
    let quiet = Quiet::start()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    drop(quiet);
    let _ = writeln!(std::io::stderr());
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn start() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn check(file: &Path) -> Result<(), Fault> {
    let rules = RoomRules::new(read_checked(file)?, false);
    print(&format!("{}: {}\n", file.display(), in_words(&rules)))
}

fn import_communities(file: &Path) -> Result<(), Fault> {
    let mut bytes = vec![];
    std::fs::File::open(file).and_then(|file| file.take(LIST_LEN_MAX).read_to_end(&mut bytes)).map_err(|e| {
        let cause = format!("the community list {} cannot be read: {e}", file.display());
        Fault::new(lanparty_node::ExitCode::Configuration, cause, "name the file that the supernode reads")
    })?;
    // Names there may be any bytes; those that are no text cannot be a room's, and are said so.
    let imported = import(&String::from_utf8_lossy(&bytes));
    print(&imported.toml)?;
    let mut report = format!("{} rooms carried over", imported.rooms);
    report.push_str(if imported.notes.is_empty() { "\n" } else { "; not so:\n" });
    imported.notes.iter().for_each(|note| report.push_str(&format!("  {}: {note}\n", file.display())));
    let _ = std::io::stderr().write_all(report.as_bytes());
    Ok(())
}
