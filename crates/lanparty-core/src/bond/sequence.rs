//! Outbound, first step: what a datagram is worth to its flow, and its place in the order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use lanparty_proto::{DATAGRAM_HEADER_LEN, Flow, Frame, Purpose, SEQUENCE_FLOWS, Sequence};

/// What was sent so long ago is there, or lost: nothing waits for it.
const ORDER_KEPT: Duration = Duration::from_millis(700);
/// UDP up to this rate is a game or a call, not a transfer: in bytes per second (1 Mbit/s), and what it may send at once.
const PACED_RATE: u64 = 125_000;
const PACED_BURST: u64 = 16_000;

/// What a datagram is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Its loss or delay is felt: by the two best paths at once.
    Urgent,
    /// Small, and others wait for it: by the best path.
    Light,
    /// By whatever path delivers it first.
    Bulk,
}

/// What goes by two paths at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Redundancy {
    /// What is felt when it is lost: ARP, neighbour discovery, DHCP, discovery, echo, and UDP up to 1 Mbit/s
    #[default]
    Auto,
    /// Nothing
    Off,
    /// Everything
    All,
}

/// Numbers the datagrams of a link.
pub struct Sequencer {
    next: u32,
    seed: u64,
    redundancy: Redundancy,
    /// By the flow's slot: two flows that fall together are kept in order among each other, which costs a little and harms nobody.
    flows: Vec<FlowState>,
}

#[derive(Clone, Default)]
struct FlowState {
    last: Option<(u32, Instant)>,
    /// A leaky bucket: bytes above the paced rate.
    level: u64,
    drained: Option<Instant>,
}

/// A datagram that was looked at and not sent yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged {
    slot: u16,
    /// What it is worth.
    pub class: Class,
    /// Whether it is worth sending once more when it was lost: of a transfer, and by one path only.
    pub is_repeatable: bool,
}

impl Sequencer {
    /// A sequencer that begins with number 0. `seed` makes it unguessable which flows fall together.
    #[must_use]
    pub fn new(seed: u64, redundancy: Redundancy) -> Self {
        Self { next: 0, seed, redundancy, flows: vec![FlowState::default(); SEQUENCE_FLOWS.into()] }
    }

    /// What a datagram is worth. Nothing is counted until it is sent.
    pub fn judge(&mut self, datagram: &[u8], now: Instant) -> Judged {
        let frame = datagram.get(DATAGRAM_HEADER_LEN..).and_then(|frame| Frame::parse(frame).ok());
        // What is no frame is a word between the ends, and rare.
        let purpose = frame.as_ref().map_or(Purpose::Setup, Purpose::of);
        let slot = self.slot(&Flow::of_datagram(datagram));
        let class = match (self.redundancy, purpose) {
            (Redundancy::All, _) => Class::Urgent,
            (Redundancy::Off, Purpose::Setup | Purpose::Acknowledgement) | (Redundancy::Auto, Purpose::Acknowledgement) => Class::Light,
            (Redundancy::Auto, Purpose::Setup) => Class::Urgent,
            (Redundancy::Auto, Purpose::Datagrams) if self.is_paced(slot, now) => Class::Urgent,
            (_, Purpose::Datagrams | Purpose::Bulk) => Class::Bulk,
        };
        Judged { slot, class, is_repeatable: class == Class::Bulk && purpose == Purpose::Bulk }
    }

    /// What a datagram of a test is worth: an urgent one as much as a game's, another one as much as a transfer's. The two are two flows.
    #[must_use]
    pub fn judge_trial(&self, is_urgent: bool) -> Judged {
        let class = match self.redundancy {
            Redundancy::All => Class::Urgent,
            Redundancy::Auto if is_urgent => Class::Urgent,
            Redundancy::Off if is_urgent => Class::Light,
            Redundancy::Auto | Redundancy::Off => Class::Bulk,
        };
        // Beside the flow of what is no frame: what the ends say to each other waits for no load.
        let slot = self.slot(&Flow::None).wrapping_add(1 + u16::from(is_urgent)) % SEQUENCE_FLOWS;
        Judged { slot, class, is_repeatable: false }
    }

    /// The place in the order of a datagram that is sent now.
    pub fn number(&mut self, judged: Judged, len: usize, now: Instant) -> Sequence {
        let number = self.next;
        self.next = number.wrapping_add(1);
        let Some(flow) = self.flows.get_mut(usize::from(judged.slot)) else {
            return Sequence { number, flow: judged.slot, back: 0, passes: false };
        };
        let before = flow.last.replace((number, now)).filter(|(_, at)| now.saturating_duration_since(*at) < ORDER_KEPT);
        flow.level = flow.level.saturating_add(len as u64);
        // Further back than the field can say is further back than is worth a wait.
        let back = before.and_then(|(before, _)| u16::try_from(number.wrapping_sub(before)).ok());
        Sequence { number, flow: judged.slot, back: back.filter(|back| *back < SEQUENCE_FLOWS).unwrap_or(0), passes: false }
    }

    fn slot(&self, flow: &Flow) -> u16 {
        let mut hasher = DefaultHasher::new();
        (self.seed, flow).hash(&mut hasher);
        (hasher.finish() % u64::from(SEQUENCE_FLOWS)) as u16
    }

    fn is_paced(&mut self, slot: u16, now: Instant) -> bool {
        let Some(flow) = self.flows.get_mut(usize::from(slot)) else { return false };
        let since = flow.drained.replace(now).map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let drained = since.as_micros().saturating_mul(u128::from(PACED_RATE)) / 1_000_000;
        flow.level = flow.level.saturating_sub(u64::try_from(drained).unwrap_or(u64::MAX));
        flow.level <= PACED_BURST
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn udp(port: u16, len: usize) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(port, 9);
        let mut datagram = vec![0x10, 0, 1];
        builder.write(&mut datagram, &vec![0; len]).unwrap();
        datagram
    }

    fn send(sequencer: &mut Sequencer, datagram: &[u8], now: Instant) -> (Class, Sequence) {
        let judged = sequencer.judge(datagram, now);
        (judged.class, sequencer.number(judged, datagram.len(), now))
    }

    #[test]
    fn each_flow_points_at_its_own_last_one() {
        let (mut sequencer, now) = (Sequencer::new(1, Redundancy::Auto), Instant::now());
        let sent = [1, 2, 1, 1, 2].map(|port| send(&mut sequencer, &udp(port, 10), now).1);
        assert_eq!(sent.map(|s| s.number), [0, 1, 2, 3, 4]);
        assert_eq!(sent.map(|s| s.back), [0, 0, 2, 1, 3]);
        let later = now + ORDER_KEPT;
        assert_eq!(send(&mut sequencer, &udp(1, 10), later).1.back, 0, "what was sent so long ago is not waited for");
    }

    #[test]
    fn a_game_is_urgent_and_a_transfer_is_not() {
        let (mut sequencer, start) = (Sequencer::new(1, Redundancy::Auto), Instant::now());
        for n in 0..1000 {
            let now = start + Duration::from_millis(n * 10);
            assert_eq!(send(&mut sequencer, &udp(1, 1000), now).0, Class::Urgent, "100 packets a second of 1,000 bytes");
        }
        let transfer = (0..1000).filter(|n| {
            let now = start + Duration::from_micros(n * 400);
            send(&mut sequencer, &udp(2, 1200), now).0 == Class::Urgent
        });
        assert!(transfer.count() < 60, "24 Mbit/s is no game");
    }

    #[test]
    fn a_test_goes_as_games_and_transfers_do_and_neither_waits_for_the_other() {
        let [auto, off, all] = [Redundancy::Auto, Redundancy::Off, Redundancy::All].map(|redundancy| Sequencer::new(1, redundancy));
        let classes = |s: &Sequencer| [true, false].map(|is_urgent| s.judge_trial(is_urgent).class);
        assert_eq!(
            [classes(&auto), classes(&off), classes(&all)],
            [[Class::Urgent, Class::Bulk], [Class::Light, Class::Bulk], [Class::Urgent, Class::Urgent]]
        );
        assert_ne!(auto.judge_trial(true).slot, auto.judge_trial(false).slot);
    }

    #[test]
    fn redundancy_off_and_all_mean_what_they_say() {
        let now = Instant::now();
        assert_eq!(send(&mut Sequencer::new(1, Redundancy::Off), &udp(1, 10), now).0, Class::Bulk);
        assert_eq!(send(&mut Sequencer::new(1, Redundancy::All), &[0x10, 0, 1, 0], now).0, Class::Urgent);
    }

    #[test]
    fn what_is_too_far_back_to_say_is_not_waited_for() {
        let (mut sequencer, now) = (Sequencer::new(1, Redundancy::Auto), Instant::now());
        send(&mut sequencer, &udp(1, 10), now);
        for _ in 0..SEQUENCE_FLOWS {
            send(&mut sequencer, &udp(2, 10), now);
        }
        assert_eq!(send(&mut sequencer, &udp(1, 10), now).1.back, 0);
    }
}
