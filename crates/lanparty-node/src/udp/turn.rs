//! How much a task of the stack does in its turn.
//!
//! The stack ends a connection's turn after twenty datagrams that it sent, and tokio ends it after 128 that came for it. On one thread everybody
//! else has a turn before the rest: who reads faster than it sends fills a queue, and what came waits in the stack, without a bound.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// As many datagrams as the stack sends in a turn when it has more.
const STACK_TURN: usize = 20;
/// A connection's turn is at most so many of the stack's.
const TURNS_MAX: usize = 8;

/// Tasks of the stack.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// Datagrams that the task has sent since it was polled.
    static SENT: Cell<usize> = const { Cell::new(0) };
}

/// The task that runs has sent so many.
pub(super) fn count_sent(datagrams: usize) {
    SENT.set(SENT.get() + datagrams);
}

/// What a connection takes in during its turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Intake {
    /// All that came for it: a member has few connections, and how much comes at once the socket bounds.
    All,
    /// As much as tokio lets it: at a relay, where others' acknowledgements must not wait behind one's burst.
    Shared,
}

impl Intake {
    /// `task`, which has so much in its turn, and sends all that it may.
    pub(super) fn turns_of(self, task: Task) -> Task {
        match self {
            Self::All => Box::pin(tokio::task::unconstrained(Whole(task))),
            Self::Shared => Box::pin(Whole(task)),
        }
    }
}

/// Sends all that it may in its turn.
struct Whole(Task);

impl Future for Whole {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_MAX {
            SENT.set(0);
            if self.0.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if SENT.get() < STACK_TURN {
                break;
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    /// How often a task that has `datagrams` to send is polled until it waits for others.
    fn polls(datagrams: usize) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let (counted, mut left) = (Arc::clone(&count), datagrams);
        let mut task = Intake::Shared.turns_of(Box::pin(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let sent = left.min(STACK_TURN);
            left -= sent;
            count_sent(sent);
            Poll::Pending
        })));
        assert!(task.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn it_goes_on_while_it_sends_full_turns_and_not_for_ever() {
        assert_eq!([0, 1, 19, 20, 59, 60, usize::MAX].map(polls), [1, 1, 1, 2, 3, 4, TURNS_MAX]);
    }

    /// How many of a thousand a task takes in before others run.
    fn taken_in(intake: Intake) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (sender, mut events) = mpsc::unbounded_channel();
            (0..1000).for_each(|event| sender.send(event).unwrap());
            let taken = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&taken);
            tokio::spawn(intake.turns_of(Box::pin(async move {
                while events.recv().await.is_some() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })));
            tokio::task::yield_now().await;
            drop(sender);
            taken.load(Ordering::Relaxed)
        })
    }

    #[test]
    fn a_member_takes_in_all_that_came_and_a_relay_a_share() {
        assert_eq!(taken_in(Intake::All), 1000);
        assert!((1..1000).contains(&taken_in(Intake::Shared)));
    }
}
