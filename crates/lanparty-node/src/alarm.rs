//! A timer that is looked at with everything that comes, and seldom rings.
//!
//! One that is made anew each time is put among the runtime's timers and taken out again, and when none of those is as early it wakes the
//! runtime besides, which is awake. This one stays where it is for as long as the time is the same, and is only marked when that is later.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// A timer; without one until it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until the time of `due`, which is what it returns then; for ever when nothing is due. Cancel-safe.
    pub(crate) async fn ring<T>(&mut self, due: Option<(Instant, T)>) -> T {
        let Some((at, what)) = due else { return std::future::pending().await };
        let at = at.into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.await;
        what
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_it_was_told_last() {
        let (start, mut alarm) = (tokio::time::Instant::now(), Alarm::default());
        let at = |ms| Some(((start + Duration::from_millis(ms)).into_std(), ms));
        // Later, sooner, and never mind.
        for told in [at(50), at(90), at(30), at(30), None] {
            assert!(timeout(Duration::from_millis(2), alarm.ring(told)).await.is_err(), "{told:?}");
        }
        assert_eq!(alarm.ring(at(40)).await, 40);
        assert_eq!(start.elapsed(), Duration::from_millis(40));
        // What is over rings at once, however often.
        assert_eq!((alarm.ring(at(40)).await, alarm.ring(at(20)).await), (40, 20));
        assert_eq!(start.elapsed(), Duration::from_millis(40));
        assert_eq!(alarm.ring(at(60)).await, 60);
        assert_eq!(start.elapsed(), Duration::from_millis(60));
    }
}
