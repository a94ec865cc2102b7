//! The manifests for winget, of the templates in `packaging/winget`: with version, address and checksum, and every field that winget's
//! schema requires (version 1.6.0).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::root;

/// The fields that each kind of manifest must have.
const REQUIRED: [(&str, &[&str]); 3] = [
    ("version", &["PackageIdentifier", "PackageVersion", "DefaultLocale", "ManifestType", "ManifestVersion"]),
    (
        "installer",
        &[
            "PackageIdentifier",
            "PackageVersion",
            "InstallerType",
            "Installers",
            "Architecture",
            "InstallerUrl",
            "InstallerSha256",
            "ManifestType",
            "ManifestVersion",
        ],
    ),
    (
        "defaultLocale",
        &[
            "PackageIdentifier",
            "PackageVersion",
            "PackageLocale",
            "Publisher",
            "PackageName",
            "License",
            "ShortDescription",
            "ManifestType",
            "ManifestVersion",
        ],
    ),
];

/// Writes them into `dir`.
pub(super) fn write(setup: &Path, url: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let checksum = checksum(setup)?;
    for file in fs::read_dir(root().join("packaging/winget"))? {
        let path = file?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let filled = filled(&text, url, &checksum);
        check(&filled).with_context(|| format!("the manifest made of {}", path.display()))?;
        fs::write(dir.join(path.file_name().unwrap_or_default()), filled)?;
    }
    Ok(())
}

fn filled(text: &str, url: &str, checksum: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n") + "\n";
    lines.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@URL@", url).replace("@SHA256@", checksum)
}

/// The value of a field, wherever in the manifest it is.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let of = |line: &'t str| line.trim_start_matches([' ', '-']).strip_prefix(name)?.strip_prefix(':').map(str::trim);
    text.lines().find_map(of)
}

fn check(manifest: &str) -> Result<()> {
    let kind = field(manifest, "ManifestType").context("no ManifestType")?;
    let (_, required) = REQUIRED.iter().find(|(known, _)| *known == kind).with_context(|| format!("unknown ManifestType {kind}"))?;
    for name in *required {
        ensure!(field(manifest, name).is_some(), "it lacks {name}");
    }
    if let Some(url) = field(manifest, "InstallerUrl") {
        ensure!(url.starts_with("https://"), "InstallerUrl {url} is not https");
    }
    if let Some(sum) = field(manifest, "InstallerSha256") {
        ensure!(sum.len() == 64 && sum.chars().all(|c| c.is_ascii_hexdigit()), "InstallerSha256 {sum} is no checksum");
    }
    ensure!(!manifest.contains('@') && !manifest.contains('#'), "it has a gap left");
    Ok(())
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
    fn manifests_have_the_fields_that_winget_requires_and_the_checksum_of_the_file() {
        let dir = std::env::temp_dir().join(format!("lanparty-manifest-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let setup = dir.join("setup.exe");
        fs::write(&setup, "abc").unwrap();
        write(&setup, "https://relay.example.net/setup.exe", &dir.join("winget")).unwrap();
        let installer = fs::read_to_string(dir.join("winget/lanparty.ClientWin.installer.yaml")).unwrap();
        // SHA-256 of `abc` (FIPS 180-4's example).
        let sum = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        assert_eq!(field(&installer, "InstallerSha256"), Some(sum));
        assert!(write(&setup, "http://relay.example.net/setup.exe", &dir.join("winget")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_manifest_that_lacks_a_field_is_none() {
        let manifest = "PackageIdentifier: a.b\nPackageVersion: 1\nDefaultLocale: en-US\nManifestType: version\nManifestVersion: 1.6.0\n";
        assert!(check(manifest).is_ok());
        assert!(check(&manifest.replace("DefaultLocale", "Locale")).unwrap_err().to_string().contains("DefaultLocale"));
    }
}
