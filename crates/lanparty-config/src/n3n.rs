//! What an n3n configuration becomes: `edge.conf` a `[client]`, `supernode.conf` a `[relay]`.
//!
//! Facts from n3n's documentation (`ConfigurationFiles.md`, `TapConfiguration.md`) and its option definitions, version 3.4. Its file is
//! one of sections, `[section]`, with `option=value` lines; lines that begin with `#` or `;` are comments.

mod edge;
mod supernode;

use std::fmt;

use crate::Role;

/// What became of one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// These lines of ours say it.
    Became(Vec<String>),
    /// Beside others of its kind it became a value of this key.
    Joined(&'static str),
    /// It need not be said.
    NotNeeded(&'static str),
    /// It is not carried over, and the user has to know.
    Lost(String),
    /// n3n would not understand it, either.
    Wrong(String),
}

/// A line of the n3n file, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// `section.option = value`, as n3n says it; a value that is secret is left out.
    pub text: String,
    /// What became of it.
    pub outcome: Outcome,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: ", self.number, self.text)?;
        match &self.outcome {
            Outcome::Became(ours) => write!(f, "became {}", ours.join(", ")),
            Outcome::Joined(key) => write!(f, "became a value of {key}"),
            Outcome::NotNeeded(why) => write!(f, "not needed: {why}"),
            Outcome::Lost(what) => write!(f, "NOT CARRIED OVER: {what}"),
            Outcome::Wrong(what) => write!(f, "WRONG: {what}"),
        }
    }
}

/// An imported file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Which program it is for.
    pub role: Role,
    /// Ours.
    pub toml: String,
    /// What became of each line.
    pub lines: Vec<Line>,
    /// What the user should know besides.
    pub notes: Vec<&'static str>,
}

impl Imported {
    /// Whether everything that mattered was carried over.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lines.iter().all(|line| matches!(line.outcome, Outcome::Became(_) | Outcome::Joined(_) | Outcome::NotNeeded(_)))
    }
}

/// `option = value` in a section.
#[derive(Clone, Debug)]
struct Entry {
    number: usize,
    section: String,
    option: String,
    value: String,
}

impl Entry {
    fn key(&self) -> String {
        format!("{}.{}", self.section, self.option)
    }

    fn text(&self) -> String {
        let is_secret = ["auth.password", "community.key", "management.password", "supernode.federation"].contains(&&*self.key());
        format!("{} = {}", self.key(), if is_secret { "…" } else { &self.value })
    }
}

/// What `text` becomes.
///
/// # Errors
/// When it is no n3n configuration at all.
pub fn import(text: &str) -> Result<Imported, String> {
    let mut sections = text.lines().filter_map(|line| line.trim().strip_prefix('[')?.split(']').next());
    if sections.any(|section| Role::ALL.iter().any(|role| role.as_str() == section.trim())) {
        return Err("this is a lanparty.toml already; `lanparty config check` checks it".to_owned());
    }
    let (entries, mut wrong) = entries(text);
    if entries.is_empty() {
        return Err("this is no configuration of n3n: it has no line `option=value` below a `[section]`; n2n's own files are brought \
                    into that form by n3n's n3n-convert_old_conf"
            .to_owned());
    }
    let is_supernode = entries.iter().any(|entry| entry.section == "supernode");
    let mut imported = if is_supernode { supernode::import(&entries) } else { edge::import(&entries) };
    imported.lines.append(&mut wrong);
    imported.lines.sort_by_key(|line| line.number);
    Ok(imported)
}

fn entries(text: &str) -> (Vec<Entry>, Vec<Line>) {
    let (mut section, mut entries, mut wrong) = (None, vec![], vec![]);
    for (n, line) in text.lines().enumerate() {
        let (number, line) = (n + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().map(|name| name.trim().to_owned());
            continue;
        }
        let fault = match (&section, line.split_once('=')) {
            (Some(section), Some((option, value))) => {
                let (option, value) = (option.trim().to_owned(), value.trim().to_owned());
                entries.push(Entry { number, section: section.clone(), option, value });
                continue;
            }
            (None, _) => "it stands above every [section]",
            (_, None) => "it is no option=value",
        };
        wrong.push(Line { number, text: line.to_owned(), outcome: Outcome::Wrong(fault.to_owned()) });
    }
    (entries, wrong)
}

/// n3n's words for yes and no.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A TOML line: the value as a basic string (TOML 1.0, "String").
fn text(key: &str, value: &str) -> String {
    format!("{key} = {}", quoted(value))
}

fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn not_a_switch(value: &str) -> Outcome {
    Outcome::Wrong(format!("`{value}` is neither true nor false"))
}

/// What no program of ours needs to be told.
fn of_the_daemon(entry: &Entry) -> Option<Outcome> {
    let outcome = match entry.key().as_str() {
        "daemon.background" => Outcome::NotNeeded("systemd runs it in the background (lanparty@NAME.service)"),
        "daemon.userid" | "daemon.groupid" => Outcome::NotNeeded("the unit of systemd says which user it runs as, and with which rights"),
        "logging.verbose" => Outcome::NotNeeded("LANPARTY_LOG=debug in the environment says more"),
        "management.port" | "management.password" | "management.unix_sock_perms" | "management.enable_debug_pages" => {
            Outcome::NotNeeded("the management socket has no port and no password: the system says who may use it")
        }
        key if key.starts_with("test.") => Outcome::NotNeeded("it is about n3n's own tests"),
        _ => return None,
    };
    Some(outcome)
}

/// The file: one table of these lines, each key once.
fn table(role: Role, lines: &[Line], more: &[String]) -> String {
    let ours = lines.iter().filter_map(|line| match &line.outcome {
        Outcome::Became(ours) => Some(ours),
        _ => None,
    });
    let mut out = format!("[{role}]\n");
    for line in ours.flatten().chain(more) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_options_are_read_as_n3n_reads_them() {
        let (entries, wrong) = entries("early=1\n# note\n ; note\n[community]\n name = a=b \n\n[tuntap]\r\naddress=1.2.3.4\r\nnonsense\n");
        let said: Vec<_> = entries.iter().map(|entry| (entry.number, entry.key(), entry.value.as_str())).collect();
        assert_eq!(said, [(5, "community.name".to_owned(), "a=b"), (8, "tuntap.address".to_owned(), "1.2.3.4")]);
        assert_eq!(wrong.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 9]);
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        assert!(import("-c=mynetwork\n-l=supernode.example:7777\n").unwrap_err().contains("n3n-convert_old_conf"));
        assert!(import("").is_err());
    }

    #[test]
    fn a_file_of_ours_is_not_imported_once_more() {
        for ours in ["[client]\nrelay = \"h\"\nroom = \"A\"\n", "# mine\n [ relay ] # here\nopen = true\n"] {
            assert!(import(ours).unwrap_err().contains("lanparty config check"), "{ours}");
        }
    }

    #[test]
    fn what_became_of_a_line_is_never_left_out() {
        let imported = import("[filter]\nrule=10.0.0.0/8,0.0.0.0/0,TCP-\n").unwrap();
        assert!(imported.is_whole() && imported.toml.contains("filter-rule = [\"10.0.0.0/8,0.0.0.0/0,TCP-\"]"), "{imported:?}");
        assert!(imported.lines[0].to_string().ends_with(": became a value of filter-rule"), "{}", imported.lines[0]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let imported = import("[community]\nname=a\nsupernode=h:1\nkey=verysecret\n").unwrap();
        assert!(!imported.lines.iter().any(|line| line.to_string().contains("verysecret")));
    }
}
