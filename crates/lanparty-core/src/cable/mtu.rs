//! The LAN MTU of a cable: the smaller of what both directions take, and of what both owners want. The end that was dialled
//! decides and tells the other, so that the two never differ for longer than a message takes.

use std::time::Instant;

use lanparty_proto::{DatagramBudget, LanMtu};

use crate::LanMtuAgreement;

/// The agreement, at the end that decides.
#[derive(Clone, Debug)]
pub struct CableMtu {
    agreement: LanMtuAgreement,
    /// What the owners want at most.
    cap: LanMtu,
}

impl CableMtu {
    /// A new cable whose directions take `budgets`. Nothing when one of them is too small for any Ethernet.
    #[must_use]
    pub fn new(budgets: [DatagramBudget; 2], caps: [Option<LanMtu>; 2]) -> Option<Self> {
        let cap = caps.into_iter().flatten().min().unwrap_or(LanMtu::MAX);
        Some(Self { agreement: LanMtuAgreement::new(allowed(budgets)?.min(cap)), cap })
    }

    /// The LAN MTU in force.
    #[must_use]
    pub const fn agreed(&self) -> LanMtu {
        self.agreement.agreed()
    }

    /// The directions take `budgets` now. The new LAN MTU, when the change has lasted; a path that takes nothing says nothing.
    pub fn observe(&mut self, budgets: [DatagramBudget; 2], now: Instant) -> Option<LanMtu> {
        let allowed = allowed(budgets)?.min(self.cap);
        self.agreement.observe(allowed, now)
    }
}

fn allowed([out, back]: [DatagramBudget; 2]) -> Option<LanMtu> {
    Some(out.lan_mtu()?.min(back.lan_mtu()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GROW_HOLD, SHRINK_HOLD};

    fn budgets(out: u16, back: u16) -> [DatagramBudget; 2] {
        [DatagramBudget(out + 17), DatagramBudget(back + 17)]
    }

    fn mtu(bytes: u16) -> LanMtu {
        LanMtu::new(bytes).unwrap()
    }

    #[test]
    fn the_smaller_direction_and_the_smaller_wish_decide() {
        let agreed = |out, back, caps: [Option<u16>; 2]| {
            CableMtu::new(budgets(out, back), caps.map(|c| c.and_then(LanMtu::new))).map(|m| m.agreed())
        };
        assert_eq!(agreed(1417, 1317, [None, None]), Some(mtu(1317)));
        assert_eq!(agreed(1417, 1417, [Some(1400), Some(1280)]), Some(mtu(1280)));
        assert_eq!(agreed(1300, 1417, [Some(1400), None]), Some(mtu(1300)));
        assert_eq!(agreed(1417, 500, [None, None]), None, "no Ethernet fits");
    }

    #[test]
    fn a_change_of_either_direction_is_taken_when_it_has_lasted_and_never_above_the_wish() {
        let (mut cable, start) = (CableMtu::new(budgets(1417, 1417), [Some(mtu(1400)), None]).unwrap(), Instant::now());
        assert_eq!(cable.observe(budgets(1417, 1300), start), None);
        assert_eq!(cable.observe([DatagramBudget(0), DatagramBudget(1434)], start + SHRINK_HOLD), None, "a dead path says nothing");
        assert_eq!(cable.observe(budgets(1417, 1300), start + SHRINK_HOLD), Some(mtu(1300)));
        let later = start + 2 * SHRINK_HOLD;
        assert_eq!(cable.observe(budgets(1417, 1417), later), None);
        assert_eq!(cable.observe(budgets(1417, 1417), later + GROW_HOLD), Some(mtu(1400)));
        assert_eq!(cable.agreed(), mtu(1400));
    }
}
