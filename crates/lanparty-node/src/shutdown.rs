//! Ctrl-C and SIGTERM: both end a program in good order.

use tokio::signal;

/// Resolves when the program is asked to end.
///
/// # Errors
/// When the operating system does not let signals be watched.
pub async fn shutdown_requested() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = term.recv() => Ok("SIGTERM"),
            _ = hangup.recv() => Ok("the terminal is gone"),
            r = signal::ctrl_c() => r.map(|()| "Ctrl-C"),
        }
    }
    #[cfg(not(unix))]
    {
        signal::ctrl_c().await.map(|()| "Ctrl-C")
    }
}
