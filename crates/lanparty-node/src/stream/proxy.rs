//! The HTTP proxy that a network wants its users to go through: from a URL, or from the environment as other programs read it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::BASE64;

use crate::{ExitCode, Fault, RelayAddress};

/// Port of `http://` when none is given.
const HTTP_PORT: u16 = 80;

/// An HTTP proxy. Shows itself without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// For the field Proxy-Authorization (RFC 7617).
    credentials: Option<String>,
}

impl Proxy {
    /// The proxy for a stream to `relay`: the one that the user gave, or what this program's environment names.
    ///
    /// # Errors
    /// When the environment names what is no proxy that we can use.
    pub fn for_stream(given: Option<&Self>, relay: &RelayAddress) -> Result<Option<Self>, Fault> {
        let unusable = |e| Fault::new(ExitCode::Configuration, e, "correct the environment variable, or say --proxy");
        match given {
            Some(proxy) => Ok(Some(proxy.clone())),
            None => Self::from_environment(|name| std::env::var(name).ok(), relay).map_err(unusable),
        }
    }

    /// The proxy for `relay` that the environment names: `https_proxy`, `HTTPS_PROXY`, `all_proxy` or `ALL_PROXY`, the first that is
    /// set, unless `no_proxy` or `NO_PROXY` excepts the relay.
    ///
    /// `variable` gives the value of an environment variable.
    ///
    /// # Errors
    /// Words that name the variable, when its value is no proxy that we can use.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>, relay: &RelayAddress) -> Result<Option<Self>, String> {
        let first =
            |names: &[&'static str]| names.iter().find_map(|name| variable(name).filter(|v| !v.trim().is_empty()).map(|v| (*name, v)));
        let Some((name, url)) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]) else { return Ok(None) };
        let excepted = first(&["no_proxy", "NO_PROXY"]).is_some_and(|(_, list)| is_excepted(&list, relay));
        // To a proxy, "localhost" is itself.
        let is_local = relay.host().eq_ignore_ascii_case("localhost") || relay.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if excepted || is_local {
            return Ok(None);
        }
        url.trim().parse().map(Some).map_err(|e| format!("the environment variable {name}: {e}"))
    }

    /// Without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

impl FromStr for Proxy {
    type Err = String;

    /// `http://USER:PASSWORD@HOST:PORT`; scheme, user, password and port may be left out. Words never repeat user or password.
    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err("a proxy that is itself spoken to in TLS (https://) is not supported; most take http:// as well".into()),
            scheme if scheme.starts_with("socks") => {
                return Err(format!("a SOCKS proxy ({scheme}://) is not supported; an HTTP proxy that allows CONNECT is"));
            }
            _ => return Err("this is no proxy; write it as http://HOST:PORT".into()),
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        if place.contains(['/', '?', '#', ' ']) {
            return Err("a proxy has no path; write it as http://HOST:PORT".into());
        }
        let (host, port) = host_and_port(place).ok_or_else(|| format!("`{place}` is no host of a proxy; write it as http://HOST:PORT"))?;
        Ok(Self { host, port, credentials: user.map(credentials).transpose()? })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.credentials.is_some() { " with a user" } else { "" };
        write!(f, "Proxy({self}{secret})")
    }
}

fn host_and_port(place: &str) -> Option<(String, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => place.find(':').map_or((place, ""), |colon| place.split_at(colon)),
    };
    let port = match port {
        "" | ":" => HTTP_PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
    };
    (!host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic())).then(|| (host.to_owned(), port))
}

fn credentials(user: &str) -> Result<String, String> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (user, password) = (percent_decoded(user), percent_decoded(password));
    if user.contains(&b':') {
        return Err("the proxy's user name has a colon in it, which HTTP cannot carry (RFC 7617)".into());
    }
    Ok(BASE64.encode(&[&user[..], b":", &password].concat()))
}

/// RFC 3986 §2.1. A percent sign that begins no octet means itself: people paste passwords.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let octet = (*first == b'%').then(|| behind.first_chunk::<2>()).flatten().and_then(|digits| hex::decode(digits).ok());
        match octet.as_deref() {
            Some([octet]) => {
                bytes.push(*octet);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// Whether a list as in `NO_PROXY` has the relay: `*`, a name and all below it, an address, a network, each perhaps with a port.
fn is_excepted(list: &str, relay: &RelayAddress) -> bool {
    list.split([',', ' ', '\t']).map(str::trim).filter(|e| !e.is_empty()).any(|entry| excepts(entry, relay))
}

fn excepts(entry: &str, relay: &RelayAddress) -> bool {
    let host = relay.host().trim_end_matches('.').to_ascii_lowercase();
    if entry == "*" {
        return true;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return excepts_address(entry, ip, relay.port());
    }
    let (name, port) = entry.rsplit_once(':').map_or((entry, None), |(name, port)| (name, Some(port)));
    if port.is_some_and(|port| port.parse() != Ok(relay.port())) {
        return false;
    }
    let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
    // On a boundary between labels: `example.net` does not except `notexample.net`.
    let below = host.strip_suffix(&name).is_some_and(|above| above.is_empty() || above.ends_with('.'));
    !name.is_empty() && below
}

fn excepts_address(entry: &str, ip: IpAddr, port: u16) -> bool {
    if let Ok(with_port) = entry.parse::<std::net::SocketAddr>() {
        return with_port.ip() == ip && with_port.port() == port;
    }
    let (network, bits) = entry.split_once('/').map_or((entry, None), |(network, bits)| (network, Some(bits)));
    let Ok(network) = network.trim_matches(['[', ']']).parse::<IpAddr>() else { return false };
    match bits {
        None => network == ip,
        Some(bits) => bits.parse().is_ok_and(|bits| is_within(ip, network, bits)),
    }
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let differ = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => u128::from(ip.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(ip), IpAddr::V6(network)) => ip.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    bits <= whole && differ.leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], relay: &str) -> Result<Option<String>, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Proxy::from_environment(variable, &relay.parse().unwrap()).map(|proxy| proxy.map(|p| p.to_string()))
    }

    #[test]
    fn a_proxy_is_read_from_what_people_write() {
        for (url, shown, credentials) in [
            ("http://proxy.example:3128", "proxy.example:3128", None),
            ("http://proxy.example:3128/", "proxy.example:3128", None),
            ("HTTP://proxy.example", "proxy.example:80", None),
            ("proxy.example:8080", "proxy.example:8080", None),
            ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", None),
            ("http://192.0.2.1", "192.0.2.1:80", None),
            ("http://user:secret@proxy.example:3128", "proxy.example:3128", Some("user:secret")),
            ("http://user@proxy.example:3128", "proxy.example:3128", Some("user:")),
            ("http://us%20er:p%40ss%3Aword@proxy.example:3128", "proxy.example:3128", Some("us er:p@ss:word")),
            ("http://user:p@ss%zz%@proxy.example:3128", "proxy.example:3128", Some("user:p@ss%zz%")),
        ] {
            let proxy: Proxy = url.parse().unwrap();
            let decoded = proxy.credentials().map(|c| String::from_utf8(BASE64.decode(c.as_bytes()).unwrap()).unwrap());
            assert_eq!((proxy.to_string().as_str(), decoded.as_deref()), (shown, credentials), "{url}");
        }
    }

    #[test]
    fn what_is_no_proxy_of_ours_is_refused_without_repeating_its_password() {
        for (url, words) in [
            ("https://user:secret@proxy.example:3128", "TLS"),
            ("socks5h://user:secret@proxy.example:1080", "SOCKS"),
            ("ftp://user:secret@proxy.example", "http://HOST:PORT"),
            ("http://user:secret@proxy.example/path", "no path"),
            ("http://user:secret@:3128", "no host"),
            ("http://user:secret@proxy.example:0", "no host"),
            ("http://user:secret@proxy.example:port", "no host"),
            ("http://user:secret@[2001:db8::1", "no host"),
            ("http://us%3Aer:secret@proxy.example", "colon"),
            ("http://", "no host"),
        ] {
            let refused = url.parse::<Proxy>().unwrap_err();
            assert!(refused.contains(words) && !refused.contains("secret"), "{url}: {refused}");
        }
        let proxy: Proxy = "http://user:secret@proxy.example:3128".parse().unwrap();
        let shown = format!("{proxy} {proxy:?}");
        assert!(!shown.contains("secret") && !shown.contains(proxy.credentials().unwrap()), "{shown}");
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let relay = "relay.example.net:443";
        let (small, large) = (("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:2"));
        assert_eq!(of(&[], relay), Ok(None));
        assert_eq!(of(&[large, small], relay), Ok(Some("a:1".into())));
        assert_eq!(of(&[large, ("https_proxy", " ")], relay), Ok(Some("b:2".into())));
        assert_eq!(of(&[("ALL_PROXY", "http://c:3")], relay), Ok(Some("c:3".into())));
        assert_eq!(of(&[("http_proxy", "http://d:4")], relay), Ok(None), "that is for another scheme");
        let refused = of(&[("all_proxy", "socks5://x:1")], relay).unwrap_err();
        assert!(refused.contains("all_proxy") && refused.contains("SOCKS"), "{refused}");
        assert_eq!(of(&[small], "localhost:443"), Ok(None));
        assert_eq!(of(&[small], "127.0.0.2:443"), Ok(None));
    }

    #[test]
    fn no_proxy_excepts_names_and_what_is_below_them_addresses_and_networks() {
        let excepted = |list: &str, relay: &str| of(&[("https_proxy", "http://a:1"), ("no_proxy", list)], relay) == Ok(None);
        for (list, relay) in [
            ("*", "relay.example.net"),
            ("example.org, example.net", "relay.example.net"),
            (".example.net", "relay.example.net"),
            ("*.example.net", "relay.example.net"),
            (".example.net", "example.net"),
            ("RELAY.example.net.", "relay.Example.NET"),
            ("example.org relay.example.net", "relay.example.net"),
            ("relay.example.net:443", "relay.example.net:443"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("192.0.2.0/24", "192.0.2.200"),
            ("0.0.0.0/0", "192.0.2.200"),
            ("2001:db8::/32", "[2001:db8:1::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
        ] {
            assert!(excepted(list, relay), "{list} has {relay}");
        }
        for (list, relay) in [
            ("", "relay.example.net"),
            (",", "relay.example.net"),
            (".", "relay.example.net"),
            ("ample.net", "relay.example.net"),
            ("relay.example.net:444", "relay.example.net:443"),
            ("x.relay.example.net", "relay.example.net"),
            ("192.0.2.0/25", "192.0.2.200"),
            ("192.0.2.0/33", "192.0.2.0"),
            ("192.0.2.1:444", "192.0.2.1:443"),
            ("2.1", "192.0.2.1"),
            ("::/0", "192.0.2.1"),
        ] {
            assert!(!excepted(list, relay), "{list} has no {relay}");
        }
        assert!(!excepted("", "relay.example.net") && of(&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "*")], "a.example") == Ok(None));
    }
}
