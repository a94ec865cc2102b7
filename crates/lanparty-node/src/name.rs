//! Names a user types: the address of a relay, or of a cable's other end.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{ExitCode, Fault};

/// Port of a relay when none is given.
const RELAY_PORT: u16 = 8443;
/// Port of a cable's end when none is given: below the relay's, whose probes have the two above it.
pub const CABLE_PORT: u16 = 8442;

/// `HOST:PORT` of a relay; the port may be left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayAddress {
    host: String,
    port: u16,
}

impl RelayAddress {
    /// The host, without brackets: what a certificate is issued for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, of whichever transport.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    #[must_use]
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// Every address the host has now.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, Fault> {
        let unresolved = |detail: String| {
            let cause = format!("the relay's name `{}` does not resolve: {detail}", self.host);
            Fault::new(ExitCode::Unexpected, cause, "check the spelling of --relay and this machine's DNS")
        };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|e| unresolved(e.to_string()))?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() { Err(unresolved("no address".into())) } else { Ok(addresses) }
    }
}

impl FromStr for RelayAddress {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (host, port) = parse(s, RELAY_PORT)
            .map_err(|why| why.unwrap_or_else(|| format!("`{s}` is no relay address; write it as relay.example.net:{RELAY_PORT}")))?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.host, self.port, f)
    }
}

/// `HOST:PORT` of a cable's other end; the port may be left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CableAddress {
    host: String,
    port: u16,
}

impl CableAddress {
    /// Every address the host has now.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, Fault> {
        let unresolved = |detail: String| {
            let cause = format!("the other end's name `{}` does not resolve: {detail}", self.host);
            Fault::new(ExitCode::Unexpected, cause, "check the spelling of --remote and this machine's DNS")
        };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|e| unresolved(e.to_string()))?;
        let addresses: Vec<_> = found.collect();
        if addresses.is_empty() { Err(unresolved("no address".into())) } else { Ok(addresses) }
    }
}

impl FromStr for CableAddress {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (host, port) = parse(s, CABLE_PORT).map_err(|why| {
            why.unwrap_or_else(|| format!("`{s}` is no host; write it as host.example.net or host.example.net:{CABLE_PORT}"))
        })?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for CableAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.host, self.port, f)
    }
}

/// Host and port; what is wrong with the port, or nothing when the whole is no address.
fn parse(s: &str, default_port: u16) -> Result<(String, u16), Option<String>> {
    if let Ok(addr) = s.parse::<SocketAddr>() {
        return Ok((addr.ip().to_string(), addr.port()));
    }
    if let Ok(ip) = s.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return Ok((ip.to_string(), default_port));
    }
    let (host, port) = s.rsplit_once(':').map_or((s, None), |(host, port)| (host, Some(port)));
    if host.is_empty() || s.contains(['/', ' ']) || host.contains(':') {
        return Err(None);
    }
    let number = |port: &str| port.parse().ok().filter(|port| *port != 0).ok_or_else(|| Some(format!("`{port}` is no port: 1 to 65535")));
    Ok((host.to_owned(), port.map_or(Ok(default_port), number)?))
}

fn show(host: &str, port: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

/// Program and version, as a member introduces itself to a relay.
#[must_use]
pub fn software(program: &str) -> String {
    format!("{program} {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_named_by_host_address_or_both_with_port() {
        for (text, shown) in [
            ("relay.example.net:443", "relay.example.net:443"),
            ("relay.example.net", "relay.example.net:8443"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("2001:db8::1", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(text.parse::<RelayAddress>().unwrap().to_string(), shown);
        }
        for bad in ["", ":443", "host:port", "https://host:1", "host:0", "a b:1"] {
            assert!(bad.parse::<RelayAddress>().is_err(), "{bad}");
        }
        let words = |bad: &str| bad.parse::<RelayAddress>().unwrap_err();
        assert!(words("https://relay.example.net").contains("write it as relay.example.net:8443"), "a URL is no wrong port");
        assert!(words("relay.example.net:0").contains("`0` is no port"));
    }
}
