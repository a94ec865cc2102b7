//! A member asks how far its DHCP came: the relay's word, the gateways', and nobody else's.

use lanparty_core::RelayOutput;
use lanparty_proto::{Control, DhcpSights, MacAddr, MemberId};

use crate::support::{Desk, gateway_hello, hello, mac, udp_frame};

/// A DHCP question of client number `n`.
fn question(n: u8) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[0] = 1;
    message[28..34].copy_from_slice(&mac(n).0);
    udp_frame(MacAddr::BROADCAST, mac(n), (68, 67), &message)
}

fn ask(desk: &mut Desk, link: u64, about: u8) -> Vec<(u64, Control)> {
    desk.outputs.clear();
    desk.message(link, Control::AskSightings { mac: mac(about) });
    sent(desk)
}

fn sent(desk: &Desk) -> Vec<(u64, Control)> {
    let sends = desk
        .outputs
        .iter()
        .filter_map(|o| if let RelayOutput::Send { link, message } = o { Some((link.0, message.clone())) } else { None });
    sends.collect()
}

fn sightings(by: Option<MemberId>, dhcp: DhcpSights) -> Control {
    Control::Sightings { mac: mac(2), by, dhcp, is_on_lan: false, other_gateways: vec![] }
}

#[test]
fn the_relay_answers_for_itself_and_passes_the_gateways_answer_on() {
    let mut desk = Desk::default();
    let gateway = desk.join(1, gateway_hello(1)).member;
    desk.join(2, hello(2));
    assert_eq!(ask(&mut desk, 2, 2), [(2, sightings(None, DhcpSights::default())), (1, Control::AskSightings { mac: mac(2) })]);
    assert_eq!(desk.send(2, &question(2)), [1]);
    let seen = DhcpSights { question_out: Some(0), ..DhcpSights::default() };
    assert_eq!(ask(&mut desk, 2, 2)[0], (2, sightings(None, seen)));
    desk.outputs.clear();
    let there = DhcpSights { question_in: Some(3), question_out: Some(3), ..DhcpSights::default() };
    desk.message(1, sightings(Some(MemberId(77)), there));
    assert_eq!(sent(&desk), [(2, sightings(Some(gateway), there))], "under its own number, whatever it says");
}

#[test]
fn nobody_learns_of_others_speaks_for_a_gateway_or_asks_without_end() {
    let mut desk = Desk::default();
    desk.join(1, gateway_hello(1));
    desk.join(2, hello(2));
    desk.join(3, hello(3));
    assert_eq!(ask(&mut desk, 3, 2), []);
    desk.outputs.clear();
    desk.message(3, sightings(None, DhcpSights::default()));
    assert_eq!(sent(&desk), [], "a client is no gateway");
    let answered = (0..20).filter(|_| !ask(&mut desk, 2, 2).is_empty()).count();
    assert_eq!(answered, 5);
}
