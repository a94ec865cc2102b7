//! Frames put on an interface exactly as they are.

use bytes::Bytes;
use lanparty_lab::Namespace;
use lanparty_nic::{Device, Tap, TapConfig};

/// Sends frames by an interface of a host, exactly as they are: neither padded nor refused for their size.
///
/// What is written into a TAP arrives at this host; from there the traffic control redirects it to the interface, beside everything that
/// would judge it. On the way the kernel takes a VLAN tag off the bytes and carries it beside them, as network cards do.
pub(crate) struct Injector {
    tap: Tap,
}

impl Injector {
    pub(crate) fn plug(host: &Namespace, interface: &str) -> Self {
        let name = format!("in-{interface}");
        let tap = host.enter(|| Tap::create(&TapConfig { name: name.clone(), ..TapConfig::default() })).unwrap().unwrap();
        host.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        host.link_up(&name, true).unwrap();
        host.run(&["tc", "qdisc", "add", "dev", &name, "ingress"]).unwrap();
        let filter = format!(
            "tc filter add dev {name} parent ffff: protocol all prio 1 u32 match u8 0 0 at -14 action mirred egress redirect dev {interface}"
        );
        host.run(&filter.split(' ').collect::<Vec<_>>()).unwrap();
        Self { tap }
    }

    /// Whether the kernel took the frame: it takes none that is shorter than its own header.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        let refused = self.tap.stats().refused;
        assert_eq!(self.tap.send_batch(&[Bytes::copy_from_slice(frame)]).unwrap(), 1);
        self.tap.stats().refused == refused
    }
}
