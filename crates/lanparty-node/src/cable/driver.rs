//! Drives one end of a cable: frames between its TAP and its link, until something happens that its owner must decide.
//!
//! The stations are those of a member (see `crate::driver`), with the other end where the relay was.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{
    CableEnd, CableGuard, CableInbound, CableLoops, CableMtu, CableOutbound, CountersSnapshot, Discarded, FairQueue, Filter, FilterReport,
    FilterRules, FrameRecord, LadderCounters, LoopNews, LoopReport, OutboundWork, PathSize, SideBySide, one_line,
};
use lanparty_doctor::{Finding, blocked_cable_finding};
use lanparty_nic::{Device, DeviceFault};
use lanparty_proto::{CableHello, Control, DatagramBudget, Direction, DropReason, FrameBatch, LanMtu, PortRank};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tracing::{info, warn};

use super::hello::Contacted;
use super::words::loop_words;
use crate::alarm::Alarm;
use crate::{
    AsyncDevice, ControlReader, ControlWriter, Link, LinkEnded, PathWatch, RECV_BATCH, SendOutcome, every_frame_is_logged, fair_queue,
};

/// What the owner of an end must decide.
#[derive(Debug)]
pub(super) enum DriverEvent {
    /// Both ends use this LAN MTU from now on.
    LanMtu(LanMtu),
    /// The connection ended.
    LinkEnded(LinkEnded),
    /// The TAP is gone.
    DeviceFailed(io::Error),
}

/// Counters of both directions, for `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct CableReport {
    /// From the TAP to the other end.
    pub outbound: CountersSnapshot,
    /// From the other end to the TAP.
    pub inbound: CountersSnapshot,
    /// What became of frames that were too large.
    pub ladder: LadderCounters,
    /// Frames that wait for the path.
    pub queued: usize,
    /// Largest datagram the path takes now, in bytes.
    pub budget: u16,
    /// Largest datagram from the other end, as it says.
    pub budget_back: u16,
    /// Whether this cable is on a loop.
    pub loops: LoopReport,
    /// What the traffic filter did, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterReport>,
}

struct Connected {
    link: Link,
    control_in: ControlReader,
    control_out: ControlWriter,
    end: CableEnd,
    budget: DatagramBudget,
    theirs: CableHello,
    watch: PathWatch,
    /// At the end that decides.
    mtu: Option<CableMtu>,
}

/// One end's data plane.
pub struct CableDriver<D> {
    device: AsyncDevice<D>,
    interface: String,
    is_isolated: bool,
    outbound: CableOutbound,
    inbound: CableInbound,
    loops: CableLoops,
    alarm: Alarm,
    connected: Option<Connected>,
    batch: FrameBatch,
    pending: FairQueue,
    received: Vec<Bytes>,
    frames: Vec<Bytes>,
    side_by_side: SideBySide,
    work: OutboundWork,
}

impl<D: Device> CableDriver<D> {
    /// An end without a link. Frames of its TAP are dropped as `LinkDown` until [`Self::connect`].
    pub(super) fn new(device: AsyncDevice<D>, guard: CableGuard, loops: CableLoops, interface: String) -> Self {
        let all = every_frame_is_logged();
        Self {
            device,
            interface,
            is_isolated: guard != CableGuard::Open,
            outbound: CableOutbound::new(guard, all),
            inbound: CableInbound::new(CableGuard::Open, all),
            loops,
            alarm: Alarm::default(),
            connected: None,
            batch: FrameBatch::new(),
            pending: fair_queue(),
            received: vec![Bytes::new(); RECV_BATCH],
            frames: vec![],
            side_by_side: SideBySide::default(),
            work: OutboundWork::default(),
        }
    }

    /// Lets through what these rules let through, both ways.
    pub(super) fn set_filter(&mut self, rules: &Arc<FilterRules>) {
        self.outbound.set_filter(Filter::new(Arc::clone(rules)));
        self.inbound.set_filter(Filter::new(Arc::clone(rules)));
    }

    /// Uses this connection from now on, in the place of one that there may be. `mtu` is for the end that decides.
    /// `rank` tells it from other cables.
    pub(super) fn connect(&mut self, contacted: Contacted, lan_mtu: LanMtu, mtu: Option<CableMtu>, rank: PortRank) {
        self.drop_pending();
        // One host at each end, which is no switch: nothing can go round.
        if !self.is_isolated {
            self.loops.plug_in(rank, Instant::now());
        }
        let Contacted { link, control_in, control_out, theirs, budget, has_dialled, .. } = contacted;
        self.inbound.set_guard(if self.is_isolated { CableGuard::OneHost(theirs.mac) } else { CableGuard::Open });
        let (end, watch) = (CableEnd::new(has_dialled, lan_mtu), PathWatch::new(&link));
        let before = self.connected.replace(Connected { link, control_in, control_out, end, budget, theirs, watch, mtu });
        if let Some(before) = before {
            before.link.close("another connection of this cable took its place");
            self.outbound.count_discarded(&before.link.take_left());
        }
    }

    /// The TAP went into a bridge, or out of one: there may be a loop now.
    pub fn look_for_loops(&mut self) {
        self.loops.look_again(Instant::now());
    }

    /// Pulls the cable out, with words for the other end.
    pub(super) async fn disconnect(&mut self, reason: &str) {
        self.drop_pending();
        if let Some(mut connected) = self.connected.take() {
            if connected.control_out.send(&Control::Bye { reason: reason.to_owned() }).await.is_ok() {
                connected.control_out.finish();
            }
            connected.link.close(reason);
        }
    }

    /// The TAP.
    pub const fn device(&mut self) -> &mut AsyncDevice<D> {
        &mut self.device
    }

    /// The link, while plugged in.
    pub fn link(&self) -> Option<&Link> {
        self.connected.as_ref().map(|c| &c.link)
    }

    /// Where the other end is now, while plugged in.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.link()?.remote_address()
    }

    /// What the other end says of itself, while plugged in.
    pub fn theirs(&self) -> Option<&CableHello> {
        self.connected.as_ref().map(|c| &c.theirs)
    }

    /// What was counted.
    #[must_use]
    pub fn report(&self) -> CableReport {
        let budgets = self.connected.as_ref().map_or((0, 0), |c| (c.budget.0, c.theirs.budget.0));
        CableReport {
            outbound: self.outbound.counters().snapshot(),
            inbound: self.inbound.counters().snapshot(),
            ladder: self.outbound.ladder(),
            queued: self.pending.len(),
            budget: budgets.0,
            budget_back: budgets.1,
            loops: self.loops.report(Instant::now()),
            filter: self.outbound.filter().zip(self.inbound.filter()).map(|(out, into)| FilterReport::of(out, into)),
        }
    }

    /// What is wrong with this cable.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let loops = self.loops.report(Instant::now());
        let blocked = (loops.blocked || loops.blocked_there).then(|| blocked_cable_finding(&self.interface));
        blocked.into_iter().collect()
    }

    /// Carries frames until something needs a decision. Cancel-safe: no frame is lost when the future is dropped.
    pub(super) async fn next_event(&mut self) -> DriverEvent {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(event)) => return event,
                Err(ended) => {
                    self.drop_pending();
                    if let Some(gone) = self.connected.take() {
                        self.outbound.count_discarded(&gone.link.take_left());
                    }
                    self.loops.unplug();
                    return DriverEvent::LinkEnded(ended);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        let Self { device, connected, batch, pending, received, loops, alarm, .. } = self;
        let Some(c) = connected else {
            let outcome = device.recv(batch).await;
            return self.handle_outbound(outcome);
        };
        // The TAP is read on while others' frames wait, or a ping would stand behind a download in there, where nobody is fair.
        let (backlog, room) = (!pending.is_empty(), pending.has_room());
        let fronts = c.link.fronts(pending);
        tokio::select! {
            outcome = device.recv_after(batch, backlog), if room => self.handle_outbound(outcome),
            ready = c.link.ready(&fronts), if backlog => {
                ready?;
                self.send_pending()
            }
            count = c.link.recv(received) => {
                let count = count?;
                Ok(self.handle_inbound(count))
            }
            message = c.control_in.next() => {
                let message = message?;
                self.handle_control(message)
            }
            () = c.watch.due() => self.look_at_path().await,
            () = alarm.ring(loops.due().map(|at| (at, ()))) => self.drive_loops().await,
        }
    }

    /// Stations 2 to 4 for a batch from the TAP: every frame of it is sent, queued, or dropped and counted.
    fn handle_outbound(&mut self, outcome: io::Result<usize>) -> Result<Option<DriverEvent>, LinkEnded> {
        if let Err(e) = outcome {
            return Ok(Some(DriverEvent::DeviceFailed(e)));
        }
        let (end, path) = match &self.connected {
            Some(c) => (Some(&c.end), PathSize { budget: c.link.budget(), settled: c.watch.is_settled() }),
            None => (None, PathSize::settled(DatagramBudget(0))),
        };
        let now = Instant::now();
        self.outbound.process(&mut self.batch, end, &mut self.loops, path, now, &mut self.work);
        for record in self.work.records.drain(..) {
            log_frame(self.outbound.direction(), &record);
        }
        self.answer();
        let Some(c) = &self.connected else { return Ok(None) };
        let sent = if self.pending.is_empty() { c.link.send_now(&self.work.datagrams)? } else { SendOutcome::default() };
        self.outbound_refused(&sent.refused);
        for datagram in self.work.datagrams.drain(..).skip(sent.taken) {
            let pushed_out = self.pending.push(datagram, now);
            take_back(&mut self.outbound, &pushed_out);
        }
        Ok(None)
    }

    /// Station 4 for what waits: as much as the path takes now.
    fn send_pending(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        let (Some(c), mut discarded) = (&self.connected, vec![]) else { return Ok(None) };
        let sent = c.link.send_queued(&mut self.pending, Instant::now(), &mut discarded);
        take_back(&mut self.outbound, &discarded);
        sent.map(|()| None)
    }

    /// Tells senders behind the TAP that their frames were too large. Those who miss it hear it at their next try.
    fn answer(&mut self) {
        if self.work.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.work.answers);
        // A TAP that fails says so when it is read next.
        let written = self.device.send(&answers);
        for answer in answers.iter().rev().take(written.left) {
            self.outbound.take_back_answer(answer, written.why_left());
        }
        for (answer, reason) in &written.unsent {
            self.outbound.take_back_answer(answer, *reason);
        }
    }

    fn outbound_refused(&mut self, refused: &[Bytes]) {
        for datagram in refused {
            self.outbound.take_back(datagram, DropReason::DatagramBudget);
        }
    }

    /// Stations 10 and 11 for a batch from the link.
    fn handle_inbound(&mut self, count: usize) -> Option<DriverEvent> {
        let mut records = vec![];
        self.frames.clear();
        let datagrams = self.received.iter_mut().take(count).map(std::mem::take);
        let end = self.connected.as_ref().map(|c| &c.end);
        self.inbound.process(datagrams, end, &mut self.loops, Instant::now(), &mut self.frames, &mut records);
        for record in &records {
            log_frame(self.inbound.direction(), record);
        }
        self.side_by_side.arrange(&mut self.frames);
        let written = self.device.send(&self.frames);
        written.unsent.iter().for_each(|(frame, why)| self.inbound.take_back(frame, *why));
        for frame in self.frames.iter().rev().take(written.left) {
            self.inbound.take_back(frame, written.why_left());
        }
        // Its owner took it down, and may take it up again.
        let failed = written.failed.filter(|e| DeviceFault::of(e) != Some(DeviceFault::Down));
        failed.map(DriverEvent::DeviceFailed)
    }

    fn handle_control(&mut self, message: Control) -> Result<Option<DriverEvent>, LinkEnded> {
        let Some(c) = &mut self.connected else { return Ok(None) };
        match message {
            Control::Budget { budget } => c.theirs.budget = budget,
            Control::LanMtu { mtu, .. } if c.mtu.is_none() => {
                c.end.lan_mtu = mtu;
                return Ok(Some(DriverEvent::LanMtu(mtu)));
            }
            Control::Loop { blocked, message } => {
                warn!("the other end says: {}", one_line(&message));
                self.loops.set_blocked_there(blocked, Instant::now());
            }
            Control::Bye { reason } => return Err(LinkEnded { reason, by_peer: true }),
            _ => {}
        }
        Ok(None)
    }

    /// Sends a probe into the LAN when one is due; says what is known of loops, here and at the other end.
    async fn drive_loops(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        if let Some(probe) = self.loops.handle_timeout(random_nonce(), Instant::now()) {
            // A TAP that fails says so when it is read next, and the next probe comes soon.
            let _ = self.device.send(&[Bytes::from(probe)]);
        }
        while let Some(news) = self.loops.poll_news() {
            let message = loop_words(news, &self.interface, self.loops.quiet());
            warn!("{message}");
            let blocked = match news {
                LoopNews::Blocked(_) => true,
                LoopNews::Cleared => false,
                LoopNews::BlockedBeside(_) | LoopNews::Reflected | LoopNews::Moving(_) => continue,
            };
            if let Some(c) = &mut self.connected {
                c.control_out.send(&Control::Loop { blocked, message }).await?;
            }
        }
        Ok(None)
    }

    /// Looks at the path, tells the other end when its budget has moved, and decides on the LAN MTU where that is this end's to do.
    async fn look_at_path(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        let Some(c) = &mut self.connected else { return Ok(None) };
        self.outbound.count_discarded(&c.link.take_discarded());
        let budget = c.watch.look(&c.link)?;
        if budget != c.budget {
            c.budget = budget;
            c.control_out.send(&Control::Budget { budget }).await?;
        }
        let now = Instant::now();
        let Some(mtu) = c.mtu.as_mut().and_then(|mtu| mtu.observe([budget, c.theirs.budget], now)) else { return Ok(None) };
        c.end.lan_mtu = mtu;
        c.control_out.send(&Control::LanMtu { mtu, limited_by: None }).await?;
        Ok(Some(DriverEvent::LanMtu(mtu)))
    }

    fn drop_pending(&mut self) {
        for datagram in self.pending.drain() {
            self.outbound.take_back(&datagram, DropReason::LinkDown);
        }
    }
}

/// What became of frames that had been counted as sent.
fn take_back(outbound: &mut CableOutbound, discarded: &[Discarded]) {
    discarded.iter().for_each(|d| outbound.take_back(&d.datagram, d.reason));
}

/// What nobody can guess.
fn random_nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).expect("INVARIANT: the operating system gives random bytes");
    nonce
}

/// One line of the frame log.
fn log_frame(direction: Direction, record: &FrameRecord) {
    let (src, dst) = (record.src_text(), record.dst_text());
    let (action, drop_reason, len, suppressed) = (record.action(), record.reason(), record.len, record.suppressed);
    info!(%direction, %src, %dst, len, %action, %drop_reason, suppressed, "cable frame");
}
