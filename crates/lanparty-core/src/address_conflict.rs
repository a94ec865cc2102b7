//! Whether anybody else in the room uses this machine's IPv4 addresses (RFC 5227): asked before one is used, and watched while it is.
//!
//! The RFC takes up to seven seconds for that, because it knows nothing of the network. Here the round trip is known, so that probes
//! follow each other as fast as an answer can come.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lanparty_proto::{Arp, Frame, MacAddr};

/// Probes of one address, and announcements (RFC 5227 §1.1).
const PROBES: u8 = 3;
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// An address is defended, and a conflict spoken of, this often at most.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two probes, and behind the last: a machine in the room answers sooner, unless it is on its way there for longer.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(120);
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What became of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressNews {
    /// Nobody answered: it may be used.
    Free {
        /// The address.
        address: Ipv4Addr,
    },
    /// Another machine has it, or wants it at this moment: it must not be used.
    Taken {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        by: MacAddr,
    },
    /// Another machine uses it as well, although this one has it. It is defended.
    Conflict {
        /// The address.
        address: Ipv4Addr,
        /// Who else has it.
        by: MacAddr,
    },
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConflictOutput {
    /// Send this frame into the room.
    Send(Vec<u8>),
    /// Tell the owner.
    News(AddressNews),
    /// Poll again at that time; the text says what for.
    Timeout(Instant, &'static str),
    /// Nothing until something happens.
    Idle,
}

enum Stage {
    /// Asked for so many times.
    Probing { sent: u8, next: Instant, interval: Duration },
    /// In use.
    Held { announced: u8, next: Option<Instant>, defended: Option<Instant> },
}

/// The addresses of one machine.
#[derive(Default)]
pub struct AddressConflict {
    stages: BTreeMap<Ipv4Addr, Stage>,
    outputs: VecDeque<ConflictOutput>,
}

impl AddressConflict {
    /// Asks whether `address` is free. An answer takes `rtt` at most, as far as one knows.
    pub fn probe(&mut self, address: Ipv4Addr, rtt: Duration, now: Instant) {
        let interval = (rtt * 2).clamp(PROBE_INTERVAL_MIN, PROBE_INTERVAL_MAX);
        self.stages.insert(address, Stage::Probing { sent: 0, next: now, interval });
    }

    /// The machine does not use it any more, or never will.
    pub fn forget(&mut self, address: Ipv4Addr) {
        self.stages.remove(&address);
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// A frame from the room. Whether there is something to do because of it.
    pub fn handle_input(&mut self, bytes: &[u8], own: MacAddr, now: Instant) -> bool {
        let arp = Frame::parse(bytes).ok().and_then(|frame| Arp::read(&frame));
        let Some(arp) = arp.filter(|arp| arp.sender_mac != own) else { return false };
        let is_probe = arp.sender.is_unspecified();
        let address = if is_probe { arp.target } else { arp.sender };
        match self.stages.get_mut(&address) {
            Some(Stage::Probing { .. }) => {
                self.stages.remove(&address);
                self.outputs.push_back(ConflictOutput::News(AddressNews::Taken { address, by: arp.sender_mac }));
            }
            Some(Stage::Held { defended, .. }) if !is_probe => {
                if defended.is_some_and(|at| now.saturating_duration_since(at) < DEFEND_INTERVAL) {
                    return false;
                }
                *defended = Some(now);
                self.outputs.push_back(ConflictOutput::Send(Arp::announcement(own, address)));
                self.outputs.push_back(ConflictOutput::News(AddressNews::Conflict { address, by: arp.sender_mac }));
            }
            // The system answers probes for what it has.
            _ => return false,
        }
        true
    }

    /// What is to be done now.
    pub fn poll_output(&mut self, own: MacAddr, now: Instant) -> ConflictOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let due = self.stages.iter_mut().find(|(_, stage)| stage.next().is_some_and(|at| at <= now));
        if let Some((address, stage)) = due {
            return stage.advance(*address, own, now);
        }
        let next = self.stages.values().filter_map(Stage::next).min();
        next.map_or(ConflictOutput::Idle, |at| ConflictOutput::Timeout(at, "probe or announce an address"))
    }
}

impl Stage {
    const fn next(&self) -> Option<Instant> {
        match self {
            Self::Probing { next, .. } => Some(*next),
            Self::Held { next, .. } => *next,
        }
    }

    fn advance(&mut self, address: Ipv4Addr, own: MacAddr, now: Instant) -> ConflictOutput {
        match self {
            Self::Probing { sent, .. } if *sent == PROBES => {
                *self = Self::Held { announced: 0, next: Some(now), defended: None };
                ConflictOutput::News(AddressNews::Free { address })
            }
            Self::Probing { sent, next, interval } => {
                *sent += 1;
                *next = now + *interval;
                ConflictOutput::Send(Arp::probe(own, address))
            }
            Self::Held { announced, next, .. } => {
                *announced += 1;
                *next = (*announced < ANNOUNCEMENTS).then(|| now + ANNOUNCE_INTERVAL);
                ConflictOutput::Send(Arp::announcement(own, address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 7);

    /// Runs until nothing is left to do before `end`: what was sent and said, each with its time.
    fn run(conflict: &mut AddressConflict, mut now: Instant, end: Instant) -> Vec<(Instant, ConflictOutput)> {
        let mut all = vec![];
        loop {
            match conflict.poll_output(OWN, now) {
                ConflictOutput::Timeout(at, _) if at <= end => now = at,
                ConflictOutput::Timeout(..) | ConflictOutput::Idle => return all,
                output => all.push((now, output)),
            }
        }
    }

    fn news(all: &[(Instant, ConflictOutput)]) -> Vec<AddressNews> {
        all.iter().filter_map(|(_, output)| if let ConflictOutput::News(news) = output { Some(*news) } else { None }).collect()
    }

    #[test]
    fn an_address_is_asked_for_three_times_and_then_used_and_announced_twice() {
        let (mut conflict, start) = (AddressConflict::default(), Instant::now());
        conflict.probe(ADDRESS, Duration::from_millis(30), start);
        let all = run(&mut conflict, start, start + Duration::from_secs(60));
        let (probe, announce) = (ConflictOutput::Send(Arp::probe(OWN, ADDRESS)), ConflictOutput::Send(Arp::announcement(OWN, ADDRESS)));
        let free = ConflictOutput::News(AddressNews::Free { address: ADDRESS });
        let expected = [(0, &probe), (120, &probe), (240, &probe), (360, &free), (360, &announce), (2360, &announce)];
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(all, expected.map(|(ms, output)| (at(ms), output.clone())));
        conflict.forget(ADDRESS);
        assert!(conflict.is_empty());
    }

    #[test]
    fn over_a_long_way_probes_wait_for_longer() {
        let (mut conflict, start) = (AddressConflict::default(), Instant::now());
        conflict.probe(ADDRESS, Duration::from_millis(300), start);
        let all = run(&mut conflict, start, start + Duration::from_secs(1));
        assert_eq!((all.len(), news(&all).len()), (2, 0), "600 ms each");
    }

    #[test]
    fn an_answer_and_the_probe_of_another_machine_take_the_address() {
        for theirs in [Arp::announcement(OTHER, ADDRESS), Arp::probe(OTHER, ADDRESS)] {
            let (mut conflict, start) = (AddressConflict::default(), Instant::now());
            conflict.probe(ADDRESS, Duration::ZERO, start);
            run(&mut conflict, start, start);
            conflict.handle_input(&theirs, OWN, start);
            let all = run(&mut conflict, start, start + Duration::from_secs(60));
            assert_eq!(news(&all), [AddressNews::Taken { address: ADDRESS, by: OTHER }]);
            assert!(conflict.is_empty());
        }
    }

    #[test]
    fn own_frames_other_addresses_and_other_protocols_mean_nothing() {
        let (mut conflict, start) = (AddressConflict::default(), Instant::now());
        conflict.probe(ADDRESS, Duration::ZERO, start);
        let elsewhere = Ipv4Addr::new(10, 128, 0, 8);
        for frame in [Arp::probe(OWN, ADDRESS), Arp::announcement(OTHER, elsewhere), Arp::probe(OTHER, elsewhere), vec![0; 60], vec![]] {
            conflict.handle_input(&frame, OWN, start);
        }
        let all = run(&mut conflict, start, start + Duration::from_secs(1));
        assert_eq!(news(&all), [AddressNews::Free { address: ADDRESS }]);
    }

    #[test]
    fn an_address_in_use_is_defended_and_spoken_of_once_in_ten_seconds() {
        let (mut conflict, start) = (AddressConflict::default(), Instant::now());
        conflict.probe(ADDRESS, Duration::ZERO, start);
        run(&mut conflict, start, start + Duration::from_secs(60));
        let mut at = start + Duration::from_secs(60);
        conflict.handle_input(&Arp::probe(OTHER, ADDRESS), OWN, at);
        assert!(run(&mut conflict, at, at).is_empty(), "who only asks is answered by the system");
        for expected in [1, 0, 0, 1] {
            conflict.handle_input(&Arp::announcement(OTHER, ADDRESS), OWN, at);
            let all = run(&mut conflict, at, at);
            assert_eq!((news(&all).len(), all.len()), (expected, expected * 2));
            at += DEFEND_INTERVAL / 3 + Duration::from_millis(1);
        }
    }
}
