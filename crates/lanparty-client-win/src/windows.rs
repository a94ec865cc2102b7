//! Below the seams: this machine as it is.

mod doctor;
mod host;
mod net;
mod service;
mod shell;
mod tap;

pub use host::main;
