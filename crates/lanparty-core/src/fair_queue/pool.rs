//! One memory for all flows: however they come and go, it holds as many datagrams as ever waited at once, and no more.

use std::time::Instant;

use bytes::Bytes;

/// No slot.
const NIL: u16 = u16::MAX;

/// A datagram that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) datagram: Bytes,
    pub(super) since: Instant,
    /// In the order of arrival.
    pub(super) number: u64,
}

#[derive(Debug)]
struct Slot {
    waiting: Option<Waiting>,
    next: u16,
}

/// The datagrams of all flows.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Slot>,
    free: u16,
}

/// Some of them, in order. Only the pool it came from understands it.
#[derive(Debug)]
pub(super) struct Fifo {
    head: u16,
    tail: u16,
    bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { slots: vec![], free: NIL }
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, bytes: 0 }
    }
}

impl Fifo {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NIL
    }
}

impl Pool {
    /// Appends to `fifo`.
    pub(super) fn push_back(&mut self, fifo: &mut Fifo, waiting: Waiting) {
        fifo.bytes += waiting.datagram.len();
        let slot = self.occupy(waiting, NIL);
        match self.slots.get_mut(usize::from(fifo.tail)) {
            Some(tail) => tail.next = slot,
            None => fifo.head = slot,
        }
        fifo.tail = slot;
    }

    /// Puts in front of `fifo`.
    pub(super) fn push_front(&mut self, fifo: &mut Fifo, waiting: Waiting) {
        fifo.bytes += waiting.datagram.len();
        let slot = self.occupy(waiting, fifo.head);
        if fifo.is_empty() {
            fifo.tail = slot;
        }
        fifo.head = slot;
    }

    /// Takes from the front of `fifo`.
    pub(super) fn pop_front(&mut self, fifo: &mut Fifo) -> Option<Waiting> {
        let at = fifo.head;
        let slot = self.slots.get_mut(usize::from(at))?;
        let waiting = slot.waiting.take()?;
        fifo.bytes -= waiting.datagram.len();
        fifo.head = std::mem::replace(&mut slot.next, self.free);
        if fifo.is_empty() {
            fifo.tail = NIL;
        }
        self.free = at;
        Some(waiting)
    }

    /// The datagram at the front of `fifo`.
    pub(super) fn front(&self, fifo: &Fifo) -> Option<&Bytes> {
        self.slots.get(usize::from(fifo.head))?.waiting.as_ref().map(|w| &w.datagram)
    }

    fn occupy(&mut self, waiting: Waiting, next: u16) -> u16 {
        let at = self.free;
        if let Some(slot) = self.slots.get_mut(usize::from(at)) {
            self.free = std::mem::replace(slot, Slot { waiting: Some(waiting), next }).next;
            return at;
        }
        let at = u16::try_from(self.slots.len()).ok().filter(|at| *at != NIL);
        self.slots.push(Slot { waiting: Some(waiting), next });
        at.expect("INVARIANT: the queue holds far fewer datagrams than there are numbers")
    }

    /// Slots, used or not.
    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }
}
