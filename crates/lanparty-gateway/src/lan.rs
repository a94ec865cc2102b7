//! The LAN side: the interface that was asked for, checked before anybody hears of us, and opened again after it was away.

use lanparty_nic::{FactsError, LinkState, PacketError, PacketSocket, check_lan_interface, interface_facts, list_interfaces};
use lanparty_node::{AsyncDevice, ExitCode, Fault, Written};
use lanparty_proto::{DropReason, LAN_MTU_MIN, MacAddr};

/// What is known of the LAN's cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LanState {
    pub(crate) link: LinkState,
}

impl LanState {
    pub(crate) fn is_up(self) -> bool {
        self.link == LinkState::Up
    }

    pub(crate) const fn in_words(self) -> &'static str {
        match self.link {
            LinkState::Up => "up",
            LinkState::NoCarrier => "without carrier: its cable is unplugged",
            LinkState::Down => "switched off",
            LinkState::Gone => "gone",
        }
    }
}

/// What the interface's own settings say of the LAN.
pub(crate) struct Lan {
    pub(crate) mac: MacAddr,
    /// The largest IP packet that the interface carries, in bytes.
    pub(crate) mtu: u32,
}

/// Looks at the interface, or says why it cannot be the LAN's.
pub(crate) fn check(interface: &str) -> Result<Lan, Fault> {
    let failed = |e: FactsError| {
        let advice = match e {
            FactsError::OtherNamespace { .. } => {
                "start it where /sys belongs to the same network namespace: `ip netns exec NAME lanparty-gateway …`, or `unshare --mount` and a new sysfs on /sys"
            }
            _ => "mount sysfs: mount -t sysfs sysfs /sys",
        };
        Fault::new(ExitCode::Unexpected, format!("cannot look at the interfaces: {e}"), advice)
    };
    let facts = interface_facts(interface).map_err(failed)?;
    let all = list_interfaces().map_err(failed)?;
    check_lan_interface(&facts, &all).map_err(|unfit| Fault::new(ExitCode::Configuration, unfit.to_string(), ""))?;
    let unusable = |cause, advice| Fault::new(ExitCode::Configuration, cause, advice);
    let mac = facts.mac.ok_or_else(|| unusable(format!("{interface} has no MAC address"), "choose a wired Ethernet interface"))?;
    if facts.mtu < u32::from(LAN_MTU_MIN) {
        let cause = format!("{interface} carries packets of {} bytes only (its MTU); a LAN needs {LAN_MTU_MIN}", facts.mtu);
        return Err(unusable(cause, "raise it: ip link set dev INTERFACE mtu 1500"));
    }
    Ok(Lan { mac, mtu: facts.mtu })
}

/// Opens the interface for every frame on it.
pub(crate) fn open(interface: &str) -> Result<PacketSocket, Fault> {
    PacketSocket::open(interface).map_err(|e: PacketError| {
        let code = if e.is_usage() { ExitCode::Configuration } else { ExitCode::Permission };
        Fault::new(code, e.to_string(), "")
    })
}

/// The state of an open interface, or of one that may be back.
pub(crate) fn look(interface: &str, open: Option<&PacketSocket>) -> (LanState, Option<AsyncDevice<PacketSocket>>) {
    if let Some(link) = open.map(PacketSocket::link).filter(|link| *link != LinkState::Gone) {
        return (LanState { link }, None);
    }
    let reopened = PacketSocket::open(interface).ok().and_then(|socket| Some((socket.link(), AsyncDevice::new(socket).ok()?)));
    match reopened {
        Some((link, device)) => (LanState { link }, Some(device)),
        None => (LanState { link: LinkState::Gone }, None),
    }
}

/// Why not everything entered the LAN; nothing when it did.
pub(crate) fn why_unsent(written: &Written) -> Option<String> {
    match (&written.failed, written.unsent.first(), written.left) {
        (Some(e), ..) => Some(e.to_string()),
        (None, Some((_, DropReason::DeviceError)), _) => Some("the interface refuses the frame".to_owned()),
        (None, None, 0) => None,
        _ => Some("the interface is busy".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lanparty_nic::DeviceFault;

    use super::*;

    #[test]
    fn what_did_not_enter_the_lan_is_said_by_its_cause() {
        let why = |left, failed: Option<DeviceFault>, unsent: &[DropReason]| {
            let unsent = unsent.iter().map(|reason| (Bytes::new(), *reason)).collect();
            why_unsent(&Written { left, failed: failed.map(Into::into), unsent })
        };
        assert_eq!(why(0, None, &[]), None);
        assert_eq!(why(1, None, &[]).as_deref(), Some("the interface is busy"));
        assert_eq!(why(0, None, &[DropReason::QueueFull]).as_deref(), Some("the interface is busy"));
        assert_eq!(why(0, None, &[DropReason::DeviceError]).as_deref(), Some("the interface refuses the frame"));
        assert_eq!(why(1, Some(DeviceFault::Down), &[]).as_deref(), Some("the interface is down"));
    }
}
