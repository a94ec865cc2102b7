//! The file: one table per program, one key per option.
//!
//! Everything that is wrong is told at once, each with its line; a key that is none, with the one that was meant.

use std::any::TypeId;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Command;
use lanparty_node::{ExitCode, Fault, TomlProblem, TomlReader, TomlValue, unknown_word};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::options::{OptionKind, options};

/// A program that runs until it is ended, and has a table in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `[client]`
    Client,
    /// `[gateway]`
    Gateway,
    /// `[relay]`
    Relay,
    /// `[cable]`
    Cable,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Gateway, Self::Relay, Self::Cable];

    /// The name of its table, and of its command.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Relay => "relay",
            Self::Cable => "cable",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An option that the file sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// None for a switch that is on.
    pub(crate) value: Option<String>,
    pub(crate) line: usize,
}

/// What a file says, by program.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    name: String,
    tables: Vec<(Role, Vec<Setting>)>,
}

impl ConfigFile {
    /// Reads the file of that path, whose programs have these commands.
    ///
    /// # Errors
    /// When it cannot be read, or holds what no program takes: all of it, with lines.
    pub fn load<'c>(path: &Path, command_of: impl Fn(Role) -> Option<&'c Command>) -> Result<Self, Fault> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Fault::new(ExitCode::Configuration, format!("cannot read {name}: {e}"), "give the path of a lanparty.toml"))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::read(&name, directory, &text, command_of).map_err(|problems| faulty(&name, &problems))
    }

    /// Reads `text` of a file called `name`; the paths in it are taken from `directory` on.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn read<'c>(
        name: &str,
        directory: &Path,
        text: &str,
        command_of: impl Fn(Role) -> Option<&'c Command>,
    ) -> Result<Self, Vec<TomlProblem>> {
        let mut reader = TomlReader::new(text);
        let mut file = Self { name: name.to_owned(), tables: vec![] };
        let root = reader.parse(text);
        if let Some((span, words)) = root.as_ref().and_then(of_another_kind) {
            reader.problem(span, words);
        } else if let Some(root) = root {
            for (key, value) in root.get_ref() {
                let Some(role) = Role::ALL.into_iter().find(|role| role.as_str() == &**key.get_ref()) else {
                    reader.problem(key.span(), no_table(key.get_ref(), value.get_ref(), &command_of));
                    continue;
                };
                let Some(table) = value.get_ref().as_table() else {
                    reader.problem(value.span(), format!("{role} is a table: write [{role}], and its options below"));
                    continue;
                };
                // A program that is not part of this one has its table in the file, and reads it itself.
                if let Some(command) = command_of(role) {
                    file.tables.push((role, settings(&mut reader, command, directory, table)));
                }
            }
        }
        reader.end(file)
    }

    /// As its user knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The programs that it has a table for.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.tables.iter().map(|(role, _)| *role)
    }

    pub(crate) fn settings(&self, role: Role) -> &[Setting] {
        self.tables.iter().find(|(of, _)| *of == role).map_or(&[], |(_, settings)| settings)
    }
}

fn faulty(name: &str, problems: &[TomlProblem]) -> Fault {
    let (first, rest) = problems.split_at(problems.len().min(PROBLEMS_TOLD));
    let mut cause = format!("{name} cannot be used:");
    for problem in first {
        cause += &format!("\n  line {problem}");
    }
    if !rest.is_empty() {
        cause += &format!("\n  and {} more", rest.len());
    }
    Fault::new(ExitCode::Configuration, cause, "correct it and try `lanparty config check FILE`")
}

/// More than a screen of them helps nobody.
const PROBLEMS_TOLD: usize = 40;

/// Where a file shows that it is another one of lanparty's, and which.
fn of_another_kind(root: &Spanned<DeTable<'_>>) -> Option<(Range<usize>, String)> {
    let root = root.get_ref();
    if Role::ALL.iter().any(|role| root.contains_key(role.as_str())) {
        return None;
    }
    root.iter().find_map(|(key, value)| {
        let words = match (&**key.get_ref(), value.get_ref()) {
            ("room", DeValue::Array(_)) => {
                "this is a file of rooms: `lanparty-relay check FILE` checks it, and `rooms` below [relay] names it"
            }
            ("rule", DeValue::Array(_)) | ("default", DeValue::String(_)) => {
                "this is a file of filter rules: `lanparty filter check FILE` checks it, and `filter` below [client] names it"
            }
            _ => return None,
        };
        Some((key.span(), words.to_owned()))
    })
}

/// What somebody meant who wrote a key or a table that is none.
fn no_table<'c>(key: &str, value: &DeValue<'_>, command_of: &impl Fn(Role) -> Option<&'c Command>) -> String {
    let is_option = |role: &Role| command_of(*role).is_some_and(|command| options(command).any(|(option, ..)| option == key));
    let roles = Role::ALL.map(Role::as_str);
    match Role::ALL.into_iter().find(is_option) {
        Some(role) if value.as_table().is_none() => format!("`{key}` stands above every table: write [{role}] over it"),
        _ => unknown_word("table", key, &roles),
    }
}

fn settings(reader: &mut TomlReader, command: &Command, directory: &Path, table: &DeTable<'_>) -> Vec<Setting> {
    let known: Vec<_> = options(command).collect();
    let names: Vec<_> = known.iter().map(|(key, ..)| *key).collect();
    let mut settings = vec![];
    for (key, value) in table {
        let Some((name, kind, arg)) = known.iter().find(|(name, ..)| *name == &**key.get_ref()) else {
            reader.problem(key.span(), unknown_word("key", key.get_ref(), &names));
            continue;
        };
        let line = reader.line(key.span());
        let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        for value in values(reader, name, *kind, value) {
            let value = value.map(|value| if is_path { directory.join(value).display().to_string() } else { value });
            settings.push(Setting { key: (*name).to_owned(), value, line });
        }
    }
    settings
}

/// The values of a key, as a command line has them; none at all for a switch that is off.
fn values(reader: &mut TomlReader, key: &str, kind: OptionKind, value: &TomlValue<'_>) -> Vec<Option<String>> {
    match (kind, value.get_ref()) {
        (OptionKind::Switch, DeValue::Boolean(true)) => vec![None],
        (OptionKind::Switch, DeValue::Boolean(false)) => vec![],
        (OptionKind::Switch, other) => {
            reader.problem(value.span(), format!("`{key}` is true or false, not {}", other.type_str()));
            vec![]
        }
        (OptionKind::Several, DeValue::Array(values)) => values.iter().filter_map(|value| one(reader, key, value)).map(Some).collect(),
        _ => one(reader, key, value).map(Some).into_iter().collect(),
    }
}

fn one(reader: &mut TomlReader, key: &str, value: &TomlValue<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(switch) => {
            let words = format!("`{key}` takes a word or a number, in quotes when it is a word, not {switch}");
            reader.problem(value.span(), words);
            None
        }
        other => {
            reader.problem(value.span(), format!("`{key}` takes one string or number, not {}", other.type_str()));
            None
        }
    }
}
