//! What happens in a program, told to whoever listens, as it happens.
//!
//! Nobody waits for a listener: one that reads so little that its queue is full hears that it is let go, and is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lanparty_proto::{LanMtu, MacAddr, MemberId, MemberInfo, Role};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;

/// Events that wait for one listener.
const QUEUE_MAX: usize = 256;
/// Listeners at once: those beyond are refused.
pub(super) const LISTENERS_MAX: usize = 16;
/// In front of every text of a sequence (RFC 7464 §2.2): ASCII's record separator.
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// What happens.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first of every stream: who tells, and in which version of the interface.
    Hello {
        /// The program.
        program: String,
        /// Its version.
        version: String,
        /// The version of this interface.
        api: String,
    },
    /// In the room, for the first time or again.
    Joined {
        /// The room.
        room: String,
        /// This member's number.
        peer: MemberId,
        /// What the room carries, in bytes.
        lan_mtu: LanMtu,
        /// Whether it was in it before.
        again: bool,
    },
    /// The connection to the relay is lost; it is sought again.
    Left {
        /// The room.
        room: String,
    },
    /// Another member came.
    MemberJoined {
        /// The room.
        room: String,
        /// Who.
        member: MemberInfo,
        /// Where it is: at the relay alone.
        remote: Option<String>,
    },
    /// Another member went.
    MemberLeft {
        /// The room.
        room: String,
        /// Its number.
        id: MemberId,
        /// Its MAC address, when the program knows it.
        mac: Option<MacAddr>,
        /// Why, in words.
        reason: String,
    },
    /// A newcomer was not let in: at the relay alone.
    MemberRefused {
        /// The room.
        room: String,
        /// What it wanted to be.
        role: Role,
        /// Its MAC address.
        mac: MacAddr,
        /// Where it is.
        remote: String,
        /// Why, in words.
        reason: String,
    },
    /// A member is somewhere else now: at the relay alone.
    MemberMoved {
        /// The room.
        room: String,
        /// Its number.
        id: MemberId,
        /// Where it is.
        remote: String,
    },
    /// What the room, or the cable, carries has changed.
    LanMtu {
        /// The room; nothing on a cable.
        room: Option<String>,
        /// In bytes.
        lan_mtu: LanMtu,
    },
    /// The LAN behind a gateway got a carrier, or lost it.
    LanState {
        /// The room.
        room: String,
        /// The gateway; nothing is this program itself.
        id: Option<MemberId>,
        /// Whether it has one.
        up: bool,
    },
    /// The addresses of the interface have changed.
    Addresses {
        /// Those it has now.
        addresses: Vec<String>,
    },
    /// A path of a bond carries, or does not any more.
    Path {
        /// The uplink.
        name: String,
        /// Whether it carries.
        is_alive: bool,
    },
    /// Something is wrong with the room, or not any more.
    Finding {
        /// Its name, as `lanparty doctor --explain` knows it.
        code: String,
        /// Whether it is there now.
        is_present: bool,
        /// One sentence.
        title: String,
    },
    /// The cable has another end.
    Plugged {
        /// Where that is.
        remote: String,
        /// What the cable carries, in bytes.
        lan_mtu: LanMtu,
    },
    /// The cable has none.
    Unplugged {
        /// Why, in words.
        reason: String,
    },
    /// Somebody with the right to it changed what is logged.
    LogLevel {
        /// What is.
        filter: String,
    },
    /// An uplink was added or removed through this interface.
    Uplink {
        /// Its interface.
        name: String,
        /// Whether it was added.
        is_added: bool,
    },
    /// The program ends.
    Ending {
        /// Why, in words.
        reason: String,
    },
    /// The last of a stream whose reader is too slow for it.
    Dropped {
        /// Why, in words.
        reason: String,
    },
}

/// An event with its place among the others.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Record {
    /// Counts up by one from event to event: a gap is what this listener has missed.
    seq: u64,
    /// Milliseconds since 1970, by this machine's clock.
    at_ms: u64,
    #[serde(flatten)]
    event: Event,
}

/// Where events are told, and listened to. Clones are handles of the same.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    told: broadcast::Sender<Bytes>,
    seq: AtomicU64,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Inner { told: broadcast::Sender::new(QUEUE_MAX), seq: AtomicU64::new(0) }))
    }
}

impl Events {
    /// Tells everybody who listens; waits for nobody.
    pub fn tell(&self, event: Event) {
        let seq = self.0.seq.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_heard() {
            // Between this and that the last listener may have gone.
            let _ = self.0.told.send(record(seq, event));
        }
    }

    /// Whether anybody listens: what is costly to find out need not be found out for nobody.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.told.receiver_count() > 0
    }

    /// A stream of records from now on, which begins with this one.
    pub(super) fn listen(&self, hello: Event) -> Option<mpsc::Receiver<Bytes>> {
        if self.0.told.receiver_count() >= LISTENERS_MAX {
            return None;
        }
        let told = self.0.told.subscribe();
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let _ = sender.try_send(record(self.0.seq.load(Ordering::Relaxed), hello));
        tokio::spawn(pass_on(told, sender));
        Some(receiver)
    }
}

/// Until the listener goes, or is too slow.
async fn pass_on(mut told: broadcast::Receiver<Bytes>, listener: mpsc::Sender<Bytes>) {
    let missed = loop {
        let heard = tokio::select! {
            heard = told.recv() => heard,
            () = listener.closed() => return,
        };
        match heard {
            // One place is kept for the last word.
            Ok(_) if listener.capacity() <= 1 => break 1,
            Ok(record) => drop(listener.try_send(record)),
            Err(broadcast::error::RecvError::Lagged(missed)) => break missed,
            Err(broadcast::error::RecvError::Closed) => return,
        }
    };
    warn!(missed, "a listener to events does not read them and is let go");
    let reason = format!("{missed} events or more found no room: read faster, or listen again");
    let _ = listener.try_send(record(0, Event::Dropped { reason }));
}

fn record(seq: u64, event: Event) -> Bytes {
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let text = serde_json::to_string(&Record { seq, at_ms, event }).expect("INVARIANT: an event has texts as keys, so it is JSON");
    sequence_text(&text)
}

/// A text of a JSON text sequence (RFC 7464 §2.1).
pub(super) fn sequence_text(json: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(json.len() + 2);
    bytes.push(RECORD_SEPARATOR);
    bytes.extend_from_slice(json.as_bytes());
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(bytes: &Bytes) -> Value {
        assert_eq!((bytes.first(), bytes.last()), (Some(&RECORD_SEPARATOR), Some(&b'\n')));
        serde_json::from_slice(&bytes[1..]).unwrap()
    }

    fn left(n: usize) -> Event {
        Event::Left { room: format!("ROOM{n}") }
    }

    fn hello() -> Event {
        Event::Hello { program: "test".into(), version: "1".into(), api: "1".into() }
    }

    #[tokio::test]
    async fn several_listeners_hear_the_same_in_order() {
        let events = Events::default();
        events.tell(left(0));
        let mut listeners: Vec<_> = (0..3).map(|_| events.listen(hello()).unwrap()).collect();
        events.tell(left(1));
        events.tell(left(2));
        for listener in &mut listeners {
            let first = read(&listener.recv().await.unwrap());
            assert_eq!((&first["event"], &first["seq"]), (&json!("hello"), &json!(1)));
            for (seq, room) in [(2, "ROOM1"), (3, "ROOM2")] {
                let record = read(&listener.recv().await.unwrap());
                assert_eq!((&record["event"], &record["room"], &record["seq"]), (&json!("left"), &json!(room), &json!(seq)));
            }
        }
        drop(listeners);
        tokio::task::yield_now().await;
        assert!(!events.is_heard());
    }

    #[tokio::test]
    async fn who_does_not_read_is_let_go_with_a_word_and_holds_nobody_up() {
        let events = Events::default();
        let (mut slow, mut quick) = (events.listen(hello()).unwrap(), events.listen(hello()).unwrap());
        for n in 0..3 * QUEUE_MAX {
            events.tell(left(n));
            tokio::task::yield_now().await;
            while let Ok(record) = quick.try_recv() {
                assert_ne!(read(&record)["event"], "dropped");
            }
        }
        let mut last = Value::Null;
        while let Some(record) = slow.recv().await {
            last = read(&record);
        }
        assert_eq!(last["event"], "dropped");
        assert!(events.is_heard(), "the quick one still listens");
    }

    #[tokio::test]
    async fn listeners_are_limited() {
        let events = Events::default();
        let held: Vec<_> = (0..LISTENERS_MAX).map(|_| events.listen(hello()).unwrap()).collect();
        assert!(events.listen(hello()).is_none());
        drop(held);
        tokio::task::yield_now().await;
        assert!(events.listen(hello()).is_some());
    }
}
