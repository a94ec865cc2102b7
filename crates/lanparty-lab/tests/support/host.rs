//! Asynchronous work on a host of the lab.

use lanparty_lab::Namespace;

/// Runs `work` on a thread of its own that stands on `host`: the sockets it opens are that host's.
pub(crate) fn on<T: Send, F: AsyncFnOnce() -> T + Send>(host: &Namespace, work: F) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    host.enter(|| runtime().block_on(work())).unwrap()
}
