//! `cargo xtask installer`: what is handed out to players with Windows, made on Debian: an installer, a portable directory, and manifests
//! for winget.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{root, step};
use crate::report::say;
use crate::windows;

/// Debian's package of the installer's compiler.
const NSIS: &str = "nsis";

/// Options of `cargo xtask installer`.
#[derive(Args)]
pub(crate) struct InstallerArgs {
    /// Where the installer will be downloaded from: fills in the manifests for winget
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Makes all of it below `target/win/package`.
pub(crate) fn run(args: &InstallerArgs) -> Result<()> {
    let exe = windows::release()?;
    compiler()?;
    let package = exe.ancestors().nth(3).context("a target directory")?.join("package");
    fs::create_dir_all(&package)?;
    let setup = installer(&exe, &package)?;
    portable(&exe, &package.join("lanparty-client-win-portable"))?;
    if let Some(url) = &args.url {
        winget(&setup, url, &package.join("winget"))?;
    }
    let len = setup.metadata()?.len();
    say(&format!("    {}: {:.1} MB", setup.display(), len as f64 / 1e6));
    Ok(())
}

/// Installs the installer's compiler, when it is missing.
fn compiler() -> Result<()> {
    if Command::new("makensis").arg("-VERSION").output().is_ok() {
        return Ok(());
    }
    let mut apt = Command::new("apt-get");
    step(apt.args(["install", "-y", "-q", "--no-install-recommends", NSIS])).context("install Debian's package nsis (needs root)")
}

fn installer(exe: &Path, package: &Path) -> Result<PathBuf> {
    let setup = package.join("lanparty-client-win-setup.exe");
    let define = |name: &str, value: &Path| format!("-D{name}={}", value.display());
    let mut makensis = Command::new("makensis");
    makensis.args(["-V2", "-WX"]).arg(format!("-DVERSION={}", env!("CARGO_PKG_VERSION")));
    makensis.args([define("EXE", exe), define("LICENCES", root()), define("OUT", &setup)]);
    step(makensis.arg(root().join("packaging/windows/installer.nsi")))?;
    Ok(setup)
}

/// The program and what belongs to it, to be zipped or copied as it is.
fn portable(exe: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let files = [
        (exe.to_owned(), "lanparty-client-win.exe"),
        (root().join("packaging/windows/README-portable.txt"), "README.txt"),
        (root().join("LICENSE-MIT"), "LICENSE-MIT.txt"),
        (root().join("LICENSE-APACHE"), "LICENSE-APACHE.txt"),
    ];
    for (from, name) in files {
        fs::copy(&from, dir.join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

/// The manifests of packaging/winget, with version, address and checksum.
fn winget(setup: &Path, url: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let checksum = checksum(setup)?;
    for file in fs::read_dir(root().join("packaging/winget"))? {
        let path = file?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        fs::write(dir.join(path.file_name().unwrap_or_default()), filled(&text, url, &checksum))?;
    }
    Ok(())
}

fn filled(text: &str, url: &str, checksum: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n") + "\n";
    lines.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@URL@", url).replace("@SHA256@", checksum)
}

fn checksum(file: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(file).output().context("sha256sum")?;
    ensure!(output.status.success(), "sha256sum cannot read {}", file.display());
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().context("sha256sum prints a checksum")?.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_no_gap_left() {
        for file in fs::read_dir(root().join("packaging/winget")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let filled = filled(&text, "https://relay.example.net/setup.exe", "AB");
            assert!(!filled.contains('@') && !filled.contains('#') && filled.contains("ManifestVersion"), "{filled}");
        }
    }
}
