//! What a program's `main` calls.

use std::ffi::OsString;
use std::io::Write as _;

use clap::{ArgMatches, Command, Parser};
use lanparty_node::{ExitCode, Fault};

use crate::arguments::{arguments, command, explained};
use crate::file::{ConfigFile, Role};

/// The command line of a program that has one role; ends the program where it is wrong, or asks for help.
#[must_use]
pub fn parse<P: Parser>(role: Role) -> P {
    parsed(&matches(P::command(), role))
}

/// The same for a command that was built otherwise.
#[must_use]
pub fn matches(of_role: Command, role: Role) -> ArgMatches {
    let of_role = command(of_role);
    let typed: Vec<_> = std::env::args_os().skip(1).collect();
    let (arguments, file) = arguments(&of_role, role, &typed).unwrap_or_else(|fault| end(&fault));
    let name = std::env::args_os().next().unwrap_or_default();
    read(of_role, std::iter::once(name).chain(arguments), file.as_ref(), role)
}

/// The command line of the one tool, each of whose roles is a command; ends the program as [`parse`] does.
#[must_use]
pub fn parse_tool<P: Parser>(typed: &[OsString]) -> P {
    let tool = tool(P::command());
    let role = Role::ALL.into_iter().find(|role| typed.get(1).is_some_and(|word| word == role.as_str()));
    let Some((role, of_role)) = role.and_then(|role| Some((role, tool.find_subcommand(role.as_str())?))) else {
        return parsed(&read(tool, typed.iter().cloned(), None, Role::Client));
    };
    let (arguments, file) = arguments(of_role, role, typed.get(2..).unwrap_or_default()).unwrap_or_else(|fault| end(&fault));
    let all = typed.iter().take(2).cloned().chain(arguments);
    parsed(&read(tool.clone(), all, file.as_ref(), role))
}

/// `command`, whose roles take a file and the environment.
#[must_use]
pub fn tool(tool: Command) -> Command {
    Role::ALL.into_iter().fold(tool, |tool, role| tool.mut_subcommand(role.as_str(), command))
}

fn read(command: Command, arguments: impl IntoIterator<Item = OsString>, file: Option<&ConfigFile>, role: Role) -> ArgMatches {
    command.try_get_matches_from(arguments).unwrap_or_else(|error| match file.filter(|_| error.use_stderr()) {
        Some(file) => {
            let words = explained(&error, file, role).unwrap_or_else(|| error.exit());
            let _ = writeln!(std::io::stderr(), "error: {words}");
            std::process::exit(ExitCode::Configuration as i32)
        }
        None => error.exit(),
    })
}

fn parsed<P: Parser>(matches: &ArgMatches) -> P {
    P::from_arg_matches(matches).unwrap_or_else(|error| error.format(&mut P::command()).exit())
}

fn end(fault: &Fault) -> ! {
    let _ = writeln!(std::io::stderr(), "error: {fault}");
    std::process::exit(fault.code as i32)
}
