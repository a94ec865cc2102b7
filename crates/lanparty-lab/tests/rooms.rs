//! Rooms without a LAN: addresses that the relay assigns, their conflicts, and what a relay remembers that was killed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::ping;
use programs::{SOON, TAP};
use serde_json::Value;
use town::{Town, eventually, ready};

const ROOMS: [&str; 2] = ["RED", "BLUE"];
/// A perfect cable answers at once; what takes longer than this is the machine's own business.
const FIRST_PING_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn eight_members_of_two_rooms_have_addresses_that_survive_the_relay_and_cross_no_room() {
    if !ready() {
        return;
    }
    let town = Town::new("rooms", 8);
    // One network for both rooms: what they do not share is the room.
    let relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    let room = |machine: usize| ROOMS[machine % 2];
    let clients: Vec<_> = (0..8).map(|machine| town.client(machine, room(machine), &[])).collect();
    let before: Vec<_> = (0..8).map(|machine| town.addresses(machine)).collect();
    println!("{before:?}");
    none_is_shared(&before);
    assert!(before.iter().all(|[ipv4, ipv6]| ipv4.starts_with("10.200.7.") && ipv4.ends_with("/24") && ipv6.starts_with("fd")));
    for from in 0..8 {
        let to = (from + 2) % 8;
        assert!(before[to].iter().all(|address| town.reaches(from, address)), "{from} reaches {to} of its room: {:?}", before[to]);
    }
    nothing_crosses(&town, &before);
    relay.kill9();
    let _relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    for (machine, client) in clients.iter().enumerate() {
        client.wait_for("again=true", SOON).unwrap();
        assert_eq!(town.addresses(machine), before[machine], "machine {machine}\n{}", client.tail());
    }
    assert!(town.reaches(0, &before[2][0]) && town.reaches(1, &before[3][1]));
    // Somebody else comes, and a member that was away comes back.
    clients[0].sigterm();
    clients[0].exit_code(SOON).unwrap();
    let _again = town.client(0, room(0), &[]);
    assert_eq!(town.addresses(0), before[0], "by its key, not by what the program remembers");
}

/// Per room, every address has one member.
fn none_is_shared(all: &[[String; 2]]) {
    for room in 0..2 {
        let of_room: Vec<_> = all.iter().skip(room).step_by(2).flatten().collect();
        assert_eq!(of_room.iter().collect::<BTreeSet<_>>().len(), of_room.len(), "{of_room:?}");
    }
}

/// An address that only the other room has is reached by nobody here, and nobody here is known there.
fn nothing_crosses(town: &Town, all: &[[String; 2]]) {
    let [red, blue] = [0, 1].map(|room| all.iter().skip(room).step_by(2).map(|one| one[0].clone()).collect::<BTreeSet<_>>());
    for (from, address) in blue.difference(&red).map(|a| (0, a)).chain(red.difference(&blue).map(|a| (1, a))) {
        assert!(!town.reaches(from, address), "{address} is of the other room");
    }
    let members = |machine: usize| town.status(machine)["members"].as_array().unwrap().len();
    assert_eq!((0..8).map(members).collect::<BTreeSet<_>>(), BTreeSet::from([3]));
}

#[test]
fn a_relay_that_has_lost_everything_honours_what_members_had() {
    if !ready() {
        return;
    }
    let town = Town::new("lost", 3);
    let relay = town.relay(&["--auto-pool", "10.128.0.0-10.255.255.0/24"]);
    let clients: Vec<_> = (0..3).map(|machine| town.client(machine, "RED", &["--address", "auto"])).collect();
    let before: Vec<_> = (0..3).map(|machine| town.addresses(machine)[0].clone()).collect();
    relay.kill9();
    std::fs::remove_file(town.programs.state_dir(&town.relay_host).join("lanparty-relay-addresses.json")).unwrap();
    let _relay = town.relay(&["--auto-pool", "10.128.0.0-10.255.255.0/24"]);
    for (machine, client) in clients.iter().enumerate() {
        client.wait_for("again=true", SOON).unwrap();
        assert_eq!(town.addresses(machine)[0], before[machine]);
    }
}

#[test]
fn the_first_ping_comes_within_a_second_of_the_address() {
    if !ready() {
        return;
    }
    let town = Town::new("quick", 2);
    let _relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    let _other = town.client(0, "RED", &[]);
    let [other, _] = town.addresses(0);
    let target = other.split('/').next().unwrap().parse().unwrap();
    let client = town.client(1, "RED", &[]);
    client.wait_for("connected as peer", SOON).unwrap();
    let joined = Instant::now();
    client.wait_for("is set on lan0", SOON).unwrap();
    assert!(ping(&town.machines[1], target, 1).unwrap().received > 0);
    let took = joined.elapsed();
    println!("{took:?} from joining to the first answer");
    // How late this machine is for its own business: a sleep and the start of a program, of which a ping is one.
    let idle = Instant::now();
    town.machines[1].run(&["true"]).unwrap();
    thread::sleep(Duration::from_millis(400));
    let late = idle.elapsed().saturating_sub(Duration::from_millis(400));
    if took > FIRST_PING_WITHIN && late > Duration::from_millis(100) {
        return println!("inconclusive: this machine is {late:?} late by itself");
    }
    assert!(took <= FIRST_PING_WITHIN, "{took:?}, while this machine is {late:?} late by itself");
}

#[test]
fn conflicts_are_found_and_said_and_the_relay_gives_another_address() {
    if !ready() {
        return;
    }
    let town = Town::new("conflict", 3);
    let relay = town.relay(&["--auto-pool", "10.200.7.0/29"]);
    // Whoever comes next would get one of five; this one has four of them, set by hand.
    let taken: Vec<String> = (2..6).map(|n| format!("static:10.200.7.{n}/29")).collect();
    let words: Vec<&str> = taken.iter().flat_map(|one| ["--address", one]).collect();
    let first = town.client(0, "RED", &words);
    for one in taken.iter().filter_map(|one| one.strip_prefix("static:")) {
        first.wait_for(&format!("address {one} (static) is set on lan0"), SOON).unwrap();
    }
    // The same by hand: asked for, answered, not set, and said on both sides.
    let second =
        town.client(1, "RED", &["--address", "static:10.200.7.5/29", "--address", "static:192.168.8.5", "--address", "static:fd00:1::6"]);
    let said = second.wait_for("address-conflict: the machine with MAC", SOON).unwrap();
    assert!(
        said.contains("has 10.200.7.5/29 (static), which is not set here") && said.contains(&town.machines[0].mac(TAP).unwrap()),
        "{said}"
    );
    second.wait_for("address 192.168.8.5/24 (static) is set on lan0", SOON).unwrap();
    let state = |origins: &[Value]| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        origins.iter().map(|one| (text(&one["address"]), text(&one["state"]))).collect()
    };
    let states = state(&town.origins(1));
    assert_eq!((&*states["10.200.7.5/29"], &*states["192.168.8.5/24"]), ("taken", "set"));
    assert!(!town.kernel(1).contains("10.200.7.5"));
    eventually("IPv6 by hand", || (state(&town.origins(1)).get("fd00:1::6/64")? == "set").then_some(()));
    // Of the relay: it gives others until one is free.
    let third = town.client(2, "RED", &["--address", "auto"]);
    let [free, _] = town.addresses(2);
    assert_eq!(free, "10.200.7.6/29", "{}", third.tail());
    println!("{}", relay.wait_for("is used by the machine with MAC", SOON).unwrap_or_else(|_| "the first one was free".to_owned()));
    third.sigterm();
    third.exit_code(SOON).unwrap();
}

#[test]
fn a_network_that_the_machine_is_in_is_moved_or_refused_and_an_exhausted_one_is_said() {
    if !ready() {
        return;
    }
    let town = Town::new("meets", 7);
    let relay = town.relay(&["--auto-pool", "10.200.6.0-10.200.7.0/29"]);
    town.machines[0].ip("addr add 10.200.6.9/24 dev wan").unwrap();
    let _first = town.client(0, "RED", &[]);
    assert!(town.addresses(0)[0].starts_with("10.200.7."), "moved away from its own network");
    town.machines[1].ip("addr add 10.200.7.250/24 dev wan").unwrap();
    let second = town.client(1, "RED", &[]);
    let said = second.wait_for("no-address: the room's network 10.200.7.", SOON).unwrap();
    println!("{said}");
    assert!(said.contains("meets 10.200.7.0/24"));
    relay.wait_for("no IPv4 address for peer", SOON).unwrap();
    let rest: Vec<_> = (2..7).map(|machine| town.client(machine, "RED", &["--address", "auto"])).collect();
    // Five addresses: one machine has one already, and four more get one.
    let exhausted = || rest.iter().find_map(|client| client.lines().into_iter().find(|line| line.contains("is exhausted: 5 members")));
    println!("{}", eventually("the fifth reads that there is no more", exhausted));
    let has_one = |machine: &usize| town.origins(*machine).iter().any(|one| one["address"].as_str().unwrap().contains('.'));
    eventually("four more have one", || ((2..7).filter(has_one).count() == 4).then_some(()));
}

#[test]
fn what_the_client_has_set_goes_with_it_and_what_others_have_set_stays_theirs() {
    if !ready() {
        return;
    }
    let town = Town::new("theirs", 1);
    let _relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    let up = town.programs.state_dir(&town.machines[0]).with_extension("up");
    std::fs::write(&up, "#!/bin/sh\nip address add 192.168.9.9/24 dev $LANPARTY_INTERFACE\n").unwrap();
    std::fs::set_permissions(&up, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let down = up.with_extension("down");
    let seen = up.with_extension("seen");
    std::fs::write(&down, format!("#!/bin/sh\nip -4 address show dev $LANPARTY_INTERFACE >{}\n", seen.display())).unwrap();
    std::fs::set_permissions(&down, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (up, down) = (up.display().to_string(), down.display().to_string());
    let client =
        town.client(0, "RED", &["--up", &up, "--down", &down, "--address", "static:192.168.9.9/24", "--address", "static:192.168.8.8"]);
    client.wait_for("cannot set the address 192.168.9.9/24 on lan0: it is there already", SOON).unwrap();
    client.wait_for("address 192.168.8.8/24 (static) is set", SOON).unwrap();
    client.sigterm();
    assert_eq!(client.exit_code(SOON).unwrap(), 0, "{}", client.tail());
    let left = std::fs::read_to_string(&seen).unwrap();
    assert!(left.contains("192.168.9.9/24") && !left.contains("192.168.8.8"), "theirs: {left}");
}

#[test]
fn words_that_are_no_address_are_refused_before_anything_is_changed() {
    if !ready() {
        return;
    }
    let town = Town::new("words", 1);
    let machine = &town.machines[0];
    let common = ["lanparty", "client", "--relay", programs::RELAY, "--room", "RED"];
    for (more, why) in [
        (&["--address", "static:192.168.8.5/33"][..], "has 1 to 32 bits, not 33"),
        (&["--address", "static:192.168.8.0"], "is the network 192.168.8.0/24 itself"),
        (&["--address", "static:192.168.8.255"], "is the broadcast address of 192.168.8.0/24"),
        (&["--address", "auto", "--address", "auto"], "--address auto is said twice"),
        (&["--dhcp", "--address", "none"], "--address none is said beside another address"),
        (&["--mac", "ff:ff:ff:ff:ff:ff"], "stands for a group of machines"),
        (&["--mac", "00:12:34:56:78:9a"], "or say --allow-global-mac"),
    ] {
        let output = town.programs.run(machine, &[&common, more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{more:?}: {}", output.stderr);
    }
    let pool = town.programs.run(machine, &["lanparty-relay", "--auto-pool", "10.0.0.0-10.0.0.5/24"]);
    assert!(pool.status.code() == Some(2) && pool.stderr.contains("is no pool of addresses"), "{}", pool.stderr);
    let listed = town.programs.run(machine, &["lanparty", "adapters", "--json"]).success().unwrap();
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let of = |name: &str| listed.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!((&of("wan")["gateway"], &of("wan")["uplink"], &of("wan")["kind"]), (&true.into(), &true.into(), &"Ethernet".into()));
    assert_eq!((&of("lo")["gateway"], &of("lo")["uplink"]), (&false.into(), &false.into()));
}

#[test]
fn a_tap_that_the_administrator_made_is_used_without_root_and_metrics_are_kept() {
    if !ready() {
        return;
    }
    let town = Town::new("given", 2);
    let _relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    let [given, other] = [&town.machines[0], &town.machines[1]];
    given.ip("tuntap add dev mine mode tap user 65534").unwrap();
    given.ip("link set mine address 02:00:00:00:00:07 up").unwrap();
    given.ip("address add 10.66.0.1/24 dev mine").unwrap();
    let _other = town.client(1, "RED", &["--address", "static:10.66.0.2/24", "--metric", "77"]);
    for dir in [town.programs.state_dir(given), town.programs.runtime_dir(given)] {
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
    }
    // On a machine without udev only root may open the node of the driver: this program alone has another one in its place.
    let node = town.programs.state_dir(given).join("tun");
    let as_user = format!(
        "mknod -m 666 {node} c 10 200 && mount --bind {node} /dev/net/tun && \
         exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \"$@\"",
        node = node.display()
    );
    let user = ["sh", "-c", &as_user, "sh"];
    let client = town.programs.program(given, "lanparty").arg("client").args(town.programs.member_options("RED")).behind(&user);
    let client = given.spawn(client.args(["--no-direct", "--address", "none", "--tap-name", "mine"])).unwrap();
    client.wait_for("TAP is up", SOON).unwrap();
    client.wait_for("prepared TAP adapter mine: MAC 02:00:00:00:00:07 ", SOON).unwrap();
    client.wait_for("Address set: 10.66.0.1", SOON).unwrap();
    let ping = given.run_any(&["ping", "-n", "-c", "2", "-i", "0.2", "-w", "15", "-I", "mine", "10.66.0.2"]).unwrap();
    assert!(ping.status.success(), "{}", client.tail());
    let seen = other.ip(&format!("neigh show 10.66.0.1 dev {TAP}")).unwrap().stdout;
    assert!(seen.contains("02:00:00:00:00:07"), "{seen}");
    let routes = other.ip(&format!("route show dev {TAP}")).unwrap().stdout;
    assert_eq!(routes.lines().filter(|route| route.contains("metric 77")).count(), 3, "its network and both of game discovery: {routes}");
    client.sigterm();
    assert_eq!(client.exit_code(SOON).unwrap(), 0, "{}", client.tail());
    assert!(given.ip("link show mine").unwrap().stdout.contains("NO-CARRIER"), "it stays, unplugged");
}

#[test]
fn a_room_with_a_gateway_keeps_its_lans_addresses() {
    if !ready() {
        return;
    }
    let town = Town::new("gateway", 3);
    let _relay = town.relay(&["--auto-pool", "10.200.7.0/24"]);
    let gateway = &town.machines[0];
    gateway.ip("link add lan type veth peer name far").unwrap();
    gateway.ip("link set lan up").unwrap();
    gateway.ip("link set far up").unwrap();
    let _gateway = town.programs.gateway(gateway);
    let silent = town.client(1, programs::ROOM, &[]);
    silent.wait_for("Connected to LAN gateway", SOON).unwrap();
    assert!(town.origins(1).is_empty() && !town.kernel(1).contains("inet "), "{}", silent.tail());
    let insisting = town.client(2, programs::ROOM, &["--address", "auto"]);
    assert!(town.addresses(2)[0].starts_with("10.200.7."), "{}", insisting.tail());
}

#[test]
fn a_tap_is_called_after_its_room_and_by_no_name_that_is_taken() {
    if !ready() {
        return;
    }
    let town = Town::new("tapname", 1);
    let _relay = town.relay(&["--auto-pool", "10.128.0.0/24"]);
    let machine = &town.machines[0];
    let start = |instance: &str| {
        let client = town.programs.program(machine, "lanparty").named(instance).arg("client").args(town.programs.member_options("RED"));
        let client = client.env("LANPARTY_STATE_DIR", town.programs.state_dir(machine).join(instance));
        let client = machine.spawn(client.args(["--no-direct", "--address", "none"])).unwrap();
        client.wait_for("TAP is up", SOON).unwrap();
        let prepared = client.wait_for("prepared TAP adapter", SOON).unwrap();
        let name = prepared.split("prepared TAP adapter ").nth(1).unwrap().split(':').next().unwrap().to_owned();
        (client, name)
    };
    let mac_digits = |name: &str| machine.mac(name).unwrap()[12..].replace(':', "");

    let (first, name) = start("first");
    assert_eq!(name, "lp-red");
    assert_eq!(town.status(0)["interface"], "lp-red");
    let adapters = town.programs.run(machine, &["lanparty", "adapters", "--json"]).success().unwrap().stdout;
    let adapters: Vec<Value> = serde_json::from_str(&adapters).unwrap();
    assert!(adapters.iter().any(|one| one["name"] == "lp-red" && one["tap"] == true), "{adapters:?}");

    let (second, of_second) = start("second");
    assert_eq!(of_second, format!("lp-red-{}", mac_digits(&of_second)), "{}", second.tail());
    second.sigterm();
    assert_eq!(second.exit_code(SOON).unwrap(), 0, "{}", second.tail());
    let (_second, again) = start("second");
    assert_eq!(again, of_second, "the same at every start");

    first.sigterm();
    assert_eq!(first.exit_code(SOON).unwrap(), 0, "{}", first.tail());
    machine.ip("link add lp-red type bridge").unwrap();
    let (_first, beside) = start("first");
    assert_eq!(beside, format!("lp-red-{}", mac_digits(&beside)));
    assert!(machine.ip("-d link show lp-red").unwrap().stdout.contains("bridge"), "what others made is left alone");
}
