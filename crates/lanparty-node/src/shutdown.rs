//! Ctrl-C, SIGTERM and what Windows has for them: each ends a program in good order.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal;
use tokio::sync::watch;

/// What this program itself was told elsewhere, as a service of Windows is.
static REQUESTED: LazyLock<watch::Sender<Option<&'static str>>> = LazyLock::new(|| watch::channel(None).0);

/// Ends the program as a signal would.
pub fn request_shutdown(reason: &'static str) {
    REQUESTED.send_replace(Some(reason));
}

/// Whether nothing else ends this program.
static ONLY_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Lets nothing but [`request_shutdown`] end this program: a service of Windows hears of every user who logs off.
pub fn end_only_when_requested() {
    ONLY_REQUESTED.store(true, Ordering::Relaxed);
}

async fn requested() -> &'static str {
    let mut heard = REQUESTED.subscribe();
    loop {
        if let Some(reason) = *heard.borrow_and_update() {
            return reason;
        }
        if heard.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when the program is asked to end.
///
/// # Errors
/// When the operating system does not let signals be watched.
pub async fn shutdown_requested() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        let mut hangup = signal::unix::signal(signal::unix::SignalKind::hangup())?;
        tokio::select! {
            _ = hangup.recv() => Ok("the terminal is gone"),
            reason = termination_requested() => reason,
        }
    }
    #[cfg(not(unix))]
    {
        termination_requested().await
    }
}

/// The same for a program to which SIGHUP says something else.
///
/// # Errors
/// When the operating system does not let signals be watched.
pub async fn termination_requested() -> std::io::Result<&'static str> {
    if ONLY_REQUESTED.load(Ordering::Relaxed) {
        return Ok(requested().await);
    }
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = term.recv() => Ok("SIGTERM"),
            r = signal::ctrl_c() => r.map(|()| "Ctrl-C"),
            reason = requested() => Ok(reason),
        }
    }
    #[cfg(windows)]
    {
        use signal::windows;
        let (mut interrupt, mut close) = (windows::ctrl_break()?, windows::ctrl_close()?);
        let (mut logoff, mut shutdown) = (windows::ctrl_logoff()?, windows::ctrl_shutdown()?);
        tokio::select! {
            r = signal::ctrl_c() => r.map(|()| "Ctrl-C"),
            _ = interrupt.recv() => Ok("Ctrl-Break"),
            _ = close.recv() => Ok("the console is closed"),
            _ = logoff.recv() => Ok("the user logs off"),
            _ = shutdown.recv() => Ok("Windows shuts down"),
            reason = requested() => Ok(reason),
        }
    }
    #[cfg(not(any(unix, windows)))]
    {
        signal::ctrl_c().await.map(|()| "Ctrl-C")
    }
}
