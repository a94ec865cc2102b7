//! Every mistake that a user can make is answered with what is wrong, what to do, and the right exit code: 1 unexpected, 2 configuration,
//! 3 permission or missing driver, 4 refused by the other side (THREATS D).

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{Binaries, End, Internet, LAN, Lab, Namespace, Offloads, Output, Proc, Program, Requirements, Uplink, WAN, veth};
use lanparty_proto::{Control, ControlDecoder, DatagramBudget, Hello, MacAddr, Role, encode_control};
use serde_json::Value;

#[path = "support/capture.rs"]
mod capture;
#[path = "support/host.rs"]
mod host;
#[path = "support/programs.rs"]
mod programs;
#[path = "support/stranger.rs"]
mod stranger;

use capture::Capture;
use host::on;
use programs::{Programs, RELAY, ROOM, SOON};

/// No mistake takes a program longer than this to answer.
const LIMIT: [&str; 2] = ["timeout", "30"];

/// A relay's host, a gateway's host with a LAN behind it, and two players' machines. No program runs yet.
struct Desk {
    relay: Namespace,
    gateway: Namespace,
    pc: Namespace,
    home: Namespace,
    friend: Namespace,
    programs: Programs,
    _internet: Internet,
    lab: Lab,
}

impl Desk {
    fn build(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let internet = Internet::new(&lab).unwrap();
        let [relay, gateway, pc, home, friend] = ["relay", "gateway", "pc", "home", "friend"].map(|host| lab.namespace(host).unwrap());
        for (host, number) in [(&relay, 1), (&gateway, 20), (&home, 30), (&friend, 31)] {
            internet.attach(&lab, host, number, &Uplink::default()).unwrap();
        }
        veth(End::new(&pc, LAN), End::new(&gateway, LAN), Offloads::Off).unwrap();
        let programs = Programs::new(&lab);
        Self { relay, gateway, pc, home, friend, programs, _internet: internet, lab }
    }

    /// Runs a program that must end by itself.
    fn run(&self, host: &Namespace, words: &[&str]) -> Output {
        self.programs.run_through(host, &LIMIT, words)
    }

    /// Runs a client with the usual options and `more`.
    fn run_client(&self, host: &Namespace, more: &[&str]) -> Output {
        self.run_client_through(host, &LIMIT, more)
    }

    fn run_client_through(&self, host: &Namespace, starter: &[&str], more: &[&str]) -> Output {
        let options = self.programs.member_options(ROOM);
        let words: Vec<&str> = ["lanparty", "client", "--tap-name", programs::TAP]
            .into_iter()
            .chain(options.iter().map(String::as_str))
            .chain(more.iter().copied())
            .collect();
        self.programs.run_through(host, starter, &words)
    }

    fn run_gateway_through(&self, host: &Namespace, starter: &[&str], interface: &str) -> Output {
        let options = self.programs.member_options(ROOM);
        let words = ["lanparty-gateway"].into_iter().chain(options.iter().map(String::as_str)).chain(["--interface", interface]);
        self.programs.run_through(host, starter, &words.collect::<Vec<_>>())
    }

    fn identity(&self, host: &Namespace) -> std::path::PathBuf {
        self.programs.state_dir(host).join("lanparty-client-identity.json")
    }
}

/// The program ended with `code`, and said all of `words` where a script looks for them.
#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let said = &output.stderr;
    assert_eq!(output.status.code(), Some(code), "`{}` said: {said}{}", output.command, output.stdout);
    for word in words {
        assert!(said.contains(word), "`{}` does not say `{word}`: {said}", output.command);
    }
}

/// The same of a program that was started and ran for a while.
#[track_caller]
fn ends(program: &Proc, code: i32, words: &[&str]) {
    assert_eq!(program.exit_code(SOON).unwrap(), code, "{}", program.tail());
    let said = program.lines().join("\n");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
}

#[test]
fn an_interface_that_is_no_lan_is_refused_before_the_relay_hears_of_it() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("no-lan");
    let _relay = desk.programs.relay(&desk.relay);
    let (gateway, pc) = (&desk.gateway, &desk.pc);
    gateway.ip("tuntap add mode tap name tap0").unwrap();
    gateway.link_up("tap0", true).unwrap();
    for unplugged in ["port", "off", "loose"] {
        veth(End::new(pc, unplugged), End::new(gateway, unplugged), Offloads::Off).unwrap();
    }
    gateway.ip("link add br7 type bridge").unwrap();
    gateway.ip("link set dev port master br7").unwrap();
    gateway.link_up("br7", true).unwrap();
    gateway.link_up("off", false).unwrap();
    pc.link_up("loose", false).unwrap();
    let mut wan = Capture::open(gateway, WAN);
    let cases: [(&str, &[&str]); 8] = [
        ("nosuch", &["there is no interface `nosuch`", "candidates: ", "`lan`"]),
        ("lo", &["`lo` is the loopback interface", "`lan`"]),
        ("tap0", &["`tap0` is a TUN/TAP interface", "`lan`"]),
        ("port", &["`port` is a port of the bridge `br7`: use `br7`"]),
        ("off", &["`off` is down", "ip link set off up"]),
        ("loose", &["`loose` reports no carrier", "plug the cable in", "`lan`"]),
        ("", &["there is no interface ``", "`lan`"]),
        ("a name much too long for one", &["there is no interface", "`lan`"]),
    ];
    for (interface, words) in cases {
        let started = Instant::now();
        fails(&desk.run_gateway_through(gateway, &LIMIT, interface), 2, words);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    // As a container does that took a network namespace and kept /sys.
    let net = format!("--net=/run/netns/{}", gateway.netns());
    let program = desk.programs.path("lanparty-gateway");
    let words = ["nsenter", &net, program.to_str().unwrap(), "--relay", RELAY, "--room", ROOM, "--interface", LAN];
    let foreign = lanparty_lab::run_any(&[&words[..], &["--relay-ca-cert", desk.programs.certificate().to_str().unwrap()]].concat());
    fails(&foreign.unwrap(), 1, &["/sys shows another network namespace", "ip netns exec NAME"]);
    assert_eq!(wan.next(Duration::from_millis(200)), None, "nothing left the gateway");
    // The same host does bridge its LAN, so nothing but the interface was wrong; and its client's TAP is no LAN for its gateway.
    let _client = desk.programs.client(gateway);
    fails(&desk.run_gateway_through(gateway, &LIMIT, "lan0"), 2, &["`lan0` is a TUN/TAP interface"]);
    let _gateway = desk.programs.gateway(gateway);
}

#[test]
fn a_relay_that_cannot_be_trusted_or_reached_is_named_with_the_next_step() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("relay-errors");
    let _relay = desk.programs.relay(&desk.relay);
    let file = |name: &str, content: &[u8]| {
        let path = desk.lab.dir().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let copy_anew = "copy the file that the relay wrote with --dev-cert-der-out";
    let certificate = fs::read(desk.programs.certificate()).unwrap();
    let cases: [(String, i32, &[&str]); 5] = [
        (file("garbage.der", b"\xff\x00 no certificate at all"), 2, &["garbage.der: not a certificate", copy_anew]),
        (file("empty.der", b""), 2, &["empty.der", copy_anew]),
        (file("cut.der", &certificate[..certificate.len() / 2]), 2, &["cut.der: not a certificate", copy_anew]),
        (file("half.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n"), 2, &["half.pem", copy_anew]),
        ("/nowhere/relay-cert.der".into(), 2, &["/nowhere/relay-cert.der", copy_anew]),
    ];
    let dial = |relay: &str, name: &str, file: &str, more: &[&str]| {
        let words = ["lanparty", "client", "--relay", relay, "--server-name", name, "--relay-ca-cert", file, "--room", ROOM];
        desk.run(&desk.home, &[&words, more].concat())
    };
    for (path, code, words) in &cases {
        fails(&dial(RELAY, stranger::RELAY_NAME, path, &[]), *code, words);
    }
    let good = desk.programs.certificate().display().to_string();
    let other = desk.lab.dir().join("other-cert.der").display().to_string();
    let other_state = desk.lab.dir().join("other-state").display().to_string();
    let other_relay = desk.programs.program(&desk.relay, "lanparty-relay");
    let options = ["--open", "--listen", "0.0.0.0:8500", "--state-dir", &other_state, "--dev-cert-der-out", &other];
    let other_relay = desk.relay.spawn(other_relay.args(options)).unwrap();
    other_relay.wait_for("listening on", SOON).unwrap();
    fails(&dial(RELAY, stranger::RELAY_NAME, &other, &[]), 2, &["10.99.0.1:8443", "is not vouched for by", "copy relay-cert.der anew"]);
    fails(&dial(RELAY, "wrong.example", &good, &[]), 2, &["a certificate for another name than `wrong.example`", "set --server-name"]);
    fails(&dial(RELAY, "not a name", &good, &[]), 2, &["check --relay and --server-name"]);
    let theirs = desk.lab.dir().join("h3-cert.der").display().to_string();
    let answer =
        while_another_protocol_is_served(&desk.relay, Path::new(&theirs), || dial("10.99.0.1:8600", stranger::RELAY_NAME, &theirs, &[]));
    fails(&answer, 4, &["speaks no lanparty protocol", "same lanparty version", "port"]);
    fails(&dial("no.such.name.invalid", stranger::RELAY_NAME, &good, &["--connect-timeout", "2"]), 1, &["does not resolve", "DNS"]);
}

/// A QUIC server of something else on port 8600 of `host`, for as long as `work` takes.
fn while_another_protocol_is_served<T>(host: &Namespace, certificate: &Path, work: impl FnOnce() -> T) -> T {
    let (over, ready) = (AtomicBool::new(false), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            on(host, async || {
                let endpoint = stranger::server(([0, 0, 0, 0], 8600).into(), b"h3", certificate);
                ready.wait();
                while !over.load(Ordering::Relaxed) {
                    // Each attempt fails in its handshake; that is what the other end is asked about.
                    if let Ok(Some(incoming)) = tokio::time::timeout(Duration::from_millis(50), endpoint.accept()).await {
                        drop(incoming.await);
                    }
                }
            });
        });
        ready.wait();
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn a_relay_that_does_not_answer_is_given_up_in_time() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("no-relay");
    drop(desk.programs.relay(&desk.relay));
    for (interface, seconds) in [("client", 1), ("client", 4), ("gateway", 2)] {
        let limit = seconds.to_string();
        let started = Instant::now();
        let output = match interface {
            "client" => desk.run_client(&desk.home, &["--connect-timeout", &limit]),
            _ => {
                let options = desk.programs.member_options(ROOM);
                let options = options.iter().map(String::as_str).chain(["--interface", LAN, "--connect-timeout", &limit]);
                desk.run(&desk.gateway, &["lanparty-gateway"].into_iter().chain(options).collect::<Vec<_>>())
            }
        };
        let took = started.elapsed();
        fails(&output, 1, &["the relay at 10.99.0.1:8443 does not answer (UDP)", "check that the relay runs", "firewall"]);
        println!("{interface}: gave up after {took:?} of {seconds} s");
        assert!(took < Duration::from_secs(seconds) + Duration::from_millis(1500), "{took:?}");
    }
}

#[test]
fn who_is_refused_by_the_relay_reads_why_and_exits_with_4() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("refused");
    let relay = desk.programs.relay(&desk.relay);
    let gateway = desk.programs.gateway(&desk.gateway);
    let home = desk.programs.client(&desk.home);
    // A second gateway for the same room, with a cable of its own.
    veth(End::new(&desk.pc, "lan2"), End::new(&desk.friend, LAN), Offloads::Off).unwrap();
    let first = desk.gateway.mac(LAN).unwrap();
    let second = desk.run_gateway_through(&desk.friend, &LIMIT, LAN);
    fails(&second, 4, &["SecondGateway", "room ROOM1 has a gateway already", &first, "10.99.0.20", "use another room code"]);
    assert!(gateway.running());
    // Another machine's MAC address under an identity of its own: an identity file that was copied and edited.
    let mac = desk.home.mac(programs::TAP).unwrap();
    let identity = edited_identity(&desk, &mac);
    let copy = desk.run_client(&desk.friend, &["--identity", identity.to_str().unwrap()]);
    fails(
        &copy,
        4,
        &["DuplicateMac", &mac, "is already in room ROOM1", "10.99.0.30", "each machine needs one of its own", "--new-identity"],
    );
    let told = home.wait_for("tried to join with your MAC", SOON).unwrap();
    assert!(told.contains("10.99.0.31") && told.contains(&mac) && told.contains("WARN"), "{told}");
    relay.wait_for("refused Client peer in room ROOM1", SOON).unwrap();
    // The whole identity copied: the newer one has the place, the older one ends and says why.
    fs::create_dir_all(desk.programs.state_dir(&desk.friend)).unwrap();
    fs::copy(desk.identity(&desk.home), desk.identity(&desk.friend)).unwrap();
    let clone = desk.programs.client(&desk.friend);
    ends(&home, 4, &["Replaced", "joined again from 10.99.0.31", "--new-identity"]);
    assert!(clone.running());
}

/// An identity of its own, with the MAC address of somebody else.
fn edited_identity(desk: &Desk, mac: &str) -> std::path::PathBuf {
    let path = desk.lab.dir().join("edited.json");
    lanparty_node::Identity::load_or_create(path.clone(), false).unwrap();
    let mut content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    content["mac"] = mac.into();
    fs::write(&path, content.to_string()).unwrap();
    path
}

#[test]
fn a_member_of_another_protocol_version_is_told_which_one_the_relay_speaks() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("version");
    let _relay = desk.programs.relay(&desk.relay);
    let hello = Hello {
        version: 2,
        software: "lanparty from tomorrow".into(),
        ..Hello::new(Role::Client, ROOM.parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 2]), DatagramBudget(1400))
    };
    let answer = on(&desk.home, async || {
        let endpoint = stranger::client(&desk.programs.certificate());
        let connection = endpoint.connect(RELAY.parse().unwrap(), stranger::RELAY_NAME).unwrap().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&encode_control(&Control::Hello(hello))).await.unwrap();
        let mut decoder = ControlDecoder::new();
        loop {
            if let Some(message) = decoder.next_message().unwrap() {
                return message;
            }
            let mut chunk = [0; 4096];
            let len = recv.read(&mut chunk).await.unwrap().expect("an answer before the end");
            decoder.extend(&chunk[..len]);
        }
    });
    let Control::Refused { code, message } = answer else { panic!("{answer:?}") };
    assert_eq!(format!("{code:?}"), "Version");
    for word in ["protocol version 2", "this relay speaks 1", "install the same lanparty version"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn two_rooms_are_two_lans_and_the_client_waits_for_a_gateway() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("rooms");
    let _relay = desk.programs.relay(&desk.relay);
    let gateway = desk.programs.gateway(&desk.gateway);
    let client = desk.programs.start_client(&desk.home, "ROOM2", &[]);
    client.wait_for("Waiting for LAN gateway", SOON).unwrap();
    let status = desk.programs.status(&desk.home, "lanparty-client");
    assert_eq!((&status["gateway_connected"], &status["room"]), (&Value::Bool(false), &Value::from("ROOM2")));
    let friend = desk.programs.start_client(&desk.friend, ROOM, &[]);
    friend.wait_for("Connected to LAN gateway", SOON).unwrap();
    assert!(!client.lines().iter().any(|line| line.contains("Connected to LAN gateway")));
    gateway.wait_for("joined with MAC", SOON).unwrap();
    let joined = |line: &&String| line.contains("client peer") && line.contains("joined");
    assert_eq!(gateway.lines().iter().filter(joined).count(), 1);
}

#[test]
fn missing_permissions_and_drivers_are_named_with_their_remedy() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("permissions");
    let no_admin = ["timeout", "30", "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let no_raw = ["timeout", "30", "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    let no_low_ports = ["timeout", "30", "setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
    let _relay = desk.programs.relay(&desk.relay);
    fails(&desk.run_client_through(&desk.home, &no_admin, &[]), 3, &["creating a TAP is not permitted", "run as root", "CAP_NET_ADMIN"]);
    fails(
        &desk.run_gateway_through(&desk.gateway, &no_raw, LAN),
        3,
        &["raw access to `lan` is not permitted", "run as root", "CAP_NET_RAW"],
    );
    let hidden = ["timeout", "30", "unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh"];
    fails(&desk.run_client_through(&desk.home, &hidden, &[]), 3, &["/dev/net/tun is missing", "modprobe tun"]);
    let low = desk.programs.run_through(&desk.home, &no_low_ports, &["lanparty-relay", "--open", "--listen", "0.0.0.0:443"]);
    fails(&low, 3, &["cannot listen on 0.0.0.0:443/udp", "CAP_NET_BIND_SERVICE"]);
    // The client may do its own work, and its DHCP client may not.
    let _gateway = desk.programs.gateway(&desk.gateway);
    let played = desk.run_client_through(&desk.home, &[&["timeout", "6"], &no_raw[2..]].concat(), &["--dhcp"]);
    let said = format!("{}{}", played.stdout, played.stderr);
    assert!(said.contains("ended: exit status: 1, and said last: ") && said.contains("not permitted; starting it again"), "{said}");
}

#[test]
fn a_taken_port_and_a_foreign_address_are_named() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("ports");
    let _relay = desk.programs.relay(&desk.relay);
    fails(
        &desk.run(&desk.relay, &["lanparty-relay", "--open"]),
        2,
        &["cannot listen on 0.0.0.0:8443/udp", "another program has this port", "--listen"],
    );
    let foreign = desk.run(&desk.relay, &["lanparty-relay", "--open", "--listen", "192.0.2.7:8443"]);
    fails(&foreign, 2, &["does not have that address", "0.0.0.0"]);
    let unwritable = desk.run(&desk.relay, &["lanparty-relay", "--open", "--listen", ":8501", "--dev-cert-der-out", "/nowhere/cert.der"]);
    fails(&unwritable, 2, &["/nowhere/cert.der", "--dev-cert-der-out"]);
    let no_key = desk
        .run(&desk.relay, &["lanparty-relay", "--open", "--listen", ":8501", "--cert", "/nowhere/chain.pem", "--key", "/nowhere/key.pem"]);
    fails(&no_key, 2, &["/nowhere/chain.pem", "--cert takes a PEM certificate chain"]);
}

#[test]
fn damaged_state_is_left_as_it_is_and_replaced_only_when_asked() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("damaged");
    let relay = desk.programs.relay(&desk.relay);
    drop(desk.programs.client(&desk.home));
    let identity = desk.identity(&desk.home);
    let (whole, damaged) = (fs::read_to_string(&identity).unwrap(), "{ \"format\": 1, \"mac\":");
    fs::write(&identity, damaged).unwrap();
    fails(&desk.run_client(&desk.home, &[]), 2, &["lanparty-client-identity.json is damaged", "restore it from a copy"]);
    assert_eq!(fs::read_to_string(&identity).unwrap(), damaged);
    let client = desk.programs.start_client(&desk.home, ROOM, &["--new-identity"]);
    client.wait_for("TAP is up", SOON).unwrap();
    assert_eq!(fs::read_to_string(identity.with_extension("json.bad")).unwrap(), damaged);
    let fresh = fs::read_to_string(&identity).unwrap();
    assert!(fresh != whole && fresh.contains(&desk.home.mac(programs::TAP).unwrap()));
    drop((client, relay));
    let keys = desk.programs.state_dir(&desk.relay).join("lanparty-relay-keys.json");
    fs::write(&keys, "garbage").unwrap();
    fails(&desk.run(&desk.relay, &["lanparty-relay", "--open"]), 2, &["lanparty-relay-keys.json is damaged", "restore it from a copy"]);
    assert_eq!(fs::read_to_string(&keys).unwrap(), "garbage");
    let gateway_identity = desk.programs.state_dir(&desk.gateway).join("lanparty-gateway-identity.json");
    fs::create_dir_all(gateway_identity.parent().unwrap()).unwrap();
    fs::write(&gateway_identity, "").unwrap();
    fails(
        &desk.run_gateway_through(&desk.gateway, &LIMIT, LAN),
        2,
        &["lanparty-gateway-identity.json is damaged", "restore it from a copy"],
    );
}

#[test]
fn a_full_disk_stops_nothing_and_the_state_is_saved_when_there_is_space() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("full-disk");
    let start = |host: &Namespace, program: &str, words: &[&str]| {
        let dir = desk.lab.dir().join(format!("small-{}", host.host()));
        fs::create_dir_all(&dir).unwrap();
        let cleared = desk.lab.dir().join(format!("cleared-{}", host.host()));
        let script = format!(
            "mount -t tmpfs -o size=64k none {dir}; dd if=/dev/zero of={dir}/filler bs=4k 2>/dev/null
             (while ! test -e {cleared}; do sleep 0.05; done; rm {dir}/filler) & exec \"$@\"",
            dir = dir.display(),
            cleared = cleared.display()
        );
        let inner = Binaries::locate().unwrap().path(program).unwrap();
        let starter = desk.programs.with_files_of(host, Program::new("unshare").named(program));
        let starter = starter.args(["--mount", "sh", "-c", &script, "sh", inner.to_str().unwrap()]);
        let proc = host.spawn(starter.args(words).arg("--state-dir").arg(&dir)).unwrap();
        (proc, cleared)
    };
    let certificate = desk.programs.certificate();
    let (relay, relay_cleared) = start(&desk.relay, "lanparty-relay", &["--open", "--dev-cert-der-out", certificate.to_str().unwrap()]);
    relay.wait_for("keys are not saved", SOON).unwrap();
    relay.wait_for("listening on", SOON).unwrap();
    let options = desk.programs.member_options(ROOM);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let gateway_words: Vec<&str> = options.iter().copied().chain(["--interface", LAN]).collect();
    let (gateway, gateway_cleared) = start(&desk.gateway, "lanparty-gateway", &gateway_words);
    gateway.wait_for("the identity is not saved", SOON).unwrap();
    gateway.wait_for("lanparty-gateway bridging frames", SOON).unwrap();
    let client_words: Vec<&str> = ["client", "--tap-name", programs::TAP].into_iter().chain(options).collect();
    let (client, client_cleared) = start(&desk.home, "lanparty", &client_words);
    client.wait_for("the identity is not saved", SOON).unwrap();
    client.wait_for("Connected to LAN gateway", SOON).unwrap();
    for (proc, cleared, saved) in [
        (&relay, relay_cleared, "keys are saved now"),
        (&gateway, gateway_cleared, "identity is saved now"),
        (&client, client_cleared, "identity is saved now"),
    ] {
        assert!(proc.running() && !proc.lines().iter().any(|line| line.contains(saved)));
        fs::write(&cleared, b"").unwrap();
        let waited = Instant::now();
        proc.wait_for(saved, SOON).unwrap();
        println!("{}: saved {:?} after there was space", proc.name(), waited.elapsed());
        assert!(waited.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn the_command_line_explains_itself() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("command-line");
    let run = |words: &[&str]| desk.run(&desk.home, words);
    let member = ["--relay", "--server-name", "--relay-ca-cert", "--room", "--connect-timeout", "--log-format"];
    let relay = ["--listen", "--rooms", "--open", "--dev-cert-der-out", "--cert", "--key", "--state-dir", "--member-rate", "--log-format"];
    let helps: [(&[&str], Vec<&str>); 11] = [
        (&["lanparty", "--help"], vec!["client", "gateway", "relay", "status", "completions", "manual", "Exit codes", "Examples"]),
        (
            &["lanparty", "client", "--help"],
            [&member[..], &["--dhcp", "--tap-name", "--new-identity", "--identity", "--up", "--down"]].concat(),
        ),
        (&["lanparty", "gateway", "--help"], [&member[..], &["--interface", "--iface"]].concat()),
        (&["lanparty-gateway", "--help"], [&member[..], &["--interface", "--iface", "Exit codes", "Example"]].concat()),
        (&["lanparty", "relay", "--help"], relay.to_vec()),
        (&["lanparty-relay", "--help"], [&relay[..], &["Exit codes", "Example"]].concat()),
        (&["lanparty", "status", "--help"], vec!["--json"]),
        (
            &["lanparty", "doctor", "--help"],
            vec!["--relay", "--room", "--interface", "--mtu", "--fix", "--explain", "--json", "--verbose", "Exit codes", "Examples"],
        ),
        (&["lanparty", "ping", "--help"], vec!["--count", "--interval", "--size", "--sweep", "--json", "Exit codes"]),
        (&["lanparty", "completions", "bash"], vec!["complete", "--relay-ca-cert"]),
        (&["lanparty", "--version"], vec!["lanparty "]),
    ];
    for (words, expected) in helps {
        let output = run(words).success().unwrap();
        for word in expected {
            assert!(output.stdout.contains(word), "`{word}` is not in what `{}` says", output.command);
        }
    }
    let manual = desk.lab.dir().join("man1");
    run(&["lanparty", "manual", manual.to_str().unwrap()]).success().unwrap();
    for page in [
        "lanparty.1",
        "lanparty-client.1",
        "lanparty-gateway.1",
        "lanparty-relay.1",
        "lanparty-status.1",
        "lanparty-doctor.1",
        "lanparty-ping.1",
    ] {
        assert!(fs::read_to_string(manual.join(page)).unwrap().contains(".TH"), "{page}");
    }
    fails(&run(&["lanparty", "manual", "/proc/nowhere"]), 2, &["/proc/nowhere"]);
    let status = run(&["lanparty", "status"]).success().unwrap();
    assert!(status.stdout.contains("no lanparty program is running here"), "{}", status.stdout);
}

#[test]
fn a_wrong_word_on_the_command_line_is_a_configuration_error() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("wrong-words");
    let client = |more: &[&'static str]| [&["lanparty", "client", "--relay", "10.99.0.1"], more].concat();
    let wrong: [(Vec<&str>, &str); 21] = [
        (vec!["lanparty"], "Usage"),
        (vec!["lanparty", "party"], "party"),
        (vec!["lanparty", "status", "--yaml"], "--yaml"),
        (vec!["lanparty-relay", "--liste", "0.0.0.0:1"], "--listen"),
        (vec!["lanparty-relay", "--listen", "relay.example.net:8443"], "is no address to listen on"),
        (vec!["lanparty-relay", "--listen", "0.0.0.0:65536"], "is no address to listen on"),
        (vec!["lanparty-relay", "--members", "1"], "--members"),
        (vec!["lanparty-relay", "--rooms-max", "0"], "--rooms-max"),
        (vec!["lanparty-relay", "--member-rate", "fast"], "write it like 500k"),
        (vec!["lanparty-relay", "--cert", "chain.pem"], "--key"),
        (vec!["lanparty-relay", "--log-format", "xml"], "text or json"),
        (vec!["lanparty-gateway", "--relay", "10.99.0.1", "--room", "ROOM1"], "--interface"),
        (client(&[]), "--room"),
        (client(&["--room", "ROOM 1"]), "cannot be a room code"),
        (client(&["--room", ""]), "cannot be a room code"),
        (client(&["--room", "ROOM1", "--connect-timeout", "soon"]), "--connect-timeout"),
        (client(&["--room", "ROOM1", "--connect-timeout", "0"]), "--connect-timeout"),
        (client(&["--room", "ROOM1", "--unknown"]), "--unknown"),
        (client(&["--room", "ROOM1", "--tap-name", "a/b"]), "`a/b` cannot be the name of an interface"),
        (client(&["--room", "ROOM1", "--tap-name", "a_name_of_16_char"]), "cannot be the name of an interface"),
        (vec!["lanparty", "client", "--relay", "https://relay.example.net", "--room", "ROOM1"], "write it as relay.example.net:8443"),
    ];
    drop(desk.programs.relay(&desk.relay));
    let certificate = desk.programs.certificate();
    for (mut words, said) in wrong {
        if words.contains(&"--tap-name") {
            words.extend(["--relay-ca-cert", certificate.to_str().unwrap()]);
        }
        fails(&desk.run(&desk.home, &words), 2, &[said]);
    }
    desk.home.ip("link add lan0 type bridge").unwrap();
    fails(&desk.run_client(&desk.home, &[]), 2, &["an interface `lan0` exists already and is not a TAP"]);
}

#[test]
fn every_line_of_a_json_log_is_json() {
    if !Requirements::wires().ready_or_skip() {
        return;
    }
    let desk = Desk::build("json");
    let certificate = desk.programs.certificate();
    let relay = desk.programs.program(&desk.relay, "lanparty-relay").args(["--open", "--dev-cert-der-out"]).arg(certificate);
    let relay = desk.relay.spawn(relay.args(["--log-format", "json"])).unwrap();
    relay.wait_for("lanparty-relay listening on", SOON).unwrap();
    let gateway = desk.programs.program(&desk.gateway, "lanparty-gateway").args(desk.programs.member_options(ROOM));
    let gateway = desk.gateway.spawn(gateway.args(["--interface", LAN, "--log-format", "json"])).unwrap();
    let client = desk.programs.start_client(&desk.home, ROOM, &["--log-format", "json"]);
    client.wait_for("Connected to LAN gateway", SOON).unwrap();
    desk.home.ip("addr add 10.73.42.50/24 dev lan0").unwrap();
    desk.pc.ip("addr add 10.73.42.11/24 dev lan").unwrap();
    assert!(lanparty_lab::ping(&desk.home, "10.73.42.11".parse().unwrap(), 3).unwrap().received > 0);
    for program in [&relay, &gateway, &client] {
        program.sigterm();
        assert_eq!(program.exit_code(SOON).unwrap(), 0, "{}", program.tail());
        let lines = program.lines();
        assert!(lines.len() >= 4, "{}", program.tail());
        for line in &lines {
            let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(parsed["level"].is_string() && parsed["message"].is_string() && parsed["timestamp"].is_string(), "{line}");
        }
    }
}
