//! Attacks from inside a room, by a member that bypasses its own client, and on the relay from outside (THREATS A1-A16, C1, C3).
//! What must hold: the relay counts each frame under its reason, nobody else sees any of it, and those who play notice nothing.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_lab::{LAN, MacEntry, Namespace, Party, PartyOptions, Probe, Proc, Requirements, Uplink, ping};
use lanparty_proto::corpus::{CaseSource, corpus, wire};
use lanparty_proto::{DropReason, LanMtu, MacAddr, MemberId};
use serde_json::Value;

#[path = "support/capture.rs"]
mod capture;
#[path = "support/host.rs"]
mod host;
#[path = "support/member.rs"]
mod member;
#[path = "support/programs.rs"]
mod programs;
#[expect(dead_code, reason = "its server is for the tests of errors")]
#[path = "support/stranger.rs"]
mod stranger;

use capture::Capture;
use host::on;
use member::Member;
use programs::{Programs, SOON};

/// The TAP of a client.
const TAP: &str = "lan0";
/// Frames of each attack.
const FRAMES: usize = 1000;
/// Their pace: many at once, and no more than a busy machine's sockets hold.
const FRAMES_PER_SECOND: u32 = 4000;
/// The rows of THREATS.md that a member's frames are dropped for by what is in them.
const ROWS: [&str; 11] = ["A1", "A2", "A5", "A6", "A7", "A8", "A9", "A10", "A14", "A15", "A16"];

/// A LAN party with two honest remote players, and a host for the attacker.
struct Scene {
    relay: Proc,
    _members: [Proc; 3],
    programs: Programs,
    attacker: Namespace,
    friend: Namespace,
    party: Party,
}

/// Frames that are all to be dropped, and for what.
#[derive(Default)]
struct Attack {
    name: String,
    datagrams: Vec<Bytes>,
    expected: BTreeMap<&'static str, u64>,
}

impl Attack {
    /// `FRAMES` datagrams, taken from `frames` again and again.
    fn of(name: &str, frames: &[(Bytes, DropReason)]) -> Self {
        assert!(!frames.is_empty(), "{name} has frames");
        let mut attack = Self { name: name.to_owned(), ..Self::default() };
        for (datagram, reason) in frames.iter().cycle().take(FRAMES) {
            attack.datagrams.push(datagram.clone());
            *attack.expected.entry(reason.as_str()).or_default() += 1;
        }
        attack
    }
}

impl Scene {
    fn build(name: &str) -> Self {
        let party = Party::build(name, &PartyOptions::default()).unwrap();
        let [friend, attacker] = ["friend", "attacker"].map(|host| party.lab.namespace(host).unwrap());
        for (host, number) in [(&friend, 31), (&attacker, 66)] {
            party.internet.attach(&party.lab, host, number, &Uplink::default()).unwrap();
        }
        let programs = Programs::new(&party.lab);
        let relay = programs.relay(&party.relay);
        let members = [programs.gateway(&party.gateway), programs.client(&party.home), programs.client(&friend)];
        for (host, address) in [(&party.home, "10.73.42.50"), (&friend, "10.73.42.51")] {
            host.ip(&format!("addr add {address}/24 dev {TAP}")).unwrap();
            assert!(ping(host, Party::pc_address(1), 3).unwrap().received > 0, "{} plays on the LAN", host.host());
        }
        Self { relay, _members: members, programs, attacker, friend, party }
    }

    async fn join(&self, budget: Option<u16>) -> Member {
        let identity = self.party.lab.dir().join("attacker-identity.json");
        Member::join(&identity, &self.programs.certificate(), budget).await
    }

    fn mac_of(&self, host: &Namespace, interface: &str) -> MacAddr {
        host.mac(interface).unwrap().parse().unwrap()
    }

    /// What the relay counted of the frames of one member.
    fn counted(&self, member: MemberId) -> Counted {
        let status = self.programs.status(&self.party.relay, "lanparty-relay");
        let members = status["rooms"][0]["members"].as_array().unwrap();
        let found = members.iter().find(|one| one["member"] == member.0).unwrap();
        Counted::of(&found["from_member"])
    }

    /// Waits until the relay has counted `count` frames more than `before`.
    async fn count_since(&self, member: MemberId, before: &Counted, count: u64) -> Counted {
        let deadline = Instant::now() + SOON;
        loop {
            let now = self.counted(member).since(before);
            if now.frames_in >= count || Instant::now() >= deadline {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The switch's MAC table without what is idle chatter's business: all of it.
    fn mac_table(&self) -> Vec<MacEntry> {
        self.party.mac_table().unwrap()
    }

    /// The victim pings a PC of the LAN as long as `work` takes: sent and received.
    fn while_the_victim_pings<T: Send>(&self, work: impl FnOnce() -> T + Send) -> (T, u32, u32) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let pings = scope.spawn(|| {
                let (mut sent, mut received) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let stats = ping(&self.party.home, Party::pc_address(1), 5).unwrap();
                    (sent, received) = (sent + stats.sent, received + stats.received);
                }
                (sent, received)
            });
            // A failed assertion in `work` ends the pings as well, or nobody would ever hear of it.
            let done = panic::catch_unwind(AssertUnwindSafe(work));
            over.store(true, Ordering::Relaxed);
            let (sent, received) = pings.join().unwrap();
            (done.unwrap_or_else(|failure| panic::resume_unwind(failure)), sent, received)
        })
    }
}

/// Counters of one member at the relay.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    frames_in: u64,
    forwarded: u64,
    dropped: BTreeMap<String, u64>,
}

impl Counted {
    fn of(counters: &Value) -> Self {
        let number = |key: &str| counters[key].as_u64().unwrap();
        let dropped = counters["dropped"].as_object().unwrap().iter().map(|(reason, count)| (reason.clone(), count.as_u64().unwrap()));
        Self { frames_in: number("frames_in"), forwarded: number("forwarded"), dropped: dropped.collect() }
    }

    fn since(&self, before: &Self) -> Self {
        let dropped = self.dropped.iter().map(|(reason, count)| (reason.clone(), count - before.dropped[reason]));
        let dropped = dropped.filter(|(_, count)| *count > 0).collect();
        Self { frames_in: self.frames_in - before.frames_in, forwarded: self.forwarded - before.forwarded, dropped }
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.as_str()).copied().unwrap_or(0)
    }
}

/// The attacks of the rows, from the corpus; A1 in the names of those who are really there, too.
fn attacks_of_the_rows(attacker: &Member, lan_mtu: LanMtu, others: &[MacAddr]) -> Vec<Attack> {
    let own = |frame: &[u8]| Member::datagram(attacker.id, frame);
    let cases = corpus(attacker.mac, lan_mtu);
    let row = |row: &str| {
        let of_row = cases.iter().filter(|case| case.source == CaseSource::Client && case.name.split(' ').next() == Some(row));
        let sendable = of_row.filter(|case| case.frame.len() <= attacker.frame_len_max());
        let mut frames: Vec<_> = sendable.filter_map(|case| Some((own(&case.frame), case.verdict?))).collect();
        if row == "A1" {
            let spoofed = others
                .iter()
                .flat_map(|mac| [MacAddr::BROADCAST, wire::HOST].map(|dst| (own(&spoof(dst, *mac)), DropReason::UnauthorizedSourceMac)));
            frames.extend(spoofed);
        }
        Attack::of(row, &frames)
    };
    ROWS.iter().map(|name| row(name)).collect()
}

/// Attacks on the datagram header: an honest frame in somebody else's name, and no datagram at all.
fn attacks_on_the_header(attacker: &Member, members: &[MemberId]) -> Vec<Attack> {
    let frame = wire::ethernet(MacAddr::BROADCAST, attacker.mac, wire::EXPERIMENT, b"in somebody else's name");
    let strangers = [attacker.id.0 + 1, 0x7fff, u16::MAX].map(MemberId);
    let forged = members.iter().chain(&strangers).map(|id| (Member::datagram(*id, &frame), DropReason::UnknownSender));
    let heads: [&[u8]; 8] = [&[], &[0x10], &[0x10, 0], &[0x10, 0, 0], &[0x11, 0, 1], &[0x30, 0, 1], &[0x00, 0, 1], &[0xff, 0xff, 0xff]];
    let garbage = heads.map(|head| ([head, &frame[..usize::from(head.len() > 2) * frame.len()]].concat().into(), DropReason::Malformed));
    vec![Attack::of("a forged member id", &forged.collect::<Vec<_>>()), Attack::of("no datagram header", &garbage)]
}

fn spoof(dst: MacAddr, src: MacAddr) -> Vec<u8> {
    wire::ethernet(dst, src, wire::EXPERIMENT, b"a frame that claims to come from somebody else")
}

/// Every form in which a frame of these attacks could be seen: as sent, and padded by the gateway.
fn recognisable(attacks: &[Attack]) -> BTreeSet<Vec<u8>> {
    let frames = attacks.iter().flat_map(|attack| &attack.datagrams).filter_map(|datagram| datagram.get(3..)).filter(|f| f.len() >= 14);
    let forms = frames.flat_map(|frame| {
        let mut padded = frame.to_vec();
        padded.resize(frame.len().max(60), 0);
        [frame.to_vec(), padded]
    });
    forms.collect()
}

#[test]
fn a_thousand_frames_of_each_attack_are_counted_and_reach_nobody() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("attacks");
    let others = [scene.mac_of(&scene.party.home, TAP), scene.mac_of(&scene.friend, TAP), scene.mac_of(scene.party.pc(1), LAN)];
    let mut captures = [(scene.party.pc(2), LAN), (&scene.friend, TAP)].map(|(host, interface)| Capture::open(host, interface));
    let attack = || {
        on(&scene.attacker, async || {
            // What it says of its path makes room for frames above the room's LAN MTU on the path that it has.
            let attacker = scene.join(Some(1300)).await;
            let welcome = &attacker.joined.welcome;
            let members: Vec<_> = welcome.members.iter().map(|member| member.id).collect();
            let mut attacks = attacks_of_the_rows(&attacker, welcome.lan_mtu, &others);
            attacks.extend(attacks_on_the_header(&attacker, &members));
            // The gateway announces the newcomer to the switch; from then on nothing may move.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let table = scene.mac_table();
            for attack in &attacks {
                let before = scene.counted(attacker.id);
                attacker.send(attack.datagrams.iter().cloned(), FRAMES_PER_SECOND).await;
                let counted = scene.count_since(attacker.id, &before, FRAMES as u64).await;
                let expected = attack.expected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
                assert_eq!(counted, Counted { frames_in: FRAMES as u64, forwarded: 0, dropped: expected }, "{}", attack.name);
                println!("{}: {} frames dropped: {:?}", attack.name, FRAMES, counted.dropped);
            }
            assert_eq!(scene.mac_table(), table, "the switch's MAC table did not move");
            recognisable(&attacks)
        })
    };
    let (attack_frames, sent, received) = scene.while_the_victim_pings(attack);
    let seen: Vec<_> = captures.iter_mut().flat_map(|capture| std::iter::from_fn(|| capture.next(Duration::ZERO))).collect();
    let escaped = seen.iter().filter(|frame| attack_frames.contains(*frame)).count();
    println!("the victim's ping: {received} of {sent}; {} other frames seen meanwhile, {escaped} of an attack", seen.len());
    assert_eq!((escaped, received), (0, sent));
    assert!(!seen.is_empty(), "the captures see what is on the LAN: the victim's and the announcements");
}

#[test]
fn a_storm_is_cut_to_its_limit_while_others_play() {
    const SECONDS: u64 = 3;
    const RATE: u32 = 20_000;
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("storm");
    let mut captures = [(scene.party.pc(2), LAN), (&scene.friend, TAP)].map(|(host, interface)| Capture::open(host, interface));
    let flow = Probe { rate: 500, payload: 1200, duration: Duration::from_secs(SECONDS + 1), linger: Duration::from_secs(1) };
    let storm = || {
        thread::scope(|scope| {
            let mdns = scope.spawn(|| announce_by_mdns(&scene.friend, 10 * SECONDS));
            let storm = scope.spawn(|| on(&scene.attacker, async || rage(&scene, RATE, SECONDS).await));
            mdns.join().unwrap();
            storm.join().unwrap()
        })
    };
    let (report, (sent, counted, took)) = flow.run_while(&scene.party.home, scene.party.pc(1), Party::pc_address(1), storm).unwrap();
    // The class "other" of the relay's limits: 2,000 copies a second and twice that at once, charged once per receiver: gateway and two clients.
    let limit = (4000.0 + 2000.0 * took.as_secs_f64()) / 3.0 + 1.0;
    let [lan, tap] = captures.each_mut().map(|capture| std::iter::from_fn(|| capture.next(Duration::ZERO)).collect::<Vec<_>>());
    let of_storm = |frames: &[Vec<u8>]| frames.iter().filter(|frame| frame[14..].starts_with(b"storm")).count();
    let mdns = lan.iter().filter(|frame| frame[..6] == [1, 0, 0x5e, 0, 0, 0xfb]).count() as u64;
    println!(
        "storm: {sent} frames in {took:?} ({:.0} a second), {} forwarded, {} dropped as RateLimit; delivered to the LAN {}, to a client {}, \
         limit {limit:.0}; a victim's flow lost {:.3} % of {}; mDNS {mdns} of {}",
        sent as f64 / took.as_secs_f64(),
        counted.forwarded,
        counted.dropped(DropReason::RateLimit),
        of_storm(&lan),
        of_storm(&tap),
        report.loss() * 100.0,
        report.sent,
        10 * SECONDS,
    );
    assert_eq!(counted.forwarded + counted.dropped(DropReason::RateLimit), sent);
    assert!(counted.forwarded as f64 <= limit);
    for seen in [&lan, &tap] {
        assert!((1..=limit as usize).contains(&of_storm(seen)), "{}", of_storm(seen));
    }
    assert!(report.loss() < 0.01, "{}", report.loss());
    assert_eq!(mdns, 10 * SECONDS, "every ordinary announcement arrives");
    assert_eq!(scene.counted_of(&scene.friend).dropped, BTreeMap::new(), "and trips no limit");
}

impl Scene {
    /// What the relay counted of the honest client on `host`.
    fn counted_of(&self, host: &Namespace) -> Counted {
        let mac = host.mac(TAP).unwrap();
        let status = self.programs.status(&self.party.relay, "lanparty-relay");
        let members = status["rooms"][0]["members"].as_array().unwrap();
        let counted = Counted::of(&members.iter().find(|one| one["mac"] == mac).unwrap()["from_member"]);
        Counted { dropped: counted.dropped.into_iter().filter(|(_, count)| *count > 0).collect(), ..counted }
    }
}

/// Broadcasts at `rate`: how many, what the relay counted, and how long it took.
async fn rage(scene: &Scene, rate: u32, seconds: u64) -> (u64, Counted, Duration) {
    let attacker = scene.join(None).await;
    let before = scene.counted(attacker.id);
    let start = Instant::now();
    let frame = |number: u64| wire::ethernet(MacAddr::BROADCAST, attacker.mac, wire::EXPERIMENT, format!("storm {number:60}").as_bytes());
    let total = u64::from(rate) * seconds;
    attacker.send((0..total).map(|number| Member::datagram(attacker.id, &frame(number))), rate).await;
    let took = start.elapsed();
    let counted = scene.count_since(attacker.id, &before, total).await;
    (total, counted, took.max(start.elapsed().min(took + SOON)))
}

/// What a phone says of itself ten times a second, by the host's own stack.
fn announce_by_mdns(host: &Namespace, count: u64) {
    let socket = host.enter(|| std::net::UdpSocket::bind(("10.73.42.51", 5353))).unwrap().unwrap();
    for _ in 0..count {
        socket.send_to(b"\0\0\x84\0\0\0\0\0\0\0\0\0 an announcement", ("224.0.0.251", 5353)).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// What a control stream may bring instead of a hello, by name.
fn garbage_streams() -> Vec<(&'static str, Vec<u8>)> {
    let message = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let nested = [vec![b'['; 30_000], vec![b']'; 30_000]].concat();
    let hello = br#"{"type":"Hello","version":1,"role":"Client","room":"a b","mac":"02:00:00:00:00:09","budget":1400}"#;
    vec![
        ("nothing but its end", vec![]),
        ("random bytes", Dice(1).bytes(5000)),
        ("a length above the limit", u32::MAX.to_be_bytes().into()),
        ("a length just above the limit, and as many bytes", [&65_537u32.to_be_bytes()[..], &[b' '; 65_537]].concat()),
        ("no JSON", message(b"\x00\x01\x02 hello relay")),
        ("JSON of another shape", message(br#"{"hello":"relay"}"#)),
        ("brackets nested 30,000 deep", message(&nested)),
        ("an empty message", message(b"")),
        ("a message of the relay's own", message(br#"{"type":"LanMtu","mtu":576}"#)),
        ("a message of the future", message(br#"{"type":"Sing","song":1}"#)),
        ("a hello with an impossible room", message(hello)),
        ("a farewell", message(br#"{"type":"Bye","reason":"hello\r\nERROR forged log line"}"#)),
    ]
}

/// Says `bytes` on a control stream instead of a hello, and waits for the relay to end the connection. How long that took.
async fn say_garbage(certificate: &std::path::Path, name: &str, bytes: &[u8]) -> Duration {
    let endpoint = stranger::client(certificate);
    let connection = endpoint.connect(programs::RELAY.parse().unwrap(), stranger::RELAY_NAME).unwrap().await.unwrap();
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let started = Instant::now();
    // The relay may end the connection before it has read everything.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let ended = tokio::time::timeout(SOON, connection.closed()).await;
    assert!(ended.is_ok(), "the relay still listens after {name}");
    started.elapsed()
}

#[test]
fn garbage_on_a_control_stream_ends_that_connection_and_no_other() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("garbage");
    let certificate = scene.programs.certificate();
    let say = || {
        on(&scene.attacker, async || {
            for (name, bytes) in garbage_streams() {
                let took = say_garbage(&certificate, name, &bytes).await;
                println!("{name}: ended after {took:?}");
                assert!(took < Duration::from_secs(7), "{name}");
            }
        });
    };
    let ((), sent, received) = scene.while_the_victim_pings(say);
    println!("the victim's ping: {received} of {sent}");
    assert_eq!(received, sent);
    assert!(scene.relay.running());
    let log = scene.relay.lines();
    assert!(!log.iter().any(|line| line.contains("panicked") || line.starts_with("ERROR forged")), "{}", scene.relay.tail());
}

#[test]
fn a_connection_that_never_says_hello_is_ended() {
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("silent");
    let certificate = scene.programs.certificate();
    let kinds: [(&str, &[u8]); 2] = [("opens no control stream", b""), ("says one byte", b"\0")];
    let ended = on(&scene.attacker, async || {
        let mut ended = vec![];
        for (name, bytes) in kinds {
            let endpoint = stranger::client(&certificate);
            let connection = endpoint.connect(programs::RELAY.parse().unwrap(), stranger::RELAY_NAME).unwrap().await.unwrap();
            let mut streams = vec![];
            if !bytes.is_empty() {
                let (mut send, recv) = connection.open_bi().await.unwrap();
                send.write_all(bytes).await.unwrap();
                streams.push((send, recv));
            }
            let started = Instant::now();
            let over = tokio::time::timeout(SOON, connection.closed()).await.is_ok();
            ended.push((name, over, started.elapsed()));
        }
        ended
    });
    for (name, over, took) in ended {
        println!("who {name}: {took:?}");
        assert!(over && took < Duration::from_secs(12), "who {name} is kept for {took:?}");
    }
}

#[test]
fn noise_at_the_relays_port_costs_neither_memory_nor_anybodys_game() {
    const DATAGRAMS: u32 = 10_000;
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("noise");
    let flow = Probe { rate: 200, payload: 1000, duration: Duration::from_secs(5), linger: Duration::from_secs(1) };
    let before = scene.relay.rss_kib();
    let noise = || scene.attacker.enter(|| make_noise(DATAGRAMS)).unwrap();
    let (report, took) = flow.run_while(&scene.party.home, scene.party.pc(1), Party::pc_address(1), noise).unwrap();
    let growth = scene.relay.rss_kib().saturating_sub(before);
    println!("{DATAGRAMS} datagrams of noise in {took:?}: the relay grew by {growth} KiB; a flow lost {:.3} %", report.loss() * 100.0);
    assert!(scene.relay.running(), "{}", scene.relay.tail());
    assert!(growth <= 4096, "{growth} KiB");
    assert!(report.loss() < 0.01, "{}", report.loss());
    assert!(ping(&scene.friend, Party::pc_address(1), 3).unwrap().received > 0);
}

/// Random datagrams, half of them in the shape of QUIC: long headers of version 1, of another version, short headers.
fn make_noise(count: u32) -> Duration {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let (mut dice, started) = (Dice(0x1a2b_3c4d), Instant::now());
    for number in 0..count {
        let len = usize::try_from(dice.next() % 1400).unwrap() + 1;
        let mut datagram = dice.bytes(if number % 4 == 1 { 1200 } else { len });
        let head: &[u8] = match number % 8 {
            1 => &[0xc3, 0, 0, 0, 1, 8],
            3 => &[0xc0, 0, 0, 0, 1, 20],
            5 => &[0xc0, 0xfa, 0xce, 0xb0, 0x0c, 8],
            7 => &[0x40],
            _ => &[],
        };
        let end = head.len().min(datagram.len());
        datagram[..end].copy_from_slice(&head[..end]);
        socket.send_to(&datagram, programs::RELAY).unwrap();
        if number % 16 == 0 {
            thread::sleep(Duration::from_millis(4));
        }
    }
    started.elapsed()
}

#[test]
fn half_open_handshakes_are_bounded_and_an_honest_client_still_joins() {
    const HANDSHAKES: usize = 2000;
    if !Requirements::party().ready_or_skip() {
        return;
    }
    let scene = Scene::build("half-open");
    let certificate = scene.programs.certificate();
    let newcomer = scene.party.lab.namespace("newcomer").unwrap();
    scene.party.internet.attach(&scene.party.lab, &newcomer, 32, &Uplink::default()).unwrap();
    let before = scene.relay.rss_kib();
    let (sent, answered) = on(&scene.attacker, async || {
        let initials = collect_initials(&certificate, HANDSHAKES).await;
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut answered = 0;
        for (number, initial) in initials.iter().enumerate() {
            socket.send_to(initial, programs::RELAY).unwrap();
            if number % 8 == 0 {
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            let mut buffer = [0; 2048];
            while let Ok(len) = socket.recv(&mut buffer) {
                answered += len;
            }
        }
        (initials.iter().map(Vec::len).sum::<usize>(), answered)
    });
    let started = Instant::now();
    let client = scene.programs.start_client(&newcomer, programs::ROOM, &[]);
    client.wait_for("Connected to LAN gateway", SOON).unwrap();
    let joined = started.elapsed();
    let growth = scene.relay.rss_kib().saturating_sub(before);
    println!(
        "{HANDSHAKES} half-open handshakes, {sent} bytes in and {answered} out: the relay grew by {growth} KiB; a newcomer joined in {joined:?}"
    );
    assert!(growth <= 8192, "{growth} KiB");
    assert!(answered <= 3 * sent, "no amplification");
    assert!(joined < Duration::from_secs(5), "{joined:?}");
    assert!(ping(&scene.party.home, Party::pc_address(1), 3).unwrap().received > 0);
}

/// First datagrams of that many handshakes, caught on the attacker's own loopback: each with connection IDs of its own.
async fn collect_initials(certificate: &std::path::Path, count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = sink.local_addr().unwrap();
    let endpoint = stranger::client(certificate);
    let mut initials = BTreeMap::new();
    while initials.len() < count {
        let connecting = endpoint.connect(target, stranger::RELAY_NAME).unwrap();
        let mut buffer = [0; 2048];
        let (len, _) = tokio::time::timeout(SOON, sink.recv_from(&mut buffer)).await.unwrap().unwrap();
        // Long header, version 1, Initial; the destination's connection ID tells the handshakes apart.
        if len >= 1200 && buffer[0] & 0xf0 == 0xc0 {
            initials.entry(buffer[5..26].to_vec()).or_insert_with(|| buffer[..len].to_vec());
        }
        drop(connecting);
    }
    initials.into_values().collect()
}
