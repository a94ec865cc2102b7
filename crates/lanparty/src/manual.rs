//! The manual pages, made from the command line's own definition.

use std::path::Path;

use lanparty_node::{ExitCode, Fault};

pub(crate) fn write(command: &clap::Command, directory: &Path) -> Result<(), Fault> {
    let failed =
        |e: std::io::Error| Fault::new(ExitCode::Configuration, format!("cannot write manual pages to {}: {e}", directory.display()), "");
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(command.clone(), directory).map_err(failed)
}
