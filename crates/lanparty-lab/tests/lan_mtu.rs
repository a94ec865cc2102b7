//! A LAN that carries less than the way to it: the gateway's own interface is a part of the path.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use lanparty_lab::{LAN, Party, ping_with};
use support::conservation::{Books, assert_conserved};
use support::flow::transfer;
use support::{Evening, Members, eventually, promised, ready};

#[test]
fn a_lan_interface_of_1400_bytes_limits_the_room_and_nothing_vanishes() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lan1400");
    evening.party.gateway.ip(&format!("link set dev {LAN} mtu 1400")).unwrap();
    let Members { gateway, address, relay: _relay, client: _client } = evening.all();
    promised(&gateway, &format!("{LAN} carries packets of 1400 bytes only (its MTU), so the room is asked to carry no larger ones"));
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    assert_eq!(evening.status(home)["lan_mtu"], 1400);
    let largest = ping_with(home, Party::pc_address(1), 3, &["-s", "1372", "-M", "do", "-I", &address.to_string()]).unwrap();
    assert_eq!(largest.received, 3);
    // The LAN's hosts send up to 1,500 bytes, and what is larger than the gateway's interface does not even reach it: TCP never
    // sends that, since its MSS was clamped.
    transfer(home, pc, Party::pc_address(1), 3_000_000);
    transfer(pc, home, address, 3_000_000);
    assert_conserved(&evening, true);
}

#[test]
fn what_a_lan_interface_refuses_is_counted_and_said() {
    if !ready() {
        return;
    }
    let evening = Evening::new("lanshrinks");
    let Members { gateway, address, relay: _relay, client: _client } = evening.all();
    evening.party.gateway.ip(&format!("link set dev {LAN} mtu 1300")).unwrap();
    promised(&gateway, &format!("{LAN} carries packets of 1300 bytes only now (its MTU), and the room promises 1417"));
    let lost = ping_with(&evening.party.home, Party::pc_address(1), 3, &["-s", "1372", "-M", "do", "-I", &address.to_string()]).unwrap();
    assert_eq!(lost.received, 0);
    eventually("the refused frames are counted", || {
        let inbound = Books::read(&evening.status(&evening.party.gateway)["frames"]["inbound"]);
        inbound.assert_whole("gateway, inbound");
        inbound.dropped.get("DeviceError").is_some_and(|n| *n >= 3)
    });
    assert_conserved(&evening, true);
}
