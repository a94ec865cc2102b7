//! A rule in one line, in n3n's grammar: `SRC[/LEN][:PORTS],DST[/LEN][:PORTS],TCP+/-,UDP+/-,ICMP+/-`, PORTS a number or
//! `[FIRST,LAST]`. Without a length it is one host, without ports all of them; a protocol that is not named is not spoken of.
//!
//! Beyond n3n: IPv6. Its colons could be a port's, so an IPv6 address has its length, or stands in brackets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::{FilterRule, Net, PortRange, Protocol, Verdict};

/// A rule that is none.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("at character {at}: {problem}")]
pub struct RuleError {
    /// Where, counted from one.
    pub at: usize,
    /// What is wrong there.
    pub problem: String,
}

impl FromStr for FilterRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut cursor = Cursor { text, at: 0 };
        let (src, src_ports) = cursor.end("source")?;
        cursor.comma("the destination, as DST/LEN")?;
        let dst_at = cursor.at;
        let (dst, dst_ports) = cursor.end("destination")?;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(cursor.error(dst_at, "source and destination are not of one family: both IPv4, or both IPv6".to_owned()));
        }
        let verdicts = cursor.protocols()?;
        Ok(Self { name: None, src: Some(src), src_ports, dst: Some(dst), dst_ports, verdicts })
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Everything up to one of these characters.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let rest = self.rest();
        let taken = rest.split(ends).next().unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn skip(&mut self, what: char) -> bool {
        let is_there = self.rest().starts_with(what);
        self.at += if is_there { what.len_utf8() } else { 0 };
        is_there
    }

    fn error(&self, at: usize, problem: String) -> RuleError {
        RuleError { at: self.text.get(..at).unwrap_or(self.text).chars().count() + 1, problem }
    }

    fn comma(&mut self, then: &str) -> Result<(), RuleError> {
        if self.skip(',') {
            return Ok(());
        }
        let problem = match self.rest().chars().next() {
            None => format!("the rule ends here; `,` and then {then} must follow"),
            Some(other) => format!("`{other}` does not belong here; `,` and then {then} must follow"),
        };
        Err(self.error(self.at, problem))
    }

    /// `ADDRESS[/LEN][:PORTS]`.
    fn end(&mut self, which: &str) -> Result<(Net, PortRange), RuleError> {
        let start = self.at;
        let address = self.address(which)?;
        let host_len = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = if self.skip('/') { self.number("prefix length", u8::MAX.into())? } else { host_len };
        let prefix_len = u8::try_from(prefix_len).unwrap_or(u8::MAX);
        let net = Net::new(address, prefix_len).map_err(|problem| self.error(start, problem))?;
        let ports = if self.skip(':') { self.ports()? } else { PortRange::ALL };
        Ok((net, ports))
    }

    fn address(&mut self, which: &str) -> Result<IpAddr, RuleError> {
        let start = self.at;
        let not_one = |cursor: &Self, text: &str| {
            let found = if text.is_empty() { format!("the {which} address is missing") } else { format!("`{text}` is no address") };
            cursor.error(start, format!("{found}; write 192.168.8.0/24 or fd00::/64"))
        };
        if self.skip('[') {
            let text = self.until(&[']']);
            let address = text.parse::<Ipv6Addr>().map_err(|_| not_one(self, text))?;
            return if self.skip(']') { Ok(address.into()) } else { Err(self.error(start, "this bracket is not closed".to_owned())) };
        }
        let text = self.until(&['/', ',', '[']);
        if text.matches(':').count() < 2 {
            self.at = start;
            let text = self.until(&['/', ',', ':']);
            return text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| not_one(self, text));
        }
        if self.rest().starts_with('/') {
            return text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| not_one(self, text));
        }
        let whole = "an IPv6 address has its prefix length behind it, or stands in brackets, as its colons could be a port's";
        Err(self.error(start, format!("{whole}: write fd00::1/128 or [fd00::1]:27015")))
    }

    /// `N`, or `[FIRST,LAST]`.
    fn ports(&mut self) -> Result<PortRange, RuleError> {
        let start = self.at;
        if !self.skip('[') {
            let port = self.port()?;
            return Ok(PortRange { first: port, last: port });
        }
        let first = self.port()?;
        self.comma("the last port")?;
        let last = self.port()?;
        if !self.skip(']') {
            return Err(self.error(self.at, "the port range ends with `]`".to_owned()));
        }
        PortRange::new(first, last).map_err(|problem| self.error(start, problem))
    }

    fn port(&mut self) -> Result<u16, RuleError> {
        self.number("port", u16::MAX.into()).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
    }

    fn number(&mut self, what: &str, max: u32) -> Result<u32, RuleError> {
        let start = self.at;
        let text = self.until(&[',', ':', '[', ']']);
        let number = text.parse().ok().filter(|number| *number <= max && text.bytes().all(|byte| byte.is_ascii_digit()));
        number.ok_or_else(|| self.error(start, format!("`{text}` is no {what}: a number from 0 to {max} stands here")))
    }

    /// `,TCP+,UDP-,ICMP+`.
    fn protocols(&mut self) -> Result<[Option<Verdict>; 4], RuleError> {
        let (mut verdicts, wanted) = ([None; 4], "TCP+, TCP-, UDP+, UDP-, ICMP+ or ICMP-");
        self.comma(wanted)?;
        loop {
            let start = self.at;
            let text = self.until(&[',']);
            let said = read_protocol(text).ok_or_else(|| self.error(start, not_a_protocol(text, wanted)))?;
            let slot = verdicts.iter_mut().zip(Protocol::ALL).find(|(_, protocol)| *protocol == said.0);
            let twice = slot.is_none_or(|(verdict, _)| verdict.replace(said.1).is_some());
            if twice {
                return Err(self.error(start, format!("{} is there twice", said.0.as_str().to_uppercase())));
            }
            if self.rest().is_empty() {
                return Ok(verdicts);
            }
            self.comma(wanted)?;
        }
    }
}

fn read_protocol(text: &str) -> Option<(Protocol, Verdict)> {
    let (name, verdict) = match text.strip_suffix('+') {
        Some(name) => (name, Verdict::Accept),
        None => (text.strip_suffix('-')?, Verdict::Drop),
    };
    let named = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("ICMP", Protocol::Icmp)];
    named.into_iter().find(|(spelled, _)| *spelled == name).map(|(_, protocol)| (protocol, verdict))
}

fn not_a_protocol(text: &str, wanted: &str) -> String {
    match read_protocol(&text.to_uppercase()) {
        Some(_) => format!("`{text}` is written in capitals: {}", text.to_uppercase()),
        None => format!("`{text}` is none of {wanted}"),
    }
}
