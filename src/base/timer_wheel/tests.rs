//! The wheel against owners that keep their deadlines in a map.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Owners as a connection would be: each knows its deadline, the wheel does not.
struct Model {
    wheel: TimerWheel,
    now_ms: u64,
    owners: BTreeMap<u64, Owner>,
    /// Deadlines that moved earlier, and so left an entry behind.
    moved_earlier: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Owner {
    alarm: Alarm,
    deadline_ms: Option<u64>,
    /// The tick in which the deadline was set: it comes up in a later one.
    set_in: u64,
}

impl Model {
    fn new(now_ms: u64) -> Self {
        let wheel = TimerWheel::new(now_ms);
        Self {
            wheel,
            now_ms,
            owners: BTreeMap::new(),
            moved_earlier: 0,
        }
    }

    fn set(&mut self, key: u64, deadline_ms: u64) {
        let owner = self.owners.entry(key).or_default();
        let before = owner.alarm;
        self.wheel.arm(&mut owner.alarm, key, deadline_ms);
        self.moved_earlier += usize::from(before != Alarm::default() && before != owner.alarm);
        owner.deadline_ms = Some(deadline_ms);
        owner.set_in = self.now_ms / TICK_MS;
    }

    /// Lets time pass; returns the keys that were due, and checks that none was missed.
    fn pass(&mut self, now_ms: u64) -> Vec<u64> {
        self.now_ms = now_ms;
        let mut due = Vec::new();
        while let Some(report) = self.wheel.pop(now_ms) {
            let Some(owner) = self.owners.get_mut(&report.key) else {
                continue;
            };
            if !owner.alarm.rings(report) {
                continue;
            }
            match owner.deadline_ms {
                Some(deadline_ms) if deadline_ms <= now_ms => {
                    owner.deadline_ms = None;
                    due.push(report.key);
                }
                Some(deadline_ms) => self.wheel.arm(&mut owner.alarm, report.key, deadline_ms),
                None => {}
            }
        }
        let tick = now_ms / TICK_MS;
        let missed = self.owners.iter().find(|(_, owner)| {
            owner.set_in < tick && owner.deadline_ms.is_some_and(|at| at <= tick * TICK_MS)
        });
        assert_eq!(missed, None, "due and not reported at {now_ms}");
        due
    }

    fn first_deadline(&self) -> Option<u64> {
        self.owners
            .values()
            .filter_map(|owner| owner.deadline_ms)
            .min()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        key: u64,
        ahead_ms: u64,
    },
    Forget {
        key: u64,
    },
    Close {
        key: u64,
    },
    Pass {
        ms: u64,
    },
    /// Until the wheel asks to be called.
    Sleep,
}

fn any_step() -> impl Strategy<Value = Step> {
    let ahead_ms = prop_oneof![0..200u64, 0..10_000u64, 0..600_000u64, Just(u64::MAX)];
    let ms = prop_oneof![0..100u64, 0..8_000u64, 0..500_000u64];
    prop_oneof![
        4 => (0..50u64, ahead_ms).prop_map(|(key, ahead_ms)| Step::Set { key, ahead_ms }),
        1 => (0..50u64).prop_map(|key| Step::Forget { key }),
        1 => (0..50u64).prop_map(|key| Step::Close { key }),
        2 => ms.prop_map(|ms| Step::Pass { ms }),
        2 => Just(Step::Sleep),
    ]
}

proptest! {
    #[test]
    fn no_deadline_is_missed(
        start in any::<u32>(),
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let mut model = Model::new(start.into());
        let mut closed = 0;
        for step in steps {
            match step {
                Step::Set { key, ahead_ms } => {
                    model.set(key, model.now_ms.saturating_add(ahead_ms));
                }
                Step::Forget { key } => {
                    model.owners.entry(key).or_default().deadline_ms = None;
                }
                Step::Close { key } => {
                    closed += usize::from(model.owners.remove(&key).is_some());
                }
                Step::Pass { ms } => {
                    model.pass(model.now_ms + ms);
                }
                Step::Sleep => {
                    let next = model.wheel.next_deadline();
                    prop_assert!(next.is_some() || model.first_deadline().is_none());
                    model.pass(next.unwrap_or(0).max(model.now_ms));
                }
            }
            prop_assert!(model.wheel.len() <= model.owners.len() + closed + model.moved_earlier);
            // The wheel asks to be woken no later than a tick after the first deadline.
            if let Some(first) = model.first_deadline() {
                let next = model.wheel.next_deadline().expect("keys are held");
                let tick_ahead = (model.now_ms / TICK_MS + 1) * TICK_MS;
                prop_assert!(next <= first.max(tick_ahead).saturating_add(TICK_MS));
            }
        }
    }

    /// Woken only when it asks, it reports each key at its deadline's tick.
    #[test]
    fn sleeping_reports_on_time(
        start in 0..10_000_000u64,
        deadlines in prop::collection::vec(1..900_000u64, 1..60),
    ) {
        let mut model = Model::new(start);
        for (key, ahead_ms) in deadlines.iter().enumerate() {
            model.set(key as u64, start + ahead_ms);
        }
        let mut wakes = 0;
        while let Some(next) = model.wheel.next_deadline() {
            wakes += 1;
            for key in model.pass(next) {
                let late = next - (start + deadlines[key as usize]);
                prop_assert!(late < TICK_MS, "{late} ms late");
            }
        }
        prop_assert!(model.first_deadline().is_none());
        // Each key comes up once a horizon, once in its wide bucket, once in its own.
        let most = 900_000 / (HORIZON_TICKS * TICK_MS) as usize + 2;
        prop_assert!(wakes <= deadlines.len() * most);
    }
}

/// Two deadlines in turn, the way a write timeout and an idle timeout alternate.
#[test]
fn entries_left_behind_die_out() {
    let mut model = Model::new(0);
    for turn in 0..10_000u64 {
        model.set(1, model.now_ms + if turn % 2 == 0 { 30_000 } else { 5_000 });
        model.pass(model.now_ms + 100);
    }
    assert!(
        model.wheel.len() < 100,
        "{} entries for one owner",
        model.wheel.len()
    );
}

#[test]
fn what_is_armed_while_popping_waits_for_the_next_tick() {
    let mut wheel = TimerWheel::new(1_000_000);
    let mut alarm = Alarm::default();
    wheel.arm(&mut alarm, 7, 0);
    let next = wheel.next_deadline().expect("a key is held");
    let report = wheel.pop(next).expect("it has come up");
    assert!(report.key == 7 && alarm.rings(report) && !alarm.rings(report));
    wheel.arm(&mut alarm, 7, 0);
    wheel.arm(&mut Alarm::default(), 8, next + SLOTS * TICK_MS);
    assert_eq!(wheel.pop(next), None);
    assert_eq!(wheel.next_deadline(), Some(next + TICK_MS));
}

#[test]
fn the_end_of_time_is_no_special_case() {
    let mut wheel = TimerWheel::new(u64::MAX - 1);
    wheel.arm(&mut Alarm::default(), 1, u64::MAX);
    assert_eq!(wheel.next_deadline(), Some(u64::MAX));
    assert_eq!(wheel.pop(u64::MAX), None);
}

#[test]
fn blocks_are_reused() {
    const KEYS: u64 = 100_000;
    let mut wheel = TimerWheel::new(0);
    let mut held = Vec::new();
    for turn in 0..8u64 {
        for key in 0..KEYS {
            wheel.arm(&mut Alarm::default(), key, turn * 400_000 + key % 300_000);
        }
        let popped = std::iter::from_fn(|| wheel.pop((turn + 1) * 400_000)).count();
        assert_eq!((popped, wheel.len()), (KEYS as usize, 0));
        held.push(wheel.heap_bytes());
    }
    assert_eq!(
        held.first(),
        held.last(),
        "nothing is allocated once the pool has grown"
    );
    // 8.26 bytes an entry, one block a bucket begun, and the doubling of the pool's vector.
    assert!(held[0] <= 2 * (KEYS as usize * 256 / BLOCK_KEYS + 128 * 256));
}
