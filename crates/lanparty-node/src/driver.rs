//! Drives one member: frames between its device and its link, until something happens that its owner must decide.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lanparty_core::{
    AddressNews, BridgedTap, Discarded, FairQueue, Filter, FilterRules, FrameRecord, Inbound, Outbound, OutboundWork, Point, Roster,
    SideBySide,
};
use lanparty_nic::Device;
use lanparty_proto::{Control, DropReason, FrameBatch, MacAddr, MemberId, Role};
use tracing::{info, warn};

use crate::alarm::Alarm;
use crate::device::Written;
use crate::peers::{PeerEvent, Peers};
use crate::{AsyncDevice, Draining, Link, LinkEnded, RECV_BATCH, SendOutcome, every_frame_is_logged, fair_queue};

mod addresses;
mod awaited;
mod bridged;
mod connected;
mod control;
mod desk;
mod direct;
mod due;
mod echo;
mod groups;
mod lans;
mod own;
mod report;
mod room;

use connected::{Connected, room_and_path};
pub use desk::Side;
use due::Due;
pub use report::DriverReport;

/// What the owner of a member must decide.
#[derive(Debug)]
pub enum DriverEvent {
    /// The relay said something. The roster follows already.
    Control(Control),
    /// The connection to the relay ended.
    LinkEnded(LinkEnded),
    /// The device is down or gone.
    DeviceFailed(io::Error),
    /// What became of an address of this machine.
    Address(AddressNews),
    /// What came for the service that the member offers.
    Desk(Vec<(Side, Bytes)>),
    /// The path was looked at.
    Looked,
}

/// Every so many times that something came, frames are not looked for first.
const OTHERS_FIRST_EVERY: u8 = 8;

/// What came.
enum Input {
    /// So many frames from the device.
    Device(io::Result<usize>),
    /// The path takes more.
    Ready(Result<(), LinkEnded>),
    /// So many datagrams by the relay; none ever again from the link before this one.
    Link(Result<Option<usize>, LinkEnded>),
    Peer(PeerEvent),
    Control(Result<Control, LinkEnded>),
    Due(Due),
}

/// A member's data plane.
pub struct MemberDriver<D> {
    role: Role,
    device: Option<AsyncDevice<D>>,
    interface: String,
    outbound: Outbound,
    inbound: Inbound,
    connected: Option<Connected>,
    /// The link it had before it moved, while frames come from it.
    draining: Option<Draining>,
    /// Other members that are reached without the relay.
    peers: Peers,
    /// The room as it was when the relay went, while there are direct links to some of its members: one that is silent may be heard again.
    island: Option<Roster>,
    /// Members of the island that have not come back to the relay.
    awaited: awaited::Awaited,
    batch: FrameBatch,
    pending: FairQueue,
    received: Vec<Bytes>,
    frames: Vec<Bytes>,
    side_by_side: SideBySide,
    work: OutboundWork,
    runs: echo::Runs,
    observed: room::Observed,
    bridged: BridgedTap,
    is_bridged: bool,
    /// What the relay has to hear of it.
    unsaid_loop: Option<Control>,
    lans: lans::Lans,
    addresses: addresses::Addresses,
    groups: groups::Groups,
    own: own::Own,
    desk: desk::Desk,
    alarm: Alarm,
    /// Times that it waited.
    turn: u8,
}

impl<D: Device> MemberDriver<D> {
    /// A member of that role without a link. Frames of its device are dropped as `LinkDown` until [`Self::connect`].
    #[must_use]
    pub fn new(role: Role, interface: String, device: Option<AsyncDevice<D>>) -> Self {
        let (mut outbound, mut inbound) = (Outbound::new(role), Inbound::new(role));
        if every_frame_is_logged() {
            outbound.log_every_frame();
            inbound.log_every_frame();
        }
        Self {
            role,
            device,
            interface,
            outbound,
            inbound,
            connected: None,
            draining: None,
            peers: Peers::default(),
            island: None,
            awaited: awaited::Awaited::default(),
            batch: FrameBatch::new(),
            pending: fair_queue(),
            received: vec![Bytes::new(); RECV_BATCH],
            frames: vec![],
            side_by_side: SideBySide::default(),
            work: OutboundWork::default(),
            runs: echo::Runs::default(),
            observed: room::Observed::default(),
            bridged: BridgedTap::default(),
            is_bridged: false,
            unsaid_loop: None,
            lans: lans::Lans::default(),
            addresses: addresses::Addresses::default(),
            groups: groups::Groups::default(),
            own: own::Own::default(),
            desk: desk::Desk::default(),
            alarm: Alarm::default(),
            turn: 0,
        }
    }

    /// Lets through what these rules let through, both ways.
    pub fn set_filter(&mut self, rules: &Arc<FilterRules>) {
        self.outbound.set_filter(Filter::new(Arc::clone(rules)));
        self.inbound.set_filter(Filter::new(Arc::clone(rules)));
    }

    /// Passes on the MTU that the LAN's DHCP server and routers tell as they tell it.
    pub const fn keep_told_mtu(&mut self) {
        self.outbound.keep_told_mtu();
    }

    /// Replaces the device: its interface came back, or went.
    pub fn set_device(&mut self, device: Option<AsyncDevice<D>>) {
        self.device = device;
    }

    /// The device, when there is one.
    pub const fn device(&mut self) -> Option<&mut AsyncDevice<D>> {
        self.device.as_mut()
    }

    /// The room, while joined.
    pub fn roster(&self) -> Option<&Roster> {
        self.connected.as_ref().map(|c| &c.roster)
    }

    /// The room, while joined; or as it was when the relay went, while there are direct links to some of its members.
    pub fn known_room(&self) -> Option<&Roster> {
        self.roster().or(self.island.as_ref())
    }

    /// The link, while joined.
    pub fn link(&self) -> Option<&Link> {
        self.connected.as_ref().map(|c| &c.link)
    }

    /// The outbound half.
    pub const fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The inbound half.
    pub const fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Carries frames until something needs a decision. Cancel-safe: no frame is lost when the future is dropped.
    pub async fn next_event(&mut self) -> DriverEvent {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(event)) => return event,
                Err(ended) => {
                    self.drop_pending();
                    let gone = self.connected.take();
                    if let Some(gone) = &gone {
                        self.outbound.count_discarded(&gone.link.take_left());
                    }
                    let roster = gone.map(|c| c.roster);
                    if let Some(roster) = &roster {
                        self.peers.without_relay(roster, Instant::now());
                    }
                    self.island = roster.filter(|_| self.peers.has_links());
                    self.draining = None;
                    return DriverEvent::LinkEnded(ended);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<DriverEvent>, LinkEnded> {
        if let Some(event) = self.desk.hand_over() {
            return Ok(Some(event));
        }
        if self.known_room().is_none() {
            self.runs.end();
        }
        match self.next_input().await {
            Input::Device(outcome) => self.handle_outbound(outcome),
            Input::Ready(ready) => {
                ready?;
                self.send_pending()
            }
            Input::Link(count) => match count? {
                Some(count) => self.handle_inbound(count),
                None => {
                    self.end_draining();
                    Ok(None)
                }
            },
            Input::Peer(event) => self.handle_peer(event),
            Input::Control(message) => Ok(self.handle_control(message?).await),
            Input::Due(due) => self.handle_due(due).await,
        }
    }

    /// Waits for whatever comes next. Cancel-safe.
    async fn next_input(&mut self) -> Input {
        let due = self.next_due();
        self.turn = self.turn.wrapping_add(1);
        let Self { device, connected, draining, peers, batch, pending, received, alarm, turn, .. } = self;
        let Some(c) = connected else {
            return tokio::select! {
                outcome = device_frames(device, batch, false) => Input::Device(outcome),
                event = peers.next() => Input::Peer(event),
                due = alarm.ring(due) => Input::Due(due),
            };
        };
        // The device is read on while others' frames wait, or a ping would stand behind a download in there, where nobody is fair.
        let (backlog, room) = (!pending.is_empty(), pending.has_room());
        let fronts = c.link.fronts(pending);
        let frames = pin!(async {
            tokio::select! {
                outcome = device_frames(device, batch, backlog || peers.are_behind()), if room => Input::Device(outcome),
                ready = c.link.ready(&fronts), if backlog => Input::Ready(ready),
                count = link_frames(&c.link, draining.as_ref(), received) => Input::Link(count),
                event = peers.next() => Input::Peer(event),
            }
        });
        let others = pin!(async {
            tokio::select! {
                message = c.control_in.next() => Input::Control(message),
                due = alarm.ring(due) => Input::Due(due),
            }
        });
        // A frame that comes alone waits for no look at what is seldom there, and what is seldom there not for the end of a flood.
        if turn.is_multiple_of(OTHERS_FIRST_EVERY) {
            tokio::select! { biased; input = others => input, input = frames => input }
        } else {
            tokio::select! { biased; input = frames => input, input = others => input }
        }
    }

    /// Stations 2 to 4 for a batch from the device: every frame of it is sent, queued, or dropped and counted.
    fn handle_outbound(&mut self, outcome: io::Result<usize>) -> Result<Option<DriverEvent>, LinkEnded> {
        if let Err(e) = outcome {
            return Ok(Some(DriverEvent::DeviceFailed(e)));
        }
        self.look_at_bridge_out(Instant::now());
        self.learn_from_lan(Instant::now());
        self.groups.look(self.batch.iter(), Instant::now());
        self.look_at_own_out(Instant::now());
        self.look_at_desk_out();
        let (roster, path) = room_and_path(self.connected.as_ref(), self.island.as_ref());
        let (work, now) = (&mut self.work, Instant::now());
        self.observed.look(self.batch.iter(), Point::FromDevice, now);
        // One that is in no room bridges nothing yet; of those of its own room more is said.
        let is_strange = |other: &MacAddr| roster.is_some_and(|roster| !roster.joins_lans() || roster.by_mac(*other).is_none());
        if let Some(other) = self.observed.look_around(self.batch.iter(), roster, now).filter(is_strange) {
            warn_of_gateway(other);
        }
        self.outbound.process(&mut self.batch, roster, path, now, work);
        self.observed.look_inside(&work.datagrams, Point::ToRoom, now);
        for record in work.records.drain(..) {
            log_frame(self.role, &self.interface, self.outbound.direction().as_str(), None, &record);
        }
        self.answer();
        self.send_directly();
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

    /// Tells senders behind the device that their frames were too large. Those who miss it hear it at their next try.
    fn answer(&mut self) {
        if self.work.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.work.answers);
        // A device that fails says so when it is read next.
        let (written, why_left) = write(self.device.as_mut(), &answers);
        for answer in answers.iter().rev().take(written.left) {
            self.outbound.take_back_answer(answer, why_left);
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
    fn handle_inbound(&mut self, count: usize) -> Result<Option<DriverEvent>, LinkEnded> {
        let mut records: Vec<(Option<MemberId>, FrameRecord)> = vec![];
        self.frames.clear();
        self.look_at_bridge_in(count, Instant::now());
        self.learn_from_room(count, Instant::now());
        self.look_at_own_in(count, Instant::now());
        let (roster, now) = (room_and_path(self.connected.as_ref(), self.island.as_ref()).0, Instant::now());
        self.observed.look_inside(self.received.iter().take(count), Point::FromRoom, now);
        let datagrams = self.received.iter_mut().take(count).map(std::mem::take);
        self.inbound.process(datagrams, roster, now, &mut self.frames, &mut records);
        if let Some(roster) = roster {
            self.addresses.look(&self.frames, roster.own().mac, now);
        }
        self.look_at_desk_in();
        self.side_by_side.arrange(&mut self.frames);
        for (member, record) in &records {
            log_frame(self.role, &self.interface, self.inbound.direction().as_str(), *member, record);
        }
        let (Written { left, failed, unsent }, why_left) = write(self.device.as_mut(), &self.frames);
        unsent.iter().for_each(|(frame, why)| self.inbound.take_back(frame, *why));
        let entered = self.frames.len().saturating_sub(left);
        self.observed.look(self.frames.iter().take(entered).map(|frame| &frame[..]), Point::ToDevice, now);
        for frame in self.frames.iter().rev().take(left) {
            self.inbound.take_back(frame, why_left);
        }
        self.hear()?;
        Ok(failed.map(DriverEvent::DeviceFailed))
    }

    fn drop_pending(&mut self) {
        for datagram in self.pending.drain() {
            self.outbound.take_back(&datagram, DropReason::LinkDown);
        }
    }
}

/// Two gateways on one LAN make two rooms one, without anybody having said so.
pub fn warn_of_gateway(other: MacAddr) {
    warn!("two-gateways-on-one-lan: another lanparty gateway at {other} bridges this LAN as well; stop one of them");
}

/// Frames from the link, or from the one before it as long as that has some; nothing when that is over. Cancel-safe.
async fn link_frames(link: &Link, draining: Option<&Draining>, into: &mut [Bytes]) -> Result<Option<usize>, LinkEnded> {
    let Some(draining) = draining else { return link.recv(into).await.map(Some) };
    tokio::select! {
        count = draining.link().recv(into) => Ok(count.ok()),
        () = draining.done() => Ok(None),
    }
}

/// What became of frames for the device, and why those that are left did not enter it.
fn write<D: Device>(device: Option<&mut AsyncDevice<D>>, frames: &[Bytes]) -> (Written, DropReason) {
    match device.map(|device| device.send(frames)) {
        Some(written) => {
            let why_left = written.why_left();
            (written, why_left)
        }
        None => (Written { left: frames.len(), ..Written::default() }, DropReason::LinkDown),
    }
}

/// Frames from the device, after the link had its turn to send when frames wait for it. Cancel-safe.
async fn device_frames<D: Device>(device: &mut Option<AsyncDevice<D>>, batch: &mut FrameBatch, is_behind: bool) -> io::Result<usize> {
    match device {
        Some(device) => device.recv_after(batch, is_behind).await,
        None => std::future::pending().await,
    }
}

/// What became of frames that had been counted as sent.
fn take_back(outbound: &mut Outbound, discarded: &[Discarded]) {
    discarded.iter().for_each(|d| outbound.take_back(&d.datagram, d.reason));
}

/// One line of the frame log, in the words of the guide (docs/first-lan.md).
fn log_frame(role: Role, interface: &str, direction: &str, member: Option<MemberId>, record: &FrameRecord) {
    let peer_id = member.map_or_else(|| "-".to_owned(), |m| m.to_string());
    let (src, dst) = (record.src_text(), record.dst_text());
    let (action, drop_reason, len, suppressed) = (record.action(), record.reason(), record.len, record.suppressed);
    match role {
        Role::Client => info!(%direction, %peer_id, %src, %dst, len, %action, %drop_reason, suppressed, "client frame"),
        Role::Gateway => info!(%interface, %direction, %peer_id, %src, %dst, len, %action, %drop_reason, suppressed, "gateway frame"),
    }
}
