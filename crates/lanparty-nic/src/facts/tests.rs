use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// A directory laid out like `/sys/class/net`.
struct FakeSysfs(tempfile::TempDir);

impl FakeSysfs {
    fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fs::write(fake.0.path().join("bonding_masters"), "bond0\n").unwrap();
        fake
    }

    /// An interface that is up, with a carrier, and has `extra` directories or files.
    fn interface(self, name: &str, arphrd: u16, flags: i32, carrier: &str, extra: &[&str]) -> Self {
        let dir = self.0.path().join(name);
        fs::create_dir(&dir).unwrap();
        let index = fs::read_dir(self.0.path()).unwrap().count().to_string();
        let arphrd = arphrd.to_string();
        let flags = format!("{flags:#x}");
        let files = [
            ("ifindex", index.as_str()),
            ("address", "02:00:00:00:00:07"),
            ("mtu", "1500"),
            ("type", &arphrd),
            ("flags", &flags),
            ("carrier", carrier),
            ("operstate", "up"),
            ("uevent", "INTERFACE=x"),
        ];
        for (file, text) in files {
            fs::write(dir.join(file), format!("{text}\n")).unwrap();
        }
        for directory in extra {
            fs::create_dir_all(dir.join(directory)).unwrap();
        }
        self
    }

    fn link(self, name: &str, file: &str, target: &str) -> Self {
        symlink(target, self.0.path().join(name).join(file)).unwrap();
        self
    }

    fn facts(&self, name: &str) -> InterfaceFacts {
        interface_facts_in(self.0.path(), name).unwrap()
    }

    fn verdict(&self, name: &str) -> Result<(), String> {
        check_lan_interface(&self.facts(name), &list_interfaces_in(self.0.path()).unwrap()).map_err(|e| e.to_string())
    }
}

const UP: i32 = libc::IFF_UP | libc::IFF_BROADCAST;

fn machine() -> FakeSysfs {
    FakeSysfs::new()
        .interface("lo", 772, libc::IFF_UP | libc::IFF_LOOPBACK, "1", &[])
        .interface("eth0", 1, UP, "1", &[])
        .interface("eth1", 1, UP, "0", &[])
        .interface("eth2", 1, libc::IFF_BROADCAST, "", &[])
        .interface("eth3", 1, UP, "1", &["brport"])
        .link("eth3", "brport/bridge", "../../br0")
        .link("eth3", "master", "../br0")
        .interface("br0", 1, UP, "1", &["bridge"])
        .interface("wlan0", 1, UP, "1", &["phy80211", "wireless"])
        .interface("lanparty0", 1, UP, "1", &["tun_flags"])
        .interface("ppp0", 512, UP, "1", &[])
        .interface("eth4", 1, UP, "1", &[])
        .link("eth4", "master", "../bond0")
        .interface("bond0", 1, UP, "1", &["bonding"])
}

#[test]
fn an_interface_is_read_from_sysfs() {
    let facts = machine().facts("eth0");
    assert!(facts.exists && facts.is_up && facts.index > 0 && !facts.is_loopback && !facts.is_bridge);
    assert_eq!((facts.mtu, facts.arphrd, facts.carrier, facts.operstate.as_str()), (1500, 1, Some(true), "up"));
    assert_eq!(facts.mac, Some(MacAddr([2, 0, 0, 0, 0, 7])));
    let machine = machine();
    assert!(machine.facts("br0").is_bridge && machine.facts("bond0").is_bond && machine.facts("lanparty0").is_tun_tap);
    assert_eq!(machine.facts("eth3").bridge_master.as_deref(), Some("br0"));
    assert_eq!(machine.facts("eth4").other_master.as_deref(), Some("bond0"));
}

#[test]
fn only_interfaces_are_listed() {
    let names: Vec<String> = list_interfaces_in(machine().0.path()).unwrap().into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["bond0", "br0", "eth0", "eth1", "eth2", "eth3", "eth4", "lanparty0", "lo", "ppp0", "wlan0"]);
}

#[test]
fn a_missing_sysfs_is_an_error_and_a_missing_interface_a_fact() {
    assert!(matches!(interface_facts_in(Path::new("/nowhere"), "eth0"), Err(FactsError::Sysfs { .. })));
    let machine = machine();
    for name in ["eth9", "", "../eth0", "bonding_masters"] {
        assert!(!machine.facts(name).exists, "{name}");
    }
}

#[test]
fn every_unfit_interface_is_refused_with_its_cause_and_what_to_use() {
    let machine = machine();
    let candidates = "candidates: `bond0`, `br0`, `eth0`";
    let expected = [
        ("eth9", format!("there is no interface `eth9`; {candidates}")),
        ("lo", format!("`lo` is the loopback interface and leads to no LAN; {candidates}")),
        ("lanparty0", format!("`lanparty0` is a TUN/TAP interface, a tunnel's own end and not a LAN; {candidates}")),
        ("eth3", "`eth3` is a port of the bridge `br0`: use `br0`".to_owned()),
        ("eth4", "`eth4` is a part of `bond0`: use `bond0`".to_owned()),
        (
            "wlan0",
            format!(
                "`wlan0` is Wi-Fi: 802.11 cannot carry foreign source MACs, so the LAN would never hear the members; use a cable; {candidates}"
            ),
        ),
        ("ppp0", format!("`ppp0` is not Ethernet (link type 512); {candidates}")),
        ("eth1", format!("`eth1` reports no carrier: plug the cable in, or switch on what is at its other end; {candidates}")),
        ("eth2", format!("`eth2` is down: switch it on with `ip link set eth2 up`; {candidates}")),
    ];
    for (name, text) in expected {
        assert_eq!(machine.verdict(name), Err(text));
    }
    for fit in ["eth0", "br0", "bond0"] {
        assert_eq!(machine.verdict(fit), Ok(()));
    }
}

#[test]
fn the_interface_of_a_vlan_is_as_fit_as_any() {
    let machine = machine().interface("eth0.5", 1, UP, "1", &["lower_eth0"]);
    fs::write(machine.0.path().join("eth0.5/uevent"), "DEVTYPE=vlan\nINTERFACE=eth0.5\n").unwrap();
    assert!(machine.facts("eth0.5").is_vlan);
    assert_eq!(machine.verdict("eth0.5"), Ok(()));
}

/// A laptop with containers: what they are wired with leads to no LAN.
#[test]
fn only_what_has_hardware_behind_it_is_offered_where_there_is_any() {
    let laptop = || {
        FakeSysfs::new()
            .interface("wlan0", 1, UP, "1", &["phy80211", "device"])
            .link("wlan0", "device/driver", "/x/iwlwifi")
            .interface("docker0", 1, UP, "1", &["bridge", "brif/veth1"])
            .interface("veth1", 1, UP, "1", &["brport"])
            .link("veth1", "brport/bridge", "../../docker0")
            .interface("veth2", 1, UP, "1", &[])
    };
    assert!(laptop().verdict("wlan0").unwrap_err().ends_with("no other interface here is up, wired and connected"));
    let with_cable = laptop()
        .interface("eth0", 1, UP, "1", &["device"])
        .link("eth0", "device/driver", "/x/e1000e")
        .interface("eth1", 1, UP, "1", &["device", "brport"])
        .link("eth1", "device/driver", "/x/e1000e")
        .link("eth1", "brport/bridge", "../../br0")
        .interface("br0", 1, UP, "1", &["bridge", "brif/eth1"]);
    assert!(with_cable.verdict("wlan0").unwrap_err().ends_with("candidates: `br0`, `eth0`"));
}

#[test]
fn where_nothing_would_do_that_is_said() {
    let machine = FakeSysfs::new().interface("lo", 772, libc::IFF_UP | libc::IFF_LOOPBACK, "1", &[]);
    assert!(machine.verdict("eth0").unwrap_err().ends_with("no other interface here is up, wired and connected"));
}
