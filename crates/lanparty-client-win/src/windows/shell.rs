//! What only Windows' own cmdlets do for a single adapter: network profiles and firewall rules.
//!
//! The commands are constants. What varies reaches them by the environment, so that no name can become a command.

use std::io;
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::net::category;
use crate::net_cfg::{Category, NetworkProfile};

/// CREATE_NO_WINDOW: a service has no console to show one in.
const NO_WINDOW: u32 = 0x0800_0000;

const PROFILE: &str = "$p = Get-NetConnectionProfile -InterfaceIndex $env:LANPARTY_INDEX -ErrorAction SilentlyContinue; \
                       if ($p) { $p.InstanceID + ' ' + [int]$p.NetworkCategory }";
const TRUST: &str =
    "Set-NetConnectionProfile -InterfaceIndex $env:LANPARTY_INDEX -NetworkCategory $env:LANPARTY_CATEGORY -ErrorAction Stop";
/// By this adapter alone, and for hosts of its own network alone.
const ADD_RULE: &str = "New-NetFirewallRule -Name $env:LANPARTY_RULE -DisplayName $env:LANPARTY_RULE -Group lanparty -Direction Inbound \
                        -Action Allow -InterfaceAlias $env:LANPARTY_ADAPTER -RemoteAddress LocalSubnet -ErrorAction Stop | Out-Null";
const REMOVE_RULE: &str = "Get-NetFirewallRule -Name $env:LANPARTY_RULE -ErrorAction SilentlyContinue | Remove-NetFirewallRule";

pub(super) fn profile(index: u32) -> io::Result<Option<NetworkProfile>> {
    let text = run(PROFILE, &[("LANPARTY_INDEX", &index.to_string())])?;
    let found = text.trim().split_once(' ').and_then(|(id, number)| Some((id.to_owned(), category(number.parse().ok()?)?)));
    Ok(found.map(|(id, category)| NetworkProfile { id, category }))
}

pub(super) fn set_category(index: u32, category: Category) -> io::Result<()> {
    let name = match category {
        Category::Public => "Public",
        Category::Private => "Private",
        Category::Domain => return Err(io::ErrorKind::InvalidInput.into()),
    };
    run(TRUST, &[("LANPARTY_INDEX", &index.to_string()), ("LANPARTY_CATEGORY", name)]).map(drop)
}

pub(super) fn add_firewall_rule(rule: &str, adapter: &str) -> io::Result<()> {
    run(ADD_RULE, &[("LANPARTY_RULE", rule), ("LANPARTY_ADAPTER", adapter)]).map(drop)
}

pub(super) fn remove_firewall_rule(rule: &str) -> io::Result<()> {
    run(REMOVE_RULE, &[("LANPARTY_RULE", rule)]).map(drop)
}

/// Windows' own, whatever the PATH says.
fn powershell() -> PathBuf {
    let root = std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from);
    root.join(r"System32\WindowsPowerShell\v1.0\powershell.exe")
}

fn run(command: &str, variables: &[(&str, &str)]) -> io::Result<String> {
    let mut shell = Command::new(powershell());
    shell.args(["-NoProfile", "-NonInteractive", "-Command", command]).envs(variables.iter().copied());
    let output = shell.stdin(Stdio::null()).creation_flags(NO_WINDOW).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(io::Error::other(format!("PowerShell: {}", first.trim())))
}
