//! One thing that happens. Members are named by any number, taken modulo how many there are, so that every transition
//! makes sense in every story.

use std::time::Duration;

use lanparty_proto::{DatagramBudget, MacAddr, MemberId, Role};

use crate::{Kind, MemberPlan, Rng, World};

/// Time for a trouble-maker to be refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// A stall that no heartbeat notices.
const STALL: Duration = Duration::from_millis(1500);
/// Time between two frames of a flow; storms are faster.
const PACE: Duration = Duration::from_micros(500);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Transition {
    /// A client, or a host of a gateway's LAN, sends frames to one other, who may be in another room.
    Unicast {
        from: u8,
        to: u8,
        frames: u8,
    },
    /// It sends frames to a host of a LAN.
    ToLanHost {
        from: u8,
        host: u8,
        frames: u8,
    },
    /// It sends frames to all.
    Broadcast {
        from: u8,
        frames: u8,
    },
    /// Hosts of a LAN talk among themselves, as the gateway overhears.
    LanChatter {
        gateway: u8,
        frames: u8,
    },
    /// A loop in a LAN sends a member's own frame back to the gateway.
    LanEcho {
        gateway: u8,
        member: u8,
    },
    Join(u8),
    Leave(u8),
    /// Vanishes without a word.
    Crash(u8),
    /// Vanishes and is back at once, as a new process.
    Restart(u8),
    CrashRelay {
        ms: u16,
    },
    /// A path is cut.
    Cut {
        member: u8,
        ms: u16,
    },
    /// A path loses and damages datagrams.
    Worsen {
        member: u8,
        ms: u16,
        loss_percent: u8,
        corrupt_percent: u8,
    },
    /// A path takes another size.
    Resize {
        member: u8,
        budget: u16,
    },
    /// The machine all of this runs on sleeps.
    Sleep {
        seconds: u8,
    },
    /// A member floods the room.
    Storm {
        member: u8,
        frames: u16,
    },
    /// A member takes nothing for a moment while another sends to it at full speed.
    Stall {
        member: u8,
        from: u8,
        frames: u16,
    },
    /// A member's program forges what it sends: somebody else's address, or number, or both.
    Forge {
        member: u8,
        victim: u8,
        number: bool,
        address: bool,
    },
    /// Somebody with a member's MAC address, and a second gateway, try to join.
    TroubleMakers,
    /// The carrier of a LAN.
    Lan {
        gateway: u8,
        up: bool,
    },
    Wait {
        ms: u16,
    },
    /// All faults end, and everybody is held to the promises.
    Settle,
}

impl Transition {
    /// Any of them.
    pub fn any(rng: &mut Rng) -> Self {
        let mut small = |end: u64| rng.below(end) as u8;
        let (member, other, frames, one_in_ten) = (small(250), small(250), 1 + small(20), small(10));
        let ms = 100 + rng.below(6_000) as u16;
        match rng.below(41) {
            0..=6 => Self::Unicast { from: member, to: other, frames },
            7..=9 => Self::ToLanHost { from: member, host: other, frames },
            10..=13 => Self::Broadcast { from: member, frames: frames.min(5) },
            14 => Self::LanChatter { gateway: member, frames },
            15 => Self::LanEcho { gateway: member, member: other },
            16..=17 => Self::Join(member),
            18 => Self::Leave(member),
            19 => Self::Crash(member),
            20..=21 => Self::Restart(member),
            22 => Self::CrashRelay { ms },
            23..=25 => Self::Cut { member, ms },
            26..=27 => Self::Worsen { member, ms, loss_percent: other % 60, corrupt_percent: frames },
            28..=29 => Self::Resize { member, budget: 650 + rng.below(870) as u16 },
            30 => Self::Sleep { seconds: 1 + one_in_ten },
            31 => Self::Storm { member, frames: 200 + rng.below(1500) as u16 },
            32..=33 => Self::Forge { member, victim: other, number: rng.below(2) == 0, address: rng.below(3) > 0 },
            40 => Self::Stall { member, from: other, frames: 300 + rng.below(1800) as u16 },
            34 if one_in_ten < 5 => Self::TroubleMakers,
            35 => Self::Lan { gateway: member, up: one_in_ten > 5 },
            36 if one_in_ten < 4 => Self::Settle,
            _ => Self::Wait { ms },
        }
    }

    /// Lets it happen.
    pub fn happen(self, world: &mut World, people: &[MemberPlan], rng: &mut Rng) {
        let honest: Vec<usize> = (0..people.len()).filter(|i| !people[*i].unwelcome).collect();
        let gateways: Vec<usize> = honest.iter().copied().filter(|i| people[*i].role == Role::Gateway).collect();
        let who = |n: u8| honest[usize::from(n) % honest.len()];
        let gateway = |n: u8| gateways.get(usize::from(n) % gateways.len().max(1)).copied();
        match self {
            Self::Unicast { from, to, frames } => flow(world, people, who(from), people[who(to)].mac, frames, rng),
            Self::ToLanHost { from, host, frames } => flow(world, people, who(from), MacAddr([0, 0x1b, 0x21, 0, 0, host % 4]), frames, rng),
            Self::Broadcast { from, frames } => {
                flow(world, people, who(from), if frames > 3 { MacAddr([1, 0, 0x5e, 0, 0, 251]) } else { MacAddr::BROADCAST }, frames, rng);
            }
            Self::LanChatter { gateway: n, frames } => {
                for _ in 0..frames {
                    let Some(g) = gateway(n) else { return };
                    world.send(g, people[g].hosts[0], people[g].hosts[1], Kind::any_unicast(rng));
                }
            }
            Self::LanEcho { gateway: n, member } => {
                let Some(g) = gateway(n).filter(|g| *g != who(member)) else { return };
                if people[who(member)].room == people[g].room && world.is_joined(who(member)) {
                    world.send(g, people[who(member)].mac, MacAddr::BROADCAST, Kind::any_broadcast(rng));
                }
            }
            Self::Join(n) => world.join(who(n)),
            Self::Leave(n) => world.leave(who(n)),
            Self::Crash(n) => world.crash(who(n)),
            Self::Restart(n) => {
                world.crash(who(n));
                world.join(who(n));
            }
            Self::Forge { member, victim, number, address } => forge(world, people, who(member), who(victim), (number, address), rng),
            Self::TroubleMakers => trouble(world, people),
            Self::Lan { gateway: n, up } => gateway(n).into_iter().for_each(|g| world.set_lan(g, up)),
            other => other.befall(world, people, who, rng),
        }
    }

    /// What happens to people, not by them.
    fn befall(self, world: &mut World, people: &[MemberPlan], who: impl Fn(u8) -> usize, rng: &mut Rng) {
        let time = |ms: u16| Duration::from_millis(u64::from(ms));
        match self {
            Self::CrashRelay { ms } => world.crash_relay(time(ms)),
            Self::Cut { member, ms } => world.cut(who(member), time(ms)),
            Self::Worsen { member, ms, loss_percent, corrupt_percent } => world.worsen(who(member), time(ms), |wire| {
                (wire.loss, wire.corrupt) = (f64::from(loss_percent) / 100.0, f64::from(corrupt_percent) / 100.0);
            }),
            Self::Resize { member, budget } => world.resize(who(member), DatagramBudget(budget)),
            Self::Sleep { seconds } => world.sleep(Duration::from_secs(u64::from(seconds))),
            Self::Storm { member, frames } => {
                let from = who(member);
                for _ in 0..frames {
                    world.send(from, people[from].mac, MacAddr::BROADCAST, Kind::any_broadcast(rng));
                    world.run_for(PACE / 20);
                }
            }
            Self::Stall { member, from, frames } => {
                let (member, from) = (who(member), who(from));
                world.cut(member, STALL);
                for _ in 0..frames {
                    world.send(from, people[from].mac, people[member].mac, Kind::Udp(100));
                    world.run_for(PACE / 5);
                }
            }
            Self::Wait { ms } => world.run_for(time(ms)),
            Self::Settle => world.settle(),
            _ => {}
        }
    }
}

/// Frames from a member's host, or from its LAN, at an even pace.
fn flow(world: &mut World, people: &[MemberPlan], from: usize, dst: MacAddr, frames: u8, rng: &mut Rng) {
    for _ in 0..frames {
        let plan = &people[from];
        let src = plan.hosts.get(rng.below(4) as usize).copied().unwrap_or(plan.mac);
        let kind = if dst.is_group() { Kind::any_broadcast(rng) } else { Kind::any_unicast(rng) };
        world.send(from, src, dst, kind);
        world.run_for(PACE);
    }
}

fn forge(world: &mut World, people: &[MemberPlan], from: usize, victim: usize, (number, address): (bool, bool), rng: &mut Rng) {
    let number = if number { world.number(victim).or(Some(MemberId(999))) } else { None };
    let (src, dst) = if address { (people[victim].mac, people[from].mac) } else { (people[from].mac, people[victim].mac) };
    for dst in [dst, MacAddr::BROADCAST, MacAddr([0, 0x1b, 0x21, 0, 0, 0])] {
        world.send_forged(from, number, src, dst, Kind::any_unicast(rng));
    }
}

/// Only when everybody is there: to an empty chair a trouble-maker would be welcome.
fn trouble(world: &mut World, people: &[MemberPlan]) {
    world.settle();
    let unwelcome = (0..people.len()).filter(|i| people[*i].unwelcome);
    let holder = |i: usize| {
        let claims = |p: &MemberPlan| if people[i].role == Role::Gateway { p.role == Role::Gateway } else { p.mac == people[i].mac };
        (0..people.len()).find(|h| !people[*h].unwelcome && people[*h].room == people[i].room && claims(&people[*h]))
    };
    for i in unwelcome.filter(|i| holder(*i).is_some_and(|h| world.is_joined(h))).collect::<Vec<_>>() {
        world.join(i);
        world.run_for(REFUSED_WITHIN);
        world.hold(!world.is_joined(i), "a trouble-maker was let in");
        world.crash(i);
    }
}
