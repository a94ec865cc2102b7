//! The package in a Debian of its own, with its own systemd as process 1: installed, started, upgraded and purged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{install_missing, root, step, target_dir};
use crate::report::say;

/// Programs that make a system and run it, and Debian's packages of them.
const TOOLS: [(&str, &str); 2] = [("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container")];
/// What the system has besides the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,iputils-ping,procps";
/// A trial that hangs fails.
const LIMIT: Duration = Duration::from_secs(240);
/// What is run in it, by a unit that switches the system off behind it.
const TRIAL: &str = "packaging/debian/trial.sh";
const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/trial.sh
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=journal+console
StandardError=journal+console
[Install]
WantedBy=default.target
";

/// Tries `package`, and `next` as its next version. When this machine boots no Debian, that is no fault of the package: why, then.
pub(super) fn run(package: &Path, next: &Path) -> Result<Option<String>> {
    let system = match install_missing(&TOOLS).and_then(|()| system()) {
        Ok(system) => system,
        Err(e) => return Ok(Some(format!("no Debian to try it in: {e:#}"))),
    };
    let trial = target_dir()?.join("deb/trial");
    if trial.exists() {
        fs::remove_dir_all(&trial)?;
    }
    fs::create_dir_all(&trial)?;
    step(Command::new("tar").arg("-xf").arg(system).arg("-C").arg(&trial))?;
    fs::copy(package, trial.join("root/lanparty.deb"))?;
    fs::copy(next, trial.join("root/lanparty-next.deb"))?;
    fs::copy(root().join(TRIAL), trial.join("root/trial.sh"))?;
    fs::write(trial.join("etc/systemd/system/trial.service"), UNIT)?;
    let wants = trial.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    std::os::unix::fs::symlink("/etc/systemd/system/trial.service", wants.join("trial.service"))?;
    let outcome = boot(&trial);
    let log = fs::read_to_string(trial.join("root/trial.log")).unwrap_or_default();
    say(log.trim_end());
    fs::remove_dir_all(&trial)?;
    if let (Err(e), true) = (&outcome, log.is_empty()) {
        return Ok(Some(format!("a Debian does not boot here: {e:#}")));
    }
    outcome?;
    ensure!(log.lines().last() == Some("trial: everything as it should be"), "the package was tried, and something is wrong: see above");
    Ok(None)
}

/// Boots it with a network of its own, and waits until it has switched itself off.
fn boot(trial: &Path) -> Result<()> {
    let mut nspawn = Command::new("timeout");
    nspawn.args(["--kill-after=10", &LIMIT.as_secs().to_string(), "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
    nspawn.args(["--private-network", "--bind=/dev/net/tun", "--console=pipe", "--boot", "-D"]).arg(trial);
    let log = fs::File::create(trial.with_extension("console"))?;
    nspawn.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    if let Err(e) = step(&mut nspawn) {
        let console = fs::read_to_string(trial.with_extension("console")).unwrap_or_default();
        let last: Vec<_> = console.lines().rev().take(20).collect();
        bail!("{e:#}; the last lines of its console: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// A small Debian, made once.
fn system() -> Result<PathBuf> {
    let system = target_dir()?.join("deb/system.tar");
    if !system.exists() {
        let new = system.with_extension("new.tar");
        let (archive, name) = archive()?;
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), &name]).arg(&new);
        step(make.arg(format!("deb {archive} {name} main")))?;
        fs::rename(new, &system)?;
    }
    Ok(system)
}

/// The archive that this machine's packages come from, and its release.
fn archive() -> Result<(String, String)> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]);
    let output = targets.output().context("apt-get indextargets")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut archives = text.lines().filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [archive, name, "main"] => Some((archive.to_owned(), name.to_owned())),
        _ => None,
    });
    archives.next().context("apt knows no archive with a component main: is this Debian?")
}
