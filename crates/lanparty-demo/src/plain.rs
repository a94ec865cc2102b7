//! Lines instead of a screen: for logs, pipes and the CI; and the verdict, which both kinds of audience read.

use std::io::Write;
use std::time::Duration;

use crate::scene::{Event, Progress, Scene, Step};

/// Time between two lines about the ping.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Prints a line.
pub(crate) fn say(line: &str) {
    // A closed pipe is no failure of the demo.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says each thing once, when it becomes true.
#[derive(Default)]
pub(crate) struct Log {
    said: Vec<Step>,
    peers: Vec<String>,
    ping_said: Duration,
}

impl Log {
    /// Before the event changes the scene.
    pub(crate) fn event(&mut self, event: &Event, at: Duration) {
        match event {
            Event::Step(step, Progress::Doing) => line(at, "..", step.title()),
            Event::Facts(facts) => {
                let peers: Vec<String> = facts
                    .peers
                    .iter()
                    .map(|peer| format!("{} peer {} {} from {}", peer.role, peer.number, peer.mac, peer.remote))
                    .collect();
                for peer in peers.iter().filter(|peer| !self.peers.contains(peer)) {
                    line(at, "  ", &format!("in the room: {peer}"));
                }
                self.peers = peers;
            }
            _ => {}
        }
    }

    /// After the event changed it.
    pub(crate) fn progress(&mut self, scene: &Scene, at: Duration) {
        for step in Step::ALL {
            if let (Progress::Done(outcome), false) = (scene.progress(step), self.said.contains(&step)) {
                self.said.push(step);
                line(at, "ok", &format!("{}: {outcome}", step.title()));
            }
        }
        if let (Some(median), true) = (scene.ping_median(), at >= self.ping_said + PING_INTERVAL) {
            self.ping_said = at;
            let (answered, sent) = (scene.pings_answered, scene.pings_sent);
            line(at, "  ", &format!("ping to pc1: {answered} of {sent} answered, median {:.1} ms", median.as_secs_f64() * 1e3));
        }
    }
}

fn line(at: Duration, mark: &str, text: &str) {
    say(&format!("[{:5.1} s] {mark} {text}", at.as_secs_f64()));
}

/// Frames, drops, and the guide's pass conditions one by one.
pub(crate) fn verdict(scene: &Scene) {
    say(&format!("\n{:<20} {:>9} {:>9}  dropped", "frames", "in", "forwarded"));
    for books in &scene.facts.books {
        say(&format!("{:<20} {:>9} {:>9}  {}", books.title, books.frames_in, books.forwarded, books.drops()));
    }
    say("\nThe guide's pass conditions:");
    let conditions = scene.conditions();
    for (number, condition) in (1..).zip(&conditions) {
        let answer = if condition.holds { "yes" } else { "NO " };
        say(&format!("  {number}. {answer}  {}  ({})", condition.text, condition.evidence));
    }
    let held = conditions.iter().filter(|condition| condition.holds).count();
    let verdict = if held == conditions.len() { "the party is on" } else { "this is no LAN party" };
    say(&format!("verdict: {held} of {} hold: {verdict}", conditions.len()));
}
