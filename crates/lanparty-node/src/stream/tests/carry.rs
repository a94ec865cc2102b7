//! What a link carries, and how it ends.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::stream::queue::{QUEUE_AGE_MAX, QUEUE_LEN_MAX};

const SOON: Duration = Duration::from_secs(2);

async fn end_of(link: &StreamLink) -> LinkEnded {
    tokio::time::timeout(SOON, link.ended()).await.expect("it did not end")
}

#[tokio::test]
async fn frames_arrive_both_ways_bit_exact_and_in_order() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    for (from, to) in [(&member, &far), (&far, &member)] {
        let sent = frames(0..300);
        for batch in sent.chunks(37) {
            let outcome = from.send_now(batch).unwrap();
            assert_eq!((outcome.taken, outcome.refused.len()), (batch.len(), 0));
        }
        assert_eq!(receive(to, sent.len()).await, sent);
        assert_eq!(from.take_discarded(), 0);
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_reader_gives_up_and_comes_again() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    let (sent, mut got) = (frames(0..200), vec![]);
    for frame in &sent {
        member.send_now(std::slice::from_ref(frame)).unwrap();
        let mut into = [const { Bytes::new() }; 3];
        if let Ok(n) = tokio::time::timeout(Duration::from_micros(200), far.recv(&mut into)).await {
            got.extend(into.into_iter().take(n.unwrap()));
        }
    }
    got.extend(receive(&far, sent.len() - got.len()).await);
    assert_eq!(got, sent);
}

#[tokio::test]
async fn a_frame_above_the_budget_is_refused_and_the_others_go() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    let sized = |len: u16| Bytes::from([&[0x10, 0, 1, 0, 0, 0, 9][..], &vec![0; usize::from(len) - 7]].concat());
    let (large, largest) = (sized(member.budget().0 + 1), sized(member.budget().0));
    let mut queue = [large.clone(), largest.clone()].into();
    let outcome = member.send_some(&mut queue).await.unwrap();
    assert_eq!((outcome.taken, outcome.refused, queue.len()), (2, vec![large], 0));
    assert_eq!(receive(&far, 1).await, [largest]);
}

#[tokio::test]
async fn control_messages_arrive_both_ways_and_in_order() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    for (from, to) in [(&member, &far), (&far, &member)] {
        for n in 0..50 {
            from.send_control(&Control::Notice { message: format!("{n} ä") }).await.unwrap();
        }
        for n in 0..50 {
            assert_eq!(to.next_control().await.unwrap(), Control::Notice { message: format!("{n} ä") });
        }
    }
}

/// Control messages wait for a reader, all of them, while frames pass by.
#[tokio::test]
async fn control_messages_that_nobody_reads_are_kept_and_bounded() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    let message = |n: u32| Control::Notice { message: format!("{n} {}", "x".repeat(30_000)) };
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(200), member.send_control(&message(sent))).await.is_ok() {
        sent += 1;
        assert!(sent < 500, "there is no end of what is taken");
    }
    for n in 0..sent {
        assert_eq!(far.next_control().await.unwrap(), message(n));
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_gets_the_newest_when_it_reads_again() {
    let relay = Relay::new();
    let (mut stalled, far) = relay.joined_by_hand().await;
    let mut sent_at = vec![];
    let mut send = |count: u32| {
        let first = u32::try_from(sent_at.len()).unwrap();
        let batch: Vec<Bytes> = (first..first + count).map(|n| [&[0x10, 0, 1][..], &n.to_be_bytes(), &[7; 1400]].concat().into()).collect();
        sent_at.resize(sent_at.len() + batch.len(), Instant::now());
        assert_eq!(far.send_now(&batch).unwrap().taken, batch.len());
        assert!(far.queued() <= QUEUE_LEN_MAX, "{} bytes wait", far.queued());
    };
    for _ in 0..160 {
        send(40);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let resumed = Instant::now();
    send(1);
    let mut got = vec![];
    while got.last() != Some(&(sent_at.len() as u32 - 1)) {
        let Message::Binary(mut message) = tokio::time::timeout(SOON, stalled.next()).await.unwrap().unwrap().unwrap() else { continue };
        got.extend(std::iter::from_fn(|| framing::take_first(&mut message)).map(|frame| number_of(&frame)));
    }
    assert!(resumed.elapsed() < Duration::from_secs(1), "{:?}", resumed.elapsed());
    assert!(got.is_sorted_by(|a, b| a < b));
    assert_eq!(got.len() as u64 + far.take_discarded(), sent_at.len() as u64, "every frame arrived or is counted");
    let gap = got.windows(2).position(|w| w[1] != w[0] + 1).expect("nothing was dropped");
    let oldest = sent_at[got[gap + 1] as usize];
    assert!(oldest + QUEUE_AGE_MAX >= resumed, "{:?} too old", resumed - oldest - QUEUE_AGE_MAX);
}

/// Both ends of a link, the way to the second one limited to some 6.5 Mbit/s and 32 KiB, as the kernel would.
async fn slow_line() -> (StreamLink, StreamLink) {
    let (near, middle) = tokio::io::duplex(32 * 1024);
    let (beyond, far) = tokio::io::duplex(1024 * 1024);
    let (mut from_near, mut to_near) = tokio::io::split(middle);
    let (mut from_far, mut to_far) = tokio::io::split(beyond);
    tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
    tokio::spawn(async move {
        let mut chunk = [0; 8 * 1024];
        while let Ok(n @ 1..) = from_near.read(&mut chunk).await {
            to_far.write_all(&chunk[..n]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let near = socket::member_socket(socket::stranger_socket(Box::new(near), vec![]).await).await;
    let far = socket::client_socket(Box::new(far), vec![]).await;
    (StreamLink::start(near, nowhere), StreamLink::start(far, nowhere))
}

#[tokio::test]
async fn a_slow_line_that_is_offered_too_much_delays_nothing_for_long() {
    let (near, far) = slow_line().await;
    let start = Instant::now();
    let reader = tokio::spawn(async move {
        let (mut into, mut ages) = (vec![Bytes::new(); 64], vec![]);
        while let Ok(n) = far.recv(&mut into).await {
            ages.extend(into[..n].iter().map(|frame| start.elapsed().saturating_sub(Duration::from_millis(number_of(frame).into()))));
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::ZERO, far.next_control()).await {
                return (ages, start.elapsed());
            }
        }
        panic!("the link ended");
    });
    let mut asked = start;
    for round in 0..200 {
        let now = u32::try_from(start.elapsed().as_millis()).unwrap();
        let frame: Bytes = [&[0x10, 0, 1][..], &now.to_be_bytes(), &[7; 1400]].concat().into();
        if near.send_now(&vec![frame; 20]).is_err() {
            break;
        }
        if round == 180 {
            asked = Instant::now();
            near.send_control(&Control::Notice { message: "now".into() }).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (ages, answered) = reader.await.unwrap();
    let (oldest, waited) = (ages.iter().skip(ages.len() / 4).max().unwrap(), start + answered - asked);
    // The queue's age, 32 KiB in the kernel's place at 800 kB/s, a short message, and a busy machine.
    assert!(*oldest < Duration::from_millis(350) && waited < Duration::from_millis(250), "{oldest:?}, {waited:?}");
    assert!(near.take_discarded() > 1000, "it was not offered too much");
}

#[tokio::test]
async fn the_reason_of_a_close_arrives_behind_what_was_said_before() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    let notice = Control::Notice { message: "first".into() };
    far.send_control(&notice).await.unwrap();
    far.close("the relay is shutting down");
    assert_eq!(end_of(&far).await.to_string(), "closed here");
    assert_eq!(member.next_control().await.unwrap(), notice);
    let ended = member.next_control().await.unwrap_err();
    assert_eq!((ended.reason.as_str(), ended.by_peer), ("the relay is shutting down", true));
    assert!(member.send_now(&frames(0..1)).is_err() && member.recv(&mut [Bytes::new()]).await.is_err());
    tokio::time::timeout(SOON, async { tokio::join!(member.wait_idle(), far.wait_idle()) }).await.expect("tasks are left");
}

#[tokio::test]
async fn a_long_reason_is_cut_between_letters() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    member.close(&format!("x{}", "ä".repeat(100)));
    let ended = end_of(&far).await;
    assert_eq!((ended.reason, ended.by_peer), (format!("x{}", "ä".repeat(61)), true));
}

#[tokio::test]
async fn a_link_that_nobody_holds_ends_and_leaves_no_task() {
    let relay = Relay::new();
    let (member, far) = relay.joined().await;
    let (other, shared) = (member.clone(), member.downgrade());
    drop(member);
    assert!(tokio::time::timeout(Duration::from_millis(100), far.ended()).await.is_err(), "one handle is left");
    drop(other);
    let ended = end_of(&far).await;
    assert_eq!((ended.reason.as_str(), ended.by_peer), ("closed by the other side", true));
    let start = Instant::now();
    while shared.strong_count() > 0 {
        assert!(start.elapsed() < SOON, "a task is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_peer_that_is_silent_is_dead_and_one_that_is_idle_is_not() {
    let relay = Relay::new();
    let (_silent, far) = relay.joined_by_hand().await;
    let (idle, idle_far) = relay.joined().await;
    let start = Instant::now();
    let ended = far.ended().await;
    assert_eq!((ended.reason.as_str(), ended.by_peer), ("nothing heard for 3 s", false));
    assert!(start.elapsed() >= Duration::from_millis(2900) && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(idle.send_now(&[]).is_ok() && idle_far.send_now(&[]).is_ok());
    for link in [idle, idle_far] {
        let rtt = link.rtt().expect("no heartbeat came back");
        assert!(rtt > Duration::ZERO && rtt < Duration::from_secs(1), "{rtt:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_noticed_at_once_and_nobodys_intention() {
    let relay = Relay::new();
    let (cut, far) = relay.joined_by_hand().await;
    drop(cut);
    let ended = end_of(&far).await;
    assert_eq!((ended.reason.as_str(), ended.by_peer), ("the connection was cut off", false));
}

#[tokio::test]
async fn what_is_no_message_of_ours_ends_the_link_with_words() {
    let relay = Relay::new();
    for (message, words) in [
        (Message::binary([0, 0].as_slice()), "a datagram of no bytes"),
        (Message::binary([0, 9, 1].as_slice()), "claims 9 bytes where 1 are left"),
        (Message::binary(Bytes::new()), "an empty message"),
        (Message::text("{\"type\":"), "control message not understood"),
        (Message::text(format!("{{\"type\":\"Sing\",\"song\":\"{}\"}}", "x".repeat(70_000))), "at most 65536"),
    ] {
        let (mut wrong, far) = relay.joined_by_hand().await;
        let _ = wrong.send(message).await;
        let ended = end_of(&far).await;
        assert!(ended.reason.contains(words) && !ended.by_peer, "{ended}: {words}");
        let mut told = None;
        while let Some(Ok(message)) = wrong.next().await {
            if let Message::Close(Some(frame)) = message {
                told = Some(frame.reason.to_string());
            }
        }
        assert!(told.expect(words).starts_with("you sent "));
    }
}

#[tokio::test]
async fn a_message_that_announces_too_much_is_not_waited_for() {
    let relay = Relay::new();
    let (mut wrong, far) = relay.joined_by_hand().await;
    // Final, binary, masked, a length of eight bytes, a mask (RFC 6455 §5.2).
    let head = [&[0x82, 0xff][..], &300_000_u64.to_be_bytes(), &[0; 4]].concat();
    wrong.get_mut().write_all(&head).await.unwrap();
    wrong.get_mut().flush().await.unwrap();
    let ended = end_of(&far).await;
    assert!(ended.reason.contains("300000") && !ended.by_peer, "{ended}");
}

#[tokio::test]
async fn what_is_sent_is_asked_after_and_silence_is_no_answer() {
    let relay = Relay::new();
    let (mut socket, far) = relay.joined_by_hand().await;
    let (mut asked, before) = far.answerable();
    for frame in frames(1..4) {
        far.send_now(&[frame]).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(far.answerable().0 > asked, "nobody would notice that this is lost");
        assert_eq!(far.answerable().1, before, "and nobody has answered");
        asked = far.answerable().0;
    }
    let answered = async {
        while far.answerable().1 == before {
            // The socket answers pings when it is read.
            let _ = tokio::time::timeout(Duration::from_millis(10), socket.next()).await;
            socket.flush().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("an answer");
}
