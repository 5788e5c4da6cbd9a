//! What a shard counts about itself.
//!
//! Each shard has [`Cells`] of its own, and counting is a plain addition to one of them: no other
//! core looks at the memory. Whoever asks for figures gets a copy from each shard and adds them up.
//! [`exposition`] writes them in the format that Prometheus reads.
//!
//! Nothing here knows XMPP: what an index means is said by who counts.

pub mod exposition;
pub mod traffic;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Upper bounds of the buckets of a [`Histogram`], in microseconds.
pub const BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

/// How long something took, many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by bucket, not summed up; the last one has no bound.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// The sum, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// So many things took so long.
    pub fn observe(&mut self, microseconds: u64, count: u64) {
        let place = BOUNDS_US.iter().position(|bound| microseconds <= *bound);
        if let Some(bucket) = self.buckets.get_mut(place.unwrap_or(BOUNDS_US.len())) {
            *bucket += count;
        }
        self.sum_us += microseconds * count;
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(other.buckets) {
            *own += others;
        }
        self.sum_us += other.sum_us;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// A histogram of what one background thread does for all shards; that thread alone adds to it.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl SharedHistogram {
    /// It took so long.
    pub fn observe(&self, microseconds: u64) {
        let place = BOUNDS_US.iter().position(|bound| microseconds <= *bound);
        if let Some(bucket) = self.buckets.get(place.unwrap_or(BOUNDS_US.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// How it stands.
    pub fn read(&self) -> Histogram {
        let mut copy = Histogram::default();
        for (to, from) in copy.buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Ordering::Relaxed);
        }
        copy.sum_us = self.sum_us.load(Ordering::Relaxed);
        copy
    }
}

/// Places for the conditions of stream errors.
pub const STREAM_ERRORS_MAX: usize = 32;

/// Kinds of refusals by the limits of an address.
pub const REFUSALS: usize = 3;
/// Places for the reasons why connections end.
pub const ENDS_MAX: usize = 16;
/// Places for what is wrong with PROXY headers.
pub const PROXY_FAILURES_MAX: usize = 8;

/// What is counted by listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes received, as they came over the wire.
    pub bytes_in: u64,
    /// Bytes sent, likewise.
    pub bytes_out: u64,
    /// TLS handshakes completed.
    pub handshakes: u64,
    /// TLS handshakes that were not.
    pub handshakes_failed: u64,
    /// Clients refused by the limits of their address, by number of the refusal.
    pub refusals: [u64; REFUSALS],
    /// Stream errors sent, by number of the condition.
    pub stream_errors: [u64; STREAM_ERRORS_MAX],
    /// Connections that ended, by number of the reason.
    pub ends: [u64; ENDS_MAX],
    /// PROXY headers refused, by number of what is wrong.
    pub proxy_failures: [u64; PROXY_FAILURES_MAX],
}

impl Place {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.handshakes += other.handshakes;
        self.handshakes_failed += other.handshakes_failed;
        let arrays: [(&mut [u64], &[u64]); 4] = [
            (&mut self.refusals, &other.refusals),
            (&mut self.stream_errors, &other.stream_errors),
            (&mut self.ends, &other.ends),
            (&mut self.proxy_failures, &other.proxy_failures),
        ];
        for (own, others) in arrays {
            for (own, others) in own.iter_mut().zip(others) {
                *own += others;
            }
        }
    }
}

/// The counters of one shard. Lives on: one shard; copies of it wherever somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// Stanzas that came in: iq, message, presence.
    pub stanzas_in: [u64; 3],
    /// By number of the listener.
    pub places: Vec<Place>,
    /// Bytes of BOSH requests.
    pub bosh_in: u64,
    /// Bytes of their answers.
    pub bosh_out: u64,
    /// Servers that did not prove who they are, to us or to which we did not.
    pub servers_refused: u64,
    /// Components whose handshake was wrong.
    pub components_refused: u64,
    /// Passwords that were known to be right, and needed no computation.
    pub passwords_remembered: u64,
    /// Passwords that were computed although right ones are remembered.
    pub passwords_computed: u64,
    /// From the read that brought a stanza to the end of the turn's writes.
    pub turn: Histogram,
    /// HTTP requests answered.
    pub requests: u64,
    /// Connections that this shard took up.
    pub accepts: u64,
}

impl Cells {
    /// What is counted of a listener, by its number, of which there are few.
    pub fn place(&mut self, number: u16) -> &mut Place {
        let number = usize::from(number);
        if number >= self.places.len() {
            self.places.resize(number + 1, Place::default());
        }
        self.places
            .get_mut(number)
            .expect("the vector has just been made long enough")
    }

    /// All listeners together.
    pub fn everywhere(&self) -> Place {
        let mut sum = Place::default();
        for place in &self.places {
            sum.add(place);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        let mut histogram = Histogram::default();
        histogram.observe(50, 1);
        histogram.observe(51, 2);
        histogram.observe(u64::MAX / 4, 1);
        assert_eq!(histogram.buckets[..2], [1, 2]);
        assert_eq!(histogram.buckets[BOUNDS_US.len()], 1);
        let mut sum = histogram;
        sum.add(&histogram);
        assert_eq!((sum.count(), sum.buckets[1]), (8, 4));
    }
}
