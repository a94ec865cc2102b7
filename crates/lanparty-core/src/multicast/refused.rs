//! Groups that did not pass, for people: which, whose, and how often.

use lanparty_proto::{Frame, MacAddr, MulticastUse};
use serde::Serialize;

/// Groups that are remembered. Who meets more has seen the pattern.
const GROUPS_KEPT: usize = 16;

/// A group that did not pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct RefusedGroup {
    /// The group's IP address; for what is no IP, the MAC address.
    pub group: String,
    /// Who sent to it first.
    pub from: MacAddr,
    /// Frames.
    pub frames: u64,
}

/// Those of one direction.
#[derive(Default)]
pub struct RefusedGroups {
    groups: Vec<RefusedGroup>,
    /// How many of them have been spoken of.
    told: usize,
}

impl RefusedGroups {
    /// This frame did not pass.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        let Ok(frame) = Frame::parse(bytes) else { return };
        let group = match MulticastUse::of(&frame) {
            Some(MulticastUse::Group(group)) => group.to_string(),
            // Who listens to what does not pass is no news.
            Some(MulticastUse::Report | MulticastUse::Query) | None => return,
            _ => frame.dst().to_string(),
        };
        if let Some(known) = self.groups.iter_mut().find(|known| known.group == group) {
            known.frames += 1;
        } else if self.groups.len() < GROUPS_KEPT {
            self.groups.push(RefusedGroup { group, from: frame.src(), frames: 1 });
        }
    }

    /// Those that nobody was told of yet.
    pub fn take_news(&mut self) -> &[RefusedGroup] {
        let news = self.groups.get(self.told..).unwrap_or_default();
        self.told = self.groups.len();
        news
    }

    /// All that are remembered.
    #[must_use]
    pub fn list(&self) -> &[RefusedGroup] {
        &self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(group: u8) -> Vec<u8> {
        let header = [0x45, 0, 0, 20, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 239, 0, 0, group];
        [&[1, 0, 0x5e, 0, 0, group, 2, 0, 0, 0, 0, 1, 8, 0][..], &header].concat()
    }

    #[test]
    fn each_group_is_told_once_and_not_all_are_kept() {
        let mut refused = RefusedGroups::default();
        refused.note(&udp(7));
        refused.note(&udp(7));
        assert_eq!(refused.take_news(), [RefusedGroup { group: "239.0.0.7".into(), from: MacAddr([2, 0, 0, 0, 0, 1]), frames: 2 }]);
        assert_eq!(refused.take_news(), []);
        (0..=255).for_each(|group| refused.note(&udp(group)));
        assert_eq!((refused.list().len(), refused.take_news().len()), (GROUPS_KEPT, GROUPS_KEPT - 1));
    }
}
