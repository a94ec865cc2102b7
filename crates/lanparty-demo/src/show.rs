//! One show from start to end: the director on a thread of its own, the scene here, drawn or printed.

use std::fs;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use lanparty_lab::Requirements;

use crate::director::{self, Direction};
use crate::options::Options;
use crate::scene::{Event, Scene};
use crate::screen::Screen;
use crate::{plain, supervise, view};

/// Events not yet shown.
const EVENTS_MAX: usize = 256;
/// Time between two frames of the screen.
const FRAME_INTERVAL: Duration = Duration::from_millis(66);
/// How long beyond its length the show waits for conditions that do not hold yet.
const GRACE: Duration = Duration::from_secs(20);
/// The exit code that says that the machine lacks something.
const LACKING: u8 = 2;

/// Plays it. 0: every condition holds.
pub(crate) fn run(options: &Options) -> ExitCode {
    if let Err(missing) = Requirements::party().ready() {
        plain::say(&format!("the demo cannot run: {missing}\n  `cargo xtask demo` installs what is missing when it is run as root"));
        return ExitCode::from(LACKING);
    }
    match play(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            plain::say(&format!("the demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(options: &Options) -> Result<bool> {
    supervise::end_with_parent()?;
    let stop = supervise::asked_to_end()?;
    let mut audience = Audience::new(options)?;
    let (events, arrived) = sync_channel(EVENTS_MAX);
    let direction = Direction::new(options, audience.is_screen(), Arc::clone(&stop));
    let director = thread::Builder::new().name("director".into()).spawn(move || director::play(&direction, &events))?;
    let mut scene = Scene::new();
    audience.watch(&mut scene, &arrived, |scene| stop.load(Ordering::Relaxed) || is_over(options, scene));
    // The screen is left before the lab is taken down, which takes a second: what fails there can be read.
    let picture = audience.leave(&scene);
    stop.store(true, Ordering::Relaxed);
    // Nobody reads any more; a director who waits for room in the channel learns it this way.
    drop(arrived);
    let played = director.join().map_err(|_| anyhow!("the director panicked"))?;
    plain::verdict(&scene);
    if let Some(file) = &options.screenshot {
        fs::write(file, picture).with_context(|| format!("write {}", file.display()))?;
    }
    played.map(|()| scene.conditions().iter().all(|condition| condition.holds))
}

/// Not before its length, and later when a condition does not hold yet, within the grace.
fn is_over(options: &Options, scene: &Scene) -> bool {
    let everything_holds = || scene.conditions().iter().all(|condition| condition.holds);
    let length = options.length();
    !options.stay && scene.elapsed >= length && (everything_holds() || scene.elapsed >= length + GRACE)
}

/// Who watches: someone at a terminal, or a log.
enum Audience {
    Terminal(Screen),
    Log(plain::Log),
}

impl Audience {
    fn new(options: &Options) -> Result<Self> {
        let terminal = !options.plain && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        Ok(if terminal { Self::Terminal(Screen::enter()?) } else { Self::Log(plain::Log::default()) })
    }

    const fn is_screen(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Shows what happens until it is over, or the director has left (which is an error), or the audience has.
    fn watch(&mut self, scene: &mut Scene, arrived: &Receiver<Event>, is_over: impl Fn(&Scene) -> bool) {
        let start = Instant::now();
        loop {
            let next = Instant::now() + FRAME_INTERVAL;
            loop {
                match arrived.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(event) => self.take(scene, event, start.elapsed()),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            scene.now(start.elapsed());
            if let Self::Terminal(screen) = self
                && (screen.draw(scene).is_err() || screen.wants_to_leave())
            {
                return;
            }
            if is_over(scene) {
                return;
            }
        }
    }

    fn take(&mut self, scene: &mut Scene, event: Event, at: Duration) {
        scene.now(at);
        if let Self::Log(log) = self {
            log.event(&event, at);
        }
        scene.apply(event);
        if let Self::Log(log) = self {
            log.progress(scene, at);
        }
    }

    /// Gives the terminal back, and the last frame as text.
    fn leave(self, scene: &Scene) -> String {
        drop(self);
        view::picture(scene)
    }
}
