//! The whole demo, as the CI sees it.
#![cfg(target_os = "linux")]

use std::process::Command;

use lanparty_lab::Requirements;

#[test]
fn the_demo_passes_every_condition_and_leaves_nothing() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("picture.txt");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_lanparty-demo"));
    demo.args(["--plain", "--seconds", "5", "--screenshot"]).arg(&picture).env("LANPARTY_LAB_DIR", dir.path().join("lab"));
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    for part in ["ok lease from the LAN: 10.73.42.", "6. yes", "DhcpServerReply", "verdict: 6 of 6 hold"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(std::fs::read_to_string(picture).unwrap().contains("6 of 6 conditions hold"));
    assert_eq!(std::fs::read_dir(dir.path().join("lab")).unwrap().count(), 0, "files are left");
}
