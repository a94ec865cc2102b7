//! How much a link carries, for information.

use std::sync::mpsc;

use super::*;

const DATAGRAM_LEN: usize = 1400;
const DURATION: Duration = Duration::from_secs(3);

/// Both ends on one machine, a thread each, each direction alone:
/// `cargo test --release -p lanparty-node megabits -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn megabits_per_second_over_loopback() {
    let (tell, told) = mpsc::channel();
    let relay_thread = std::thread::spawn(move || {
        on_this_thread(async {
            let relay = Relay::new();
            tell.send((relay.target(), relay.trust.clone())).unwrap();
            let (link, _) = relay.accept().await.unwrap();
            let received = read(&link).await;
            report("member to relay", received);
            write(&link).await;
            link.ended().await;
        });
    });
    on_this_thread(async {
        let (target, trust) = told.recv().unwrap();
        let link = dial_stream(&target, &trust, &Identity::ephemeral()).await.unwrap();
        write(&link).await;
        let received = read(&link).await;
        report("relay to member", received);
    });
    relay_thread.join().unwrap();
}

fn on_this_thread(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// As fast as the link goes without dropping.
async fn write(link: &StreamLink) {
    let batch = vec![Bytes::from([&[0x10, 0, 1][..], &[7; DATAGRAM_LEN - 3]].concat()); 32];
    let start = Instant::now();
    while start.elapsed() < DURATION {
        if link.queued() < queue::QUEUE_LEN_MAX / 2 {
            link.send_now(&batch).unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(link.take_discarded(), 0);
}

async fn read(link: &StreamLink) -> (u64, Duration) {
    let (mut into, mut received, mut first, mut last) = (vec![Bytes::new(); 128], 0, None, Instant::now());
    // The other side begins when it has seen our own end.
    let patience = |begun: bool| if begun { Duration::from_secs(1) } else { 2 * DURATION };
    while let Ok(n) = tokio::time::timeout(patience(first.is_some()), link.recv(&mut into)).await {
        received += n.unwrap() as u64;
        last = Instant::now();
        first.get_or_insert(last);
    }
    assert_eq!(link.take_overrun(), 0);
    (received, last - first.unwrap())
}

fn report(direction: &str, (received, took): (u64, Duration)) {
    let mbits = received as f64 * DATAGRAM_LEN as f64 * 8.0 / took.as_secs_f64() / 1e6;
    println!("{direction}: {mbits:.0} Mbit/s of {DATAGRAM_LEN}-byte datagrams ({received} in {took:.1?})");
}
