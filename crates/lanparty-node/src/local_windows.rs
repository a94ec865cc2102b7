//! Sockets that only this machine's programs reach: named pipes.
//!
//! A pipe has no place in a directory, so a file of the socket's name stands for it there: whoever lists the programs finds it as on
//! other systems.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;

/// Everybody on this machine may read from a pipe, its owner and administrators also write: who sends no line has not shown who it is.
pub(crate) const ANSWERS_SILENCE: bool = false;
/// ERROR_PIPE_BUSY: between one asker and the next there may be no free end for a moment.
const PIPE_BUSY: i32 = 231;
/// ERROR_BROKEN_PIPE and ERROR_PIPE_NOT_CONNECTED: the other end has said all.
const PIPE_ENDED: [i32; 2] = [109, 233];
/// Pause before a busy pipe is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

fn pipe_name(path: &Path) -> String {
    format!(r"\\.\pipe\lanparty-{}", path.file_stem().unwrap_or_default().to_string_lossy())
}

/// The directory belongs to the user, as its parents do.
pub(crate) const fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Who can write to the pipe may ask.
pub(crate) const fn is_owner(_: &LocalStream) -> bool {
    true
}

/// Waits for programs of this machine.
pub(crate) struct LocalListener {
    name: String,
    next: Mutex<NamedPipeServer>,
}

impl LocalListener {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let name = pipe_name(path);
        let next = Mutex::new(ServerOptions::new().first_pipe_instance(true).create(&name)?);
        std::fs::write(path, "")?;
        Ok(Self { name, next })
    }

    pub(crate) async fn accept(&self) -> io::Result<(LocalStream, ())> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let connected = std::mem::replace(&mut *next, ServerOptions::new().create(&self.name)?);
        Ok((LocalStream::Server(connected), ()))
    }
}

/// One conversation.
pub(crate) enum LocalStream {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl LocalStream {
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        loop {
            match ClientOptions::new().open(pipe_name(path)) {
                Ok(pipe) => return Ok(Self::Client(pipe)),
                Err(e) if e.raw_os_error() == Some(PIPE_BUSY) => tokio::time::sleep(BUSY_PAUSE).await,
                // Nobody listens: as on other systems.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(io::ErrorKind::ConnectionRefused.into()),
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
            Self::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
        };
        outcome.map(|read| match read {
            Err(e) if e.raw_os_error().is_some_and(|code| PIPE_ENDED.contains(&code)) => Ok(()),
            read => read,
        })
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
            Self::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(pipe) => Pin::new(pipe).poll_flush(context),
            Self::Client(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
