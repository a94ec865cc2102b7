//! This machine's own DHCP client, run on the TAP when the user asks for it.
//!
//! It sets the address and nothing else: a default route or name server from the LAN would take this machine's internet
//! with it.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lanparty_node::{ExitCode, Fault, runtime_dir};
use tokio::process::{Child, Command};
use tracing::info;

mod leftovers;

/// A client that ended by itself is missed only after this long, so that one that cannot run costs nothing.
const RESTART_AFTER: Duration = Duration::from_secs(2);

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
        dhclient.args(["-4", "-d", "-q", "-sf"]).arg(&script).arg("-lf").arg(&leases).arg("-pf").arg(&pid).arg(interface);
        let files = vec![script, leases, pid, lease];
        let metric = metric.map_or_else(String::new, |metric| format!("metric {metric}"));
        // dhclient hands on what `-e` says, and nothing else.
        dhclient.arg("-e").arg(format!("metric={metric}"));
        udhcpc.env("metric", &metric);
        for (name, command) in [("udhcpc", &mut udhcpc), ("dhclient", &mut dhclient)] {
            match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn() {
                Ok(child) => {
                    info!(%interface, program = name, "DHCP client started");
                    return Ok(Self { child, name, files, ended: None });
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

    /// Resolves a while after the client ended by itself, with words. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> String {
        let status = self.child.wait().await;
        let ended = *self.ended.get_or_insert_with(Instant::now);
        tokio::time::sleep_until((ended + RESTART_AFTER).into()).await;
        match status {
            Ok(status) => format!("{} ended: {status}", self.name),
            Err(e) => format!("{} is lost: {e}", self.name),
        }
    }
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
