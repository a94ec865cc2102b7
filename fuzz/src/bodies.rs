//! What each fuzz target asserts of its bytes. Shared with the replay of the committed corpus in `cargo test`.

#[path = "../../crates/lanparty-proto/tests/support/receiver.rs"]
mod receiver;

use arbitrary::{Arbitrary, Unstructured};
use lanparty_proto::corpus::wire::{self, Header, Ipv4, Ipv6};
use lanparty_proto::{
    AdmissionPolicy, Control, ControlDecoder, DatagramBudget, DatagramHeader, Frame, Headers, LanMtu, LoopProbe, MacAddr, SEQUENCE_FLOWS,
    SEQUENCE_LEN, Sequence, Source, TrafficClass, TrialDatagram, admit, is_end_of_way, is_padding,
};
use receiver::{Overlap, Receiver};

const CLIENT: MacAddr = MacAddr([0x02, 0xc1, 0x1e, 0x47, 0, 0x01]);

/// The bytes as a frame, and as the recipe for one whose lengths and checksums are right.
pub fn frame(data: &[u8]) {
    judge(data);
    if let Ok(recipe) = Recipe::arbitrary(&mut Unstructured::new(data)) {
        judge(&recipe.cook());
    }
}

/// Whatever the bytes are, admission is consistent, and what passes from a client misleads no receiver.
fn judge(bytes: &[u8]) {
    let strict = AdmissionPolicy::new(LanMtu::MAX);
    let loose = AdmissionPolicy { allow_unknown_ipv6_headers: true, allow_ipx: true, ..strict };
    let client = Frame::parse(bytes).map_or(CLIENT, |frame| frame.src());
    let from_client = admit(bytes, Source::Client(client), &strict, None);
    for (source, policy) in [(Source::Gateway, &strict), (Source::Client(client), &loose), (Source::Gateway, &loose)] {
        let verdict = admit(bytes, source, policy, None);
        assert!(from_client.is_err() || verdict == from_client, "{source:?} may do less than a client: {verdict:?}");
        assert!(verdict.is_err() || admit(bytes, source, policy, Some(DatagramBudget(2000))) == verdict, "size is all a budget knows");
    }
    if let Some((probe, frame)) = Frame::parse(bytes).ok().and_then(|frame| Some((LoopProbe::read(&frame)?, frame))) {
        let again = probe.encode(frame.src());
        assert_eq!(Frame::parse(&again).map(|again| LoopProbe::read(&again)), Ok(Some(probe)));
    }
    let for_filter = Frame::parse(bytes).and_then(|frame| Headers::read(&frame));
    let Ok(frame) = from_client else { return };
    // No filter judges ARP and neighbour discovery, so nothing else may look like it.
    assert!(for_filter != Ok(Headers::Neighbours) || frame.class() == TrafficClass::ArpNd, "to a filter it is what it is not");
    assert_eq!(frame.bytes(), bytes);
    assert!(bytes.len() <= strict.lan_mtu.frame_len_max());
    assert_eq!(Frame::parse(bytes).map(|again| again.class()), Ok(frame.class()));
    for overlap in [Overlap::FirstWins, Overlap::LastWins] {
        let mut receiver = Receiver::new(client.0, overlap);
        receiver.receive(bytes);
        assert!(receiver.harms.is_empty(), "believed {:?}", receiver.harms);
    }
}

#[derive(Arbitrary)]
enum Recipe {
    V4 { protocol: u8, offset: u8, more: bool, option_words: u8, ports: Option<(Port, Port)>, rest: Vec<u8> },
    V6 { hop_limit: u8, headers: Vec<Part>, upper: u8, ports: Option<(Port, Port)>, rest: Vec<u8> },
    Ethernet { kind: u16, rest: Vec<u8> },
}

#[derive(Arbitrary, Clone, Copy)]
enum Port {
    Bootps,
    Bootpc,
    Dhcpv6Client,
    Dhcpv6Server,
    Any(u16),
}

impl Port {
    fn number(self) -> u16 {
        match self {
            Self::Bootps => 67,
            Self::Bootpc => 68,
            Self::Dhcpv6Client => 546,
            Self::Dhcpv6Server => 547,
            Self::Any(number) => number,
        }
    }
}

#[derive(Arbitrary)]
enum Part {
    Known { kind: u8, units: u8 },
    Fragment { offset: u8, more: bool },
    Raw { kind: u8, body: [u8; 7] },
}

impl Part {
    fn header(&self) -> Header {
        match *self {
            Self::Known { kind, units } => Header::new(Header::KINDS[usize::from(kind) % Header::KINDS.len()], units % 24),
            Self::Fragment { offset, more } => Header::fragment(u16::from(offset), more),
            Self::Raw { kind, body } => Header(kind, body.to_vec()),
        }
    }
}

impl Recipe {
    fn cook(self) -> Vec<u8> {
        let (kind, packet) = match self {
            Self::V4 { protocol, offset, more, option_words, ports, rest } => {
                let (protocol, payload) =
                    ports.map_or((protocol, rest.clone()), |(from, to)| (wire::UDP, wire::udp(from.number(), to.number(), &rest)));
                let ip = Ipv4 { option_words: option_words % 11, ..Ipv4::new(protocol).fragment(u16::from(offset), more) };
                (wire::IPV4, ip.packet(&payload))
            }
            Self::V6 { hop_limit, headers, upper, ports, rest } => {
                let ip = Ipv6 { hop_limit, ..Ipv6::default() };
                let (upper, payload) =
                    ports.map_or((upper, rest.clone()), |(from, to)| (wire::UDP, ip.udp(from.number(), to.number(), &rest)));
                (wire::IPV6, ip.packet(&headers.iter().map(Part::header).collect::<Vec<_>>(), upper, &payload))
            }
            Self::Ethernet { kind, rest } => (kind, rest),
        };
        wire::ethernet(wire::HOST, CLIENT, kind, &packet)
    }
}

/// A datagram that decodes is what its header encodes to, and its frame.
pub fn datagram_header(data: &[u8]) {
    if let Ok((header, frame)) = DatagramHeader::decode(data) {
        assert_eq!([&header.encode()[..], frame].concat(), data);
        assert_ne!(header.source.0, 0);
    }
    if let Some(trial) = TrialDatagram::decode(data) {
        assert!(TrialDatagram::is_one(data) && DatagramHeader::decode(data).is_err());
        let Some(padding) = data.get(TrialDatagram::LEN_MIN..) else { panic!("{trial:?} of {} bytes", data.len()) };
        assert_eq!([&trial.encode(0)[..], padding].concat(), data);
    }
}

/// A place in the order is what it encodes to, is no frame itself, and is looked for once: what is behind it is a datagram.
pub fn sequence(data: &[u8]) {
    let Some(sequence) = Sequence::decode(data) else { return };
    assert_eq!(sequence.encode()[..], data[..SEQUENCE_LEN]);
    assert!(sequence.flow < SEQUENCE_FLOWS && sequence.back < SEQUENCE_FLOWS);
    assert!(DatagramHeader::decode(data).is_err() && !is_padding(data) && !is_end_of_way(data));
    datagram_header(&data[SEQUENCE_LEN..]);
}

/// What is said of paths survives being said again, and a message in a message is no deeper than its bytes.
pub fn bond(data: &[u8]) {
    control(data);
    // Most bytes are no JSON; these are the messages of a bond around whatever they are.
    let text = String::from_utf8_lossy(data);
    let quoted = format!("{:?}", text.chars().filter(|c| c.is_ascii_graphic()).collect::<String>());
    let number = data.iter().fold(0u64, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(*byte)));
    for json in [
        format!(
            r#"{{"type":"Attach","version":1,"room":{quoted},"run":{number},"bond":{{"path":{}}},"budget":1400,"heard":{}}}"#,
            number % 300,
            number % (1 << 33)
        ),
        format!(r#"{{"type":"Numbered","n":{},"message":{text}}}"#, number % (1 << 33)),
        format!(r#"{{"type":"PathRole","path":{},"role":{quoted},"rate":{number}}}"#, number % 300),
        format!(r#"{{"type":"PathDown","path":{}}}"#, number % 300),
    ] {
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes();
        control(&[&length[..], json.as_bytes()].concat());
    }
}

/// A stream says the same however it is cut, and every message survives being said again.
pub fn control(data: &[u8]) {
    let whole = messages([data]);
    assert_eq!(whole, messages(data.chunks(1)));
    assert_eq!(whole, messages(data.chunks(7)));
    for message in whole.0 {
        let again = messages([&lanparty_proto::encode_control(&message)[..]]);
        assert_eq!(again, (vec![message], false));
    }
}

/// The messages in a stream, and whether it ended in an error.
fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Control>, bool) {
    let (mut decoder, mut said) = (ControlDecoder::new(), vec![]);
    for piece in pieces {
        decoder.extend(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => said.push(message),
                Ok(None) => break,
                Err(_) => return (said, true),
            }
        }
    }
    (said, false)
}
