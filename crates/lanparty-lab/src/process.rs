//! Real programs inside a namespace, with every line they print kept.
//!
//! A [`Proc`] is killed when it is dropped, and only ever by its own process group. What it printed is in memory ([`Proc::lines`]),
//! in a log file of the lab, and in the error when a wait fails.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::command::command_line;
use crate::requirements::tools_path;

/// How many of the last lines an error shows.
const LINES_IN_ERROR: usize = 25;
/// How long the last lines of a program that has ended may take: what it started and left behind may hold its streams open.
const LAST_LINES_PATIENCE: Duration = Duration::from_secs(2);
/// Lines kept in memory per process; the log file has all of them.
const LINES_MAX: usize = 200_000;
/// `USER_HZ` of every Linux this runs on (it is part of the kernel's ABI).
const TICKS_PER_SECOND: f64 = 100.0;

/// A program to start: path, arguments, environment.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) name: String,
    path: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    fifo_priority: Option<u8>,
}

impl Program {
    /// A program by path, or by name when it is on `PATH`; in logs it is called by its file name.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let path = path.as_ref().to_owned();
        let name = Path::new(&path).file_name().unwrap_or(&path).to_string_lossy().into_owned();
        Self { name, path, args: Vec::new(), env: Vec::new(), dir: None, fifo_priority: None }
    }

    /// Calls it something else in logs and errors.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the rest is inherited.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it in this directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Runs it with `SCHED_FIFO`, for probes that stamp times.
    pub fn fifo(mut self, priority: u8) -> Self {
        self.fifo_priority = Some(priority);
        self
    }

    /// Has it started by another program: these words, and then its own.
    pub fn behind(mut self, words: &[&str]) -> Self {
        let mut all = words.iter().map(OsString::from).chain([self.path]).chain(self.args);
        self.path = all.next().unwrap_or_default();
        self.args = all.collect();
        self
    }

    /// The words that start it inside namespace `netns`.
    fn argv(&self, netns: &str) -> Vec<OsString> {
        let mut argv: Vec<OsString> = ["ip", "netns", "exec", netns].map(OsString::from).into();
        if let Some(priority) = self.fifo_priority {
            argv.extend(["chrt".into(), "-f".into(), priority.to_string().into()]);
        }
        argv.push(self.path.clone());
        argv.extend(self.args.iter().cloned());
        argv
    }
}

/// A running (or ended) process of the lab.
#[derive(Debug)]
pub struct Proc {
    shared: Arc<Shared>,
}

impl Proc {
    /// Starts `program` inside `netns`, its lines copied to `log`. `ip netns exec` replaces itself, so the pid is the program's own.
    pub(crate) fn spawn(program: &Program, netns: &str, log: PathBuf) -> Result<Self> {
        let argv = program.argv(netns);
        let line = command_line(&argv);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env("PATH", tools_path()).envs(program.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if let Some(dir) = &program.dir {
            command.current_dir(dir);
        }
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut child = command.spawn().with_context(|| format!("`{line}` cannot be started"))?;
        let pid = child.id();
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
        let printed = Printed { lines: Vec::new(), file, open: streams.iter().flatten().count() };
        let state = State { child, status: None };
        let shared = Arc::new(Shared {
            name: program.name.clone(),
            command: line,
            log,
            pid,
            started: Instant::now(),
            state: Mutex::new(state),
            printed: Mutex::new(printed),
            arrived: Condvar::new(),
        });
        for stream in streams.into_iter().flatten() {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("lines of {}", program.name)).spawn(move || shared.read(stream))?;
        }
        Ok(Self { shared })
    }

    /// The name used in logs and errors.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// The file with everything it printed, each line with the seconds since its start.
    pub fn log_file(&self) -> &Path {
        &self.shared.log
    }

    /// Everything printed so far, stdout and stderr in the order of arrival.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.printed).lines.clone()
    }

    /// A position in the output, for [`Proc::wait_for_after`].
    pub fn mark(&self) -> usize {
        lock(&self.shared.printed).lines.len()
    }

    /// The first line that contains `needle`, waiting for it when it has not come yet.
    pub fn wait_for(&self, needle: &str, timeout: Duration) -> Result<String> {
        self.wait_for_after(0, needle, timeout)
    }

    /// The first line after `mark` that contains `needle`.
    pub fn wait_for_after(&self, mark: usize, needle: &str, timeout: Duration) -> Result<String> {
        self.wait_for_line(mark, needle, |line| line.contains(needle), timeout)
    }

    /// The first line after `mark` for which `wanted` says yes; `what` names it in the error.
    pub fn wait_for_line(&self, mark: usize, what: &str, wanted: impl Fn(&str) -> bool, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let mut seen = mark;
        let mut printed = lock(&self.shared.printed);
        loop {
            if let Some(line) = printed.lines.iter().skip(seen).find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = printed.lines.len().max(mark);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || printed.open == 0 {
                let ended = printed.open == 0;
                drop(printed);
                bail!(
                    "{} {} without printing `{what}`{}",
                    self.name(),
                    if ended { "ended".into() } else { format!("ran {timeout:?}") },
                    self.tail()
                );
            }
            printed = self.shared.arrived.wait_timeout(printed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Is it still running?
    pub fn running(&self) -> bool {
        self.shared.try_wait().is_none()
    }

    /// Waits for its end, and until its last lines are there. A death by signal N is 128 + N, as a shell says it.
    pub fn exit_code(&self, timeout: Duration) -> Result<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.shared.try_wait() {
                self.shared.read_to_end();
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} still runs after {timeout:?}{}", self.name(), self.tail());
            }
            self.shared.sleep_until_end(left)?;
        }
    }

    /// Asks it to end (SIGTERM), as a service manager does.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT, as Ctrl-C does.
    pub fn sigint(&self) {
        self.signal(Signal::INT);
    }

    /// SIGSTOP: it stands still until [`Proc::resume`], as a suspended machine does.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it without warning (SIGKILL) and waits until it is gone.
    pub fn kill9(&self) {
        self.shared.kill();
    }

    /// CPU time used so far, user and system, all threads. 0 after its end.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        cpu_ticks(&stat).unwrap_or(0) as f64 / TICKS_PER_SECOND
    }

    /// Resident memory in KiB. 0 after its end.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// The last lines it printed, as errors show them.
    pub fn tail(&self) -> String {
        let printed = lock(&self.shared.printed);
        let from = printed.lines.len().saturating_sub(LINES_IN_ERROR);
        let lines: String = printed.lines[from..].iter().map(|line| format!("\n    {line}")).collect();
        format!("\n  `{}`; its last lines:{}", self.shared.command, if lines.is_empty() { " none".into() } else { lines })
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn signal(&self, signal: Signal) {
        self.shared.signal(signal);
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

/// What the handle, the lab and the reading threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    name: String,
    command: String,
    log: PathBuf,
    pid: u32,
    started: Instant,
    state: Mutex<State>,
    printed: Mutex<Printed>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State {
    child: Child,
    status: Option<ExitStatus>,
}

#[derive(Debug)]
struct Printed {
    lines: Vec<String>,
    file: File,
    /// Streams not yet at their end.
    open: usize,
}

impl Shared {
    /// After its end: waits for what it printed last, for no longer than whoever it has started and left behind may take.
    fn read_to_end(&self) {
        let printed = lock(&self.printed);
        drop(self.arrived.wait_timeout_while(printed, LAST_LINES_PATIENCE, |printed| printed.open > 0));
    }

    /// Kills the process group and reaps the process. Nothing happens when it has ended before.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        let mut state = lock(&self.state);
        if state.status.is_none() {
            state.status = state.child.wait().ok();
        }
    }

    /// Signals the group while its leader is not reaped: so long the number cannot belong to anyone else.
    fn signal(&self, signal: Signal) {
        let state = lock(&self.state);
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (None, Some(group)) = (state.status, group) {
            // An error means that it ended a moment ago, which is what a signal is for.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Sleeps until it has ended, or for so long. Whoever looked again and again would be in the way of what is measured meanwhile.
    fn sleep_until_end(&self, longest: Duration) -> Result<()> {
        let process = {
            let state = lock(&self.state);
            if state.status.is_some() {
                return Ok(());
            }
            // Nobody else has its number before its end is known here.
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("INVARIANT: a process has a number")?;
            pidfd_open(pid, PidfdFlags::empty()).context("watch a process")?
        };
        let longest = Timespec::try_from(longest).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&longest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for the end of a process"),
        }
    }

    fn try_wait(&self) -> Option<ExitStatus> {
        let mut state = lock(&self.state);
        if state.status.is_none() {
            state.status = state.child.try_wait().ok().flatten();
        }
        state.status
    }

    fn read(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            bytes.clear();
            let mut printed = lock(&self.printed);
            // The log is for people: that it cannot be written must not fail the test.
            let _ = writeln!(printed.file, "[{:9.3}] {line}", self.started.elapsed().as_secs_f64());
            if printed.lines.len() < LINES_MAX {
                printed.lines.push(line);
            }
            self.arrived.notify_all();
        }
        lock(&self.printed).open -= 1;
        self.arrived.notify_all();
    }
}

/// utime + stime of `/proc/PID/stat` (fields 14 and 15; the name before them may contain anything but ends with the last bracket).
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// A panicking test must still be able to clean up: poisoning is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_after_a_name_with_brackets() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_ticks(stat), Some(42));
    }
}
