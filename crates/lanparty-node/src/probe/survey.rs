//! Everything that the probe service can tell of the way to a relay: round trips, sizes both ways, fragments, NAT, clock.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanparty_doctor::{DirectionFacts, NatFacts, ObservedAddress, RelayFacts, RttFacts, SizeFailure, SizeProbe, ThrottleFacts};
use lanparty_nic::{Fragmentation, set_fragmentation};
use lanparty_proto::{PROBE_LEN_MIN, ProbeAnswer, ProbeQuestion};
use tokio::net::UdpSocket;

use super::asker::{Ask, Asker, Fate, bound};
use super::sizes::{Way, search};
use crate::endpoint::canonical;

/// Questions and patience until the service is taken as absent: three seconds, the same as for a handshake.
const KNOCKS: u32 = 6;
const KNOCK_PATIENCE: Duration = Duration::from_millis(500);
/// Round trips asked for, one every 20 ms: less than a second.
const ROUND_TRIPS: usize = 40;
const ROUND_TRIP_PACE: Duration = Duration::from_millis(20);
/// A modest rate, as a game and a voice call have it: 200 packets of 500 bytes in 0.4 s are 2 Mbit/s.
const BURST: usize = 200;
const BURST_LEN: usize = 500;
const BURST_PACE: Duration = Duration::from_millis(2);
const BURST_KBIT_S: u32 = 2_000;
/// Shortest time for an answer, and what is added to two round trips: a phone's radio sleeps that long.
const PATIENCE_MIN: Duration = Duration::from_millis(150);
const PATIENCE_EXTRA: Duration = Duration::from_millis(100);
/// IP packets up to one byte more than an ordinary wire carries.
const WIRE_MTU_TRIED: usize = 1501;
/// Leaves any ordinary interface in fragments, and arrives only when all of them do.
const FRAGMENTED_LEN: usize = 3000;
const FRAGMENTED_TRIES: usize = 4;
/// Where one socket is seen from.
const NAT_TRIES: usize = 3;

/// Where to ask, and through which interface.
pub(crate) struct Survey<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) ports: [u16; 2],
    pub(crate) uplink: Option<&'a str>,
}

impl Survey<'_> {
    /// Fills what it learns into `facts`; `tell` hears what is being done.
    ///
    /// # Errors
    /// When this host has no socket for it.
    pub(crate) async fn run(&self, facts: &mut RelayFacts, tell: &dyn Fn(&str)) -> io::Result<()> {
        tell("asking the relay's probe service");
        let mut forbidden = self.asker(Fragmentation::Forbidden)?;
        let Some((first, rtt)) = forbidden.knock(KNOCKS, KNOCK_PATIENCE).await? else {
            facts.probe_service = Some(false);
            return Ok(());
        };
        (facts.probe_service, facts.udp_reachable) = (Some(true), Some(true));
        facts.clock_offset_s = clock_offset(&first, rtt);
        tell("measuring round trips");
        let patience = PATIENCE_MIN.max(rtt * 2 + PATIENCE_EXTRA);
        let fates = forbidden.round(&[Ask::SHORT; ROUND_TRIPS], Some(ROUND_TRIP_PACE), patience).await?;
        facts.rtt = Some(round_trips(&fates));
        facts.nat = Some(self.nat(patience).await?);
        tell("measuring which sizes pass, up and down, with and without fragments");
        let (up, down) = tokio::try_join!(self.direction(Way::Up, patience), self.direction(Way::Down, patience))?;
        (facts.up, facts.down) = (Some(up), Some(down));
        tell("measuring what a modest rate loses");
        facts.throttle = Some(throttle(&mut forbidden, patience).await?);
        Ok(())
    }

    /// The largest payload with DF that reaches the relay; nothing when the service does not answer.
    ///
    /// # Errors
    /// When this host has no socket for it.
    pub(crate) async fn size_up(&self) -> io::Result<Option<SizeProbe>> {
        let mut asker = self.asker(Fragmentation::Forbidden)?;
        let Some((_, rtt)) = asker.knock(2, KNOCK_PATIENCE).await? else { return Ok(None) };
        search(&mut asker, Way::Up, self.len_max(), PATIENCE_MIN.max(rtt * 2 + PATIENCE_EXTRA)).await
    }

    fn asker(&self, fragmentation: Fragmentation) -> io::Result<Asker> {
        Asker::open(SocketAddr::new(self.remote.ip(), self.ports[0]), self.uplink, fragmentation)
    }

    fn len_max(&self) -> usize {
        WIRE_MTU_TRIED - if self.remote.is_ipv6() { 48 } else { 28 }
    }

    async fn direction(&self, way: Way, patience: Duration) -> io::Result<DirectionFacts> {
        let (mut forbidden, mut allowed) = (self.asker(Fragmentation::Forbidden)?, self.asker(Fragmentation::Allowed)?);
        // The cookie that longer answers need.
        let _ = tokio::try_join!(forbidden.knock(KNOCKS, patience), allowed.knock(KNOCKS, patience))?;
        let with_df = search(&mut forbidden, way, self.len_max(), patience).await?;
        let arrived = fragmented_arrives(&mut allowed, way, patience).await?;
        let without_df = if arrived == Some(true) {
            Some(SizeProbe { passed: u16::try_from(FRAGMENTED_LEN).ok(), failed: None, how: None })
        } else {
            search(&mut allowed, way, self.len_max(), patience).await?
        };
        let fragments_pass = fragments_pass(arrived, with_df.as_ref(), without_df.as_ref());
        Ok(DirectionFacts { icmp_too_big_heard: heard(with_df.as_ref()), with_df, without_df, fragments_pass })
    }

    /// The same socket, seen from both ports.
    async fn nat(&self, patience: Duration) -> io::Result<NatFacts> {
        let socket = bound(self.remote, self.uplink)?;
        set_fragmentation(&socket, Fragmentation::Allowed)?;
        let socket = UdpSocket::from_std(socket)?;
        let mut observed = vec![];
        for port in self.ports {
            observed.extend(observe(&socket, SocketAddr::new(self.remote.ip(), port), patience).await);
        }
        // The address it has toward the relay; the port is the socket's own.
        let ip = self.asker(Fragmentation::Allowed)?.local_addr().map(|a| a.ip());
        let local = ip.zip(socket.local_addr().ok()).map(|(ip, socket)| SocketAddr::new(ip, socket.port()));
        Ok(NatFacts { local: local.map(canonical), observed })
    }
}

/// Unknown when nothing was too big for the way, or only for an interface at its ends.
fn heard(probe: Option<&SizeProbe>) -> Option<bool> {
    match probe?.how? {
        SizeFailure::Silent => Some(false),
        SizeFailure::IcmpTooBig { .. } => Some(true),
        SizeFailure::Local => None,
    }
}

/// Whether a packet that leaves in fragments arrives. Unknown when nothing else does either.
async fn fragmented_arrives(asker: &mut Asker, way: Way, patience: Duration) -> io::Result<Option<bool>> {
    let asks = [[way.ask(FRAGMENTED_LEN); FRAGMENTED_TRIES], [Ask::SHORT; FRAGMENTED_TRIES]].concat();
    let fates = asker.round(&asks, None, patience).await?;
    let answered = |fates: &[Fate]| fates.iter().any(|f| matches!(f, Fate::Answered(..)));
    let (long, control) = fates.split_at(FRAGMENTED_TRIES);
    Ok(if answered(long) { Some(true) } else { answered(control).then_some(false) })
}

/// Fragments are as large as the sender's interface allows. Where packets of that size vanish anyway, their loss says nothing
/// about fragments; unless a router was there that says "too big", and so would have cut them up.
fn fragments_pass(arrived: Option<bool>, with_df: Option<&SizeProbe>, without_df: Option<&SizeProbe>) -> Option<bool> {
    let (with_df, without_df) = (with_df?, without_df?);
    if without_df.passed > with_df.passed {
        return Some(true);
    }
    arrived.filter(|_| with_df.how != Some(SizeFailure::Silent))
}

async fn observe(socket: &UdpSocket, port: SocketAddr, patience: Duration) -> Option<ObservedAddress> {
    for sequence in 0..NAT_TRIES {
        let sequence = u32::try_from(sequence).unwrap_or(0);
        socket.send_to(&ProbeQuestion { sequence, ..ProbeQuestion::default() }.encode(PROBE_LEN_MIN), port).await.ok()?;
        let mut buffer = [0; 2 * PROBE_LEN_MIN];
        let deadline = Instant::now() + patience;
        while let Ok(Ok((len, from))) = tokio::time::timeout_at(deadline.into(), socket.recv_from(&mut buffer)).await {
            let answer = ProbeAnswer::decode(&buffer[..len]).filter(|_| from == port);
            if let Some(answer) = answer {
                return Some(ObservedAddress { relay_port: port.port(), address: answer.observed });
            }
        }
    }
    None
}

fn answered(fates: &[Fate]) -> impl Iterator<Item = (&ProbeAnswer, Duration)> {
    fates.iter().filter_map(|fate| if let Fate::Answered(answer, rtt) = fate { Some((answer, *rtt)) } else { None })
}

fn lost(fates: &[Fate]) -> u32 {
    u32::try_from(fates.len() - answered(fates).count()).unwrap_or(u32::MAX)
}

fn round_trips(fates: &[Fate]) -> RttFacts {
    let mut times: Vec<_> = answered(fates).map(|(_, rtt)| rtt.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    RttFacts {
        sent: u32::try_from(fates.len()).unwrap_or(u32::MAX),
        lost: lost(fates),
        min_ms: times.first().copied(),
        median_ms: times.get(times.len() / 2).copied(),
        max_ms: times.last().copied(),
    }
}

/// This host's clock less the relay's, in seconds, just after `answer` has come: the relay's was read half a round trip ago.
fn clock_offset(answer: &ProbeAnswer, rtt: Duration) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - answer.clock_ms as f64 / 1e3 - rtt.as_secs_f64() / 2.0)
}

async fn throttle(asker: &mut Asker, patience: Duration) -> io::Result<ThrottleFacts> {
    let asks = [Ask { len: BURST_LEN, answer_len: BURST_LEN }; BURST];
    let fates = asker.round(&asks, Some(BURST_PACE), patience).await?;
    Ok(ThrottleFacts { rate_kbit_s: BURST_KBIT_S, sent: u32::try_from(BURST).unwrap_or(u32::MAX), lost: lost(&fates) })
}
