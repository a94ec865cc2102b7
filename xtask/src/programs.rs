//! Programs of the workspace that run the products: built in release, then started with their own options.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, root, step, target_dir, words};
use crate::machine::{self, Ground};

/// The programs that the lab runs.
pub(crate) const PRODUCTS: [&str; 6] = ["-p", "lanparty", "-p", "lanparty-relay", "-p", "lanparty-gateway"];

/// `cargo xtask demo`.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    run("lanparty-demo", args, machine::prepare_party("demo")?)
}

/// `cargo xtask bench`.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    measure("bench", args)
}

/// `cargo xtask bond`.
pub(crate) fn bond(args: &[String]) -> Result<()> {
    measure("bond", &[&["bond".to_owned()], args].concat())
}

fn measure(task: &str, args: &[String]) -> Result<()> {
    let ground = machine::prepare_lab(task)?;
    if ground != Ground::Own {
        bail!("figures need real-time priority, so root; run: sudo env \"PATH=$PATH\" cargo xtask {task}");
    }
    run("lanparty-bench", args, ground)
}

/// Builds `package` and the products, and runs its program of the same name from the same directory, where it finds them.
fn run(package: &str, args: &[String], ground: Ground) -> Result<()> {
    step(cargo(&["build", "--release"]).args(PRODUCTS).args(["-p", package]))?;
    let mut program = Command::new(target_dir()?.join("release").join(package));
    // It is the user's to talk to: `q` ends the demo.
    program.args(args).current_dir(std::env::current_dir().unwrap_or_else(|_| root().into()));
    let mut program = ground.enter(program);
    program.stdin(Stdio::inherit());
    let status = program.status().with_context(|| format!("`{}` cannot be started", words(&program)))?;
    if !status.success() {
        bail!("{package} says no ({status})");
    }
    Ok(())
}
