//! How a stopping server lets its connections go: one after the other over most of the drain time,
//! so that ten thousand clients do not come back in the same second, to this server's successor or
//! to its neighbours.
//!
//! A shard that has let everybody go says so and waits for the others: as long as one of them has
//! sessions, stanzas may come for users of this one, and have to be kept or bounced.

use std::sync::mpsc::SyncSender;

use crate::base::key::Key;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::s2s::Letter;
use crate::listeners::shard::Shard;
use crate::net::ring::Ring;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;

/// Time between two groups of streams that are ended, in milliseconds.
const TICK_MS: u64 = 10;
/// Streams that a core ends in each tick at least: a few hundred clients are no flood, and nobody
/// should wait ten seconds for their server to restart.
const PER_TICK_MIN: u64 = 10;
/// Time after the deadline in which the others are waited for, in milliseconds.
const OTHERS_MS: u64 = 2_000;

/// A stop that is under way. Lives on: one shard.
pub struct Drain {
    begun_ms: u64,
    /// Over so long streams are ended; the rest of the drain is theirs to close.
    spread_ms: u64,
    /// Connections that are still to be ended, the last one first.
    queue: Vec<Key>,
    /// Those that are ended once no shard has sessions any more.
    speakers: Vec<Key>,
    /// Shards that have ended all sessions, and whose last words have come here.
    quiet: usize,
    is_quiet: bool,
    total: u64,
    told: u64,
    /// Takes this shard's number once nobody is left.
    drained: Option<SyncSender<usize>>,
    /// Every shard is drained.
    finished: bool,
}

impl Drain {
    /// A quarter of the time is left for peers to close their side. `quiet`: shards that have fallen
    /// quiet already.
    fn new(
        now_ms: u64,
        drain_ms: u64,
        (queue, speakers): (Vec<Key>, Vec<Key>),
        drained: SyncSender<usize>,
        quiet: usize,
    ) -> Self {
        Self {
            begun_ms: now_ms,
            spread_ms: drain_ms - drain_ms / 4,
            total: (queue.len() + speakers.len()) as u64,
            queue,
            speakers,
            quiet,
            is_quiet: false,
            told: 0,
            drained: Some(drained),
            finished: false,
        }
    }

    /// How many streams should have been ended by now.
    fn due(&self, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.begun_ms) + TICK_MS;
        if elapsed_ms >= self.spread_ms {
            return self.total;
        }
        let even = self.total * elapsed_ms / self.spread_ms;
        even.max(elapsed_ms / TICK_MS * PER_TICK_MIN)
            .min(self.total)
    }

    fn next(&mut self, now_ms: u64) -> Option<Key> {
        if self.told >= self.due(now_ms) {
            return None;
        }
        let next = self.queue.pop()?;
        self.told += 1;
        Some(next)
    }

    /// True once: when this shard has nothing more to say to servers and components.
    fn falls_quiet(&mut self) -> bool {
        self.queue.is_empty() && !std::mem::replace(&mut self.is_quiet, self.queue.is_empty())
    }

    /// One more of `shards` has fallen quiet.
    fn hears_quiet(&mut self, shards: usize) {
        self.quiet += 1;
        if self.quiet == shards {
            self.queue = std::mem::take(&mut self.speakers);
        }
    }
}

/// Who goes when. Who has no session yet goes first: there is nothing that it could still finish.
/// Other servers and components go last, when no shard has sessions: what the end of a session has
/// to tell them still can.
fn turn(stage: &Stage) -> u8 {
    match stage {
        Stage::Proxy(_)
        | Stage::Http
        | Stage::Negotiating(_)
        | Stage::Joining(_)
        | Stage::Lent
        | Stage::Ending => 0,
        Stage::Session(_) => 1,
        Stage::Peer(_) | Stage::Inbound(_) | Stage::Outbound(_) => 2,
    }
}

impl Shard {
    /// The server stops: no more connections, and every stream ends in order within `drain_ms`.
    pub(super) fn stop(&mut self, ring: &mut Ring, drain_ms: u64, drained: SyncSender<usize>) {
        if self.stop_by_ms > 0 {
            return;
        }
        let now_ms = self.desk.now_ms;
        self.stop_by_ms = now_ms + drain_ms.max(1);
        for acceptor in &mut self.acceptors {
            acceptor.close(ring);
        }
        let mut queue = self.desk.slab.keys();
        queue.sort_by_key(|key| {
            let connection = self.desk.slab.get(*key);
            std::cmp::Reverse(connection.map_or(0, |connection| turn(&connection.stage)))
        });
        let is_last = |key: &mut Key| {
            let connection = self.desk.slab.get(*key);
            connection.is_some_and(|connection| turn(&connection.stage) == 2)
        };
        let speakers = queue.extract_if(.., is_last).collect();
        let queues = (queue, speakers);
        self.drain = Some(Drain::new(now_ms, drain_ms, queues, drained, self.quiet));
    }

    /// A shard has ended all its sessions. What they had to say came before this. It may have been told
    /// of the stop before this one is.
    pub(super) fn hear_quiet(&mut self) {
        let shards = self.settings.hosts.shards();
        match &mut self.drain {
            Some(drain) => drain.hears_quiet(shards),
            None => self.quiet += 1,
        }
    }

    /// Every shard has let its connections go: this one ends when it has read its mail.
    pub(super) fn finish_drain(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.finished = true;
        }
    }

    /// Ends the streams whose turn it is, and at the deadline whoever is left.
    pub(super) fn run_drain(&mut self, ring: &mut Ring) {
        let now_ms = self.desk.now_ms;
        while let Some(key) = self.drain.as_mut().and_then(|drain| drain.next(now_ms)) {
            let error = StreamError::new(StreamCondition::SystemShutdown);
            self.end_with(ring, key, EndReason::Shutdown, error);
        }
        if self.drain.as_mut().is_some_and(Drain::falls_quiet) {
            for shard in 0..self.settings.hosts.shards() {
                self.post(shard, Letter::Quiet);
            }
        }
        if self.stop_by_ms > 0 && now_ms >= self.stop_by_ms && !self.desk.slab.is_empty() {
            let left = self.desk.slab.keys();
            tracing::warn!(
                connections = left.len(),
                shard = self.number(),
                "the drain time is over; these did not close and are cut"
            );
            for key in left {
                self.close(ring, key, EndReason::Shutdown);
            }
        }
    }

    /// Says once that nobody is left here and that nothing is held back for another shard.
    pub(super) fn tell_drained(&mut self, flushed: bool) {
        let empty = self.desk.slab.is_empty() && flushed;
        let number = self.number();
        if let Some(drain) = &mut self.drain
            && empty
            && let Some(drained) = drain.drained.take()
        {
            // Whoever waited may have given up.
            let _ = drained.try_send(number);
        }
    }

    /// When the drain needs the shard although nothing happens; milliseconds.
    pub(super) fn drain_due_ms(&self) -> Option<u64> {
        let drain = self.drain.as_ref()?;
        if !drain.queue.is_empty() || !drain.speakers.is_empty() {
            return Some((self.desk.now_ms + TICK_MS).min(self.stop_by_ms));
        }
        Some(match self.desk.slab.is_empty() {
            true => self.stop_by_ms + OTHERS_MS,
            false => self.stop_by_ms,
        })
    }

    /// The shard may end.
    pub(super) fn is_done(&self) -> bool {
        let Some(drain) = &self.drain else {
            return false;
        };
        let late = self.desk.now_ms >= self.stop_by_ms + OTHERS_MS;
        late || (drain.finished && self.desk.slab.is_empty() && self.desk.mesh.is_idle())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    fn key(slot: u32) -> Key {
        Key {
            slot,
            generation: 0,
        }
    }

    fn drain(streams: u32, drain_ms: u64) -> Drain {
        let (sender, _) = sync_channel(1);
        let queue = (0..streams).map(key).collect();
        Drain::new(1_000, drain_ms, (queue, Vec::new()), sender, 0)
    }

    fn told_by(drain: &mut Drain, now_ms: u64) -> u64 {
        while drain.next(now_ms).is_some() {}
        drain.told
    }

    #[test]
    fn many_streams_are_spread_over_three_quarters_of_the_time() {
        let mut drain = drain(9_000, 10_000);
        let at = |drain: &mut Drain, ms: u64| told_by(drain, 1_000 + ms);
        assert!(at(&mut drain, 0) <= 20);
        let half = at(&mut drain, 3_750);
        assert!((4_000..=5_000).contains(&half), "{half}");
        assert!(at(&mut drain, 7_000) < 9_000);
        assert_eq!(at(&mut drain, 7_500), 9_000);
    }

    #[test]
    fn few_streams_end_at_once() {
        assert_eq!(told_by(&mut drain(10, 10_000), 1_000), 10);
        assert_eq!(told_by(&mut drain(1_000, 10_000), 2_000), 1_000);
    }

    #[test]
    fn servers_and_components_go_when_no_shard_has_sessions() {
        let (sender, _) = sync_channel(1);
        let mut drain = Drain::new(1_000, 10_000, (vec![key(0)], vec![key(1)]), sender, 0);
        assert!(!drain.falls_quiet());
        assert_eq!(drain.next(1_000), Some(key(0)));
        assert!(drain.falls_quiet() && !drain.falls_quiet());
        drain.hears_quiet(2);
        assert_eq!(drain.next(9_000), None);
        drain.hears_quiet(2);
        assert_eq!(drain.next(9_000), Some(key(1)));
        assert!(!drain.falls_quiet());
    }

    #[test]
    fn a_shard_that_fell_quiet_before_this_one_stops_counts() {
        let (sender, _) = sync_channel(1);
        let mut drain = Drain::new(1_000, 10_000, (Vec::new(), vec![key(1)]), sender, 1);
        assert!(drain.falls_quiet());
        drain.hears_quiet(2);
        assert_eq!(drain.next(1_000), Some(key(1)));
    }

    #[test]
    fn no_time_means_at_once() {
        assert_eq!(told_by(&mut drain(5_000, 0), 1_000), 5_000);
        assert_eq!(told_by(&mut drain(0, 0), 1_000), 0);
    }
}
