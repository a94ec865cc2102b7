use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use lanparty_proto::MemberId;
use proptest::prelude::*;

use super::*;
use crate::game::GameMode;
use crate::journal::memory::MemoryStore;
use crate::net_cfg::model::Settings;
use crate::net_cfg::model::{OTHER_UPLINK, TAP, TAP_ID, TAP_KEY, UPLINK};
use crate::net_cfg::{Category, Model};

const MAC: MacAddr = MacAddr([0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]);
const MAC_TEXT: &str = "02AABBCCDDEE";
const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const OTHER_RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8));

/// A TAP whose driver reads its address when the adapter restarts, or never.
#[derive(Clone)]
struct FakeTap(Arc<Mutex<Driver>>);

struct Driver {
    net: Model,
    restarts_seen: usize,
    mac: MacAddr,
    is_stubborn: bool,
    is_open: bool,
    in_use: bool,
    media: bool,
    media_changes: Vec<bool>,
}

impl FakeTap {
    fn new(net: &Model) -> Self {
        let mac = MacAddr([0, 0xff, 1, 2, 3, 4]);
        let driver = Driver {
            net: net.clone(),
            restarts_seen: 0,
            mac,
            is_stubborn: false,
            is_open: false,
            in_use: false,
            media: false,
            media_changes: vec![],
        };
        Self(Arc::new(Mutex::new(driver)))
    }
}

impl TapIo for FakeTap {
    fn open(&mut self) -> Result<(), OpenFault> {
        let mut driver = self.0.lock().unwrap();
        if driver.in_use {
            return Err(OpenFault::InUse);
        }
        let restarts = driver.net.state().restarts;
        if restarts > driver.restarts_seen && !driver.is_stubborn {
            driver.restarts_seen = restarts;
            if let Some(text) = driver.net.settings().network_address.get(TAP_KEY) {
                driver.mac = MacAddr(std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()));
            }
        }
        driver.is_open = true;
        Ok(())
    }

    fn close(&mut self) {
        let mut driver = self.0.lock().unwrap();
        (driver.is_open, driver.media) = (false, false);
    }

    fn mac(&self) -> io::Result<MacAddr> {
        Ok(self.0.lock().unwrap().mac)
    }

    fn mtu(&self) -> io::Result<u32> {
        Ok(1500)
    }

    fn set_media(&mut self, up: bool) -> io::Result<()> {
        let mut driver = self.0.lock().unwrap();
        assert!(!up || driver.is_open, "plugged in while it is closed");
        driver.media = up;
        driver.media_changes.push(up);
        Ok(())
    }
}

struct World {
    net: Model,
    tap: FakeTap,
    disk: MemoryStore,
    policy: Policy<FakeTap, Model>,
}

impl World {
    fn new(net: Model, game_mode: bool) -> Self {
        let (tap, disk) = (FakeTap::new(&net), MemoryStore::default());
        let policy = Self::policy(&net, &tap, &disk, game_mode);
        Self { net, tap, disk, policy }
    }

    fn policy(net: &Model, tap: &FakeTap, disk: &MemoryStore, game_mode: bool) -> Policy<FakeTap, Model> {
        let journal = Journal::open(Box::new(disk.clone())).unwrap();
        let adapter = find(net, None).unwrap();
        Policy::new(tap.clone(), net.clone(), journal, adapter, MAC, Wishes { game_mode })
    }

    fn media(&self) -> bool {
        self.tap.0.lock().unwrap().media
    }

    fn up(&mut self) -> Result<(), Fault> {
        self.policy.prepare()?;
        self.policy.plug_in(Some(RELAY), LanMtu::MAX)
    }
}

fn mtu(bytes: u16) -> LanMtu {
    LanMtu::new(bytes).unwrap()
}

#[test]
fn an_evening_leaves_the_machine_as_it_was() {
    let mut world = World::new(Model::default(), true);
    let before = world.net.settings();
    world.policy.prepare().unwrap();
    assert_eq!(world.net.settings().network_address[TAP_KEY], MAC_TEXT);
    assert!(!world.media() && world.net.settings().host_routes.is_empty(), "nothing of the network changes before the relay is joined");
    world.policy.plug_in(Some(RELAY), mtu(1390)).unwrap();
    let now = world.net.settings();
    assert_eq!(now.host_routes.iter().map(|(remote, hop)| (*remote, hop.luid)).collect::<Vec<_>>(), [(RELAY, UPLINK)]);
    let expected = IpSettings { mtu: 1390, automatic_metric: false, metric: METRIC_FOR_GAMES, ignores_default_routes: true };
    assert_eq!(now.ip[&(TAP_ID.to_owned(), false)], expected);
    assert!(world.media() && world.policy.route_pinned());
    world.policy.set_mtu(mtu(1200)).unwrap();
    assert_eq!(world.net.settings().ip[&(TAP_ID.to_owned(), false)].mtu, 1200);
    assert!(world.policy.leave());
    assert_eq!(world.net.settings(), before);
    assert_eq!(world.tap.0.lock().unwrap().media_changes, [false, true, false]);
}

#[test]
fn a_route_that_was_there_before_stays() {
    let net = Model::default();
    let hop = net.route_to(RELAY).unwrap();
    net.state().settings.host_routes.push((RELAY, hop));
    let before = net.settings();
    let mut world = World::new(net, true);
    world.up().unwrap();
    assert!(world.policy.route_pinned());
    assert!(world.policy.leave());
    assert_eq!(world.net.settings(), before);
}

#[test]
fn an_adapter_is_restarted_only_for_another_address_and_one_that_does_not_take_it_is_not_plugged_in() {
    let mut world = World::new(Model::default(), true);
    world.up().unwrap();
    world.policy.leave();
    world.up().unwrap();
    assert_eq!(world.net.state().restarts, 1, "the second evening finds the address loaded");
    let mut world = World::new(Model::default(), true);
    world.tap.0.lock().unwrap().is_stubborn = true;
    let fault = world.up().unwrap_err();
    assert!(fault.cause.contains("reports MAC 00:ff:01:02:03:04") && fault.advice.contains("NetworkAddress"), "{fault}");
    assert!(!world.media());
}

#[test]
fn a_default_route_of_the_lan_never_takes_the_relay() {
    let net = Model::default();
    net.state().lan_default_metric = Some(1);
    let mut world = World::new(net, true);
    world.up().unwrap();
    assert_eq!(world.net.route_to(RELAY).unwrap().luid, UPLINK);
    assert_ne!(world.net.route_to(OTHER_RELAY).unwrap().luid, TAP, "nor anything else");
}

#[test]
fn a_relay_that_would_be_reached_through_the_tunnel_stops_the_client() {
    let net = Model::default();
    // More special than what is pinned cannot be; the same twice can, and then the metric decides.
    net.state().settings.host_routes.push((RELAY, Hop { luid: TAP, next_hop: RELAY }));
    let mut world = World::new(net, true);
    let before = world.net.settings();
    let fault = world.up().unwrap_err();
    assert!(fault.cause.starts_with("the relay route changed"), "{fault}");
    world.policy.leave();
    assert_eq!(world.net.settings(), before);
}

#[test]
fn the_pin_follows_the_way_out_and_a_relay_that_moves() {
    let mut world = World::new(Model::default(), true);
    let before = world.net.settings();
    world.up().unwrap();
    let pins = |net: &Model| net.settings().host_routes.iter().map(|(remote, hop)| (*remote, hop.luid)).collect::<Vec<_>>();
    world.net.state().uplinks = vec![(UPLINK, 25), (OTHER_UPLINK, 10)];
    world.policy.watch().unwrap();
    assert_eq!(pins(&world.net), [(RELAY, OTHER_UPLINK)]);
    world.net.state().uplinks = vec![];
    world.policy.watch().unwrap();
    assert_eq!(pins(&world.net), [(RELAY, OTHER_UPLINK)], "no way out is no reason to let go");
    world.net.state().uplinks = vec![(UPLINK, 25)];
    world.policy.joined_again(Some(OTHER_RELAY)).unwrap();
    assert_eq!(pins(&world.net), [(OTHER_RELAY, UPLINK)]);
    // Somebody flushed the routes.
    world.net.state().settings.host_routes.clear();
    world.policy.watch().unwrap();
    assert_eq!(pins(&world.net), [(OTHER_RELAY, UPLINK)]);
    assert!(world.policy.leave());
    assert_eq!(world.net.settings(), before);
}

#[test]
fn an_adapter_in_use_is_one_clear_line() {
    let mut world = World::new(Model::default(), true);
    world.tap.0.lock().unwrap().in_use = true;
    let fault = world.up().unwrap_err();
    assert!(fault.cause.contains("another program uses it") && fault.code == ExitCode::Permission, "{fault}");
    assert!(fault.advice.contains("--tap-instance-id"), "{fault}");
}

#[test]
fn an_adapter_that_went_is_opened_anew_as_it_was() {
    let mut world = World::new(Model::default(), true);
    world.up().unwrap();
    world.tap.0.lock().unwrap().in_use = true;
    assert!(world.policy.reopen(mtu(1390)).is_err());
    world.tap.0.lock().unwrap().in_use = false;
    world.policy.reopen(mtu(1390)).unwrap();
    assert!(world.media());
}

#[test]
fn the_real_address_is_shown_before_one_that_windows_gave_itself() {
    let world = World::new(Model::default(), true);
    let (own, real) = (Ipv4Addr::new(169, 254, 7, 7), Ipv4Addr::new(10, 73, 42, 9));
    world.net.state().addresses = vec![own, real];
    assert_eq!(world.policy.addresses(), [real, own]);
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn routes_through_members_are_whole_or_not_there_and_go_with_the_evening() {
    let mut world = World::new(Model::default(), true);
    let before = world.net.settings();
    world.up().unwrap();
    world.policy.add_route(net("192.168.50.0/24"), MemberId(2), MAC).unwrap();
    world.policy.add_route(net("0.0.0.0/0"), MemberId(2), MAC).unwrap();
    let luid = |net: &Model, remote: &str| net.route_to(remote.parse().unwrap()).unwrap().luid;
    assert_eq!((luid(&world.net, "192.168.50.7"), luid(&world.net, "198.51.100.1")), (TAP, TAP));
    world.policy.watch().unwrap();
    assert_eq!(world.net.route_to(RELAY).unwrap().luid, UPLINK, "the relay is never reached through the tunnel");
    // The adapter was restarted, and Windows has forgotten.
    world.net.state().settings.member_routes.clear();
    world.policy.reopen(mtu(1390)).unwrap();
    assert_eq!(world.net.settings().member_routes.len(), 3);
    world.policy.remove_route(net("0.0.0.0/0"), MemberId(2)).unwrap();
    assert_eq!((luid(&world.net, "192.168.50.7"), luid(&world.net, "198.51.100.1")), (TAP, UPLINK));
    assert!(world.policy.leave());
    assert_eq!(world.net.settings(), before);
}

#[test]
fn a_network_that_the_machine_has_a_route_to_stays_where_it_is() {
    let mut world = World::new(Model::default(), true);
    world.up().unwrap();
    let (theirs, hop) = (net("128.0.0.0/1"), Hop { luid: OTHER_UPLINK, next_hop: RELAY });
    world.net.state().settings.member_routes.push((theirs, hop, MAC));
    let before = world.net.settings();
    let refused = world.policy.add_route(net("0.0.0.0/0"), MemberId(2), MAC).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(world.net.settings(), before, "nor is the other half set");
    assert_eq!(world.policy.unforwarded(&[theirs, net("fd00::/8")]), [&theirs]);
}

/// What may happen between the start and the end of an evening.
#[derive(Clone, Copy, Debug)]
enum Event {
    Mtu(u16),
    Uplink(bool),
    JoinedAgain(bool),
    Reopen,
    Game(bool),
    Route(bool),
    NoRoute,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1280_u16..1500).prop_map(Event::Mtu),
        any::<bool>().prop_map(Event::Uplink),
        any::<bool>().prop_map(Event::JoinedAgain),
        Just(Event::Reopen),
        any::<bool>().prop_map(Event::Game),
        any::<bool>().prop_map(Event::Route),
        Just(Event::NoRoute),
    ]
}

/// Lives through it until a step fails.
fn live(world: &mut World, game: &mut GameMode<Model>, events: &[Event]) -> Result<(), Fault> {
    world.up()?;
    for event in events {
        match event {
            Event::Mtu(bytes) => drop(world.policy.set_mtu(mtu(*bytes))),
            Event::Uplink(other) => {
                world.net.state().uplinks = vec![(if *other { OTHER_UPLINK } else { UPLINK }, 25)];
                world.policy.watch()?;
            }
            Event::JoinedAgain(other) => world.policy.joined_again(Some(if *other { OTHER_RELAY } else { RELAY }))?,
            Event::Reopen => world.policy.reopen(mtu(1390))?,
            // The client goes on without, and says so.
            Event::Route(all) => drop(world.policy.add_route(net(if *all { "::/0" } else { "192.168.50.0/24" }), MemberId(2), MAC)),
            Event::NoRoute => drop(world.policy.remove_route(net("192.168.50.0/24"), MemberId(2))),
            Event::Game(has_address) => {
                world.net.state().profile = has_address.then(|| "{LAN}".to_owned());
                game.advance(*has_address);
            }
        }
    }
    Ok(())
}

/// How a machine may be before.
fn machine() -> impl Strategy<Value = Model> {
    (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(1_u32..50)).prop_map(|(address, route, domain, lan)| {
        let net = Model::default();
        let hop = net.route_to(RELAY).unwrap();
        let mut state = net.state();
        state.lan_default_metric = lan;
        if address {
            state.settings.network_address.insert(TAP_KEY.into(), "00FF00000001".into());
        }
        if route {
            state.settings.host_routes.push((RELAY, hop));
        }
        if domain {
            state.settings.categories.insert("{LAN}".into(), Category::Domain);
        }
        drop(state);
        net
    })
}

/// An evening in which everything is changed that ever is, game mode and a way out that moves included.
const WHOLE_EVENING: [Event; 9] = [
    Event::Game(false),
    Event::Game(true),
    Event::Mtu(1300),
    Event::Uplink(true),
    Event::Route(true),
    Event::Route(false),
    Event::JoinedAgain(true),
    Event::NoRoute,
    Event::Reopen,
];

/// No call fails, and the evening does not end.
const NEVER: usize = usize::MAX;

/// One evening whose call number `fails_in` fails, before it was done or just after, or kills the program. Whether it came to that, and
/// what the machine is like afterwards.
fn whole_evening(fails_in: usize, is_crash: bool, fails_late: bool) -> (bool, World, Settings) {
    let net = Model::default();
    let before = net.settings();
    let mut world = World::new(net, true);
    let journal = Journal::open(Box::new(world.disk.clone())).unwrap();
    world.policy.journal = journal.clone();
    let mut game = GameMode::new(world.net.clone(), journal, world.policy.adapter().clone());
    {
        let mut state = world.net.state();
        (state.fails_in, state.is_crash, state.fails_late) = (Some(fails_in), is_crash, fails_late);
        state.disk = Some(world.disk.clone());
    }
    let lived = live(&mut world, &mut game, &WHOLE_EVENING);
    // The end of the evening is steps, too.
    if lived.is_ok() && fails_in != NEVER && !world.net.state().has_struck {
        world.policy.leave();
    }
    let has_struck = world.net.state().has_struck;
    {
        let mut state = world.net.state();
        (state.fails_in, state.fails_late, state.disk) = (None, false, None);
        world.disk.0.lock().unwrap().is_dead = false;
    }
    (has_struck, world, before)
}

#[test]
fn each_step_of_an_evening_may_fail_or_be_the_last() {
    // Every kind of change is made when nothing fails.
    let (_, world, _) = whole_evening(NEVER, false, false);
    let kinds: std::collections::BTreeSet<_> =
        world.policy.journal.changes().iter().map(|change| serde_json::to_value(change).unwrap()["change"].to_string()).collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    for (is_crash, fails_late) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut steps = 0;
        for step in 0.. {
            let (has_struck, mut world, before) = whole_evening(step, is_crash, fails_late);
            if !has_struck {
                break;
            }
            steps += 1;
            if is_crash {
                world.tap.close();
            } else {
                world.policy.leave();
            }
            // As the next start does, and `--undo`.
            recover(&Journal::open(Box::new(world.disk.clone())).unwrap(), &mut world.net);
            assert_eq!(world.net.settings(), before, "step {step}, crash {is_crash}, late {fails_late}");
            assert!(world.disk.0.lock().unwrap().content.is_none() && !world.media(), "step {step}, crash {is_crash}, late {fails_late}");
        }
        assert!(steps >= 20, "{steps} steps, crash {is_crash}, late {fails_late}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever step fails or crashes, before it was done or just after, the machine is as it was once it is taken back.
    #[test]
    fn whatever_fails_or_crashes_the_machine_is_as_it_was(
        net in machine(),
        game_mode in any::<bool>(),
        events in prop::collection::vec(event(), 0..8),
        fails_in in prop::option::of(0_usize..24),
        is_crash in any::<bool>(),
        fails_late in any::<bool>(),
    ) {
        let before = net.settings();
        let mut world = World::new(net, game_mode);
        let journal = Journal::open(Box::new(world.disk.clone())).unwrap();
        world.policy.journal = journal.clone();
        let adapter = world.policy.adapter().clone();
        let mut game = GameMode::new(world.net.clone(), journal, adapter);
        {
            let mut state = world.net.state();
            (state.fails_in, state.is_crash, state.fails_late) = (fails_in, is_crash, fails_late);
            state.disk = Some(world.disk.clone());
        }
        let lived = live(&mut world, &mut game, &events);
        let has_crashed = world.net.state().fails_in == Some(0) && is_crash;
        {
            let mut state = world.net.state();
            (state.fails_in, state.fails_late, state.disk) = (None, false, None);
            world.disk.0.lock().unwrap().is_dead = false;
        }
        if has_crashed && world.net.state().has_struck {
            // The driver unplugs the cable of a program that is gone.
            world.tap.close();
            let journal = Journal::open(Box::new(world.disk.clone())).unwrap();
            recover(&journal, &mut world.net);
        } else {
            world.policy.leave();
        }
        prop_assert_eq!(world.net.settings(), before, "lived: {:?}", lived.err().map(|fault| fault.cause));
        prop_assert!(world.disk.0.lock().unwrap().content.is_none(), "the journal is empty");
        prop_assert!(!world.media());
    }
}
