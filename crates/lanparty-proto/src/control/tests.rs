use super::*;

fn hello() -> Control {
    let hello = Hello::new(Role::Client, "ROOM1".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]), DatagramBudget(1404));
    Control::Hello(Hello { software: "test".into(), run: 7, ..hello })
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
fn a_new_hello_says_as_much_as_one_that_is_read_without_what_may_be_left_out() {
    let least = r#"{"type":"Hello","version":1,"role":"Gateway","room":"ROOM1","mac":"02:00:00:00:00:01","budget":1404}"#;
    let hello = Hello::new(Role::Gateway, "ROOM1".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]), DatagramBudget(1404));
    assert_eq!(control_from_json(least).unwrap(), Control::Hello(hello));
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
