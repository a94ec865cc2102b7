//! The size matrix: what becomes of frames of every size between the client and a LAN host, over wires of every width.
//!
//! The promise is that no frame vanishes because of its size. So each probe ends in a [`Verdict`]: the frame arrived, or its sender
//! was told, or a counter of `lanparty status` says why not. Silence that nothing explains is a failure, and so is an answer that is
//! wrong: a frame within the LAN MTU arrives, and who is told is told the LAN MTU.
//!
//! The narrow link is in the middle of the client's way to the relay ([`Narrow`](crate::Narrow)), where neither of them sees it.

use std::fmt;

use anyhow::Result;

use crate::link::Offloads;
use crate::topology::{Party, PartyOptions, Routers};

mod probe;
mod room;
mod table;

pub use probe::{Fate, Probe};
pub use table::table;

/// The wires: Ethernet, PPPoE, WireGuard over either family, a tunnel in a tunnel, mobile networks, the least that IPv6 allows.
pub const WIRE_MTUS: [u16; 6] = [1500, 1492, 1420, 1400, 1300, 1280];

/// Ethernet header and the largest packet behind it.
const FRAME_LEN_MAX: usize = 1514;
const ETHERNET_HEADER_LEN: usize = 14;
/// Frames of a plan besides those at the LAN MTU's edge.
const FRAMES_FULL: [usize; 13] = [60, 64, 78, 128, 256, 576, 1000, 1200, 1280, 1294, 1400, 1492, 1500];
const FRAMES_SHORT: [usize; 4] = [60, 128, 576, 1294];
/// Bytes of a TCP transfer: many segments, and some round trips of slow start.
const TRANSFER_LEN_FULL: usize = 1_000_000;
const TRANSFER_LEN_SHORT: usize = 200_000;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// TCP over IPv4: a transfer that must complete, bit by bit.
    Tcp,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over IPv4 that may be fragmented.
    Udp,
    /// UDP over IPv4 with DF, as Linux sends it by default.
    UdpDf,
    /// UDP over IPv6, which only its sender may fragment; it does not here.
    UdpV6,
    /// ICMP echo with DF, as `ping -M do`.
    Echo,
}

impl Traffic {
    /// In the order in which they are sent: TCP first, before anything told a host what fits.
    pub const ALL: [Self; 6] = [Self::Tcp, Self::TcpV6, Self::Udp, Self::UdpDf, Self::UdpV6, Self::Echo];

    const fn is_v6(self) -> bool {
        matches!(self, Self::TcpV6 | Self::UdpV6)
    }

    const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpV6)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::TcpV6 => "TCP, IPv6",
            Self::Udp => "UDP",
            Self::UdpDf => "UDP with DF",
            Self::UdpV6 => "UDP, IPv6",
            Self::Echo => "echo with DF",
        }
    }
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The client, from its TAP.
    ToLan,
    /// A LAN host, whose interface takes 1,500 bytes whatever the room agrees on.
    ToClient,
}

impl Way {
    const ALL: [Self; 2] = [Self::ToLan, Self::ToClient];

    const fn title(self) -> &'static str {
        match self {
            Self::ToLan => "to the LAN",
            Self::ToClient => "to the client",
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived, every byte of it; perhaps in fragments.
    Whole,
    /// Its sender knows that it is too large, and what is not.
    Told,
    /// It was dropped, and this reason in `lanparty status` counts it.
    Counted(String),
    /// None of these; in words.
    Unexplained(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Told => f.write_str("told"),
            Self::Counted(reason) => write!(f, "counted as `{reason}`"),
            Self::Unexplained(what) => write!(f, "UNEXPLAINED: {what}"),
        }
    }
}

/// What one kind of traffic met in one direction, by the length of the frame, in ascending order. TCP has one entry, for what a
/// sender on Ethernet would send at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What was sent.
    pub traffic: Traffic,
    /// By whom.
    pub way: Way,
    /// What became of it.
    pub outcomes: Vec<(usize, Verdict)>,
}

/// What was measured over one wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// IP packets longer than this do not pass the narrow link.
    pub wire_mtu: u16,
    /// What its routers do with them.
    pub routers: Routers,
    /// What the room agreed on.
    pub lan_mtu: u16,
    /// All traffic that such a room can have: below 1,280 there is no IPv6.
    pub cells: Vec<Cell>,
}

impl Row {
    /// Every frame that vanished, in words. Empty is what was promised.
    pub fn unexplained(&self) -> Vec<String> {
        let of_cell = |cell: &Cell| {
            let place = format!("wire {} ({}), {} {}", self.wire_mtu, self.routers, cell.traffic.title(), cell.way.title());
            let lost = cell.outcomes.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Unexplained(_)));
            lost.map(|(len, verdict)| format!("{place}, frame of {len} bytes: {verdict}")).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of_cell).collect()
    }
}

/// How much is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    frames: Vec<usize>,
    transfer_len: usize,
}

impl Plan {
    /// Every size of the table.
    pub fn full() -> Self {
        Self { frames: FRAMES_FULL.into(), transfer_len: TRANSFER_LEN_FULL }
    }

    /// The sizes at which things change: for every day.
    pub fn short() -> Self {
        Self { frames: FRAMES_SHORT.into(), transfer_len: TRANSFER_LEN_SHORT }
    }

    /// The frames to send in a room, with those around the largest that fits and the largest that Ethernet has.
    fn frames(&self, lan_mtu: u16) -> Vec<usize> {
        let edge = usize::from(lan_mtu) + ETHERNET_HEADER_LEN;
        let mut frames = [&self.frames[..], &[edge - 1, edge, edge + 1, FRAME_LEN_MAX]].concat();
        frames.sort_unstable();
        frames.dedup();
        frames
    }
}

/// Sends everything over a wire of this MTU, with its routers in each of their moods: one party, three rows. `lan` says whether the
/// network cards of the LAN merge and split packets.
pub fn measure(wire_mtu: u16, lan: Offloads, plan: &Plan) -> Result<Vec<Row>> {
    let party = Party::build(&format!("sizes-{wire_mtu}"), &PartyOptions { lan, ..PartyOptions::default() })?;
    let room = room::Room::open(&party, wire_mtu)?;
    Routers::ALL.into_iter().map(|routers| room.measure(routers, plan)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_always_has_the_edges_once_and_in_order() {
        let frames = Plan::full().frames(1386);
        assert_eq!(&frames[frames.len() - 6..], [1399, 1400, 1401, 1492, 1500, 1514]);
        assert!(frames.is_sorted_by(|a, b| a < b), "{frames:?}");
    }

    #[test]
    fn what_vanished_is_said_with_its_place() {
        let outcomes = vec![(60, Verdict::Whole), (1400, Verdict::Unexplained("silence".into()))];
        let cell = Cell { traffic: Traffic::UdpDf, way: Way::ToLan, outcomes };
        let row = Row { wire_mtu: 1400, routers: Routers::Silent, lan_mtu: 1317, cells: vec![cell] };
        assert_eq!(row.unexplained(), ["wire 1400 (ICMP filtered), UDP with DF to the LAN, frame of 1400 bytes: UNEXPLAINED: silence"]);
    }
}
