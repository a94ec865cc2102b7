//! A file with every option that there is, said by nobody yet.

use std::fmt::Write as _;

use clap::Command;

use crate::file::Role;
use crate::options::{OptionKind, options};

/// Columns of a comment.
const WIDTH: usize = 100;

/// The tables of these programs: each option with its help, commented out, as it is when nothing is said.
#[must_use]
pub fn default_file<'c>(commands: impl IntoIterator<Item = (Role, &'c Command)>) -> String {
    let mut out = String::from("# lanparty.toml: options of the command line, in a file. Take away the # before a key to say it.\n");
    out += "# The command line goes before the environment (LANPARTY_OPTION), and that before this file.\n";
    for (role, command) in commands {
        let _ = write!(out, "\n[{role}]\n");
        for (key, kind, arg) in options(command) {
            let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
            out.push('\n');
            for line in wrapped(help.split("\n\n").next().unwrap_or_default()) {
                let _ = writeln!(out, "# {line}");
            }
            let _ = writeln!(out, "#{key} = {}", value(kind, arg));
        }
    }
    out
}

fn value(kind: OptionKind, arg: &clap::Arg) -> String {
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let name = || arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str()).to_owned();
    let value = default.clone().unwrap_or_else(name);
    match kind {
        OptionKind::Switch => "false".to_owned(),
        _ if default.is_some() && value.bytes().all(|byte| byte.is_ascii_digit()) => value,
        OptionKind::One => format!("\"{value}\""),
        OptionKind::Several => format!("[\"{value}\"]"),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.len() + word.len() < WIDTH);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
