//! Calls: who may make them, who answers them, and what becomes of the answers.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::info;

use super::api::{Access, Topic};
use super::ask::{Answer, Ask, LogLevelAsk};
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

type Result_ = Result<Box<RawValue>, RpcError>;

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
    id.map(|id| response(&id, &outcome))
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
            let _ = sender.send(sequence_text(&response(&id, &outcome))).await;
        }
    });
    Outcome::Texts(texts)
}

async fn perform(desk: &Desk, asker: Asker, method: &str, params: Option<Value>, way: Option<&mpsc::Sender<Bytes>>) -> Result_ {
    let topic = Topic::named(method).filter(|topic| desk.api.offers(*topic)).ok_or_else(|| RpcError::no_such_method(method))?;
    if topic.signature().access > asker.access {
        return Err(RpcError::not_the_owner(method));
    }
    let ask = topic.ask(params)?;
    match ask {
        _ if topic == Topic::Discover => raw(desk.api.document().to_string()),
        Ask::LogLevel => raw(Value::from(log_filter()).to_string()),
        Ask::SetLogLevel(LogLevelAsk { level }) => set_log_level(desk, &level),
        Ask::Leave => {
            desk.leave();
            raw(Value::Null.to_string())
        }
        ask => asked(desk, ask, method, way).await,
    }
}

fn set_log_level(desk: &Desk, level: &str) -> Result_ {
    let filter = set_log_filter(level).map_err(|why| RpcError::invalid_params(&why))?;
    info!("what is logged was changed to {filter}");
    desk.events.tell(Event::LogLevel { filter: filter.clone() });
    raw(Value::from(filter).to_string())
}

/// What the program itself says.
async fn asked(desk: &Desk, ask: Ask, method: &str, way: Option<&mpsc::Sender<Bytes>>) -> Result_ {
    let ended = || RpcError::internal("the program ended before it had an answer");
    let mut answers = desk.ask(ask).await.ok_or_else(ended)?;
    while let Some(answer) = answers.recv().await {
        let value = match answer {
            Answer::Text(write) => return raw(tokio::task::spawn_blocking(write).await.map_err(|_| ended())?),
            Answer::Value(value) => value,
        };
        if value.get("error").is_some() {
            return Err(RpcError::refused(value));
        }
        if value.get("event").is_none_or(|event| event == "done") {
            return raw(value.to_string());
        }
        if let Some(way) = way {
            // One that reads too slowly holds up its own call alone.
            let _ = way.send(sequence_text(&progress(method, &value))).await;
        }
    }
    Err(ended())
}

fn raw(json: String) -> Result_ {
    RawValue::from_string(json).map_err(|e| RpcError::internal(&format!("the answer is no JSON: {e}")))
}
