//! The client as a service, under Wine's own service manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanparty_lab::Proc;

use crate::guide::{a_driver_with_another_address_stops_it, it_took_everything_back};
use crate::machine::{WINE_PATIENCE, Windows, windows_ready};
use crate::support::{Evening, eventually};

const NAME: &str = "lanparty-client";

#[test]
fn as_a_service_it_joins_the_room_stops_and_is_gone() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winservice");
    let (relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::start(&evening);
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let dir = evening.dir(&evening.party.home);
    let ended = |client: Proc, code: i32| assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), code, "{}", client.tail());
    ended(windows.client(&["--service", "install"]), 2);
    install(&windows, &dir);
    let log = Log(dir.join("service/lanparty-client.log"));
    windows.run(&["sc", "start", NAME]);
    log.wait_for("relay route verified after TAP activation", 1);
    relay.wait_for("Client", WINE_PATIENCE).unwrap();
    windows.run(&["sc", "stop", NAME]);
    log.wait_for("lanparty-client-win ending: the service is stopped", 1);
    log.wait_for("everything on this machine is as it was before", 1);
    assert!(!dir.join("service/lanparty-client-journal.json").exists());
    it_took_everything_back(&windows);
    // It has told all, and not yet ended.
    eventually("the service starts again", || windows.wine(&["sc", "start", NAME]).exit_code(WINE_PATIENCE).unwrap() == 0);
    log.wait_for("relay route verified after TAP activation", 2);
    ended(windows.client(&["--service", "uninstall"]), 0);
    log.wait_for("everything on this machine is as it was before", 2);
    ended(windows.client(&["--service", "uninstall"]), 3);
}

/// What the service says, as nobody sees its output.
struct Log(PathBuf);

impl Log {
    /// Waits until it has said so this often.
    fn wait_for(&self, words: &str, times: usize) {
        let deadline = Instant::now() + WINE_PATIENCE;
        loop {
            let text = fs::read_to_string(&self.0).unwrap_or_default();
            if text.matches(words).count() >= times {
                return;
            }
            assert!(Instant::now() < deadline, "no `{words}` in {}:\n{text}", self.0.display());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// With full paths, as a service has another directory than who installs it.
fn install(windows: &Windows<'_>, dir: &Path) {
    let at = |file: &str| format!("Z:{}", dir.join(file).display()).replace('/', r"\");
    let mut words: Vec<String> = ["--service", "install"].map(String::from).into();
    words.extend(windows.evening.join_options(&windows.evening.party.home));
    let certificate = words.iter().position(|word| word == "./relay-cert.der").unwrap();
    words[certificate] = at("relay-cert.der");
    words.extend(["--identity".into(), at("id.json"), "--dry-run-netcfg".into(), at("netcfg.json"), "--state-dir".into(), at("service")]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let install = windows.client(&words);
    assert_eq!(install.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", install.tail());
}
