//! The command line, completed from the environment and the file.
//!
//! What the file says becomes arguments before those that the user typed, so that one parser reads all of it: whether a value is
//! legal, and which options need or exclude each other, is decided in one place.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use lanparty_node::{ExitCode, Fault};

use crate::file::{ConfigFile, Role, Setting};
use crate::options::{CONFIG, options, variable};

const CONFIG_HELP: &str = "Take options from this file, below the table of this program (`lanparty config print-default` shows one). \
                           Every option is also read from the environment, as LANPARTY_OPTION; what is said here goes first, then the \
                           environment, then the file";

/// `command`, which takes a file and the environment as well.
#[must_use]
pub(crate) fn command(command: Command) -> Command {
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(value_parser!(PathBuf)).help(CONFIG_HELP);
    command.arg(config.hide_short_help(true)).mut_args(|arg| {
        let Some(name) = arg.get_long().and_then(variable) else { return arg };
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let arg = arg.env(name).hide_env(true);
        if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
    })
}

/// What `lanparty ROLE ARGUMENTS…`, or `lanparty-ROLE ARGUMENTS…`, is to be read as: with the file's options before those in `typed`,
/// which are those behind the name of the program. An option that the user or the environment says is not taken from the file.
///
/// `command` is one of [`command`].
///
/// # Errors
/// When the file cannot be read, or is not right.
pub(crate) fn arguments(command: &Command, role: Role, typed: &[OsString]) -> Result<(Vec<OsString>, Option<ConfigFile>), Fault> {
    let said = said(command, typed);
    let Some(path) = said.as_ref().and_then(|said| said.try_get_one::<PathBuf>(CONFIG).ok().flatten()) else {
        return Ok((typed.to_vec(), None));
    };
    // What helps with the program is no run of it, and has no options of its own.
    if said.as_ref().is_some_and(|said| said.subcommand_name().is_some()) {
        return Ok((typed.to_vec(), None));
    }
    let file = ConfigFile::load(path, |of| (of == role).then_some(command))?;
    if !file.roles().any(|of| of == role) {
        let cause = format!("{} has no table [{role}]", file.name());
        return Err(Fault::new(ExitCode::Configuration, cause, format!("write [{role}], and the options of this program below")));
    }
    let is_said = |setting: &&Setting| {
        let id = options(command).find(|(key, ..)| *key == setting.key).map(|(.., arg)| arg.get_id().as_str());
        let source = said.as_ref().zip(id).and_then(|(said, id)| said.value_source(id));
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let of_file = file.settings(role).iter().filter(|setting| !is_said(setting)).map(argument);
    let all = of_file.chain(typed.iter().cloned()).collect();
    Ok((all, Some(file)))
}

/// What the user and the environment say, as far as it can be read: what is wrong with it is found when all is read.
fn said(command: &Command, typed: &[OsString]) -> Option<ArgMatches> {
    let lenient = command.clone().ignore_errors(true).disable_help_flag(true).disable_version_flag(true);
    lenient.try_get_matches_from(std::iter::once(OsString::from("lanparty")).chain(typed.iter().cloned())).ok()
}

fn argument(setting: &Setting) -> OsString {
    match &setting.value {
        Some(value) => format!("--{}={value}", setting.key).into(),
        None => format!("--{}", setting.key).into(),
    }
}

/// `error` in words that name the file, when it is about something that the file says, or could say.
pub(crate) fn explained(error: &clap::Error, file: &ConfigFile, role: Role) -> Option<String> {
    let texts = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => vec![],
    };
    let of_options = texts(ContextKind::InvalidArg);
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let keys: Vec<_> = of_options.iter().map(|option| format!("`{}`", key(option))).collect();
        return Some(format!("{} lacks {} in its table [{role}]", file.name(), keys.join(", ")));
    }
    let (option, value) = (of_options.first()?, texts(ContextKind::InvalidValue).pop());
    let is_meant = |setting: &&Setting| setting.key == key(option) && (value.is_none() || setting.value == value);
    let setting = file.settings(role).iter().find(is_meant)?;
    let text = error.render().to_string();
    let said = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Some(format!("{} line {}: {said}", file.name(), setting.line))
}

/// The key of an option that is written as on a command line.
fn key(option: &str) -> &str {
    option.split([' ', '=', '[']).next().unwrap_or_default().trim_start_matches("--")
}

/// Whether `file` alone says all that the program needs.
///
/// # Errors
/// What the program would say of it.
pub fn check(command: &Command, role: Role, file: &ConfigFile) -> Result<ArgMatches, String> {
    let arguments = file.settings(role).iter().map(argument);
    // What the environment of the one who checks says is not what the program will see.
    let alone = command.clone().mut_args(|arg| arg.env(None::<&str>)).no_binary_name(true);
    alone.try_get_matches_from(arguments).map_err(|error| explained(&error, file, role).unwrap_or_else(|| error.render().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let switch = |name: &'static str| Arg::new(name.replace('-', "_")).long(name).action(ArgAction::SetTrue);
        let one = |name: &'static str| Arg::new(name.replace('-', "_")).long(name);
        let program = Command::new("lanparty-client")
            .arg(one("room").required(true))
            .arg(one("tap-name").default_value("lan0"))
            .arg(one("mtu").value_parser(value_parser!(u16).range(576..=1500)))
            .arg(one("cert").requires("key"))
            .arg(one("key"))
            .arg(one("up").value_parser(value_parser!(PathBuf)))
            .arg(one("down").value_parser(value_parser!(PathBuf)))
            .arg(one("address").action(ArgAction::Append))
            .arg(switch("no-direct"))
            .arg(switch("json"));
        command(program)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn matches(text: &str, typed: &[&str]) -> Result<ArgMatches, String> {
        let (program, file) = (program(), file(text));
        let config = file.path().to_str().unwrap().to_owned();
        let typed: Vec<_> = ["--config", &config].iter().chain(typed).map(OsString::from).collect();
        let (arguments, file) = arguments(&program, Role::Client, &typed).map_err(|fault| fault.to_string())?;
        program
            .no_binary_name(true)
            .try_get_matches_from(arguments)
            .map_err(|e| explained(&e, &file.unwrap(), Role::Client).unwrap_or_else(|| e.to_string()))
    }

    fn one<'m>(matches: &'m ArgMatches, id: &str) -> Option<&'m str> {
        matches.get_one::<String>(id).map(String::as_str)
    }

    #[test]
    fn a_file_says_what_the_command_line_leaves_out() {
        let text = "[client]\nroom = \"A\"\ntap-name = \"tap7\"\nmtu = 1400\naddress = [\"auto\", \"dhcp\"]\nno-direct = true\n";
        let said = matches(text, &["--tap-name", "tap9"]).unwrap();
        assert_eq!((one(&said, "room"), one(&said, "tap_name"), said.get_one::<u16>("mtu")), (Some("A"), Some("tap9"), Some(&1400)));
        assert!(said.get_flag("no_direct"));
        assert_eq!(said.get_many::<String>("address").unwrap().collect::<Vec<_>>(), ["auto", "dhcp"]);

        let said = matches(text, &["--address", "none"]).unwrap();
        assert_eq!(said.get_many::<String>("address").unwrap().collect::<Vec<_>>(), ["none"], "what is typed replaces the file's");
        let off = matches("[client]\nroom = \"A\"\nno-direct = false\n", &[]).unwrap();
        assert_eq!((off.get_flag("no_direct"), one(&off, "tap_name")), (false, Some("lan0")));
    }

    #[test]
    fn a_value_that_begins_like_an_option_is_a_value() {
        assert_eq!(one(&matches("[client]\nroom = \"--json\"\n", &[]).unwrap(), "room"), Some("--json"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, words) in [
            ("[client]\nroom = \"A\"\nmtu = 99\n", " line 3: invalid value"),
            ("[client]\nroom = \"A\"\nmtu = \"big\"\n", " line 3: invalid value"),
            ("[client]\nroom = \"A\"\ncert = \"x\"\n", "lacks `key`"),
            ("[client]\n", "lacks `room` in its table [client]"),
            ("[relay]\n", "has no table [client]"),
            ("room = \"A\"\n", "line 1: `room` stands above every table: write [client] over it"),
            ("default = \"drop\"\n[[rule]]\nname = \"x\"\n", "line 1: this is a file of filter rules: `lanparty filter check FILE`"),
            ("[[rule]]\nname = \"x\"\n", "line 1: this is a file of filter rules"),
            ("# rooms\n[[room]]\nname = \"A\"\n", "line 2: this is a file of rooms: `lanparty-relay check FILE`"),
            ("[cleint]\n", "line 1: unknown table `cleint`, did you mean `client`?"),
            ("[client]\nroom = true\n", "line 2: `room` takes a word or a number"),
            ("[client]\nroom = [\"A\", \"B\"]\n", "line 2: `room` takes one string or number, not array"),
            ("[client]\nno-direct = \"yes\"\n", "line 2: `no-direct` is true or false, not string"),
            ("[client]\njson = true\n", "unknown key `json`"),
            ("[client]\nroom = \"A\n", "line 2: "),
            ("client = 5\n", "line 1: client is a table"),
        ] {
            let told = matches(text, &[]).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn a_path_in_a_file_is_taken_from_where_the_file_is() {
        let text = "[client]\nroom = \"A\"\nup = \"hooks/up.sh\"\ndown = \"/etc/down.sh\"\n";
        let said = matches(text, &[]).unwrap();
        let (up, down) = (said.get_one::<PathBuf>("up").unwrap(), said.get_one::<PathBuf>("down").unwrap());
        assert_eq!((up, down), (&std::env::temp_dir().join("hooks/up.sh"), &PathBuf::from("/etc/down.sh")));
    }

    #[test]
    fn every_key_misspelled_is_told_at_once() {
        let told = matches("[client]\nroon = \"A\"\ntap_name = \"x\"\nmut = 1400\nadress = \"auto\"\nno-driect = true\n", &[]).unwrap_err();
        for (line, meant) in [(2, "room"), (3, "tap-name"), (4, "mtu"), (5, "address"), (6, "no-direct")] {
            let words = format!("did you mean `{meant}`?");
            assert!(told.lines().any(|told| told.contains(&format!("line {line}: ")) && told.contains(&words)), "{told}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let program = program();
        let typed = ["--config", "/nowhere/lanparty.toml"].map(OsString::from);
        let told = arguments(&program, Role::Client, &typed).unwrap_err().to_string();
        assert!(told.contains("cannot read /nowhere/lanparty.toml"), "{told}");
    }
}
