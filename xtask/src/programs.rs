//! Programs of the workspace that run the products: built in release, then started with their own options.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, root, step, target_dir, words};
use crate::guided;
use crate::machine::{self, BIN_DIR_VARIABLE, Ground};
use crate::report::say;

/// The programs that the bench runs.
const MEASURED: [&str; 2] = ["lanparty", "lanparty-relay"];
/// Words with which the bench measures nothing.
const SHOWING: [&str; 6] = ["--help", "-h", "--version", "-V", "--list", "draw"];
/// The programs that the lab runs.
pub(crate) const PRODUCTS: [&str; 6] = ["-p", "lanparty", "-p", "lanparty-relay", "-p", "lanparty-gateway"];

/// `cargo xtask demo`.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    run("lanparty-demo", args, machine::prepare_party("demo")?, None)
}

/// `cargo xtask bench`.
pub(crate) fn bench(is_plain: bool, args: &[String]) -> Result<()> {
    // Its place does not matter, as that of the bench's own options does not.
    let (plain, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|word| word == "--plain");
    let is_plain = is_plain || !plain.is_empty() || args.iter().any(|word| SHOWING.contains(&word.as_str()));
    measure("bench", &args, || if is_plain { None } else { as_in_the_package() })
}

/// Where the programs of the package are; in words when they cannot be made here.
fn as_in_the_package() -> Option<PathBuf> {
    let built = guided::build("bench", &MEASURED);
    if let Err(error) = &built {
        say(&format!("==> MEASURED AS CARGO BUILDS THEM, and not as the package has them: {error:#}"));
    }
    built.ok()
}

/// `cargo xtask bond`.
pub(crate) fn bond(args: &[String]) -> Result<()> {
    measure("bond", &[&["bond".to_owned()], args].concat(), || None)
}

fn measure(task: &str, args: &[String], products: impl FnOnce() -> Option<PathBuf>) -> Result<()> {
    let ground = machine::prepare_lab(task)?;
    if ground != Ground::Own {
        bail!("figures need real-time priority, so root; run: sudo env \"PATH=$PATH\" cargo xtask {task}");
    }
    let products = products();
    run("lanparty-bench", args, ground, products.as_deref())
}

/// Builds `package`, and the products unless they are in `products` already, and runs its program of the same name, which finds them beside it
/// or there.
fn run(package: &str, args: &[String], ground: Ground, products: Option<&Path>) -> Result<()> {
    let to_build: &[&str] = if products.is_some() { &[] } else { &PRODUCTS };
    step(cargo(&["build", "--release"]).args(to_build).args(["-p", package]))?;
    let mut program = Command::new(target_dir()?.join("release").join(package));
    // It is the user's to talk to: `q` ends the demo.
    program.args(args).current_dir(std::env::current_dir().unwrap_or_else(|_| root().into()));
    if let Some(products) = products {
        program.env(BIN_DIR_VARIABLE, products);
    }
    let mut program = ground.enter(program);
    program.stdin(Stdio::inherit());
    let status = program.status().with_context(|| format!("`{}` cannot be started", words(&program)))?;
    if !status.success() {
        bail!("{package} says no ({status})");
    }
    Ok(())
}
