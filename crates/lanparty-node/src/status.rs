//! The local status socket: every running program answers `lanparty status` on a UNIX socket of its own, and members
//! answer questions about their room on it.
//!
//! Who connects may send one line of JSON and close its writing side; without a line it gets the status. Answers are
//! lines of JSON (docs/wire-format.md §6). Only the owner of the program, or root, is heard.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use crate::local::{ANSWERS_SILENCE, LocalListener, LocalStream, is_owner, restrict};
use crate::runtime_dir;

/// Time for a program to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// More time for what a program has to ask others first: they have 1.5 s to answer it.
const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// More time between two answers of a ping: a size that vanishes is tried several times, a second each.
const TRIES_WAIT: Duration = Duration::from_secs(10);
/// More time between two answers of a bond's test: a load, a pause, and a path that returns.
const STEP_WAIT: Duration = Duration::from_secs(12);
/// Time for a request line. Who wants only the status may keep its writing side open, and waits this long.
const LINE_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest request line, in bytes: many times what any request needs.
const LINE_LEN_MAX: u64 = 4096;
/// Askers served at once. Others wait in the socket's own queue.
const ASKERS_MAX: usize = 8;
/// Answers waiting for one asker that does not read. One that reads so little is let go.
const ANSWERS_MAX: usize = 64;

/// What is asked of a running program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// How it is: one answer.
    #[default]
    Status,
    /// What is known of the room, for the doctor: one answer.
    Room,
    /// Send echo requests to a member of the room: an answer for each, and one at the end.
    Ping(PingAsk),
    /// Test the bond: an answer for every step, and one at the end.
    BondTest(BondTestAsk),
}

/// A test of a bond as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondTestAsk {
    /// Lines with a cap may be used.
    pub yes: bool,
}

/// A ping as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingAsk {
    /// A peer number, a MAC address, or `gateway`.
    pub member: String,
    /// Requests to send.
    pub count: u32,
    /// Time between two, in milliseconds.
    pub interval_ms: u64,
    /// Length of each frame, in bytes.
    pub size: usize,
    /// Find which sizes pass instead.
    pub sweep: bool,
}

impl Ask {
    /// Time for the first answer, and from one to the next.
    fn patience(&self) -> (Duration, Duration) {
        match self {
            Self::Status => (ANSWER_TIMEOUT, ANSWER_TIMEOUT),
            Self::Room => (ANSWER_TIMEOUT + OTHERS_WAIT, ANSWER_TIMEOUT),
            Self::BondTest(_) => (ANSWER_TIMEOUT + OTHERS_WAIT, ANSWER_TIMEOUT + STEP_WAIT),
            Self::Ping(ask) => (ANSWER_TIMEOUT, ANSWER_TIMEOUT + Duration::from_millis(ask.interval_ms) + TRIES_WAIT),
        }
    }
}

/// Somebody asks. Dropping it ends the answers.
#[derive(Debug)]
pub struct StatusRequest {
    ask: Ask,
    answers: Answers,
}

/// The way back to who asked.
#[derive(Clone, Debug)]
pub struct Answers(mpsc::Sender<Value>);

impl StatusRequest {
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

    /// The one answer.
    pub fn send(self, value: Value) {
        self.answers.give(value);
    }

    /// For a program that cannot answer this.
    pub fn refuse(self) {
        self.send(json!({ "error": "unknown-request", "message": "this program does not answer that" }));
    }
}

impl Answers {
    /// One more answer. Whether anybody still reads.
    #[must_use = "nobody may be reading any more"]
    pub fn offer(&self, value: Value) -> bool {
        self.0.try_send(value).is_ok()
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

/// The socket, removed when dropped. Without one, because it could not be made, nobody ever asks.
pub struct StatusSocket {
    open: Option<(PathBuf, mpsc::Receiver<StatusRequest>)>,
}

impl StatusSocket {
    /// Opens the socket of this process as `ROLE-PID.sock` in the runtime directory, or says why not and goes on.
    #[must_use]
    pub fn open(role: &str) -> Self {
        let open = listen(role).inspect_err(|e| warn!("no status socket, `lanparty status` will not see this {role}: {e}")).ok();
        Self { open }
    }

    /// Nobody asks: for a program inside a test.
    #[must_use]
    pub const fn silent() -> Self {
        Self { open: None }
    }

    /// The next request. Cancel-safe.
    pub async fn next(&mut self) -> StatusRequest {
        match &mut self.open {
            Some((_, requests)) => match requests.recv().await {
                Some(request) => request,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

fn listen(role: &str) -> io::Result<(PathBuf, mpsc::Receiver<StatusRequest>)> {
    let dir = runtime_dir();
    std::fs::create_dir_all(&dir)?;
    // Status names rooms and addresses: only the owner may ask.
    restrict(&dir)?;
    let path = dir.join(format!("{role}-{}.sock", std::process::id()));
    // A file of this name can only be from a dead process with our number.
    let _ = std::fs::remove_file(&path);
    let listener = LocalListener::bind(&path)?;
    let (sender, requests) = mpsc::channel(ASKERS_MAX);
    tokio::spawn(serve(listener, sender));
    Ok((path, requests))
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.open {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn serve(listener: LocalListener, requests: mpsc::Sender<StatusRequest>) {
    let seats = Arc::new(Semaphore::new(ASKERS_MAX));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { return };
        let requests = requests.clone();
        tokio::spawn(async move {
            // The asker may have gone; nobody else cares.
            let _ = converse(stream, requests).await;
            drop(seat);
        });
    }
}

/// One asker, from its line to the last answer.
async fn converse(stream: LocalStream, requests: mpsc::Sender<StatusRequest>) -> io::Result<()> {
    if !is_owner(&stream) {
        return Ok(());
    }
    let (reading, mut writing) = tokio::io::split(stream);
    let mut line = String::new();
    let mut reading = BufReader::new(reading.take(LINE_LEN_MAX));
    // No line in time means that the status is wanted.
    let _ = tokio::time::timeout(LINE_TIMEOUT, reading.read_line(&mut line)).await;
    if line.is_empty() && !ANSWERS_SILENCE {
        return Ok(());
    }
    let (sender, mut answers) = mpsc::channel(ANSWERS_MAX);
    let answer_to = Answers(sender);
    match parse_ask(&line) {
        Ok(ask) => drop(requests.send(StatusRequest { ask, answers: answer_to }).await),
        Err(e) => {
            answer_to.give(json!({ "error": "unknown-request", "message": e }));
            drop(answer_to);
        }
    }
    while let Some(value) = answers.recv().await {
        writing.write_all(format!("{value}\n").as_bytes()).await?;
    }
    writing.shutdown().await
}

fn parse_ask(line: &str) -> Result<Ask, String> {
    if line.trim().is_empty() {
        return Ok(Ask::Status);
    }
    serde_json::from_str(line).map_err(|e| format!("the request is not understood: {e}"))
}

/// Asks every program that runs on this machine. Sockets that nobody answers on are removed.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub async fn query_all() -> io::Result<Vec<Value>> {
    let mut answers = vec![];
    for path in sockets()? {
        match tokio::time::timeout(ANSWER_TIMEOUT, query(&path)).await {
            Ok(Ok(value)) => answers.push(value),
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => drop(std::fs::remove_file(&path)),
            Ok(Err(e)) => answers.push(serde_json::json!({ "socket": path, "error": e.to_string() })),
            Err(_) => answers.push(serde_json::json!({ "socket": path, "error": "no answer" })),
        }
    }
    Ok(answers)
}

/// The sockets of all programs on this machine, dead ones among them.
fn sockets() -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(runtime_dir()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(e),
    };
    let mut paths: Vec<_> =
        entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.extension().is_some_and(|e| e == "sock")).collect();
    paths.sort();
    Ok(paths)
}

async fn query(path: &Path) -> io::Result<Value> {
    let mut text = String::new();
    let mut stream = LocalStream::connect(path).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await?;
    stream.read_to_string(&mut text).await?;
    parse(&text)
}

fn parse(text: &str) -> io::Result<Value> {
    serde_json::from_str(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// A conversation with one running program, which may have stopped: no wait is without end.
pub struct Conversation {
    lines: tokio::io::Lines<BufReader<LocalStream>>,
    patience: Duration,
    later_patience: Duration,
}

impl Conversation {
    /// Asks the program at `path`.
    ///
    /// # Errors
    /// When nobody listens there, or takes the question in time.
    pub async fn open(path: &Path, ask: &Ask) -> io::Result<Self> {
        let line = serde_json::to_string(ask).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let asking = async {
            let mut stream = LocalStream::connect(path).await?;
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            stream.shutdown().await?;
            Ok(stream)
        };
        let stream = in_time(ANSWER_TIMEOUT, asking).await?;
        let (patience, later_patience) = ask.patience();
        Ok(Self { lines: BufReader::new(stream).lines(), patience, later_patience })
    }

    /// The next answer; nothing after the last. Cancel-safe.
    ///
    /// # Errors
    /// When the program went away amid an answer, or gives none in time ([`io::ErrorKind::TimedOut`]).
    pub async fn next(&mut self) -> io::Result<Option<Value>> {
        let line = in_time(self.patience, self.lines.next_line()).await?;
        self.patience = self.later_patience;
        line.as_deref().map(parse).transpose()
    }
}

async fn in_time<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, what).await.map_err(late)?
}

/// The program of a socket in words, by the name that [`StatusSocket::open`] gives it.
#[must_use]
pub fn program_at(socket: &Path) -> String {
    let name = socket.file_stem().unwrap_or_default().to_string_lossy();
    match name.rsplit_once('-') {
        Some((role, process)) => format!("the {role} with process number {process}"),
        None => format!("the program at {}", socket.display()),
    }
}

/// The sockets of the clients and gateways on this machine, clients first.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub fn member_sockets() -> io::Result<Vec<PathBuf>> {
    let of = |path: &PathBuf, role: &str| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(role));
    let all = sockets()?;
    let clients = all.iter().filter(|p| of(p, "client-"));
    Ok(clients.chain(all.iter().filter(|p| of(p, "gateway-"))).cloned().collect())
}

/// The sockets of the cables on this machine.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub fn cable_sockets() -> io::Result<Vec<PathBuf>> {
    let is_cable = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cable-"));
    Ok(sockets()?.into_iter().filter(is_cable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program at `path` that says which question it heard, twice.
    fn program(path: &Path) {
        let listener = LocalListener::bind(path).unwrap();
        let (sender, mut requests) = mpsc::channel(ASKERS_MAX);
        tokio::spawn(serve(listener, sender));
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                let answers = request.answers();
                answers.give(json!(request.ask()));
                if *request.ask() != Ask::Status {
                    answers.give(json!("more"));
                }
            }
        });
    }

    fn ping() -> Ask {
        Ask::Ping(PingAsk { member: "2".into(), count: 1, interval_ms: 5, size: 60, sweep: false })
    }

    #[tokio::test]
    async fn a_line_is_a_question_and_no_line_asks_for_the_status() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client-1.sock");
        program(&path);
        assert_eq!(query(&path).await.unwrap(), json!({ "ask": "status" }));
        // Who keeps its writing side open waits a moment longer.
        let mut text = String::new();
        LocalStream::connect(&path).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "{\"ask\":\"status\"}\n");
        let mut talk = Conversation::open(&path, &ping()).await.unwrap();
        assert_eq!(talk.next().await.unwrap(), Some(json!(ping())));
        assert_eq!(talk.next().await.unwrap(), Some(json!("more")));
        assert_eq!(talk.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_question_is_said_and_a_line_without_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client-1.sock");
        program(&path);
        for line in [b"{\"ask\":\"sing\"}\n".to_vec(), b"nonsense\n".to_vec(), vec![b'['; 3 * LINE_LEN_MAX as usize]] {
            let mut stream = LocalStream::connect(&path).await.unwrap();
            stream.write_all(&line).await.unwrap();
            // What was not read of the line ends the connection with an error, behind the answer.
            let mut answer = vec![];
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.contains("unknown-request"), "{answer}");
        }
    }

    #[tokio::test]
    async fn askers_beyond_the_limit_wait_and_are_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client-1.sock");
        program(&path);
        let silent: Vec<_> = (0..3 * ASKERS_MAX).map(|_| LocalStream::connect(&path)).collect();
        let _held = futures_in_order(silent).await;
        assert_eq!(query(&path).await.unwrap(), json!({ "ask": "status" }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_has_stopped_is_waited_for_no_longer_than_its_answer_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client-1.sock");
        let _stopped = LocalListener::bind(&path).unwrap();
        for (ask, patience) in [(Ask::Status, 2), (Ask::Room, 4), (ping(), 2)] {
            let asked = tokio::time::Instant::now();
            let mut talk = Conversation::open(&path, &ask).await.unwrap();
            assert_eq!(talk.next().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(asked.elapsed().as_secs(), patience, "{ask:?}");
        }
        assert_eq!(program_at(&path), "the client with process number 1");
    }

    async fn futures_in_order<T>(all: Vec<impl Future<Output = io::Result<T>>>) -> Vec<T> {
        let mut done = vec![];
        for one in all {
            done.push(one.await.unwrap());
        }
        done
    }
}
