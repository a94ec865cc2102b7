//! The faults that have a name and a figure (RELIABILITY 4.2, THREATS A), in virtual time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use lanparty_proto::{DatagramBudget, MacAddr, Role};
use lanparty_sim::{Impairment, Kind, MemberPlan, Rng, Sabotage, World};

const MS: Duration = Duration::from_millis(1);
const HOST: MacAddr = MacAddr([0, 0x1b, 0x21, 0, 0, 0x10]);
const GATEWAY: usize = 0;

fn mac(n: usize) -> MacAddr {
    MacAddr([2, 0, 0, 1, (n >> 8) as u8, n as u8])
}

fn plan(room: usize, n: usize, role: Role) -> MemberPlan {
    let path: Impairment = format!("delay={}ms jitter=1ms rate=50M", 5 + n % 30).parse().unwrap();
    let hosts = if role == Role::Gateway { vec![HOST] } else { vec![] };
    MemberPlan { role, room: format!("ROOM{room}"), mac: mac(n), hosts, path, budget: DatagramBudget(1417), unwelcome: false }
}

/// A gateway and `clients` clients in one room, all of them in it.
fn party(seed: u64, clients: usize) -> World {
    let mut world = World::new(seed, Sabotage::None);
    world.add(plan(1, 0, Role::Gateway));
    for n in 1..=clients {
        world.add(plan(1, n, Role::Client));
    }
    (0..=clients).for_each(|n| world.join(n));
    world.run_for(Duration::from_secs(2));
    world.settle();
    kept(&world);
    world
}

fn kept(world: &World) {
    assert_eq!(world.violation(), None);
}

/// How long each member takes to come back, in order; the longest there is for those who do not within that time.
fn returns(world: &mut World, members: usize, within: Duration) -> Vec<Duration> {
    let start = world.now();
    let mut back = vec![None; members];
    while world.now() - start < within && back.iter().any(Option::is_none) {
        world.run_for(10 * MS);
        for (_, at) in back.iter_mut().enumerate().filter(|(member, at)| at.is_none() && world.is_joined(*member)) {
            *at = Some(world.now() - start);
        }
    }
    let mut back: Vec<_> = back.into_iter().map(|at| at.unwrap_or(Duration::MAX)).collect();
    back.sort();
    back
}

#[test]
fn f1_after_a_relay_crash_of_a_second_32_members_are_back_in_time_under_their_numbers() {
    for seed in 0..20 {
        let mut world = party(seed, 31);
        let numbers: Vec<_> = (0..32).map(|n| world.number(n)).collect();
        world.crash_relay(Duration::from_secs(1));
        world.run_for(Duration::from_secs(1));
        let back = returns(&mut world, 32, Duration::from_secs(20));
        assert!(back[30] <= Duration::from_secs(3), "95 % after {:?}", back[30]);
        assert!(back[31] <= Duration::from_secs(5), "all after {:?}", back[31]);
        let again: Vec<_> = (0..32).map(|n| world.number(n)).collect();
        assert_eq!(numbers, again, "everybody keeps its number");
        world.settle();
        kept(&world);
    }
}

#[test]
fn f3_after_ten_minutes_without_a_relay_everybody_is_back_within_seconds() {
    let mut world = party(3, 15);
    world.crash_relay(Duration::from_secs(600));
    world.run_for(Duration::from_secs(600));
    let back = returns(&mut world, 16, Duration::from_secs(30));
    assert!(back[15] <= Duration::from_secs(6), "{back:?}");
    world.settle();
    kept(&world);
}

#[test]
fn f4_a_gateway_that_dies_and_returns_bridges_again_within_three_seconds() {
    let mut world = party(4, 15);
    world.crash(GATEWAY);
    world.run_for(Duration::from_secs(1));
    world.join(GATEWAY);
    let back = returns(&mut world, 16, Duration::from_secs(5));
    assert!(back[15] <= Duration::from_secs(3), "{back:?}");
    world.run_for(200 * MS);
    let (down, up) = (world.send(GATEWAY, HOST, mac(7), Kind::Udp(100)), world.send(7, mac(7), HOST, Kind::Udp(100)));
    world.run_for(200 * MS);
    assert_eq!((world.reached(down), world.reached(up)), (1, 1));
    world.settle();
    kept(&world);
}

#[test]
fn f6_after_a_cut_no_stale_frame_arrives() {
    let mut world = party(6, 3);
    world.cut(2, Duration::from_secs(2));
    let late: Vec<_> = (0..180)
        .map(|_| {
            world.run_for(10 * MS);
            world.send(1, mac(1), mac(2), Kind::Udp(100))
        })
        .collect();
    world.run_for(Duration::from_secs(3));
    let arrived = late.iter().filter(|id| world.reached(**id) > 0).count();
    assert_eq!(arrived, 0, "frames that waited longer than 100 ms");
    world.settle();
    kept(&world);
}

#[test]
fn f13_after_a_sleep_there_is_no_fight_over_identities() {
    for seconds in [1, 5, 60, 3600] {
        let mut world = party(13, 8);
        world.sleep(Duration::from_secs(seconds));
        world.settle();
        kept(&world);
    }
}

#[test]
fn f22_after_a_swizzle_clog_everybody_is_back_within_ten_seconds() {
    for seed in 0..50 {
        let (mut world, mut rng) = (party(seed, 7), Rng::new(seed));
        // Everybody's path is cut one after the other, and mended in another order.
        for member in 0..8 {
            world.cut(member, Duration::from_millis(2_000 + rng.below(10_000)));
            world.run_for(Duration::from_millis(rng.below(500)));
        }
        world.run_for(Duration::from_secs(10));
        world.settle();
        kept(&world);
    }
}

#[test]
fn r2_a_thousand_members_join_fifty_rooms_at_once() {
    let mut world = World::new(2, Sabotage::None);
    for n in 0..1000 {
        world.add(plan(n % 50, n, Role::Client));
    }
    (0..1000).for_each(|n| world.join(n));
    let back = returns(&mut world, 1000, Duration::from_secs(10));
    assert!(back[999] <= Duration::from_secs(1), "{:?}", back[999]);
    world.run_for(Duration::from_secs(20));
    world.check();
    kept(&world);
}

#[test]
fn a_room_of_two_hundred_gathers_at_once_and_after_a_crash() {
    let mut world = party(200, 199);
    world.crash_relay(Duration::from_secs(1));
    world.run_for(Duration::from_secs(1));
    let back = returns(&mut world, 200, Duration::from_secs(10));
    assert!(back[199] <= Duration::from_secs(5), "{:?}", back[199]);
    world.run_for(Duration::from_secs(10));
    world.check();
    kept(&world);
}

#[test]
fn a12_a_storm_by_one_of_sixteen_costs_the_others_nothing() {
    let mut world = party(12, 15);
    let (mut passed, mut stormed) = (0, 0);
    for second in 0..10 {
        let (mut pings, mut floods) = (vec![], vec![]);
        for tick in 0..1000 {
            floods.extend((0..20).map(|_| world.send(1, mac(1), MacAddr::BROADCAST, Kind::Discovery)));
            if tick % 10 == 0 {
                pings.push(world.send(2, mac(2), mac(3), Kind::Udp(1_000)));
                pings.push(world.send(GATEWAY, HOST, mac(2), Kind::Tcp(1_000)));
            }
            world.run_for(MS);
        }
        world.run_for(Duration::from_millis(200));
        world.check();
        assert!(pings.iter().all(|id| world.reached(*id) == 1), "second {second}: unicast of others");
        (passed, stormed) = (passed + floods.iter().filter(|id| world.reached(**id) > 0).count(), stormed + floods.len());
    }
    // Two seconds' worth saved up, 2,000 copies a second, 15 copies each.
    assert!(passed <= (4_000 + 2_000 * 12) / 15 + 1, "{passed} of {stormed} passed");
    world.settle();
    kept(&world);
}

#[test]
fn a19_a_member_that_takes_nothing_costs_the_others_nothing() {
    let mut world = party(19, 15);
    world.cut(1, Duration::from_millis(2_500));
    let mut pings = vec![];
    for _ in 0..2_500 {
        for _ in 0..4 {
            world.send(2, mac(2), mac(1), Kind::Tcp(1_400));
        }
        pings.push(world.send(3, mac(3), mac(2), Kind::Udp(100)));
        world.run_for(MS);
        world.check();
    }
    world.run_for(Duration::from_secs(1));
    assert!(pings.iter().all(|id| world.reached(*id) == 1));
    world.settle();
    kept(&world);
}

#[test]
fn a_duplicate_mac_is_refused_and_its_holder_loses_nothing() {
    let mut world = party(7, 3);
    let copy = world.add(MemberPlan { mac: mac(1), unwelcome: true, ..plan(1, 50, Role::Client) });
    world.join(copy);
    let pings: Vec<_> = (0..200)
        .map(|_| {
            world.run_for(10 * MS);
            world.send(2, mac(2), mac(1), Kind::Udp(100))
        })
        .collect();
    world.run_for(200 * MS);
    assert!(!world.is_joined(copy) && pings.iter().all(|id| world.reached(*id) == 1));
    world.settle();
    kept(&world);
}
