//! The probe service of one address of a relay, asked through sockets of this host.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanparty_doctor::{NatFacts, RelayFacts, SizeProbe};
use lanparty_nic::Fragmentation;
use tokio::time::{Instant, timeout};

use super::asker::{Asker, Heard};
use super::measure::{Path, len_max, measure, patience_of};
use super::nat;
use super::sizes::{Way, search};
use super::wire::SocketWire;

/// Questions and patience until the service is taken as absent: three seconds, the same as for a handshake.
const KNOCKS: usize = 6;
const KNOCK_PATIENCE: Duration = Duration::from_millis(500);
/// For somebody who waits to join: a way that is so bad that a size is not found in this time has other troubles.
const SIZE_UP_MAX: Duration = Duration::from_secs(4);

/// Where to ask, and through which interface.
pub(crate) struct Survey<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) ports: [u16; 2],
    pub(crate) uplink: Option<&'a str>,
}

/// The service has answered.
pub(crate) struct Opening {
    asker: Asker<SocketWire>,
    first: Heard,
    /// This host's clock less the relay's, in seconds.
    clock_offset_s: Option<f64>,
}

impl Survey<'_> {
    /// Asks whether the service is there; nothing when it does not answer within three seconds.
    ///
    /// # Errors
    /// When this host has no socket for it.
    pub(crate) async fn knock(&self) -> io::Result<Option<Opening>> {
        let mut asker = Asker::new(self.open(Fragmentation::Forbidden)?, false, [0; 16]);
        let Some(first) = asker.knock(KNOCKS, KNOCK_PATIENCE).await? else { return Ok(None) };
        Ok(Some(Opening { asker, first, clock_offset_s: clock_offset(&first) }))
    }

    /// Fills what it learns until `by` into `facts`; `tell` hears what is being done.
    pub(crate) async fn run(&self, opening: Opening, facts: &mut RelayFacts, by: Instant, tell: &dyn Fn(&str)) {
        facts.clock_offset_s = opening.clock_offset_s;
        measure(self, opening.asker, &opening.first, facts, by, tell).await;
    }

    /// The largest payload with DF that reaches the relay; nothing when the service does not answer in time.
    ///
    /// # Errors
    /// When this host has no socket for it.
    pub(crate) async fn size_up(&self) -> io::Result<Option<SizeProbe>> {
        let mut asker = Asker::new(self.open(Fragmentation::Forbidden)?, false, [0; 16]);
        let Some(first) = asker.knock(2, KNOCK_PATIENCE).await? else { return Ok(None) };
        let found = timeout(SIZE_UP_MAX, search(&mut asker, Way::Up, len_max(self.is_ipv6()), patience_of(first.rtt))).await;
        found.unwrap_or(Ok(None))
    }
}

impl Path for Survey<'_> {
    type Wire = SocketWire;

    fn open(&self, fragmentation: Fragmentation) -> io::Result<SocketWire> {
        SocketWire::open(SocketAddr::new(self.remote.ip(), self.ports[0]), self.uplink, fragmentation)
    }

    fn is_ipv6(&self) -> bool {
        self.remote.is_ipv6()
    }

    async fn nat(&self, patience: Duration) -> io::Result<NatFacts> {
        // The address it has toward the relay; the port is the socket's own.
        let local = self.open(Fragmentation::Allowed)?.local_addr().map(|a| a.ip());
        nat::observe(self.remote, self.ports, self.uplink, local, patience).await
    }
}

/// This host's clock less the relay's, in seconds, just after the answer has come: the relay's was read half a round trip ago.
fn clock_offset(heard: &Heard) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - heard.answer.clock_ms as f64 / 1e3 - heard.rtt.as_secs_f64() / 2.0)
}
