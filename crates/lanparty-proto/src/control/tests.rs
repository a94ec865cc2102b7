use super::*;

fn hello() -> Control {
    Control::Hello(Hello {
        version: PROTOCOL_VERSION,
        role: Role::Client,
        room: "ROOM1".parse().unwrap(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        budget: DatagramBudget(1404),
        software: "test".into(),
        lan_up: true,
        resume: None,
        run: 7,
        hears: vec![],
        joins_lans: false,
        has_listened: false,
        bond: None,
        addresses: None,
        description: Description::default(),
        login: None,
    })
}

#[test]
fn messages_survive_a_stream_cut_anywhere() {
    let bye = Control::Bye { reason: "done".into() };
    let stream = [encode_control(&hello()), encode_control(&bye)].concat();
    let (mut decoder, mut got) = (ControlDecoder::new(), vec![]);
    for byte in stream {
        decoder.extend(&[byte]);
        while let Some(message) = decoder.next_message().unwrap() {
            got.push(message);
        }
    }
    assert_eq!(got, [hello(), bye]);
}

#[test]
fn unknown_fields_and_messages_are_ignored() {
    let mut decoder = ControlDecoder::new();
    for json in [r#"{"type":"Bye","reason":"x","more":[1]}"#, r#"{"type":"Sing","song":1}"#] {
        decoder.extend(&u32::try_from(json.len()).unwrap().to_be_bytes());
        decoder.extend(json.as_bytes());
    }
    assert_eq!(decoder.next_message().unwrap(), Some(Control::Bye { reason: "x".into() }));
    assert_eq!(decoder.next_message().unwrap(), Some(Control::Unknown));
}

#[test]
fn a_message_survives_as_json_alone_and_is_bounded_there_too() {
    assert_eq!(control_from_json(&control_to_json(&hello())).unwrap(), hello());
    assert_eq!(control_from_json(r#"{"type":"Sing","song":1}"#).unwrap(), Control::Unknown);
    assert!(matches!(control_from_json("{"), Err(ControlError::Syntax(_))));
    let long = Control::Notice { message: "x".repeat(CONTROL_MESSAGE_LEN_MAX) };
    assert!(matches!(control_from_json(&control_to_json(&long)), Err(ControlError::TooLong(_))));
}

#[test]
fn a_member_without_a_bond_says_little_and_is_understood() {
    let hello = PeerHello { version: PROTOCOL_VERSION, uplink: None, lines: 1 };
    assert_eq!(control_from_json(r#"{"type":"PeerHello","version":1}"#).unwrap(), Control::PeerHello(hello));
    let path = PeerPath { run: 7, begins: false, heard: 3 };
    assert_eq!(control_to_json(&Control::PeerPath(path)), r#"{"type":"PeerPath","run":7,"heard":3}"#);
    assert_eq!(control_from_json(r#"{"type":"PeerPath","run":7,"heard":3}"#).unwrap(), Control::PeerPath(path));
    assert!(control_from_json(r#"{"type":"PeerPath","heard":3}"#).is_err(), "a path of no link");
}

#[test]
fn a_length_above_the_limit_ends_the_stream_at_once() {
    let mut decoder = ControlDecoder::new();
    decoder.extend(&u32::MAX.to_be_bytes());
    assert!(matches!(decoder.next_message(), Err(ControlError::TooLong(_))));
}
