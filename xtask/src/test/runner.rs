//! Runs a test command, passes on what is worth reading, and counts.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use super::tally::{Format, Tally};
use crate::command::words;
use crate::report::{duration, say};

/// Lines read ahead of the one that is being judged.
const LINES_AHEAD: usize = 1_000;

/// Runs `command` to its end. That tests failed is a count, not an error.
pub(super) fn stream(command: &mut Command, format: Format, tally: &mut Tally) -> Result<()> {
    let words = words(command);
    say(&format!("==> {words}"));
    let start = Instant::now();
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("`{words}` cannot be started"))?;
    let (lines, arrived) = sync_channel(LINES_AHEAD);
    let readers = [child.stdout.take().map(|out| read(out, lines.clone())), child.stderr.take().map(|err| read(err, lines.clone()))];
    drop(lines);
    tally.begin();
    for line in arrived {
        if tally.note(&line, format) {
            say(&line);
        }
    }
    for reader in readers.into_iter().flatten() {
        // It ends with its stream; a panic in it would show as missing lines.
        let _ = reader.join();
    }
    let status = child.wait().with_context(|| format!("wait for `{words}`"))?;
    tally.trouble |= !status.success();
    say(&format!("    {}", duration(start.elapsed())));
    Ok(())
}

fn read(stream: impl Read + Send + 'static, lines: SyncSender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    })
}
