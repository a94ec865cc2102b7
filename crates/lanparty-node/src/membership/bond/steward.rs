//! The steward of a membership's uplinks: starts a keeper for each, counts what they carry, and makes a backup of one that is over its
//! cap. Where uplinks are not named it follows the default routes: an interface that gets one joins the bond, one that loses it leaves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_core::CapUse;
use lanparty_doctor::BondUplink;
use lanparty_proto::{BondPath, BondRole, LanMtu};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{BondPlan, Keeper, PAUSE_FIRST, Target, Uplink, wanted};
use crate::bond::{PlannedUplinks, Shared, SharedAddress, networks, obstacle, place_toward};
use crate::examine::{default_interfaces, default_routes};
use crate::{BOND_PATHS_MAX, UplinkPlan, UplinkReport, UseBook};

/// How often it looks at what the uplinks have carried.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Where there is a cap, counts are written down when so many bytes would be forgotten with a crash …
const UNSAVED_MAX: u64 = 2_000_000;
/// … and everywhere after so long: a disk has better things to do than to count for the curious.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// A path that has been silent for so long has trouble that is worth a word, unless there is a reason to be seen.
const TROUBLE_AFTER: Duration = Duration::from_secs(3);
/// How often routes and networks are looked at when the system says nothing.
const LINES_INTERVAL: Duration = Duration::from_secs(2);
/// Addresses that are spoken of.
const SHARED_SAID_MAX: usize = 16;
/// Why the other end hears that a path ends.
const NO_ROUTE: &str = "its uplink has no default route any more";
const NOT_WANTED: &str = "its owner does not want it any more";

pub(crate) struct Steward {
    dial: Target,
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    kept: Vec<Kept>,
    keepers: JoinSet<()>,
    saved_at: Instant,
    lines_at: Option<Instant>,
    source: Source,
    /// An interface more than a bond has paths was spoken of.
    is_full_said: bool,
    /// Uplinks at one address that were spoken of.
    shared_said: Vec<SharedAddress>,
}

/// Which interfaces are uplinks.
pub(crate) enum Source {
    /// Those with a default route.
    Routes(Routes),
    /// Those that the owner names.
    Named(PlannedUplinks),
}

impl Source {
    /// Where the uplinks of `plan` come from, which follows `routes` when there are such.
    pub(crate) fn of(plan: &BondPlan, routes: Option<Routes>) -> Self {
        routes.map_or_else(|| Self::Named(plan.uplinks.clone()), Self::Routes)
    }
}

/// Where the interfaces are that have a default route.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    /// The tunnel's own interface: never one of them.
    pub(crate) own: Option<String>,
}

impl Routes {
    pub(crate) async fn interfaces(&self) -> Result<Vec<String>, String> {
        let found = default_interfaces().await?;
        Ok(found.into_iter().filter(|name| Some(name) != self.own.as_ref()).collect())
    }
}

/// An uplink in the steward's care.
struct Kept {
    uplink: Uplink,
    /// What its path had carried at the last look.
    carried: u64,
    is_over: bool,
    keeper: AbortHandle,
    /// Since when its path does not carry.
    silent_since: Option<Instant>,
    /// The routers of its default routes, and the networks it is on.
    routers: Vec<IpAddr>,
    networks: Vec<String>,
}

impl Uplink {
    /// Its cap and what is used of it.
    fn cap_use(&self, book: Option<&UseBook>) -> Option<CapUse> {
        Some(CapUse::new(self.plan.cap?, book?.used(&self.interface)))
    }

    /// What it is used for now.
    pub(crate) fn path_now(&self, book: Option<&UseBook>) -> BondPath {
        let is_over = self.cap_use(book).is_some_and(|cap| cap.is_over());
        BondPath { role: if is_over { BondRole::Backup } else { self.path.role }, ..self.path }
    }
}

impl Steward {
    pub(crate) fn new(dial: Target, shared: Arc<Shared>, news: watch::Receiver<u64>, source: Source) -> Self {
        let (kept, keepers) = (vec![], JoinSet::new());
        Self {
            dial,
            shared,
            news,
            kept,
            keepers,
            saved_at: Instant::now(),
            lines_at: None,
            source,
            is_full_said: false,
            shared_said: vec![],
        }
    }

    /// Works until the bond is over. What it counted is saved when the task has ended.
    pub(crate) fn start(mut self, uplinks: Vec<Uplink>) -> JoinHandle<()> {
        uplinks.into_iter().for_each(|uplink| self.keep(uplink));
        tokio::spawn(self.work())
    }

    fn keep(&mut self, uplink: Uplink) {
        let (dial, shared, news) = (self.dial.clone(), Arc::clone(&self.shared), self.news.clone());
        let carried = shared.carried(uplink.path.path);
        let keeper = self.keepers.spawn(Keeper { dial, uplink: uplink.clone(), shared, news, pause: PAUSE_FIRST }.keep());
        self.kept.push(Kept { uplink, carried, is_over: false, keeper, silent_since: None, routers: vec![], networks: vec![] });
    }

    async fn work(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shared.ended() => break,
                _ = look.tick() => self.follow_owner(),
                // Without news only looking tells.
                Ok(()) = self.news.changed(), if matches!(self.source, Source::Routes(_)) => self.follow_routes().await,
            }
            self.count();
            self.look_at_lines().await;
            self.report();
            self.say_shared();
            self.save_at_times().await;
        }
        self.count();
        self.save().await;
    }

    /// Interfaces with a default route are uplinks, others are not.
    async fn follow_routes(&mut self) {
        let Source::Routes(routes) = &self.source else { return };
        // When the kernel does not say, everything stays as it is.
        let Ok(found) = routes.interfaces().await else { return };
        self.let_go(|uplink| !found.contains(&uplink.interface), NO_ROUTE);
        for name in found {
            if !self.kept.iter().any(|kept| kept.uplink.interface == name) {
                self.add(&name);
            }
        }
    }

    /// Uplinks are what their owner names, who may have thought better of it.
    fn follow_owner(&mut self) {
        let Source::Named(planned) = &self.source else { return };
        let plans = planned.now();
        let is_named = |uplink: &Uplink| plans.contains(&uplink.plan);
        if self.kept.iter().any(|kept| !is_named(&kept.uplink)) {
            self.let_go(|uplink| !is_named(uplink), NOT_WANTED);
        }
        for plan in plans {
            if plan.role.is_some() && !self.kept.iter().any(|kept| kept.uplink.interface == plan.interface) {
                self.take_on(&plan);
            }
        }
    }

    /// Ends the paths of these uplinks, but not the only one that lives: that goes when there is another.
    fn let_go(&mut self, is_gone: impl Fn(&Uplink) -> bool, why: &str) {
        self.count();
        while self.keepers.try_join_next().is_some() {}
        for kept in self.kept.extract_if(.., |kept| is_gone(&kept.uplink) && self.shared.leave(kept.uplink.path.path, why)) {
            info!("{} leaves the bond: {why}", kept.uplink.interface);
            kept.keeper.abort();
            self.shared.want_no_more(kept.uplink.path.path);
        }
    }

    /// An uplink that its owner has just named.
    fn take_on(&mut self, plan: &UplinkPlan) {
        let number = (0..BOND_PATHS_MAX as u8).find(|number| self.shared.is_number_free(*number));
        if let Some(uplink) = number.and_then(|number| Uplink::new(number, plan)) {
            info!("{} joins the bond", plan.interface);
            self.shared.want_also(uplink.path.path, wanted(plan));
            self.keep(uplink);
        }
    }

    fn add(&mut self, name: &str) {
        let is_free = |number: &u8| self.kept.iter().all(|kept| kept.uplink.path.path != *number);
        let number = (0..BOND_PATHS_MAX as u8).find(is_free);
        let plan = UplinkPlan::plain(name.to_owned());
        match number.and_then(|number| Uplink::new(number, &plan)) {
            Some(uplink) => {
                info!("{name} has a default route and joins the bond");
                self.keep(uplink);
            }
            None if !std::mem::replace(&mut self.is_full_said, true) => {
                warn!("{name} has a default route and is not used: a bond has {BOND_PATHS_MAX} uplinks at most");
            }
            None => {}
        }
    }

    /// Counts what passed, and sees to it that both ends use each path for what it is for now.
    fn count(&mut self) {
        let book = self.dial.book().map(Arc::as_ref);
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
    }

    async fn look_at_lines(&mut self) {
        if self.lines_at.is_some_and(|at| at.elapsed() < LINES_INTERVAL) {
            return;
        }
        self.lines_at = Some(Instant::now());
        self.follow_routes().await;
        let routes = default_routes().await.unwrap_or_default();
        for kept in &mut self.kept {
            let own = routes.iter().filter(|route| route.interface == kept.uplink.interface);
            kept.routers = own.filter_map(|route| route.gateway).collect();
            kept.networks = networks(&kept.uplink.interface);
        }
    }

    fn report(&mut self) {
        let (book, shared, remote) = (self.dial.book().map(Arc::as_ref), &self.shared, self.shared.remote());
        self.shared.set_uplinks(self.kept.iter_mut().map(|kept| kept.report(book, shared, remote)).collect());
    }

    /// Two lines may well be behind one router: a hint, and not a fault.
    fn say_shared(&mut self) {
        for shared in self.shared.shared_addresses() {
            if self.shared_said.len() < SHARED_SAID_MAX && !self.shared_said.contains(&shared) {
                let (names, address) = (shared.names.join(" and "), shared.address);
                info!("the relay sees {names} at the same address, {address}: when they are one line, nothing adds up");
                self.shared_said.push(shared);
            }
        }
    }

    async fn save_at_times(&mut self) {
        let Some(book) = self.dial.book() else { return };
        let is_capped = self.kept.iter().any(|kept| kept.uplink.plan.cap.is_some());
        if (is_capped && book.owed() >= UNSAVED_MAX) || self.saved_at.elapsed() >= SAVE_INTERVAL {
            self.save().await;
        }
    }

    /// The disk may take its time; frames do not wait for it.
    async fn save(&mut self) {
        let Some(book) = self.dial.book().cloned() else { return };
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

    fn report(&mut self, book: Option<&UseBook>, shared: &Shared, remote: Option<SocketAddr>) -> UplinkReport {
        let (path, interface) = (self.uplink.path_now(book), self.uplink.interface.clone());
        let month_bytes = book.map_or(0, |book| book.used(&interface));
        let line = BondUplink {
            trouble: self.trouble(shared, remote),
            routers: self.routers.clone(),
            networks: self.networks.clone(),
            lan_mtu: shared.budget_of(path.path).and_then(|budget| budget.lan_mtu()).map(LanMtu::bytes),
            interface,
        };
        UplinkReport { line, path: path.path, role: path.role, month_bytes, cap: self.uplink.cap_use(book) }
    }

    /// Why it carries nothing, in words.
    fn trouble(&mut self, shared: &Shared, remote: Option<SocketAddr>) -> Option<String> {
        let name = &self.uplink.interface;
        if shared.path_state(self.uplink.path.path) == Some(true) {
            self.silent_since = None;
            return None;
        }
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        obstacle(name).or_else(|| {
            let has_way = remote.is_none_or(|remote| place_toward(remote, name).is_some());
            let words = if has_way { "the other side does not answer by it" } else { "it has no address and route toward the other side" };
            (since.elapsed() >= TROUBLE_AFTER).then(|| words.to_owned())
        })
    }
}

fn gigabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e6).round() / 1e3
}
