//! `cargo xtask sizes`: measures the size matrix in the lab and writes it into the size contract.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{cargo, root, step, target_dir, words};
use crate::machine;
use crate::programs::PRODUCTS;
use crate::report::say;

/// The table is between these lines.
const BEGIN: &str = "<!-- sizes:begin -->\n";
const END: &str = "<!-- sizes:end -->\n";

/// Options of `cargo xtask sizes`.
#[derive(Args)]
pub(crate) struct SizesArgs {
    /// Send every size of the plan, and long transfers; without it, the sizes at which things change
    #[arg(long)]
    full: bool,
    /// Write nothing: fail when the document says something else than what was measured
    #[arg(long)]
    check: bool,
}

/// Builds, measures, and writes the table, also one that shows a failure.
pub(crate) fn run(args: &SizesArgs) -> Result<()> {
    let ground = machine::prepare_lab("sizes")?;
    // No figure here depends on speed. In one build, so that cargo chooses the same features for all.
    step(cargo(&["build"]).args(PRODUCTS).args(["-p", "lanparty-lab", "--bins", "--example", "sizes"]))?;
    let mut program = Command::new(target_dir()?.join("debug/examples/sizes"));
    program.args(args.full.then_some("--full"));
    let mut program = ground.enter(program);
    program.stdin(Stdio::null()).stderr(Stdio::inherit());
    say(&format!("==> {}", words(&program)));
    let output = program.output().with_context(|| format!("`{}` cannot be started", words(&program)))?;
    let table = String::from_utf8(output.stdout).context("the table is no text")?;
    if !table.starts_with('|') {
        bail!("nothing was measured ({})", output.status);
    }
    publish(&table, args.check)?;
    if !output.status.success() {
        bail!("a frame vanished (see above)");
    }
    Ok(())
}

fn publish(table: &str, check: bool) -> Result<()> {
    let path = document();
    let old = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let new = with_table(&old, table).with_context(|| format!("{} lacks the lines {BEGIN}{END}", path.display()))?;
    if new == old {
        say("    the table is as it was");
    } else if check {
        bail!("{} says something else than what was measured:\n{table}", path.display());
    } else {
        fs::write(&path, new).with_context(|| format!("write {}", path.display()))?;
        say(&format!("    wrote the table into {}", path.display()));
    }
    Ok(())
}

fn document() -> PathBuf {
    root().join("docs/mtu-contract.md")
}

/// The document with `table` between its two lines.
fn with_table(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_the_rest_stays() {
        let document = format!("# Sizes\n{BEGIN}| old |\n| older |\n{END}More.\n");
        assert_eq!(with_table(&document, "| new |\n").unwrap(), format!("# Sizes\n{BEGIN}| new |\n{END}More.\n"));
        assert_eq!(with_table("# Sizes\n", "| new |\n"), None);
    }

    #[test]
    fn the_document_has_a_place_for_the_table() {
        assert!(with_table(&fs::read_to_string(document()).unwrap(), "").is_some());
    }
}
