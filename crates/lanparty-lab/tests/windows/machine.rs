//! A machine with Windows at the player's home: Wine, the test driver, and this host's network stack behind it.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use lanparty_lab::{Namespace, Party, Proc, Program, dhclient, ping};
use lanparty_nic::{Device, PacketSocket};
use lanparty_proto::FrameBatch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::guide::a_driver_with_another_address_stops_it;
use crate::support::{Evening, TAP, eventually, ready};

/// `required` makes a test that cannot run here a failed one, `off` leaves it out.
const VARIABLE: &str = "LANPARTY_WINDOWS";
/// The address that the test driver has.
pub(crate) const DRIVER_MAC: &str = "02:aa:bb:cc:dd:ee";
/// The adapter that Wine makes of the interface with this index (0x4d).
const INTERFACE_INDEX: u32 = 77;
pub(crate) const INSTANCE_ID: &str = "{0000004D-0000-0000-0000-4E6574446576}";
/// Wine starts a whole Windows.
pub(crate) const WINE_PATIENCE: Duration = Duration::from_secs(120);
/// Time for what a program printed at its very end.
const PIPE_DRAINS: Duration = Duration::from_secs(2);
/// Where the driver's other end and its network stack meet, on the player's machine.
const STACK: &str = "127.0.0.1:47001";
const PEER: &str = "127.0.0.1:47002";
/// Before every ordinary program, behind the lab's wires.
const PRIORITY: u8 = 10;
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
pub(crate) fn windows_ready() -> bool {
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    if variable == "off" {
        eprintln!("left out: the client for Windows, which `cargo xtask windows all` makes and tests");
        return false;
    }
    let missing = [
        cache_dir().join("wine-run"),
        built("lanparty-client-win.exe"),
        built("examples/tap_peer.exe"),
        built("examples/tap_trial.exe"),
        built("faketap.sys"),
    ];
    let missing: Vec<_> = missing.iter().filter(|path| !path.exists()).map(|path| path.display().to_string()).collect();
    if missing.is_empty() {
        return ready();
    }
    let words = format!("no {}: `cargo xtask windows lab` makes it", missing.join(", "));
    assert!(variable != "required", "{words}");
    eprintln!("left out: {words}");
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
pub(crate) struct Windows<'e> {
    pub(crate) evening: &'e Evening,
    prefix: PathBuf,
    priority: Option<u8>,
    /// The driver's other end, and the network stack behind it.
    peer: Option<(Proc, Stack)>,
}

impl<'e> Windows<'e> {
    /// Starts Wine with the driver, whose other end is nobody's yet.
    pub(crate) fn start(evening: &'e Evening) -> Self {
        Self::boot(evening, None)
    }

    /// The same before all that runs on this machine: the driver's pace and the reads measure Wine, and not what else is done here.
    pub(crate) fn first_of_all(evening: &'e Evening) -> Self {
        Self::boot(evening, Some(PRIORITY))
    }

    fn boot(evening: &'e Evening, priority: Option<u8>) -> Self {
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
        let windows = Self { evening, prefix, priority, peer: None };
        // Wine ends when no program runs, and so would the driver.
        let boot = home.spawn(windows.program("wine-warm")).unwrap();
        assert_eq!(boot.exit_code(WINE_PATIENCE).unwrap(), 0, "{}", boot.tail());
        windows.run(&["reg", "import", "tap.reg"]);
        windows.run(&["sc", "create", "faketap", "type=", "kernel", "binPath=", r"C:\windows\system32\drivers\faketap.sys"]);
        windows.run(&["net", "start", "faketap"]);
        windows
    }

    /// With this host's network stack at the driver's other end.
    pub(crate) fn with_stack(evening: &'e Evening) -> Self {
        let mut windows = Self::start(evening);
        let home = &evening.party.home;
        let stack = Stack::start(home);
        let peer = windows.example("tap_peer", &[PEER, STACK]);
        windows.peer = Some((peer, stack));
        windows
    }

    /// Runs a program of Wine's own to its end.
    pub(crate) fn run(&self, words: &[&str]) {
        let program = self.wine(words);
        assert_eq!(program.exit_code(WINE_PATIENCE).unwrap(), 0, "{words:?}: {}", program.tail());
    }

    /// Starts a program of Wine's own.
    pub(crate) fn wine(&self, words: &[&str]) -> Proc {
        let home = &self.evening.party.home;
        home.spawn(self.program("wine-run").named(words[0]).args(words)).unwrap()
    }

    /// One of the set-up's ways into Wine: `wine-run` for any program, `wine-warm` to boot and stay.
    fn program(&self, way: &str) -> Program {
        let dir = self.evening.dir(&self.evening.party.home);
        let program = Program::new(cache_dir().join(way)).env("WINEPREFIX", &self.prefix);
        let program = program.env("LANPARTY_STATE_DIR", dir.join("state")).dir(dir);
        self.priority.into_iter().fold(program, Program::fifo)
    }

    /// Starts an example of lanparty-nic.
    pub(crate) fn example(&self, name: &str, words: &[&str]) -> Proc {
        let home = &self.evening.party.home;
        let example = self.program("wine-run").named(name).arg(built(&format!("examples/{name}.exe"))).args(words);
        home.spawn(example).unwrap()
    }

    /// The client for Windows with these options.
    pub(crate) fn client(&self, words: &[&str]) -> Proc {
        let home = &self.evening.party.home;
        let client = self.program("wine-run").named("client-win").arg(built("lanparty-client-win.exe")).args(words);
        home.spawn(client).unwrap()
    }

    /// The guide's client: it joins, and what it would change is recorded.
    pub(crate) fn join(&self) -> Proc {
        self.join_with(&[])
    }

    /// The same with more options.
    pub(crate) fn join_with(&self, more: &[&str]) -> Proc {
        let options = self.evening.join_options(&self.evening.party.home);
        let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
        words.extend(["--identity", "id.json", "--dry-run-netcfg", "netcfg.json", "--connect-timeout", "60"]);
        words.extend(more);
        self.client(&words)
    }

    /// The adapter goes, as one that is disabled, or comes back.
    pub(crate) fn set_gone(&self, gone: bool) {
        let (_, stack) = self.peer.as_ref().unwrap();
        stack.socket.send(&[u8::from(gone)]).unwrap();
    }

    /// A client that has joined as the driver's identity, and whose machine has a lease; and the address.
    pub(crate) fn joined(&self) -> (Proc, Ipv4Addr) {
        a_driver_with_another_address_stops_it(self);
        self.be_the_drivers();
        let client = self.join();
        client.wait_for("relay route verified after TAP activation", WINE_PATIENCE).unwrap();
        let home = &self.evening.party.home;
        let lease = dhclient(home, TAP, WINE_PATIENCE).unwrap();
        self.lan_answers();
        (client, lease.address)
    }

    /// Waits until a host of the LAN answers.
    pub(crate) fn lan_answers(&self) {
        let home = &self.evening.party.home;
        eventually("the LAN answers", || ping(home, Party::pc_address(1), 1).is_ok_and(|pings| pings.received == 1));
    }

    /// Gives the client the identity whose address the driver has: Wine does not restart adapters.
    pub(crate) fn be_the_drivers(&self) {
        let path = self.evening.dir(&self.evening.party.home).join("id.json");
        let mut identity: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        identity["mac"] = DRIVER_MAC.into();
        fs::write(&path, identity.to_string()).unwrap();
    }

    /// What would have been changed on the machine, in order.
    pub(crate) fn calls(&self) -> Vec<Value> {
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

/// The network stack behind the driver: frames between its other end and an interface of this host.
struct Stack {
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stack {
    fn start(home: &Namespace) -> Self {
        let (socket, device) = home.enter(|| (UdpSocket::bind(STACK).unwrap(), PacketSocket::open("stack").unwrap())).unwrap();
        socket.connect(PEER).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (carried, stopped) = (socket.try_clone().unwrap(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || carry(&carried, device, &stopped));
        Self { socket, stop, thread: Some(thread) }
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

/// What a program has printed until its end, which is to be one of these codes; what was still in the pipe, too.
pub(crate) fn ended(program: &Proc, codes: &[i32]) -> Vec<String> {
    let code = program.exit_code(WINE_PATIENCE).unwrap();
    // Says no in any case: at the pipe's end, or later when somebody else still has it.
    let _ = program.wait_for_line(0, "its last line", |_| false, PIPE_DRAINS);
    assert!(codes.contains(&code), "it ended with {code}: {}", program.tail());
    program.lines()
}

/// The calls of this name, in order.
pub(crate) fn named<'c>(calls: &'c [Value], name: &str) -> Vec<&'c Value> {
    calls.iter().filter(|call| call["call"] == name).collect()
}
