//! The groups of one member.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lanparty_proto::{Control, Frame, GROUPS_MAX, GroupKind, MemberId, MulticastUse};

/// The multicast groups that a member gets, beside those that everybody gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum GroupSet {
    /// All: it has said nothing, or listens to more than are told apart.
    #[default]
    All,
    /// These.
    These(BTreeSet<IpAddr>),
}

impl GroupSet {
    /// As it came on the control stream. More than [`GROUPS_MAX`] are all there are.
    #[must_use]
    pub fn of(groups: Option<&[IpAddr]>) -> Self {
        match groups.filter(|groups| groups.len() <= GROUPS_MAX) {
            Some(groups) => Self::These(groups.iter().copied().filter(|group| group.is_multicast()).collect()),
            None => Self::All,
        }
    }

    /// As it goes there.
    #[must_use]
    pub fn message(&self, id: Option<MemberId>) -> Control {
        let groups = match self {
            Self::All => None,
            Self::These(groups) => Some(groups.iter().copied().collect()),
        };
        Control::Groups { id, groups }
    }

    /// Whether the member gets frames to this group.
    #[must_use]
    pub fn has(&self, group: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::These(groups) => groups.contains(&group),
        }
    }

    /// For people and programs; nothing when it is all.
    #[must_use]
    pub fn list(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::All => None,
            Self::These(groups) => Some(groups.iter().copied().collect()),
        }
    }
}

/// The group that this frame is for, when only those get it that joined it.
#[must_use]
pub(crate) fn joined_group(frame: &Frame<'_>) -> Option<IpAddr> {
    match MulticastUse::of(frame) {
        Some(MulticastUse::Group(group)) if GroupKind::of(group) == GroupKind::Joined => Some(group),
        _ => None,
    }
}
