//! The task of a socket: what came goes to its connections, those who wait for it run, and then the connections have their turn.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use noq_udp::RecvMeta;
use quinn_proto::{ConnectionHandle, DatagramEvent, EcnCodepoint, EndpointEvent};
use tokio::time::Sleep;

use crate::connection::{Inner, now};
use crate::endpoint::{Core, State};
use crate::recv::Intake;
use crate::socket::Socket;

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Driver {
    core: Arc<Core>,
    came: fn(),
    intake: Intake,
    sleep: Pin<Box<Sleep>>,
    /// What it sleeps until.
    until: Option<Instant>,
    /// Waits for room in the kernel while a connection does.
    room: Option<Room>,
    /// Of each turn, empty between them.
    due: Vec<Arc<Inner>>,
    heard: Vec<Arc<Inner>>,
    events: Vec<(ConnectionHandle, EndpointEvent)>,
    answer: Vec<u8>,
}

impl Driver {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(core: Arc<Core>, came: fn()) -> Self {
        Self {
            core,
            came,
            intake: Intake::new(),
            sleep: Box::pin(tokio::time::sleep_until(now().into())),
            until: None,
            room: None,
            due: vec![],
            heard: vec![],
            events: vec![],
            answer: vec![],
        }
    }

    /// Every connection that wants a turn has it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.core.queue.is_blocked() {
            let room = self.room.get_or_insert_with(|| {
                let socket = Arc::clone(&self.core.state().socket);
                Box::pin(async move { socket.room().await })
            });
            if room.as_mut().poll(cx).is_ready() {
                self.room = None;
                self.core.queue.take_blocked().iter().for_each(Inner::unblock);
            }
        }
        let now = now();
        self.core.queue.take_due(now, &mut self.due);
        for connection in self.due.drain(..) {
            connection.drive(now);
        }
        self.tell_endpoint();
    }

    /// What connections told their endpoint, and its answers.
    fn tell_endpoint(&mut self) {
        self.core.queue.take_events(&mut self.events);
        if self.events.is_empty() {
            return;
        }
        let mut state = self.core.state();
        for (of, event) in self.events.drain(..) {
            let is_last = event.is_drained();
            let answer = state.proto.handle_event(of, event);
            if let (Some(answer), Some(connection)) = (answer, state.connections.get(&of))
                && connection.take_in(answer)
            {
                self.heard.push(Arc::clone(connection));
            }
            if is_last {
                self.core.forget(&mut state, of);
            }
        }
        drop(state);
        self.tell_heard();
    }

    /// Those who wait for what came run next.
    fn tell_heard(&mut self) {
        self.heard.drain(..).for_each(|connection| connection.tell_heard());
    }

    /// Takes what came, up to a turn's worth: whether anything did.
    fn receive(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let core = Arc::clone(&self.core);
        let mut state = core.state();
        self.intake.begin();
        let previous = state.previous.clone();
        let mut came = false;
        if let Some(previous) = &previous {
            // It is only there for what is on its way yet: its errors are of no interest.
            came |= self.receive_by(previous, &mut state, cx).unwrap_or(false);
        }
        let socket = Arc::clone(&state.socket);
        let came_now = self.receive_by(&socket, &mut state, cx)?;
        if came_now {
            state.previous = None;
        }
        drop(state);
        self.tell_heard();
        came |= came_now;
        if came {
            (self.came)();
        }
        Ok(came)
    }

    fn receive_by(&mut self, socket: &Socket, state: &mut State, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let (now, mut came, mut is_announced) = (now(), false, false);
        while !self.intake.is_enough() {
            let (answer, heard) = (&mut self.answer, &mut self.heard);
            let take = |meta: &RecvMeta, datagram| {
                came = true;
                answer.clear();
                match state.proto.handle(now, meta.addr, meta.dst_ip, meta.ecn.map(ecn), datagram, answer) {
                    Some(DatagramEvent::ConnectionEvent(of, event)) => {
                        if let Some(connection) = state.connections.get(&of)
                            && connection.take_in(event)
                        {
                            heard.push(Arc::clone(connection));
                        }
                    }
                    Some(DatagramEvent::NewConnection(incoming)) => {
                        state.announce(incoming);
                        is_announced = true;
                    }
                    Some(DatagramEvent::Response(transmit)) => state.respond(&transmit, answer),
                    None => {}
                }
            };
            match self.intake.poll_batch(socket, cx, take) {
                Poll::Pending => break,
                Poll::Ready(read) => read?,
            }
        }
        if is_announced {
            self.core.announce();
        }
        Ok(came)
    }

    /// Rests until something comes, is asked for, or is due.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(until) = self.core.queue.rest(cx.waker()) else { return Poll::Ready(()) };
        let Some(until) = until else { return Poll::Pending };
        if self.until != Some(until) {
            self.until = Some(until);
            self.sleep.as_mut().reset(until.into());
        }
        self.sleep.as_mut().poll(cx).map(|()| self.until = None)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        driver.core.queue.begin();
        driver.drive(cx);
        if driver.core.state().is_done() {
            return Poll::Ready(());
        }
        let came = match driver.receive(cx) {
            Ok(came) => came,
            Err(e) => {
                tracing::error!("the UDP socket is broken: {e}");
                return Poll::Ready(());
            }
        };
        if came {
            // Who waits for what came runs before the connections send, and who waits for those.
            return behind_others(cx);
        }
        if driver.rest(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Another turn when all that are ready have had theirs.
fn behind_others(cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::yield_now()).poll(cx)
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.core.abandon();
    }
}

const fn ecn(mark: noq_udp::EcnCodepoint) -> EcnCodepoint {
    match mark {
        noq_udp::EcnCodepoint::Ect0 => EcnCodepoint::Ect0,
        noq_udp::EcnCodepoint::Ect1 => EcnCodepoint::Ect1,
        noq_udp::EcnCodepoint::Ce => EcnCodepoint::Ce,
    }
}
