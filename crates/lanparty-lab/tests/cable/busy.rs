//! A ping beside downloads over a home's line, whose modem keeps 200 ms of packets (docs/performance.md).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Namespace, PairOptions, Uplink, Verdict};

use crate::bench::{Bench, is_whole, ready};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(12);
/// The start of a download, which is not looked at.
const LEAD: Duration = Duration::from_secs(2);
/// What most hosts' TCP does; the system's default here may be another.
const INSIDE: &str = "cubic";

/// What a line is like with so many downloads.
struct Load {
    mbit: f64,
    /// Round trips in order; pings that were not answered are missing.
    rtts: Vec<Duration>,
    pings: usize,
}

impl Load {
    fn percentile(&self, percent: usize) -> Duration {
        self.rtts.get(self.rtts.len() * percent / 100).copied().unwrap_or(Duration::MAX)
    }

    fn words(&self) -> String {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        let lost = self.pings - self.rtts.len();
        format!("{:6.2} Mbit/s, ping p50 {:6.1} p95 {:6.1} p99 {:6.1} ms, {lost} of {} lost", self.mbit, ms(50), ms(95), ms(99), self.pings)
    }
}

/// Pings twenty times a second for `time`.
fn pings(from: &Namespace, to: Ipv4Addr, time: Duration) -> (usize, Vec<Duration>) {
    let count = (time.as_millis() / 50).to_string();
    let output = from.run_any(&["ping", "-n", "-i", "0.05", "-W", "1", "-c", &count, &to.to_string()]).unwrap();
    let time = |line: &str| line.split("time=").nth(1)?.split(' ').next()?.parse::<f64>().ok();
    let mut rtts: Vec<_> = output.stdout.lines().filter_map(time).map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
    rtts.sort_unstable();
    (count.parse().unwrap(), rtts)
}

/// Reads whatever comes until its sender closes. Bytes that came between `LEAD` and `TIME`, and the time they took.
fn read_all(mut stream: TcpStream, start: Instant) -> usize {
    let (mut buffer, mut bytes) = (vec![0; 65_536], 0);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if (LEAD..TIME).contains(&start.elapsed()) {
            bytes += len;
        }
    }
    bytes
}

/// `flows` downloads from `a` to `b`, with pings from `b` to `a` beside them.
fn load(bench: &Bench, flows: usize) -> Load {
    let (a, b) = (&bench.pair.a, &bench.pair.b);
    let listener = b.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    let target = SocketAddr::new(Bench::B.into(), listener.local_addr().unwrap().port());
    let start = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..flows)
            .map(|_| {
                let mut stream = a.enter(|| TcpStream::connect(target)).unwrap().unwrap();
                rustix::net::sockopt::set_tcp_congestion(&stream, INSIDE).unwrap();
                let (accepted, _) = listener.accept().unwrap();
                scope.spawn(move || {
                    stream.set_write_timeout(Some(TIME)).unwrap();
                    while start.elapsed() < TIME && stream.write_all(&[7; 65_536]).is_ok() {}
                });
                scope.spawn(move || read_all(accepted, start))
            })
            .collect();
        thread::sleep(if flows == 0 { Duration::ZERO } else { LEAD });
        let (pings, rtts) = pings(b, Bench::A, TIME - LEAD);
        let bytes: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        Load { mbit: bytes as f64 * 8e-6 / (TIME - LEAD).as_secs_f64(), rtts, pings }
    })
}

/// What a line is like idle, with one download and with four, in words too; and whether this machine was idle enough to tell.
fn measure(name: &str, line: &str) -> ([Load; 3], String, Verdict) {
    let bench = Bench::with(name, &PairOptions { b: Uplink::wire(line).unwrap(), ..PairOptions::default() });
    let (_a, _b) = bench.plug_in(&[]);
    // The search for the path's size is over.
    thread::sleep(Duration::from_secs(3));
    let loads = [0, 1, 4].map(|flows| load(&bench, flows));
    let outbound = bench.status(&bench.pair.a)["frames"]["outbound"].clone();
    assert!(is_whole(&outbound), "{outbound}");
    let drops: Vec<_> = outbound["dropped"].as_object().unwrap().iter().filter(|(_, n)| n.as_u64() != Some(0)).collect();
    let verdict = bench.pair.wire_b.as_ref().unwrap().verdict().unwrap();
    let [idle, one, four] = loads.each_ref().map(Load::words);
    let words = format!("{name}: {line}\n  idle  {idle}\n  one   {one}\n  four  {four}\n  the sender dropped {drops:?}; {verdict}");
    (loads, words, verdict)
}

#[test]
fn a_ping_beside_downloads_does_not_wait_behind_them() {
    if !ready() {
        return;
    }
    let ([idle, one, four], words, verdict) = measure("busy", "delay=10ms rate=20M queue=500000");
    println!("{words}");
    if !matches!(verdict, Verdict::Conclusive) {
        return;
    }
    for load in [&one, &four] {
        assert!(load.mbit > 15.0, "{}", load.words());
        assert!(load.percentile(50) < idle.percentile(50) + Duration::from_millis(200), "{}", load.words());
    }
}
