//! Which of the programs that run here is meant.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use lanparty_node::{ExitCode, Fault, sockets};

/// Names a program.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ProgramFlag {
    /// The program that is meant, when several run here: its name as in `client-lan0`, or the last part of it
    #[arg(long, short, value_name = "NAME")]
    pub(crate) program: Option<String>,
}

impl ProgramFlag {
    /// The socket of the one program that is meant, of those whose role is one of these; any when none is named.
    pub(crate) fn socket(&self, roles: &[&str]) -> Result<PathBuf, Fault> {
        let all = sockets().map_err(|e| unreadable(&e))?;
        let wanted: Vec<PathBuf> = all.into_iter().filter(|path| roles.is_empty() || roles.contains(&role(path).as_str())).collect();
        let is_named = |path: &PathBuf| self.program.as_ref().is_none_or(|name| is_called(&stem(path), name));
        // A program that was killed has left its socket.
        let found: Vec<PathBuf> = wanted.iter().filter(|path| is_named(path) && is_there(path)).cloned().collect();
        let exact = found.iter().find(|path| self.program.as_ref() == Some(&stem(path)));
        let found = exact.map_or(found.clone(), |exact| vec![exact.clone()]);
        let names = |paths: &[PathBuf]| paths.iter().map(|path| stem(path)).collect::<Vec<_>>().join(", ");
        match (found.as_slice(), &self.program) {
            ([one], _) => Ok(one.clone()),
            ([], None) => Err(none(roles)),
            ([], Some(name)) => {
                let others = names(&wanted);
                let advice = if others.is_empty() { "start it first".to_owned() } else { format!("those that run are {others}") };
                Err(Fault::new(ExitCode::Configuration, format!("no program called {name} runs here"), advice))
            }
            (several, _) => {
                let cause = format!("{} programs run here", several.len());
                Err(Fault::new(ExitCode::Configuration, cause, format!("say --program, one of {}", names(several))))
            }
        }
    }
}

/// Nobody to ask.
fn none(roles: &[&str]) -> Fault {
    let what = if roles.is_empty() { "program".to_owned() } else { roles.join(" or ") };
    let cause = format!("no lanparty {what} runs on this machine, or it belongs to another user");
    Fault::new(ExitCode::Unexpected, cause, "start one, or ask as the user who started it, often root")
}

/// Where it cannot even be seen which run.
pub(crate) fn unreadable(error: &io::Error) -> Fault {
    let advice = "ask as the user who started the program, often root, or as a member of its --management-group";
    Fault::new(ExitCode::Permission, format!("cannot look for running programs: {error}"), advice)
}

/// A program that could not be asked.
pub(crate) fn unanswered(socket: &Path, error: &io::Error) -> Fault {
    let program = lanparty_node::program_at(socket);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let advice = "ask as the user who started it, often root, or as a member of its --management-group";
            Fault::new(ExitCode::Permission, format!("{program} belongs to another user"), advice)
        }
        io::ErrorKind::TimedOut => {
            Fault::new(ExitCode::Unexpected, format!("{program} does not answer"), "look at its log, or start it again")
        }
        _ => Fault::new(ExitCode::Unexpected, format!("{program} cannot be asked: {error}"), "look at its log"),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn role(path: &Path) -> String {
    let stem = stem(path);
    stem.split_once('-').map_or(stem.as_str(), |(role, _)| role).to_owned()
}

/// `client-lan0` is called `client-lan0`, `lan0`, and `client`.
fn is_called(stem: &str, name: &str) -> bool {
    stem == name || stem.split_once('-').is_some_and(|(role, rest)| role == name || rest == name)
}

fn is_there(path: &Path) -> bool {
    lanparty_node::is_answered(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_by_its_name_its_role_or_its_interface() {
        for name in ["client-lan0", "client", "lan0"] {
            assert!(is_called("client-lan0", name), "{name}");
        }
        assert!(is_called("relay", "relay") && !is_called("client-lan0", "lan") && !is_called("client-lan0", "0"));
        assert_eq!((role(Path::new("/run/client-a-b.sock")), role(Path::new("/run/relay.sock"))), ("client".into(), "relay".into()));
    }
}
