//! The local status socket: every running program answers `lanparty status` on a UNIX socket of its own.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::runtime_dir;

/// Somebody asks for the program's status: answer into this.
pub type StatusRequest = oneshot::Sender<Value>;
/// Time for a program to answer.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// Requests waiting at once.
const REQUESTS_MAX: usize = 8;

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
    restrict(&dir)?;
    let path = dir.join(format!("{role}-{}.sock", std::process::id()));
    // A file of this name can only be from a dead process with our number.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
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

/// Status names rooms and addresses: only the owner may ask.
fn restrict(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
}

async fn serve(listener: UnixListener, requests: mpsc::Sender<StatusRequest>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, wait) = oneshot::channel();
        if requests.send(answer).await.is_err() {
            return;
        }
        tokio::spawn(async move {
            if let Ok(value) = wait.await {
                // The asker may have gone; nobody else cares.
                let _ = write_answer(stream, &value).await;
            }
        });
    }
}

async fn write_answer(mut stream: UnixStream, value: &Value) -> io::Result<()> {
    stream.write_all(value.to_string().as_bytes()).await?;
    stream.shutdown().await
}

/// Asks every program that runs on this machine. Sockets that nobody answers on are removed.
///
/// # Errors
/// When the runtime directory exists and cannot be read.
pub async fn query_all() -> io::Result<Vec<Value>> {
    let mut answers = vec![];
    let entries = match std::fs::read_dir(runtime_dir()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(answers),
        Err(e) => return Err(e),
    };
    let mut paths: Vec<_> =
        entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.extension().is_some_and(|e| e == "sock")).collect();
    paths.sort();
    for path in paths {
        match tokio::time::timeout(ANSWER_TIMEOUT, query(&path)).await {
            Ok(Ok(value)) => answers.push(value),
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => drop(std::fs::remove_file(&path)),
            Ok(Err(e)) => answers.push(serde_json::json!({ "socket": path, "error": e.to_string() })),
            Err(_) => answers.push(serde_json::json!({ "socket": path, "error": "no answer" })),
        }
    }
    Ok(answers)
}

async fn query(path: &Path) -> io::Result<Value> {
    let mut text = String::new();
    UnixStream::connect(path).await?.read_to_string(&mut text).await?;
    serde_json::from_str(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
