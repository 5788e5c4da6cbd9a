//! How often one and the same line of code may log: a flood of one message must not bury the others
//! or fill a disk.
//!
//! Counted per call site and second, in a fixed table of atomics that only logging touches. Levels
//! below info are not limited: who asks for debug wants all of it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::Event;
use tracing::Level;
use tracing::Metadata;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one call site in a second; what is beyond them is counted.
const PER_SECOND_MAX: u64 = 10;
/// Call sites that are watched; there are fewer in the program. Later ones are not limited.
const SITES_MAX: usize = 512;
/// Bits of the count beside the second in one atomic.
const COUNT_BITS: u32 = 16;

struct Site {
    metadata: OnceLock<&'static Metadata<'static>>,
    /// The second, and how many lines it has seen.
    window: AtomicU64,
    left_out: AtomicU64,
}

/// What repeats. Lives on: once per process.
pub(super) struct Repeats {
    sites: Box<[Site]>,
    since: Instant,
}

impl Repeats {
    #[expect(clippy::disallowed_methods, reason = "seconds of the log's own")]
    pub(super) fn new() -> Self {
        let site = |_| Site {
            metadata: OnceLock::new(),
            window: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        };
        Self {
            sites: (0..SITES_MAX).map(site).collect(),
            since: Instant::now(),
        }
    }

    fn allows(&self, metadata: &'static Metadata<'static>, second: u64) -> bool {
        let Some(site) = self.site(metadata) else {
            return true;
        };
        // Beyond its bits the count would run into the second.
        let most = (1 << COUNT_BITS) - 1;
        let before = site
            .window
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |window| {
                let (then, count) = (window >> COUNT_BITS, window & most);
                let count = if then == second { count } else { 0 };
                Some((second << COUNT_BITS) | (count + 1).min(most))
            });
        let before = before.unwrap_or_else(|window| window);
        let count = if before >> COUNT_BITS == second {
            before & most
        } else {
            0
        };
        if count < PER_SECOND_MAX {
            return true;
        }
        site.left_out.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn site(&self, metadata: &'static Metadata<'static>) -> Option<&Site> {
        self.sites.iter().find(|site| {
            let owner = site.metadata.get_or_init(|| metadata);
            std::ptr::eq(*owner, metadata)
        })
    }

    /// Where lines were left out since the last call, and how many.
    pub(super) fn take_left_out(&self) -> Vec<(String, u64)> {
        let known = self
            .sites
            .iter()
            .filter_map(|site| Some((site, site.metadata.get()?)));
        known
            .filter_map(|(site, metadata)| {
                let lines = site.left_out.swap(0, Ordering::Relaxed);
                let file = metadata.file().unwrap_or_else(|| metadata.target());
                let line = metadata.line().unwrap_or_default();
                (lines > 0).then(|| (format!("{file}:{line}"), lines))
            })
            .collect()
    }
}

/// Leaves out what repeats.
pub(super) struct Limit {
    repeats: Arc<Repeats>,
}

impl Limit {
    pub(super) fn new(repeats: Arc<Repeats>) -> Self {
        Self { repeats }
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Levels are ordered by how much they say.
        *metadata.level() > Level::INFO
            || self
                .repeats
                .allows(metadata, self.repeats.since.elapsed().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Counts what comes through.
    struct Counter(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counting(repeats: &Arc<Repeats>, log: impl Fn()) -> usize {
        let counted = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry()
            .with(Counter(Arc::clone(&counted)))
            .with(Limit::new(Arc::clone(repeats)));
        tracing::subscriber::with_default(subscriber, log);
        counted.load(Ordering::Relaxed)
    }

    /// That of some call site.
    fn metadata() -> &'static Metadata<'static> {
        struct Keep(Arc<OnceLock<&'static Metadata<'static>>>);
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.0.get_or_init(|| event.metadata());
            }
        }
        let kept = Arc::new(OnceLock::new());
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || tracing::info!("somewhere"));
        kept.get().copied().expect("one event")
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let repeats = Arc::new(Repeats::new());
        let flood = || {
            for number in 0..1_000 {
                tracing::warn!(number, "flood");
            }
            tracing::warn!("another line");
        };
        let seen = counting(&repeats, flood);
        // The second may have changed once on the way.
        assert!((11..=21).contains(&seen), "{seen}");
        let left_out = repeats.take_left_out();
        let [(place, lines)] = left_out.as_slice() else {
            panic!("{left_out:?}");
        };
        assert!(place.contains("repeats.rs:"), "{place}");
        assert_eq!(*lines as usize, 1_001 - seen);
        assert!(repeats.take_left_out().is_empty(), "told once");
    }

    #[test]
    fn debug_is_not_cut() {
        let repeats = Arc::new(Repeats::new());
        let seen = counting(&repeats, || {
            for _ in 0..100 {
                tracing::debug!("all of it");
            }
        });
        assert_eq!(seen, 100);
    }

    #[test]
    fn each_second_has_its_own() {
        let repeats = Repeats::new();
        let site = metadata();
        let allowed = |second| (0..20).filter(|_| repeats.allows(site, second)).count() as u64;
        assert_eq!(allowed(1), PER_SECOND_MAX);
        assert_eq!(allowed(1), 0);
        assert_eq!(allowed(2), PER_SECOND_MAX);
    }
}
