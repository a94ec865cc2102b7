//! How long a relay with a thousand members takes to answer who asks, and what a frame notices of it:
//! `cargo bench -p lanparty-relay --bench management`.
//!
//! Real members of four rooms, each with a connection of its own, and the relay in a process of its own, asked over its own socket. They are
//! there and say nothing, but for a sign of life a second each. Two more throw a frame to and fro meanwhile.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "measures, and says what it measured")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use lanparty_core::{LinkId, RelayConfig, RelayInput};
use lanparty_node::{Dialer, Identity, JoinRequest, Joined, RelayTrust, block_on};
use lanparty_proto::corpus::wire::ethernet;
use lanparty_proto::{Control, DatagramBudget, DatagramHeader, Hello, IdentityId, MacAddr, MemberId, Role};
use lanparty_relay::RelayArgs;

const MEMBERS: usize = 1000;
const ROOMS: usize = 4;
/// Members that join at the same time.
const AT_ONCE: usize = 32;
const ROUNDS: usize = 100;
/// From one question to the next.
const PAUSE: Duration = Duration::from_millis(20);
const LISTEN: &str = "127.0.0.1:28443";
/// From one frame to the next.
const BETWEEN: Duration = Duration::from_millis(1);
const LOST_AFTER: Duration = Duration::from_secs(1);
/// What is asked, and with what.
const ASKS: [(&str, &str); 5] =
    [("status", "{}"), ("members", r#"{"room":"ROOM0"}"#), ("rooms", "{}"), ("counters", "{}"), ("metrics", "")];

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: RelayArgs,
}

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "relay") {
        return block_on(lanparty_relay::run(Cli::parse_from(&words[1..]).args));
    }
    copies();
    block_on(async {
        measure().await;
        Ok(())
    })
}

/// How long what is copied between frames takes to copy: frames wait for that.
fn copies() {
    let (mut relay, now) = (lanparty_core::Relay::new(RelayConfig { members_max: MEMBERS, ..RelayConfig::default() }), Instant::now());
    for n in 0..MEMBERS {
        let message = Box::new(Control::Hello(hello(n)));
        let (link, identity) = (LinkId(n as u64), IdentityId([(n % 251) as u8, (n >> 8) as u8].repeat(16).try_into().unwrap()));
        let (remote, budget) = (format!("192.0.2.7:{}", 1024 + n), DatagramBudget(1417));
        relay.handle_input(RelayInput::Message { link, identity, remote, budget, message, proven: None }, now);
        while relay.poll_output().is_some() {}
    }
    let time = |name, copy: &dyn Fn()| {
        let took = (0..ROUNDS).map(|_| {
            let begin = Instant::now();
            copy();
            begin.elapsed()
        });
        println!("copying {name} of {MEMBERS} members: {}", spread(took.collect()));
    };
    time("everything", &|| {
        black_box(relay.report(now));
    });
    time("the rooms", &|| {
        black_box(relay.summaries());
    });
    time("the counters", &|| {
        black_box(relay.traffic());
    });
}

fn hello(n: usize) -> Hello {
    Hello { software: "bench".into(), ..Hello::new(Role::Client, room(n).parse().unwrap(), mac(n), DatagramBudget(1417)) }
}

fn room(n: usize) -> String {
    format!("ROOM{}", n % ROOMS)
}

fn mac(n: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, (n >> 8) as u8, n as u8])
}

/// The relay, ended with the bench.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let relay = Command::new(std::env::current_exe().unwrap())
        .args(["relay", "--listen", LISTEN, "--listen-tls", "off", "--probe-ports", "off", "--members", "800", "--dev-cert-der-out"])
        .arg(path("cert.der"))
        .arg("--state-dir")
        .arg(path("state"))
        .env("LANPARTY_RUNTIME_DIR", path("run"))
        .env("LANPARTY_LOG", "error")
        .spawn();
    let _relay = Relay(relay.unwrap());
    let socket = path("run").join("relay.sock");
    while !socket.exists() {
        tokio::time::sleep(PAUSE).await;
    }
    let ids = path("ids");
    std::fs::create_dir_all(&ids).unwrap();
    let mut members = vec![];
    while members.len() < MEMBERS {
        let next = members.len()..MEMBERS.min(members.len() + AT_ONCE);
        let joining: Vec<_> = next.map(|n| tokio::spawn(join(n, room(n), path("cert.der"), ids.clone()))).collect();
        for task in joining {
            members.push(task.await.unwrap());
        }
        if [96, MEMBERS].contains(&members.len()) {
            println!("{} members", members.len());
            ask_all(&socket, &path("cert.der"), &ids).await;
        }
    }
}

async fn join(n: usize, room: String, certificate: PathBuf, ids: PathBuf) -> (Joined, Dialer) {
    let (identity, _) = Identity::load_or_create(ids.join(format!("{n}.json")), false).unwrap();
    let trust = RelayTrust::load(Some(&certificate)).unwrap();
    let mut dialer = Dialer::new(LISTEN.parse().unwrap(), Some("lanparty-relay.local".into()), trust).direct(false);
    let room = room.parse().unwrap();
    let request =
        JoinRequest { role: Role::Client, room, mac: mac(n), software: "bench".into(), lan_up: true, resume: None, addresses: None };
    let identity = Arc::new(identity);
    loop {
        // Many at once on a busy machine: one that was too slow tries again.
        if let Ok(joined) = dialer.join(&identity, &request).await {
            return (joined, dialer);
        }
    }
}

/// Each question many times, and what a frame that crosses the relay meanwhile notices of it.
async fn ask_all(socket: &Path, certificate: &Path, ids: &Path) {
    for (name, params) in [("nothing", "")].into_iter().chain(ASKS) {
        let stop = Arc::new(AtomicBool::new(false));
        let (certificate, ids, until) = (certificate.to_owned(), ids.to_owned(), Arc::clone(&stop));
        let throwing = std::thread::spawn(move || throw(certificate, ids, &until));
        let (mut took, mut len) = (vec![], 0);
        for _ in 0..ROUNDS {
            if name != "nothing" {
                let (socket, begin) = (socket.to_owned(), Instant::now());
                len = tokio::task::spawn_blocking(move || ask(&socket, name, params)).await.unwrap();
                took.push(begin.elapsed());
            }
            tokio::time::sleep(PAUSE).await;
        }
        stop.store(true, Ordering::Relaxed);
        let frames = tokio::task::spawn_blocking(|| throwing.join().unwrap()).await.unwrap();
        let answer = if took.is_empty() { String::new() } else { format!("{} for {} KiB; ", spread(took), len / 1024) };
        println!("  {name:>8}: {answer}a frame there and back {}", spread(frames));
    }
}

/// From connecting to the last byte of the answer, of which it gives the length.
fn ask(socket: &Path, method: &str, params: &str) -> usize {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let head = match method {
        "metrics" => "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
        _ => format!("POST /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    };
    let (mut stream, mut answer) = (UnixStream::connect(socket).unwrap(), vec![]);
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let begin = String::from_utf8_lossy(&answer[..answer.len().min(300)]);
    assert!(begin.starts_with("HTTP/1.1 200") && (method == "metrics" || begin.contains("\"result\":")), "{begin}");
    answer.len()
}

/// Two members of a room of their own throw a frame to and fro until told to stop.
fn throw(certificate: PathBuf, ids: PathBuf, stop: &AtomicBool) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (one, _kept) = join(MEMBERS, "THROW".into(), certificate.clone(), ids.clone()).await;
        let (other, _kept_too) = join(MEMBERS + 1, "THROW".into(), certificate, ids).await;
        let (there, back) = (frame(&one, MEMBERS, MEMBERS + 1), frame(&other, MEMBERS + 1, MEMBERS));
        let mut took = vec![];
        while !stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            cross(&one, &other, &there).await;
            cross(&other, &one, &back).await;
            took.push(begin.elapsed());
            tokio::time::sleep(BETWEEN).await;
        }
        took
    })
}

fn frame(from: &Joined, src: usize, dst: usize) -> Bytes {
    let frame = ethernet(mac(dst), mac(src), 0x88b5, &[0; 86]);
    let source: MemberId = from.welcome.member;
    [&DatagramHeader { source }.encode()[..], &frame].concat().into()
}

async fn cross(from: &Joined, to: &Joined, frame: &Bytes) {
    from.link.send_now(std::slice::from_ref(frame)).unwrap();
    let mut datagrams = [Bytes::new()];
    // One that is lost is one that took long.
    let _ = tokio::time::timeout(LOST_AFTER, to.link.recv(&mut datagrams)).await;
}

fn spread(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    format!("median {:.2?}, 99 % {:.2?}, worst {:.2?}", at(0.5), at(0.99), at(1.0))
}
