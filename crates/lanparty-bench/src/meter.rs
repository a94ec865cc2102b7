//! The meters: each takes one figure through the tunnel, whatever the tunnel is.

pub(crate) mod blast;
pub(crate) mod download;
pub(crate) mod echo;
pub(crate) mod first_reply;
pub(crate) mod ping;
pub(crate) mod search;
pub(crate) mod tcp;
