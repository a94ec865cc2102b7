//! `cargo xtask`: everything a developer or the CI runs beyond plain cargo, on a machine that nobody prepared.

mod check;
mod command;
mod deb;
mod guided;
mod installer;
mod instructions;
mod licences;
mod machine;
mod programs;
mod report;
mod sizes;
mod test;
mod windows;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// What a developer and the CI run. Each command first sets up what it needs, and says so.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", subcommand_required = false)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Watch a whole LAN party with a friend at home, in network namespaces (root); ends with a verdict
    Demo {
        /// Options of the demo itself: --plain, --stay, --seconds N, --screenshot FILE
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run every test of the workspace, those of the lab of real programs included (root)
    Test(test::TestArgs),
    /// Measure lanparty beside other tunnels, and write tables, JSON and a picture into target/bench (root)
    Bench {
        /// Measure programs as cargo builds them, and not those of the package, which are compiled by what they do: some ten minutes less
        #[arg(long)]
        plain: bool,
        /// Options of the bench itself: `-- --help` shows them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure the bond of two lines, beside each line alone and both without a tunnel (root)
    Bond {
        /// Options of the measurement itself: `-- --help` shows them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Send frames of every size over wires of every width, and write what became of them into docs/mtu-contract.md (root)
    Sizes(sizes::SizesArgs),
    /// Make the client for Windows on Debian: set up, check, test under Wine, build the .exe (root, where packages are missing)
    Windows(windows::WindowsArgs),
    /// Make the installer for Windows, a portable directory, and manifests for winget (root, where nsis is missing)
    Installer(installer::InstallerArgs),
    /// Make the package for Debian, and with --try install, run, upgrade and purge it in a system of its own (root)
    Deb(deb::DebArgs),
    /// Count the instructions that a frame costs of our own code, beside the committed figure
    Instructions(instructions::InstructionsArgs),
    /// Check the licence and the source of every dependency against deny.toml
    Licences,
    /// Check formatting, lints, documentation and licences: what every commit must pass
    Check,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        None => list(),
        Some(Task::Demo { args }) => programs::demo(&args),
        Some(Task::Test(args)) => test::run(&args),
        Some(Task::Bench { plain, args }) => programs::bench(plain, &args),
        Some(Task::Bond { args }) => programs::bond(&args),
        Some(Task::Sizes(args)) => sizes::run(&args),
        Some(Task::Windows(args)) => windows::run(&args),
        Some(Task::Installer(args)) => installer::run(&args),
        Some(Task::Deb(args)) => deb::run(&args),
        Some(Task::Instructions(args)) => instructions::run(&args),
        Some(Task::Licences) => licences::run(),
        Some(Task::Check) => check::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line per command.
fn list() -> anyhow::Result<()> {
    let command = Cli::command();
    for task in command.get_subcommands() {
        let about = task.get_about().map(ToString::to_string).unwrap_or_default();
        report::say(&format!("cargo xtask {:<14}{about}", task.get_name()));
    }
    Ok(())
}
