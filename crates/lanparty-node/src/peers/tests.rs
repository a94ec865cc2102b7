use lanparty_proto::{BondPath, DropReason, LanMtu, MemberInfo, MulticastPolicy, PROTOCOL_VERSION, Welcome};
use tempfile::TempDir;

use super::*;
use crate::Identity;
use crate::alarm::Alarm;

/// Anything that happens at once, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn mac(n: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, u8::try_from(n).unwrap()])
}

fn member(n: u16) -> MemberInfo {
    MemberInfo { id: MemberId(n), role: Role::Client, mac: mac(n), lan_up: true, path_mtu: None, description: None }
}

/// A frame of that member's, to the other one of two.
fn frame(source: u16, what: u8) -> Bytes {
    let header = DatagramHeader { source: MemberId(source) }.encode();
    [&header[..], &mac(3 - source).0, &mac(source).0, &[8, 0], &[what; 46]].concat().into()
}

/// A socket of this uplink, when it is one.
fn socket(uplink: Option<u8>) -> PeerSocket {
    let endpoint = crate::endpoint::endpoint_at([127, 0, 0, 1], None);
    let of = |path| SocketUplink { path: BondPath { path, ..BondPath::default() }, interface: "lo".into(), limit: None };
    PeerSocket { endpoint, uplink: uplink.map(of), seen: None }
}

/// Member 1 or 2 of a room, with the socket that leads to its relay.
struct Side {
    number: u16,
    peers: Peers,
    identity: Arc<Identity>,
    addresses: Vec<SocketAddr>,
    lines: u8,
    roster: Roster,
    came: Vec<Bytes>,
}

impl Side {
    fn new(dir: &TempDir, number: u16) -> Self {
        Self::with(dir, number, &[None])
    }

    /// One with a socket for each of these uplinks.
    fn with(dir: &TempDir, number: u16, uplinks: &[Option<u8>]) -> Self {
        let (identity, _) = Identity::load_or_create(dir.path().join(number.to_string()), false).unwrap();
        let sockets: Vec<_> = uplinks.iter().copied().map(socket).collect();
        let (identity, addresses) = (Arc::new(identity), sockets.iter().map(|socket| socket.local().unwrap()).collect());
        let mut peers = Peers::default();
        peers.listen_on(
            PeerSockets {
                sockets,
                own_interface: None,
                redundancy: Redundancy::Auto,
                planned: None,
                book: None,
                captures: Captures::default(),
            },
            &identity,
        );
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            member: MemberId(number),
            lan_mtu: LanMtu::MIN,
            limited_by: None,
            budget_down: None,
            replaced: None,
            bond: false,
            addresses: None,
            multicast: MulticastPolicy::All,
            members: vec![member(3 - number)],
        };
        Self {
            number,
            peers,
            identity,
            addresses,
            lines: uplinks.len() as u8,
            roster: Roster::new(Role::Client, mac(number), &welcome),
            came: vec![],
        }
    }

    fn other(&self) -> MemberId {
        MemberId(3 - self.number)
    }

    /// It is told of the other one. Nobody is introduced by an address of the own host, as here.
    fn knows(&mut self, other: &Self) {
        let now = Instant::now();
        let (identity, addresses) = (other.identity.id(), other.addresses.clone());
        self.peers.known.insert(other.peers_id(), Known::new(identity, addresses, None, now));
    }

    fn peers_id(&self) -> MemberId {
        MemberId(self.number)
    }

    /// Deals with what happens next.
    async fn step(&mut self) {
        let (due, mut alarm) = (self.peers.due(), Alarm::default());
        let event = tokio::select! {
            event = self.peers.next() => event,
            held = alarm.ring(due) => match held {
                Some(member) => PeerEvent::HeldLongEnough { member },
                None => return drop(self.peers.look(&self.roster, self.lines, |_| false, Instant::now())),
            },
        };
        let came = self.peers.handle(event, Instant::now());
        self.came.extend(came);
    }

    fn serial(&self) -> Option<u64> {
        self.peers.live.get(&self.other()).map(|peer| peer.serial)
    }
}

/// Both go on until `done` says so.
async fn both(one: &mut Side, other: &mut Side, what: &str, done: impl Fn(&Side, &Side) -> bool) {
    let going = async {
        while !done(one, other) {
            tokio::select! {
                () = one.step() => {}
                () = other.step() => {}
            }
        }
    };
    tokio::time::timeout(SOON, going).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"));
}

async fn meet(dir: &TempDir) -> (Side, Side) {
    meet_as(Side::new(dir, 1), Side::new(dir, 2)).await
}

async fn meet_as(mut one: Side, mut two: Side) -> (Side, Side) {
    one.knows(&two);
    two.knows(&one);
    let now = Instant::now();
    one.peers.dial_due(now);
    two.peers.dial_due(now);
    let carry = |one: &Side, two: &Side| one.peers.carries(MemberId(2)) && two.peers.carries(MemberId(1));
    both(&mut one, &mut two, "both go directly", carry).await;
    (one, two)
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_keep_one_link_and_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = meet(&dir).await;
    let dialled_by_us = [one.peers.live[&MemberId(2)].by_us, two.peers.live[&MemberId(1)].by_us];
    assert_ne!(dialled_by_us[0], dialled_by_us[1], "one has dialled, the other has answered");
    assert_eq!(dialled_by_us[0], one.identity.id() < two.identity.id(), "the smaller key's stays");
    let ways = [one.peers.report(&one.roster), two.peers.report(&two.roster)].map(|all| (all.len(), all[0].way));
    assert_eq!(ways, [(1, "direct"); 2]);
}

#[tokio::test]
async fn frames_wait_for_the_end_of_the_way_by_the_relay_and_nobody_speaks_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = meet(&dir).await;
    assert!(one.peers.take(MemberId(2), &[frame(1, 7)], Instant::now()));
    assert!(one.peers.take(MemberId(2), &[frame(2, 8)], Instant::now()));
    both(
        &mut one,
        &mut two,
        "the frame is there",
        |_, two| matches!(&two.peers.live[&MemberId(1)].inbound, Hold::Waiting { frames, .. } if frames.len() == 1),
    )
    .await;
    assert!(two.came.is_empty(), "what came before by the relay may be on its way");
    assert_eq!(two.peers.open(MemberId(1)), [frame(1, 7)]);
    assert!(one.peers.take(MemberId(2), &[frame(1, 9)], Instant::now()));
    both(&mut one, &mut two, "the next one does not wait", |_, two| two.came == [frame(1, 9)]).await;
}

#[tokio::test]
async fn frames_do_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = meet(&dir).await;
    assert!(one.peers.take(MemberId(2), &[frame(1, 7)], Instant::now()));
    both(&mut one, &mut two, "the relay says nothing", |_, two| two.came == [frame(1, 7)]).await;
}

#[tokio::test]
async fn what_waits_for_a_link_that_goes_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, two) = meet(&dir).await;
    let link = one.peers.live[&MemberId(2)].link.clone();
    let sent_before = link.datagrams_sent();
    // More than the stack holds; nobody else runs meanwhile.
    assert!(one.peers.take(MemberId(2), &vec![frame(1, 7); 5_000], Instant::now()));
    let (waiting, dropped) = (one.peers.waiting() as u64, one.peers.take_discarded().total());
    assert!(waiting > 500 && dropped > 0, "{waiting} wait, {dropped} dropped");
    let sent = link.datagrams_sent() - sent_before;
    let in_the_stack = 5_000 - dropped - waiting - sent;
    assert!(in_the_stack > 0, "{sent} sent, {dropped} dropped, {waiting} wait");
    one.peers.forget(MemberId(2));
    let left = one.peers.take_discarded();
    let all = waiting + in_the_stack;
    assert_eq!((one.peers.waiting(), left.count(DropReason::LinkDown), left.total()), (0, all, all));
    assert_eq!(link.datagrams_sent() - sent_before, sent, "nor is it sent after that");
    drop(two);
}

#[tokio::test]
async fn an_old_link_makes_place_for_a_younger_one_whoever_has_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = meet(&dir).await;
    // The smaller key's link is the one in use; the other one dials, as after a change of its address.
    let (larger, smaller) = if one.identity.id() < two.identity.id() { (&mut two, &mut one) } else { (&mut one, &mut two) };
    let (other, before) = (larger.other(), smaller.serial());
    for side in [&mut *larger, &mut *smaller] {
        let peer = side.peers.live.values_mut().next().unwrap();
        peer.since -= dial::DIAL_TIMEOUT;
    }
    // It is not closed: the smaller one learns of nothing but the new one.
    let _old = larger.peers.live.remove(&other);
    larger.knows(smaller);
    larger.peers.dial_due(Instant::now());
    let renewed = |larger: &Side, smaller: &Side| larger.serial().is_some() && smaller.serial().is_some_and(|now| Some(now) != before);
    both(larger, smaller, "the younger one is used", renewed).await;
    assert!(larger.peers.live[&other].by_us);
}

#[tokio::test]
async fn who_dials_before_the_relay_names_it_waits_at_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Side::new(&dir, 1), Side::new(&dir, 2));
    one.knows(&two);
    one.peers.dial_due(Instant::now());
    both(&mut one, &mut two, "a stranger came", |_, two| two.peers.strangers.len() == 1).await;
    assert!(two.peers.live.is_empty());
    let identity = one.identity.id();
    two.peers.introduce((MemberId(1), mac(1)), identity, &[], Instant::now());
    assert!(two.peers.strangers.is_empty());
    both(&mut one, &mut two, "it is let in", |_, two| two.peers.live.contains_key(&MemberId(1))).await;
}

#[tokio::test]
async fn a_machine_keeps_the_key_that_was_named_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Side::new(&dir, 1);
    let address = "192.0.2.1:1".parse().unwrap();
    let (first, liar) = (IdentityId([2; 32]), IdentityId([3; 32]));
    for identity in [first, liar] {
        one.peers.introduce((MemberId(2), mac(2)), identity, &[address], Instant::now());
        assert_eq!(one.peers.known[&MemberId(2)].identity, first);
    }
    one.peers.forget(MemberId(2));
    one.peers.introduce((MemberId(5), mac(2)), liar, &[address], Instant::now());
    assert!(one.peers.known.is_empty(), "under another number neither");
}

#[tokio::test]
async fn a_link_that_is_not_heard_since_an_address_changed_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, two) = meet(&dir).await;
    let now = Instant::now();
    let set = |one: &mut Side, packets| one.peers.live.get_mut(&MemberId(2)).unwrap().to_prove = Some((now + PROOF_WITHIN, packets));
    set(&mut one, 0);
    one.peers.end_unproven(now + PROOF_WITHIN);
    assert!(one.peers.carries(MemberId(2)), "heard since");
    set(&mut one, u64::MAX);
    one.peers.end_unproven(now);
    assert!(one.peers.carries(MemberId(2)), "there is time");
    one.peers.end_unproven(now + PROOF_WITHIN);
    assert!(!one.peers.carries(MemberId(2)));
    drop(two);
}

/// The pairs of uplinks of the only direct link there is, as this side sees them.
fn pairs(side: &Side) -> Vec<(u8, u8)> {
    let mut pairs: Vec<_> = side.peers.live.values().flat_map(Peer::alive).map(|pair| (pair.own, pair.theirs)).collect();
    pairs.sort_unstable();
    pairs
}

fn swapped(pairs: &[(u8, u8)]) -> Vec<(u8, u8)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(own, theirs)| (*theirs, *own)).collect();
    pairs.sort_unstable();
    pairs
}

#[tokio::test]
async fn a_member_with_two_uplinks_and_one_with_one_have_a_link_of_two_paths() {
    let dir = tempfile::tempdir().unwrap();
    for bonded in [1, 2] {
        let side = |number| Side::with(&dir, number, if number == bonded { &[Some(0), Some(1)] } else { &[None] });
        let (one, two) = meet_as(side(1), side(2)).await;
        let expected = if bonded == 1 { vec![(0, 0), (1, 0)] } else { vec![(0, 0), (0, 1)] };
        assert_eq!((pairs(&one), swapped(&pairs(&two))), (expected.clone(), expected));
        let run = |side: &Side| side.peers.live[&side.other()].bond.as_ref().map(Bonding::run);
        assert!(run(&one).is_some() && run(&one) == run(&two), "one link");
    }
}

#[tokio::test]
async fn two_members_with_two_uplinks_have_a_path_for_each_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = meet_as(Side::with(&dir, 1, &[Some(0), Some(1)]), Side::with(&dir, 2, &[Some(0), Some(1)])).await;
    let pairs = pairs(&one);
    assert!([0, 1].iter().all(|line| pairs.iter().any(|(own, _)| own == line) && pairs.iter().any(|(_, theirs)| theirs == line)));
    assert!(pairs.len() <= 3 && swapped(&pairs) == self::pairs(&two), "{pairs:?}");
}

#[tokio::test]
async fn frames_pass_a_link_of_several_paths_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = meet_as(Side::with(&dir, 1, &[Some(0), Some(1)]), Side::new(&dir, 2)).await;
    two.peers.open(MemberId(1));
    (0..100).for_each(|what| assert!(one.peers.take(MemberId(2), &[frame(1, what)], Instant::now())));
    both(&mut one, &mut two, "all frames are there", |_, two| two.came.len() >= 100).await;
    assert_eq!(two.came, (0..100).map(|what| frame(1, what)).collect::<Vec<_>>());
    assert!(one.peers.take(MemberId(2), &[frame(2, 8)], Instant::now()));
    assert!(one.peers.take(MemberId(2), &[frame(1, 101)], Instant::now()));
    both(&mut one, &mut two, "nobody speaks for others", |_, two| two.came.len() > 100).await;
    assert_eq!(two.came[100..], [frame(1, 101)]);
}

#[tokio::test]
async fn a_link_with_one_of_two_lines_carries_only_while_there_is_no_relay() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Side::with(&dir, 1, &[Some(0)]), Side::new(&dir, 2));
    one.lines = 2;
    one.knows(&two);
    two.knows(&one);
    one.peers.dial_due(Instant::now());
    let is_ready = |one: &Side, two: &Side| one.peers.report(&one.roster)[0].paths.len() == 1 && !two.peers.live.is_empty();
    both(&mut one, &mut two, "the link is there", is_ready).await;
    let settled = |one: &Side, _: &Side| one.peers.smallest(Instant::now()).is_some();
    both(&mut one, &mut two, "and looked at", settled).await;
    one.peers.look(&one.roster, 2, |_| false, Instant::now());
    assert!(!one.peers.carries(MemberId(2)), "by the relay go two lines");
    let why = one.peers.report(&one.roster)[0].because.clone().unwrap();
    assert!(why.contains("more lines"), "{why}");
    one.peers.without_relay(&one.roster, Instant::now());
    assert!(one.peers.carries(MemberId(2)));
}

#[tokio::test]
async fn who_is_not_at_the_relay_is_reached_directly_whatever_the_relay_takes_more_of() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, two) = meet(&dir).await;
    // As after a return by TLS, which carries any frame.
    one.roster.set_lan_mtu(LanMtu::MAX, None);
    one.peers.look(&one.roster, one.lines, |id| id == MemberId(2), Instant::now());
    assert!(one.peers.carries(MemberId(2)), "the relay does not know it yet");
    one.peers.look(&one.roster, one.lines, |_| false, Instant::now());
    assert!(!one.peers.carries(MemberId(2)), "it is at the relay as well, which takes larger frames");
    drop(two);
}

#[tokio::test]
async fn a_path_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = meet_as(Side::with(&dir, 1, &[Some(0), Some(1)]), Side::new(&dir, 2)).await;
    let (leader, mut follower) = if one.identity.id() < two.identity.id() { (one, two) } else { (two, one) };
    let other = leader.other();
    let run = leader.peers.live[&other].bond.as_ref().unwrap().run();
    // As one that has copied the key and does not know the link; and as the one that knows it.
    for (run, is_taken) in [(run ^ 1, false), (run, true)] {
        let own = leader.peers.own.clone().unwrap();
        let socket = leader.peers.listening[0].socket.clone();
        let to = follower.addresses[0];
        let (events, mut heard) = mpsc::channel(4);
        let whom = (other, 99, follower.identity.id());
        tokio::spawn(dial::dial(own, whom, vec![(socket, to)], events));
        let met = loop {
            tokio::select! {
                () = follower.step() => {}
                event = heard.recv() => match event.unwrap() {
                    PeerEvent::Up { reached: Reached::Met(met), .. } => break met,
                    _ => panic!("no connection"),
                }
            }
        };
        let path = PeerPath { run, begins: false, heard: 0 };
        let offered = met.offer(path);
        let mut offered = std::pin::pin!(offered);
        let outcome = loop {
            tokio::select! {
                () = follower.step() => {}
                outcome = &mut offered => break outcome,
            }
        };
        assert_eq!(outcome.is_ok(), is_taken, "{:?}", outcome.err());
    }
}
