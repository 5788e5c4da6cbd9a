//! Many coarse deadlines, one wake-up: the timers of a core's connections.
//!
//! The wheel holds keys, not deadlines; the owner of a key keeps its deadline itself, and an
//! [`Alarm`] of 8 bytes. [`TimerWheel::arm`] files the key in the bucket of the deadline's tick or,
//! when that is far ahead, in a wider bucket that comes up before it. [`TimerWheel::pop`] hands out
//! the keys that have come up, and the owner looks at its clock:
//!
//! ```
//! # use meerkat::base::timer_wheel::{Alarm, TimerWheel};
//! # let (mut wheel, mut alarm, deadline, key) = (TimerWheel::new(0), Alarm::default(), 5_000, 1);
//! wheel.arm(&mut alarm, key, deadline);
//! # let now = wheel.next_deadline().unwrap();
//! while let Some(report) = wheel.pop(now) {
//!     // Find the owner of report.key; it may be gone.
//!     if alarm.rings(report) {
//!         if deadline <= now {
//!             // Act.
//!         } else {
//!             wheel.arm(&mut alarm, key, deadline);
//!         }
//!     }
//! }
//! ```
//!
//! Nothing is ever cancelled or moved. A deadline that moves later, or away, costs nothing until
//! the key comes up; one that moves earlier is armed again, and the entry it leaves behind is
//! ignored when it comes up. Keys should carry a generation, because an entry may outlive its owner.
//!
//! What holds: an armed key is reported within [`TICK_MS`] after its deadline, provided that `pop`
//! is called when [`TimerWheel::next_deadline`] says so. It may be reported earlier. An entry takes
//! 8 bytes; buckets are chains of blocks from one pool, which grows to the most entries ever held
//! at a time and is reused from then on.
//!
//! Time is a parameter, in milliseconds from any origin that does not go back.
//!
//! Lives on: every shard, one each.

#[cfg(test)]
mod tests;

/// Width of a tick in milliseconds: how late a deadline may be noticed. Timeouts of connections
/// are seconds; a wider tick means fewer wake-ups of an otherwise idle core.
pub const TICK_MS: u64 = 64;

/// Buckets of each of the two levels: one tick wide, then `SLOTS` ticks (4 s) wide.
const SLOTS: u64 = 64;

/// How far ahead a key is filed, in ticks (258 s). A later deadline comes up at this distance and
/// is armed again, which also bounds how long the entry of a closed connection takes up room.
const HORIZON_TICKS: u64 = SLOTS * (SLOTS - 1);

/// Keys of a block: with its header a block is 256 bytes.
const BLOCK_KEYS: usize = 31;

/// The end of a chain of blocks.
const NO_BLOCK: u32 = u32::MAX;

/// Where the keys wait; see the module's text.
pub struct TimerWheel {
    /// The tick up to which, itself included, everything has come up.
    now: u64,
    /// Keys by tick: everything at most `SLOTS` ticks ahead.
    near: Level,
    /// Keys by group of `SLOTS` ticks; a group comes up at its first tick.
    far: Level,
    /// What came up at `now` and was not popped yet: of the far level and of the near one.
    due: [u32; 2],
    pool: Pool,
    len: usize,
}

/// The owner's side of its entry in the wheel. An owner that moves to another core takes a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// The tick at which the entry comes up that counts; 0 where there is none, as no entry comes
    /// up in the first tick of time.
    tick: u64,
}

/// A key that has come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The key that was armed.
    pub key: u64,
    tick: u64,
}

/// One turn of buckets, indexed by the low bits of what they stand for.
struct Level {
    /// Bit n: bucket n has keys.
    occupied: u64,
    heads: [u32; SLOTS as usize],
}

/// Blocks of keys, in chains.
struct Pool {
    blocks: Vec<Block>,
    free: u32,
}

struct Block {
    next: u32,
    len: u32,
    keys: [u64; BLOCK_KEYS],
}

impl Alarm {
    /// Whether `report` is of the entry that counts, and not of one left behind by an earlier
    /// deadline. Afterwards there is none: arm again if there is still something to wait for.
    #[must_use]
    pub fn rings(&mut self, report: Report) -> bool {
        let rings = self.tick == report.tick;
        if rings {
            self.tick = 0;
        }
        rings
    }
}

impl TimerWheel {
    /// An empty wheel; `now_ms` is the present.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        let level = || Level {
            occupied: 0,
            heads: [NO_BLOCK; SLOTS as usize],
        };
        Self {
            now: now_ms / TICK_MS,
            near: level(),
            far: level(),
            due: [NO_BLOCK; 2],
            pool: Pool {
                blocks: Vec::new(),
                free: NO_BLOCK,
            },
            len: 0,
        }
    }

    /// Entries held, with those that nobody waits for any more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of heap behind the entries.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.pool.blocks.capacity() * size_of::<Block>()
    }

    /// Has `key` come up at `deadline_ms` or before. A deadline that has passed comes up with the
    /// next tick. Does nothing where the alarm is set early enough already.
    pub fn arm(&mut self, alarm: &mut Alarm, key: u64, deadline_ms: u64) {
        let latest = self.now + HORIZON_TICKS;
        let tick = deadline_ms.div_ceil(TICK_MS).clamp(self.now + 1, latest);
        let is_near = tick - self.now <= SLOTS;
        let comes_up = if is_near { tick } else { tick / SLOTS * SLOTS };
        if alarm.tick != 0 && alarm.tick <= comes_up {
            return;
        }
        alarm.tick = comes_up;
        let (level, number) = if is_near {
            (&mut self.near, tick)
        } else {
            (&mut self.far, tick / SLOTS)
        };
        let slot = (number % SLOTS) as usize;
        level.heads[slot] = self.pool.push(level.heads[slot], key);
        level.occupied |= 1 << slot;
        self.len += 1;
    }

    /// When to call [`TimerWheel::pop`] next, in milliseconds; `None` while nothing is held.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let tick = if self.due == [NO_BLOCK; 2] {
            self.next_tick()?
        } else {
            self.now
        };
        Some(tick.saturating_mul(TICK_MS))
    }

    /// The next key that has come up at `now_ms`. Keys armed while these are popped come up with
    /// the next tick at the earliest, so that the popping ends.
    pub fn pop(&mut self, now_ms: u64) -> Option<Report> {
        let target = now_ms / TICK_MS;
        loop {
            let [far, near] = &mut self.due;
            if let Some(key) = self.pool.pop(far).or_else(|| self.pool.pop(near)) {
                self.len -= 1;
                return Some(Report {
                    key,
                    tick: self.now,
                });
            }
            let Some(tick) = self.next_tick().filter(|tick| *tick <= target) else {
                self.now = self.now.max(target);
                return None;
            };
            self.now = tick;
            let starts_group = tick.is_multiple_of(SLOTS);
            let far = if starts_group {
                self.far.take(tick / SLOTS)
            } else {
                NO_BLOCK
            };
            self.due = [far, self.near.take(tick)];
        }
    }

    /// The tick of the bucket that comes up first.
    fn next_tick(&self) -> Option<u64> {
        let near = self.near.first_after(self.now);
        let far = self
            .far
            .first_after(self.now / SLOTS)
            .map(|group| group * SLOTS);
        near.into_iter().chain(far).min()
    }
}

impl Level {
    /// The first of the `SLOTS` numbers after `position` whose bucket has keys.
    fn first_after(&self, position: u64) -> Option<u64> {
        let next = position + 1;
        let ahead = self.occupied.rotate_right((next % SLOTS) as u32);
        (ahead != 0).then(|| next + u64::from(ahead.trailing_zeros()))
    }

    /// Empties the bucket of `number`.
    fn take(&mut self, number: u64) -> u32 {
        let slot = (number % SLOTS) as usize;
        self.occupied &= !(1 << slot);
        std::mem::replace(&mut self.heads[slot], NO_BLOCK)
    }
}

impl Pool {
    /// Adds a key to the chain that begins with `head`, and returns its head.
    fn push(&mut self, head: u32, key: u64) -> u32 {
        let has_room = |block: &Block| (block.len as usize) < BLOCK_KEYS;
        let head = match self.blocks.get(head as usize) {
            Some(block) if has_room(block) => head,
            Some(_) | None => self.take_free(head),
        };
        let block = &mut self.blocks[head as usize];
        block.keys[block.len as usize] = key;
        block.len += 1;
        head
    }

    /// Takes the last key of the chain, and gives back blocks that have become empty.
    fn pop(&mut self, head: &mut u32) -> Option<u64> {
        let index = *head;
        let block = self.blocks.get_mut(index as usize)?;
        debug_assert!(block.len > 0, "a chain holds no empty block");
        block.len -= 1;
        let key = block.keys[block.len as usize];
        if block.len == 0 {
            *head = std::mem::replace(&mut block.next, self.free);
            self.free = index;
        }
        Some(key)
    }

    /// An empty block in front of `next`.
    fn take_free(&mut self, next: u32) -> u32 {
        let index = self.free;
        if let Some(block) = self.blocks.get_mut(index as usize) {
            self.free = std::mem::replace(&mut block.next, next);
            return index;
        }
        let index = u32::try_from(self.blocks.len()).expect("a terabyte of blocks is out of reach");
        self.blocks.push(Block {
            next,
            len: 0,
            keys: [0; BLOCK_KEYS],
        });
        index
    }
}

const _: () = assert!(size_of::<Block>() == 256);
// Every tick and every group ahead has a bucket of its own.
const _: () = assert!(SLOTS == u64::BITS as u64 && HORIZON_TICKS / SLOTS < SLOTS);
