//! Mailboxes: bounded queues of batches from each shard to each other, and from other threads.
//!
//! A shard fills one batch per destination during a turn and hands it over at the end of it, so the
//! cost of a crossing is paid per batch. Batches travel back empty, so that a steady state allocates
//! nothing even when all traffic goes one way.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::runtime::waker::Waker;

/// Batches that may wait between two shards. A turn produces one, so this is turns of delay; beyond
/// it the sender keeps its batch and goes on filling it.
pub const LANE_BATCHES_MAX: usize = 64;

/// Items that may wait from other threads. Every producer (store, password work, admin socket) has a
/// smaller bound of its own on what it owes a shard.
pub const OUTSIDE_ITEMS_MAX: usize = 65_536;

/// What a mesh carries: something that can be emptied and used again.
pub trait Batch: Default + Send {
    /// True when there is nothing to hand over.
    fn is_empty(&self) -> bool;
    /// Empties it, keeping its memory.
    fn clear(&mut self);
}

struct Lane<B> {
    full: ArrayQueue<B>,
    empty: ArrayQueue<B>,
}

impl<B> Lane<B> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            full: ArrayQueue::new(LANE_BATCHES_MAX),
            empty: ArrayQueue::new(LANE_BATCHES_MAX),
        })
    }
}

/// Hands items to one shard from any thread. Lives on: background threads.
pub struct Outside<T> {
    queue: Arc<ArrayQueue<T>>,
    waker: Arc<Waker>,
}

impl<T> Clone for Outside<T> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl<T> Outside<T> {
    /// Queues one item and wakes the shard.
    ///
    /// # Errors
    /// Gives the item back when [`OUTSIDE_ITEMS_MAX`] are waiting.
    pub fn send(&self, item: T) -> Result<(), T> {
        let sent = self.queue.push(item);
        self.waker.wake();
        sent
    }
}

/// One shard's end of the mesh. Lives on: one shard.
pub struct Mesh<B, T> {
    me: usize,
    wakers: Vec<Arc<Waker>>,
    to: Vec<Arc<Lane<B>>>,
    from: Vec<Arc<Lane<B>>>,
    filling: Vec<B>,
    outside: Arc<ArrayQueue<T>>,
}

/// The ends for `shards` shards, and the handles with which other threads reach them.
pub fn connect<B: Batch, T>(wakers: &[Arc<Waker>]) -> (Vec<Mesh<B, T>>, Vec<Outside<T>>) {
    let shards = wakers.len();
    // lanes[a][b] carries from a to b; the diagonal stays unused and empty.
    let lanes: Vec<Vec<Arc<Lane<B>>>> = (0..shards)
        .map(|_| (0..shards).map(|_| Lane::new()).collect())
        .collect();
    let mut ends = Vec::with_capacity(shards);
    let mut handles = Vec::with_capacity(shards);
    for (me, waker) in wakers.iter().enumerate() {
        let outside = Arc::new(ArrayQueue::new(OUTSIDE_ITEMS_MAX));
        handles.push(Outside {
            queue: Arc::clone(&outside),
            waker: Arc::clone(waker),
        });
        ends.push(Mesh {
            me,
            wakers: wakers.to_vec(),
            to: lanes.get(me).map(|row| row.to_vec()).unwrap_or_default(),
            from: lanes
                .iter()
                .filter_map(|row| row.get(me).cloned())
                .collect(),
            filling: (0..shards).map(|_| B::default()).collect(),
            outside,
        });
    }
    (ends, handles)
}

impl<B: Batch, T> Mesh<B, T> {
    /// This shard's number.
    pub fn me(&self) -> usize {
        self.me
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.to.len()
    }

    /// The waker of this shard.
    pub fn waker(&self) -> &Arc<Waker> {
        self.wakers
            .get(self.me)
            .expect("a mesh has one waker per shard, its own among them")
    }

    /// The batch that goes to `shard` at the end of this turn.
    pub fn filling(&mut self, shard: usize) -> &mut B {
        self.filling
            .get_mut(shard)
            .expect("shard numbers come from the mesh itself")
    }

    /// Hands over what was filled, and has `rouse` wake the shard with that number. A full lane keeps its
    /// batch for the next turn. Returns false while something had to stay.
    pub fn flush(&mut self, mut rouse: impl FnMut(usize, &Waker)) -> bool {
        let mut all = true;
        for (shard, batch) in self.filling.iter_mut().enumerate() {
            if batch.is_empty() {
                continue;
            }
            let (Some(lane), Some(waker)) = (self.to.get(shard), self.wakers.get(shard)) else {
                continue;
            };
            if lane.full.is_full() {
                all = false;
                continue;
            }
            let next = lane.empty.pop().unwrap_or_default();
            if let Err(kept) = lane.full.push(std::mem::replace(batch, next)) {
                *batch = kept;
                all = false;
            }
            rouse(shard, waker);
        }
        all
    }

    /// The next batch from a shard.
    pub fn receive(&mut self, sender: usize) -> Option<B> {
        self.from.get(sender)?.full.pop()
    }

    /// Gives an emptied batch back to the shard that sent it.
    pub fn recycle(&mut self, sender: usize, mut batch: B) {
        batch.clear();
        if let Some(lane) = self.from.get(sender) {
            // A full return lane means the sender has enough: the batch is dropped.
            let _ = lane.empty.push(batch);
        }
    }

    /// The next item from another thread.
    pub fn receive_outside(&mut self) -> Option<T> {
        self.outside.pop()
    }

    /// Batches and items that wait to be received.
    pub fn waiting(&self) -> usize {
        let batches: usize = self.from.iter().map(|lane| lane.full.len()).sum();
        batches + self.outside.len()
    }

    /// True when nothing waits to be received.
    pub fn is_idle(&self) -> bool {
        self.outside.is_empty() && self.from.iter().all(|lane| lane.full.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Numbers(Vec<u32>);

    impl Batch for Numbers {
        fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
        fn clear(&mut self) {
            self.0.clear();
        }
    }

    fn alone(_: usize, waker: &Waker) {
        waker.wake();
    }

    fn pair() -> (Vec<Mesh<Numbers, u8>>, Vec<Outside<u8>>) {
        let wakers: Vec<_> = (0..2)
            .map(|_| Arc::new(Waker::new().expect("eventfd")))
            .collect();
        connect(&wakers)
    }

    #[test]
    fn a_batch_arrives_in_order_and_comes_back_empty() {
        let (mut ends, _) = pair();
        let mut b = ends.pop().expect("two ends");
        let mut a = ends.pop().expect("two ends");
        a.filling(1).0.extend([1, 2, 3]);
        assert!(a.flush(alone));
        let batch = b.receive(0).expect("the batch");
        assert_eq!(batch.0, [1, 2, 3]);
        let memory = batch.0.as_ptr();
        b.recycle(0, batch);
        a.filling(1).0.push(4);
        assert!(a.flush(alone));
        a.filling(1).0.push(5);
        assert_eq!(
            a.filling(1).0.as_ptr(),
            memory,
            "the returned batch is filled again"
        );
    }

    #[test]
    fn a_full_lane_keeps_the_batch_at_the_sender() {
        let (mut ends, _) = pair();
        let mut b = ends.pop().expect("two ends");
        let mut a = ends.pop().expect("two ends");
        for n in 0..LANE_BATCHES_MAX as u32 {
            a.filling(1).0.push(n);
            assert!(a.flush(alone));
        }
        a.filling(1).0.push(1000);
        assert!(!a.flush(alone));
        a.filling(1).0.push(1001);
        let first = b.receive(0).expect("a batch");
        assert_eq!(first.0, [0]);
        b.recycle(0, first);
        assert!(a.flush(alone), "there is room again");
        let mut last = Vec::new();
        while let Some(batch) = b.receive(0) {
            last = batch.0;
        }
        assert_eq!(last, [1000, 1001]);
        assert!(b.is_idle());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "another thread is the point")]
    fn other_threads_reach_a_shard() {
        let (mut ends, handles) = pair();
        let handle = handles.first().expect("two handles").clone();
        std::thread::spawn(move || handle.send(7))
            .join()
            .expect("joined")
            .expect("room");
        assert_eq!(ends.first_mut().and_then(Mesh::receive_outside), Some(7));
    }
}
