//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use lanparty_lab::Impairment;

/// A LAN party with a friend at home, all on this machine, in network namespaces that are gone afterwards. Needs root.
///
/// Exits with 0 when every pass condition of the guide holds, 1 when one does not, 2 when the machine lacks something.
#[derive(Parser, Debug)]
#[command(name = "lanparty-demo", version)]
pub(crate) struct Options {
    /// Print lines instead of drawing; the default when standard output is no terminal
    #[arg(long)]
    pub(crate) plain: bool,

    /// Go on until `q` (or Ctrl-C)
    #[arg(long)]
    pub(crate) stay: bool,

    /// How long to play; longer only while a condition does not hold yet
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub(crate) seconds: u64,

    /// The player's line, each way; the venue's has half of its delay
    #[arg(long, value_name = "WIRE", default_value = "delay=8ms jitter=1ms")]
    pub(crate) line: Impairment,

    /// Write the last frame of the screen to this file, as plain text
    #[arg(long, value_name = "FILE")]
    pub(crate) screenshot: Option<PathBuf>,
}

impl Options {
    /// The venue's line.
    pub(crate) fn venue_line(&self) -> Impairment {
        Impairment { delay: self.line.delay / 2, ..self.line.clone() }
    }

    /// When the show ends if everything holds.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
