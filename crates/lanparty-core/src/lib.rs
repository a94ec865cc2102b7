//! The state machines of lanparty: what a relay's switch, a member's two directions, the room's LAN MTU, the sampled
//! frame log and the diagnostics decide. Pure: bytes, time and randomness come in as arguments, decisions go out.
//!
//! Files in packet order: a frame leaves a member through [`Outbound`], crosses the relay's [`Relay::forward`], and
//! enters another member through [`Inbound`]. ARCHITECTURE.md walks the numbered stations.

#![deny(clippy::iter_over_hash_type)]
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "a test counts from some instant"))]

mod address_conflict;
mod addresses;
mod announce;
mod backoff;
mod bond;
mod bridged;
mod cable;
mod climb;
mod counters;
mod delay_control;
mod diagnostics;
mod echo;
mod fair_queue;
mod filter;
mod flight;
mod frame_log;
mod inbound;
mod ladder;
mod lan_hosts;
mod lan_mtu;
mod limiter;
mod mac_moves;
mod multicast;
mod neighbours;
mod outbound;
mod own_addresses;
mod pairs;
mod path_sense;
mod path_size;
mod relay;
mod room_rules;
mod roster;
mod side_by_side;
mod watch;
mod ways;
mod words;

pub use address_conflict::{AddressConflict, AddressNews, ConflictOutput};
pub use addresses::{AddressBook, AddressPool, Asked, AskedLease, InvalidPool, Leases, NoAddress};
pub use announce::{ANNOUNCE_INTERVAL, AnnounceReason, Announcement, Announcer};
pub use backoff::Backoff;
pub use bond::{
    Arrival, CapUse, Choice, Class, DEAD_AFTER_MIN, Judged, Liveness, Month, MonthlyUse, PathRecord, PathView, Redundancy, Repeats,
    RestoreReport, Restorer, Sequencer, answer_time, choose, patience,
};
pub use bridged::BridgedTap;
pub use cable::{CableEnd, CableGuard, CableInbound, CableLoops, CableMtu, CableOutbound, Contact, LoopNews, LoopReport};
pub use climb::Climb;
pub use counters::{Counters, CountersSnapshot, Drops};
pub use delay_control::{Acked, DelayControl};
pub use diagnostics::{ClientFacts, Diagnostics};
pub use echo::{EchoEvent, EchoOutput, Heard, Ping, PingPlan, PingReport, Sweep, SweepReport};
pub use fair_queue::{CODEL_INTERVAL, CODEL_TARGET, Discarded, EGRESS_AGE_MAX, EGRESS_BYTES_MAX, EGRESS_FRAMES_MAX, FairQueue};
pub use filter::{
    Filter, FilterReport, FilterRule, FilterRules, FilterTooLong, Judgement, Net, PortRange, Protocol, RULES_MAX, RuleError, RuleHits,
    RuleNumber, Verdict, Why,
};
pub use flight::Flight;
pub use frame_log::{FrameLog, FrameRecord};
pub use inbound::Inbound;
pub use ladder::LadderCounters;
pub use lan_mtu::{GROW_HOLD, LanMtuAgreement, SHRINK_HOLD, WAY_HOLD, WayThere};
pub use limiter::{BumLimits, Limits, MemberLimiter, Rate, TokenBucket};
pub use mac_moves::{MacMoves, Moved, Side};
pub use multicast::{GroupSet, Listeners, ListenersOutput, RefusedGroup, RefusedGroups};
pub use neighbours::{Neighbours, SIGN_INTERVAL, SIGN_INTERVAL_WATCHED};
pub use outbound::{Outbound, OutboundWork};
pub use own_addresses::OwnAddresses;
pub use pairs::{Pair, PairUse, UPLINKS_MAX, tries_of_round};
pub use path_sense::{FALLEN_REST, Padding, PathFacts, PathSense, Sensed};
pub use path_size::PathSize;
pub use relay::{
    Copies, Delivery, INTRODUCTIONS_MAX, LinkId, MEMBERS_MAX, MemberReport, Place, Relay, RelayConfig, RelayEvent, RelayInput, RelayOutput,
    RoomReport, RoomSummary, StandbyReport, TrafficReport, worth_trying,
};
pub use room_rules::{
    InvalidPattern, Listed, PATTERN_LEN_MAX, PasswordCheck, ProvenUser, RoomName, RoomNets, RoomPattern, RoomRule, RoomRules, RoomUser,
    StormLimits,
};
pub use roster::Roster;
pub use side_by_side::SideBySide;
pub use watch::{DhcpOutcome, Point, SeenSearch, Watch};
pub use ways::{Carrier, Step, WayFacts, Ways};
pub use words::one_line;
