//! For the doubtful: what every path carries, written down as it is, one file each (`--pcap DIR`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lanparty_nic::{Capture, CaptureWay, LinkType};
use lanparty_proto::MemberId;
use tracing::warn;

/// Size that the file of a path may reach, in bytes: a forgotten one must not fill a disk, and a bond has several.
const FILE_LEN_MAX: u64 = 256 << 20;

/// The files of a bond's paths. Clones are the same; without a directory nothing is written.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    files: Option<Arc<Files>>,
    /// What names of files begin with.
    link: String,
}

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    open: Mutex<BTreeMap<String, PathCapture>>,
}

/// The file of one line, whichever connections it has.
#[derive(Clone, Debug, Default)]
pub(super) struct PathCapture(Option<Arc<Mutex<Option<Capture>>>>);

impl Captures {
    /// Files in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn to(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { files: Some(Arc::new(Files { dir: dir.to_owned(), open: Mutex::default() })), link: String::new() })
    }

    /// Those of the direct link to a member, in the same directory.
    pub(crate) fn of_peer(&self, member: MemberId) -> Self {
        Self { files: self.files.clone(), link: format!("peer{member}-") }
    }

    /// The file of a path: `NAME.pcapng`, or `peerNUMBER-NAME.pcapng` of a direct link; begun anew with every run of the program.
    pub(super) fn of(&self, name: &str) -> PathCapture {
        let Some(files) = &self.files else { return PathCapture::default() };
        let name = format!("{}{name}.pcapng", self.link);
        let mut open = files.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.dir.join(&name);
        open.entry(name).or_insert_with(|| create(&file)).clone()
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
        captures.of("dsl0").sent([Bytes::from_static(b"before")].iter());
        let before = len();
        captures.clone().of("dsl0").received([Bytes::from_static(b"after")].iter());
        assert!(len() > before);
        let of_bond = len();
        captures.of_peer(MemberId(3)).of("dsl0").sent([Bytes::from_static(b"directly")].iter());
        assert!(len() == of_bond && dir.path().join("new/peer3-dsl0.pcapng").exists());
        assert!(!dir.path().join("new/lte0.pcapng").exists());
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_or_shall() {
        Captures::default().of("dsl0").sent([Bytes::from_static(b"x")].iter());
        let dir = tempfile::tempdir().unwrap();
        Captures::to(dir.path()).unwrap().of("no/such/place").sent([Bytes::from_static(b"x")].iter());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
