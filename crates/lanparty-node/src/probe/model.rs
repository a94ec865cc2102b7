//! A path to a probe service, in virtual time: the fake beside [`super::wire::SocketWire`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lanparty_doctor::NatFacts;
use lanparty_nic::Fragmentation;
use lanparty_proto::{PROBE_LEN_MIN, ProbeAnswer, ProbeQuestion};
use tokio::time::{Instant, sleep_until};

use super::measure::Path;
use super::wire::Wire;

/// What is special about a path. Sizes are UDP payload; 0 is no limit.
#[derive(Clone, Copy, Default)]
pub(super) struct Character {
    pub(super) rtt: Duration,
    /// Larger ones vanish in silence, up and down.
    pub(super) hole_up: usize,
    pub(super) hole_down: usize,
    /// What may be fragmented passes the hole.
    pub(super) routers_fragment: bool,
    /// Bytes per second toward the relay; what is more waits.
    pub(super) bytes_per_s: u64,
    /// Of all questions, by chance.
    pub(super) loss_percent: u64,
    /// The first so many questions are answered by another cookie than the one that counts: the address had changed.
    pub(super) disbelieved: u32,
}

/// One path; its wires share its line.
#[derive(Clone)]
pub(super) struct Model(Rc<Line>);

struct Line {
    character: Character,
    is_free_at: Cell<Instant>,
    questions: Cell<u32>,
    chance: Cell<u64>,
}

impl Line {
    /// A linear congruential generator (Knuth's MMIX): the same chance in every run.
    fn loses(&self) -> bool {
        self.chance.set(self.chance.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        (self.chance.get() >> 33) % 100 < self.character.loss_percent
    }
}

impl Model {
    pub(super) fn new(character: Character) -> Self {
        Self(Rc::new(Line { character, is_free_at: Cell::new(Instant::now()), questions: Cell::new(0), chance: Cell::new(7) }))
    }
}

impl Path for Model {
    type Wire = ModelWire;

    fn open(&self, fragmentation: Fragmentation) -> io::Result<ModelWire> {
        Ok(ModelWire { model: self.clone(), may_fragment: fragmentation == Fragmentation::Allowed, coming: RefCell::default() })
    }

    fn is_ipv6(&self) -> bool {
        false
    }

    async fn nat(&self, _: Duration) -> io::Result<NatFacts> {
        Ok(NatFacts::default())
    }
}

pub(super) struct ModelWire {
    model: Model,
    may_fragment: bool,
    /// Answers by the time of their arrival.
    coming: RefCell<BTreeMap<(Instant, u32), Vec<u8>>>,
}

impl Wire for ModelWire {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let Line { character, is_free_at, questions, .. } = &*self.model.0;
        let vanishes = |len: usize, hole: usize| hole > 0 && len > hole && !(self.may_fragment && character.routers_fragment);
        let number = questions.get() + 1;
        questions.set(number);
        let through = match character.bytes_per_s {
            0 => Instant::now(),
            rate => is_free_at.get().max(Instant::now()) + Duration::from_secs_f64(bytes.len() as f64 / rate as f64),
        };
        is_free_at.set(through);
        let question = ProbeQuestion::decode(bytes).unwrap();
        let cookie = if number <= character.disbelieved { [1; 16] } else { [2; 16] };
        let len = if question.cookie == cookie { question.answer_len.into() } else { PROBE_LEN_MIN };
        if self.model.0.loses() || vanishes(bytes.len(), character.hole_up) || vanishes(len, character.hole_down) {
            return Ok(());
        }
        let answer = ProbeAnswer {
            sequence: question.sequence,
            question_len: u16::try_from(bytes.len()).unwrap(),
            route_mtu: Some(1500),
            too_long_here: false,
            cookie,
            clock_ms: 0,
            observed: "192.0.2.1:1".parse().unwrap(),
        };
        self.coming.borrow_mut().insert((through + character.rtt, number), answer.encode(len));
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = self.coming.borrow().keys().next().copied() else { return std::future::pending().await };
        sleep_until(first.0).await;
        let bytes = self.coming.borrow_mut().remove(&first).unwrap();
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn route_mtu(&self) -> Option<u32> {
        Some(1500)
    }

    fn is_ipv6(&self) -> bool {
        false
    }
}
