//! `cargo xtask installer`: what is handed out to players with Windows, made on Debian: an installer, a portable directory, and manifests
//! for winget.

mod manifest;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{install_missing, root, step};
use crate::report::say;
use crate::windows::{self, Haste};

/// Programs that make what is handed out, and Debian's packages of them.
const TOOLS: [(&str, &str); 2] = [("makensis", "nsis"), ("zip", "zip")];
/// What the portable directory has.
const PORTABLE: [&str; 4] = ["lanparty-client-win.exe", "README.txt", "LICENSE-MIT.txt", "LICENSE-APACHE.txt"];

/// Options of `cargo xtask installer`.
#[derive(Args)]
pub(crate) struct InstallerArgs {
    /// Where the installer will be downloaded from: fills in the manifests for winget
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Build the program in half the time, larger and slower: as the CI tries it, not to be handed out
    #[arg(long)]
    quick: bool,
}

impl InstallerArgs {
    /// As the CI calls it: with manifests, from an address that nobody has.
    pub(crate) fn sample() -> Self {
        Self { url: Some("https://downloads.example.net/lanparty-client-win-setup.exe".to_owned()), quick: true }
    }
}

/// Makes all of it below `target/win/package`, and tries it.
pub(crate) fn run(args: &InstallerArgs) -> Result<()> {
    let exe = windows::release(if args.quick { Haste::Quick } else { Haste::None })?;
    install_missing(&TOOLS)?;
    let package = exe.ancestors().nth(3).context("a target directory")?.join("package");
    fs::create_dir_all(&package)?;
    let setup = installer(&exe, &package)?;
    trial::run(&setup, &package)?;
    let zip = portable(&exe, &package)?;
    if let Some(url) = &args.url {
        manifest::write(&setup, url, &package.join("winget"))?;
    }
    for file in [setup, zip] {
        say(&format!("    {}: {:.1} MB", file.display(), file.metadata()?.len() as f64 / 1e6));
    }
    Ok(())
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

/// The program and what belongs to it, as a directory and as a zip file.
fn portable(exe: &Path, package: &Path) -> Result<PathBuf> {
    let dir = package.join("lanparty-client-win-portable");
    fs::create_dir_all(&dir)?;
    let (readme, mit, apache) = ("packaging/windows/README-portable.txt", "LICENSE-MIT", "LICENSE-APACHE");
    let sources = [exe.to_owned(), root().join(readme), root().join(mit), root().join(apache)];
    for (from, name) in sources.iter().zip(PORTABLE) {
        fs::copy(from, dir.join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    let zip = package.join("lanparty-client-win-portable.zip");
    // An old one would be added to.
    let _ = fs::remove_file(&zip);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    step(Command::new("zip").args(["-q", "-r"]).args([name(&zip), name(&dir)]).current_dir(package))?;
    let listing = Command::new("zip").args(["-sf"]).arg(&zip).output().context("zip -sf")?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let lacking: Vec<_> = PORTABLE.iter().filter(|name| !listing.contains(*name)).collect();
    ensure!(lacking.is_empty(), "the zip file lacks {lacking:?}: {listing}");
    Ok(zip)
}
