//! The server in a running program: opens the socket, lets askers in, and passes on what the program itself must answer.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};

use super::api::{API_VERSION, Api};
use super::ask::{Answer, Ask, Request};
use super::events::{Event, Events, LISTENERS_MAX};
use super::patient::Patient;
use super::{ManagementFlags, http, scrape};
use crate::local::{self, EXTENSION, LocalListener, make_dir};
use crate::{Fault, request_shutdown, runtime_dir};

/// Connections at once, with room for those that listen to events. Others wait in the socket's own queue.
pub(super) const CONNECTIONS_MAX: usize = 16 + LISTENERS_MAX;
/// Questions that wait for the program.
const QUESTIONS_MAX: usize = 16;
/// Time for the head of a request, also for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after an error of a listening socket, which may last: too many open files, for example.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Time for an asker to take what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Who told the program to end has so long to read that it will.
const LEAVE_AT_LATEST: Duration = Duration::from_secs(1);
const LEAVE_REASON: &str = "it was told to leave";
/// Longest name of a program, so that its socket's path stays short (unix(7): 108 bytes in all).
pub(super) const NAME_LEN_MAX: usize = 32;

/// What every asker is answered from.
pub(super) struct Desk {
    pub(super) api: Api,
    pub(super) events: Events,
    questions: mpsc::Sender<Request>,
    is_leaving: AtomicBool,
}

impl Desk {
    pub(super) const fn new(api: Api, events: Events, questions: mpsc::Sender<Request>) -> Self {
        Self { api, events, questions, is_leaving: AtomicBool::new(false) }
    }

    /// Asks the program. Nothing when it is ending.
    pub(super) async fn ask(&self, ask: Ask) -> Option<mpsc::Receiver<Answer>> {
        let (request, answers) = Request::new(ask);
        self.questions.send(request).await.ok()?;
        Some(answers)
    }

    /// Ends the program, when who asked for that has heard that it will.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        tokio::spawn(async {
            tokio::time::sleep(LEAVE_AT_LATEST).await;
            request_shutdown(LEAVE_REASON);
        });
    }

    /// Whether it was told to end.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    pub(super) fn listen(&self) -> Option<mpsc::Receiver<Bytes>> {
        let (program, version) = (self.api.program().to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        self.events.listen(Event::Hello { program, version, api: API_VERSION.to_owned() })
    }

    /// The program's numbers as text. Nothing when it is ending.
    pub(super) async fn metrics(&self) -> Option<String> {
        match self.ask(Ask::Metrics).await?.recv().await? {
            Answer::Text(write) => tokio::task::spawn_blocking(write).await.ok(),
            Answer::Value(_) | Answer::Json(_) => None,
        }
    }
}

/// The management of this program. Its socket is removed when it is dropped.
pub struct Management {
    socket: Option<PathBuf>,
    questions: Option<mpsc::Receiver<Request>>,
}

impl Management {
    /// Opens the socket of a program of that role as `ROLE-NAME.sock` in the runtime directory, or says why not and goes on. Its name is what
    /// the flags say, else `usual`; when another program that runs has that one, the process number is added.
    ///
    /// # Errors
    /// When the port that `--metrics` names is not free.
    pub fn open(role: &str, usual: &str, flags: &ManagementFlags, api: Api, events: &Events) -> Result<Self, Fault> {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let desk = Arc::new(Desk::new(api, events.clone(), questions));
        if let Some(at) = flags.metrics {
            let listener = scrape::bind(at)?;
            info!("metrics on http://{at}/metrics");
            tokio::spawn(scrape::serve(listener, Arc::clone(&desk)));
        }
        let name = flags.name.as_deref().unwrap_or(usual);
        let socket = listen(role, name, flags.management_group.as_deref())
            .map(|(listener, path)| {
                info!(socket = %path.display(), "management");
                tokio::spawn(serve(listener, desk));
                path
            })
            .inspect_err(|e| warn!("no management socket, `lanparty status` will not see this {role}: {e}"))
            .ok();
        Ok(Self { socket, questions: Some(asked) })
    }

    /// Nobody asks: for a program inside a test.
    #[must_use]
    pub const fn silent() -> Self {
        Self { socket: None, questions: None }
    }

    /// The next question. Cancel-safe.
    pub async fn next(&mut self) -> Request {
        if let Some(questions) = &mut self.questions
            && let Some(request) = questions.recv().await
        {
            return request;
        }
        std::future::pending().await
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn listen(role: &str, name: &str, group: Option<&str>) -> io::Result<(LocalListener, PathBuf)> {
    let dir = runtime_dir();
    make_dir(&dir)?;
    let at = |name: &str| dir.join(format!("{}.{EXTENSION}", stem(role, name)));
    let path = at(name);
    match bind(&path, group) {
        Ok(listener) => Ok((listener, path)),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let process = std::process::id().to_string();
            let path = at(&if name.is_empty() { process } else { format!("{name}-{process}") });
            Ok((bind(&path, group)?, path))
        }
        Err(e) => Err(e),
    }
}

/// A relay has no interface that would be its usual name.
fn stem(role: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(NAME_LEN_MAX).collect();
    if name.is_empty() { role.to_owned() } else { format!("{role}-{name}") }
}

/// In the place of a program that is gone.
fn bind(path: &Path, group: Option<&str>) -> io::Result<LocalListener> {
    match LocalListener::bind(path, group) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && !local::is_answered(path) => {
            std::fs::remove_file(path)?;
            LocalListener::bind(path, group)
        }
        outcome => outcome,
    }
}

pub(super) async fn serve(listener: LocalListener, desk: Arc<Desk>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(e) => {
                warn!("management: {e}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let (guard, desk) = (listener.access(&stream), Arc::clone(&desk));
        tokio::spawn(async move {
            converse(stream, service_fn(|request| http::answer(request, Arc::clone(&desk), guard.clone()))).await;
            if desk.is_leaving() {
                request_shutdown(LEAVE_REASON);
            }
            drop(seat);
        });
    }
}

/// One connection, from its first request to its end.
pub(super) async fn converse<S>(stream: impl AsyncRead + AsyncWrite + Unpin, service: S)
where
    S: HttpService<Incoming, ResBody = http::Answer, Error = Infallible>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let stream = TokioIo::new(Patient::new(stream, WRITE_TIMEOUT));
    if let Err(e) = http.serve_connection(stream, service).await {
        debug!("management connection: {e}");
    }
}
