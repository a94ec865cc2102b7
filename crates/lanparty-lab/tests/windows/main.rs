//! The guide with the player's own program: the client for Windows, run under Wine, with a TAP driver that Wine loads as a device.
//!
//! What Windows' network stack would do is done by this host's: the driver's other end is an interface of the player's machine here, and
//! Wine shows that interface, and the address which Debian's DHCP client gives it, as the TAP adapter's. Changes to the IP stack are
//! recorded instead of made, because Wine has none to make them in.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanparty_lab::{Namespace, Party, Proc, Program, dhclient, ping, ping_with};
use lanparty_nic::{Device, PacketSocket};
use lanparty_proto::FrameBatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use support::{Evening, SOON, TAP, eventually, promised, ready};

/// `required` makes a test that cannot run here a failed one.
const VARIABLE: &str = "LANPARTY_WINDOWS";
/// The address that the test driver has.
const DRIVER_MAC: &str = "02:aa:bb:cc:dd:ee";
/// The adapter that Wine makes of the interface with this index (0x4d).
const INTERFACE_INDEX: u32 = 77;
const INSTANCE_ID: &str = "{0000004D-0000-0000-0000-4E6574446576}";
/// Wine starts a whole Windows.
const WINE_PATIENCE: Duration = Duration::from_secs(120);
/// Where the driver's other end and its network stack meet, on the player's machine.
const STACK: &str = "127.0.0.1:47001";
const PEER: &str = "127.0.0.1:47002";
/// The registry of a machine with a card, and a TAP as OpenVPN's installer makes it.
const REGISTRY: &str = r#"REGEDIT4

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\0000]
"ComponentId"="pci\\ven_8086"
"NetCfgInstanceId"="{99999999-0000-0000-0000-000000000000}"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\0007]
"ComponentId"="root\\tap0901"
"NetCfgInstanceId"="{0000004D-0000-0000-0000-4E6574446576}"

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}\{0000004D-0000-0000-0000-4E6574446576}\Connection]
"Name"="LAN Party"
"#;

/// Can these tests run here? Else says why not; panics where they are required.
fn windows_ready() -> bool {
    let missing = [cache_dir().join("wine-run"), built("lanparty-client-win.exe"), built("examples/tap_peer.exe"), built("faketap.sys")];
    let missing: Vec<_> = missing.iter().filter(|path| !path.exists()).map(|path| path.display().to_string()).collect();
    if missing.is_empty() {
        return ready();
    }
    let words = format!("no {}: `cargo xtask windows lab` makes it", missing.join(", "));
    assert!(std::env::var(VARIABLE).as_deref() != Ok("required"), "{words}");
    println!("left out: {words}");
    false
}

fn cache_dir() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    named("LANPARTY_WIN_DIR")
        .or_else(|| Some(named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?.join("lanparty-win")))
        .unwrap_or_default()
}

fn built(file: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // target/debug/deps/windows-…
    exe.ancestors().nth(3).unwrap().join("win/x86_64-pc-windows-gnu/debug").join(file)
}

/// A machine with Windows at the player's home.
struct Windows<'e> {
    evening: &'e Evening,
    prefix: PathBuf,
    _peer: Proc,
    _stack: Stack,
}

impl<'e> Windows<'e> {
    /// Starts Wine with the driver, whose other end is the interface [`TAP`].
    fn start(evening: &'e Evening) -> Self {
        let home = &evening.party.home;
        // A Windows of its own: what a test writes into its registry is nobody else's.
        let prefix = evening.dir(home).join("wine");
        let source = cache_dir().join("wineprefix");
        home.run(&["cp", "-a", &source.to_string_lossy(), &prefix.to_string_lossy()]).unwrap();
        fs::copy(built("faketap.sys"), prefix.join("drive_c/windows/system32/drivers/faketap.sys")).unwrap();
        fs::write(evening.dir(home).join("tap.reg"), REGISTRY).unwrap();
        home.ip(&format!("link add {TAP} index {INTERFACE_INDEX} address {DRIVER_MAC} type veth peer name stack")).unwrap();
        for interface in [TAP, "stack"] {
            home.link_up(interface, true).unwrap();
        }
        let run = |what: &str, words: &[&str]| {
            let program = wine(evening, home, &prefix).named(what).args(words);
            assert_eq!(home.spawn(program).unwrap().exit_code(WINE_PATIENCE).unwrap(), 0, "{what}");
        };
        run("reg", &["reg", "import", "tap.reg"]);
        run("sc", &["sc", "create", "faketap", "type=", "kernel", "binPath=", r"C:\windows\system32\drivers\faketap.sys"]);
        run("net", &["net", "start", "faketap"]);
        let stack = Stack::start(home);
        let peer = wine(evening, home, &prefix).named("tap_peer").arg(built("examples/tap_peer.exe")).args([PEER, STACK]);
        let peer = home.spawn(peer).unwrap();
        Self { evening, prefix, _peer: peer, _stack: stack }
    }

    /// The client for Windows with these options.
    fn client(&self, words: &[&str]) -> Proc {
        let home = &self.evening.party.home;
        let client = wine(self.evening, home, &self.prefix).named("client-win").arg(built("lanparty-client-win.exe")).args(words);
        home.spawn(client).unwrap()
    }

    /// The guide's client: it joins, and what it would change is recorded.
    fn join(&self) -> Proc {
        let options = self.evening.join_options(&self.evening.party.home);
        let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
        words.extend(["--identity", "id.json", "--dry-run-netcfg", "netcfg.json", "--connect-timeout", "60"]);
        self.client(&words)
    }

    /// Gives the client the identity whose address the driver has: Wine does not restart adapters.
    fn be_the_drivers(&self) {
        let path = self.evening.dir(&self.evening.party.home).join("id.json");
        let mut identity: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        identity["mac"] = DRIVER_MAC.into();
        fs::write(&path, identity.to_string()).unwrap();
    }

    /// What would have been changed on the machine, in order.
    fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.evening.dir(&self.evening.party.home).join("netcfg.json")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Windows<'_> {
    fn drop(&mut self) {
        let stop = cache_dir().join("wine-stop");
        let home = &self.evening.party.home;
        let _ = home.run_any(&["env", &format!("WINEPREFIX={}", self.prefix.display()), &stop.to_string_lossy()]);
    }
}

fn wine(evening: &Evening, home: &Namespace, prefix: &PathBuf) -> Program {
    let dir = evening.dir(home);
    let state = dir.join("state");
    Program::new(cache_dir().join("wine-run")).env("WINEPREFIX", prefix).env("LANPARTY_STATE_DIR", state).dir(dir)
}

/// The network stack behind the driver: frames between its other end and an interface of this host.
struct Stack {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    fn start(home: &Namespace) -> Self {
        let (socket, device) = home.enter(|| (UdpSocket::bind(STACK).unwrap(), PacketSocket::open("stack").unwrap())).unwrap();
        socket.connect(PEER).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || carry(&socket, device, &stopped));
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn carry(socket: &UdpSocket, mut device: PacketSocket, stop: &AtomicBool) {
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let device_fd = device.as_fd().try_clone_to_owned().unwrap();
        let mut ready = [PollFd::new(socket, PollFlags::IN), PollFd::new(&device_fd, PollFlags::IN)];
        let _ = poll(&mut ready, Some(&wait));
        // Until the other end is there, the system says that nobody listens: as on a wire without a plug.
        while let Ok(len) = socket.recv(&mut buffer) {
            if len > 0 {
                let _ = device.send_batch(&[Bytes::copy_from_slice(&buffer[..len])]);
            }
        }
        let mut batch = FrameBatch::new();
        if device.recv_batch(&mut batch).is_ok() {
            while let Some(frame) = batch.pop() {
                let _ = socket.send(&frame[FrameBatch::HEADROOM..]);
            }
        }
    }
}

/// The calls of this name, in order.
fn named<'c>(calls: &'c [Value], name: &str) -> Vec<&'c Value> {
    calls.iter().filter(|call| call["call"] == name).collect()
}

#[test]
fn the_guide_holds_for_a_player_with_windows() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("windows");
    let (relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::start(&evening);
    let listing = windows.client(&["--list-tap-adapters"]);
    listing.wait_for(&format!(r"{INSTANCE_ID}  LAN Party  driver=root\tap0901 key=0007 NetworkAddress=not set"), WINE_PATIENCE).unwrap();
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let client = windows.join();
    let lease = joins_as_promised(&windows, &client);
    the_lan_has_a_new_machine(&evening, lease);
    the_size_contract_holds(&evening, &client);
    let _relay = it_comes_back_with_the_relay(&evening, relay, &client);
    it_leaves_nothing_behind(&windows, &client);
}

#[test]
fn what_a_killed_client_has_left_is_taken_back_by_the_next() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winkill");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::start(&evening);
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let client = windows.join();
    client.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
    let journal = evening.dir(&evening.party.home).join("state/lanparty-client-journal.json");
    assert!(fs::read_to_string(&journal).unwrap().contains("\"route\""));
    client.kill9();
    client.exit_code(WINE_PATIENCE).unwrap();
    let again = windows.join();
    again.wait_for("the last run did not end by itself", WINE_PATIENCE).unwrap();
    again.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
    assert_eq!(windows.calls()[0]["call"], "remove-host-route", "before anything else");
    again.sigint();
    assert_eq!(again.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", again.tail());
    assert!(!journal.exists());
}

#[test]
fn the_selftest_makes_each_call_and_changes_nothing() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winself");
    let windows = Windows::start(&evening);
    let selftest = windows.client(&["--selftest", "--dry-run-netcfg", "netcfg.json"]);
    assert_eq!(selftest.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", selftest.tail());
    let lines = selftest.lines();
    let is_good = |line: &String| line.starts_with("ok ") || line.starts_with("skipped ");
    assert!(lines.len() > 25 && lines.iter().all(is_good), "{lines:#?}");
    assert!(lines.contains(&format!("ok      MAC address of the driver: {DRIVER_MAC}")), "{lines:#?}");
    let calls = windows.calls();
    assert_eq!(named(&calls, "add-firewall-rule").len(), 1, "{calls:?}");
}

/// Frames that are sent, and how many may be on their way: fewer than the driver keeps for a reader.
const FLOOD_FRAMES: u32 = 3_000;
const FLOOD_WINDOW: u32 = 48;
/// Frames that come while the client does not read: more than the driver keeps.
const BURST_FRAMES: u32 = 500;

#[test]
fn no_frame_is_lost_between_the_driver_and_the_lan_and_a_full_driver_is_no_end() {
    if !windows_ready() {
        return;
    }
    let evening = Evening::new("winflood");
    let (_relay, _gateway) = (evening.relay(), evening.gateway());
    let windows = Windows::start(&evening);
    a_driver_with_another_address_stops_it(&windows);
    windows.be_the_drivers();
    let client = windows.join();
    client.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
    let (home, pc) = (&evening.party.home, evening.party.pc(1));
    dhclient(home, TAP, WINE_PATIENCE).unwrap();
    let answers = || ping(home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1);
    eventually("the LAN answers", answers);
    let sender = home.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    sender.connect((Party::pc_address(1), 9)).unwrap();
    flood(&sender, pc.enter(|| UdpSocket::bind("0.0.0.0:9").unwrap()).unwrap());
    client.pause();
    (0..BURST_FRAMES).for_each(|_| drop(sender.send(&[7; 100])));
    client.resume();
    eventually("the LAN answers again", answers);
    client.sigint();
    assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", client.tail());
}

/// As fast as Wine carries them: what one loses waits for the others, and then it shows.
fn flood(sender: &UdpSocket, receiver: UdpSocket) {
    receiver.set_read_timeout(Some(SOON)).unwrap();
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
    assert_eq!(arrived, FLOOD_FRAMES);
}

fn a_driver_with_another_address_stops_it(windows: &Windows<'_>) {
    let client = windows.join();
    assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 1, "{}", client.tail());
    let lines = client.lines().join("\n");
    assert!(lines.contains("reports MAC 02:aa:bb:cc:dd:ee") && lines.contains("NetworkAddress"), "{lines}");
    let calls = windows.calls();
    let changed = |name: &str| named(&calls, name).len();
    assert_eq!((changed("set-network-address"), changed("add-host-route"), changed("remove-host-route")), (2, 1, 1), "{calls:?}");
}

/// Line by line, and the address by the LAN's own DHCP server.
fn joins_as_promised(windows: &Windows<'_>, client: &Proc) -> std::net::Ipv4Addr {
    let mac = DRIVER_MAC;
    let line = |pattern: &str| client.wait_for_line(0, pattern, |line| in_order(line, pattern), WINE_PATIENCE).unwrap();
    let lines = [
        line(&format!("prepared TAP adapter LAN Party: MAC {mac} configured and media disconnected before relay connect")),
        line("lanparty-client-win connected as peer "),
        line("relay route pinned before TAP ... (created)"),
        line(&format!("TAP driver reports MAC {mac} and MTU 1500")),
        line("relay route verified after TAP activation"),
        line("client diagnostics: relay reachable yes gateway connected yes route pinned yes ... IP unknown"),
        line("Waiting for TAP IP"),
    ];
    let all = client.lines();
    let places: Vec<_> = lines.iter().map(|line| all.iter().position(|other| other == line).unwrap()).collect();
    assert!(places.is_sorted(), "in the guide's order: {places:?}\n{}", client.tail());
    let home = &windows.evening.party.home;
    let lease = dhclient(home, TAP, WINE_PATIENCE).unwrap();
    client.wait_for(&format!("DHCP received: {}", lease.address), WINE_PATIENCE).unwrap();
    eventually("the LAN is trusted and let in", || {
        let calls = windows.calls();
        !named(&calls, "trust").is_empty() && !named(&calls, "add-firewall-rule").is_empty()
    });
    lease.address
}

fn in_order(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    pattern.split(" ... ").all(|part| rest.find(part).map(|at| rest = &rest[at + part.len()..]).is_some())
}

fn the_lan_has_a_new_machine(evening: &Evening, address: std::net::Ipv4Addr) {
    let party = &evening.party;
    assert_eq!(party.leases().unwrap()[0].mac, DRIVER_MAC);
    eventually("the LAN answers", || ping(&party.home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1));
    let out = ping_with(&party.home, Party::pc_address(1), 5, &["-I", &address.to_string()]).unwrap();
    let back = ping(party.pc(2), address, 5).unwrap();
    assert_eq!((out.received, back.received), (5, 5));
    assert_eq!(party.switch.port_of(DRIVER_MAC).unwrap().as_deref(), Some(Party::gateway_port()));
}

/// A frame of LAN MTU + 14 bytes passes, one of a byte more is counted.
fn the_size_contract_holds(evening: &Evening, client: &Proc) {
    let set = client.wait_for("LAN MTU is ", SOON).unwrap();
    let lan_mtu: u32 = set.split_once("LAN MTU is ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    println!("LAN MTU {lan_mtu}");
    let home = &evening.party.home;
    let of_size = |bytes: u32| ping_with(home, Party::pc_address(1), 3, &["-M", "do", "-s", &(bytes - 28).to_string()]);
    assert_eq!(of_size(lan_mtu).unwrap().received, 3, "LAN MTU {lan_mtu}");
    // A byte more is answered with the size that fits: Linux, which stands in for Windows' stack here, then sends no more of them.
    assert_eq!(of_size(lan_mtu + 1).map_or(0, |pings| pings.received), 0);
    promised(client, "client frame direction=TapToRelay ... action=Answered");
}

fn it_comes_back_with_the_relay(evening: &Evening, relay: Proc, client: &Proc) -> Proc {
    relay.kill9();
    drop(relay);
    let mark = client.mark();
    let again = evening.relay();
    client.wait_for_after(mark, "lanparty-client-win connected as peer", WINE_PATIENCE).unwrap();
    eventually("the LAN answers again", || ping(&evening.party.home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1));
    again
}

fn it_leaves_nothing_behind(windows: &Windows<'_>, client: &Proc) {
    client.sigint();
    assert_eq!(client.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", client.tail());
    promised(client, "lanparty-client-win ending: Ctrl-C");
    promised(client, "media disconnected, and everything on this machine is as it was before");
    let calls = windows.calls();
    let count = |name: &str| named(&calls, name).len();
    assert_eq!(count("add-host-route"), count("remove-host-route"), "{calls:?}");
    assert_eq!(count("add-firewall-rule"), count("remove-firewall-rule"), "{calls:?}");
    assert_eq!(named(&calls, "set-network-address").last().unwrap()["address"], Value::Null, "{calls:?}");
    let ip = named(&calls, "set-ip-settings");
    assert_eq!(ip.first().unwrap()["settings"]["metric"], 1, "{calls:?}");
    assert_eq!(ip.last().unwrap()["settings"]["automatic_metric"], true, "{calls:?}");
    let journal = windows.evening.dir(&windows.evening.party.home).join("state/lanparty-client-journal.json");
    assert!(!journal.exists());
}
