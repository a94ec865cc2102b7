//! The steward of a membership's uplinks: starts a keeper for each, counts what they carry, and makes a backup of one that is over its
//! cap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::CapUse;
use lanparty_proto::{BondPath, BondRole};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{Dial, Keeper, PAUSE_FIRST, Uplink};
use crate::bond::Shared;
use crate::{UplinkReport, UseBook};

/// How often it looks at what the uplinks have carried.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Counts are written down when so many bytes would be forgotten with a crash …
const UNSAVED_MAX: u64 = 2_000_000;
/// … and after so long.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

pub(super) struct Steward {
    dial: Dial,
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    kept: Vec<Kept>,
    keepers: JoinSet<()>,
    saved_at: Instant,
}

/// An uplink in the steward's care.
struct Kept {
    uplink: Uplink,
    /// What its path had carried at the last look.
    carried: u64,
    is_over: bool,
}

impl Uplink {
    /// Its cap and what is used of it.
    fn cap_use(&self, book: Option<&UseBook>) -> Option<CapUse> {
        Some(CapUse::new(self.plan.cap?, book?.used(&self.interface)))
    }

    /// What it is used for now.
    pub(super) fn path_now(&self, book: Option<&UseBook>) -> BondPath {
        let is_over = self.cap_use(book).is_some_and(|cap| cap.is_over());
        BondPath { role: if is_over { BondRole::Backup } else { self.path.role }, ..self.path }
    }
}

impl Steward {
    pub(super) fn new(dial: Dial, shared: Arc<Shared>, news: watch::Receiver<u64>) -> Self {
        Self { dial, shared, news, kept: vec![], keepers: JoinSet::new(), saved_at: Instant::now() }
    }

    /// Works until the bond is over. What it counted is saved when the task has ended.
    pub(super) fn start(mut self, uplinks: Vec<Uplink>) -> JoinHandle<()> {
        uplinks.into_iter().for_each(|uplink| self.keep(uplink));
        tokio::spawn(self.work())
    }

    fn keep(&mut self, uplink: Uplink) {
        let (dial, shared, news) = (self.dial.clone(), Arc::clone(&self.shared), self.news.clone());
        let carried = shared.carried(uplink.path.path);
        self.keepers.spawn(Keeper { dial, uplink: uplink.clone(), shared, news, pause: PAUSE_FIRST }.keep());
        self.kept.push(Kept { uplink, carried, is_over: false });
    }

    async fn work(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.ended() => break,
                _ = look.tick() => {}
            }
            self.count();
            self.save_at_times().await;
        }
        self.count();
        self.save().await;
    }

    /// Counts what passed, and sees to it that both ends use each path for what it is for now.
    fn count(&mut self) {
        let book = self.dial.book.as_deref();
        for kept in &mut self.kept {
            let (number, carried) = (kept.uplink.path.path, self.shared.carried(kept.uplink.path.path));
            if let Some(book) = book {
                book.count(&kept.uplink.interface, carried.saturating_sub(kept.carried));
            }
            kept.carried = carried;
            kept.say_when_over(book);
            let wanted = kept.uplink.path_now(book);
            if self.shared.role_of(number).is_some_and(|now| now.role != wanted.role) {
                self.shared.set_role(wanted);
            }
        }
        self.shared.set_uplinks(self.kept.iter().map(|kept| kept.report(book)).collect());
    }

    async fn save_at_times(&mut self) {
        let Some(book) = &self.dial.book else { return };
        if book.owed() >= UNSAVED_MAX || self.saved_at.elapsed() >= SAVE_INTERVAL {
            self.save().await;
        }
    }

    /// The disk may take its time; frames do not wait for it.
    async fn save(&mut self) {
        let Some(book) = self.dial.book.clone() else { return };
        self.saved_at = Instant::now();
        // A task that only writes does not panic, and what it did not write is written next time.
        let _ = tokio::task::spawn_blocking(move || book.save()).await;
    }
}

impl Kept {
    fn say_when_over(&mut self, book: Option<&UseBook>) {
        let Some(cap) = self.uplink.cap_use(book) else { return };
        let name = &self.uplink.interface;
        match (self.is_over, cap.is_over()) {
            (false, true) => {
                let (used, cap) = (gigabytes(cap.used), gigabytes(cap.cap));
                warn!("{name} has carried {used} GB this month and its cap is {cap} GB: it is a backup until the month ends");
            }
            (true, false) => info!("{name} is used as before: a month has begun in which it has carried less than its cap"),
            _ => {}
        }
        self.is_over = cap.is_over();
    }

    fn report(&self, book: Option<&UseBook>) -> UplinkReport {
        let interface = self.uplink.interface.clone();
        let month_bytes = book.map_or(0, |book| book.used(&interface));
        let path = self.uplink.path_now(book);
        UplinkReport { interface, path: path.path, role: path.role, month_bytes, cap: self.uplink.cap_use(book) }
    }
}

fn gigabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e6).round() / 1e3
}
