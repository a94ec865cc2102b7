//! A packet as people say it, for a filter to judge: `udp,10.0.0.5:40000,192.168.8.1:27015`, or a whole frame in hexadecimal.

use std::net::{IpAddr, SocketAddr};

const HEX: &str = "hex:";
const WORDS: &str = "write udp,FROM:PORT,TO:PORT, tcp,FROM:PORT,TO:PORT, icmp,FROM,TO, NUMBER,FROM,TO (an IP protocol), arp, or hex:FRAME";
const TCP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: u16 = 8;

/// A packet, as it was said and as a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketWords {
    /// As it was said.
    pub text: String,
    /// An Ethernet frame with it.
    pub frame: Vec<u8>,
}

/// The packet that `text` means.
///
/// # Errors
/// In words, when it means none.
pub fn parse_packet(text: &str) -> Result<PacketWords, String> {
    let frame = match text.strip_prefix(HEX) {
        Some(digits) => hex::decode(digits).map_err(|e| format!("the frame is no hexadecimal: {e}"))?,
        None if text == "arp" => ethernet(0x0806, &[0; 28]),
        None => packet(text)?,
    };
    Ok(PacketWords { text: text.to_owned(), frame })
}

fn packet(text: &str) -> Result<Vec<u8>, String> {
    let mut words = text.split(',');
    let (Some(protocol), Some(from), Some(to), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(WORDS.to_owned());
    };
    let has_ports = matches!(protocol, "tcp" | "udp");
    let (from, to) = (end(from, has_ports)?, end(to, has_ports)?);
    let number = match (protocol, from.ip()) {
        ("tcp", _) => 6,
        ("udp", _) => 17,
        ("icmp", IpAddr::V4(_)) => 1,
        ("icmp", IpAddr::V6(_)) => 58,
        (number, _) => number.parse().map_err(|_| format!("`{protocol}` is no protocol: {WORDS}"))?,
    };
    let payload = upper(number, from.port(), to.port());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let len = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
            let head = [&[0x45, 0][..], &len, &[0, 0, 0, 0, 64, number, 0, 0], &from.octets(), &to.octets()].concat();
            Ok(ethernet(0x0800, &[head, payload].concat()))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let len = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
            let head = [&[0x60, 0, 0, 0][..], &len, &[number, 64], &from.octets(), &to.octets()].concat();
            Ok(ethernet(0x86dd, &[head, payload].concat()))
        }
        _ => Err("both addresses are IPv4, or both are IPv6".to_owned()),
    }
}

fn end(text: &str, has_ports: bool) -> Result<SocketAddr, String> {
    if has_ports {
        return text.parse().map_err(|_| format!("`{text}` is no address with a port: write 192.168.8.1:27015 or [fd00::1]:27015"));
    }
    text.parse().map(|ip| SocketAddr::new(ip, 0)).map_err(|_| format!("`{text}` is no address: write 192.168.8.1 or fd00::1"))
}

fn upper(protocol: u8, from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    match protocol {
        6 => [&ports[..], &[0; TCP_HEADER_LEN - 4]].concat(),
        17 => [&ports[..], &UDP_HEADER_LEN.to_be_bytes(), &[0, 0]].concat(),
        // An echo request of either family.
        1 => vec![8, 0, 0, 0, 0, 0, 0, 0],
        58 => vec![128, 0, 0, 0, 0, 0, 0, 0],
        _ => vec![0; 8],
    }
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
    [&TO[..], &FROM, &kind.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use lanparty_proto::{Frame, Headers, Part};

    use super::*;

    fn headers(text: &str) -> Headers {
        Headers::read(&Frame::parse(&parse_packet(text).unwrap().frame).unwrap()).unwrap()
    }

    #[test]
    fn packets_are_what_their_words_say() {
        for (text, number, ports) in [
            ("udp,10.0.0.5:40000,192.168.8.1:27015", 17, Some((40000, 27015))),
            ("tcp,[fd00::5]:1,[fd00::1]:2", 6, Some((1, 2))),
            ("icmp,10.0.0.5,10.0.0.6", 1, None),
            ("icmp,fd00::5,fd00::6", 58, None),
            ("47,10.0.0.5,10.0.0.6", 47, None),
        ] {
            let Headers::Ip(ip) = headers(text) else { panic!("{text}") };
            assert_eq!((ip.protocol, ip.part), (number, Part::Whole { ports }), "{text}");
        }
        assert_eq!(headers("arp"), Headers::Neighbours);
        assert_eq!(parse_packet("hex:00ff").unwrap().frame, [0, 255]);
    }

    #[test]
    fn what_is_no_packet_is_told() {
        for (text, words) in [
            ("", "write udp"),
            ("udp,10.0.0.1,10.0.0.2", "with a port"),
            ("icmp,10.0.0.1:1,10.0.0.2", "no address"),
            ("sctp,10.0.0.1,10.0.0.2", "`sctp` is no protocol"),
            ("icmp,10.0.0.1,fd00::1", "both"),
            ("hex:0", "hexadecimal"),
        ] {
            assert!(parse_packet(text).unwrap_err().contains(words), "{text}");
        }
    }
}
