//! Two homes with a direct link, and what becomes of it when something around them changes.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

#[path = "support/homes.rs"]
mod homes;
#[path = "support/programs.rs"]
mod programs;

use homes::{Homes, ready};
use lanparty_lab::NatKind;

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
