//! The member's part of a bond's test: every line alone, then the bond, both ways; then each line lost for a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanparty_proto::TrialStep;
use serde_json::{Value, json};

use super::super::Shared;
use super::{Reply, load};
use crate::management::Answers;

/// Nothing is counted while a load finds its rate; then it is measured for a while.
const WARM_UP: Duration = Duration::from_millis(1500);
const WINDOW: Duration = Duration::from_millis(2000);
const LOAD_TIME: Duration = Duration::from_millis(3700);
/// Between two loads: queues on the way are empty again.
const PAUSE: Duration = Duration::from_millis(800);
/// How long a line is silent, and how long its loss is looked at: it is noticed within 200 ms, or four round trips.
const SILENCE: Duration = Duration::from_millis(1200);
const LOSS_TIME: Duration = Duration::from_millis(1600);
/// Time for a path to answer again after that.
const RETURN_MAX: Duration = Duration::from_secs(4);
/// A game's packets: 50 a second of 100 bytes.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
const ASK_LEN: usize = 100;
const IDLE_TIME: Duration = Duration::from_secs(1);
/// Answers that come later are lost to a game.
const ASK_TIMEOUT: Duration = Duration::from_millis(400);
/// Time for the relay to answer.
const REPLY_MAX: Duration = Duration::from_secs(2);

/// One test.
pub(crate) struct Course {
    shared: Arc<Shared>,
    answers: Answers,
    test: u32,
}

/// A line of the bond.
struct Line {
    path: u8,
    name: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What became of a game's packets.
struct Pings {
    sent: usize,
    rtts: Vec<Duration>,
    longest_gap: Duration,
}

impl Course {
    /// Tests the bond; what it finds goes to `answers`, line by line. A line with a cap is only used when `yes`.
    pub(crate) async fn run(shared: Arc<Shared>, yes: bool, answers: Answers) {
        let test = u32::try_from(super::super::random_seed() >> 32).unwrap_or(1);
        let course = Self { shared, answers, test };
        let outcome = match course.may_begin(yes) {
            Ok(lines) => {
                let outcome = course.conduct(&lines).await;
                course.end();
                outcome
            }
            Err(refusal) => Err(refusal),
        };
        course.answers.give(outcome.unwrap_or_else(|refusal| refusal));
    }

    /// The lines that are tested; begins the test here.
    fn may_begin(&self, yes: bool) -> Result<Vec<Line>, Value> {
        let wanted = self.shared.wanted.all();
        let mut state = self.shared.state();
        let lines: Vec<Line> = state.living().map(|path| Line { path: path.bond.path, name: path.name.clone() }).collect();
        if lines.is_empty() {
            return Err(refusal("no-path", "no line of the bond carries anything at the moment"));
        }
        let capped = lines.iter().filter(|line| wanted.get(&line.path).is_some_and(|wanted| wanted.cap.is_some()));
        let capped: Vec<_> = capped.map(|line| line.name.as_str()).collect();
        if !yes && !capped.is_empty() {
            let loads = u32::try_from(lines.len()).unwrap_or(1) + 4;
            let rate: u64 = state.paths.iter_mut().map(|path| path.view(Instant::now()).rate).max().unwrap_or(0);
            let megabytes = (LOAD_TIME * loads).as_secs_f64() * rate as f64 / 1e6;
            let words = format!(
                "{} has a cap, and a test fills every line for some seconds: about {megabytes:.0} MB; say --yes when that is all right",
                capped.join(" and ")
            );
            return Err(refusal("capped", &words));
        }
        state.trial.begin(self.test, Instant::now()).map_err(|words| refusal("busy", &words))?;
        Ok(lines)
    }

    fn end(&self) {
        self.shared.say(&lanparty_proto::Control::Trial { test: self.test, step: TrialStep::End });
        self.shared.state().trial.end(Instant::now());
    }

    async fn conduct(&self, lines: &[Line]) -> Result<Value, Value> {
        self.ask(TrialStep::Begin).await?;
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        let loads = 2 * (lines.len() + 1);
        let losses = if lines.len() > 1 { lines.len() } else { 0 };
        let seconds = (LOAD_TIME + PAUSE).as_secs_f64() * (loads + losses) as f64 + IDLE_TIME.as_secs_f64();
        self.tell(json!({ "event": "start", "lines": names, "seconds": seconds.ceil() }))?;
        let idle = self.pings(IDLE_TIME).await;
        let mut alone = vec![];
        for line in lines {
            let up = self.measure(Some(line), Way::Up).await?.0;
            alone.push((up, self.measure(Some(line), Way::Down).await?.0));
        }
        let (up, loaded_up) = self.measure(None, Way::Up).await?;
        let (down, loaded_down) = self.measure(None, Way::Down).await?;
        let mut lost = vec![];
        for line in lines.iter().take(losses) {
            lost.push(self.lose(line).await?);
        }
        let line = |(n, line): (usize, &Line)| {
            let (up, down) = alone.get(n).copied().unwrap_or_default();
            json!({ "name": line.name, "up_mbit_s": up, "down_mbit_s": down, "lost": lost.get(n) })
        };
        let lines: Vec<_> = lines.iter().enumerate().map(line).collect();
        let loaded: Vec<_> = [loaded_up, loaded_down].into_iter().flat_map(|pings| pings.rtts).collect();
        Ok(json!({
            "event": "done", "lines": lines, "bond": { "up_mbit_s": up, "down_mbit_s": down },
            "ping_idle_ms": percentile(idle.rtts.clone(), 50), "ping_idle_p95_ms": percentile(idle.rtts, 95),
            "ping_loaded_ms": percentile(loaded.clone(), 50), "ping_loaded_p95_ms": percentile(loaded, 95),
        }))
    }

    /// What a line, or the bond, carries one way, in Mbit/s; and a game's packets meanwhile.
    async fn measure(&self, line: Option<&Line>, way: Way) -> Result<(f64, Pings), Value> {
        let (name, word) = (line.map_or("bond", |line| &line.name), if way == Way::Up { "up" } else { "down" });
        self.tell(json!({ "event": "measuring", "what": name, "way": word }))?;
        let only = line.map(|line| line.path);
        let rate = async {
            match way {
                Way::Up => self.up(only).await,
                Way::Down => self.down(only).await,
            }
        };
        let (rate, pings) = tokio::join!(rate, self.pings(WARM_UP + WINDOW));
        let rate = rate?;
        self.tell(json!({ "event": "measured", "what": name, "way": word, "mbit_s": rate }))?;
        Ok((rate, pings))
    }

    async fn up(&self, only: Option<u8>) -> Result<f64, Value> {
        let sending = tokio::spawn(load(Arc::clone(&self.shared), self.test, only, LOAD_TIME));
        tokio::time::sleep(WARM_UP).await;
        let before = self.ask(TrialStep::Count).await?;
        tokio::time::sleep(WINDOW).await;
        let after = self.ask(TrialStep::Count).await?;
        // It ends by itself.
        let _ = sending.await;
        tokio::time::sleep(PAUSE).await;
        Ok(mbit(after.received.saturating_sub(before.received), after.at.saturating_sub(before.at)))
    }

    async fn down(&self, only: Option<u8>) -> Result<f64, Value> {
        let ends = tokio::time::Instant::now() + LOAD_TIME + PAUSE;
        self.ask(TrialStep::Load { only, ms: ms(LOAD_TIME) }).await?;
        tokio::time::sleep(WARM_UP).await;
        let before = self.shared.state().trial.count(Instant::now());
        tokio::time::sleep(WINDOW).await;
        let after = self.shared.state().trial.count(Instant::now());
        tokio::time::sleep_until(ends).await;
        Ok(mbit(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1)))
    }

    /// What the loss of a line interrupts: a transfer that fills the bond, and a game beside it.
    async fn lose(&self, line: &Line) -> Result<Value, Value> {
        self.tell(json!({ "event": "losing", "what": line.name }))?;
        let ends = tokio::time::Instant::now() + LOAD_TIME + PAUSE;
        self.ask(TrialStep::Load { only: None, ms: ms(LOAD_TIME) }).await?;
        tokio::time::sleep(WARM_UP).await;
        let now = Instant::now();
        {
            let mut state = self.shared.state();
            if let Some(running) = &mut state.trial.running {
                (running.last_load, running.longest_gap) = (Some(now), Duration::ZERO);
            }
            state.paths.iter_mut().filter(|path| path.bond.path == line.path).for_each(|path| path.mute(now + SILENCE));
        }
        let pings = self.pings(LOSS_TIME).await;
        let transfer = self.shared.state().trial.running.as_ref().map_or(Duration::ZERO, |running| running.longest_gap);
        tokio::time::sleep_until(ends).await;
        // What a test silenced answers again before the next line is lost.
        let _ = tokio::time::timeout(RETURN_MAX, self.shared.path_lives(line.path)).await;
        let game = pings.longest_gap.saturating_sub(ASK_INTERVAL);
        let found = json!({
            "transfer_ms": in_ms(transfer), "ping_ms": in_ms(game),
            "pings": pings.sent, "pings_lost": pings.sent.saturating_sub(pings.rtts.len()),
        });
        self.tell(json!({ "event": "lost", "what": line.name, "found": found }))?;
        Ok(found)
    }

    /// Sends a game's packets for so long, and waits for the last answers.
    async fn pings(&self, time: Duration) -> Pings {
        if let Some(running) = &mut self.shared.state().trial.running {
            running.answers.clear();
            running.asks.clear();
        }
        let (began, mut sent) = (Instant::now(), 0);
        let mut ticks = tokio::time::interval(ASK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while began.elapsed() < time {
            ticks.tick().await;
            self.shared.state().send_ask(self.test, ASK_LEN, Instant::now());
            sent += 1;
        }
        tokio::time::sleep(ASK_TIMEOUT).await;
        let answers = self.shared.state().trial.running.as_mut().map(|running| std::mem::take(&mut running.answers)).unwrap_or_default();
        let rtts = answers.iter().map(|(_, rtt)| *rtt).filter(|rtt| *rtt <= ASK_TIMEOUT).collect();
        let longest_gap = longest_gap(began, answers.iter().map(|(at, _)| *at).chain([began + time]));
        Pings { sent, rtts, longest_gap }
    }

    /// Asks the relay.
    async fn ask(&self, step: TrialStep) -> Result<Reply, Value> {
        let test = self.test;
        self.shared.state().trial.replies.clear();
        self.shared.say(&lanparty_proto::Control::Trial { test, step });
        let reply = async {
            loop {
                let more = self.shared.control.notified();
                if let Some(reply) = self.shared.state().trial.replies.pop_front() {
                    if reply.test == test {
                        return Some(reply);
                    }
                    continue;
                }
                if self.shared.not_ended().is_err() {
                    return None;
                }
                more.await;
            }
        };
        match tokio::time::timeout(REPLY_MAX, reply).await {
            Ok(Some(Reply { refused: Some(why), .. })) => Err(refusal("refused", &why)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(refusal("ended", "the connection to the relay ended amid the test")),
            Err(_) => Err(refusal("no-answer", "the relay does not answer: it may be older than this program and know no tests")),
        }
    }

    fn tell(&self, event: Value) -> Result<(), Value> {
        self.answers.offer(event).then_some(()).ok_or_else(|| refusal("gone", "nobody reads the answers any more"))
    }
}

impl Shared {
    async fn path_lives(&self, path: u8) {
        while self.path_state(path) != Some(true) {
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
}

pub(crate) fn refusal(code: &str, message: &str) -> Value {
    json!({ "error": code, "message": message })
}

/// The longest time without an answer, from the beginning to the last one.
fn longest_gap(began: Instant, answers: impl Iterator<Item = Instant>) -> Duration {
    let step = |(before, longest): (Instant, Duration), at: Instant| (at, longest.max(at.saturating_duration_since(before)));
    // Before the first answer there is a round trip, which is no gap.
    let mut answers = answers;
    let first = answers.next().unwrap_or(began);
    answers.fold((first, Duration::ZERO), step).1
}

fn mbit(bytes: u64, time: Duration) -> f64 {
    let rate = bytes as f64 * 8.0 / 1e6 / time.as_secs_f64().max(1e-3);
    (rate * 10.0).round() / 10.0
}

fn percentile(mut all: Vec<Duration>, percent: usize) -> Option<f64> {
    all.sort_unstable();
    let at = (all.len() * percent / 100).min(all.len().checked_sub(1)?);
    all.get(at).copied().map(in_ms)
}

fn in_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

const _: () = assert!(LOAD_TIME.as_millis() <= super::LOAD_MAX.as_millis());
const _: () = assert!(WARM_UP.as_millis() + WINDOW.as_millis() < LOAD_TIME.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_two_answers() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(longest_gap(start, [100, 120, 220, 240].map(at).into_iter()), Duration::from_millis(100));
        assert_eq!(longest_gap(start, std::iter::empty()), Duration::ZERO);
    }

    #[test]
    fn figures_are_rounded_to_what_they_are_worth() {
        assert_eq!(mbit(1_234_567, Duration::from_secs(1)), 9.9);
        let all = (1..=100).map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!((percentile(all.clone(), 50), percentile(all, 95), percentile(vec![], 50)), (Some(51.0), Some(96.0), None));
    }
}
