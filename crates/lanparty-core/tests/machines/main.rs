//! The state machines as their drivers use them: inputs, frames and time in; decisions out.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test counts from some instant, and may panic")]

mod filtered;
mod ladder;
mod multicast;
mod outbound_inbound;
mod relay_addresses;
mod relay_attach;
mod relay_direct;
mod relay_forward;
mod relay_join;
mod relay_lans;
mod relay_moves;
mod relay_rules;
mod relay_sightings;
mod relay_sizes;
mod relay_standby;
mod support;
