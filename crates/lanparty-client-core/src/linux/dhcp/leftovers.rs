//! What a killed program of ours left behind: its DHCP client runs on, would act on the next interface of the same name, and
//! knows nothing of the new one's.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tracing::info;

/// Ends the DHCP clients of programs that are gone, and removes their files in `dir`.
pub(super) fn end_leftovers(dir: &Path) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if owner(&path).is_none_or(is_running) {
            continue;
        }
        for pid in processes_with(&path) {
            // An error means that it has just ended by itself.
            let _ = kill_process(pid, Signal::KILL);
            info!(%pid, "ended the DHCP client that a killed lanparty left behind");
        }
        // A file that cannot be removed is tried again at the next start.
        let _ = fs::remove_file(&path);
    }
}

/// The program whose file this is: `dhcp-<pid>.<what>`.
fn owner(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.strip_prefix("dhcp-")?.parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Processes that were started with this file as an argument.
fn processes_with(path: &Path) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| has_argument(*pid, path)).collect()
}

fn has_argument(pid: Pid, path: &Path) -> bool {
    let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_dhcp_client_of_a_killed_program_is_ended_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        // The first number is above the kernel's largest pid: certainly nobody's.
        let [theirs, ours] = [4_194_999, std::process::id()].map(|pid| {
            let script = dir.path().join(format!("dhcp-{pid}.sh"));
            fs::write(&script, "read forever").unwrap();
            let client = Command::new("sh").arg(&script).stdin(std::process::Stdio::piped()).spawn().unwrap();
            (script, client)
        });
        fs::write(dir.path().join("dhcp-4194999.leases"), "").unwrap();
        fs::write(dir.path().join("client-1.sock"), "").unwrap();
        let (mut gone, mut kept) = (theirs.1, ours.1);
        end_leftovers(dir.path());
        assert!(!gone.wait().unwrap().success());
        assert!(kept.try_wait().unwrap().is_none());
        assert!(ours.0.exists() && !theirs.0.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the running one's script, and what is not DHCP's");
        kept.kill().unwrap();
        kept.wait().unwrap();
    }
}
