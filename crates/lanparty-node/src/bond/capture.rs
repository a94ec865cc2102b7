//! For the doubtful: what every path carries, written down as it is, one file each (`--pcap DIR`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lanparty_nic::{Capture, CaptureWay, LinkType};
use tracing::warn;

/// Size that the file of a path may reach, in bytes: a forgotten one must not fill a disk, and a bond has several.
const FILE_LEN_MAX: u64 = 256 << 20;

/// The files of a bond's paths. Clones are the same; without a directory nothing is written.
#[derive(Clone, Debug, Default)]
pub struct Captures(Option<Arc<Files>>);

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    open: Mutex<BTreeMap<u8, PathCapture>>,
}

/// The file of one path, whichever connection it has.
#[derive(Clone, Debug, Default)]
pub(super) struct PathCapture(Option<Arc<Mutex<Option<Capture>>>>);

impl Captures {
    /// Files in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn to(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self(Some(Arc::new(Files { dir: dir.to_owned(), open: Mutex::default() }))))
    }

    /// The file of a path: `NAME.pcapng`, begun anew with every run of the program.
    pub(super) fn of(&self, path: u8, name: &str) -> PathCapture {
        let Some(files) = &self.0 else { return PathCapture::default() };
        let mut open = files.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(path).or_insert_with(|| create(&files.dir.join(format!("{name}.pcapng")))).clone()
    }
}

fn create(file: &Path) -> PathCapture {
    match Capture::create(file, LinkType::User0, FILE_LEN_MAX) {
        Ok(capture) => PathCapture(Some(Arc::new(Mutex::new(Some(capture))))),
        Err(error) => {
            warn!("no capture to {}: {error}", file.display());
            PathCapture::default()
        }
    }
}

impl PathCapture {
    pub(super) fn sent<'a>(&self, datagrams: impl Iterator<Item = &'a Bytes>) {
        self.note(CaptureWay::Outbound, datagrams);
    }

    pub(super) fn received<'a>(&self, datagrams: impl Iterator<Item = &'a Bytes>) {
        self.note(CaptureWay::Inbound, datagrams);
    }

    /// Whatever goes wrong ends the capture, and not the traffic.
    fn note<'a>(&self, way: CaptureWay, datagrams: impl Iterator<Item = &'a Bytes>) {
        let Some(mut capture) = self.open() else { return };
        if let Some(Err(error)) = capture.as_mut().map(|capture| capture.write(way, datagrams.map(AsRef::as_ref))) {
            warn!("the capture of a path ended: {error}");
            *capture = None;
        }
    }

    fn open(&self) -> Option<MutexGuard<'_, Option<Capture>>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_file_whichever_connection_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let captures = Captures::to(&dir.path().join("new")).unwrap();
        let len = || std::fs::metadata(dir.path().join("new/dsl0.pcapng")).unwrap().len();
        captures.of(0, "dsl0").sent([Bytes::from_static(b"before")].iter());
        let before = len();
        captures.clone().of(0, "dsl0").received([Bytes::from_static(b"after")].iter());
        assert!(len() > before);
        assert!(!dir.path().join("new/lte0.pcapng").exists());
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_or_shall() {
        Captures::default().of(0, "dsl0").sent([Bytes::from_static(b"x")].iter());
        let dir = tempfile::tempdir().unwrap();
        Captures::to(dir.path()).unwrap().of(0, "no/such/place").sent([Bytes::from_static(b"x")].iter());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
