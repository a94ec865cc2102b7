//! Looks for what comes instead of sleeping, for those who give a processor for the last microseconds.
//!
//! A processor that rests takes tens of microseconds to be woken, and is cold then. Who said `--busy-poll` does not let it rest for so
//! long after anything came: a task gives way to all others again and again, and each time the runtime looks at every socket and device.

use std::cell::Cell;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The longest that may be asked for. Whoever has traffic twice in that time never rests.
const LONGEST: Duration = Duration::from_secs(1);

thread_local! {
    /// One per thread, because a thread has one runtime that rests or does not; they last as long as the program.
    static LOOKOUT: Cell<Option<&'static Lookout>> = const { Cell::new(None) };
}

struct Lookout {
    /// Something came since the last look.
    came: AtomicBool,
    is_resting: AtomicBool,
    begin: Notify,
}

/// How long after anything came the program looks for more without a rest; zero when it rests at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusyPoll(Duration);

impl FromStr for BusyPoll {
    type Err = String;

    /// Microseconds.
    fn from_str(text: &str) -> Result<Self, String> {
        let micros = text.parse().map_err(|_| "it is a number of microseconds, 0 for none".to_owned())?;
        let span = Duration::from_micros(micros);
        if span > LONGEST { Err(format!("at most {} microseconds, which is a second", LONGEST.as_micros())) } else { Ok(Self(span)) }
    }
}

impl BusyPoll {
    /// Begins, as a task of the current runtime, when it was asked for.
    pub fn start(self) {
        if !self.0.is_zero() && LOOKOUT.get().is_none() {
            let lookout = Box::leak(Box::new(Lookout::new()));
            LOOKOUT.set(Some(lookout));
            tokio::spawn(look_out(lookout, self.0));
        }
    }
}

/// Something came from a device or a socket.
pub(crate) fn something_came() {
    if let Some(lookout) = LOOKOUT.get() {
        lookout.tell();
    }
}

impl Lookout {
    const fn new() -> Self {
        Self { came: AtomicBool::new(false), is_resting: AtomicBool::new(false), begin: Notify::const_new() }
    }

    fn tell(&self) {
        self.came.store(true, Ordering::Relaxed);
        if self.is_resting.swap(false, Ordering::Relaxed) {
            self.begin.notify_one();
        }
    }
}

async fn look_out(lookout: &Lookout, span: Duration) {
    loop {
        lookout.is_resting.store(true, Ordering::Relaxed);
        lookout.begin.notified().await;
        let mut until = Instant::now() + span;
        while Instant::now() < until {
            // Behind everything that is ready, and behind a look at what the kernel has.
            tokio::task::yield_now().await;
            if lookout.came.swap(false, Ordering::Relaxed) {
                until = Instant::now() + span;
            } else {
                // To whoever else wants this processor: with fewer of them than programs that look out, what is looked for would wait.
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn it_is_a_number_of_microseconds_up_to_a_second() {
        assert_eq!("50".parse(), Ok(BusyPoll(Duration::from_micros(50))));
        assert_eq!("0".parse(), Ok(BusyPoll::default()));
        for wrong in ["", "-1", "fast", "1000001"] {
            assert!(wrong.parse::<BusyPoll>().is_err(), "{wrong}");
        }
    }

    /// How often the processor may rest while a task sleeps for so long, after something came or when nothing did.
    fn rests(span: Duration, slept: Duration, comes: bool) -> usize {
        static LOOKOUTS: [Lookout; 3] = [const { Lookout::new() }; 3];
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let lookout = &LOOKOUTS[NEXT.fetch_add(1, Ordering::Relaxed)];
        let rests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rests);
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(count).build().unwrap();
        runtime.block_on(async {
            tokio::spawn(look_out(lookout, span));
            tokio::task::yield_now().await;
            if comes {
                lookout.tell();
            }
            tokio::task::yield_now().await;
            let before = rests.load(Ordering::Relaxed);
            tokio::time::sleep(slept).await;
            rests.load(Ordering::Relaxed) - before
        })
    }

    #[test]
    fn nothing_rests_for_a_while_after_something_came() {
        let (long, short) = (Duration::from_secs(20), Duration::from_millis(20));
        assert_eq!(rests(long, short, true), 0);
        assert!(rests(long, short, false) > 0, "nothing came");
        assert!(rests(short, 10 * short, true) > 0, "the while is over");
    }
}
