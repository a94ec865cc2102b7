//! What passed between a home and its modem: a file for people, and times and sizes for a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use lanparty_nic::{Device, PacketSocket, PcapTee};
use lanparty_proto::FrameBatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::line::Way;
use crate::namespace::Namespace;

/// How often the end of a capture is looked for.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Frames remembered; the file has them all.
const FRAMES_MAX: usize = 2_000_000;

/// A frame that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// When it was read.
    pub at: Instant,
    /// Where it was going.
    pub way: Way,
    /// Its length, header included.
    pub len: usize,
}

/// A capture that runs until [`LineCapture::finish`], or until it is dropped.
#[derive(Debug)]
pub struct LineCapture {
    file: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Captured>>>,
}

impl LineCapture {
    /// Captures on `interface` of `host`; what comes from `home` goes up.
    pub(super) fn start(host: &Namespace, interface: &str, home: &str, file: PathBuf) -> Result<Self> {
        let home = parse_mac(home).with_context(|| format!("the MAC address {home}"))?;
        let socket = host.enter(|| PacketSocket::open(interface))?.with_context(|| format!("capture on {interface}"))?;
        let tee = PcapTee::create(socket, &file).with_context(|| format!("create {}", file.display()))?;
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = thread::Builder::new().name("capture".into()).spawn(move || capture(tee, home, &ends))?;
        Ok(Self { file, over, thread: Some(thread) })
    }

    /// The file, which grows meanwhile.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Ends it; what passed, in order.
    pub fn finish(mut self) -> Result<Vec<Captured>> {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("INVARIANT: it is finished once")?;
        thread.join().map_err(|_| anyhow!("the capture panicked"))
    }
}

impl Drop for LineCapture {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Who drops it does not ask what passed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Captured {
    /// Frames and bytes that went `way` within `span` after `from`.
    pub fn count(all: &[Self], way: Way, from: Instant, span: Duration) -> (usize, usize) {
        let within = all.iter().filter(|frame| frame.way == way && frame.at >= from && frame.at < from + span);
        within.fold((0, 0), |(frames, bytes), frame| (frames + 1, bytes + frame.len))
    }
}

fn capture(mut tee: PcapTee<PacketSocket>, home: [u8; 6], over: &AtomicBool) -> Vec<Captured> {
    let mut passed = Vec::new();
    let mut batch = FrameBatch::new();
    while !over.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(&tee, PollFlags::IN)], Some(&SLICE));
        // A wake-up for nothing is no error: the next look decides. An interface that is gone may come back.
        if ready.unwrap_or(0) == 0 || tee.recv_batch(&mut batch).is_err() {
            continue;
        }
        let at = Instant::now();
        while let Some(frame) = batch.pop() {
            let frame = &frame[FrameBatch::HEADROOM..];
            let way = if frame.get(6..12) == Some(&home[..]) { Way::Up } else { Way::Down };
            if passed.len() < FRAMES_MAX {
                passed.push(Captured { at, way, len: frame.len() });
            }
        }
    }
    passed
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>().ok()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_by_way_and_time() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let frame = |at, way, len| Captured { at: start + ms(at), way, len };
        let all = [frame(0, Way::Up, 60), frame(5, Way::Down, 100), frame(9, Way::Up, 1_500), frame(10, Way::Up, 1_500)];
        assert_eq!(Captured::count(&all, Way::Up, start, ms(10)), (2, 1_560));
        assert_eq!(Captured::count(&all, Way::Down, start + ms(6), ms(10)), (0, 0));
        assert_eq!(parse_mac("02:00:00:00:ab:01"), Some([2, 0, 0, 0, 0xab, 1]));
        assert_eq!(parse_mac("02:00:00:00:ab"), None);
    }
}
