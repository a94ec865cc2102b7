//! Namespaces and processes: what a lab makes is separate from the machine, observable, and gone afterwards.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lanparty_lab::{Lab, Program, Requirements, run};

const SOON: Duration = Duration::from_secs(10);

/// Does it become true within a second?
fn soon(check: impl Fn() -> bool) -> bool {
    (0..100).any(|_| {
        let done = check();
        std::thread::sleep(Duration::from_millis(if done { 0 } else { 10 }));
        done
    })
}

fn shell(script: &str) -> Program {
    Program::new("sh").arg("-c").arg(script)
}

#[test]
fn a_dropped_lab_leaves_no_namespace_no_process_and_no_file() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("gone").unwrap();
    let host = lab.namespace("host").unwrap();
    let sleeper = host.spawn(shell("echo up; sleep 1000 & sleep 1000")).unwrap();
    sleeper.wait_for("up", SOON).unwrap();
    let (netns, dir, pid) = (host.netns().to_owned(), lab.dir().to_owned(), sleeper.pid());
    assert!(Path::new("/run/netns").join(&netns).exists());
    drop(lab);
    assert!(!Path::new("/run/netns").join(&netns).exists());
    assert!(!dir.exists());
    assert!(!sleeper.running());
    // Killed children of the killed shell are reaped by someone else, a moment later.
    let group_is_gone = || {
        let left = run(&["ps", "-eo", "pgid,stat"]).unwrap().stdout;
        !left.lines().any(|line| line.trim().starts_with(&format!("{pid} ")) && !line.contains('Z'))
    };
    assert!(soon(group_is_gone), "process group {pid} is alive");
}

#[test]
fn a_daemon_that_left_its_group_is_found_by_its_mark() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("daemon").unwrap();
    let host = lab.namespace("host").unwrap();
    let parent = host.spawn(shell("setsid sh -c 'echo daemon $$; exec sleep 1000' & wait")).unwrap();
    let line = parent.wait_for("daemon ", SOON).unwrap();
    let daemon = Path::new("/proc").join(line.trim_start_matches("daemon "));
    assert!(daemon.exists());
    drop(lab);
    let dead = || std::fs::read_to_string(daemon.join("stat")).map_or(true, |stat| stat.contains(") Z "));
    assert!(soon(dead), "{} is alive", daemon.display());
}

#[test]
fn what_a_killed_test_left_is_removed_by_the_next_lab_and_nothing_else() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    // Above the kernel's largest pid: certainly dead.
    let (owner, netns) = ("lp4194999-0-killed", "lp4194999-0-killed-host");
    run(&["ip", "netns", "add", netns]).unwrap();
    let sleeper = |mark: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns, "sleep", "1000"]).env("LANPARTY_LAB_OWNER", mark).spawn().unwrap()
    };
    let (mut ours, mut someone_elses) = (sleeper(owner), sleeper("lp1-0-other"));
    std::thread::sleep(Duration::from_millis(200));
    let _lab = Lab::new("next").unwrap();
    assert!(soon(|| !Path::new("/run/netns").join(netns).exists()));
    assert_eq!(ours.wait().unwrap().signal(), Some(9));
    assert!(someone_elses.try_wait().unwrap().is_none());
    someone_elses.kill().unwrap();
    someone_elses.wait().unwrap();
}

#[test]
fn lines_of_both_streams_are_kept_and_shown_when_a_wait_fails() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("lines").unwrap();
    let host = lab.namespace("host").unwrap();
    let talker = host.spawn(shell("echo first; echo second >&2; exit 7").named("talker")).unwrap();
    assert_eq!(talker.wait_for("second", SOON).unwrap(), "second");
    assert_eq!(talker.exit_code(SOON).unwrap(), 7);
    let error = talker.wait_for("third", SOON).unwrap_err().to_string();
    for part in ["talker", "ended", "`third`", "first", "second", "sh -c"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert!(std::fs::read_to_string(talker.log_file()).unwrap().contains("] first"));
}

#[test]
fn the_last_lines_are_there_when_the_end_is() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("last").unwrap();
    let host = lab.namespace("host").unwrap();
    for _ in 0..20 {
        let counting = host.spawn(shell("seq 3000; seq 3000 >&2")).unwrap();
        assert_eq!(counting.exit_code(SOON).unwrap(), 0);
        assert_eq!(counting.lines().len(), 6000);
    }
    // Who is left behind holds the streams open, and nobody waits for him.
    let leaving = host.spawn(shell("sleep 1000 & echo gone")).unwrap();
    assert_eq!(leaving.exit_code(SOON).unwrap(), 0);
    assert_eq!(leaving.lines(), ["gone"]);
}

#[test]
fn signals_reach_the_program_itself() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("signals").unwrap();
    let host = lab.namespace("host").unwrap();
    let polite = host.spawn(shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    polite.wait_for("up", SOON).unwrap();
    assert!(polite.rss_kib() > 100);
    polite.sigterm();
    polite.wait_for("bye", SOON).unwrap();
    assert_eq!(polite.exit_code(SOON).unwrap(), 0);
    let stubborn = host.spawn(shell("trap '' TERM; echo up; while :; do :; done")).unwrap();
    stubborn.wait_for("up", SOON).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(stubborn.cpu_seconds() > 0.0);
    stubborn.kill9();
    assert_eq!(stubborn.exit_code(SOON).unwrap(), 128 + 9);
}

#[test]
fn a_namespace_has_only_its_own_loopback_and_says_nothing_by_itself() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let lab = Lab::new("alone").unwrap();
    let host = lab.namespace("host").unwrap();
    assert_eq!(host.ip("-br link").unwrap().stdout.lines().count(), 1);
    let entered = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
    assert!(entered.contains("lo:") && !entered.contains("eth0"), "{entered}");
    assert!(host.sysctl("kernel/hostname", "x").is_err(), "settings outside net/ belong to the machine");
    let gen_mode = host.enter(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/addr_gen_mode")).unwrap().unwrap();
    assert_eq!(gen_mode.trim(), "1");
}
