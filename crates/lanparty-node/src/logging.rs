//! Logs: one line an event on standard output, as text or JSON; under systemd an entry of the journal, with its fields.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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

/// What the libraries beneath say is for those who ask for it by name.
const QUIET_LIBRARIES: &str = "noq=warn,noq_proto=warn,noq_udp=error,rustls=warn";

/// Starts logging for the whole process. `LANPARTY_LOG` chooses what: a level (default `info`; `trace` shows every frame),
/// or directives in the syntax of `tracing_subscriber::EnvFilter`. A second call does nothing.
pub fn start_logging(format: LogFormat) {
    if format == LogFormat::Auto && start_journal() {
        return;
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter()).with_target(false);
    // Ignored on purpose: a test may start several programs in one process, and the first logger serves them all.
    let _ = match format {
        LogFormat::Auto | LogFormat::Text => builder.with_ansi(std::io::stdout().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Writes to the journal, each field as `LANPARTY_FIELD`, when standard output leads there: systemd says which file that is
/// (systemd.exec(5), `JOURNAL_STREAM`).
#[cfg(unix)]
fn start_journal() -> bool {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    if !logs_to_journal() {
        return false;
    }
    let Ok(journal) = tracing_journald::layer() else { return false };
    let journal = journal.with_field_prefix(Some("LANPARTY".to_owned()));
    tracing_subscriber::registry().with(filter()).with(journal).try_init().is_ok()
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter()).with_target(false).with_writer(std::sync::Mutex::new(writer));
    // As above.
    let _ = match format {
        LogFormat::Auto | LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn filter() -> EnvFilter {
    let wanted = std::env::var("LANPARTY_LOG").unwrap_or_else(|_| "info".to_owned());
    let directives = if wanted.contains('=') { wanted } else { format!("{wanted},{QUIET_LIBRARIES}") };
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(format!("info,{QUIET_LIBRARIES}")))
}

/// Whether the log is to show every frame: `LANPARTY_LOG` says `trace`.
#[must_use]
pub fn every_frame_is_logged() -> bool {
    tracing::enabled!(tracing::Level::TRACE)
}
