//! What a command prints for its user: all of it, or it says that it could not.

use std::io::{ErrorKind, Result, Write};

use crate::fault::{ExitCode, Fault};

/// Writes `text` to standard output. A closed pipe (`… | head`) is no fault: its reader has seen enough.
///
/// # Errors
/// When it cannot be written, as on a full disk.
pub fn print(text: &str) -> std::result::Result<(), Fault> {
    outcome(write(&mut std::io::stdout(), text))
}

fn write(out: &mut impl Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn outcome(written: Result<()>) -> std::result::Result<(), Fault> {
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Fault::new(ExitCode::Unexpected, format!("standard output cannot be written: {e}"), ""))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_left_is_no_fault_and_a_full_disk_is() {
        assert_eq!(outcome(Err(ErrorKind::BrokenPipe.into())), Ok(()));
        let fault = outcome(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(fault.code, ExitCode::Unexpected);
        assert!(fault.cause.contains("standard output cannot be written"), "{fault}");
    }
}
