//! The log of a service, which has no terminal: a file that never fills a disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// At this size the file becomes `*.old`, and a new one begins: so there are at most two of them.
const LEN_MAX: u64 = 8 << 20;

/// A file that begins anew when it is long.
pub struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
    len_max: u64,
}

impl LogFile {
    /// Goes on where an earlier run has ended.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, LEN_MAX)
    }

    fn with_limit(path: &Path, len_max: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len, len_max })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.old"))?;
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.len = 0;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len >= self.len_max {
            self.begin_anew()?;
        }
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_begins_anew_and_keeps_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/client.log");
        let mut log = LogFile::with_limit(&path, 10).unwrap();
        for line in ["first line\n", "second line\n", "third line\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        drop(log);
        let mut log = LogFile::with_limit(&path, 100).unwrap();
        log.write_all(b"fourth\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third line\nfourth\n");
        assert_eq!(fs::read_to_string(path.with_extension("log.old")).unwrap(), "second line\n");
    }
}
