//! Logs: one line an event on standard output, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// `time LEVEL message key=value …`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{s}` is no log format: text or json")),
        }
    }
}

/// Starts logging for the whole process. `LANPARTY_LOG` chooses what (default `info`; `trace` shows every frame), in the
/// syntax of `tracing_subscriber::EnvFilter`. A second call does nothing.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LANPARTY_LOG").unwrap_or_else(|_| EnvFilter::new("info,noq=warn,noq_proto=warn,noq_udp=error"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    // Ignored on purpose: a test may start several programs in one process, and the first logger serves them all.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stdout().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
