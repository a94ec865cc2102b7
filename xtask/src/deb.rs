//! `cargo xtask deb`: the package for Debian and its children, with units for systemd, manual pages and completions.

mod trial;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{cargo, root, said, step, target_dir};
use crate::guided;
use crate::report::say;

/// What is installed to be run.
const PROGRAMS: [&str; 4] = ["lanparty", "lanparty-relay", "lanparty-gateway", "lanparty-cable"];
const UNITS: [&str; 2] = ["lanparty@.service", "lanparty-relay.service"];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// Shells, and where each looks for the completions of `lanparty`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/lanparty"),
    ("zsh", "usr/share/zsh/vendor-completions/_lanparty"),
    ("fish", "usr/share/fish/vendor_completions.d/lanparty.fish"),
];
const DOCS: [&str; 3] = ["CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Options of `cargo xtask deb`.
#[derive(Args)]
pub(crate) struct DebArgs {
    /// Package what a debug build makes: as it is tried, not to be handed out
    #[arg(long)]
    debug: bool,
    /// Compile without counting first what the programs do, which needs root: some ten minutes less, and programs that need 5 to 10 % more of a
    /// processor
    #[arg(long, conflicts_with = "debug")]
    plain: bool,
    /// Install, start, upgrade and purge it in a Debian of its own, with its own systemd (root; installs mmdebstrap and systemd-container)
    #[arg(long = "try")]
    is_tried: bool,
}

/// Makes it, and tries it when asked to.
pub(crate) fn run(args: &DebArgs) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let built = if args.debug || args.plain { plainly(args.debug)? } else { guided::build("deb", &PROGRAMS)? };
    let package = package(&built, args.debug, version)?;
    say(&format!("    {}: {:.1} MB", package.display(), package.metadata()?.len() as f64 / 1e6));
    if args.is_tried {
        let untried = trial::run(&package, &self::package(&built, args.debug, &format!("{version}+next"))?)?;
        ensure!(untried.is_none(), "the package was not tried: {}", untried.unwrap_or_default());
    }
    Ok(())
}

/// Builds them as cargo does: the directory they are in.
fn plainly(is_debug: bool) -> Result<PathBuf> {
    if is_debug {
        // As the tests are built, so that nothing is compiled twice.
        step(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))?;
        return Ok(target_dir()?.join("debug"));
    }
    let mut build = cargo(&["build", "--release", "--bins"]);
    PROGRAMS.iter().for_each(|program| _ = build.args(["-p", program]));
    step(&mut build)?;
    Ok(target_dir()?.join("release"))
}

/// Packages what is built, and tries it, as `cargo xtask test` does; why it was not tried, when this machine boots no Debian.
pub(crate) fn try_debug() -> Result<Option<String>> {
    let version = env!("CARGO_PKG_VERSION");
    let built = target_dir()?.join("debug");
    trial::run(&package(&built, true, version)?, &package(&built, true, &format!("{version}+next"))?)
}

/// The package of that version, of the programs that are built.
fn package(built: &Path, is_debug: bool, version: &str) -> Result<PathBuf> {
    let out = target_dir()?.join("deb");
    let tree = out.join(format!("lanparty_{version}"));
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    programs(built, &tree)?;
    texts(&built.join("lanparty"), &tree)?;
    fs::create_dir_all(tree.join("etc/lanparty"))?;
    fs::set_permissions(tree.join("etc/lanparty"), fs::Permissions::from_mode(0o750))?;
    control(&tree, version)?;
    let package = out.join(format!("lanparty_{version}_{}.deb", architecture()?));
    // The compression that every dpkg reads, and quick where nobody waits for a small file.
    let compression = if is_debug { ["-Zgzip", "-z1"] } else { ["-Zxz", "-z6"] };
    quietly(Command::new("dpkg-deb").args(compression).args(["--root-owner-group", "--build"]).args([&tree, &package]))?;
    fs::remove_dir_all(&tree)?;
    Ok(package)
}

fn programs(built: &Path, tree: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug");
    for program in PROGRAMS {
        strip.arg(install(&built.join(program), &tree.join("usr/bin").join(program), 0o755)?);
    }
    quietly(&mut strip)?;
    for unit in UNITS {
        install(&root().join("packaging/systemd").join(unit), &tree.join("usr/lib/systemd/system").join(unit), 0o644)?;
    }
    Ok(())
}

/// Manual pages, completions and documents, made by the program that they are about.
fn texts(lanparty: &Path, tree: &Path) -> Result<()> {
    let manual = tree.join("usr/share/man/man1");
    quietly(Command::new(lanparty).arg("manual").arg(&manual))?;
    let pages = fs::read_dir(&manual)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    quietly(Command::new("gzip").args(["-9", "-n"]).args(pages))?;
    for (shell, path) in COMPLETIONS {
        let output = Command::new(lanparty).args(["completions", shell]).output().context("completions")?;
        ensure!(output.status.success(), "completions for {shell}: {}", String::from_utf8_lossy(&output.stderr));
        write(&tree.join(path), &output.stdout)?;
    }
    let docs = tree.join("usr/share/doc/lanparty");
    for name in DOCS {
        install(&root().join(name), &docs.join(name), 0o644)?;
    }
    for entry in fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file's name")?;
        if path.extension().is_some_and(|extension| extension == "md") {
            install(&path, &docs.join(name), 0o644)?;
        }
    }
    let example = Command::new(lanparty).args(["config", "print-default"]).output().context("config print-default")?;
    ensure!(example.status.success(), "config print-default: {}", String::from_utf8_lossy(&example.stderr));
    install(&root().join("packaging/systemd/relay.toml"), &docs.join("examples/relay.toml"), 0o644)?;
    write(&docs.join("examples/lanparty.toml"), &example.stdout)
}

fn control(tree: &Path, version: &str) -> Result<()> {
    let control = tree.join("DEBIAN");
    for script in SCRIPTS {
        install(&root().join("packaging/debian").join(script), &control.join(script), 0o755)?;
    }
    let template = fs::read_to_string(root().join("packaging/debian/control"))?;
    let mut kib = 0;
    visit(tree, &mut |path| {
        kib += path.metadata()?.len().div_ceil(1024);
        Ok(())
    })?;
    let mut text = template.replace("@VERSION@", version).replace("@SIZE@", &kib.to_string());
    text = text.replace("@ARCHITECTURE@", &architecture()?).replace("@LIBC@", &libc_version()?);
    ensure!(!text.contains('@') || text.matches('@').count() == 1, "a placeholder is left in the control file:\n{text}");
    write(&control.join("control"), text.as_bytes())?;
    write(&control.join("md5sums"), sums(tree)?.as_bytes())
}

/// What dpkg compares installed files with.
fn sums(tree: &Path) -> Result<String> {
    let mut files = vec![];
    visit(tree, &mut |path| {
        files.push(path.strip_prefix(tree)?.to_owned());
        Ok(())
    })?;
    files.retain(|path| !path.starts_with("DEBIAN"));
    files.sort_unstable();
    let output = Command::new("md5sum").args(&files).current_dir(tree).output().context("md5sum")?;
    ensure!(output.status.success(), "md5sum: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn visit(dir: &Path, see: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { visit(&path, see)? } else { see(&path)? }
    }
    Ok(())
}

fn architecture() -> Result<String> {
    said(Command::new("dpkg").arg("--print-architecture"))
}

/// The C library that the programs were linked with: older ones may lack what they use.
fn libc_version() -> Result<String> {
    let version = said(Command::new("dpkg-query").args(["-W", "-f=${Version}", "libc6"]))?;
    Ok(version.split('-').next().unwrap_or_default().to_owned())
}

fn quietly(command: &mut Command) -> Result<()> {
    said(command).map(drop)
}

fn install(from: &Path, to: &Path, mode: u32) -> Result<PathBuf> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write(to, &bytes)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(to.to_owned())
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(to.parent().context("a directory")?)?;
    fs::write(to, bytes).with_context(|| format!("write {}", to.display()))
}
