//! Asking the programs that run on this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::ask::Ask;
use super::events::RECORD_SEPARATOR;
use super::http::JSON_SEQUENCE;
use crate::local::{self, EXTENSION};
use crate::{runtime_dir, system_runtime_dirs};

/// Time for a program to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// More time for what a program has to ask others first: they have 1.5 s to answer it.
const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// More time between two answers of a ping: a size that vanishes is tried several times, a second each.
const TRIES_WAIT: Duration = Duration::from_secs(10);
/// More time between two answers of a bond's test: a load, a pause, and a path that returns.
const STEP_WAIT: Duration = Duration::from_secs(12);
/// Longest text of a sequence, in bytes: a relay's status with all the members that it may have.
const TEXT_LEN_MAX: usize = 256 << 20;

impl Ask {
    /// Time for the first answer, and from one to the next.
    const fn patience(&self) -> (Duration, Duration) {
        match self {
            Self::ExamineRoom => (ANSWER_TIMEOUT.saturating_add(OTHERS_WAIT), ANSWER_TIMEOUT),
            Self::TestBond(_) => (ANSWER_TIMEOUT.saturating_add(OTHERS_WAIT), ANSWER_TIMEOUT.saturating_add(STEP_WAIT)),
            Self::Ping(ask) => {
                let later = ANSWER_TIMEOUT.saturating_add(Duration::from_millis(ask.interval_ms)).saturating_add(TRIES_WAIT);
                (ANSWER_TIMEOUT, later)
            }
            _ => (ANSWER_TIMEOUT, ANSWER_TIMEOUT),
        }
    }
}

/// A conversation with one running program, which may have stopped: no wait is without end.
pub struct Conversation {
    texts: Texts,
    patience: Duration,
    later_patience: Duration,
    is_over: bool,
}

impl Conversation {
    /// Asks the program at `path`.
    ///
    /// # Errors
    /// When nobody listens there, or takes the question in time.
    pub async fn open(path: &Path, ask: &Ask) -> io::Result<Self> {
        let mut call = serde_json::to_value(ask)?;
        call["jsonrpc"] = json!("2.0");
        call["id"] = json!(1);
        let (patience, later_patience) = ask.patience();
        let response = in_time(patience, send(path, Method::POST, "/v1", JSON_SEQUENCE, call.to_string())).await?;
        Ok(Self { texts: Texts::of(response).await?, patience, later_patience, is_over: false })
    }

    /// The next answer; nothing after the last. A program that refuses says so in its `error` and `message`. Cancel-safe.
    ///
    /// # Errors
    /// When the program went away amid an answer, or gives none in time ([`io::ErrorKind::TimedOut`]).
    pub async fn next(&mut self) -> io::Result<Option<Value>> {
        if self.is_over {
            return Ok(None);
        }
        let text = in_time(self.patience, self.texts.next()).await?;
        self.patience = self.later_patience;
        let Some(mut text) = text else { return Ok(None) };
        if text.get("method").is_some() {
            return Ok(Some(text["params"].take()));
        }
        self.is_over = true;
        Ok(Some(if text.get("error").is_some() { refusal(text["error"].take()) } else { text["result"].take() }))
    }
}

/// An error in the program's own words, where they are its own.
fn refusal(mut error: Value) -> Value {
    if error["data"].is_object() {
        return error["data"].take();
    }
    let name = match error["code"].as_i64() {
        Some(-32601) => "unknown-request",
        Some(-32001) => "not-the-owner",
        _ => "failed",
    };
    json!({ "error": name, "message": error["message"] })
}

/// Calls a method by name, and gives the whole response.
///
/// # Errors
/// As [`Conversation::open`].
pub async fn call(path: &Path, method: &str, params: Option<&Value>) -> io::Result<Value> {
    let mut call = json!({ "jsonrpc": "2.0", "id": 1, "method": method });
    if let Some(params) = params {
        call["params"] = params.clone();
    }
    let response = in_time(ANSWER_TIMEOUT, send(path, Method::POST, "/v1", "application/json", call.to_string())).await?;
    // A ping or a test takes as long as it takes.
    Texts::of(response).await?.next().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// What happens in a program, as it happens.
///
/// # Errors
/// As [`Conversation::open`]; also when too many listen already.
pub async fn listen(path: &Path) -> io::Result<Texts> {
    let response = in_time(ANSWER_TIMEOUT, send(path, Method::GET, "/v1/events", JSON_SEQUENCE, String::new())).await?;
    Texts::of(response).await
}

/// JSON texts, one after the other.
pub struct Texts {
    body: Incoming,
    /// What came behind the last whole text,
    rest: Vec<u8>,
    /// and so much of it has no end of one.
    searched: usize,
    is_sequence: bool,
}

impl Texts {
    async fn of(response: Response<Incoming>) -> io::Result<Self> {
        let status = response.status();
        let is_sequence = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == JSON_SEQUENCE);
        let mut body = response.into_body();
        if status != StatusCode::OK {
            let said = next_chunk(&mut body).await?.unwrap_or_default();
            return Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&said).trim())));
        }
        Ok(Self { body, rest: vec![], searched: 0, is_sequence })
    }

    /// The next text; nothing after the last. Cancel-safe.
    ///
    /// # Errors
    /// When the program went away amid a text, or it is none.
    pub async fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(end) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n').filter(|_| self.is_sequence) {
                let text: Vec<u8> = self.rest.drain(..=self.searched + end).collect();
                self.searched = 0;
                let text = text.strip_prefix(&[RECORD_SEPARATOR]).unwrap_or(&text);
                return Ok(Some(serde_json::from_slice(text)?));
            }
            self.searched = self.rest.len();
            match next_chunk(&mut self.body).await? {
                Some(chunk) if self.rest.len() + chunk.len() <= TEXT_LEN_MAX => self.rest.extend_from_slice(&chunk),
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end")),
                None if self.rest.is_empty() => return Ok(None),
                None if self.is_sequence => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(Some(serde_json::from_slice(&std::mem::take(&mut self.rest))?)),
            }
        }
    }
}

/// Cancel-safe, as the body is.
async fn next_chunk(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn send(path: &Path, method: Method, uri: &str, accept: &str, body: String) -> io::Result<Response<Incoming>> {
    let (stream, authorization) = local::connect(path).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the conversation; what goes wrong there is heard by who reads the answer.
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(uri).header(HOST, "localhost").header(ACCEPT, accept);
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

/// Asks every program that runs on this machine. Sockets that nobody answers on are removed.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub async fn query_all() -> io::Result<Vec<Value>> {
    let mut answers = vec![];
    for path in sockets()? {
        match query(&path).await {
            Ok(value) => answers.push(value),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => drop(std::fs::remove_file(&path)),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                answers.push(json!({ "socket": path, "error": "no answer", "because": "no-answer" }));
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                answers.push(json!({ "socket": path, "error": e.to_string(), "because": "not-permitted" }));
            }
            Err(e) => answers.push(json!({ "socket": path, "error": e.to_string() })),
        }
    }
    Ok(answers)
}

async fn query(path: &Path) -> io::Result<Value> {
    let answer = Conversation::open(path, &Ask::Status).await?.next().await?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The sockets of all programs on this machine, dead ones among them: this user's own, and those of the system's that it may see.
///
/// # Errors
/// When the user's own runtime directory exists and cannot be read.
pub fn sockets() -> io::Result<Vec<PathBuf>> {
    let mut paths = sockets_in(&runtime_dir())?;
    for system in system_runtime_dirs() {
        // One that may not look there has nothing to see.
        paths.extend(sockets_in(&system).unwrap_or_default());
    }
    paths.sort();
    Ok(paths)
}

fn sockets_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(e),
    };
    Ok(entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.extension().is_some_and(|e| e == EXTENSION)).collect())
}

async fn in_time<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, what).await.map_err(late)?
}

/// The program of a socket in words, by the name that [`super::Management::open`] gives it.
#[must_use]
pub fn program_at(socket: &Path) -> String {
    let name = socket.file_stem().unwrap_or_default().to_string_lossy();
    match name.split_once('-') {
        Some((role, name)) => format!("the {role} {name}"),
        None => format!("the {name}"),
    }
}

/// The sockets of the clients and gateways on this machine, clients first.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub fn member_sockets() -> io::Result<Vec<PathBuf>> {
    let all = sockets()?;
    let clients = all.iter().filter(|path| is_of(path, "client-"));
    Ok(clients.chain(all.iter().filter(|path| is_of(path, "gateway-"))).cloned().collect())
}

/// The sockets of the cables on this machine.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub fn cable_sockets() -> io::Result<Vec<PathBuf>> {
    Ok(sockets()?.into_iter().filter(|path| is_of(path, "cable-")).collect())
}

fn is_of(path: &Path, role: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(role))
}
