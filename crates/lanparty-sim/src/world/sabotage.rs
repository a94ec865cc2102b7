//! Faults built in on purpose, to prove that the invariants notice them. They sit between the machines, never in them.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// The switch floods unicast.
    FloodUnicast,
    /// The switch forwards broadcasts to another room as well.
    LeakToOtherRoom,
    /// The switch forwards frames whose source it should have refused.
    NoSourceCheck,
    /// The switch sends a broadcast back to its sender.
    EchoToSender,
    /// One delivery in twenty is made twice.
    DuplicateDelivery,
    /// One delivery in twenty loses a bit.
    AlterPayload,
    /// One delivery in twenty vanishes without being counted.
    SilentDrop,
    /// Members do not hear that somebody left.
    DeafToFarewells,
    /// Members do not hear of a new LAN MTU.
    DeafToLanMtu,
    /// The relay is not told that a connection ended.
    ImmortalMembers,
    /// Members do not come back after an outage.
    NoReturn,
    /// Members do not hear that somebody joined.
    DeafToNewcomers,
    /// The queue toward a member is not bounded.
    EndlessQueue,
}

impl Sabotage {
    /// Every fault.
    pub const ALL: &[Self] = &[
        Self::FloodUnicast,
        Self::LeakToOtherRoom,
        Self::NoSourceCheck,
        Self::EchoToSender,
        Self::DuplicateDelivery,
        Self::AlterPayload,
        Self::SilentDrop,
        Self::DeafToFarewells,
        Self::DeafToLanMtu,
        Self::ImmortalMembers,
        Self::NoReturn,
        Self::DeafToNewcomers,
        Self::EndlessQueue,
    ];
}
