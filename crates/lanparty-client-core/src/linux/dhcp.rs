//! This machine's own DHCP client, run on the TAP when the user asks for it.
//!
//! It sets the address and nothing else: a default route or name server from the LAN would take this machine's internet
//! with it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lanparty_node::{ExitCode, Fault, runtime_dir};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tracing::info;

mod leftovers;

/// A client that ended by itself is missed only after this long, so that one that cannot run costs nothing.
const RESTART_AFTER: Duration = Duration::from_secs(2);
/// One that ends at once, again and again, rests twice as long each time, up to this.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(60);
/// One that ran for so long was no failure from the start.
const WORKED_AFTER: Duration = Duration::from_secs(10);
/// Lines of its errors that are kept for who asks why it ended.
const LINES_MAX: usize = 8;
/// What dhclient says behind every error, at length.
const BOILERPLATE: &str = "If you think you have received this message due to a bug";

/// Serves udhcpc (`$1`, `$ip`, `$mask`) and dhclient (`$reason`, `$new_ip_address`, `$new_subnet_mask`).
const SCRIPT: &str = r#"#!/bin/sh
# Written by lanparty at every start: sets the leased address, takes no routes and no name servers. Of the interface's addresses it
# removes its own lease alone.
event="${reason:-$1}"
kept="${0%.sh}.lease"
lease="${new_ip_address:-$ip}/${new_subnet_mask:-${mask:-24}}"
before=$(cat "$kept" 2>/dev/null)
case "$event" in
bound | renew | BOUND | RENEW | REBIND | REBOOT)
    [ -z "$before" ] || [ "$before" = "$lease" ] || ip address del "$before" dev "$interface"
    echo "$lease" >"$kept"
    ip address replace "$lease" broadcast + dev "$interface" $metric ;;
deconfig | EXPIRE | FAIL | STOP | RELEASE)
    [ -z "$before" ] || ip address del "$before" dev "$interface"
    rm -f "$kept" ;;
esac
exit 0
"#;

/// A DHCP client at work. Ended when dropped.
pub(crate) struct DhcpClient {
    child: Child,
    name: &'static str,
    files: Vec<PathBuf>,
    /// The last lines of its errors.
    said: Arc<Mutex<VecDeque<String>>>,
    started: Instant,
    rest: Duration,
    ended: Option<Instant>,
}

impl DhcpClient {
    /// Starts the first DHCP client this machine has.
    pub(crate) fn start(interface: &str, metric: Option<u32>) -> Result<Self, Fault> {
        let dir = runtime_dir();
        let script = dir.join(format!("dhcp-{}.sh", std::process::id()));
        let failed = |e: &dyn std::fmt::Display| Fault::new(ExitCode::Unexpected, format!("cannot start a DHCP client: {e}"), "");
        leftovers::end_leftovers(&dir);
        std::fs::create_dir_all(&dir).and_then(|()| write_script(&script)).map_err(|e| failed(&e))?;
        let [leases, pid, lease] = ["leases", "pid", "lease"].map(|ending| script.with_extension(ending));
        let mut udhcpc = Command::new("udhcpc");
        udhcpc.args(["-f", "-t", "5", "-T", "2", "-A", "5", "-i", interface, "-s"]).arg(&script);
        let mut dhclient = Command::new("dhclient");
        // Without `-q`: that keeps its errors back, too.
        dhclient.args(["-4", "-d", "-sf"]).arg(&script).arg("-lf").arg(&leases).arg("-pf").arg(&pid).arg(interface);
        let files = vec![script, leases, pid, lease];
        let metric = metric.map_or_else(String::new, |metric| format!("metric {metric}"));
        // dhclient hands on what `-e` says, and nothing else.
        dhclient.arg("-e").arg(format!("metric={metric}"));
        udhcpc.env("metric", &metric);
        for (name, command) in [("udhcpc", &mut udhcpc), ("dhclient", &mut dhclient)] {
            match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn() {
                Ok(mut child) => {
                    info!(%interface, program = name, "DHCP client started");
                    let said = Arc::<Mutex<VecDeque<String>>>::default();
                    if let Some(errors) = child.stderr.take() {
                        tokio::spawn(listen(errors, Arc::clone(&said)));
                    }
                    return Ok(Self { child, name, files, said, started: Instant::now(), rest: RESTART_AFTER, ended: None });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(&format!("{name}: {e}"))),
            }
        }
        let advice = "install udhcpc or isc-dhcp-client, or leave --dhcp out and set the address yourself";
        Err(Fault::new(ExitCode::Permission, "this machine has no DHCP client that lanparty knows", advice))
    }

    /// Another one takes its place, and removes this one's address when the server says so.
    pub(crate) fn leave_lease(&mut self) {
        self.files.retain(|file| file.extension().is_none_or(|ending| ending != "lease"));
    }

    /// The same, that rests so long when it ends.
    pub(crate) const fn resting(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// How long the next one rests when it ends.
    pub(crate) fn next_rest(&self) -> Duration {
        let ran = self.ended.unwrap_or_else(Instant::now).saturating_duration_since(self.started);
        rest_after(self.rest, ran)
    }

    /// Resolves a while after the client ended by itself, with words. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> String {
        let status = self.child.wait().await;
        let ended = *self.ended.get_or_insert_with(Instant::now);
        tokio::time::sleep_until((ended + self.rest).into()).await;
        let why = self.said.lock().ok().and_then(|said| reason(&said)).unwrap_or_default();
        let is_refused = why.contains("not permitted") || why.contains("denied");
        let rights =
            if is_refused && !rustix::process::geteuid().is_root() { "; it needs root: run the client as root for --dhcp" } else { "" };
        let why = if why.is_empty() { why } else { format!(", and said last: {why}") };
        match status {
            Ok(status) => format!("{} ended: {status}{why}{rights}", self.name),
            Err(e) => format!("{} is lost: {e}", self.name),
        }
    }
}

fn rest_after(rest: Duration, ran: Duration) -> Duration {
    if ran >= WORKED_AFTER { RESTART_AFTER } else { (rest * 2).min(RESTART_AFTER_MAX) }
}

/// Keeps the last lines of what a client says, until it has ended.
async fn listen(errors: ChildStderr, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(errors).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = lanparty_core::one_line(&String::from_utf8_lossy(&line));
        let Ok(mut said) = said.lock() else { return };
        if !line.trim().is_empty() && !said.iter().any(|before| before.contains(BOILERPLATE)) {
            said.push_back(line);
        }
        if said.len() > LINES_MAX {
            said.pop_front();
        }
    }
}

/// The last line of it, without what dhclient says behind every error.
fn reason(said: &VecDeque<String>) -> Option<String> {
    said.iter().rev().find(|line| !line.contains(BOILERPLATE)).map(|line| line.trim().to_owned())
}

impl Drop for DhcpClient {
    fn drop(&mut self) {
        // The process itself ends by `kill_on_drop`.
        self.files.iter().for_each(|f| drop(std::fs::remove_file(f)));
    }
}

fn write_script(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, SCRIPT)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_at_once_rests_longer_each_time_and_one_that_worked_does_not() {
        let rests = std::iter::successors(Some(RESTART_AFTER), |rest| Some(rest_after(*rest, Duration::ZERO)));
        assert_eq!(rests.take(7).map(|rest| rest.as_secs()).collect::<Vec<_>>(), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(rest_after(RESTART_AFTER_MAX, WORKED_AFTER), RESTART_AFTER);
    }

    #[tokio::test]
    async fn the_last_line_before_the_boilerplate_is_the_reason() {
        let script = "echo 'For info, please visit https://www.isc.org/software/dhcp/' >&2; echo >&2; echo 'Open a socket for LPF: Operation not permitted' >&2; echo >&2; \
            echo 'If you think you have received this message due to a bug rather' >&2; echo 'exiting.' >&2";
        let mut child = Command::new("sh").args(["-c", script]).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<VecDeque<String>>>::default();
        listen(child.stderr.take().unwrap(), Arc::clone(&said)).await;
        assert_eq!(reason(&said.lock().unwrap()).as_deref(), Some("Open a socket for LPF: Operation not permitted"));
    }
}
