//! LANs that are perfect hubs, and cables between them on which a frame takes one step.

use std::collections::BTreeSet;

use super::*;

const STEP: Duration = Duration::from_millis(5);
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x42]);

struct End {
    lan: usize,
    loops: CableLoops,
    is_plugged: bool,
}

/// Ends 2n and 2n+1 are of cable n.
struct World {
    ends: Vec<End>,
    now: Instant,
    /// Frames on the cables, and where they arrive with the next step.
    crossing: Vec<(usize, Vec<u8>)>,
    told: Vec<(usize, bool)>,
    news: Vec<(usize, LoopNews)>,
    crossed: usize,
    nonce: u128,
}

impl World {
    /// Cables between these pairs of LANs, plugged in one after the other.
    fn new(cables: &[(usize, usize)]) -> Self {
        let now = Instant::now();
        let end = |n: usize, lan| {
            let mac = MacAddr([2, 0, 0, 0, 1, u8::try_from(n).unwrap()]);
            End { lan, loops: CableLoops::new(&format!("cable{}", n / 2), mac, now), is_plugged: false }
        };
        let ends = cables.iter().enumerate().flat_map(|(n, (a, b))| [end(2 * n, *a), end(2 * n + 1, *b)]).collect();
        let mut world = Self { ends, now, crossing: vec![], told: vec![], news: vec![], crossed: 0, nonce: 0 };
        for cable in 0..cables.len() {
            world.plug_in(cable, 1000 + cable as u64);
        }
        world
    }

    fn plug_in(&mut self, cable: usize, since: u64) {
        for end in [2 * cable, 2 * cable + 1] {
            self.ends[end].is_plugged = true;
            self.ends[end].loops.plug_in(PortRank { since, port: 77 + cable as u64 }, self.now);
        }
    }

    fn unplug(&mut self, cable: usize) {
        for end in [2 * cable, 2 * cable + 1] {
            self.ends[end].is_plugged = false;
            self.ends[end].loops.unplug();
        }
    }

    /// A frame is on a LAN; `from` is the end that put it there.
    fn flood(&mut self, lan: usize, from: Option<usize>, bytes: &[u8]) {
        let others = (0..self.ends.len()).filter(|end| self.ends[*end].lan == lan && self.ends[*end].is_plugged && Some(*end) != from);
        for end in others.collect::<Vec<_>>() {
            let frame = Frame::parse(bytes).unwrap();
            if self.ends[end].loops.judge(&frame, Side::Device, self.now).is_ok() {
                self.crossed += usize::from(frame.ethertype() != 0x88b5);
                self.crossing.push((end ^ 1, bytes.to_vec()));
            }
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        for (end, blocked) in std::mem::take(&mut self.told) {
            self.ends[end].loops.set_blocked_there(blocked, self.now);
        }
        for (end, bytes) in std::mem::take(&mut self.crossing) {
            let End { lan, loops, is_plugged } = &mut self.ends[end];
            if *is_plugged && loops.judge(&Frame::parse(&bytes).unwrap(), Side::Link, self.now).is_ok() {
                let lan = *lan;
                self.flood(lan, Some(end), &bytes);
            }
        }
        for end in 0..self.ends.len() {
            let End { lan, loops, .. } = &mut self.ends[end];
            let lan = *lan;
            if loops.due().is_some_and(|due| due <= self.now) {
                self.nonce += 1;
                let probe = loops.handle_timeout(self.nonce.to_be_bytes(), self.now);
                while let Some(news) = self.ends[end].loops.poll_news() {
                    match news {
                        LoopNews::Blocked(_) => self.told.push((end ^ 1, true)),
                        LoopNews::Cleared => self.told.push((end ^ 1, false)),
                        _ => {}
                    }
                    self.news.push((end, news));
                }
                probe.iter().for_each(|probe| self.flood(lan, Some(end), probe));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    fn broadcast(&mut self) {
        let frame = [&[0xff; 6][..], &HOST.0, &[8, 6], &[0; 46]].concat();
        self.flood(0, None, &frame);
    }

    fn blocked(&self) -> Vec<usize> {
        let is_blocked = |cable: &usize| (0..2).any(|end| self.ends[2 * cable + end].loops.report(self.now).blocked);
        (0..self.ends.len() / 2).filter(is_blocked).collect()
    }

    /// The LANs that a frame of LAN 0 reaches.
    fn reached(&self) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([0]);
        for _ in 0..self.ends.len() {
            for pair in self.ends.chunks(2).filter(|pair| pair.iter().all(|end| end.is_plugged && !end.loops.carries_nothing())) {
                if pair.iter().any(|end| all.contains(&end.lan)) {
                    all.extend(pair.iter().map(|end| end.lan));
                }
            }
        }
        all
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn of_two_cables_between_two_lans_the_newer_one_is_blocked_and_a_broadcast_does_not_go_round() {
    for quiet_before in [0, 40] {
        let mut world = World::new(&[(0, 1), (0, 1)]);
        world.unplug(1);
        world.run(quiet_before * SECOND);
        world.plug_in(1, 5000);
        world.broadcast();
        world.run(SECOND);
        assert_eq!((world.blocked(), world.reached()), (vec![1], BTreeSet::from([0, 1])));
        assert!(world.crossed < 100, "{} copies crossed", world.crossed);
        assert!(world.news.contains(&(2, LoopNews::Blocked(Some(PortName::new("cable0"))))), "{:?}", world.news);
        world.run(60 * SECOND);
        let before = world.crossed;
        world.broadcast();
        world.run(SECOND);
        assert_eq!((world.blocked(), world.crossed - before), (vec![1], 1), "it stays so, and carries each frame once");
    }
}

#[test]
fn a_loop_that_comes_up_in_silence_is_found_by_the_first_frames_that_go_round() {
    let mut world = World::new(&[(0, 1), (2, 1)]);
    world.run(40 * SECOND + STEP);
    world.ends[2].lan = 0;
    world.broadcast();
    world.run(SECOND);
    assert_eq!((world.blocked(), world.reached()), (vec![1], BTreeSet::from([0, 1])));
    assert!(world.crossed < 100, "{} copies crossed", world.crossed);
    let mut silent = World::new(&[(0, 1), (2, 1)]);
    silent.run(40 * SECOND);
    silent.ends[2].lan = 0;
    silent.run(STEADY_INTERVAL + SECOND / 2);
    assert_eq!(silent.blocked(), [1], "nobody spoke, and the probes did");
}

#[test]
fn any_number_of_cables_in_any_shape_ends_as_a_tree() {
    let shapes: [&[(usize, usize)]; 5] = [
        &[(0, 1), (0, 1), (0, 1)],
        &[(0, 1), (1, 2), (2, 0)],
        &[(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)],
        &[(0, 1), (0, 1), (1, 2), (1, 2)],
        &[(0, 1), (0, 1), (0, 1), (0, 1), (0, 1)],
    ];
    for shape in shapes {
        let mut world = World::new(shape);
        world.broadcast();
        world.run(3 * SECOND);
        let lans: BTreeSet<usize> = shape.iter().flat_map(|(a, b)| [*a, *b]).collect();
        assert_eq!((world.blocked().len(), world.reached()), (shape.len() + 1 - lans.len(), lans), "{shape:?}: {:?}", world.news);
        assert!(world.crossed < 500, "{} copies crossed", world.crossed);
    }
}

#[test]
fn both_ends_on_one_lan_are_one_loop_and_it_is_blocked() {
    let mut world = World::new(&[(0, 0)]);
    world.broadcast();
    world.run(SECOND);
    assert_eq!(world.blocked(), [0]);
    world.ends[1].lan = 1;
    world.run(QUIET_MIN + 2 * SECOND);
    assert_eq!((world.blocked(), world.reached()), (vec![], BTreeSet::from([0, 1])));
}

#[test]
fn when_the_other_cable_is_gone_the_blocked_one_carries_and_waits_longer_each_time_that_it_flaps() {
    let mut world = World::new(&[(0, 1), (0, 1)]);
    world.run(SECOND);
    let mut expected = QUIET_MIN;
    for round in 0..4 {
        assert_eq!((world.blocked(), world.ends[2].loops.quiet()), (vec![1], expected), "{round}");
        world.unplug(0);
        world.run(expected - SECOND);
        assert_eq!(world.blocked(), [1], "{round}");
        world.run(2 * SECOND);
        assert_eq!((world.blocked(), world.reached()), (vec![], BTreeSet::from([0, 1])), "{round}");
        world.plug_in(0, 1000);
        world.run(SECOND);
        expected *= 2;
    }
    world.unplug(0);
    world.run(FLAP_WINDOW * 2);
    world.plug_in(0, 1000);
    world.run(STEADY_INTERVAL + SECOND);
    assert_eq!(world.ends[2].loops.quiet(), QUIET_MIN, "that was long ago");
}

#[test]
fn no_loop_means_no_news_however_many_cables() {
    let mut world = World::new(&[(0, 1), (1, 2), (1, 3)]);
    for _ in 0..20 {
        world.broadcast();
        world.run(5 * SECOND);
    }
    assert_eq!((world.blocked(), world.news.len(), world.crossed), (vec![], 0, 60));
}

#[test]
fn an_address_that_flips_is_held_where_it_was_first_and_a_forged_probe_moves_nothing() {
    let now = Instant::now();
    let mut loops = CableLoops::new("cable0", MacAddr([2, 0, 0, 0, 1, 0]), now);
    loops.plug_in(PortRank { since: 1, port: 1 }, now);
    let bytes = [&[0xff; 6][..], &HOST.0, &[8, 6], &[0; 46]].concat();
    let frame = Frame::parse(&bytes).unwrap();
    let sides = [Side::Device, Side::Link].into_iter().cycle();
    let judged: Vec<_> = sides.take(8).map(|side| loops.judge(&frame, side, now)).collect();
    let held = Err(DropReason::MacMoves);
    assert_eq!(judged, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), held, Ok(()), held]);
    assert_eq!(loops.poll_news(), Some(LoopNews::Moving(HOST)));
    let genuine = loops.handle_timeout([7; 16], now).unwrap();
    let genuine = LoopProbe::read(&Frame::parse(&genuine).unwrap()).unwrap();
    for nonce in [[0; 16], [8; 16]] {
        let forged = LoopProbe { nonce, ..genuine }.encode(HOST);
        assert_eq!(loops.judge(&Frame::parse(&forged).unwrap(), Side::Link, now), Err(DropReason::Loop));
    }
    assert_eq!((loops.carries_nothing(), loops.poll_news()), (false, None));
    let genuine = genuine.encode(HOST);
    assert_eq!(loops.judge(&Frame::parse(&genuine).unwrap(), Side::Device, now), Err(DropReason::Loop));
    assert_eq!((loops.carries_nothing(), loops.poll_news()), (false, Some(LoopNews::Reflected)), "its LAN alone");
}
