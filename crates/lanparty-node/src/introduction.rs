//! What a member says of itself beside its key: what it calls itself, and the user that it is.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use lanparty_proto::{DESCRIPTION_LEN_MAX, Description, Login, PASSWORD_LEN_MAX, Password};

use crate::{ExitCode, Fault};

/// How a member introduces itself. Only the long help has all of it.
#[derive(Args, Clone, Debug, Default)]
pub struct IntroductionFlags {
    /// What this machine calls itself to the others, for people [default: its host name]
    #[arg(long, hide_short_help = true, value_name = "TEXT")]
    pub description: Option<String>,

    /// Join as this user, in a room that asks for one; needs --password-file
    #[arg(long, hide_short_help = true, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,

    /// File whose first line is that user's password. It is read again at every join, when it can be, and told to the relay only, over the connection
    /// whose certificate was checked
    #[arg(long, hide_short_help = true, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
}

impl IntroductionFlags {
    /// What the others hear.
    #[must_use]
    pub fn description(&self) -> Description {
        describe(self.description.as_deref())
    }

    /// The user and the present password, when there is a user.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn login(&self) -> Result<Option<Login>, Fault> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else { return Ok(None) };
        let password = read_password(file).map_err(|why| {
            let cause = format!("the password of {user} cannot be read from {}: {why}", file.display());
            Fault::new(ExitCode::Configuration, cause, "write the password on the first line of a file that only you may read")
        })?;
        Ok(Some(Login { user: user.clone(), password: Password(password) }))
    }

    /// Says what is unwise.
    pub(crate) fn warn(&self) {
        if let Some(file) = self.password_file.as_deref().filter(|file| is_open_to_others(file)) {
            tracing::warn!("others on this machine may read the password in {}; chmod 600 it", file.display());
        }
        warn_of_description(self.description.as_deref());
    }
}

/// Says what the others hear instead of a description that is too long.
pub fn warn_of_description(told: Option<&str>) {
    if let Some(words) = told.and_then(shortened) {
        tracing::warn!("{words}");
    }
}

fn shortened(told: &str) -> Option<String> {
    let heard = Description::new(told);
    (told.trim().len() > DESCRIPTION_LEN_MAX && told != heard.as_str())
        .then(|| format!("--description has {} bytes, and {DESCRIPTION_LEN_MAX} are told to the others: {}", told.len(), heard.as_str()))
}

/// What this machine calls itself: as it was told, else its host name.
#[must_use]
pub fn describe(told: Option<&str>) -> Description {
    told.map_or_else(|| Description::new(&host_name()), Description::new)
}

fn read_password(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(4 * PASSWORD_LEN_MAX as u64).read_to_string(&mut text));
    read.map_err(|e| e.to_string())?;
    let password = text.lines().next().unwrap_or_default();
    match password.len() {
        0 => Err("its first line is empty".to_owned()),
        len if len > PASSWORD_LEN_MAX => Err(format!("its first line is longer than {PASSWORD_LEN_MAX} bytes")),
        _ => Ok(password.to_owned()),
    }
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o077 != 0)
}

/// Who may read a file is no number there.
#[cfg(windows)]
fn is_open_to_others(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(windows)]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(file: &Path) -> IntroductionFlags {
        IntroductionFlags { description: None, user: Some("anna".into()), password_file: Some(file.to_owned()) }
    }

    #[test]
    fn a_description_that_is_cut_is_said_to_be() {
        assert_eq!(["a".repeat(63), " the  den ".into(), String::new()].map(|told| shortened(&told)), [None, None, None]);
        let said = shortened(&"ä".repeat(32)).unwrap();
        assert!(said.contains("64 bytes") && said.ends_with(&"ä".repeat(31)) && !said.ends_with(&"ä".repeat(32)), "{said}");
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        for (content, password) in [("secret\n", "secret"), (" with spaces \r\nmore", " with spaces "), ("no end", "no end")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(flags(&file).login().unwrap().unwrap().password, Password(password.into()));
        }
        assert_eq!(IntroductionFlags::default().login().unwrap(), None);
    }

    #[test]
    fn a_file_without_a_password_is_an_error_that_does_not_show_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        assert!(flags(&file).login().unwrap_err().cause.contains("password of anna cannot be read"));
        for (content, why) in [("\nsecret", "first line is empty"), (&"x".repeat(1025), "longer than 1024"), ("", "empty")] {
            std::fs::write(&file, content).unwrap();
            let fault = flags(&file).login().unwrap_err();
            assert!(fault.code == ExitCode::Configuration && fault.cause.contains(why) && !fault.cause.contains("xxx"), "{fault}");
        }
    }

    #[test]
    fn a_machine_calls_itself_by_its_host_name_unless_told() {
        assert!(!describe(None).is_empty());
        assert_eq!(describe(Some(" the\tPC ")).as_str(), "the PC");
        assert!(describe(Some("")).is_empty(), "who wants to say nothing can");
    }
}
