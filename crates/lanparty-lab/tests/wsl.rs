//! The story of WSL2, with traffic: its `eth0` has copied a VPN's MTU of 1,280, and Hyper-V's NAT behind it drops fragments,
//! although it carries 1,500 bytes. A tunnel that trusts in fragments hangs there; with `--fix-underlay` the same passes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use lanparty_lab::sizes::{Fate, Probe, Traffic};
use lanparty_lab::{
    End, Narrow, Party, PartyOptions, Proc, Program, Requirements, Routers, Tool, WAN, address, ping_with, transfer_within,
};

#[path = "support/programs.rs"]
mod programs;

use programs::{Programs, ROOM, SOON};

/// The remote player in the LAN.
const PLAYER: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 50);
/// The ends of a tunnel that takes no measures: at the player's, and at the venue's gateway.
const NAIVE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];
/// As large as a small map of a game.
const MAP_LEN: usize = 1_000_000;
/// A transfer in which nothing moves for so long hangs.
const PATIENCE: Duration = Duration::from_secs(3);

/// A LAN party, and a remote player under WSL2.
struct Story {
    programs: Programs,
    /// Makes the kernel call itself WSL2's.
    as_wsl: String,
    party: Party,
}

impl Story {
    fn new() -> Self {
        let party = Party::build("wsl", &PartyOptions::default()).unwrap();
        let hyper_v = Narrow::put_before(&party.lab, &party.internet, &party.home, 30).unwrap();
        hyper_v.set_routers(Routers::DropFragments).unwrap();
        party.home.ip(&format!("link set dev {WAN} mtu 1280")).unwrap();
        let version = party.lab.dir().join("version");
        naive_tunnel(&party);
        std::fs::write(&version, "Linux version 5.15.167.4-microsoft-standard-WSL2 (gcc 11.2.0) #1 SMP\n").unwrap();
        let as_wsl = format!("mount --bind {} /proc/version && exec \"$@\"", version.display());
        Self { programs: Programs::new(&party.lab), as_wsl, party }
    }

    /// The player's client, connected and with an address in the LAN.
    fn client(&self, more: &[&str]) -> Proc {
        let program = Program::new("unshare").args(["-m", "sh", "-c", &self.as_wsl, "-"]);
        let program = program
            .arg(self.programs.path("lanparty"))
            .args(["client", "--tap-name", programs::TAP])
            .args(self.programs.member_options(ROOM))
            .args(more);
        let client = self.party.home.spawn(self.programs.with_files_of(&self.party.home, program.named("client"))).unwrap();
        client.wait_for("TAP is up", SOON).unwrap();
        address(End::new(&self.party.home, programs::TAP), &format!("{PLAYER}/24")).unwrap();
        client
    }

    fn end(client: &Proc) {
        client.sigterm();
        client.exit_code(SOON).unwrap();
    }

    fn mtu(&self) -> String {
        let link = self.party.home.ip(&format!("link show {WAN}")).unwrap().stdout;
        link.split(" mtu ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }

    /// How many of five echoes of so many bytes of ICMP payload come back through the naive tunnel.
    fn echoes(&self, len: &str) -> u32 {
        ping_with(&self.party.home, NAIVE[1], 5, &["-s", len]).unwrap().received
    }

    /// Through the naive tunnel.
    fn transfer(&self) -> Result<Duration> {
        transfer_within(&self.party.home, &self.party.gateway, NAIVE[1].into(), MAP_LEN, PATIENCE)
    }

    /// To a host of the LAN, through lanparty.
    fn transfer_to_lan(&self) -> Result<Duration> {
        transfer_within(&self.party.home, self.party.pc(1), Party::pc_address(1).into(), MAP_LEN, PATIENCE)
    }

    /// The tunnel hangs as the article tells it: what is small passes, so that nothing seems to be wrong.
    fn hangs(&self) {
        assert_eq!((self.echoes("56"), self.echoes("1300")), (5, 0));
        let stuck = format!("{:#}", self.transfer().unwrap_err());
        assert!(stuck.contains("stuck after"), "{stuck}");
    }
}

/// Ethernet in UDP as the kernel has it: as large as an ordinary wire carries, without DF (RFC 7348 §4.3).
fn naive_tunnel(party: &Party) {
    let ends = [(&party.home, Party::HOME, Party::GATEWAY, NAIVE[0]), (&party.gateway, Party::GATEWAY, Party::HOME, NAIVE[1])];
    for (host, local, remote, inside) in ends {
        host.ip(&format!("link add naive0 type vxlan id 1 dstport 4789 local {local} remote {remote}")).unwrap();
        host.ip("link set dev naive0 mtu 1400 up").unwrap();
        address(End::new(host, "naive0"), &format!("{inside}/24")).unwrap();
        // The kernel's tunnels tell TCP what the interface below takes; one in user space, as the article's, cannot.
        host.ip("route replace 10.77.0.0/24 dev naive0 mtu lock 1400").unwrap();
    }
}

#[test]
fn what_hangs_under_wsl2_passes_with_its_interface_repaired() {
    if !Requirements::party().and(&[Tool::Nft, Tool::Ping]).ready_or_skip() {
        return;
    }
    let story = Story::new();
    let udp = Probe { traffic: Traffic::Udp, from: &story.party.home, to: &story.party.relay, target: Party::RELAY.into() };
    // Frames of 14 bytes more than IP packets: 1,252 and 1,253 bytes of UDP payload, without DF.
    let at_the_edge = || [1294, 1295].map(|len| udp.send(len).unwrap());
    assert_eq!(at_the_edge(), [Fate::Whole, Fate::Silent]);
    story.hangs();
    let _relay = story.programs.relay(&story.party.relay);
    let _gateway = story.programs.gateway(&story.party.gateway);

    let careful = story.client(&[]);
    story.transfer_to_lan().unwrap();
    assert_eq!(story.mtu(), "1280", "nothing is changed without consent");
    story.hangs();
    Story::end(&careful);

    let repaired = story.client(&["--fix-underlay"]);
    assert_eq!(story.mtu(), "1500");
    assert_eq!(at_the_edge(), [Fate::Whole; 2]);
    assert_eq!((story.echoes("56"), story.echoes("1300")), (5, 5));
    story.transfer().unwrap();
    story.transfer_to_lan().unwrap();
    Story::end(&repaired);
    assert_eq!(story.mtu(), "1280", "undone on exit");
    story.hangs();
}
