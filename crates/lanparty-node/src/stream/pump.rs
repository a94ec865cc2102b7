//! The two tasks of a link: one reads messages off the stream, one writes what waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use lanparty_proto::control_from_json;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::clock::LinkClock;
use super::framing;
use super::link::Shared;
use super::queue::MESSAGE_LEN_MAX;
use super::socket::WebSocket;
use crate::{LINK_DEAD_AFTER, LinkEnded};

/// A question for a sign of life this often, as QUIC's keep-alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// … and so often while datagrams are sent: a path that has fallen silent is noticed, and others carry what it did.
const BUSY_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);
/// Time for a farewell to go out, and for the other side's to come back.
const FAREWELL_LINGER: Duration = Duration::from_millis(300);
/// Longest reason in a close frame (RFC 6455 §5.5: 125 bytes, less the code).
const FAREWELL_LEN_MAX: usize = 123;
/// A message that took longer to hand over was too long for this line: what came meanwhile waited for it.
const HAND_OVER_SLOW: Duration = Duration::from_millis(20);
/// A message that took less may be followed by a longer one.
const HAND_OVER_QUICK: Duration = Duration::from_millis(5);
/// Messages never aim below this: three large datagrams.
const MESSAGE_LEN_MIN: usize = 4 * 1024;
/// Weight of a new round-trip time is one in this many (RFC 6298 §2.3).
const RTT_SMOOTHING: u32 = 8;

/// Starts both. They end soon after the link has ended.
pub(super) fn start(socket: WebSocket, shared: &Arc<Shared>) {
    let (sink, stream) = socket.split();
    let (reading, writing) = (shared.task(), shared.task());
    let reader = Reader { stream, shared: Arc::clone(shared) };
    let writer = Writer { sink, shared: Arc::clone(shared), message_len: MESSAGE_LEN_MAX };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _running = reading;
        tokio::select! { () = reader.run() => {}, () = lingered(&shared) => {} }
    });
    let shared = writing.shared();
    tokio::spawn(async move {
        let _running = writing;
        tokio::select! { () = writer.run() => {}, () = lingered(&shared) => {} }
    });
}

async fn lingered(shared: &Shared) {
    shared.ended().await;
    tokio::time::sleep(FAREWELL_LINGER).await;
}

struct Reader {
    stream: SplitStream<WebSocket>,
    shared: Arc<Shared>,
}

impl Reader {
    /// Reads until the stream ends. Once the link has ended, only the other side's farewell is waited for: a socket closed with
    /// unread bytes takes ours back.
    async fn run(mut self) {
        loop {
            let message = tokio::select! {
                // What has arrived is read before the silence is judged.
                biased;
                message = self.stream.next() => message,
                () = silence(&self.shared.clock) => return self.shared.end(silent()),
            };
            match message {
                Some(Ok(message)) if !self.shared.has_ended() => {
                    if let Err(wrong) = self.message(message).await {
                        let ended = LinkEnded { reason: format!("the other side sent {wrong}"), by_peer: false };
                        self.shared.say_farewell(&format!("you sent {wrong}"), ended);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return self.broken(&e),
                None => return self.shared.end(broken(&Error::ConnectionClosed)),
            }
        }
    }

    fn broken(&self, error: &Error) {
        let ended = broken(error);
        match error {
            Error::Capacity(_) | Error::Utf8(_) | Error::Protocol(_) => {
                self.shared.say_farewell(&format!("you sent what is none of ours: {error}"), ended);
            }
            _ => self.shared.end(ended),
        }
    }

    async fn message(&self, message: Message) -> Result<(), String> {
        match message {
            Message::Binary(datagrams) => {
                framing::count(&datagrams).map_err(|e| e.to_string())?;
                self.shared.inbox().push_datagrams(datagrams);
                self.shared.datagrams_arrived.notify_one();
            }
            Message::Text(json) => {
                let message = control_from_json(&json).map_err(|e| format!("a {e}"))?;
                self.room_for_control().await;
                self.shared.inbox().push_control(message, json.len());
                self.shared.control_arrived.notify_one();
            }
            Message::Pong(payload) => self.pong(&payload),
            Message::Close(frame) => self.shared.end(closed_by_peer(frame)),
            Message::Ping(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    async fn room_for_control(&self) {
        loop {
            let taken = self.shared.control_taken.notified();
            if self.shared.inbox().takes_control() || self.shared.has_ended() {
                return;
            }
            taken.await;
        }
    }

    /// Our ping says when it was sent. A peer that lies about it deceives itself alone.
    fn pong(&self, payload: &[u8]) {
        let Ok(sent) = payload.try_into().map(u64::from_be_bytes) else { return };
        let Some(sample) = self.shared.clock.now_ns().checked_sub(sent).map(Duration::from_nanos) else { return };
        let mut rtt = self.shared.rtt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *rtt = Some(rtt.map_or(sample, |smoothed| smoothed - smoothed / RTT_SMOOTHING + sample / RTT_SMOOTHING));
    }
}

/// Resolves when nothing was heard for too long.
async fn silence(clock: &LinkClock) {
    loop {
        let due = clock.heard() + LINK_DEAD_AFTER;
        if due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due.into()).await;
    }
}

struct Writer {
    sink: SplitSink<WebSocket, Message>,
    shared: Arc<Shared>,
    /// How long messages with datagrams are made, so that none takes the line for long.
    message_len: usize,
}

/// What is to be written next.
enum Next {
    Control(String),
    Datagrams(Bytes),
    Farewell(String),
    Nothing,
    Over,
}

impl Writer {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (mut ping_due, mut pinged) = (Instant::now(), Instant::now());
        loop {
            let waits = shared.outgoing_waits.notified();
            let now = Instant::now();
            let written = if ping_due <= now {
                (ping_due, pinged) = (now + HEARTBEAT_INTERVAL, now);
                self.ping().await
            } else {
                match self.next(now) {
                    Next::Control(json) => self.control(json).await,
                    Next::Datagrams(message) => {
                        ping_due = ping_due.min(pinged + BUSY_HEARTBEAT_INTERVAL);
                        self.datagrams(message).await
                    }
                    Next::Farewell(reason) => return self.farewell(&reason).await,
                    Next::Over => return,
                    Next::Nothing => {
                        tokio::select! { () = waits => {}, () = tokio::time::sleep_until(ping_due.into()) => {} }
                        Ok(())
                    }
                }
            };
            if let Err(e) = written {
                // A stream that breaks while the other side says why is not worth a word: the reader hears it.
                if !matches!(e, Error::ConnectionClosed | Error::Protocol(_)) {
                    shared.end(broken(&e));
                }
                return;
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        let mut outgoing = self.shared.outgoing();
        if self.shared.has_ended() && outgoing.farewell.is_none() {
            return Next::Over;
        }
        if let Some(json) = outgoing.take_control() {
            return Next::Control(json);
        }
        if let Some(reason) = outgoing.farewell.take() {
            return Next::Farewell(reason);
        }
        outgoing.datagrams.take(self.message_len, now).map_or(Next::Nothing, Next::Datagrams)
    }

    async fn ping(&mut self) -> Result<(), Error> {
        self.shared.clock.note_asked();
        let sent = self.shared.clock.now_ns().to_be_bytes();
        self.sink.send(Message::Ping(Bytes::copy_from_slice(&sent))).await
    }

    async fn control(&mut self, json: String) -> Result<(), Error> {
        self.shared.control_sent.notify_one();
        self.sink.send(Message::text(json)).await
    }

    /// The next message is taken when the kernel has this one: what waits, waits where it can still be dropped.
    async fn datagrams(&mut self, message: Bytes) -> Result<(), Error> {
        let start = Instant::now();
        // A ping follows soon, unless the line does not even take this.
        self.shared.clock.note_asked();
        self.sink.send(Message::Binary(message)).await?;
        let took = start.elapsed();
        if took > HAND_OVER_SLOW {
            self.message_len = (self.message_len / 2).max(MESSAGE_LEN_MIN);
        } else if took < HAND_OVER_QUICK {
            self.message_len = (self.message_len * 2).min(MESSAGE_LEN_MAX);
        }
        Ok(())
    }

    async fn farewell(&mut self, reason: &str) {
        let reason = reason.get(..reason.floor_char_boundary(FAREWELL_LEN_MAX)).unwrap_or_default();
        let frame = CloseFrame { code: CloseCode::Normal, reason: reason.into() };
        // When it cannot be sent, the other side hears silence.
        let _ = self.sink.send(Message::Close(Some(frame))).await;
    }
}

fn silent() -> LinkEnded {
    LinkEnded { reason: format!("nothing heard for {} s", LINK_DEAD_AFTER.as_secs()), by_peer: false }
}

pub(super) fn closed_by_peer(frame: Option<CloseFrame>) -> LinkEnded {
    let reason = frame.map(|f| f.reason.to_string()).filter(|r| !r.is_empty());
    LinkEnded { reason: reason.unwrap_or_else(|| "closed by the other side".to_owned()), by_peer: true }
}

/// Not closed with words: broken by the network, or by an end that went away without a word.
pub(super) fn broken(error: &Error) -> LinkEnded {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    let reason = match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the connection was cut off".to_owned()
        }
        Error::Io(e) if matches!(e.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset) => {
            "the connection was cut off".to_owned()
        }
        Error::Io(e) => format!("the connection broke: {e}"),
        other => format!("the other side speaks no WebSocket of ours: {other}"),
    };
    LinkEnded { reason, by_peer: false }
}
