//! Looks at everything while it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lanparty_lab::{Party, Proc, Programs};

use super::{STOP_POLL, Stage};
use crate::scene::{Event, Facts};

/// Time between two looks at programs and switch: each look starts two programs.
const LOOK_INTERVAL: Duration = Duration::from_millis(750);

/// Status of the programs, MAC table of the switch and leases of the DHCP server, until the show is over.
pub(super) fn status(stage: &Stage<'_>, party: &Party, programs: &Programs<'_>, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let next = Instant::now() + LOOK_INTERVAL;
        // A program that is just starting or ending may fail to answer; the next look will tell.
        if let Ok(answers) = programs.status() {
            stage.tell(Event::Facts(Facts::read(&answers)))?;
        }
        stage.tell(Event::MacTable(party.mac_table()?))?;
        stage.tell(Event::Leases(party.leases()?))?;
        while Instant::now() < next && !over.load(Ordering::Relaxed) {
            thread::sleep(STOP_POLL);
        }
    }
    Ok(())
}

/// Every answer of `ping`, until the audience has left or one of the programs has ended, which none should.
pub(super) fn pings(stage: &Stage<'_>, ping: &Proc, programs: &[&Proc]) -> Result<()> {
    let mut seen = 0;
    loop {
        let lines = ping.lines();
        for line in &lines[seen..] {
            if let Some(event) = read_ping(line) {
                stage.tell(event)?;
            }
        }
        seen = lines.len();
        if let Some(dead) = programs.iter().chain([&ping]).find(|program| !program.running()) {
            bail!("{} ended{}", dead.name(), dead.tail());
        }
        thread::sleep(STOP_POLL);
        stage.go_on()?;
    }
}

/// `64 bytes from 10.73.42.11: icmp_seq=3 ttl=64 time=25.1 ms`, `no answer yet for icmp_seq=4`.
fn read_ping(line: &str) -> Option<Event> {
    if line.starts_with("no answer yet") {
        return Some(Event::Ping(None));
    }
    let milliseconds: f64 = line.split_once(" time=")?.1.split_whitespace().next()?.parse().ok()?;
    Some(Event::Ping(Some(Duration::from_secs_f64(milliseconds / 1e3))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ping_are_read() {
        let answer = read_ping("64 bytes from 10.73.42.11: icmp_seq=3 ttl=64 time=25.1 ms").unwrap();
        assert!(matches!(answer, Event::Ping(Some(time)) if time == Duration::from_micros(25_100)));
        assert!(matches!(read_ping("no answer yet for icmp_seq=4"), Some(Event::Ping(None))));
        assert!(read_ping("PING 10.73.42.11 (10.73.42.11) 56(84) bytes of data.").is_none());
    }
}
