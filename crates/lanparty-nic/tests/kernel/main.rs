//! Devices against the real kernel, each test in a network namespace of its own. Needs root; says so and passes without.

mod namespace;
mod tap;
