//! `lanparty config` and `lanparty run`: options in files.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};
use lanparty_config::{ConfigFile, Role, check, default_file, n3n};
use lanparty_node::{ExitCode, Fault, print};

/// Options of `lanparty run`.
#[derive(Args)]
#[command(after_help = "\
Example: lanparty run /etc/lanparty/home.toml, where the file has
  [client]
  relay = \"relay.example.net\"
  room = \"ROOM1\"")]
pub(crate) struct RunArgs {
    /// The file (`lanparty config print-default` shows one)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Which of its tables, when it has several
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleWord>,
}

impl RunArgs {
    /// The command line that it stands for.
    pub(crate) fn arguments(&self, role: Role) -> Vec<OsString> {
        ["lanparty", role.as_str(), "--config"].into_iter().map(OsString::from).chain([self.file.clone().into()]).collect()
    }
}

/// A role, as one types it.
#[derive(Clone, Copy, ValueEnum)]
enum RoleWord {
    Client,
    Gateway,
    Relay,
    Cable,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Client => Self::Client,
            RoleWord::Gateway => Self::Gateway,
            RoleWord::Relay => Self::Relay,
            RoleWord::Cable => Self::Cable,
        }
    }
}

/// The role that `args` asks for.
///
/// # Errors
/// When the file is not right, or has no table or several.
pub(crate) fn role_of(args: &RunArgs, tool: &Command) -> Result<Role, Fault> {
    let file = load(&args.file, tool)?;
    let roles: Vec<_> = file.roles().collect();
    let wrong = |cause: String, advice: &str| Fault::new(ExitCode::Configuration, cause, advice);
    match (args.role.map(Role::from), roles.as_slice()) {
        (Some(role), roles) if roles.contains(&role) => Ok(role),
        (Some(role), _) => Err(wrong(format!("{} has no table [{role}]", file.name()), "name one that it has with --role")),
        (None, [role]) => Ok(*role),
        (None, []) => {
            Err(wrong(format!("{} has no table", file.name()), "write [client], [gateway], [relay] or [cable], and options below"))
        }
        (None, roles) => {
            let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            Err(wrong(format!("{} has several tables: {}", file.name(), names.join(", ")), "say which one with --role"))
        }
    }
}

fn load(path: &std::path::Path, tool: &Command) -> Result<ConfigFile, Fault> {
    ConfigFile::load(path, |role| tool.find_subcommand(role.as_str()))
}

/// Options of `lanparty config`.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Say whether a file is right
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print a file with every option, commented out, and its help
    PrintDefault {
        /// For this program only
        role: Option<RoleWord>,
    },
    /// Print what an edge.conf or supernode.conf of n3n becomes; what became of each line is said on standard error
    ImportN3n {
        /// The file
        file: PathBuf,
    },
}

/// `lanparty config`.
///
/// # Errors
/// When a file is not right.
pub(crate) fn run(args: &ConfigArgs, tool: &Command) -> Result<(), Fault> {
    match &args.task {
        Task::Check { file } => check_file(&load(file, tool)?, tool),
        Task::PrintDefault { role } => {
            let roles = role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role.into()]);
            let commands = roles.into_iter().filter_map(|role| Some((role, tool.find_subcommand(role.as_str())?)));
            print(&default_file(commands))
        }
        Task::ImportN3n { file } => import(file),
    }
}

fn check_file(file: &ConfigFile, tool: &Command) -> Result<(), Fault> {
    let mut wrong = vec![];
    for role in file.roles() {
        let Some(command) = tool.find_subcommand(role.as_str()) else { continue };
        let checked = check(command, role, file).and_then(|options| would_start(role, &options).map_err(|fault| fault.to_string()));
        match checked {
            Ok(()) => print(&format!("{}: [{role}] is right\n", file.name()))?,
            Err(words) => wrong.push(format!("[{role}]: {}", words.trim().trim_start_matches("error: "))),
        }
    }
    if file.roles().next().is_none() {
        wrong.push("it has no table: write [client], [gateway], [relay] or [cable], and options below".to_owned());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Fault::new(ExitCode::Configuration, format!("{} is not right:\n{}", file.name(), wrong.join("\n\n")), ""))
}

/// What the program would say at its start, before it looks at the machine or the network.
fn would_start(role: Role, options: &ArgMatches) -> Result<(), Fault> {
    match role {
        Role::Client => read::<lanparty_client_core::ClientArgs>(options)?.check(),
        Role::Gateway => read::<lanparty_gateway::GatewayArgs>(options)?.member.filtering.rules().map(drop),
        Role::Relay => read::<lanparty_relay::RelayArgs>(options)?.check(),
        Role::Cable => read::<lanparty_cable::CableArgs>(options)?.check(),
    }
}

fn read<A: FromArgMatches>(options: &ArgMatches) -> Result<A, Fault> {
    A::from_arg_matches(options).map_err(|e| Fault::new(ExitCode::Configuration, e.to_string(), ""))
}

fn import(path: &std::path::Path) -> Result<(), Fault> {
    let unreadable = |e: &dyn std::fmt::Display| {
        Fault::new(
            ExitCode::Configuration,
            format!("cannot import {}: {e}", path.display()),
            "give the path of an edge.conf or supernode.conf",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
    let imported = n3n::import(&text).map_err(|e| unreadable(&e))?;
    print(&imported.toml)?;
    let mut report = String::new();
    for line in &imported.lines {
        report.push_str(&format!("{line}\n"));
    }
    for note in &imported.notes {
        report.push_str(&format!("note: {note}\n"));
    }
    if !imported.is_whole() {
        report.push_str("Not everything could be carried over: see the lines in capitals.\n");
    }
    let _ = std::io::stderr().write_all(report.as_bytes());
    Ok(())
}
