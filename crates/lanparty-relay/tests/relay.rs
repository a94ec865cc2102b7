//! A real relay over QUIC on loopback: who gets which frame, and who does not.

mod world;

use lanparty_proto::corpus::{CaseSource, corpus};
use lanparty_proto::{Control, DropReason, LanMtu, MacAddr, Role};
use world::{Member, World, frame};

const BROADCAST: MacAddr = MacAddr::BROADCAST;

fn refusal(outcome: Result<Member, lanparty_node::JoinError>) -> String {
    outcome.err().expect("the relay refuses").to_string()
}

#[tokio::test]
async fn forwards_unicast_to_its_member_and_broadcast_to_all_others() {
    let mut world = World::start(&[]);
    let gateway = world.join(Role::Gateway, None).await.unwrap();
    let one = world.join(Role::Client, None).await.unwrap();
    let two = world.join(Role::Client, None).await.unwrap();
    let to_two = frame(two.mac, one.mac, 100);
    one.send(&to_two);
    assert_eq!(two.recv().await.unwrap(), (one.id, to_two));
    let to_all = frame(BROADCAST, two.mac, 60);
    two.send(&to_all);
    assert_eq!(one.recv().await.unwrap(), (two.id, to_all.clone()));
    assert_eq!(gateway.recv().await.unwrap(), (two.id, to_all));
    let to_lan_host = frame(MacAddr([2, 9, 9, 9, 9, 9]), one.mac, 60);
    one.send(&to_lan_host);
    assert_eq!(gateway.recv().await.unwrap(), (one.id, to_lan_host));
    assert!(two.hears_nothing().await, "unknown unicast goes to the gateway only");
    let from_lan_host = frame(one.mac, MacAddr([2, 9, 9, 9, 9, 9]), 60);
    gateway.send(&from_lan_host);
    assert_eq!(one.recv().await.unwrap(), (gateway.id, from_lan_host));
    gateway.send(&frame(MacAddr([2, 8, 8, 8, 8, 8]), gateway.mac, 60));
    assert!(one.hears_nothing().await && two.hears_nothing().await);
    assert_eq!(world.dropped(gateway.id, DropReason::UnknownDestination).await, 1);
}

#[tokio::test]
async fn members_on_different_threads_of_a_relay_are_on_one_lan() {
    let mut world = World::start(&["--threads", "3"]);
    let mut members = vec![];
    for _ in 0..16 {
        members.push(world.join(Role::Client, None).await.unwrap());
    }
    for (from, to) in members.iter().zip(members.iter().cycle().skip(1)) {
        let to_one = frame(to.mac, from.mac, 100);
        from.send(&to_one);
        assert_eq!(to.recv().await.unwrap(), (from.id, to_one));
    }
    let to_all = frame(BROADCAST, members[0].mac, 60);
    members[0].send(&to_all);
    for member in &members[1..] {
        assert_eq!(member.recv().await.unwrap(), (members[0].id, to_all.clone()));
    }
    let threads = world.relay.report().await["threads"].clone();
    let carried: Vec<_> = threads.as_array().unwrap().iter().map(|thread| thread["connections"].as_u64().unwrap()).collect();
    assert_eq!((carried.len(), carried.iter().sum()), (3, 16));
    // Where a member goes its port says: that all go one way happens once in fourteen million times.
    assert!(carried.iter().filter(|count| **count > 0).count() > 1, "{carried:?}");
}

#[tokio::test]
async fn drops_frames_above_effective_tap_mtu() {
    let mut world = World::start(&[]);
    let wide = world.join(Role::Client, None).await.unwrap();
    let narrow = world.join(Role::Client, Some(1217)).await.unwrap();
    let lan_mtu = narrow.joined.welcome.lan_mtu;
    assert_eq!(lan_mtu, LanMtu::new(1200).unwrap(), "1,217 bytes of datagram less 3 and 14");
    assert!(wide.frame_len_max() > lan_mtu.frame_len_max(), "the wider path would take the frame");
    let exact = frame(narrow.mac, wide.mac, lan_mtu.frame_len_max());
    wide.send(&exact);
    assert_eq!(narrow.recv().await.unwrap(), (wide.id, exact));
    wide.send(&frame(narrow.mac, wide.mac, lan_mtu.frame_len_max() + 1));
    assert!(narrow.hears_nothing().await);
    assert_eq!(world.dropped(wide.id, DropReason::TapMtuExceeded).await, 1);
}

#[tokio::test]
async fn rate_limits_client_total_bandwidth_after_burst() {
    // 8 kbit/s are one frame of 1,000 bytes a second: the burst is what passes in this test, and next to nothing more.
    let mut world = World::start(&["--member-rate", "8k", "--member-burst", "50k"]);
    let sender = world.join(Role::Client, None).await.unwrap();
    let receiver = world.join(Role::Client, None).await.unwrap();
    let started = std::time::Instant::now();
    for _ in 0..200 {
        sender.send(&frame(receiver.mac, sender.mac, 1000));
        tokio::task::yield_now().await;
    }
    let mut received = 0;
    while !receiver.hears_nothing().await {
        received += 1;
    }
    // `hears_nothing` swallows the frame it hears.
    let allowed = 50 + started.elapsed().as_secs() + 1;
    assert!(received >= 50 && received <= allowed, "{received} frames of 50 in the burst, at most {allowed}");
    let dropped = world.dropped(sender.id, DropReason::RateLimit).await;
    assert_eq!(dropped + received, 200, "every frame is forwarded or counted");
}

#[tokio::test]
async fn refuses_a_second_gateway_and_a_second_holder_of_a_mac_with_words() {
    let mut world = World::start(&[]);
    let gateway = world.join(Role::Gateway, None).await.unwrap();
    let words = refusal(world.join(Role::Gateway, None).await);
    assert!(words.contains("has a gateway already") && words.contains(&gateway.mac.to_string()), "{words}");
    let mut holder = world.join(Role::Client, None).await.unwrap();
    let words = refusal(world.join_as(&world.path("clone.json"), holder.mac, Role::Client, None).await);
    assert!(words.contains(&holder.mac.to_string()) && words.contains("already in room ROOM1"), "{words}");
    let notice = holder.control(|m| matches!(m, Control::Notice { .. })).await;
    assert!(matches!(notice, Control::Notice { message } if message.contains(&holder.mac.to_string())));
}

#[tokio::test]
async fn the_same_identity_takes_its_place_over() {
    let world = World::start(&[]);
    let (path, mac) = (world.path("one.json"), MacAddr([2, 0, 0, 0, 0, 77]));
    let mut old = world.join_as(&path, mac, Role::Client, None).await.unwrap();
    let new = world.join_as(&path, mac, Role::Client, None).await.unwrap();
    assert_eq!(new.id, old.id, "the number stays");
    let told = old.control(|m| matches!(m, Control::Refused { .. })).await;
    assert!(matches!(told, Control::Refused { message, .. } if message.contains("joined again")));
}

#[tokio::test]
async fn every_frame_of_the_corpus_meets_its_verdict_at_the_relay() {
    let mut world = World::start(&["--member-rate", "10G", "--multicast", "all"]);
    let gateway = world.join(Role::Gateway, None).await.unwrap();
    let client = world.join(Role::Client, None).await.unwrap();
    let lan_mtu = gateway.joined.welcome.lan_mtu;
    let mut checked = 0;
    for case in corpus(client.mac, lan_mtu) {
        let (from, to) = match case.source {
            CaseSource::Client => (&client, &gateway),
            CaseSource::Gateway => (&gateway, &client),
        };
        // Frames for nobody in this room, and those that no path takes, are other tests' business.
        if case.frame.len() > from.frame_len_max() || (case.source == CaseSource::Gateway && !reaches(&case.frame, client.mac)) {
            continue;
        }
        let before = before_drops(&world, from, case.verdict).await;
        from.send(&case.frame);
        match case.verdict {
            None => assert_eq!(to.recv().await.map(|(_, f)| f), Some(case.frame.clone()), "{} passes byte for byte", case.name),
            Some(reason) => {
                let mark = frame(to.mac, from.mac, 61);
                from.send(&mark);
                assert_eq!(to.recv().await.map(|(_, f)| f), Some(mark), "{} is not delivered", case.name);
                assert_eq!(world.dropped(from.id, reason).await, before + 1, "{}", case.name);
            }
        }
        checked += 1;
        // The flood limits are generous, not endless: pause as a network would.
        if checked % 100 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    assert!(checked >= 200, "{checked} cases");
}

async fn before_drops(world: &World, from: &Member, verdict: Option<DropReason>) -> u64 {
    match verdict {
        Some(reason) => world.dropped(from.id, reason).await,
        None => 0,
    }
}

fn reaches(frame: &[u8], client: MacAddr) -> bool {
    frame.len() < 6 || frame[0] & 1 == 1 || frame[..6] == client.0
}
