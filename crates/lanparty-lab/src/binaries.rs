//! Where the project's own programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Set to the directory of the programs when they are not next to the test.
pub const BIN_DIR_VARIABLE: &str = "LANPARTY_BIN_DIR";

/// The directory with the programs under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    dirs: Vec<PathBuf>,
}

impl Binaries {
    /// `LANPARTY_BIN_DIR`; else where this program is, or its parent when it is a test (`target/debug/deps/test-…`).
    pub fn locate() -> Result<Self> {
        if let Some(dir) = std::env::var_os(BIN_DIR_VARIABLE) {
            return Ok(Self { dirs: vec![dir.into()] });
        }
        let exe = std::env::current_exe().context("the path of this program")?;
        Ok(Self { dirs: exe.ancestors().skip(1).take(2).map(Path::to_owned).collect() })
    }

    /// The directory `dir` and no other.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dirs: vec![dir.into()] }
    }

    /// The path of a program such as `lanparty-relay`; the error says how to build it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let found = self.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        let Some(path) = found else {
            let places: Vec<_> = self.dirs.iter().map(|dir| dir.display().to_string()).collect();
            bail!("{name} is not in {}: run `cargo build -p {name}` first, or set {BIN_DIR_VARIABLE}", places.join(" nor in "));
        };
        Ok(path)
    }

    /// `lanparty-relay`.
    pub fn relay(&self) -> Result<PathBuf> {
        self.path("lanparty-relay")
    }

    /// `lanparty-gateway`.
    pub fn gateway(&self) -> Result<PathBuf> {
        self.path("lanparty-gateway")
    }

    /// `lanparty`, the one tool.
    pub fn lanparty(&self) -> Result<PathBuf> {
        self.path("lanparty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_answered_with_the_command_that_builds_it() {
        let error = Binaries::in_dir("/nonexistent").relay().unwrap_err().to_string();
        assert!(error.contains("/nonexistent") && error.contains("cargo build -p lanparty-relay"), "{error}");
    }
}
