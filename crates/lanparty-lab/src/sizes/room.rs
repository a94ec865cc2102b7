//! The room in which everything is sent: a party whose client is behind a narrow link.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::probe::{Fate, Probe};
use super::{Cell, ETHERNET_HEADER_LEN, FRAME_LEN_MAX, Plan, Row, Traffic, Verdict, Way};
use crate::flow::transfer_within;
use crate::link::{End, address};
use crate::process::Proc;
use crate::programs::Programs;
use crate::topology::{LAN, Narrow, Party, Routers};

/// Anything that should happen promptly, on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// A transfer that stands still for so long hangs: three retransmissions and more.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a transfer is tried.
const TRANSFERS: u32 = 2;
/// The client's and the LAN host's addresses.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 73, 42, 99);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd42, 0, 0, 0, 0, 0, 0, 0x99);
const PC_V6: Ipv6Addr = Ipv6Addr::new(0xfd42, 0, 0, 0, 0, 0, 0, 0x11);
/// The least that IPv6 works with (RFC 8200 §5).
const IPV6_MTU_MIN: u16 = 1280;
/// Reasons that have to do with a frame's size.
const REASONS: [&str; 2] = ["TapMtuExceeded", "DatagramBudget"];

/// Relay and gateway, running, and the narrow link.
pub(super) struct Room<'a> {
    party: &'a Party,
    programs: Programs<'a>,
    narrow: Narrow,
    wire_mtu: u16,
    _running: [Proc; 2],
}

impl<'a> Room<'a> {
    pub(super) fn open(party: &'a Party, wire_mtu: u16) -> Result<Self> {
        let narrow = Narrow::put_before(&party.lab, &party.internet, &party.home, Party::HOME.octets()[3])?;
        narrow.set_mtu(wire_mtu)?;
        address(End::new(party.pc(1), LAN), &format!("{PC_V6}/64"))?;
        let programs = Programs::new(party)?;
        let relay = programs.relay()?;
        relay.wait_for("listening on", SOON)?;
        let gateway = programs.gateway()?;
        gateway.wait_for("bridging frames", SOON)?;
        Ok(Self { party, programs, narrow, wire_mtu, _running: [relay, gateway] })
    }

    /// A client joins over the wire as it is now, and everything is sent.
    pub(super) fn measure(&self, routers: Routers, plan: &Plan) -> Result<Row> {
        self.narrow.set_routers(routers)?;
        let client = self.programs.client(&[])?;
        client.wait_for("TAP is up", SOON)?;
        let lan_mtu = self.programs.settled_lan_mtu()?;
        let has_v6 = lan_mtu >= IPV6_MTU_MIN;
        let tap = End::new(&self.party.home, Programs::TAP);
        address(tap, &format!("{CLIENT_V4}/24"))?;
        if has_v6 {
            address(tap, &format!("{CLIENT_V6}/64"))?;
        }
        let mut cells = Vec::new();
        for traffic in Traffic::ALL.into_iter().filter(|traffic| has_v6 || !traffic.is_v6()) {
            for way in Way::ALL {
                cells.push(Cell { traffic, way, outcomes: self.outcomes(traffic, way, lan_mtu, plan)? });
            }
        }
        client.sigterm();
        client.exit_code(SOON)?;
        Ok(Row { wire_mtu: self.wire_mtu, routers, lan_mtu, cells })
    }

    fn outcomes(&self, traffic: Traffic, way: Way, lan_mtu: u16, plan: &Plan) -> Result<Vec<(usize, Verdict)>> {
        let probe = self.probe(traffic, way);
        if traffic.is_tcp() {
            return Ok(vec![(FRAME_LEN_MAX, self.transfer(&probe, plan)?)]);
        }
        let frames = plan.frames(lan_mtu).into_iter().filter(|len| probe.can_be(*len));
        frames.map(|len| Ok((len, self.verdict(&probe, way, len, lan_mtu)?))).collect()
    }

    fn probe(&self, traffic: Traffic, way: Way) -> Probe<'_> {
        let (home, pc) = (&self.party.home, self.party.pc(1));
        let (from, to, v4, v6) = match way {
            Way::ToLan => (home, pc, Party::pc_address(1), PC_V6),
            Way::ToClient => (pc, home, CLIENT_V4, CLIENT_V6),
        };
        let target = if traffic.is_v6() { IpAddr::V6(v6) } else { IpAddr::V4(v4) };
        Probe { traffic, from, to, target }
    }

    fn transfer(&self, probe: &Probe<'_>, plan: &Plan) -> Result<Verdict> {
        probe.from.sysctl("net/ipv4/route/flush", "1")?;
        let once = || transfer_within(probe.from, probe.to, probe.target, plan.transfer_len, PATIENCE);
        let outcome = (1..TRANSFERS).fold(once(), |outcome, _| outcome.or_else(|_| once()));
        Ok(outcome.map_or_else(|error| Verdict::Unexplained(format!("{error:#}")), |_| Verdict::Whole))
    }

    fn verdict(&self, probe: &Probe<'_>, way: Way, frame_len: usize, lan_mtu: u16) -> Result<Verdict> {
        let fits = frame_len <= usize::from(lan_mtu) + ETHERNET_HEADER_LEN;
        Ok(match probe.send(frame_len)? {
            Fate::Whole => Verdict::Whole,
            Fate::Told(mtu) if !fits && mtu == u32::from(lan_mtu) => Verdict::Told,
            Fate::Told(mtu) => Verdict::Unexplained(format!("its sender was told {mtu} where the LAN MTU is {lan_mtu}")),
            Fate::Silent if fits => Verdict::Unexplained("silence, though it fits".into()),
            Fate::Silent => self.counted(probe, way, frame_len)?,
        })
    }

    /// Sends a frame that vanished once more, and looks which counter moves where it entered.
    fn counted(&self, probe: &Probe<'_>, way: Way, frame_len: usize) -> Result<Verdict> {
        let before = self.drops(way)?;
        probe.send_once(frame_len)?;
        let after = self.drops(way)?;
        let moved = REASONS.into_iter().find(|reason| after.get(*reason) > before.get(*reason));
        Ok(moved.map_or_else(|| Verdict::Unexplained("silence, and no counter moved".into()), |reason| Verdict::Counted(reason.into())))
    }

    /// What the member at which frames of that way enter has dropped, by reason.
    fn drops(&self, way: Way) -> Result<BTreeMap<String, u64>> {
        let entrance = match way {
            Way::ToLan => "lanparty-client",
            Way::ToClient => "lanparty-gateway",
        };
        let all = self.programs.status()?;
        let one = all.iter().find(|one| one["program"] == entrance).with_context(|| format!("no status of {entrance}"))?;
        let dropped = one["frames"]["outbound"]["dropped"].as_object().with_context(|| format!("{entrance} has no counters"))?;
        dropped.iter().map(|(reason, count)| Ok((reason.clone(), count.as_u64().context("a counter that is no number")?))).collect()
    }
}
