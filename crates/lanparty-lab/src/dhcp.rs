//! DHCP as LANs have it: dnsmasq gives leases, Debian's dhclient takes them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::process::{Proc, Program};
use crate::requirements::find_program;

/// How long dnsmasq may take to start.
const START_WITHIN: Duration = Duration::from_secs(10);

/// dhclient's hook: gives the interface its address and its MTU, and leaves routes and `/etc/resolv.conf` alone.
const CLIENT_SCRIPT: &str = r#"#!/bin/sh
case "$reason" in
PREINIT) ip link set dev "$interface" up ;;
BOUND|RENEW|REBIND|REBOOT)
    [ -z "$old_ip_address" ] || [ "$old_ip_address" = "$new_ip_address" ] || ip -4 addr flush dev "$interface"
    [ -z "$new_interface_mtu" ] || ip link set dev "$interface" mtu "$new_interface_mtu"
    ip -4 addr replace "$new_ip_address/${new_subnet_mask:-255.255.255.0}" broadcast + dev "$interface" ;;
EXPIRE|FAIL|RELEASE|STOP) ip -4 addr flush dev "$interface" ;;
esac
exit 0
"#;

/// What dhclient asks for, and how patiently: it tries again every few seconds, as a player would.
const CLIENT_CONFIG: &str = "timeout 60;\nretry 5;\ninitial-interval 1;\nbackoff-cutoff 3;\n\
    request subnet-mask, broadcast-address, interface-mtu, dhcp-lease-time, dhcp-server-identifier;\n";

/// The LAN's DHCP server.
#[derive(Debug)]
pub struct DhcpServer {
    /// dnsmasq itself; with `--log-dhcp` it prints every message.
    pub proc: Proc,
    lease_file: PathBuf,
}

/// A row of the server's lease file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLease {
    /// Whose it is, as `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// The address leased.
    pub address: Ipv4Addr,
    /// What the client calls itself, if it says so.
    pub name: Option<String>,
}

impl DhcpServer {
    /// Serves `first` to `last` of a /24 on one interface. `options` are more of dnsmasq's own, such as `--dhcp-option=26,1280`.
    pub fn start(host: &Namespace, interface: &str, first: Ipv4Addr, last: Ipv4Addr, options: &[&str]) -> Result<Self> {
        let lease_file = host.dir().join(format!("{}-dnsmasq.leases", host.host()));
        let dnsmasq = Program::new(find_program("dnsmasq").context("dnsmasq is not installed (Debian: dnsmasq-base)")?)
            .args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-hosts", "--no-resolv", "--port=0"])
            .args(["--log-dhcp", "--log-facility=-", "--dhcp-authoritative", "--no-ping", "--bind-interfaces"])
            // No router in the offer: a remote player's default route must not move to the LAN.
            .arg("--dhcp-option=3")
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-range={first},{last},255.255.255.0,1h"))
            .arg(format!("--dhcp-leasefile={}", lease_file.display()))
            .args(options);
        let proc = host.spawn(dnsmasq)?;
        // Its last line before it serves (it is not quite the last one with --port=0, hence no exact match).
        proc.wait_for("DHCP, IP range", START_WITHIN)?;
        Ok(Self { proc, lease_file })
    }

    /// The leases it has given.
    pub fn leases(&self) -> Result<Vec<ServerLease>> {
        // The file appears with the first lease.
        let text = fs::read_to_string(&self.lease_file).unwrap_or_default();
        text.lines().map(|line| parse_server_lease(line).with_context(|| format!("the line `{line}` of dnsmasq's leases"))).collect()
    }
}

/// `EXPIRY MAC ADDRESS NAME CLIENT-ID`, `*` for no name.
fn parse_server_lease(line: &str) -> Option<ServerLease> {
    let mut fields = line.split_whitespace().skip(1);
    let (mac, address, name) = (fields.next()?, fields.next()?, fields.next()?);
    Some(ServerLease { mac: mac.into(), address: address.parse().ok()?, name: (name != "*").then(|| name.into()) })
}

/// A running dhclient and the address it got.
#[derive(Debug)]
pub struct DhcpClient {
    /// dhclient itself. It goes on to renew; dropping it takes the address away from nobody.
    pub proc: Proc,
    /// The leased address.
    pub address: Ipv4Addr,
    /// The server that gave it.
    pub server: Ipv4Addr,
}

/// Gets a lease for `interface`, as a freshly plugged-in machine does. The error shows the conversation as far as it went.
pub fn dhclient(host: &Namespace, interface: &str, timeout: Duration) -> Result<DhcpClient> {
    let proc = start_dhclient(host, interface)?;
    let bound = proc.wait_for_line(0, "bound to", |line| line.starts_with("bound to ") || line.contains("No DHCPOFFERS"), timeout)?;
    ensure!(bound.starts_with("bound to "), "dhclient on {}: {bound}{}", host.host(), proc.tail());
    let acknowledged = proc.wait_for("DHCPACK of ", timeout)?;
    let address = bound.split_whitespace().nth(2).and_then(|address| address.parse().ok());
    let server = acknowledged.split_whitespace().nth(4).and_then(|server| server.parse().ok());
    let (address, server) = address.zip(server).with_context(|| format!("`{acknowledged}`, `{bound}`"))?;
    Ok(DhcpClient { proc, address, server })
}

/// Starts dhclient and does not wait: for tests of what happens when no answer comes.
pub fn start_dhclient(host: &Namespace, interface: &str) -> Result<Proc> {
    let file = |what: &str| host.dir().join(format!("{}-{interface}-dhclient.{what}", host.host()));
    let [script, config] = [("sh", CLIENT_SCRIPT), ("conf", CLIENT_CONFIG)].map(|(what, text)| {
        let path = file(what);
        fs::write(&path, text).with_context(|| format!("write {}", path.display())).map(|()| path)
    });
    let (script, config) = (script?, config?);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).with_context(|| format!("chmod {}", script.display()))?;
    let program = Program::new(find_program("dhclient").context("dhclient is not installed (Debian: isc-dhcp-client)")?)
        .args(["-4", "-d", "-1", "-v", "-cf"])
        .arg(config)
        .arg("-sf")
        .arg(script)
        .arg("-lf")
        .arg(file("leases"))
        .arg("-pf")
        .arg(file("pid"))
        .arg(interface);
    host.spawn(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_lease_file_is_read() {
        let lease = parse_server_lease("1795400000 02:00:00:00:00:07 10.73.42.123 * 01:02:00:00:00:00:07").unwrap();
        assert_eq!(lease, ServerLease { mac: "02:00:00:00:00:07".into(), address: Ipv4Addr::new(10, 73, 42, 123), name: None });
        assert_eq!(parse_server_lease("1795400000 02:00:00:00:00:07 10.73.42.9 pc *").unwrap().name.as_deref(), Some("pc"));
        assert_eq!(parse_server_lease("duid 00:01"), None);
    }
}
