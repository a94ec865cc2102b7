//! The UDP sockets of QUIC: the stack's own.

use std::sync::Arc;

use noq::{Runtime, TokioRuntime};

/// The stack in tokio.
pub(crate) fn runtime() -> Arc<dyn Runtime> {
    Arc::new(TokioRuntime)
}

/// The same for a relay.
pub(crate) fn relay_runtime() -> Arc<dyn Runtime> {
    runtime()
}
