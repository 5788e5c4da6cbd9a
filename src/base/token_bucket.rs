//! Token buckets: so many units a second, with a second's worth in hand.
//!
//! Shapers and rate limits use the same bucket. It holds at most what one second brings, starts
//! full, and may go into debt: the bytes of a read are known only after it, so a reader asks
//! whether anything is [`TokenBucket::available`], reads, and pays with [`TokenBucket::take`]
//! whatever it was. After a debt nothing is available until it is paid off, and the long-run rate
//! holds exactly.
//!
//! Time is a parameter, in milliseconds from any origin. A clock that goes back counts as standing
//! still.
//!
//! Lives on: whoever is limited.

/// Largest rate that is told apart, in units a second. It keeps the arithmetic below far from
/// overflow; as bytes it is a terabyte a second.
pub const RATE_MAX: u64 = 1 << 40;

/// Inside, units are counted in thousandths, so that a millisecond brings a whole number of them.
const MILLI: i64 = 1000;

/// A bucket of `rate` units that fills at `rate` units a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Thousandths of units at `since_ms`; negative in debt.
    level: i64,
    since_ms: u64,
    rate: i64,
}

impl TokenBucket {
    /// A full bucket. A rate above [`RATE_MAX`] is taken as that; one of 0 never gives anything.
    #[must_use]
    pub fn new(rate: u64, now_ms: u64) -> Self {
        let rate = rate.min(RATE_MAX) as i64;
        Self {
            level: rate * MILLI,
            since_ms: now_ms,
            rate,
        }
    }

    /// Whole units that may be spent now.
    #[must_use]
    pub fn available(&self, now_ms: u64) -> u64 {
        u64::try_from(self.level_at(now_ms) / MILLI).unwrap_or(0)
    }

    /// Spends `units`, be they available or not.
    pub fn take(&mut self, now_ms: u64, units: u64) {
        let spent = i64::try_from(units)
            .unwrap_or(i64::MAX)
            .saturating_mul(MILLI);
        self.level = self.level_at(now_ms).saturating_sub(spent);
        self.since_ms = self.since_ms.max(now_ms);
    }

    /// `None` when a unit is available; otherwise when one will be, in milliseconds.
    #[must_use]
    pub fn ready_at(&self, now_ms: u64) -> Option<u64> {
        let missing = MILLI.saturating_sub(self.level_at(now_ms));
        if missing <= 0 {
            return None;
        }
        if self.rate == 0 {
            return Some(u64::MAX);
        }
        let wait_ms = (missing as u64).div_ceil(self.rate as u64);
        Some(self.since_ms.max(now_ms).saturating_add(wait_ms))
    }

    /// Whether the bucket is as good as a new one, so that it may be forgotten.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.level_at(now_ms) == self.rate * MILLI
    }

    fn level_at(&self, now_ms: u64) -> i64 {
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.since_ms)).unwrap_or(i64::MAX);
        let gained = elapsed_ms.saturating_mul(self.rate);
        self.level.saturating_add(gained).min(self.rate * MILLI)
    }
}

const _: () = assert!(size_of::<TokenBucket>() == 24);
const _: () = assert!(RATE_MAX <= (i64::MAX / MILLI) as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn starts_full_and_pays_its_debt() {
        let mut bucket = TokenBucket::new(1000, 5);
        assert_eq!((bucket.available(5), bucket.ready_at(5)), (1000, None));
        bucket.take(5, 1000);
        assert_eq!((bucket.available(5), bucket.ready_at(5)), (0, Some(6)));
        assert_eq!(bucket.available(6), 1);
        bucket.take(6, 8192);
        // 8,191 units of debt, and one more to have one.
        assert_eq!(bucket.ready_at(6), Some(6 + 8192));
        assert_eq!(
            (bucket.available(6 + 8191), bucket.available(6 + 8192)),
            (0, 1)
        );
        assert_eq!(bucket.available(1_000_000), 1000);
        assert!(bucket.is_full(1_000_000));
    }

    #[test]
    fn slow_rates_lose_no_fraction() {
        let mut bucket = TokenBucket::new(3, 0);
        bucket.take(0, 3);
        assert_eq!(bucket.ready_at(0), Some(334));
        assert_eq!(
            (
                bucket.available(333),
                bucket.available(334),
                bucket.available(667)
            ),
            (0, 1, 2)
        );
        assert_eq!((bucket.available(999), bucket.available(1000)), (2, 3));
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let mut bucket = TokenBucket::new(10, 1000);
        bucket.take(1000, 10);
        assert_eq!(bucket.available(0), 0);
        bucket.take(0, 1);
        assert_eq!(bucket.ready_at(0), Some(1200));
    }

    #[test]
    fn rate_zero_gives_nothing() {
        let bucket = TokenBucket::new(0, 0);
        assert_eq!(
            (bucket.available(u64::MAX), bucket.ready_at(7)),
            (0, Some(u64::MAX))
        );
    }

    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![0..2000u64, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn nothing_overflows(rate in any_number(), steps in prop::collection::vec((any_number(), any_number()), 0..20)) {
            let mut bucket = TokenBucket::new(rate, 0);
            for (now_ms, units) in steps {
                prop_assert!(bucket.available(now_ms) <= rate);
                bucket.take(now_ms, units);
                match bucket.ready_at(now_ms) {
                    None => prop_assert!(bucket.available(now_ms) > 0),
                    Some(at) => prop_assert!(bucket.available(now_ms) == 0 && at > now_ms.min(u64::MAX - 1)),
                }
            }
        }

        /// Against a model in exact arithmetic that refills step by step.
        #[test]
        fn agrees_with_the_naive_bucket(rate in 1..5000u64, steps in prop::collection::vec((0..300u64, 0..2000u64), 0..60)) {
            let mut bucket = TokenBucket::new(rate, 0);
            let (mut now_ms, mut level) = (0, i128::from(rate) * 1000);
            for (pause_ms, units) in steps {
                for _ in 0..pause_ms {
                    now_ms += 1;
                    level = (level + i128::from(rate)).min(i128::from(rate) * 1000);
                }
                prop_assert_eq!(i128::from(bucket.available(now_ms)), level.max(0) / 1000);
                bucket.take(now_ms, units);
                level -= i128::from(units) * 1000;
            }
        }

        /// A reader that obeys gets no more than the rate, a full bucket and one read.
        #[test]
        fn the_long_run_rate_holds(rate in 1..100_000u64, reads in prop::collection::vec(1..16_384u64, 1..200)) {
            let mut bucket = TokenBucket::new(rate, 0);
            let (mut now_ms, mut total) = (0, 0);
            for read in &reads {
                if let Some(at) = bucket.ready_at(now_ms) {
                    prop_assert_eq!(bucket.available(at - 1), 0);
                    prop_assert!(bucket.available(at) >= 1);
                    now_ms = at;
                }
                bucket.take(now_ms, *read);
                total += read;
                prop_assert!(total <= rate + rate * now_ms / 1000 + 16_384);
            }
        }
    }
}
