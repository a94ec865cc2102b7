//! To the wire: many frames per system call, segments of one flow as super-frames, short frames padded with zeros.

use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;

use bytes::Bytes;
use lanparty_proto::{DropReason, MacAddr};

use super::{PacketSocket, frame_len_max};
use crate::device::{DeviceFault, Refusal};
use crate::offload::{Limits, Run, VNET_HDR_LEN, next_run};
use crate::sys::packet::send;

/// Messages per system call.
const MESSAGES: usize = 64;
/// Source addresses remembered: more than a room has members. Beyond it they are learnt anew.
const INJECTED_MAX: usize = 1024;
/// Shortest frame on the wire, without FCS (IEEE 802.3 §4A.2.3.2.4). Left to a driver, padding has leaked memory (CVE-2003-0001).
const FRAME_LEN_MIN: usize = 60;

static NO_OFFLOAD: [u8; VNET_HDR_LEN] = [0; VNET_HDR_LEN];
static PADDING: [u8; FRAME_LEN_MIN] = [0; FRAME_LEN_MIN];

impl PacketSocket {
    /// Sends from the front until all are taken or no more can be.
    pub(super) fn send(&mut self, frames: &[Bytes]) -> io::Result<usize> {
        self.unsent.clear();
        self.remember_sources(frames);
        // `alone`: how many of the next frames go one by one, because the kernel refused them as a super-frame.
        let (mut taken, mut alone) = (0, 0);
        while taken < frames.len() {
            let rest = &frames[taken..];
            let runs = self.plan(rest, alone);
            match self.send_runs(rest, &runs) {
                Ok(sent) => {
                    let sent: usize = runs.iter().take(sent).map(|run| self.count_sent(run)).sum();
                    taken += sent;
                    alone = alone.saturating_sub(sent);
                }
                Err(Refusal::Frame) if runs[0].head.is_some() => {
                    alone = runs[0].frames;
                    self.limits.frame_len_max = frame_len_max(&self.interfaces, &self.name);
                }
                Err(Refusal::Frame) => {
                    self.stats.refused += 1;
                    self.unsent.push((rest[0].clone(), DropReason::DeviceError));
                    taken += 1;
                    alone = alone.saturating_sub(1);
                }
                Err(Refusal::Congested) => {
                    self.stats.congested += runs[0].frames as u64;
                    self.unsent.extend(rest[..runs[0].frames].iter().map(|frame| (frame.clone(), DropReason::QueueFull)));
                    taken += runs[0].frames;
                }
                Err(_) if taken > 0 => break,
                Err(Refusal::Full) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(Refusal::Device(e)) => return Err(e),
            }
        }
        Ok(taken)
    }

    /// Notes whose frames are injected, so that they are known when the kernel shows them again.
    fn remember_sources(&mut self, frames: &[Bytes]) {
        let mut last = None;
        for source in frames.iter().filter_map(|f| f.get(6..)?.first_chunk().copied().map(MacAddr)) {
            if last == Some(source) {
                continue;
            }
            last = Some(source);
            if self.injected.len() >= INJECTED_MAX && !self.injected.contains(&source) {
                self.injected.clear();
            }
            self.injected.insert(source);
        }
    }

    /// What goes into one system call.
    fn plan(&self, frames: &[Bytes], alone: usize) -> Vec<Run> {
        let (mut runs, mut planned) = (Vec::with_capacity(frames.len().min(MESSAGES)), 0);
        while planned < frames.len() && runs.len() < MESSAGES {
            let limits = if planned < alone { Limits::ALONE } else { self.limits };
            let run = next_run(&frames[planned..], limits);
            planned += run.frames;
            runs.push(run);
        }
        runs
    }

    /// One system call: how many runs were sent, or why not even the first.
    fn send_runs(&mut self, mut frames: &[Bytes], runs: &[Run]) -> Result<usize, Refusal> {
        let mut parts = Vec::with_capacity(frames.len() + 2 * runs.len());
        let mut counts = Vec::with_capacity(runs.len());
        for run in runs {
            let before = parts.len();
            let (of_run, after) = frames.split_at(run.frames);
            frames = after;
            match &run.head {
                Some(head) => {
                    parts.push(IoSlice::new(head.bytes()));
                    parts.extend(of_run.iter().map(|frame| IoSlice::new(&frame[head.payload_offset()..])));
                }
                None => push_alone(&mut parts, &of_run[0]),
            }
            counts.push(parts.len() - before);
        }
        match send(self.socket.as_fd(), &parts, &counts, &mut self.scratch) {
            // The error was left over from an interface that is back: it is about no frame of ours.
            Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) && self.fault_now().is_none() => {
                send(self.socket.as_fd(), &parts, &counts, &mut self.scratch)
            }
            sent => sent,
        }
        .map_err(|e| self.refusal(e))
    }

    fn count_sent(&mut self, run: &Run) -> usize {
        self.stats.sent += run.frames as u64;
        self.stats.coalesced += if run.head.is_some() { run.frames as u64 } else { 0 };
        run.frames
    }

    /// What a failed send means (`packet_snd`).
    fn refusal(&self, e: io::Error) -> Refusal {
        match e.raw_os_error() {
            Some(libc::EAGAIN) => Refusal::Full,
            Some(libc::ENOMEM | libc::ENOBUFS) => Refusal::Congested,
            Some(libc::ENXIO | libc::ENODEV) => Refusal::Device(DeviceFault::Gone.into()),
            Some(libc::ENETDOWN) => Refusal::Device(self.fault_now().unwrap_or(DeviceFault::Down).into()),
            Some(libc::EINVAL | libc::EMSGSIZE | libc::EPERM) => Refusal::Frame,
            _ => Refusal::Device(e),
        }
    }
}

fn push_alone<'a>(parts: &mut Vec<IoSlice<'a>>, frame: &'a Bytes) {
    parts.push(IoSlice::new(&NO_OFFLOAD));
    parts.push(IoSlice::new(frame));
    if frame.len() < FRAME_LEN_MIN {
        parts.push(IoSlice::new(&PADDING[frame.len()..]));
    }
}
