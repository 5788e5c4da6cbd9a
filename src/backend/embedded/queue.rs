//! What waits for the store's thread.
//!
//! Putting a request in and waking the thread are two steps: a shard puts in what a turn asks and rings
//! once at its end, so that the thread finds it together and carries it out together.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::thread::Thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_queue::ArrayQueue;

use super::worker::Job;

/// How long a thread that may wait for room does so before it looks again.
const ROOM_RETRY: Duration = Duration::from_millis(1);

/// Why a request was not put in.
pub(super) enum Unqueued {
    /// There is no room.
    Full(Box<Job>),
    /// The store's thread ends, or has ended.
    Ended(Box<Job>),
}

/// What [`Queue::take`] found.
pub(super) enum Taken {
    /// The next request.
    Job(Box<Job>),
    /// None, until the time was up.
    Nothing,
    /// None, and none is to come.
    Stop,
}

/// Requests in the order in which they came. Lives on: the store's thread and all that ask it (in an
/// `Arc`).
#[derive(Debug)]
pub(super) struct Queue {
    jobs: ArrayQueue<Box<Job>>,
    /// The thread that takes, once it has begun.
    taker: OnceLock<Thread>,
    /// It says that it is about to sleep; whoever rings takes that back.
    sleeps: AtomicBool,
    /// It is to end when nothing waits.
    stops: AtomicBool,
    /// It has ended.
    ended: AtomicBool,
}

impl Queue {
    /// An empty one for so many requests.
    pub(super) fn new(most: usize) -> Self {
        Self {
            jobs: ArrayQueue::new(most),
            taker: OnceLock::new(),
            sleeps: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Puts a request in. The thread sees it when it next looks, and at the latest after [`Queue::ring`].
    pub(super) fn put(&self, job: Box<Job>) -> Result<(), Unqueued> {
        if self.stops.load(Ordering::SeqCst) {
            return Err(Unqueued::Ended(job));
        }
        self.jobs.push(job).map_err(Unqueued::Full)?;
        fence(Ordering::SeqCst);
        if self.ended.load(Ordering::SeqCst) {
            // It ended meanwhile and may have looked for the last time before: dropped, a job is answered.
            self.drop_all();
        }
        Ok(())
    }

    /// Puts a request in, rings, and waits for room where there is none.
    pub(super) fn put_waiting(&self, mut job: Box<Job>) -> Result<(), Box<Job>> {
        loop {
            let put = self.put(job);
            self.ring();
            match put {
                Ok(()) => return Ok(()),
                Err(Unqueued::Ended(job)) => return Err(job),
                Err(Unqueued::Full(back)) => job = back,
            }
            std::thread::park_timeout(ROOM_RETRY);
        }
    }

    /// Wakes the thread if it sleeps although something waits.
    pub(super) fn ring(&self) {
        // A shard rings every turn, and seldom has asked anything.
        if !self.jobs.is_empty() {
            self.wake();
        }
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::SeqCst)
            && self.sleeps.swap(false, Ordering::SeqCst)
            && let Some(taker) = self.taker.get()
        {
            taker.unpark();
        }
    }

    /// The thread is to carry out what waits, and to end.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// The calling thread is the one that takes.
    pub(super) fn begin(&self) {
        // Set once: there is one thread.
        let _ = self.taker.set(std::thread::current());
    }

    /// The thread ends: what still waits, or comes, is dropped, and so answered.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.drop_all();
    }

    fn drop_all(&self) {
        while self.jobs.pop().is_some() {}
    }

    /// The next request, if one waits.
    pub(super) fn try_take(&self) -> Taken {
        match self.jobs.pop() {
            Some(job) => Taken::Job(job),
            None if self.stops.load(Ordering::SeqCst) => self.last(),
            None => Taken::Nothing,
        }
    }

    /// What came before the word to stop is still carried out.
    fn last(&self) -> Taken {
        self.jobs.pop().map_or(Taken::Stop, Taken::Job)
    }

    /// The next request, which is waited for until `until`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the store's thread waits by the clock"
    )]
    pub(super) fn take(&self, until: Instant) -> Taken {
        loop {
            match self.try_take() {
                Taken::Nothing => {}
                taken => return taken,
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            // Either whoever puts something in sees that it sleeps, or it sees what was put in.
            self.sleeps.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if self.jobs.is_empty() && !self.stops.load(Ordering::SeqCst) {
                std::thread::park_timeout(left);
            }
            self.sleeps.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Request;

    #[test]
    fn a_ring_wakes_nobody_for_nothing() {
        let queue = Queue::new(1);
        queue.begin();
        queue.sleeps.store(true, Ordering::SeqCst);
        queue.ring();
        assert!(queue.sleeps.load(Ordering::SeqCst));
        let job = Job::new(Request::Count { host: None }, Box::new(|_| ()));
        assert!(queue.put(Box::new(job)).is_ok());
        assert!(queue.sleeps.load(Ordering::SeqCst));
        queue.ring();
        assert!(!queue.sleeps.load(Ordering::SeqCst));
    }
}
