//! Tries [`Tap`](lanparty_nic::windows::Tap) on the test driver (tests/faketap) with nothing between the two: `tap_trial {GUID} PACE`, in
//! frames a second. Prints one line for each trial, which a test on Linux reads; frames go in by the driver's other end.

use std::error::Error;

#[cfg(windows)]
mod trial {
    use std::error::Error;
    use std::io::ErrorKind;
    use std::time::Duration;

    use bytes::Bytes;
    use lanparty_nic::Device;
    use lanparty_nic::windows::{PacedTrial, Tap};
    use lanparty_proto::FrameBatch;

    const FRAME_LEN: usize = 1_000;
    /// How long the trial of the pace takes, in seconds.
    const PACED_FOR: u32 = 3;
    /// Frames that nobody takes: more than the device's queue holds.
    const UNTAKEN_FRAMES: u32 = 2_000;
    /// Slow enough for Wine.
    const FRAMES_PER_TICK: u32 = 2;
    const TICK: Duration = Duration::from_millis(1);
    /// Time for what is on its way.
    const SETTLE: Duration = Duration::from_millis(500);

    /// Both ends of the driver.
    pub(super) struct Ends {
        tap: Tap,
        peer: Tap,
    }

    impl Ends {
        pub(super) fn open(guid: &str) -> Result<Self, Box<dyn Error>> {
            let ends = Self { tap: Tap::open(guid, "tap")?, peer: Tap::open_at(r"\\.\FakeTapPeer", "peer")? };
            ends.peer.control().set_media(true)?;
            Ok(ends)
        }

        /// Sends `count` frames into the peer, slowly.
        fn pass(&mut self, count: u32) -> Result<(), Box<dyn Error>> {
            let frame = [Bytes::from(vec![7; FRAME_LEN])];
            for number in 1..=count {
                while self.peer.send_batch(&frame).is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
                    std::thread::sleep(TICK);
                }
                if number % FRAMES_PER_TICK == 0 {
                    std::thread::sleep(TICK);
                }
            }
            std::thread::sleep(SETTLE);
            Ok(())
        }

        /// Takes all that is there.
        fn take_all(&mut self) -> u32 {
            let mut taken = 0;
            loop {
                match self.take() {
                    0 => return taken,
                    frames => taken += frames,
                }
            }
        }

        fn take(&mut self) -> u32 {
            let mut batch = FrameBatch::new();
            self.tap.recv_batch(&mut batch).map_or(0, |frames| frames as u32)
        }

        /// The cable is pulled and plugged in again while reads wait for frames.
        pub(super) fn replug(&mut self) -> Result<String, Box<dyn Error>> {
            for _ in 0..3 {
                self.tap.control().set_media(true)?;
                std::thread::sleep(SETTLE / 10);
                self.tap.control().set_media(false)?;
            }
            self.pass(10)?;
            let unplugged = self.take_all();
            // At once, before the reading thread has seen that its reads were ended.
            self.tap.control().set_media(true)?;
            self.tap.control().set_media(false)?;
            self.tap.control().set_media(true)?;
            self.pass(10)?;
            let plugged = self.take_all();
            Ok(format!("replug: {unplugged} of 10 frames passed without a cable, {plugged} of 10 with it"))
        }

        /// Frames that the driver makes itself, so that Wine's time goes into reading them.
        pub(super) fn pace(&mut self, per_second: u32) -> Result<String, Box<dyn Error>> {
            let (control, frames, mut arrived) = (self.tap.control(), per_second * PACED_FOR, 0);
            let before = control.trial()?.dropped;
            control.begin_trial(frames, per_second)?;
            while control.trial()?.left > 0 {
                arrived += self.take_all();
                std::thread::sleep(SETTLE / 10);
            }
            std::thread::sleep(SETTLE);
            arrived += self.take_all();
            let PacedTrial { dropped, late, millis, .. } = control.trial()?;
            let dropped = dropped - before;
            Ok(format!("pace: {arrived} of {frames} frames arrived, {dropped} dropped by the driver, {late} late, in {millis} ms"))
        }

        /// Nobody takes frames: what finds no room is counted.
        pub(super) fn overflow(&mut self) -> Result<String, Box<dyn Error>> {
            let before = self.tap.stats().kernel_drops;
            self.pass(UNTAKEN_FRAMES)?;
            let dropped = self.tap.stats().kernel_drops - before;
            let kept = self.take_all();
            Ok(format!("overflow: {kept} kept and {dropped} counted of {UNTAKEN_FRAMES} frames"))
        }
    }
}

#[cfg(windows)]
fn main() -> Result<(), Box<dyn Error>> {
    use std::io::Write;

    let words: Vec<String> = std::env::args().skip(1).collect();
    let [guid, pace] = &words[..] else { return Err("tap_trial {GUID} PACE".into()) };
    let mut ends = trial::Ends::open(guid)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", ends.replug()?)?;
    writeln!(out, "{}", ends.pace(pace.parse()?)?)?;
    writeln!(out, "{}", ends.overflow()?)?;
    Ok(())
}

#[cfg(not(windows))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("the test driver is one of Windows".into())
}
