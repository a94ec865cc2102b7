//! Puts the party on stage: builds its network, starts the programs one after the other, and tells what it observes.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lanparty_lab::{Offloads, Party, PartyOptions, Proc, Programs, Uplink, game_server};

use crate::options::Options;
use crate::scene::{Event, Progress, Step};

mod observe;

/// What the game server is called, as the player shall read it.
const SERVER_NAME: &str = "the venue's server";
/// How long a step may take on a busy machine.
const STEP_WITHIN: Duration = Duration::from_secs(20);
/// BOOTP's ports, first byte of an answer, and shortest message (RFC 951).
const DHCP_SERVER_PORT: u16 = 67;
const DHCP_CLIENT_PORT: u16 = 68;
const BOOTREPLY: u8 = 2;
const DHCP_LEN_MIN: usize = 300;
/// How often a wait asks whether to stop.
const STOP_POLL: Duration = Duration::from_millis(100);
/// Time between steps, for the eye.
const PACE: Duration = Duration::from_millis(700);

/// What the director goes by.
pub(crate) struct Direction {
    party: PartyOptions,
    pace: Duration,
    stop: Arc<AtomicBool>,
}

impl Direction {
    /// From the command line; slower when somebody looks on.
    pub(crate) fn new(options: &Options, slowly: bool, stop: Arc<AtomicBool>) -> Self {
        let venue = Uplink::Wire(options.venue_line());
        let party = PartyOptions { gateway: venue, home: Uplink::Wire(options.line.clone()), lan: Offloads::On, ..PartyOptions::default() };
        Self { party, pace: if slowly { PACE } else { Duration::ZERO }, stop }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The stage as the director's helpers see it.
pub(crate) struct Stage<'a> {
    direction: &'a Direction,
    events: &'a SyncSender<Event>,
}

/// Plays until asked to stop, and takes everything down. Any other end is an error.
pub(crate) fn play(direction: &Direction, events: &SyncSender<Event>) -> Result<()> {
    let stage = Stage { direction, events };
    match stage.play() {
        Err(error) if error.is::<Stopped>() => Ok(()),
        outcome => outcome,
    }
}

/// The audience has left.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

impl Stage<'_> {
    fn play(&self) -> Result<()> {
        self.begin(Step::Lan)?;
        let party = Party::build("demo", &self.direction.party)?;
        self.done(Step::Lan, "10.73.42.0/24".into())?;
        self.begin(Step::Server)?;
        let _server = game_server(party.pc(2), SERVER_NAME)?;
        self.done(Step::Server, format!("\"{SERVER_NAME}\""))?;
        let programs = Programs::new(&party)?;
        let relay = self.start(Step::Relay, || programs.relay(), "listening on ")?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let observer = scope.spawn(|| observe::status(self, &party, &programs, &over));
            let played = self.play_members(&party, &programs, &over, &relay);
            over.store(true, Ordering::Relaxed);
            observer.join().unwrap_or(Ok(())).and(played)
        })
    }

    /// From the gateway on, observed.
    fn play_members(&self, party: &Party, programs: &Programs, over: &AtomicBool, relay: &Proc) -> Result<()> {
        let gateway = self.start(Step::Gateway, || programs.gateway(), "connected as ")?;
        let client = self.start(Step::Client, || programs.client(&["--dhcp"]), "connected as ")?;
        self.begin(Step::Lease)?;
        self.wait(&client, "DHCP received: ")?;
        self.pause()?;
        self.begin(Step::Ping)?;
        let ping = programs.ping(Party::pc_address(1))?;
        self.begin(Step::Switch)?;
        thread::scope(|scope| {
            let browser = scope.spawn(|| self.browse(party, over));
            let watched = observe::pings(self, &ping, &[relay, &gateway, &client]);
            over.store(true, Ordering::Relaxed);
            browser.join().unwrap_or(Ok(())).and(watched)
        })
    }

    /// The player opens the LAN tab, again and again until a server is there.
    fn browse(&self, party: &Party, over: &AtomicBool) -> Result<()> {
        self.pause()?;
        self.begin(Step::Found)?;
        while !over.load(Ordering::Relaxed) {
            let found = lanparty_lab::browse_lan(&party.home, Duration::from_secs(1), true)?;
            if let Some(game) = found.into_iter().next() {
                self.tell(Event::Game(game))?;
                return self.misbehave(party);
            }
        }
        Ok(())
    }

    /// Who joins can play, not rule: the player's machine offers leases as a DHCP server would, and nobody may hear it.
    fn misbehave(&self, party: &Party) -> Result<()> {
        self.pause()?;
        self.pause()?;
        self.begin(Step::Rogue)?;
        let offer = || -> std::io::Result<usize> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DHCP_SERVER_PORT))?;
            socket.set_broadcast(true)?;
            socket.send_to(&[BOOTREPLY; DHCP_LEN_MIN], (Ipv4Addr::BROADCAST, DHCP_CLIENT_PORT))
        };
        party.home.enter(offer)?.context("the false DHCP offer").map(drop)
    }

    /// Starts a program and waits until it says that it is ready.
    fn start(&self, step: Step, start: impl FnOnce() -> Result<Proc>, ready: &str) -> Result<Proc> {
        self.begin(step)?;
        let proc = start()?;
        let line = self.wait(&proc, ready).with_context(|| step.title().to_owned())?;
        // The columns that follow its words are for the log.
        let said = line.split_once(ready).map_or("", |(_, said)| said.split(" room=").next().unwrap_or_default());
        self.done(step, said.trim().to_owned())?;
        Ok(proc)
    }

    /// Waits for a line of a program.
    fn wait(&self, proc: &Proc, needle: &str) -> Result<String> {
        let deadline = Instant::now() + STEP_WITHIN;
        loop {
            match proc.wait_for(needle, STOP_POLL) {
                Ok(line) => return Ok(line),
                Err(error) if !proc.running() || Instant::now() >= deadline => return Err(error),
                Err(_) => self.go_on()?,
            }
        }
    }

    fn begin(&self, step: Step) -> Result<()> {
        self.tell(Event::Step(step, Progress::Doing))
    }

    fn done(&self, step: Step, outcome: String) -> Result<()> {
        self.tell(Event::Step(step, Progress::Done(outcome)))?;
        self.pause()
    }

    fn pause(&self) -> Result<()> {
        thread::sleep(self.direction.pace);
        self.go_on()
    }

    fn tell(&self, event: Event) -> Result<()> {
        if self.events.send(event).is_err() {
            bail!(Stopped);
        }
        self.go_on()
    }

    fn go_on(&self) -> Result<()> {
        if self.direction.stopped() {
            bail!(Stopped);
        }
        Ok(())
    }
}
