//! The packets of Teeworlds 0.7's server browser, without a socket.
//!
//! Two steps, against spoofed senders: ask for a token with a long packet, then ask for the server's information with that token.
//! Source: teeworlds 0.7, `src/engine/shared/network.cpp`, `network_token.cpp`, `src/engine/client/serverbrowser.cpp`.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::GameInfo;

/// First byte of a control packet: flag CONTROL, no acknowledgement.
const CONTROL: u8 = 1 << 2;
/// First byte of a packet outside any connection: flag CONNLESS, packet version 1.
const CONNLESS: u8 = 8 << 2 | 1;
/// The control message that asks for and brings a token.
const MESSAGE_TOKEN: u8 = 5;
/// Flags, acknowledgement, number of chunks, token.
const HEADER_LEN: usize = 7;
/// Flags and version, their token, our token.
const HEADER_CONNLESS_LEN: usize = 9;
/// A request for a token is at least this long, so that the answer never amplifies.
const TOKEN_REQUEST_LEN: usize = 512;
const NO_TOKEN: [u8; 4] = [0xff; 4];
const GET_INFO: &[u8; 8] = b"\xff\xff\xff\xffgie3";
const INFO: &[u8; 8] = b"\xff\xff\xff\xffinf3";

/// The state of one search: the token by which answers to it are known.
pub(super) struct Browser {
    token: [u8; 4],
}

/// What an answer leads to.
pub(super) enum Step {
    /// A server gave a token: send this.
    Ask(Vec<u8>),
    /// A server told about itself.
    Info(Said),
}

/// A server's information without its address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    name: String,
    map: String,
    mode: String,
    players: (u32, u32),
}

impl Browser {
    /// A search known by `token`.
    pub(super) fn new(token: u32) -> Self {
        Self { token: token.to_be_bytes() }
    }

    /// The first packet, to everyone.
    pub(super) fn token_request(&self) -> Vec<u8> {
        let mut packet = vec![CONTROL, 0, 0];
        packet.extend(NO_TOKEN);
        packet.push(MESSAGE_TOKEN);
        packet.extend(self.token);
        packet.resize(HEADER_LEN + 1 + TOKEN_REQUEST_LEN, 0);
        packet
    }

    /// Reads an answer; `None` when it is none of ours.
    pub(super) fn handle(&self, packet: &[u8]) -> Option<Step> {
        match *packet.first()? {
            CONTROL => {
                let (token, message) = (packet.get(3..HEADER_LEN)?, packet.get(HEADER_LEN..)?);
                let (kind, theirs) = message.split_first()?;
                (token == self.token && *kind == MESSAGE_TOKEN).then_some(())?;
                Some(Step::Ask(self.question(theirs.first_chunk()?)))
            }
            CONNLESS if packet.get(1..5)? == self.token => {
                let answer = packet.get(HEADER_CONNLESS_LEN..)?.strip_prefix(INFO)?;
                parse_info(answer).map(Step::Info)
            }
            _ => None,
        }
    }

    fn question(&self, theirs: &[u8; 4]) -> Vec<u8> {
        let mut packet = vec![CONNLESS];
        packet.extend(theirs);
        packet.extend(self.token);
        packet.extend(GET_INFO);
        // The number by which the client tells one refresh from the next, in the game's variable-length form: 1.
        packet.push(1);
        packet
    }
}

impl Said {
    pub(super) fn at(self, address: SocketAddrV4, after: Duration) -> GameInfo {
        let Self { name, map, mode, players } = self;
        GameInfo { address, name, map, mode, players, after }
    }
}

/// Refresh number; version, name, host name, map, mode as zero-terminated strings; flags, skill, players, most players.
fn parse_info(answer: &[u8]) -> Option<Said> {
    let mut rest = answer;
    read_int(&mut rest)?;
    let (_version, name, _host) = (read_text(&mut rest)?, read_text(&mut rest)?, read_text(&mut rest)?);
    let (map, mode) = (read_text(&mut rest)?, read_text(&mut rest)?);
    let (_flags, _skill) = (read_int(&mut rest)?, read_int(&mut rest)?);
    let players = (read_int(&mut rest)?, read_int(&mut rest)?);
    Some(Said { name, map, mode, players: (u32::try_from(players.0).ok()?, u32::try_from(players.1).ok()?) })
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 1..];
    Some(text)
}

/// Six bits and a sign in the first byte, seven bits in each that follows; the top bit says that one follows.
fn read_int(rest: &mut &[u8]) -> Option<i32> {
    let (first, mut tail) = rest.split_first()?;
    let (mut value, mut shift, mut more) = (i32::from(first & 0x3f), 6, first & 0x80 != 0);
    while more {
        let (byte, after) = tail.split_first()?;
        (shift <= 27).then_some(())?;
        value |= i32::from(byte & 0x7f) << shift;
        (shift, more, tail) = (shift + 7, byte & 0x80 != 0, after);
    }
    *rest = tail;
    Some(if first & 0x40 != 0 { !value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_the_game_packs_them() {
        for (mut bytes, value) in [(&[1_u8][..], 1), (&[0x40], -1), (&[0x80, 0x01], 64), (&[0xbf, 0x7f], 8_191)] {
            assert_eq!(read_int(&mut bytes), Some(value));
            assert!(bytes.is_empty());
        }
        assert_eq!(read_int(&mut &[0x80_u8][..]), None);
        assert_eq!(read_int(&mut &[0xff_u8; 9][..]), None);
    }

    #[test]
    fn a_search_takes_two_questions() {
        let browser = Browser::new(0x0102_0304);
        let request = browser.token_request();
        assert_eq!((request.len(), &request[..12]), (520, &[4, 0, 0, 255, 255, 255, 255, 5, 1, 2, 3, 4][..]));
        let Some(Step::Ask(question)) = browser.handle(&[4, 0, 0, 1, 2, 3, 4, 5, 9, 8, 7, 6]) else { panic!("no question") };
        assert_eq!(question, b"\x21\x09\x08\x07\x06\x01\x02\x03\x04\xff\xff\xff\xffgie3\x01");
        let answer = b"\x21\x01\x02\x03\x04\x09\x08\x07\x06\xff\xff\xff\xffinf3\x010.7\0party\0\0dm1\0DM\0\x00\x01\x02\x08";
        let Some(Step::Info(said)) = browser.handle(answer) else { panic!("no answer") };
        assert_eq!(said, Said { name: "party".into(), map: "dm1".into(), mode: "DM".into(), players: (2, 8) });
        assert!(Browser::new(7).handle(answer).is_none(), "the answer to another search");
    }
}
