//! Loops (THREATS A13): real cables and gateways between real bridges that lead back to themselves.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[expect(dead_code, reason = "its other parts are for the tests of cables")]
#[path = "cable/bench.rs"]
mod bench;
#[path = "loops/cables.rs"]
mod cables;
#[expect(dead_code, reason = "its echo is for the tests of cables")]
#[path = "support/flow.rs"]
mod flow;
#[path = "support/programs.rs"]
mod programs;
