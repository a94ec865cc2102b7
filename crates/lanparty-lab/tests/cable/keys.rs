//! No key, no frame; and no frame in the clear.

use std::net::UdpSocket;
use std::time::Duration;

use lanparty_lab::{Namespace, Proc, WAN, ping};

use crate::bench::{Bench, CABLE, ready};
use crate::capture::Capture;
use crate::programs::SOON;

/// Nothing crossed, and each end says it with the key that it is about.
fn nothing_crosses(bench: &Bench, ends: [(&Namespace, &Proc, String); 2]) {
    for (host, end, words) in ends {
        end.wait_for(&words, SOON).unwrap();
        let status = bench.status(host);
        assert_eq!((&status["plugged"], &status["times_plugged"]), (&false.into(), &0.into()));
        assert_eq!(status["frames"]["inbound"]["frames_in"], 0);
        assert_eq!(status["frames"]["outbound"]["forwarded"], 0);
        bench.address(host);
    }
    assert_eq!(ping(&bench.pair.a, Bench::B, 2).unwrap().received, 0);
}

#[test]
fn an_end_that_was_told_another_key_lets_nobody_in() {
    if !ready() {
        return;
    }
    let bench = Bench::new("listens-wrong");
    let (a, b, other) = (&bench.pair.a, &bench.pair.b, "5".repeat(64));
    let [key_a, key_b] = &bench.keys;
    let listening = bench.start_for(a, &other, &[]);
    let dialling = bench.start_for(b, key_a, &["--remote", "10.99.0.11"]);
    nothing_crosses(
        &bench,
        [
            (a, &listening, format!("which dialled this cable, has the key {key_b} and is refused: this cable is for {other}")),
            (b, &dialling, format!("the host at 10.99.0.11:8442 refuses this host's key {key_b}: its cable is for another one")),
        ],
    );
    assert!(dialling.running(), "the owner may yet correct the other end");
}

#[test]
fn an_end_that_dials_somebody_else_sends_nothing_and_names_the_key() {
    if !ready() {
        return;
    }
    let bench = Bench::new("dials-wrong");
    let (a, b, other) = (&bench.pair.a, &bench.pair.b, "5".repeat(64));
    let [key_a, key_b] = &bench.keys;
    let listening = bench.start_for(a, key_b, &[]);
    let dialling = bench.start_for(b, &other, &["--remote", "10.99.0.11"]);
    nothing_crosses(
        &bench,
        [
            (a, &listening, format!("which dialled this cable, refuses this host's key {key_a}: its cable is for another one")),
            (b, &dialling, format!("the host at 10.99.0.11:8442 has the key {key_a} and is refused: this cable is for {other}")),
        ],
    );
}

#[test]
fn nothing_is_readable_on_the_wire() {
    if !ready() {
        return;
    }
    const SECRET: &[u8] = b"-- what nobody on the way may read --";
    let bench = Bench::new("secret");
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let _ends = bench.plug_in(&[]);
    let (mut wire, mut inside) = (Capture::open(b, WAN), Capture::open(b, CABLE));
    let sender = a.enter(|| UdpSocket::bind((Bench::A, 0))).unwrap().unwrap();
    for _ in 0..50 {
        sender.send_to(&SECRET.repeat(20), (Bench::B, 9)).unwrap();
    }
    let with_secret = |capture: &mut Capture, count: &mut usize| {
        let mut found = 0;
        while let Some(frame) = capture.next(Duration::from_millis(500)) {
            *count += 1;
            found += usize::from(frame.windows(SECRET.len() / 2).any(|part| part == &SECRET[..SECRET.len() / 2]));
        }
        found
    };
    let (mut on_wire, mut crossed) = (0, 0);
    assert!(with_secret(&mut inside, &mut crossed) >= 50, "it crossed: {crossed} frames");
    assert_eq!(with_secret(&mut wire, &mut on_wire), 0, "of {on_wire} packets on the wire");
    assert!(on_wire >= 10, "{on_wire} packets");
}

#[test]
fn strangers_at_the_door_disturb_nobody_and_do_not_fill_the_log() {
    const STRANGERS: usize = 6;
    if !ready() {
        return;
    }
    let bench = Bench::new("strangers");
    let (a, _b) = bench.plug_in(&[]);
    let third = &bench.pair.relay;
    let stranger =
        |number: usize| bench.start_for(third, &bench.keys[0], &["--remote", "10.99.0.11", "--tap-name", &format!("cable{number}")]);
    let strangers: Vec<Proc> = (0..STRANGERS).map(stranger).collect();
    for stranger in &strangers {
        stranger.wait_for("refuses this host's key", SOON).unwrap();
    }
    let mark = a.mark();
    assert_eq!(ping(&bench.pair.a, Bench::B, 20).unwrap().received, 20);
    let named = a.lines()[mark..].iter().filter(|line| line.contains("and is refused")).count();
    assert!(named <= 5, "{named} lines in four seconds");
    assert!(a.lines().iter().any(|line| line.contains("and is refused")));
    assert_eq!(bench.status(&bench.pair.a)["times_plugged"], 1);
}
