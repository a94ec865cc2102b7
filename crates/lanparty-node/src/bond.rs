//! A link over several connections: what [`lanparty_core`] decides of a bond, carried out.
//!
//! Each connection is a path, validated by its own handshake, with two tasks: one reads its datagrams, one its control stream. Sending is
//! done by whoever sends; what a path does not take at once waits in its own short queue. The bond lives as long as one of its paths, and
//! a while longer, so that all of them may be away for a moment.

mod book;
mod capture;
mod control;
mod direct;
mod path;
mod paths;
mod planned;
mod recv;
mod repeat;
mod report;
mod send;
mod trial;
mod uplinks;
mod wanted;
mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_core::{Drops, Pair, Redundancy, Repeats, Restorer, Sequencer};
use lanparty_proto::{BondPath, DatagramBudget, SEQUENCE_LEN};
use tokio::sync::{Notify, watch as watched};

use crate::{ControlReader, ControlWriter, Link, LinkEnded};
pub use book::UseBook;
pub use capture::Captures;
pub(crate) use control::BondControl;
use control::ControlState;
use path::Path;
pub use planned::{NotChanged, PlannedUplinks, UplinkChange};
use report::Goodput;
pub use report::{AbsentUplink, BondReport, PathReport, SharedAddress};
pub use trial::TrialSeat;
use trial::TrialState;
pub(crate) use trial::course::{Course, refusal};
pub use uplinks::{UplinkPlan, UplinkReport};
pub(crate) use uplinks::{has_lost_carrier, is_connected, networks, news, obstacle, obstacle_of_name, place_toward};
pub(crate) use wanted::Wanted;
use wanted::WantedUplinks;

/// Without any path a bond waits so long for one to return; then it ends, and its member joins anew.
const PATHLESS_MAX: Duration = Duration::from_secs(10);
/// Most paths of one bond.
pub const BOND_PATHS_MAX: usize = 8;

/// One link over several paths. Clones are handles of the same; with the last of them it ends.
#[derive(Clone)]
pub struct BondLink {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close("");
    }
}

/// What paths and owner share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something may be received, or the bond has ended.
    arrived: Notify,
    /// The owner has taken what was received.
    taken: Notify,
    /// A path came, or lives again: what waits may be sent.
    room: Notify,
    /// A path went.
    went: Notify,
    /// A control message may be read, or the bond has ended.
    control: Notify,
    ended: watched::Sender<Option<LinkEnded>>,
    wanted: WantedUplinks,
    captures: Captures,
}

struct State {
    sequencer: Sequencer,
    restorer: Restorer,
    repeats: Repeats,
    paths: Vec<Path>,
    /// Restored, and not taken yet.
    ready: std::collections::VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    control: ControlState,
    /// Datagrams that a path was given and did not send.
    discarded: Drops,
    goodput: Goodput,
    trial: TrialState,
    /// Since when there has been no path.
    pathless: Option<Instant>,
    /// The last budget, for when no path lives.
    budget: DatagramBudget,
    /// What connections that have ended carried on the wire, by the number of their path.
    carried: std::collections::BTreeMap<u8, u64>,
    /// How its owner's uplinks are; nothing at a relay.
    uplinks: Vec<UplinkReport>,
    /// Where the relay sees each path; nothing at a relay.
    seen: std::collections::BTreeMap<u8, SocketAddr>,
    /// Where a relay sees each path, as far as it said so.
    told_seen: std::collections::BTreeMap<u8, SocketAddr>,
}

/// A connection that shall become a path.
pub struct BondPathUp {
    /// Which, and for what.
    pub bond: BondPath,
    /// For people: an interface, or where the other side is.
    pub name: String,
    /// The connection.
    pub link: Link,
    /// Its control stream.
    pub control: (ControlReader, ControlWriter),
    /// So many numbered messages has the other side heard.
    pub heard: u32,
    /// The line at either end, when other paths of the bond share one of them.
    pub pair: Option<Pair>,
}

impl BondPathUp {
    /// A bond with this first path, as the relay makes one, and its control messages. It takes part in tests when there is a seat for them.
    #[must_use]
    pub fn into_bond(self, tests: Option<&TrialSeat>) -> (Link, ControlReader, ControlWriter) {
        let bond = BondLink::start(self, Redundancy::Auto, 0, Captures::default());
        if let Some(seat) = tests {
            bond.shared().state().trial.serve(seat.clone());
        }
        let (control_in, control_out) = bond.control();
        (Link::bonded(bond), control_in, control_out)
    }
}

impl BondLink {
    /// A bond whose first path is `first`.
    pub(crate) fn start(first: BondPathUp, redundancy: Redundancy, heard: u32, captures: Captures) -> Self {
        let seed = random_seed();
        let state = State {
            sequencer: Sequencer::new(seed, redundancy),
            restorer: Restorer::default(),
            repeats: Repeats::default(),
            paths: vec![],
            ready: std::collections::VecDeque::new(),
            scratch: vec![],
            control: ControlState::new(heard),
            discarded: Drops::default(),
            goodput: Goodput::new(Instant::now()),
            trial: TrialState::default(),
            pathless: None,
            budget: DatagramBudget(0),
            carried: std::collections::BTreeMap::new(),
            uplinks: vec![],
            seen: std::collections::BTreeMap::new(),
            told_seen: std::collections::BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            arrived: Notify::new(),
            taken: Notify::new(),
            room: Notify::new(),
            went: Notify::new(),
            control: Notify::new(),
            ended: watched::Sender::new(None),
            wanted: WantedUplinks::default(),
            captures,
        });
        // A bond that has just begun has not ended.
        let _ = shared.add(first);
        watch::start(Arc::downgrade(&shared));
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// For whoever brings paths. It does not keep the bond from ending.
    pub(crate) fn shared_arc(&self) -> Arc<Shared> {
        Arc::clone(&self.handle.shared)
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// So many numbered control messages have come.
    #[must_use]
    pub fn heard(&self) -> u32 {
        self.shared().state().control.heard()
    }

    /// A further path, or a new connection for one that is there.
    ///
    /// # Errors
    /// When the bond has ended, or has too many paths, or has forgotten what the other side has not heard.
    pub fn attach(&self, up: BondPathUp) -> Result<(), LinkEnded> {
        self.handle.shared.add(up)
    }

    /// Tells the other side where its paths are seen, as far as it has not been told.
    pub fn tell_where_seen(&self) {
        self.shared().tell_where_seen();
    }

    /// The uplinks that it has or would have paths by; none at a relay.
    #[must_use]
    pub fn uplinks(&self) -> Vec<lanparty_doctor::BondUplink> {
        self.shared().state().uplinks.iter().map(|uplink| uplink.line.clone()).collect()
    }

    /// The largest datagram that every living path takes.
    pub(crate) fn budget(&self) -> DatagramBudget {
        self.shared().state().budget()
    }

    /// As [`Link::help_search`], on every path.
    pub(crate) fn help_search(&self) {
        for path in self.shared().state().living() {
            // Whoever reads the path hears that it has ended.
            let _ = path.link.send_now(&[Bytes::from(lanparty_proto::padding(1))]);
        }
    }

    /// The shortest round-trip time of a living path.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.shared().state().living().filter_map(|path| path.link.rtt()).min()
    }

    /// Where the other side is, on one of the paths.
    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        self.shared().state().living().find_map(|path| path.link.remote_address())
    }

    pub(crate) fn packets(&self) -> (u64, u64) {
        let state = self.shared().state();
        state.paths.iter().map(|path| path.link.packets()).fold((0, 0), |sum, path| (sum.0 + path.0, sum.1 + path.1))
    }

    pub(crate) fn received_packets(&self) -> u64 {
        self.shared().state().paths.iter().map(|path| path.link.received_packets()).sum()
    }

    pub(crate) fn take_discarded(&self) -> Drops {
        let mut state = self.shared().state();
        let mut discarded = std::mem::take(&mut state.discarded);
        state.paths.iter().for_each(|path| discarded.add_all(&path.link.take_discarded()));
        discarded
    }

    pub(crate) fn close(&self, reason: &str) {
        self.shared().close(reason);
    }

    pub(crate) async fn ended(&self) -> LinkEnded {
        let mut ended = self.shared().ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or_else(|| LinkEnded { reason: "closed here".into(), by_peer: false })
    }

    /// After [`Self::close`]: resolves when streams have sent their farewell.
    pub(crate) async fn wait_idle(&self) {
        let links: Vec<Link> = self.shared().state().paths.iter().map(|path| path.link.clone()).collect();
        for link in links {
            Box::pin(link.wait_idle()).await;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after every call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn not_ended(&self) -> Result<(), LinkEnded> {
        self.ended.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn heard(&self) -> u32 {
        self.state().control.heard()
    }

    /// Resolves when the bond is over.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }

    /// Where the other side is, on whatever path.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.state().paths.iter().find_map(|path| path.link.remote_address())
    }

    pub(crate) fn end(&self, ended: LinkEnded) {
        let reason = ended.reason.clone();
        self.ended.send_if_modified(|now| {
            let is_first = now.is_none();
            if is_first {
                *now = Some(ended);
            }
            is_first
        });
        let paths = std::mem::take(&mut self.state().paths);
        for path in paths {
            path.link.close(&reason);
            self.state().note_carried(&path);
        }
        self.arrived.notify_waiters();
        self.taken.notify_waiters();
        self.room.notify_waiters();
        self.went.notify_waiters();
        self.control.notify_waiters();
    }

    fn close(&self, reason: &str) {
        self.end(LinkEnded { reason: if reason.is_empty() { "closed here" } else { reason }.to_owned(), by_peer: false });
    }
}

impl State {
    fn living(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(|path| path.is_alive)
    }

    /// What a datagram may be long, its place in the order taken off.
    fn budget(&mut self) -> DatagramBudget {
        if let Some(least) = self.living().map(|path| path.link.budget().0).min() {
            self.budget = DatagramBudget(least.saturating_sub(SEQUENCE_LEN as u16));
        }
        self.budget
    }

    fn patience(&self) -> Duration {
        lanparty_core::patience(self.living().filter_map(|path| path.link.rtt()))
    }

    fn answer_time(&self) -> Option<Duration> {
        lanparty_core::answer_time(self.living().filter_map(|path| path.link.rtt()))
    }
}

fn random_seed() -> u64 {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("INVARIANT: the operating system gives random bytes");
    u64::from_ne_bytes(bytes)
}
