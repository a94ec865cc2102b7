//! The registry as installers of TAP-Windows6 leave it, and what `--list-tap-adapters` makes of it. Under Wine alone: a test has no
//! business in the registry of somebody's Windows.

#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::{Command, Output};

use winreg::RegKey;
use winreg::enums::{HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE};

const CLASS: &str = r"SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}";
const CONNECTIONS: &str = r"SYSTEM\CurrentControlSet\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}";

fn client(words: &[&str]) -> Output {
    // target/…/debug/deps/registry-….exe
    let exe = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("lanparty-client-win.exe");
    Command::new(exe).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A key of an adapter: ComponentId and, where they are, NetCfgInstanceId and NetworkAddress.
fn key(number: u8, component_id: &str, id: Option<&str>, address: Option<&str>) -> String {
    let value = |name: &str, value: &str| format!("\"{name}\"=\"{}\"\r\n", value.replace('\\', r"\\"));
    let id = id.map_or_else(String::new, |id| value("NetCfgInstanceId", id));
    let address = address.map_or_else(String::new, |address| value("NetworkAddress", address));
    format!("[HKEY_LOCAL_MACHINE\\{CLASS}\\{number:04}]\r\n{}{id}{address}\r\n", value("ComponentId", component_id))
}

fn id(number: u8) -> String {
    format!("{{0000000{number}-1111-2222-3333-444444444444}}")
}

/// Replaces the class key by `keys`, as `reg import` does it.
fn import(keys: &str) {
    let machine = RegKey::predef(HKEY_LOCAL_MACHINE);
    let _ = machine.delete_subkey_all(CLASS);
    let file = std::env::temp_dir().join(format!("lanparty-{}.reg", std::process::id()));
    std::fs::write(&file, format!("REGEDIT4\r\n\r\n{keys}")).unwrap();
    let import = Command::new("reg").arg("import").arg(&file).output().unwrap();
    assert!(import.status.success(), "{}", text(&import.stderr));
    std::fs::remove_file(&file).unwrap();
}

fn listing() -> Vec<String> {
    let output = client(&["--list-tap-adapters"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn adapters_are_found_however_their_installer_named_them() {
    if RegKey::predef(HKEY_CURRENT_USER).open_subkey(r"Software\Wine").is_err() {
        return;
    }
    let machine = RegKey::predef(HKEY_LOCAL_MACHINE);
    let _ = machine.delete_subkey_all(CLASS);
    assert_eq!(listing(), ["no TAP-Windows6 adapters"], "the class key itself is missing");
    let join = ["--relay", "192.0.2.1", "--room", "ROOM1"];
    let without = client(&join);
    assert_eq!(without.status.code(), Some(3));
    assert!(text(&without.stderr).contains("this machine has no TAP-Windows6 adapter"), "{}", text(&without.stderr));

    import(&(key(1, r"pci\ven_8086", Some(&id(1)), None) + &key(2, "tap0901", Some(&id(2)), None)));
    assert_eq!(listing(), [format!("{}  {}  driver=tap0901 key=0002 NetworkAddress=not set", id(2), id(2))], "the short name");
    let named = format!("[HKEY_LOCAL_MACHINE\\{CONNECTIONS}\\{}\\Connection]\r\n\"Name\"=\"LAN Party\"\r\n", id(3));
    import(&(key(3, r"ROOT\TAP0901", Some(&id(3)), Some("02AABBCCDDEE")) + &named));
    assert_eq!(listing(), [format!(r"{}  LAN Party  driver=ROOT\TAP0901 key=0003 NetworkAddress=02AABBCCDDEE", id(3))], "the long name");
    import(&key(4, "tap0901", None, None));
    assert_eq!(listing(), ["no TAP-Windows6 adapters"], "one that was never finished has no instance id");
    import(&key(5, "tap0901", Some(&id(5)), Some("no address at all")));
    assert!(listing()[0].ends_with("NetworkAddress=no address at all"), "what is there is shown as it is");

    import(&(1..=5).map(|n| key(n, "tap0901", Some(&id(n)), None)).collect::<String>());
    assert_eq!(listing().len(), 5);
    let ambiguous = client(&join);
    assert_eq!(ambiguous.status.code(), Some(2));
    assert!(text(&ambiguous.stderr).contains("this machine has 5 TAP-Windows6 adapters"), "{}", text(&ambiguous.stderr));
    let unknown = client(&[&join[..], &["--tap-instance-id", &id(9)]].concat());
    assert_eq!(unknown.status.code(), Some(2));
    let without_driver = client(&[&join[..], &["--tap-instance-id", &id(3)]].concat());
    assert_eq!(without_driver.status.code(), Some(3));
    assert!(text(&without_driver.stderr).contains("its driver does not answer"), "{}", text(&without_driver.stderr));
    let _ = machine.delete_subkey_all(CLASS);
}

#[test]
fn help_names_the_options_of_the_guide() {
    let output = client(&["--help"]);
    let help = text(&output.stdout);
    for option in [
        "--relay",
        "--server-name",
        "--relay-ca-cert",
        "--room",
        "--list-tap-adapters",
        "--tap-instance-id",
        "--no-game-mode",
        "--undo",
        "--selftest",
        "--service",
    ] {
        assert!(help.contains(option), "{option}:\n{help}");
    }
    assert!(!help.contains("dry-run"), "{help}");
}
