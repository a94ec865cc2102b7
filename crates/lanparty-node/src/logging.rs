//! Logs: one line an event on standard output, as text or JSON; under systemd an entry of the journal, with its fields.

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// Entries of the journal where standard output leads there, else text.
    #[default]
    Auto,
    /// `time LEVEL message key=value …`
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{s}` is no log format: auto, text or json")),
        }
    }
}

/// What is logged when nobody says otherwise.
const USUAL: &str = "info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What the libraries beneath say is for those who ask for it by name.
const QUIET_LIBRARIES: &str = "quinn_proto=warn,noq_udp=error,rustls=warn";

/// Starts logging for the whole process. `LANPARTY_LOG` chooses what: a level (default `info`; `trace` shows every frame),
/// or directives in the syntax of `tracing_subscriber::EnvFilter`; what is neither is said in a warning, and the default holds. A second
/// call does nothing. A line that cannot be written, because nobody reads it or the disk is full, is dropped: the program goes on.
pub fn start_logging(format: LogFormat) {
    if format == LogFormat::Auto && start_journal() {
        return;
    }
    start(format, std::io::stdout().is_terminal(), std::io::stdout);
}

/// Writes to the journal, each field as `LANPARTY_FIELD`, when standard output leads there: systemd says which file that is
/// (systemd.exec(5), `JOURNAL_STREAM`).
#[cfg(unix)]
fn start_journal() -> bool {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::reload;
    use tracing_subscriber::util::SubscriberInitExt;

    if !logs_to_journal() {
        return false;
    }
    let Ok(journal) = tracing_journald::layer() else { return false };
    let journal = journal.with_field_prefix(Some("LANPARTY".to_owned()));
    let Wanted { now, filter, refused } = wanted(std::env::var("LANPARTY_LOG").ok());
    let (filter, handle) = reload::Layer::new(filter);
    let started = tracing_subscriber::registry().with(filter).with(journal).try_init().is_ok();
    if started {
        keep(now, refused, move |filter| handle.reload(filter).map_err(|e| e.to_string()));
    }
    started
}

#[cfg(not(unix))]
fn start_journal() -> bool {
    false
}

/// Whether standard output is the journal's.
#[cfg(unix)]
pub(crate) fn logs_to_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let stdout = rustix::fs::fstat(std::io::stdout());
    stdout.is_ok_and(|file| stream.to_str() == Some(&format!("{}:{}", file.st_dev, file.st_ino)))
}

#[cfg(not(unix))]
pub(crate) fn logs_to_journal() -> bool {
    false
}

/// As [`start_logging`], into something else than standard output.
pub fn start_logging_into(format: LogFormat, writer: impl std::io::Write + Send + 'static) {
    start(format, false, Mutex::new(writer));
}

fn start<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(format: LogFormat, has_colours: bool, writer: W) {
    let Wanted { now, filter, refused } = wanted(std::env::var("LANPARTY_LOG").ok());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(writer);
    // What the library would say of a line that it cannot write goes to standard error, and ends the program when that is closed, too.
    let builder = builder.log_internal_errors(false);
    // Ignored on purpose: a test may start several programs in one process, and the first logger serves them all.
    let _ = match format {
        LogFormat::Auto | LogFormat::Text => {
            let builder = builder.with_ansi(has_colours).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map(|()| keep(now, refused, move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map(|()| keep(now, refused, move |filter| handle.reload(filter).map_err(|e| e.to_string())))
        }
    };
}

/// What is logged now, and how that is changed.
struct Logger {
    now: Mutex<String>,
    set: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

fn keep(now: String, refused: Option<String>, set: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static) {
    // There is one logger, and so one to keep.
    let _ = LOGGER.set(Logger { now: Mutex::new(now), set: Box::new(set) });
    if let Some(why) = refused {
        tracing::warn!("LANPARTY_LOG is not used, and {USUAL} is logged: {why}");
    }
}

/// What is logged: a level, or directives.
pub(crate) fn log_filter() -> String {
    LOGGER.get().map_or_else(|| "off".to_owned(), |logger| logger.now.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Logs this from now on; what it is called then.
///
/// # Errors
/// In words, when it is neither a level nor directives.
pub(crate) fn set_log_filter(wanted: &str) -> Result<String, String> {
    let filter = read(wanted)?;
    let logger = LOGGER.get().ok_or("this program keeps no log")?;
    (logger.set)(filter)?;
    wanted.trim().clone_into(&mut logger.now.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(wanted.trim().to_owned())
}

/// A level, with the libraries kept quiet; or directives. A word that is no level would be taken for the name of a library, and nothing
/// else would be logged: it is refused.
fn read(wanted: &str) -> Result<EnvFilter, String> {
    let wanted = wanted.trim();
    let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(wanted));
    if !is_level && !wanted.contains('=') {
        return Err(format!("`{wanted}` is none of {}, and no directive as in info,lanparty_node=debug", LEVELS.join(", ")));
    }
    EnvFilter::try_new(with_quiet_libraries(wanted)).map_err(|e| format!("`{wanted}` is no list of directives: {e}"))
}

fn with_quiet_libraries(wanted: &str) -> String {
    if wanted.contains('=') { wanted.to_owned() } else { format!("{wanted},{QUIET_LIBRARIES}") }
}

/// What a program begins to log.
struct Wanted {
    now: String,
    filter: EnvFilter,
    /// Why it is not what the environment says.
    refused: Option<String>,
}

/// What is logged when the environment says `wanted`; a variable that is empty says nothing.
fn wanted(wanted: Option<String>) -> Wanted {
    let said = wanted.filter(|wanted| !wanted.trim().is_empty()).unwrap_or_else(|| USUAL.to_owned());
    match read(&said) {
        Ok(filter) => Wanted { now: said.trim().to_owned(), filter, refused: None },
        Err(why) => Wanted { now: USUAL.to_owned(), filter: EnvFilter::new(with_quiet_libraries(USUAL)), refused: Some(why) },
    }
}

/// Whether the log is to show every frame: `LANPARTY_LOG` says `trace`.
#[must_use]
pub fn every_frame_is_logged() -> bool {
    tracing::enabled!(tracing::Level::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_library() {
        for good in ["debug", " INFO ", "off", "info,lanparty_node=trace", "lanparty_core=debug"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in ["inof", "", "verbose", "5", "info,lanparty_node", "lanparty_node=loud"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_environment_says_is_used_or_refused_with_the_words_there_are() {
        for (said, now) in
            [(None, "info"), (Some(""), "info"), (Some(" debug "), "debug"), (Some("lanparty_core=debug"), "lanparty_core=debug")]
        {
            let wanted = wanted(said.map(str::to_owned));
            assert_eq!((wanted.now.as_str(), wanted.refused), (now, None), "{said:?}");
        }
        for bad in ["foo", "info,lanparty_node", "lanparty_node=loud"] {
            let wanted = wanted(Some(bad.to_owned()));
            let why = wanted.refused.unwrap();
            assert!(wanted.now == USUAL && why.contains(bad), "{why}");
            assert!(bad != "foo" || why.contains("off, error, warn, info, debug, trace"), "{why}");
        }
    }
}
