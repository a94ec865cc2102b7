//! Where programs print to: nobody who reads, or a disk that is full.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use lanparty_lab::{Namespace, Program};
use programs::{ROOM, SOON, TAP};
use town::{Town, eventually_is, ready};

/// Starts what follows with both outputs led into a pipe whose reader has left.
const UNREAD: [&str; 4] = ["bash", "-c", "exec 3> >(exec true) && wait $! && exec \"$@\" >&3 2>&3", "-"];
/// The same, with standard error kept.
const UNREAD_OUTPUT: [&str; 4] = ["bash", "-c", "exec 3> >(exec true) && wait $! && exec \"$@\" >&3", "-"];
const FULL: [&str; 4] = ["sh", "-c", "exec \"$@\" > /dev/full", "-"];

fn unread(town: &Town, host: &Namespace, words: &[&str]) -> Program {
    town.programs.program(host, words[0]).args(&words[1..]).behind(&UNREAD)
}

#[test]
fn programs_whose_log_nobody_reads_go_on_and_end_in_order() {
    if !ready() {
        return;
    }
    let town = Town::new("unread", 2);
    let certificate = town.programs.certificate();
    let relay = ["lanparty-relay", "--open", "--dev-cert-der-out", certificate.to_str().unwrap()];
    let relay = town.relay_host.spawn(unread(&town, &town.relay_host, &relay)).unwrap();
    eventually_is("the relay is there", || certificate.exists());
    let options = town.programs.member_options(ROOM);
    let client: Vec<&str> = ["lanparty", "client", "--tap-name", TAP].into_iter().chain(options.iter().map(String::as_str)).collect();
    let client = town.machines[0].spawn(unread(&town, &town.machines[0], &client)).unwrap();
    eventually_is("the client is joined", || town.programs.run(&town.machines[0], &["lanparty", "rpc", "members"]).status.success());
    // What comes and goes is told in its log, and so is what it is asked to log.
    let visitor = town.programs.start_client(&town.machines[1], ROOM, &[]);
    let others = || town.status(0)["peers"].as_array().map_or(0, Vec::len);
    eventually_is("the visitor is seen", || others() == 1);
    assert!(town.programs.run(&town.machines[0], &["lanparty", "log-level", "debug"]).status.success());
    visitor.sigterm();
    eventually_is("the visitor is gone", || others() == 0);
    for (host, program) in [(&town.machines[0], &client), (&town.relay_host, &relay)] {
        assert!(program.running(), "{}", host.host());
        program.sigterm();
        assert_eq!(program.exit_code(SOON).unwrap(), 0, "{}", host.host());
        let left =
            || std::fs::read_dir(town.programs.runtime_dir(host)).unwrap().flatten().map(|entry| entry.path()).find(|path| is_socket(path));
        assert_eq!(left(), None, "{}", host.host());
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn what_cannot_be_printed_is_said_and_a_reader_who_has_left_is_no_fault() {
    if !ready() {
        return;
    }
    let town = Town::new("full", 0);
    let list = town.write("community.list", "mynetwork\n");
    let edge = town.write("edge.conf", "[community]\nname=mynetwork\n");
    let commands: [&[&str]; 8] = [
        &["lanparty", "completions", "bash"],
        &["lanparty", "config", "print-default"],
        &["lanparty", "config", "import-n3n", &edge],
        &["lanparty-relay", "import-communities", &list],
        &["lanparty", "adapters", "--json"],
        &["lanparty", "status"],
        &["lanparty", "rpc", "status"],
        &["lanparty", "cable", "--new"],
    ];
    let _relay = town.relay(&[]);
    for words in commands {
        let full = town.programs.run_through(&town.relay_host, &FULL, words);
        assert_eq!(full.status.code(), Some(1), "{words:?}: {}", full.stderr);
        assert!(full.stderr.contains("standard output cannot be written: No space left"), "{words:?}: {}", full.stderr);
        let unread = town.programs.run_through(&town.relay_host, &UNREAD_OUTPUT, words);
        assert_eq!(unread.status.code(), Some(0), "{words:?}: {}", unread.stderr);
    }
}
