//! Further connections of one member: who may attach one, and who may not.

use std::time::Instant;

use lanparty_core::{LinkId, Relay, RelayConfig, RelayInput};
use lanparty_proto::{Attach, BondPath, DatagramBudget, Hello, IdentityId, PROTOCOL_VERSION, Refusal};

use crate::support::{hello as unbonded, identity};

fn hello(n: u8) -> Hello {
    Hello { run: 77, bond: Some(BondPath::default()), ..unbonded(n) }
}

fn attach() -> Attach {
    let bond = BondPath { path: 1, ..BondPath::default() };
    Attach { version: PROTOCOL_VERSION, room: hello(1).room, run: 77, bond, budget: DatagramBudget(1400), heard: 1 }
}

fn relay_with(member: Hello, who: IdentityId, now: Instant) -> Relay {
    let mut relay = Relay::new(RelayConfig::default());
    let message = lanparty_proto::Control::Hello(member);
    relay.handle_input(
        RelayInput::Message {
            link: LinkId(1),
            identity: who,
            remote: "192.0.2.1:1".into(),
            budget: DatagramBudget(1400),
            message: Box::new(message),
            proven: None,
        },
        now,
    );
    relay
}

#[test]
fn a_member_attaches_its_own_further_connections() {
    let now = Instant::now();
    let mut relay = relay_with(hello(1), identity(1), now);
    assert_eq!(relay.attach(identity(1), &attach(), now), Ok(LinkId(1)));
}

#[test]
fn nobody_else_does_whatever_they_know() {
    let now = Instant::now();
    let mut relay = relay_with(hello(1), identity(1), now);
    let refused = |relay: &mut Relay, who, wanted: &Attach| relay.attach(who, wanted, now).unwrap_err().0;
    assert_eq!(refused(&mut relay, identity(2), &attach()), Refusal::NotMoved, "the run is known and the key is another");
    assert_eq!(refused(&mut relay, identity(1), &Attach { run: 78, ..attach() }), Refusal::NotMoved, "a copied key, another run");
    assert_eq!(refused(&mut relay, identity(1), &Attach { run: 0, ..attach() }), Refusal::NotMoved);
    assert_eq!(refused(&mut relay, identity(1), &Attach { room: "OTHER".parse().unwrap(), ..attach() }), Refusal::NotMoved);
    assert_eq!(refused(&mut relay, identity(1), &Attach { version: 9, ..attach() }), Refusal::Version);
    assert_eq!(refused(&mut relay, identity(1), &Attach { budget: DatagramBudget(10), ..attach() }), Refusal::PathTooSmall);
    let mut relay = relay_with(Hello { bond: None, ..hello(1) }, identity(1), now);
    assert_eq!(refused(&mut relay, identity(1), &attach()), Refusal::NotMoved, "this member is on one path");
    relay.handle_input(RelayInput::Closed { link: LinkId(1), reason: "gone".into() }, now);
    assert_eq!(refused(&mut relay, identity(1), &attach()), Refusal::NotMoved);
}

#[test]
fn paths_that_come_and_go_without_end_are_bounded() {
    let now = Instant::now();
    let mut relay = relay_with(hello(1), identity(1), now);
    let taken = (0..1000).filter(|_| relay.attach(identity(1), &attach(), now).is_ok()).count();
    assert_eq!(taken, 40);
    assert!(relay.attach(identity(1), &attach(), now + std::time::Duration::from_secs(1)).is_ok());
}
