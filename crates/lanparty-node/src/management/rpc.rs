//! Calls: who may make them, who answers them, and what becomes of the answers.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tracing::info;

use super::api::{Access, Topic};
use super::ask::{Answer, Ask, LogLevelAsk, Written};
use super::envelope::{Body, Call, RpcError, progress, response};
use super::events::{Event, sequence_text};
use super::server::Desk;
use crate::logging::{log_filter, set_log_filter};

/// Texts that wait for one asker.
const TEXTS_MAX: usize = 64;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) access: Access,
    /// It takes a sequence of texts, and so hears how a long call goes on.
    pub(super) takes_texts: bool,
}

/// What is said to a body.
pub(super) enum Outcome {
    /// There were notifications alone.
    Nothing,
    Json(String),
    Texts(mpsc::Receiver<Bytes>),
}

/// What is answered: written down, or to be by another thread.
enum Reply {
    Now(Box<RawValue>),
    Later(Written<Box<RawValue>>),
}

type Result_ = Result<Reply, RpcError>;

/// Answers everything that a body asks, call by call.
pub(super) async fn answer(desk: Arc<Desk>, asker: Asker, body: &[u8]) -> Outcome {
    match Body::read(body) {
        Body::One(Err(error)) => Outcome::Json(response(&Value::Null, &Err(error))),
        Body::One(Ok(call)) if asker.takes_texts => told(desk, asker, call),
        Body::One(Ok(call)) => said(&desk, asker, call).await.map_or(Outcome::Nothing, Outcome::Json),
        Body::Batch(calls) => {
            let mut all = vec![];
            for call in calls {
                match call {
                    Err(error) => all.push(response(&Value::Null, &Err(error))),
                    Ok(call) => all.extend(said(&desk, asker, call).await),
                }
            }
            if all.is_empty() { Outcome::Nothing } else { Outcome::Json(format!("[{}]", all.join(","))) }
        }
    }
}

/// The answer to one call; nothing to a notification.
async fn said(desk: &Desk, asker: Asker, Call { method, params, id }: Call) -> Option<String> {
    let outcome = perform(desk, asker, &method, params, None).await;
    let id = id?;
    Some(written(outcome, move |outcome| response(&id, outcome)).await)
}

/// The answer to one call, behind what it says on its way there. Ends when nobody reads.
fn told(desk: Arc<Desk>, asker: Asker, Call { method, params, id }: Call) -> Outcome {
    let (sender, texts) = mpsc::channel(TEXTS_MAX);
    tokio::spawn(async move {
        let work = perform(&desk, asker, &method, params, Some(&sender));
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = sender.closed() => return,
        };
        if let Some(id) = id {
            let text = written(outcome, move |outcome| sequence_text(&response(&id, outcome))).await;
            let _ = sender.send(text).await;
        }
    });
    Outcome::Texts(texts)
}

/// What `write` makes of an outcome. A long answer is a text of megabytes, so it is made and written by another thread.
async fn written<T: Send + 'static>(
    outcome: Result_,
    write: impl FnOnce(&Result<Box<RawValue>, RpcError>) -> T + Clone + Send + 'static,
) -> T {
    match outcome {
        Ok(Reply::Now(result)) => write(&Ok(result)),
        Ok(Reply::Later(make)) => {
            let there = write.clone();
            tokio::task::spawn_blocking(move || there(&Ok(make()))).await.unwrap_or_else(|_| write(&Err(ended())))
        }
        Err(error) => write(&Err(error)),
    }
}

async fn perform(desk: &Desk, asker: Asker, method: &str, params: Option<Value>, way: Option<&mpsc::Sender<Bytes>>) -> Result_ {
    let topic = Topic::named(method).filter(|topic| desk.api.offers(*topic)).ok_or_else(|| RpcError::no_such_method(method))?;
    if topic.signature().access > asker.access {
        return Err(RpcError::not_the_owner(method));
    }
    let ask = topic.ask(params)?;
    match ask {
        _ if topic == Topic::Discover => now(&desk.api.document()),
        Ask::LogLevel => now(&Value::from(log_filter())),
        Ask::SetLogLevel(LogLevelAsk { level }) => set_log_level(desk, &level),
        Ask::Leave => {
            desk.leave();
            now(&Value::Null)
        }
        ask => asked(desk, ask, method, way).await,
    }
}

fn set_log_level(desk: &Desk, level: &str) -> Result_ {
    let filter = set_log_filter(level).map_err(|why| RpcError::invalid_params(&why))?;
    info!("what is logged was changed to {filter}");
    desk.events.tell(Event::LogLevel { filter: filter.clone() });
    now(&Value::from(filter))
}

/// What the program itself says.
async fn asked(desk: &Desk, ask: Ask, method: &str, way: Option<&mpsc::Sender<Bytes>>) -> Result_ {
    let mut answers = desk.ask(ask).await.ok_or_else(ended)?;
    while let Some(answer) = answers.recv().await {
        let value = match answer {
            Answer::Json(write) => return Ok(Reply::Later(write)),
            Answer::Value(value) => value,
            // For those who ask for metrics; no method does.
            Answer::Text(_) => break,
        };
        if value.get("error").is_some() {
            return Err(RpcError::refused(value));
        }
        if value.get("event").is_none_or(|event| event == "done") {
            return now(&value);
        }
        if let Some(way) = way {
            // One that reads too slowly holds up its own call alone.
            let _ = way.send(sequence_text(&progress(method, &value))).await;
        }
    }
    Err(ended())
}

fn ended() -> RpcError {
    RpcError::internal("the program ended before it had an answer")
}

fn now(value: &Value) -> Result_ {
    to_raw_value(value).map(Reply::Now).map_err(|e| RpcError::internal(&format!("the answer is no JSON: {e}")))
}
