//! Two homes with a direct link, and what becomes of it when something around them changes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/homes.rs"]
mod homes;
#[path = "support/port_opener.rs"]
mod port_opener;
#[path = "support/programs.rs"]
mod programs;

use std::thread;
use std::time::Duration;

use homes::{Homes, ready};
use lanparty_lab::{Household, HouseholdOptions, NatKind, Requirements, Tool};
use port_opener::{open_ports, opened, public_address};
use programs::SOON;

#[test]
fn a_home_with_another_address_gets_its_direct_link_again_on_the_connection_that_it_has() {
    if !ready() {
        return;
    }
    for kind in [NatKind::PortRestricted, NatKind::FullCone] {
        let mut homes = Homes::new("moves", kind);
        homes.go("direct");
        let (marks, before) = (homes.marks(), homes.external());
        homes.members[0].household.change_address().unwrap();
        homes.goes_directly_anew(&format!("{kind}: another address"), &before);
        homes.stayed_joined(&marks);
    }
}

#[test]
fn a_home_whose_router_forgot_it_gets_its_direct_link_again() {
    if !ready() {
        return;
    }
    let mut homes = Homes::new("forgets", NatKind::PortRestricted);
    homes.go("direct");
    // Once the router of the one that dialled, once that of the other: QUIC follows one of them by itself.
    for at in [0, 1] {
        let (marks, before) = (homes.marks(), homes.external());
        homes.members[at].household.rebind().unwrap();
        homes.goes_directly_anew(&format!("home {at} has another port"), &before);
        homes.stayed_joined(&marks);
    }
}

#[test]
fn two_homes_with_the_worst_nats_meet_at_a_port_that_a_router_opens() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack, Tool::Miniupnpd]).ready_or_skip() {
        return;
    }
    let options = HouseholdOptions { forwards_ports: true, ..HouseholdOptions::default() };
    let mut homes = Homes::empty("opened");
    let [one, other] = [11, 12].map(|number| {
        Household::attach(&homes.lab, &homes.internet, &format!("h{number}"), number, NatKind::Symmetric, options.clone()).unwrap()
    });
    other.router.ip(&format!("addr add {}/24 dev out", public_address(12))).unwrap();
    let daemon = open_ports(&homes.lab, &one, 11);
    homes.join(one, 11, &[]);
    homes.join(other, 12, &[]);
    let words = homes.members[0].client.wait_for("lets other members in at 1.2.3.11:", SOON).unwrap();
    println!("{words}\n{}", daemon.tail());
    let ways = homes.go("direct");
    println!("{ways:?}");
    assert!(ways[1]["address"].as_str().unwrap().starts_with("1.2.3.11:"), "{ways:?}");
    let status = homes.programs.run(&homes.members[0].household.host, &["lanparty", "status"]).stdout;
    assert!(status.contains("the router lets other members in at 1.2.3.11:"), "{status}");
    assert!(opened(&homes.members[0].household).contains("10.97.11.2"), "{}", opened(&homes.members[0].household));
    homes.members[0].client.sigterm();
    homes.members[0].client.exit_code(SOON).unwrap();
    assert!(!opened(&homes.members[0].household).contains("10.97.11.2"), "given back: {}", opened(&homes.members[0].household));
}

#[test]
fn a_member_that_shall_open_no_port_opens_none() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack, Tool::Miniupnpd]).ready_or_skip() {
        return;
    }
    let options = HouseholdOptions { forwards_ports: true, ..HouseholdOptions::default() };
    let mut homes = Homes::empty("closed");
    let household = Household::attach(&homes.lab, &homes.internet, "h11", 11, NatKind::Symmetric, options).unwrap();
    let _daemon = open_ports(&homes.lab, &household, 11);
    homes.join(household, 11, &["--no-port-mapping"]);
    thread::sleep(Duration::from_secs(3));
    assert!(!opened(&homes.members[0].household).contains("10.97.11.2"));
}
