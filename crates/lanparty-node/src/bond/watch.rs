//! Looks at the paths while they are used: which of them carry, how long flows wait, whether anything is left.

use std::sync::Weak;
use std::time::{Duration, Instant};

use lanparty_proto::Control;
use tracing::{debug, info};

use super::{PATHLESS_MAX, Shared, State};
use crate::LinkEnded;

/// How often paths are looked at while something is without an answer, and otherwise.
const BUSY_LOOK_INTERVAL: Duration = Duration::from_millis(10);
const QUIET_LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Watches until the bond is gone.
pub(super) fn start(shared: Weak<Shared>) {
    tokio::spawn(async move {
        let mut pause = QUIET_LOOK_INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            let Some(shared) = shared.upgrade() else { return };
            if shared.not_ended().is_err() {
                return;
            }
            pause = shared.look(Instant::now());
        }
    });
}

impl Shared {
    fn look(&self, now: Instant) -> Duration {
        let mut state = self.state();
        let (changed, is_busy) = state.look(now);
        let is_over = state.pathless.is_some_and(|since| now.saturating_duration_since(since) >= PATHLESS_MAX);
        drop(state);
        for path in &changed.dead {
            self.say(&Control::PathDown { path: *path });
        }
        if !changed.dead.is_empty() || changed.is_revived {
            self.room.notify_waiters();
            self.went.notify_waiters();
            self.arrived.notify_one();
        }
        if is_over {
            self.end(LinkEnded { reason: format!("none of the uplinks came back for {} s", PATHLESS_MAX.as_secs()), by_peer: false });
        }
        if is_busy { BUSY_LOOK_INTERVAL } else { QUIET_LOOK_INTERVAL }
    }
}

/// What a look found.
#[derive(Default)]
struct Changed {
    dead: Vec<u8>,
    is_revived: bool,
}

impl State {
    fn look(&mut self, now: Instant) -> (Changed, bool) {
        let (mut changed, mut is_busy) = (Changed::default(), false);
        for path in &mut self.paths {
            path.measure(now);
            path.unmute_due(now);
            let (sent, answers) = path.answerable();
            let is_alive = path.liveness.look(sent, answers, path.link.answer_time(), now);
            is_busy |= path.liveness.is_waiting();
            if is_alive && !path.is_alive {
                info!(path = %path.name, "the path answers again");
                (path.is_alive, path.silent_since) = (true, None);
                changed.is_revived = true;
                self.restorer.add_path(path.bond.path);
            } else if !is_alive && path.is_alive {
                changed.dead.push(path.bond.path);
            }
            if path.watch.is_due(now) {
                // Who reads the path hears that it has ended.
                let _ = path.watch.look(&path.link);
            }
        }
        for path in &changed.dead {
            self.silence(*path);
        }
        self.restorer.set_patience(self.patience());
        self.restorer.set_answer_time(self.answer_time());
        (changed, is_busy)
    }

    /// A path carries nothing until it answers again.
    pub(super) fn silence(&mut self, number: u8) {
        let Some(at) = self.paths.iter().position(|path| path.bond.path == number && path.is_alive) else { return };
        let mut path = self.paths.swap_remove(at);
        info!(path = %path.name, "the path does not answer; others carry what it did");
        (path.is_alive, path.silent_since) = (false, Some(Instant::now()));
        path.liveness.expect_answer();
        self.give_back(&mut path, Instant::now());
        debug!(left = self.living().count(), "paths that live");
        self.paths.push(path);
    }
}
