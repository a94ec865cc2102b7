//! Programs of the workspace that run the products: built in release, then started with their own options.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, root, step, target_dir, words};
use crate::machine;

/// The programs that the lab runs.
const PRODUCTS: [&str; 6] = ["-p", "lanparty", "-p", "lanparty-relay", "-p", "lanparty-gateway"];

/// `cargo xtask demo`.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    machine::prepare_party("demo")?;
    run("lanparty-demo", args)
}

/// `cargo xtask bench`.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    machine::prepare_lab("bench")?;
    run("lanparty-bench", args)
}

/// Builds `package` and the products, and runs its program of the same name from the same directory, where it finds them.
fn run(package: &str, args: &[String]) -> Result<()> {
    step(cargo(&["build", "--release"]).args(PRODUCTS).args(["-p", package]))?;
    let mut program = Command::new(target_dir()?.join("release").join(package));
    // It is the user's to talk to: `q` ends the demo.
    program.args(args).current_dir(std::env::current_dir().unwrap_or_else(|_| root().into())).stdin(Stdio::inherit());
    let status = program.status().with_context(|| format!("`{}` cannot be started", words(&program)))?;
    if !status.success() {
        bail!("{package} says no ({status})");
    }
    Ok(())
}
