//! The kernel, and what it lets this process do (capabilities(7)).

use rustix::thread::CapabilitySet;

pub(super) fn release() -> Option<String> {
    rustix::system::uname().release().to_str().ok().map(str::to_owned)
}

pub(super) fn can_net_admin() -> Option<bool> {
    has(CapabilitySet::NET_ADMIN)
}

pub(super) fn can_net_raw() -> Option<bool> {
    has(CapabilitySet::NET_RAW)
}

fn has(capability: CapabilitySet) -> Option<bool> {
    rustix::thread::capabilities(None).ok().map(|all| all.effective.contains(capability))
}
