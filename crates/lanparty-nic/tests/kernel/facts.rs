//! Interface facts and thread settings against the real kernel.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use lanparty_nic::{FactsError, UnfitInterface, check_lan_interface, interface_facts, list_interfaces, realtime};

use crate::namespace::{in_namespace, ip, tap, with_own_sysfs};

#[test]
fn the_kernels_own_interfaces_are_told_apart() {
    in_namespace(|| {
        with_own_sysfs();
        let _tap = tap("lanparty0", Ipv4Addr::new(10, 9, 0, 1));
        ip("link add br0 type bridge");
        ip("link add port0 type veth peer name far0");
        ip("link set port0 master br0");
        ip("link add lan0 type veth peer name far1");
        for up in ["br0", "port0", "far0", "lan0"] {
            ip(&format!("link set {up} up"));
        }
        // A bridge and a cable report their carrier a moment after the last end came up.
        let connected = |name: &str| interface_facts(name).unwrap().carrier == Some(true);
        assert!((0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            connected("br0") && connected("far0")
        }));
        let all = list_interfaces().unwrap();
        let verdict = |name: &str| check_lan_interface(&interface_facts(name).unwrap(), &all);
        assert_eq!(verdict("br0"), Ok(()));
        assert_eq!(verdict("far0"), Ok(()));
        assert!(matches!(verdict("lo"), Err(UnfitInterface::Loopback { .. })));
        assert!(matches!(verdict("lanparty0"), Err(UnfitInterface::TunTap { .. })));
        assert!(matches!(verdict("port0"), Err(UnfitInterface::BridgePort { bridge, .. }) if bridge == "br0"));
        assert!(matches!(verdict("far1"), Err(UnfitInterface::Down { .. })));
        assert!(verdict("lan0").unwrap_err().to_string().contains("reports no carrier"));
        let missing = verdict("eth0").unwrap_err();
        assert_eq!(missing, UnfitInterface::Missing { name: "eth0".to_owned(), candidates: vec!["br0".to_owned(), "far0".to_owned()] });
    });
}

#[test]
fn a_sysfs_of_another_namespace_is_not_believed() {
    in_namespace(|| {
        ip("link add lanparty-none0 type bridge");
        assert!(matches!(interface_facts("lanparty-none0"), Err(FactsError::OtherNamespace { .. })));
    });
}

#[test]
fn a_thread_enters_a_namespace_and_takes_priority() {
    in_namespace(|| {
        let name = format!("nic-test-{}", std::process::id());
        ip(&format!("netns add {name}"));
        let path = PathBuf::from("/run/netns").join(&name);
        let entered = std::thread::spawn(move || {
            realtime::enter_netns(&path).unwrap();
            ip("link add only-here type bridge");
            realtime::set_timer_slack_ns(1).unwrap();
            realtime::set_fifo_priority(10).map_err(|e| e.raw_os_error())
        });
        let priority = entered.join();
        ip(&format!("netns delete {name}"));
        assert!(matches!(priority.unwrap(), Ok(()) | Err(Some(libc::EPERM))));
        assert!(realtime::enter_netns(&PathBuf::from("/nowhere")).is_err());
        assert!(realtime::set_fifo_priority(1000).is_err());
    });
}
