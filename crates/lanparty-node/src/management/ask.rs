//! What is asked of a running program, and the way back to who asks.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::info;

use super::events::{Event, Events};
use crate::{NotChanged, UplinkChange};

/// Answers waiting for one asker that does not read. One that reads so little is let go.
const ANSWERS_MAX: usize = 64;

/// What is asked of a running program. As JSON it is the method and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
pub enum Ask {
    /// How it is.
    #[default]
    Status,
    /// Who is in its room, or in the rooms of a relay.
    Members(MembersAsk),
    /// By which ways it reaches the others.
    Paths,
    /// What became of every frame.
    Counters,
    /// The rooms of a relay.
    Rooms,
    /// What its traffic filter decided.
    Filters,
    /// Its addresses, and where each came from.
    Addresses,
    /// Networks that it reaches through members.
    Routes,
    /// Reach one more.
    AddRoute(RouteAsk),
    /// Reach one less.
    RemoveRoute(RouteAsk),
    /// What is known of the room, for the doctor.
    ExamineRoom,
    /// Send echo requests to a member of the room: an answer for each, and one at the end.
    Ping(PingAsk),
    /// Test the bond: an answer for every step, and one at the end.
    TestBond(BondTestAsk),
    /// Use one more uplink.
    AddUplink(AddUplinkAsk),
    /// Use an uplink no more.
    RemoveUplink(RemoveUplinkAsk),
    /// What is logged.
    LogLevel,
    /// Log this from now on.
    SetLogLevel(LogLevelAsk),
    /// End.
    Leave,
    /// Numbers for a graph, in Prometheus' words. No method: it has an address of its own.
    #[serde(skip)]
    Metrics,
}

/// Which members are asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembersAsk {
    /// Those of this room only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
}

/// A route as it is asked for, or named to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteAsk {
    /// The network, as 192.168.50.0/24; `default` is all of IPv4.
    pub network: String,
    /// The member that leads there: its MAC address or peer number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "via")]
    #[schemars(with = "Option<MemberName>")]
    pub via: Option<String>,
}

/// A test of a bond as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BondTestAsk {
    /// Lines with a cap may be used.
    #[serde(default)]
    pub yes: bool,
}

/// An uplink that shall be used as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUplinkAsk {
    /// Its interface, and what else `--uplink` takes: `lte0,role=backup,cap=50GB/month`.
    pub uplink: String,
}

/// An uplink that shall not be used any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveUplinkAsk {
    /// Its interface.
    pub interface: String,
}

/// What shall be logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelAsk {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`; or directives as in `LANPARTY_LOG`.
    pub level: String,
}

/// A ping as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PingAsk {
    /// A peer number, a MAC address, or `gateway`.
    #[serde(deserialize_with = "member")]
    #[schemars(with = "MemberName")]
    pub member: String,
    /// Requests to send, 1 to 3600.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 3600))]
    pub count: u32,
    /// Time between two, in milliseconds: 10 to 60000.
    #[serde(default = "one_second")]
    #[schemars(range(min = 10, max = 60_000))]
    pub interval_ms: u64,
    /// Length of each frame, in bytes: 60 to 1514.
    #[serde(default = "usual_size")]
    #[schemars(range(min = 60, max = 1514))]
    pub size: usize,
    /// Find which sizes pass instead.
    #[serde(default)]
    pub sweep: bool,
}

/// A member as scripts name it: where other answers have its number, they have no quotes around it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum MemberName {
    Number(u16),
    Text(String),
}

fn member<'de, D: Deserializer<'de>>(params: D) -> Result<String, D::Error> {
    named(params, "a peer number, a MAC address, or `gateway` stands here")
}

fn via<'de, D: Deserializer<'de>>(params: D) -> Result<Option<String>, D::Error> {
    named(params, "a peer number or a MAC address stands here").map(Some)
}

fn named<'de, D: Deserializer<'de>>(params: D, otherwise: &str) -> Result<String, D::Error> {
    match MemberName::deserialize(params) {
        Ok(MemberName::Number(number)) => Ok(number.to_string()),
        Ok(MemberName::Text(text)) => Ok(text),
        Err(_) => Err(D::Error::custom(otherwise)),
    }
}

const fn four() -> u32 {
    4
}

const fn one_second() -> u64 {
    1000
}

const fn usual_size() -> usize {
    98
}

impl PingAsk {
    /// Whether every number is within its bounds; else which is not.
    pub(super) fn check(self) -> Result<Self, String> {
        let within = |name: &str, value: u64, first: u64, last: u64| {
            (first..=last).contains(&value).then_some(()).ok_or_else(|| format!("`{name}` is {value}, and not between {first} and {last}"))
        };
        within("count", self.count.into(), 1, 3600)?;
        within("interval_ms", self.interval_ms, 10, 60_000)?;
        within("size", self.size as u64, 60, 1514)?;
        Ok(self)
    }
}

/// One answer.
pub(super) enum Answer {
    Value(Value),
    /// Written down by another thread: many members make a long text, and frames do not wait for that.
    Json(Written<Box<RawValue>>),
    /// Likewise, and no JSON.
    Text(Written<String>),
}

/// What is written when it is called.
pub(super) type Written<T> = Box<dyn FnOnce() -> T + Send>;

/// Somebody asks. Dropping it ends the answers.
pub struct Request {
    ask: Ask,
    answers: Answers,
}

/// The way back to who asked.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<Answer>);

impl Request {
    pub(super) fn new(ask: Ask) -> (Self, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
        (Self { ask, answers: Answers(sender) }, receiver)
    }

    /// What is asked.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The way back, for answers that take time.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.answers.clone()
    }

    /// The one answer, put into JSON by another thread.
    pub fn send(self, answer: impl Serialize + Send + 'static) {
        self.send_made(move || answer);
    }

    /// The one answer, made and put into JSON by another thread.
    pub fn send_made<T: Serialize>(self, make: impl FnOnce() -> T + Send + 'static) {
        let write = move || to_raw_value(&make()).expect("INVARIANT: a report has texts as keys, so it is JSON");
        // Who has gone misses nothing.
        let _ = self.answers.0.try_send(Answer::Json(Box::new(write)));
    }

    /// The one answer as a text that another thread writes.
    pub fn send_text(self, write: impl FnOnce() -> String + Send + 'static) {
        let _ = self.answers.0.try_send(Answer::Text(Box::new(write)));
    }

    /// The change of an uplink that is asked for.
    ///
    /// # Errors
    /// When the uplink is none.
    pub fn uplink_change(&self) -> Result<UplinkChange, NotChanged> {
        match &self.ask {
            Ask::AddUplink(ask) => ask.uplink.parse().map(UplinkChange::Add).map_err(|why| NotChanged::new("unusable-uplink", why)),
            Ask::RemoveUplink(ask) => Ok(UplinkChange::Remove(ask.interface.clone())),
            _ => Err(NotChanged::new("unknown-request", "this changes no uplink")),
        }
    }

    /// The answer to who wanted to change an uplink; what was changed, others hear as well.
    pub fn say_changed(self, changed: Result<UplinkChange, NotChanged>, events: &Events) {
        match changed {
            Ok(change) => {
                let (name, is_added) = (change.name().to_owned(), matches!(change, UplinkChange::Add(_)));
                info!("uplink {name} was {} through the management", if is_added { "added" } else { "removed" });
                events.tell(Event::Uplink { name, is_added });
                self.send(());
            }
            Err(NotChanged { error, message }) => self.refuse_with(error, &message),
        }
    }

    /// For a program that cannot answer this.
    pub fn refuse(self) {
        self.refuse_with("unknown-request", "this program does not answer that");
    }

    /// For a program that does not want to: a name for why, and words.
    pub fn refuse_with(self, error: &str, message: &str) {
        self.answers.give(json!({ "error": error, "message": message }));
    }
}

impl Answers {
    /// One more answer. Whether anybody still reads.
    #[must_use = "nobody may be reading any more"]
    pub fn offer(&self, value: Value) -> bool {
        self.0.try_send(Answer::Value(value)).is_ok()
    }

    /// One more answer; who has gone misses nothing.
    pub fn give(&self, value: Value) {
        let _ = self.offer(value);
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
