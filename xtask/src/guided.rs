//! Programs compiled by what they do (profile-guided optimisation): built to count, run at their work, and built anew by those counts.
//!
//! What never ran counts as seldom used, and is compiled to be small and put aside. So the work is everything that carries frames: by the
//! relay, directly, by TLS, by a cable, from a LAN, and by a bond of two lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::{cargo, said, step, target_dir};
use crate::machine::{self, BIN_DIR_VARIABLE, Ground};
use crate::report::say;

/// The programs that count: every role of a member, and the relay.
const COUNTED: [&str; 3] = ["lanparty", "lanparty-relay", "lanparty-gateway"];
/// How frames are carried while it is counted; each for some seconds, with few frames and with many.
const WAYS: [&str; 5] = ["lanparty", "lanparty-tls", "lanparty-direct", "lanparty-cable", "lanparty-gateway"];
/// The row of two lines whose bond is looked at.
const BOND: &str = "even";
/// The component of rustup that brings LLVM's tools of the compiler's own version.
const COMPONENT: &str = "llvm-tools";

/// Builds these programs so, for that task: the directory they are in.
pub(crate) fn build(task: &str, programs: &[&str]) -> Result<PathBuf> {
    let ground = machine::prepare_lab(task).context("what programs do is counted in networks of their own; or build with --plain")?;
    ensure!(ground == Ground::Own, "what programs do is counted in networks of their own, by root; or build with --plain");
    let guided = target_dir()?.join("guided");
    let (counts, host) = (guided.join("counts"), host()?);
    let merge = profdata(&host)?;
    let counting = compile(&COUNTED, &guided.join("counting"), &host, &flag("-Cprofile-generate=", &counts))?;
    // What was counted holds until one of them is another.
    let profile = match newest(&guided)?.filter(|(_, counted)| COUNTED.iter().all(|name| is_older(&counting.join(name), *counted))) {
        Some((profile, _)) => profile,
        None => count(&guided, &counts, &counting, &merge)?,
    };
    compile(programs, &guided.join("programs"), &host, &flag("-Cprofile-use=", &profile))
}

fn compile(programs: &[&str], into: &Path, host: &str, flag: &str) -> Result<PathBuf> {
    // Encoded as cargo has it for words with spaces in them.
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags = given.split_whitespace().chain([flag]).collect::<Vec<_>>().join("\x1f");
    // With a target of its own, what runs while it is compiled is not counted.
    let mut build = cargo(&["build", "--release", "--bins", "--target", host]);
    programs.iter().for_each(|program| _ = build.args(["-p", program]));
    step(build.env("CARGO_ENCODED_RUSTFLAGS", flags).env("CARGO_TARGET_DIR", into))?;
    Ok(into.join(host).join("release"))
}

/// Runs the programs that count, and puts together what they counted: the file of it, in the place of earlier ones.
fn count(guided: &Path, counts: &Path, programs: &Path, merge: &Path) -> Result<PathBuf> {
    while let Some((old, _)) = newest(guided)? {
        fs::remove_file(old)?;
    }
    if counts.exists() {
        fs::remove_dir_all(counts)?;
    }
    step(&mut cargo(&["build", "--release", "-p", "lanparty-bench"]))?;
    let work = guided.join("work");
    let ways = WAYS.join(",");
    run_measuring(
        programs,
        &["--quick", "--rounds", "1", "--section", "speed", "--only", &ways, "--out", "."],
        &work,
        ("records", WAYS.len()),
    )?;
    run_measuring(programs, &["bond", "--quick", "--rows", BOND, "--subjects", "bond"], &work, ("readings", 1))?;
    let files = fs::read_dir(counts).context("nothing was counted")?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!files.is_empty(), "nothing was counted");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    // Cargo builds anew when the words it is given are others, not when a file is.
    let profile = guided.join(format!("{since}.profdata"));
    step(Command::new(merge).args(["merge", "--sparse", "-o"]).arg(&profile).args(files))?;
    Ok(profile)
}

/// Has the bench run the programs, and looks whether all of it did run: its answer has so many records of that name, none of which has failed.
fn run_measuring(programs: &Path, args: &[&str], work: &Path, (records, least): (&str, usize)) -> Result<()> {
    fs::create_dir_all(work)?;
    let answer = work.join("answer.json");
    let mut bench = Command::new(target_dir()?.join("release/lanparty-bench"));
    step(bench.args(args).arg("--json").arg(&answer).env(BIN_DIR_VARIABLE, programs).current_dir(work))?;
    let answer: Value = serde_json::from_slice(&fs::read(&answer)?).context("the bench's answer")?;
    ensure!(is_whole(&answer, records, least), "not everything ran that was to be counted: see above");
    Ok(())
}

fn is_whole(answer: &Value, records: &str, least: usize) -> bool {
    let ran = |all: &Vec<Value>| all.len() >= least && all.iter().all(|record| record["error"].is_null());
    answer[records].as_array().is_some_and(ran) && answer["troubles"].as_array().is_none_or(Vec::is_empty)
}

/// What was counted last, and when.
fn newest(guided: &Path) -> Result<Option<(PathBuf, SystemTime)>> {
    if !guided.exists() {
        return Ok(None);
    }
    let mut all = vec![];
    for entry in fs::read_dir(guided)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "profdata") {
            all.push((path.metadata()?.modified()?, path));
        }
    }
    Ok(all.into_iter().max().map(|(counted, path)| (path, counted)))
}

fn is_older(program: &Path, than: SystemTime) -> bool {
    program.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|built| built < than)
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}{}", path.display())
}

/// What the compiler calls this machine.
fn host() -> Result<String> {
    let told = said(Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// LLVM's program that puts counts together, of the compiler's own version; got when it is missing.
fn profdata(host: &str) -> Result<PathBuf> {
    let sysroot = PathBuf::from(said(Command::new("rustc").args(["--print", "sysroot"]))?);
    let program = sysroot.join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !program.exists() {
        say(&format!("    rustup's {COMPONENT} are missing"));
        step(Command::new("rustup").args(["component", "add", COMPONENT])).context("or build with --plain")?;
    }
    ensure!(program.exists(), "{} is missing: `rustup component add {COMPONENT}` brings it; or build with --plain", program.display());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_did_not_run_is_not_taken_for_counted() {
        let ran = json!({"variant": "lanparty", "error": null});
        let answers = [
            (json!({"records": [ran, ran]}), true),
            (json!({"records": [ran, ran], "troubles": []}), true),
            (json!({"records": [ran]}), false),
            (json!({"records": [ran, {"variant": "lanparty-tls", "error": "it ended"}]}), false),
            (json!({"records": [ran, ran], "troubles": ["lanparty-gateway is missing"]}), false),
            (json!({"readings": [ran, ran]}), false),
        ];
        for (answer, is_so) in answers {
            assert_eq!(is_whole(&answer, "records", 2), is_so, "{answer}");
        }
    }

    #[test]
    fn the_last_profile_is_the_one_that_counts() {
        let dir = std::env::temp_dir().join(format!("lanparty-guided-{}", std::process::id()));
        assert!(newest(&dir).unwrap().is_none(), "nothing was counted yet");
        fs::create_dir_all(&dir).unwrap();
        let (now, program) = (SystemTime::now(), dir.join("program"));
        for (name, age_s) in [("2.profdata", 90), ("1.profdata", 30), ("3.profdata", 60), ("work.json", 0), ("program", 45)] {
            let file = fs::File::create(dir.join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age_s)).unwrap();
        }
        let (profile, counted) = newest(&dir).unwrap().unwrap();
        assert_eq!(profile, dir.join("1.profdata"));
        assert!(is_older(&program, counted));
        assert!(!is_older(&program, now - Duration::from_secs(60)), "it was built since");
        assert!(!is_older(&dir.join("none"), now));
        fs::remove_dir_all(&dir).unwrap();
    }
}
