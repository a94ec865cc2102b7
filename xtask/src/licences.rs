//! `cargo xtask licences`: every dependency's licence and source against deny.toml, without installing cargo-deny.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::command::{metadata, root};
use crate::report::say;

/// Where a dependency may come from, as cargo names it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks all packages that the lock file names, for every platform.
pub(crate) fn run() -> Result<()> {
    say("==> licences of all dependencies against deny.toml");
    let text = fs::read_to_string(root().join("deny.toml")).context("read deny.toml")?;
    let allowed = allowed(&text)?;
    let metadata = metadata(&["--locked"])?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut complaints = Vec::new();
    for package in packages {
        *seen.entry(package["license"].as_str().unwrap_or("none")).or_default() += 1;
        complaints.extend(complaint(package, &allowed));
    }
    if !complaints.is_empty() {
        bail!("{} of {} packages do not pass deny.toml:\n  {}", complaints.len(), packages.len(), complaints.join("\n  "));
    }
    say(&format!("    {} packages, {} licence expressions, all allowed", packages.len(), seen.len()));
    Ok(())
}

/// What is wrong with a package.
fn complaint(package: &Value, allowed: &[Licensee]) -> Option<String> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    // Our own packages have no source.
    if let Some(source) = package["source"].as_str().filter(|source| *source != CRATES_IO) {
        return Some(format!("{name} comes from {source}"));
    }
    let Some(licence) = package["license"].as_str() else { return Some(format!("{name} names no licence")) };
    // Old packages write `MIT/Apache-2.0`, which the lax mode reads as OR.
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Err(error) => Some(format!("{name}: `{licence}` is no SPDX expression: {}", error.reason)),
        Ok(expression) if expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted))) => None,
        Ok(_) => Some(format!("{name}: `{licence}` is not allowed")),
    }
}

/// The list `allow` in the section `[licenses]`. That much of TOML is read here: one list of strings, comments left out.
fn allowed(deny: &str) -> Result<Vec<Licensee>> {
    let lines = deny.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let section = lines.skip_while(|line| *line != "[licenses]").skip(1).take_while(|line| !line.starts_with('['));
    let text: String = section.collect();
    let list = text.split_once("allow").and_then(|(_, rest)| rest.split_once('[')?.1.split_once(']')).map(|(list, _)| list);
    let names = list.context("deny.toml has no `allow = [..]` in its section [licenses]")?.split('"').skip(1).step_by(2);
    let licensees: Vec<Licensee> =
        names.map(|name| Licensee::parse(name).with_context(|| format!("`{name}` in deny.toml"))).collect::<Result<_>>()?;
    ensure!(!licensees.is_empty(), "deny.toml allows no licence at all");
    Ok(licensees)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DENY: &str = "[graph]\nallow = [\"GPL-3.0\"]\n[licenses]\n# why\nallow = [\n  \"MIT\", # most\n  \"Apache-2.0 WITH LLVM-exception\",\n  \"ISC\",\n]\n[bans]\n";

    fn judge(licence: &str) -> Option<String> {
        let package = json!({ "name": "p", "version": "1.0.0", "source": CRATES_IO, "license": licence });
        complaint(&package, &allowed(DENY).unwrap())
    }

    #[test]
    fn the_list_is_that_of_its_section() {
        let names: Vec<String> = allowed(DENY).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"]);
        assert!(allowed("[licenses]\nallow = []\n").is_err());
        assert!(allowed("[bans]\nallow = [\"MIT\"]\n").is_err());
    }

    #[test]
    fn one_side_of_or_is_enough_and_both_of_and_are_needed() {
        assert_eq!(judge("MIT OR GPL-3.0-only"), None);
        assert_eq!(judge("GPL-3.0-only/MIT"), None);
        assert_eq!(judge("Apache-2.0 WITH LLVM-exception"), None);
        assert!(judge("Apache-2.0").is_some(), "allowed with the exception only");
        assert!(judge("ISC AND GPL-3.0-only").unwrap().contains("not allowed"));
        assert!(judge("public domain").unwrap().contains("no SPDX expression"));
    }

    #[test]
    fn a_package_from_elsewhere_is_refused() {
        let package = json!({ "name": "p", "version": "1.0.0", "source": "git+https://example.net/p", "license": "MIT" });
        assert!(complaint(&package, &allowed(DENY).unwrap()).unwrap().contains("git+https"));
    }
}
