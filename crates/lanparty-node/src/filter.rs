//! The traffic filter as its owner says it: flags and a file become rules, before anything else is done.

mod file;
mod packet;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lanparty_core::{FilterRule, FilterRules, Verdict};
use tracing::{info, warn};

use crate::{ExitCode, Fault};

pub use packet::{PacketWords, parse_packet};

/// Largest file of rules: many times what the most rules need.
const FILE_LEN_MAX: u64 = 16 << 20;
/// Problems of a file that are told at once: more of them have one cause.
const PROBLEMS_MAX: usize = 12;

/// Which packets may leave or enter this host's interface. Only the long help has them.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterFlags {
    /// Rules in n3n's words (docs/filters.md).
    #[arg(
        help = "Let packets pass or drop them, in both directions; may be said several times, and the most specific rule decides. \
                SRC/LEN:[FIRST,LAST],DST/LEN:[FIRST,LAST],TCP+/-,UDP+/-,ICMP+/- as in n3n, IPv6 too (docs/filters.md)",
        long,
        hide_short_help = true,
        value_name = "RULE"
    )]
    pub filter_rule: Vec<FilterRule>,

    /// More rules, from a file (TOML; docs/filters.md)
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub filter: Option<PathBuf>,

    /// What becomes of frames that no rule speaks of: accept or drop [default: as the file says, else accept]
    #[arg(long, hide_short_help = true, value_name = "VERDICT", value_parser = parse_verdict)]
    pub filter_default: Option<Verdict>,
}

impl FilterFlags {
    /// The filter that they ask for, when they ask for one. Rules of the command line come before those of the file.
    ///
    /// # Errors
    /// In words, when the file cannot be used.
    pub fn rules(&self) -> Result<Option<Arc<FilterRules>>, Fault> {
        if self.filter_rule.is_empty() && self.filter.is_none() && self.filter_default.is_none() {
            return Ok(None);
        }
        let (mut rules, mut default) = (self.filter_rule.clone(), Verdict::default());
        if let Some(path) = &self.filter {
            let file = read(path)?;
            rules.extend(file.rules);
            default = file.default.unwrap_or_default();
        }
        let compiled = FilterRules::compile(rules, self.filter_default.unwrap_or(default));
        let compiled =
            compiled.map_err(|e| Fault::new(ExitCode::Configuration, e.to_string(), "use prefixes and port ranges that hold more"))?;
        Ok(Some(Arc::new(compiled)))
    }

    /// The same, and the log says what it is.
    ///
    /// # Errors
    /// As [`Self::rules`].
    pub fn start(&self) -> Result<Option<Arc<FilterRules>>, Fault> {
        let rules = self.rules()?;
        if let Some(rules) = &rules {
            info!(rules = rules.rules().len(), default = rules.default_verdict().as_str(), "traffic filter");
            rules.gaps().into_iter().for_each(|gap| warn!("traffic filter: {gap}"));
        }
        Ok(rules)
    }
}

fn parse_verdict(text: &str) -> Result<Verdict, String> {
    [Verdict::Accept, Verdict::Drop].into_iter().find(|verdict| verdict.as_str() == text).ok_or("it is accept or drop".to_owned())
}

fn read(path: &Path) -> Result<file::FilterFile, Fault> {
    let text = std::fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(FILE_LEN_MAX).read_to_string(&mut text).map(|_| text)
    });
    let text = text.map_err(|e| {
        let cause = format!("the filter {} cannot be read: {e}", path.display());
        Fault::new(ExitCode::Configuration, cause, "--filter names a file of rules (docs/filters.md)")
    })?;
    file::FilterFile::read(&text).map_err(|problems| {
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        let told = problems.iter().take(PROBLEMS_MAX).map(|problem| format!("\n  {}:{problem}", path.display()));
        let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        let cause = format!("the filter is not understood:{}{rest}", told.collect::<String>());
        Fault::new(ExitCode::Configuration, cause, format!("correct it, then ask `lanparty filter check {}`", path.display()))
    })
}
