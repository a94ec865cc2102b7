//! Who is heard on an interface, from the first frame to the last.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lanparty_lab::Namespace;
use lanparty_proto::MacAddr;

use crate::capture::Capture;

/// How long a watch waits before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// A capture that runs beside the test.
pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<MacAddr>>,
}

impl Watch {
    pub(crate) fn start(host: &Namespace, interface: &str) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (mut capture, until) = (Capture::open(host, interface), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            // What has come is looked at to its end.
            while let Some(frame) = capture.next(LOOK).map(Some).or_else(|| (!until.load(Ordering::Relaxed)).then_some(None)) {
                let Some(frame) = frame else { continue };
                let address = |at: usize| MacAddr(frame[at..at + 6].try_into().unwrap());
                seen.extend([address(0), address(6)]);
            }
            seen
        });
        Self { end, thread }
    }

    /// The MAC addresses that frames came from or went to.
    pub(crate) fn finish(self) -> BTreeSet<MacAddr> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
