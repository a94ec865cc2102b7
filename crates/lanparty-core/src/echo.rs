//! Echo between members: who answers a request, who asks, and what the answers say (`lanparty ping`).
//!
//! Requests and replies are frames of the ordinary walk, admitted and counted at every station; only at their two ends
//! they are taken out in front of the device. [`Ping`] and [`Sweep`] decide what is asked and when; whoever owns them
//! sends it and brings the replies back.

mod ping;
mod sweep;

use std::time::{Duration, Instant};

use lanparty_proto::{DropReason, Echo, Frame, MacAddr, MemberFrame};

pub use ping::{Ping, PingPlan, PingReport};
pub use sweep::{Sweep, SweepReport};

use crate::limiter::{Rate, TokenBucket};

/// Requests that one member answers: a sweep and a few pings at once, and far from a load.
const ANSWERS: Rate = Rate { per_second: 200, burst: 400 };
/// A reply that takes longer than this is as good as lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a run of requests wants, or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoOutput {
    /// Send this request, `size` bytes long with its Ethernet header.
    Send {
        /// Which.
        echo: Echo,
        /// How long.
        size: usize,
    },
    /// Tell who asked.
    Event(EchoEvent),
    /// Poll again at that time; the text says what for.
    Timeout(Instant, &'static str),
    /// Nothing more will come.
    Done,
}

/// What became of a request, or of a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum EchoEvent {
    /// Answered.
    Reply { sequence: u32, size: usize, rtt: Duration },
    /// Not answered in time.
    Lost { sequence: u32, size: usize },
    /// Not even sent: this member's own half dropped it.
    Refused { sequence: u32, size: usize, reason: DropReason },
    /// A sweep found that this size passes, both ways.
    Passes { size: usize },
    /// A sweep found that this size does not come back.
    Vanishes { size: usize },
}

/// A frame between members that the inbound half took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A request was answered: send this frame.
    Answer(Vec<u8>),
    /// A reply to one of our requests, perhaps.
    Reply {
        /// Who says it.
        from: MacAddr,
        /// To which request.
        echo: Echo,
    },
    /// What this member sends comes directly from now on.
    DirectBegins {
        /// Who says it.
        from: MacAddr,
    },
}

/// The near end of the echo: takes frames between members out of the inbound half.
#[derive(Default)]
pub(crate) struct Ear {
    answers: Option<TokenBucket>,
    heard: Vec<Heard>,
}

impl Ear {
    /// `None` for a frame that is the device's; else whether it was answered, or why it goes no further.
    pub(crate) fn take(&mut self, frame: &Frame<'_>, own: MacAddr, now: Instant) -> Option<Result<(), DropReason>> {
        let said = MemberFrame::read(frame)?;
        Some(match said {
            MemberFrame::Request(echo) if frame.dst() == own => self.answer(frame, echo, own, now),
            MemberFrame::Reply(echo) if frame.dst() == own => {
                self.heard.push(Heard::Reply { from: frame.src(), echo });
                Ok(())
            }
            MemberFrame::DirectBegins if frame.dst() == own => {
                self.heard.push(Heard::DirectBegins { from: frame.src() });
                Ok(())
            }
            _ => Err(DropReason::ControlPlaneEtherType),
        })
    }

    fn answer(&mut self, frame: &Frame<'_>, echo: Echo, own: MacAddr, now: Instant) -> Result<(), DropReason> {
        if !self.answers.get_or_insert_with(|| TokenBucket::new(ANSWERS, now)).take(1, now) {
            return Err(DropReason::RateLimit);
        }
        self.heard.push(Heard::Answer(MemberFrame::Reply(echo).encode(frame.src(), own, frame.bytes().len())));
        Ok(())
    }

    pub(crate) fn drain(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }
}
