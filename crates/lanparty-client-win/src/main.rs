//! `lanparty-client-win`: the client for Windows.

use std::process::ExitCode;

#[cfg(windows)]
fn main() -> ExitCode {
    lanparty_client_win::windows::main()
}

/// Elsewhere it has a command line and no TAP-Windows6.
#[cfg(not(windows))]
fn main() -> ExitCode {
    use lanparty_node::{ExitCode, Fault, block_on};
    let _ = lanparty_client_win::cli::Cli::read();
    block_on(async { Err(Fault::new(ExitCode::Configuration, "this is the client for Windows", "here, use: lanparty client")) })
}
