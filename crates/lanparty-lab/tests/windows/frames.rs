//! Frames between the driver and the LAN: none is lost, or it is known which.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lanparty_lab::{Party, Proc};
use serde_json::Value;

use crate::machine::{INSTANCE_ID, WINE_PATIENCE, Windows, ended, windows_ready};
use crate::support::{Evening, SOON};

/// Frames that are sent, and how many may be on their way: fewer than the driver keeps for a reader.
const FLOOD_FRAMES: u32 = 3_000;
const FLOOD_WINDOW: u32 = 48;
/// Frames that come while the client does not read: more than the driver keeps.
const BURST_FRAMES: u32 = 500;
const DRIVER_QUEUE: usize = 64;
/// Time for the burst to come as far as it does.
const BURST_PASSES: Duration = Duration::from_secs(2);

#[test]
fn each_frame_reaches_the_lan_or_is_counted_and_a_full_driver_is_no_end() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winflood");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::with_stack(&evening);
    let (client, _) = windows.joined();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    let sender = home.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect((Party::pc_address(1), 9)).unwrap();
    let receiver = pc.enter(|| UdpSocket::bind("0.0.0.0:9").unwrap()).unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    let lost = u64::from(FLOOD_FRAMES - flood(&sender, &receiver));
    let status: Value = serde_json::from_str(&ended(&windows.client(&["--status"]), &[0]).join("\n")).unwrap();
    let dropped = status[0]["frames"]["outbound"]["dropped"].as_object().unwrap();
    // On a machine that is busy with other things, the queue toward the relay may be full: then it says so.
    assert!(lost <= dropped.values().filter_map(Value::as_u64).sum(), "{lost} frames are lost without a name: {status:#}");
    assert!(status[0]["device"].as_str().unwrap().contains("unreadable: 0, kernel_drops: 0"), "{status:#}");
    a_burst_overflows_the_driver(&sender, &receiver, &client);
    windows.lan_answers();
    client.sigint();
    assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", client.tail());
}

/// The driver keeps its queue for a client that does not read, and no more.
fn a_burst_overflows_the_driver(sender: &UdpSocket, receiver: &UdpSocket, client: &Proc) {
    client.pause();
    (0..BURST_FRAMES).for_each(|_| drop(sender.send(&[7; 100])));
    std::thread::sleep(BURST_PASSES);
    client.resume();
    receiver.set_read_timeout(Some(BURST_PASSES)).unwrap();
    let arrived = (0..BURST_FRAMES).take_while(|_| receiver.recv(&mut [0; 200]).is_ok()).count();
    println!("{arrived} of {BURST_FRAMES} frames outlived a client that did not read");
    assert!((DRIVER_QUEUE..BURST_FRAMES as usize).contains(&arrived));
}

/// As fast as Wine carries them, how many arrive: what one loses waits for the others, and then it shows.
fn flood(sender: &UdpSocket, receiver: &UdpSocket) -> u32 {
    let receiver = receiver.try_clone().unwrap();
    let arrived = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&arrived);
    let counting = std::thread::spawn(move || {
        while counted.load(Ordering::Relaxed) < FLOOD_FRAMES && receiver.recv(&mut [0; 200]).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let start = Instant::now();
    for number in 0..FLOOD_FRAMES {
        while number >= arrived.load(Ordering::Relaxed) + FLOOD_WINDOW && start.elapsed() < WINE_PATIENCE {
            std::thread::sleep(Duration::from_micros(100));
        }
        sender.send(&[7; 100]).unwrap();
    }
    counting.join().unwrap();
    let arrived = arrived.load(Ordering::Relaxed);
    println!("{arrived} of {FLOOD_FRAMES} frames in {:?}", start.elapsed());
    arrived
}

/// Runs of the paced trial until one is not disturbed.
const PACE_TRIES: usize = 5;
/// Frames a second, and the least where Wine reads no more.
const PACE: u32 = 5_000;
const PACE_MIN: u32 = 1_000;

/// The device by itself, on the driver by itself: no relay, no network stack.
#[test]
fn reads_stay_posted_at_five_thousand_frames_a_second_or_what_wine_reads_here() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winpace");
    let windows = Windows::first_of_all(&evening);
    let mut pace = PACE;
    for _ in 0..PACE_TRIES {
        let lines = ended(&windows.example("tap_trial", &[INSTANCE_ID, &pace.to_string()]), &[0]);
        println!("{}", lines.join("\n"));
        assert_eq!(lines[0], "replug: 0 of 10 frames passed without a cable, 10 of 10 with it");
        let [kept, counted, sent] = numbers(&lines[2])[..] else { panic!("{lines:?}") };
        assert!(kept + counted == sent && counted > 0, "each frame is there or counted: {lines:?}");
        let [arrived, sent, dropped, late, millis] = numbers(&lines[1])[..] else { panic!("{lines:?}") };
        assert_eq!(arrived + dropped, sent, "what the driver gives arrives: {lines:?}");
        if dropped == 0 {
            return;
        }
        // A machine that keeps the driver from its pace keeps Wine from reading as well.
        if late == 0 {
            // Lost now and then: reads are missing. Lost all the time: Wine reads no more here, and loses nothing at a pace below that.
            assert!(dropped > sent / 10, "the reads were too slow: {lines:?}");
            pace = arrived * 1_000 / millis.max(1) * 6 / 10;
            assert!(pace >= PACE_MIN, "Wine reads too little to tell, or the reads are missing: {lines:?}");
        }
    }
    println!("inconclusive: this machine was too busy for the driver's own pace, {PACE_TRIES} times");
}

/// The numbers of a line.
fn numbers(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
