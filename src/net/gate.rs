//! What may be open on a listener: shared by all cores, touched when a connection comes and goes.
//!
//! `max_connections` and `accept_rate` hold over all cores, though each core accepts for itself.
//! They are the only shared counters of the server, and no stanza touches them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// The answer to "may this connection be served now?".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Yes; it counts as open until [`Gate::release`].
    Granted,
    /// Not before the given time in milliseconds: the accept rate is used up.
    Later(u64),
    /// Not before another connection ends.
    Full,
}

/// One listener's limits and counts. Lives on: every shard (in an `Arc`).
#[derive(Debug)]
pub struct Gate {
    open_max: usize,
    /// Microseconds between two accepts; 0 = no limit.
    interval_us: u64,
    /// When the next accept is due by the rate, in microseconds (generic cell rate algorithm).
    due_us: AtomicU64,
    open: AtomicUsize,
    accepted: AtomicU64,
    waiting: AtomicUsize,
}

/// A second's worth of accepts may come at once after a pause, as with every bucket of ours.
const BURST_US: u64 = 1_000_000;

impl Gate {
    /// Limits of None are no limits.
    pub fn new(open_max: Option<usize>, accepts_per_second: Option<u64>) -> Self {
        Self {
            open_max: open_max.unwrap_or(usize::MAX),
            interval_us: accepts_per_second.map_or(0, |rate| 1_000_000 / rate.clamp(1, 1_000_000)),
            due_us: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Asks for one connection at a time in milliseconds of the server's clock.
    pub fn admit(&self, now_ms: u64) -> Admission {
        if !self.has_room() {
            return Admission::Full;
        }
        if let Err(due_us) = self.pace(now_ms.saturating_mul(1000)) {
            return Admission::Later((due_us - BURST_US).div_ceil(1000));
        }
        // Two cores may see the last place: who comes second has lost a token of the rate at most.
        let granted = self
            .open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| {
                (open < self.open_max).then_some(open + 1)
            });
        if granted.is_err() {
            return Admission::Full;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Admission::Granted
    }

    fn pace(&self, now_us: u64) -> Result<(), u64> {
        if self.interval_us == 0 {
            return Ok(());
        }
        // Times are shifted by the burst so that the first second of the clock is no exception.
        let now_us = now_us + BURST_US;
        self.due_us
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |due| {
                let due = due.max(now_us - BURST_US) + self.interval_us;
                (due <= now_us).then_some(due)
            })
            .map(|_| ())
            .map_err(|due| due.max(now_us - BURST_US) + self.interval_us)
    }

    /// A granted connection has ended. True when others may be waiting for its place.
    pub fn release(&self) -> bool {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Most that may be open; None: any number.
    pub fn open_max(&self) -> Option<usize> {
        (self.open_max < usize::MAX).then_some(self.open_max)
    }

    /// True while there is a free place.
    pub fn has_room(&self) -> bool {
        self.open.load(Ordering::SeqCst) < self.open_max
    }

    /// Free places, at most `most`.
    pub fn room(&self, most: u32) -> u32 {
        let free = self
            .open_max
            .saturating_sub(self.open.load(Ordering::SeqCst));
        most.min(u32::try_from(free).unwrap_or(u32::MAX))
    }

    /// Counts an accepted connection that waits for its place, or no longer does.
    pub fn note_waiting(&self, more: bool) {
        if more {
            self.waiting.fetch_add(1, Ordering::SeqCst);
        } else {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections admitted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_until_one_ends() {
        let gate = Gate::new(Some(2), None);
        assert_eq!(
            [gate.admit(0), gate.admit(0), gate.admit(0)].map(|a| a),
            [Admission::Granted, Admission::Granted, Admission::Full]
        );
        gate.note_waiting(true);
        assert!(gate.release());
        assert_eq!(gate.admit(0), Admission::Granted);
        assert_eq!((gate.open(), gate.accepted()), (2, 3));
    }

    #[test]
    fn a_second_of_burst_then_the_rate() {
        let gate = Gate::new(None, Some(10));
        let granted = (0..100)
            .filter(|_| gate.admit(5_000) == Admission::Granted)
            .count();
        assert_eq!(granted, 10);
        let Admission::Later(when) = gate.admit(5_000) else {
            panic!("must wait")
        };
        assert_eq!(when, 5_100);
        assert_eq!(gate.admit(when), Admission::Granted);
        assert_ne!(gate.admit(when), Admission::Granted);
        let later = (0..100)
            .filter(|_| gate.admit(60_000) == Admission::Granted)
            .count();
        assert_eq!(later, 10);
    }
}
