//! `cargo xtask instructions`: what a frame costs of our own code, in instructions, beside the committed figure.
//!
//! A frame walks out of one member, over the relay, and into another (`examples/walk.rs` of lanparty-core), under callgrind. That counts
//! the same on a busy machine as on a quiet one, so a figure that has moved is a change of the code, or of the compiler. Only the program's
//! own instructions count: how the C library copies depends on the processor.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{cargo, install_missing, root, step};
use crate::report::say;

/// The figure, in instructions a frame.
const FIGURE: &str = "crates/lanparty-core/tests/walk/instructions.txt";
/// How far the count may be from it, in parts of it.
const TOLERANCE: f64 = 0.03;
/// Frames of a batch of the walk.
const BATCH: u64 = 46;
/// Batches of a short and of a long walk: what both have costs no frame.
const WALKS: [u64; 2] = [100, 600];

/// Options of `cargo xtask instructions`.
#[derive(Args)]
pub(crate) struct InstructionsArgs {
    /// Write the count as the new figure
    #[arg(long)]
    bless: bool,
}

/// Builds the walk, counts, and compares.
pub(crate) fn run(args: &InstructionsArgs) -> Result<()> {
    install_missing(&[("valgrind", "valgrind")])?;
    step(&mut cargo(&["build", "--release", "--package", "lanparty-core", "--example", "walk"]))?;
    let [short, long] = WALKS.map(count);
    let per_frame = (long? - short?) as f64 / ((WALKS[1] - WALKS[0]) * BATCH) as f64;
    let file = root().join(FIGURE);
    if args.bless {
        fs::write(&file, format!("{per_frame:.0}\n")).with_context(|| format!("write {FIGURE}"))?;
        say(&format!("instructions: {per_frame:.0} a frame, written into {FIGURE}"));
        return Ok(());
    }
    let figure = fs::read_to_string(&file).with_context(|| format!("read {FIGURE}"))?;
    judge(per_frame, figure.trim().parse().with_context(|| format!("{FIGURE} holds one number"))?)
}

/// As a part of the tests.
pub(crate) fn check() -> Result<()> {
    run(&InstructionsArgs { bless: false })
}

fn judge(per_frame: f64, figure: f64) -> Result<()> {
    let change = per_frame / figure - 1.0;
    let words = format!("{per_frame:.0} instructions a frame, {:+.1} % of the {figure:.0} in {FIGURE}", change * 100.0);
    if change.abs() > TOLERANCE {
        let what = if change > 0.0 { "a frame has become dearer" } else { "a frame has become cheaper" };
        bail!("{what}: {words}; when that is meant, or the compiler is another one: cargo xtask instructions --bless");
    }
    say(&format!("instructions: {words}"));
    Ok(())
}

/// Instructions of the walk's own code in so many batches.
fn count(batches: u64) -> Result<u64> {
    let (target, out) = (target(), format!("callgrind.walk.{}", std::process::id()));
    let (program, out) = (target.join("release/examples/walk"), target.join(out));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", out.display())]).arg(&program);
    step(valgrind.arg(batches.to_string()))?;
    let profile = fs::read_to_string(&out).context("read what callgrind wrote")?;
    fs::remove_file(&out).context("remove what callgrind wrote")?;
    match own_instructions(&profile, &program) {
        0 => bail!("callgrind saw no instruction of {}", program.display()),
        count => Ok(count),
    }
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cost lines of one object in callgrind's format (valgrind's manual, "Callgrind Format Specification"): `ob=(1) path`, or `cob=` where it
/// is called, names an object the first time, `ob=(1)` later. What stands after `calls=` counts where it was spent.
fn own_instructions(profile: &str, program: &Path) -> u64 {
    let program = program.display().to_string();
    let (mut own, mut is_own, mut sum) = (None, false, 0);
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        let object = line.strip_prefix("ob=");
        if let Some(named) = object.or_else(|| line.strip_prefix("cob=")) {
            let (id, path) = named.split_once(' ').unwrap_or((named, ""));
            if path == program {
                own = Some(id.to_owned());
            }
            if object.is_some() {
                is_own = own.as_deref() == Some(id);
            }
        } else if line.starts_with("calls=") {
            lines.next();
        } else if is_own && line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            sum += line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_instructions_count_and_none_twice() {
        let profile = "positions: line\nevents: Ir\n\nob=(2) /lib/libc.so\nfn=(1) memcpy\n12 500\ncob=(1) /x/walk\ncfn=(2) main\n\
                       calls=1 1\n1 36\n\nob=(1)\nfl=(1) a.rs\nfn=(2) main\n\
                       10 7\n+2 3\ncob=(2)\ncfn=(1)\ncalls=4 12\n* 500\n* 5\n\nfn=(3) other\n-1 20\n\nob=(2)\nfn=(4)\n1 90\nob=(1)\nfn=(2)\n3 1\ntotals: 626\n";
        assert_eq!(own_instructions(profile, Path::new("/x/walk")), 7 + 3 + 5 + 20 + 1);
        assert_eq!(own_instructions(profile, Path::new("/x/run")), 0);
    }

    #[test]
    fn a_figure_that_moved_either_way_is_told() {
        assert!(judge(1_000.0, 1_000.0).is_ok() && judge(1_029.0, 1_000.0).is_ok() && judge(971.0, 1_000.0).is_ok());
        assert!(judge(1_040.0, 1_000.0).unwrap_err().to_string().contains("dearer"));
        assert!(judge(960.0, 1_000.0).unwrap_err().to_string().contains("cheaper"));
    }
}
