//! What `lanparty status` hears of the frames of a member.

use lanparty_core::{Counters, CountersSnapshot, FilterReport, LadderCounters};
use lanparty_nic::Device;
use serde::Serialize;

use super::MemberDriver;
use super::groups::MulticastReport;

/// Counters of both directions, for `lanparty status`.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct DriverReport {
    /// From the device to the room.
    pub outbound: CountersSnapshot,
    /// From the room to the device.
    pub inbound: CountersSnapshot,
    /// What became of frames that were too large.
    pub ladder: LadderCounters,
    /// Frames that wait for the path.
    pub queued: usize,
    /// Largest datagram the path takes now, in bytes.
    pub budget: u16,
    /// Nothing is carried, because the device is bridged to the gateway's LAN.
    pub is_bridged: bool,
    /// Which multicast passes, and what did not.
    pub multicast: MulticastReport,
    /// What the traffic filter did, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterReport>,
}

impl<D: Device> MemberDriver<D> {
    /// What was counted.
    #[must_use]
    pub fn report(&mut self) -> DriverReport {
        self.count_directly_dropped();
        DriverReport {
            outbound: self.outbound.counters().snapshot(),
            inbound: self.inbound.counters().snapshot(),
            ladder: self.outbound.ladder(),
            queued: self.pending.len() + self.peers.waiting(),
            budget: self.connected.as_ref().map_or(0, |c| c.budget.0),
            is_bridged: self.is_bridged,
            multicast: self.multicast_report(),
            filter: self.outbound.filter().zip(self.inbound.filter()).map(|(out, into)| FilterReport::of(out, into)),
        }
    }

    /// Whether every frame is accounted for.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let whole = |c: &Counters, queued| c.is_conserved(queued);
        whole(self.outbound.counters(), 0) && whole(self.inbound.counters(), 0)
    }
}
