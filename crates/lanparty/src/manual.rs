//! The manual pages and the completions of shells, made from the command line's own definition.

use std::path::Path;

use lanparty_node::{ExitCode, Fault, print};

pub(crate) fn write(command: &clap::Command, directory: &Path) -> Result<(), Fault> {
    let failed =
        |e: std::io::Error| Fault::new(ExitCode::Configuration, format!("cannot write manual pages to {}: {e}", directory.display()), "");
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(command.clone(), directory).map_err(failed)
}

pub(crate) fn completions(shell: clap_complete::Shell, command: &mut clap::Command) -> Result<(), Fault> {
    let mut text = vec![];
    clap_complete::generate(shell, command, "lanparty", &mut text);
    print(&String::from_utf8_lossy(&text))
}
