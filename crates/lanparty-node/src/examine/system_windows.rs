//! Windows has no capabilities of Linux, and its version says nothing of a path.

pub(super) const fn release() -> Option<String> {
    None
}

pub(super) const fn can_net_admin() -> Option<bool> {
    None
}

pub(super) const fn can_net_raw() -> Option<bool> {
    None
}
