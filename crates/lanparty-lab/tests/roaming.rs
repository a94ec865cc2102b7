//! A client behind every kind of NAT, and one whose way to the relay becomes another one while it plays (RELIABILITY.md, F6 to F8 and
//! F13). Each test prints what it measured and asserts twice the goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was measured is printed")]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lanparty_lab::{
    Household, HouseholdOptions, NatKind, Party, PartyOptions, Probe, ProbeReport, Proc, Program, Requirements, Tool, Uplink, WAN, ping,
    ping_with,
};
use serde_json::Value;
use support::flow::transfer;
use support::outage::{LEAD, Outage, without_arp};
use support::{Evening, Members, RELAY, TAP, alone, eventually, leased_address, promised, promised_after};

/// An address with which nobody is reached by accident.
const NAME: &str = "relay.example.net:8443";

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ready() -> bool {
    Requirements::party().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip()
}

/// An evening whose client is in a household.
struct Away {
    household: Household,
    members: Members,
    before: [Value; 3],
    lan_mtu: u64,
    marks: [usize; 2],
    evening: Evening,
}

impl Away {
    fn new(name: &str, kind: NatKind) -> Self {
        let (evening, household) = Self::at(name, kind, HouseholdOptions::default());
        // Whoever comes from another address has to reach the thread that it was at.
        let members = evening.all_at(evening.relay_with(&["--listen", "0.0.0.0:8443", "--threads", "4"]));
        Self::settle(evening, household, members)
    }

    /// The place alone.
    fn at(name: &str, kind: NatKind, options: HouseholdOptions) -> (Evening, Household) {
        let evening = Evening::with(name, &PartyOptions::default());
        let party = &evening.party;
        let household = Household::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3], kind, options).unwrap();
        (evening, household)
    }

    fn settle(evening: Evening, household: Household, members: Members) -> Self {
        without_arp(&evening, members.address);
        let before = who(&evening);
        let marks = [members.client.mark(), members.relay.mark()];
        let lan_mtu = evening.status(&evening.party.home)["lan_mtu"].as_u64().unwrap();
        Self { household, members, before, lan_mtu, marks, evening }
    }

    /// What carries the membership now.
    fn way(&self) -> Value {
        self.evening.status(&self.evening.party.home)["way"]["carrier"].clone()
    }

    /// It plays on as who it was.
    fn is_the_same(&self) {
        assert_eq!(ping(self.evening.party.pc(1), self.members.address, 3).unwrap().received, 3);
        assert_eq!(who(&self.evening), self.before, "number, MAC and addresses");
        self.is_as_large();
    }

    /// Frames are as large as ever, when the room knows the size of the new path. An IPv6 header is 20 bytes longer, and
    /// the search for the size stops within 8.
    fn is_as_large(&self) {
        let started = Instant::now();
        eventually("frames as large as the LAN MTU pass", || {
            let lan_mtu = self.evening.status(&self.evening.party.home)["lan_mtu"].as_u64().unwrap();
            let payload = (lan_mtu - 28).to_string();
            let large = ping_with(self.evening.party.pc(1), self.members.address, 2, &["-s", &payload, "-M", "do"]);
            lan_mtu + 28 >= self.lan_mtu && large.is_ok_and(|large| large.received == 2)
        });
        println!("large frames pass after {:?}", started.elapsed());
    }

    /// Nobody noticed: no join, neither here nor at the relay.
    fn stayed_joined(&self) {
        for (program, mark, words) in
            [(&self.members.client, self.marks[0], "joining again"), (&self.members.relay, self.marks[1], "accepted")]
        {
            let said = program.lines().into_iter().skip(mark).find(|line| line.contains(words));
            assert_eq!(said, None, "{}", program.tail());
        }
        assert_eq!(self.way(), "quic");
        self.is_the_same();
    }

    fn joined_again(&self) {
        promised_after(&self.members.client, self.marks[0], "again=true");
        promised_after(&self.members.relay, self.marks[1], "accepted Client peer ... resumed=true");
        self.is_the_same();
    }
}

/// The port that the household's router has given to the client.
fn external_port(household: &Household) -> u16 {
    let listed = household.router.run(&["conntrack", "-L", "-p", "udp"]).unwrap().stdout;
    let flow = listed.lines().find(|line| line.contains("dport=8443")).unwrap_or_else(|| panic!("no flow in {listed}"));
    flow.rsplit_once("dport=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no port in {flow}"))
}

fn who(evening: &Evening) -> [Value; 3] {
    let status = evening.status(&evening.party.home);
    ["peer", "mac", "addresses"].map(|key| status[key].clone())
}

#[test]
fn through_every_kind_of_nat_a_client_joins_and_plays_by_quic() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let evening = Evening::new("kinds");
    let (party, _relay) = (&evening.party, evening.relay());
    let _gateway = evening.gateway();
    let households = NatKind::ALL.into_iter().zip(31..).map(|(kind, number)| {
        Household::attach(&party.lab, &party.internet, &format!("h{number}"), number, kind, HouseholdOptions::default()).unwrap()
    });
    let mut before: Option<Ipv4Addr> = None;
    let mut clients: Vec<(Household, Proc)> = vec![];
    for household in households {
        let (kind, host, started) = (household.kind, &household.host, Instant::now());
        let client = evening
            .program(host, "lanparty")
            .named("client")
            .args(["client", "--tap-name", TAP])
            .args(evening.join_options(host))
            .arg("--dhcp");
        let client = host.spawn(client).unwrap();
        let address = leased_address(&client, 0);
        let joined = started.elapsed();
        let [up, down] = [transfer(host, party.pc(1), Party::pc_address(1), 300_000), transfer(party.pc(1), host, address, 300_000)];
        println!("{kind:16}a lease after {joined:?}, 300 kB to the LAN in {up:?}, from it in {down:?}");
        assert_eq!(evening.status(host)["way"]["carrier"], "quic", "{kind}");
        if let Some(before) = before.replace(address) {
            assert_eq!(ping(host, before, 3).unwrap().received, 3, "{kind}: to the household before");
        }
        clients.push((household, client));
    }
}

#[test]
fn f7_an_idle_client_whose_nat_forgot_it_is_found_again() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let mut away = Away::new("idle", NatKind::PortRestricted);
    let (home, pc, address) = (&away.evening.party.home, away.evening.party.pc(1), away.members.address);
    let probe = Probe { duration: secs(3), ..Probe::default() };
    for silence in [secs(3), Duration::from_millis(700)] {
        // Nothing but heartbeats, and the NAT forgets between two of them.
        thread::sleep(silence);
        let port = external_port(&away.household);
        away.household.rebind().unwrap();
        let report = probe.run(pc, home, address).unwrap();
        let outage = report.outage(&probe);
        println!("F7 NAT rebound, the client says nothing: outage {outage:?}, {} of {} came", report.received(), report.sent);
        assert!(outage <= 2 * Duration::from_millis(1500), "{outage:?}");
        assert_ne!(external_port(&away.household), port);
    }
    away.stayed_joined();
}

#[test]
fn f7_under_load_a_nat_that_forgot_is_hardly_noticed() {
    if !ready() {
        return;
    }
    let _alone = alone();
    for kind in [NatKind::PortRestricted, NatKind::Symmetric] {
        let mut away = Away::new("load", kind);
        let (home, pc, address) = (&away.evening.party.home, away.evening.party.pc(1), away.members.address);
        // 10 Mbit/s each way.
        let probe = Probe { rate: 1000, payload: 1250, duration: secs(5), ..Probe::default() };
        let port = external_port(&away.household);
        let [up, down] = thread::scope(|scope| {
            let up = scope.spawn(|| probe.run(home, pc, Party::pc_address(1)).unwrap());
            let down = scope.spawn(|| probe.run(pc, home, address).unwrap());
            thread::sleep(4 * LEAD);
            away.household.rebind().unwrap();
            [up, down].map(|way| way.join().unwrap())
        });
        let outage = |report: &ProbeReport| report.outage(&probe);
        println!("F7 NAT rebound under 10 Mbit/s, {kind}: outage up {:?}, down {:?}", outage(&up), outage(&down));
        println!("F7 came up {} of {}, down {} of {}", up.received(), up.sent, down.received(), down.sent);
        assert!(outage(&up).max(outage(&down)) <= secs(1), "{:?}", outage(&down));
        assert_eq!(up.duplicates() + down.duplicates(), 0);
        assert_ne!(external_port(&away.household), port);
        away.stayed_joined();
    }
}

#[test]
fn f8_a_client_with_another_address_goes_on() {
    if !ready() {
        return;
    }
    let _alone = alone();
    for kind in [NatKind::PortRestricted, NatKind::Open] {
        let mut away = Away::new("address", kind);
        let (outage, ()) = Outage::measure(&away.evening, away.members.address, secs(6), || away.household.change_address().unwrap());
        println!("F8 another IPv4 address, {kind}: outage {:?}, lost {:?}; then by {}", outage.longest(), outage.lost(), away.way());
        assert!(outage.longest() <= 2 * secs(2), "{:?}", outage.longest());
        outage.assert_no_duplicates();
        away.stayed_joined();
    }
}

#[test]
fn f8_a_client_that_loses_ipv4_goes_on_by_ipv6() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let options = HouseholdOptions { ipv6: true, ..HouseholdOptions::default() };
    let (evening, household) = Away::at("v4-v6", NatKind::PortRestricted, options);
    evening.party.internet.attach_ipv6(&evening.party.relay, WAN, 1).unwrap();
    let relay = evening.relay_with(&["--listen", "[::]:8443"]);
    let gateway = evening.gateway();
    // A network without IPv6, which becomes one without IPv4.
    let (home, router) = (evening.party.home.clone(), "2001:db8:97:1e::1");
    home.ip("-6 route del default").unwrap();
    let client = client_by_name(&evening);
    let address = leased_address(&client, 0);
    let away = Away::settle(evening, household, Members { relay, gateway, client, address });
    promised(&away.members.relay, "accepted Client peer ... remote=10.99.0.30:");
    let (outage, ()) = Outage::measure(&away.evening, address, secs(8), || {
        away.household.lose_ipv4().unwrap();
        home.ip(&format!("-6 route add default via {router}")).unwrap();
    });
    println!("F8 from IPv4 to IPv6: outage {:?}, lost {:?}; then by {}", outage.longest(), outage.lost(), away.way());
    assert!(outage.longest() <= 2 * secs(5), "{:?}", outage.longest());
    outage.assert_no_duplicates();
    assert_eq!(away.way(), "quic", "the other address of the relay is tried by UDP at once");
    away.is_the_same();
}

/// A client with a lease that knows the relay by a name with an address of either family.
fn client_by_name(evening: &Evening) -> Proc {
    let home = &evening.party.home;
    let hosts = evening.dir(home).join("hosts");
    fs::write(&hosts, "10.99.0.1 relay.example.net\n2001:db8:99::1 relay.example.net\n").unwrap();
    let bind = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let options = evening.join_options(home).into_iter().map(|option| if option == RELAY { NAME.to_owned() } else { option });
    let starter = Program::new("unshare").named("client").args(["-m", "sh", "-c", &bind, "-"]).arg(evening.path("lanparty"));
    let dir = evening.dir(home);
    let starter = starter.env("LANPARTY_STATE_DIR", dir.join("state")).env("LANPARTY_RUNTIME_DIR", dir.join("run")).dir(dir);
    home.spawn(starter.args(["client", "--tap-name", TAP]).args(options).arg("--dhcp")).unwrap()
}

#[test]
fn f8_a_client_whose_uplink_becomes_another_one_goes_on_by_that() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let away = Away::new("uplinks", NatKind::PortRestricted);
    let party = &away.evening.party;
    // A telephone beside the household's network, which is not used while there is that.
    party.internet.attach_interface(&party.lab, &party.home, "phone", 40, &Uplink::default()).unwrap();
    party.home.ip("route del 10.99.0.0/24 dev phone").unwrap();
    party.home.ip("route add default dev phone metric 200").unwrap();
    let (outage, ()) = Outage::measure(&away.evening, away.members.address, secs(8), || party.home.link_up(WAN, false).unwrap());
    println!("F8 another uplink: outage {:?}, lost {:?}; then by {}", outage.longest(), outage.lost(), away.way());
    assert!(outage.longest() <= 2 * secs(2), "{:?}", outage.longest());
    outage.assert_no_duplicates();
    away.stayed_joined();
}

#[test]
fn f8_a_client_whose_uplink_is_made_anew_goes_on_by_that() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let away = Away::new("anew", NatKind::Open);
    let party = &away.evening.party;
    let (outage, ()) = Outage::measure(&away.evening, away.members.address, secs(8), || {
        party.home.ip(&format!("link del dev {WAN}")).unwrap();
        party.internet.attach(&party.lab, &party.home, 40, &Uplink::default()).unwrap();
    });
    println!("F8 an uplink of the same name: outage {:?}, lost {:?}; then by {}", outage.longest(), outage.lost(), away.way());
    assert!(outage.longest() <= 2 * secs(2), "{:?}", outage.longest());
    outage.assert_no_duplicates();
    away.stayed_joined();
}

#[test]
fn f13_a_client_that_slept_is_back_as_who_it_was() {
    if !ready() {
        return;
    }
    let _alone = alone();
    let mut away = Away::new("sleep", NatKind::PortRestricted);
    away.members.client.pause();
    thread::sleep(secs(29));
    // Longer than many a NAT remembers.
    away.household.rebind().unwrap();
    let (outage, woke) = Outage::measure(&away.evening, away.members.address, secs(8), || {
        away.members.client.resume();
        Instant::now()
    });
    let after = outage.after(woke);
    println!("F13 asleep for 30 s: back {after:?} after waking; {:?} stale frames", outage.stale());
    assert!(after <= 2 * secs(3), "{after:?}");
    outage.assert_no_duplicates();
    away.joined_again();
}
