//! `cargo xtask windows`: the Windows client, checked, built and tested on Debian.
//!
//! The set-up is a script of its own (`xtask/windows/set-up.sh`): Debian's rustc with a std for Windows made from its exact source,
//! mingw's linker, and Wine to run what comes out.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::command::{root, step, target_dir};
use crate::installer::{self, InstallerArgs};
use crate::report::say;

/// The target triple.
const TARGET: &str = "x86_64-pc-windows-gnu";
/// What the program for Windows consists of: their libraries and programs are checked.
const PACKAGES: [&str; 6] = ["-p", "lanparty-client-win", "-p", "lanparty-client-core", "-p", "lanparty-node"];
/// Those of them whose tests run there; the tests of the others are about sockets and devices of Linux.
const TESTED: [&str; 4] = ["-p", "lanparty-client-win", "-p", "lanparty-nic"];
/// The driver is made for this adapter: Wine gives it to the Linux interface with the index 77 (0x4d).
const FAKE_GUID: &str = "{0000004D-0000-0000-0000-4E6574446576}";
/// The largest .exe that a player has to download, in bytes.
const EXE_LEN_MAX: u64 = 15 << 20;
/// DLLs that every Windows has.
const SYSTEM_DLLS: [&str; 17] = [
    "advapi32.dll",
    "api-ms-win-core-synch-l1-2-0.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "cfgmgr32.dll",
    "combase.dll",
    "crypt32.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "ole32.dll",
    "oleaut32.dll",
    "setupapi.dll",
    "shell32.dll",
    "userenv.dll",
    "ws2_32.dll",
];

/// Options of `cargo xtask windows`.
#[derive(Args)]
pub(crate) struct WindowsArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Clone, Copy)]
enum What {
    /// Install what is needed: Debian packages (root), a std for Windows, a Wine prefix
    SetUp,
    /// Check and lint everything that is made for Windows
    Check,
    /// Run the unit tests for Windows under Wine
    Test,
    /// Run the Windows client in the lab, under Wine, with a test driver (root)
    Lab,
    /// Build the .exe to hand out (this is what happens without a word)
    Build,
    /// All of it, as the CI does
    All,
}

/// `cargo xtask windows`.
pub(crate) fn run(args: &WindowsArgs) -> Result<()> {
    let target = Target::set_up()?;
    match args.what.unwrap_or(What::Build) {
        What::SetUp => Ok(()),
        What::Check => target.check(),
        What::Test => target.test(),
        What::Lab => target.lab().and_then(|()| crate::test::run_windows()),
        What::Build => target.build(Haste::None),
        What::All => everything(&target),
    }
}

/// Builds the .exe to hand out, and says where it is.
pub(crate) fn release(haste: Haste) -> Result<PathBuf> {
    let target = Target::set_up()?;
    target.build(haste)?;
    Ok(target.exe())
}

/// What the CI asks of the client for Windows.
fn everything(target: &Target) -> Result<()> {
    target.check()?;
    target.test()?;
    target.lab()?;
    crate::test::run_windows()?;
    // Builds the .exe to hand out, too.
    installer::run(&InstallerArgs::sample())
}

/// How much time the .exe gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Haste {
    /// As it is handed out.
    None,
    /// Larger and slower, in half the time: for who only wants to know that it can be made and works.
    Quick,
}

/// A machine that can make programs for Windows.
struct Target {
    /// Where the set-up keeps toolchain, Wine prefix and wrappers.
    dir: PathBuf,
    /// Where cargo puts what it builds for Windows.
    out: PathBuf,
}

impl Target {
    fn set_up() -> Result<Self> {
        let mut script = Command::new("bash");
        script.arg(root().join("xtask/windows/set-up.sh")).current_dir(root());
        step(&mut script)?;
        Ok(Self { dir: cache_dir()?, out: target_dir()?.join("win") })
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("wcargo"));
        command.args(args).current_dir(root()).env("CARGO_WIN_TARGET_DIR", &self.out).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        command
    }

    fn check(&self) -> Result<()> {
        // The compiler for Windows is newer than ours: its lints inform, but for those of code that nobody uses.
        let fatal = ["--", "-D", "unused"];
        step(self.cargo(&["clippy"]).args(PACKAGES).args(fatal))?;
        step(self.cargo(&["clippy", "--all-targets"]).args(TESTED).args(fatal))
    }

    fn test(&self) -> Result<()> {
        // Wine waits two minutes for its first program.
        step(self.cargo(&["test", "--no-run"]).args(TESTED))?;
        // Detached, so that it is nobody's child that stays behind.
        step(&mut Command::new(self.dir.join("wine-warm")))?;
        let outcome = step(self.cargo(&["test"]).args(TESTED));
        step(&mut Command::new(self.dir.join("wine-stop")))?;
        outcome
    }

    /// What the lab runs: the program, the test driver, its other end.
    fn lab(&self) -> Result<()> {
        step(&mut self.cargo(&["build", "-p", "lanparty-client-win", "-p", "lanparty-nic", "--bins", "--examples"]))?;
        self.driver()
    }

    /// The test driver, which Wine loads in place of TAP-Windows6.
    fn driver(&self) -> Result<()> {
        let source = root().join("crates/lanparty-nic/tests/faketap/faketap.c");
        let driver = self.out.join(TARGET).join("debug/faketap.sys");
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        compiler.arg(format!("-DTAP_GUID=\"{FAKE_GUID}\""));
        compiler.args([
            "-I/usr/share/mingw-w64/include/ddk",
            "-O1",
            "-Wall",
            "-Wno-unused",
            "-nostdlib",
            "-shared",
            "-fno-stack-protector",
        ]);
        compiler.args(["-mno-stack-arg-probe", "-Wl,--subsystem,native", "-Wl,--entry,DriverEntry", "-o"]);
        compiler.arg(driver).arg(source).args(["-lntoskrnl", "-lhal"]).current_dir(root());
        step(&mut compiler)
    }

    fn exe(&self) -> PathBuf {
        self.out.join(TARGET).join("release/lanparty-client-win.exe")
    }

    fn build(&self, haste: Haste) -> Result<()> {
        // This target keeps debug information inside, and a player has no use for it.
        let mut cargo = self.cargo(&["build", "--release", "-p", "lanparty-client-win"]);
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        if haste == Haste::Quick {
            cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        }
        step(&mut cargo)?;
        let exe = self.exe();
        step(Command::new("x86_64-w64-mingw32-strip").arg(&exe))?;
        let len = exe.metadata().with_context(|| format!("read {}", exe.display()))?.len();
        let imports = imports(&exe)?;
        say(&format!("    {}: {:.1} MB, imports {}", exe.display(), len as f64 / 1e6, imports.join(" ")));
        ensure!(len <= EXE_LEN_MAX, "the .exe has {len} bytes, more than {EXE_LEN_MAX}");
        let foreign: Vec<_> = imports.iter().filter(|dll| !SYSTEM_DLLS.contains(&dll.as_str())).collect();
        if !foreign.is_empty() {
            bail!("the .exe needs DLLs that Windows does not bring: {foreign:?}");
        }
        Ok(())
    }
}

/// Where the set-up keeps toolchain, Wine prefix and wrappers.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    named("LANPARTY_WIN_DIR").or_else(|| Some(cache()?.join("lanparty-win"))).context("neither HOME nor LANPARTY_WIN_DIR is set")
}

/// The DLLs that a program loads, in small letters.
fn imports(exe: &Path) -> Result<Vec<String>> {
    let output = Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(exe).output().context("x86_64-w64-mingw32-objdump")?;
    ensure!(output.status.success(), "objdump cannot read {}", exe.display());
    let mut found = dll_names(&String::from_utf8_lossy(&output.stdout));
    found.sort();
    found.dedup();
    Ok(found)
}

fn dll_names(dump: &str) -> Vec<String> {
    dump.lines().filter_map(|line| line.trim().strip_prefix("DLL Name: ")).map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_dlls_are_read_from_a_dump() {
        let dump = "The Import Tables\n\tDLL Name: KERNEL32.dll\n\tvma:  Hint/Ord\n\n\tDLL Name: ws2_32.dll\n";
        assert_eq!(dll_names(dump), ["kernel32.dll", "ws2_32.dll"]);
    }

    #[test]
    fn the_adapter_of_the_test_driver_is_that_of_the_interface_with_its_index() {
        assert_eq!(FAKE_GUID, format!("{{{:08X}-0000-0000-0000-4E6574446576}}", 77));
    }
}
