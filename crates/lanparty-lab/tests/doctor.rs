//! Every finding about a host and the way to a relay: provoked by what causes it, and silent where that is not so.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanparty_lab::{Program, ping};
use lanparty_proto::{PROBE_LEN_MIN, ProbeAnswer, ProbeQuestion};

#[path = "support/programs.rs"]
mod programs;
#[path = "support/street.rs"]
mod street;

use programs::RELAY;
use street::{GOOD, Street, WAN, ready, took};

#[test]
fn a_healthy_way_is_measured_and_nothing_is_wrong_with_it() {
    if !ready() {
        return;
    }
    let street = Street::new("healthy", GOOD);
    let _relay = street.relay(&[]);
    let examined = took(|| street.examine(&[]));
    examined.is_healthy();
    assert_eq!((examined.edge("up"), examined.edge("down")), ((1472, Some(1473)), (1472, Some(1473))));
    let relay = &examined.report["facts"]["relay"];
    assert_eq!(relay["up"]["fragments_pass"], true);
    assert_eq!(relay["nat"]["observed"][0]["address"].as_str().unwrap().split(':').next(), Some("10.99.0.2"), "the router's");
    assert_eq!(relay["rtt"]["lost"], 0);
    assert!(relay["rtt"]["min_ms"].as_f64().unwrap() >= 4.0, "the wire's 2 ms each way");
}

#[test]
fn a_black_hole_is_found_to_the_byte_in_the_direction_that_has_it() {
    if !ready() {
        return;
    }
    let street = Street::new("hole", "delay=2ms mtu=1400");
    let _relay = street.relay(&[]);
    let examined = took(|| street.examine(&[]));
    examined.says("path-black-hole", &[]);
    let title = "large packets vanish on the way to the relay and back: safe size 1372, 1373 vanishes without a word";
    assert_eq!(examined.title("path-black-hole"), title);
    street.wire.set(lanparty_lab::Direction::BToA, &GOOD.parse().unwrap()).unwrap();
    let examined = took(|| street.examine(&[]));
    assert_eq!((examined.edge("up"), examined.edge("down")), ((1372, Some(1373)), (1472, Some(1473))));
}

#[test]
fn a_black_hole_far_away_is_found_as_well() {
    if !ready() {
        return;
    }
    for (name, delay, passed) in [("far", 51, 1372), ("farther", 100, 1352)] {
        let street = Street::new(name, &format!("delay={delay}ms mtu={}", passed + 28));
        let _relay = street.relay(&[]);
        let examined = took(|| street.examine(&[]));
        examined.says("path-black-hole", &["path-slow"]);
        for direction in ["up", "down"] {
            assert_eq!(examined.edge(direction), (passed, Some(passed + 1)), "{direction} at {delay} ms");
        }
        assert_eq!(examined.report["facts"]["relay"]["throttle"]["lost"], 0, "the burst had its time");
    }
}

#[test]
fn so_far_away_that_time_runs_out_what_was_not_measured_is_named() {
    if !ready() {
        return;
    }
    let street = Street::new("moon", "delay=900ms mtu=1400");
    let _relay = street.relay(&[]);
    // Router and relay are neighbours, and finding each other takes a round trip as well: not on a real way.
    ping(&street.home, Ipv4Addr::new(10, 99, 0, 1), 25).unwrap();
    let examined = took(|| street.examine(&[]));
    examined.says("measurement-incomplete", &["path-slow"]);
    assert!(examined.title("measurement-incomplete").contains("sizes toward the relay, sizes from the relay"), "{:#}", examined.report);
    assert!(examined.report["facts"]["relay"]["rtt"]["median_ms"].as_f64().unwrap() >= 1800.0, "what was measured stays");
}

#[test]
fn a_small_hop_that_says_so_is_no_black_hole_and_one_that_keeps_silent_filters_icmp() {
    if !ready() {
        return;
    }
    let street = Street::new("icmp", GOOD);
    street.router_mtu(1400);
    let _relay = street.relay(&[]);
    let examined = took(|| street.examine(&[]));
    examined.is_healthy();
    assert_eq!(examined.report["facts"]["relay"]["up"]["icmp_too_big_heard"], true, "{:#}", examined.report["facts"]["relay"]["up"]);
    street.nft("icmp", "type filter hook output priority 0", &["icmp type destination-unreachable drop"]);
    // What was learnt while ICMP passed: with it this host cuts packets up itself, and who else does cannot be told.
    street.home.ip("route flush cache").unwrap();
    let examined = took(|| street.examine(&[]));
    examined.says("icmp-filtered", &["path-black-hole"]);
}

#[test]
fn a_nat_that_drops_fragments_is_named() {
    if !ready() {
        return;
    }
    let street = Street::new("fragments", GOOD);
    let _relay = street.relay(&[]);
    // Before conntrack puts fragments together (priority -400), as Hyper-V's NAT does.
    street.nft("fragments", "type filter hook prerouting priority -450", &["ip frag-off & 0x3fff != 0 drop"]);
    took(|| street.examine(&[])).says("fragments-dropped", &[]);
    street.nft_delete("fragments");
    took(|| street.examine(&[])).is_healthy();
}

#[test]
fn a_small_interface_of_this_host_hides_what_follows_from_it() {
    if !ready() {
        return;
    }
    let street = Street::new("uplink", GOOD);
    let _relay = street.relay(&[]);
    street.home_mtu(1280);
    took(|| street.examine(&[])).says("uplink-mtu-small", &[]);
    street.home_mtu(1400);
    took(|| street.examine(&[])).is_healthy();
}

#[test]
fn a_path_too_small_for_ipv6_and_one_too_small_for_what_was_asked() {
    if !ready() {
        return;
    }
    let street = Street::new("small", GOOD);
    let _relay = street.relay(&[]);
    street.router_mtu(1330);
    took(|| street.examine(&[])).says("ipv6-needs-larger-path", &[]);
    street.router_mtu(1400);
    let examined = took(|| street.examine(&["--mtu", "1400"]));
    examined.says("mtu-flag-too-large", &[]);
    assert!(examined.title("mtu-flag-too-large").starts_with("--mtu 1400 asks for more than the path carries, which is 13"));
    took(|| street.examine(&["--mtu", "1300"])).is_healthy();
}

#[test]
fn a_path_below_quics_minimum_is_told_from_a_relay_that_is_silent() {
    if !ready() {
        return;
    }
    let street = Street::new("tiny", "delay=2ms mtu=1000");
    let _relay = street.relay(&[]);
    let examined = took(|| street.examine(&[]));
    examined.says("path-below-quic-minimum", &[]);
    assert!(examined.title("path-below-quic-minimum").contains("pass only up to 972 bytes, and QUIC needs 1200"));
    let options = street.programs.member_options("ROOM1");
    let words: Vec<&str> = ["lanparty", "client", "--transport", "quic"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let refused = street.programs.run(&street.home, &words);
    assert!(refused.stderr.contains("the path there carries IP packets of 1000 bytes at most, and QUIC needs 1228"), "{}", refused.stderr);
    // All UDP is gone now, the probes' too: then it is blocked, and no size is to blame.
    street.nft("udp", "type filter hook forward priority 0", &["meta l4proto udp drop"]);
    took(|| street.examine(&[])).says("udp-blocked", &[]);
}

#[test]
fn nobody_listening_and_quic_alone_blocked_are_different_things() {
    if !ready() {
        return;
    }
    let street = Street::new("ports", GOOD);
    let relay = street.relay(&[]);
    street.nft("quic", "type filter hook forward priority 0", &["udp dport 8443 drop"]);
    took(|| street.examine(&[])).says("quic-handshake-failed", &[]);
    street.nft_delete("quic");
    drop(relay);
    took(|| street.examine(&[])).says("relay-port-closed", &[]);
    let _relay = street.relay(&["--probe-ports", "off"]);
    took(|| street.examine(&[])).says("probe-service-missing", &[]);
}

#[test]
fn a_member_that_joins_by_tcp_is_told_so_and_what_it_costs() {
    if !ready() {
        return;
    }
    let street = Street::new("by-tcp", GOOD);
    let relay = street.relay(&[]);
    let carried = |code: &str, more: &[&str]| {
        let examined = took(|| street.examine(more));
        examined.says(code, &[]);
        let found = &examined.report["findings"][0];
        assert_eq!((&found["severity"], &examined.report["exit_code"]), (&"warning".into(), &1.into()), "{found:#}");
        assert!(examined.title(code).contains("members join by TLS over TCP"), "{found:#}");
        assert_eq!(examined.report["facts"]["relay"]["way"], "stream");
    };
    street.nft("udp", "type filter hook forward priority 0", &["meta l4proto udp drop"]);
    carried("udp-blocked", &[]);
    street.nft_delete("udp");
    street.nft("udp", "type filter hook forward priority 0", &["udp dport 8443 drop"]);
    carried("quic-handshake-failed", &[]);
    street.nft_delete("udp");
    street.nft("udp", "type filter hook forward priority 0", &["meta l4proto udp reject"]);
    carried("relay-port-closed", &[]);
    drop(relay);
    // Where its streams are taken is asked, too.
    let _relay = street.relay(&["--listen-tls", "0.0.0.0:4443"]);
    carried("relay-port-closed", &["--relay-tls", "10.99.0.1:4443"]);
}

#[test]
fn where_neither_udp_nor_tcp_passes_each_way_that_was_tried_has_its_cause() {
    if !ready() {
        return;
    }
    let street = Street::new("neither", GOOD);
    let _relay = street.relay(&[]);
    let tcp = ["meta l4proto udp drop", "tcp dport 8443 reject with tcp reset", "tcp dport 443 drop"];
    street.nft("both", "type filter hook forward priority 0", &tcp);
    let examined = took(|| street.examine(&[]));
    examined.says("udp-blocked", &[]);
    let found = &examined.report["findings"][0];
    assert_eq!((&found["severity"], &examined.report["exit_code"]), (&"error".into(), &1.into()), "{found:#}");
    let refused = "the relay at 10.99.0.1:8443 refuses connections (TCP): nothing listens on that port";
    assert!(examined.title("udp-blocked").ends_with(&format!("; over TCP: {refused}")), "{found:#}");
    let evidence = found["evidence"].to_string();
    let silent = "TLS over TCP to 10.99.0.1:443: the relay at 10.99.0.1:443 does not answer (TCP)";
    assert!(evidence.contains(silent) && evidence.contains(refused) && evidence.contains("no answer within 3 s"), "{evidence}");
}

#[test]
fn loss_a_long_way_a_slow_line_and_a_rate_that_is_held_down_are_four_findings() {
    if !ready() {
        return;
    }
    let street = Street::new("quality", "delay=2ms loss=8%");
    let _relay = street.relay(&[]);
    // Both ways lose 8 % each, so of 40 round trips 6 are lost on average; up to three looks make chance unlikely.
    let lossy = (0..3).map(|_| took(|| street.examine(&[]))).find(|e| e.codes().contains(&"path-lossy"));
    lossy.expect("15 % loss is seen in three looks").says("path-lossy", &[]);
    street.wire.set_both(&"delay=90ms".parse().unwrap()).unwrap();
    took(|| street.examine(&[])).says("path-slow", &[]);
    street.wire.set_both(&GOOD.parse().unwrap()).unwrap();
    street.wire.set_both(&"delay=2ms rate=500k queue=200000".parse().unwrap()).unwrap();
    // A busy machine does not keep the pace that fills the line; then there is nothing to see.
    let slow = (0..3).map(|_| took(|| street.examine(&[]))).find(|e| e.codes().contains(&"bandwidth-low"));
    let slow = slow.expect("a line of a quarter of the rate is seen in three looks");
    slow.says("bandwidth-low", &[]);
    assert_eq!(slow.report["facts"]["relay"]["throttle"]["lost"], 0, "late is not lost");
    assert_eq!((slow.edge("up"), slow.edge("down")), ((1472, Some(1473)), (1472, Some(1473))));
    street.wire.set_both(&GOOD.parse().unwrap()).unwrap();
    street.nft("limit", "type filter hook forward priority 0", &["iifname in udp length 500-520 limit rate over 200/second drop"]);
    took(|| street.examine(&[])).says("udp-throttled", &[]);
}

#[test]
fn a_nat_that_maps_by_destination_is_a_note_and_no_problem() {
    if !ready() {
        return;
    }
    let street = Street::new("nat", GOOD);
    let _relay = street.relay(&[]);
    street.nft_delete("nat");
    street.nft("nat", "type nat hook postrouting priority srcnat", &["oifname out masquerade fully-random"]);
    let examined = took(|| street.examine(&[]));
    examined.says("nat-mapping-varies", &[]);
    assert_eq!(examined.report["exit_code"], 0);
}

#[test]
fn certificates_too_old_too_new_of_others_and_for_others() {
    if !ready() {
        return;
    }
    let street = Street::new("certificate", GOOD);
    let issued = |from: i32, until: i32| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["relay.example.net".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let [cert, secret] = ["cert.pem", "key.pem"].map(|file| street.lab.dir().join(file).display().to_string());
        std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&secret, key.serialize_pem()).unwrap();
        let relay = street.relay(&["--cert", &cert, "--key", &secret]);
        (relay, cert)
    };
    let year = 1970 + i32::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 31_556_952).unwrap();
    let judge = |from: i32, until: i32, name: &str| {
        let (relay, cert) = issued(year + from, year + until);
        let examined = took(|| street.examine_relay(&["--relay", RELAY, "--server-name", name, "--relay-ca-cert", &cert], &[]));
        drop(relay);
        examined
    };
    judge(-9, -8, "relay.example.net").says("relay-certificate-expired", &[]);
    judge(8, 9, "relay.example.net").says("relay-certificate-not-yet-valid", &[]);
    judge(-1, 2, "other.example.net").says("relay-certificate-wrong-name", &[]);
    judge(-1, 2, "relay.example.net").is_healthy();
    let (_relay, _) = issued(year - 1, year + 2);
    // The development certificate of this relay, which it does not use now.
    let words = ["--relay", RELAY, "--server-name", "relay.example.net", "--relay-ca-cert"];
    let development = street.programs.certificate().display().to_string();
    took(|| street.examine_relay(&[&words[..], &[&development]].concat(), &[])).says("relay-certificate-untrusted", &[]);
}

#[test]
fn a_clock_is_compared_with_the_relays() {
    if !ready() {
        return;
    }
    let street = Street::new("clock", GOOD);
    let _relay = street.relay(&["--probe-ports", "off"]);
    let socket = street.relay.enter(|| std::net::UdpSocket::bind("10.99.0.1:8444").unwrap()).unwrap();
    // A probe service whose clock is almost two hours ahead, for as long as the test runs.
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let Some(question) = ProbeQuestion::decode(&buffer[..len]) else { continue };
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(7000);
            let answer = ProbeAnswer {
                sequence: question.sequence,
                question_len: u16::try_from(len).unwrap(),
                route_mtu: None,
                too_long_here: false,
                cookie: [1; 16],
                clock_ms: u64::try_from(clock.as_millis()).unwrap(),
                observed: from,
            };
            let _ = socket.send_to(&answer.encode(PROBE_LEN_MIN.max(question.answer_len.into())), from);
        }
    });
    let examined = took(|| street.examine(&[]));
    examined.says("clock-wrong", &[]);
    assert!(examined.title("clock-wrong").ends_with("min behind the relay's"), "{}", examined.title("clock-wrong"));
}

#[test]
fn a_name_without_an_address() {
    if !ready() {
        return;
    }
    let street = Street::new("name", GOOD);
    let _relay = street.relay(&[]);
    let certificate = street.programs.certificate().display().to_string();
    let relay = ["--relay", "no-such-relay.invalid:8443", "--relay-ca-cert", &certificate];
    took(|| street.examine_relay(&relay, &[])).says("relay-name-unresolved", &[]);
}

#[test]
fn what_this_host_lacks_and_what_a_gateways_interface_lacks() {
    if !ready() {
        return;
    }
    let street = Street::new("host", GOOD);
    let host = |starter: &[&str], more: &[&str]| took(|| street.examine_host(starter, more));
    host(&[], &[]).is_healthy();
    host(&["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"], &[]).says("missing-permission", &[]);
    host(&["unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "-"], &[]).says("no-tun-device", &[]);
    street.home.ip("route del default").unwrap();
    host(&[], &[]).says("no-default-route", &[]);
    street.home.ip("route add default via 10.8.0.1").unwrap();
    host(&[], &["--interface", WAN]).is_healthy();
    host(&[], &["--interface", "eth9"]).says("lan-interface-missing", &[]);
    for words in ["link add eth1 type veth peer name peer1", "link add br0 type bridge", "link set br0 up"] {
        street.home.ip(words).unwrap();
    }
    host(&[], &["--interface", "eth1"]).says("lan-interface-down", &[]);
    street.home.ip("link set eth1 master br0 up").unwrap();
    host(&[], &["--interface", "eth1"]).says("lan-interface-bridge-port", &["lan-interface-down"]);
    let faked = |extra: &str| {
        format!(
            "d=$(mktemp -d) && cp -rL --no-preserve=all /sys/class/net/{WAN} $d/ 2>/dev/null; {extra}; mount --bind $d /sys/class/net && exec \"$@\""
        )
    };
    let wifi = faked(&format!("mkdir $d/{WAN}/phy80211"));
    host(&["unshare", "-m", "sh", "-c", &wifi, "-"], &["--interface", WAN]).says("lan-interface-wifi", &[]);
    let vm = faked(&format!("mkdir -p $d/{WAN}/device && ln -s /x/virtio_net $d/{WAN}/device/driver"));
    host(&["unshare", "-m", "sh", "-c", &vm, "-"], &["--interface", WAN]).says("lan-interface-vm-port", &[]);
}

/// The path's search takes a moment.
fn eventually_is(value: &dyn Fn() -> String, wanted: &str) {
    let deadline = Instant::now() + programs::SOON;
    while value() != wanted {
        assert!(Instant::now() < deadline, "{} instead of {wanted}", value());
        thread::sleep(Duration::from_millis(100));
    }
}

/// The story of seeds/003: WSL2's interface copied a VPN's MTU, and Hyper-V's NAT drops fragments.
#[test]
fn wsl2_is_known_its_interface_is_named_and_repaired_with_consent() {
    if !ready() {
        return;
    }
    let street = Street::new("wsl", GOOD);
    let _relay = street.relay(&[]);
    street.nft("fragments", "type filter hook prerouting priority -450", &["ip frag-off & 0x3fff != 0 drop"]);
    street.home_mtu(1280);
    let version = street.lab.dir().join("version");
    std::fs::write(&version, "Linux version 5.15.167.4-microsoft-standard-WSL2 (gcc 11.2.0) #1 SMP\n").unwrap();
    let as_wsl = format!("mount --bind {} /proc/version && exec \"$@\"", version.display());
    let starter = ["unshare", "-m", "sh", "-c", &as_wsl, "-"];
    let mtu_of = |interface: &str| {
        let link = street.home.ip(&format!("link show {interface}")).unwrap().stdout;
        link.split(" mtu ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let (mtu, tap_mtu) = (|| mtu_of(WAN), || mtu_of(programs::TAP));
    let certificate = street.programs.certificate().display().to_string();
    let relay = ["--relay", RELAY, "--server-name", "lanparty-relay.local", "--relay-ca-cert", &certificate];
    let examine = |more: &[&str]| took(|| street.examine_host(&starter, &[&relay[..], more].concat()));
    examine(&[]).says("wsl-eth0-mtu", &["fragments-dropped"]);
    assert_eq!(mtu(), "1280", "nothing is changed without consent");
    // Windows' side takes more than it says.
    street.router.ip("link set in mtu 1500").unwrap();
    let options = street.programs.member_options("ROOM1");
    let client = |more: &[&'static str]| {
        let words = options.iter().map(String::as_str).chain(more.iter().copied());
        let program = Program::new("unshare").args(["-m", "sh", "-c", &as_wsl, "-"]).arg(street.programs.path("lanparty")).args([
            "client",
            "--tap-name",
            programs::TAP,
        ]);
        let program = street.programs.with_files_of(&street.home, program.args(words).named("client"));
        let client = street.home.spawn(program).unwrap();
        client.wait_for("connected as peer", programs::SOON).unwrap();
        client
    };
    let warned = client(&[]);
    warned.wait_for("wsl-eth0-mtu: this is WSL2 and the MTU of its `eth0` is only 1280", programs::SOON).unwrap();
    eventually_is(&tap_mtu, "1194");
    assert_eq!(mtu(), "1280", "nothing is changed without consent");
    warned.sigterm();
    warned.exit_code(programs::SOON).unwrap();
    let repaired = client(&["--fix-underlay"]);
    eventually_is(&tap_mtu, "1417");
    assert_eq!(mtu(), "1500");
    repaired.sigterm();
    repaired.exit_code(programs::SOON).unwrap();
    assert_eq!(mtu(), "1280", "undone on exit");
    let repaired = examine(&["--fix"]);
    repaired.says("fragments-dropped", &[]);
    assert!(repaired.report["repaired"].as_str().unwrap().contains("ip link set dev eth0 mtu 1280"), "{}", repaired.report["repaired"]);
    assert_eq!(mtu(), "1500");
    assert_eq!(repaired.edge("up"), (1472, Some(1473)));
}
