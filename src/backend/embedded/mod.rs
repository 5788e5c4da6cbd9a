//! The embedded store: SQLite in `<data folder>/meerkat.db`, for a server that needs no other.
//!
//! One thread owns the file. [`Store::open`] starts it, [`Handle::submit`] asks it, and each answer
//! is given to a closure on that thread, which hands it on (a shard's reply pushes into the shard's
//! mailbox and wakes it). Executor threads never wait for a disk.
//!
//! Invariants:
//! - An answer to a write is given after its commit is on the disk. Writes that come within a window
//!   are committed together (worker.rs), so a burst costs one flush, not one each.
//! - Every accepted request is answered exactly once, also when the store is closed or fails.
//! - What concerns one account is carried out in the order of the queue: a read sees the writes before
//!   it. What concerns many, such as a list, sees all writes before it.
//! - Other processes (the command line) may use the file at the same time;
//!   [`Handle::changed_outside`] moves when one of them changed something.

mod accounts;
mod data;
mod offline;
mod queue;
mod schema;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use self::accounts::Database;
use self::queue::Queue;
use self::queue::Unqueued;
use self::worker::Job;
use self::worker::Worker;
use crate::base::data_dir;
use crate::metrics::Histogram;
use crate::metrics::SharedHistogram;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "meerkat.db";

/// Requests that may wait for the store's thread. About 50 ms of lookups; beyond it a login is told
/// to come again, which beats waiting past its `state_timeout`.
pub const QUEUE_REQUESTS_MAX: usize = 8192;

/// Given the answer, on the store's thread: it must neither wait nor compute.
pub type Reply = Box<dyn FnOnce(Result<Response, StoreError>) + Send>;

/// Why a request was not taken. Its reply is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// [`QUEUE_REQUESTS_MAX`] requests wait already.
    Busy,
    /// The store is closed.
    Stopped,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the store has too many requests waiting",
            Self::Stopped => "the store is closed",
        })
    }
}

impl std::error::Error for Refused {}

/// The open store and its thread. Lives on: once per process.
#[derive(Debug)]
pub struct Store {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Asks the store; cheap to clone, one for each shard.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Arc<Queue>,
    changed_outside: Arc<AtomicU64>,
    times: Arc<SharedHistogram>,
}

impl Store {
    /// Opens the store in the data folder `dir`; both are made where they are missing, private to
    /// this user. Brings an older schema up to date; refuses a newer one.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Duration::ZERO)
    }

    /// The same, where a write waits for others as long as `window`, to be committed with them.
    pub fn open_with(dir: &Path, window: Duration) -> Result<Self, StoreError> {
        data_dir::make_folder(dir).map_err(|error| StoreError::Failed {
            doing: "make the data folder",
            reason: format!("{}: {error}", dir.display()),
        })?;
        let connection = schema::open(&dir.join(FILE_NAME))?;
        let queue = Arc::new(Queue::new(QUEUE_REQUESTS_MAX));
        let changed_outside = Arc::new(AtomicU64::new(0));
        let worker = Worker::new(
            Database { connection },
            Arc::clone(&queue),
            window,
            Arc::clone(&changed_outside),
        );
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StoreError::Failed {
                doing: "start its thread",
                reason: error.to_string(),
            })?;
        Ok(Self {
            handle: Handle {
                queue,
                changed_outside,
                times: Arc::default(),
            },
            thread: Some(thread),
        })
    }

    /// One more way to ask the store.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Carries out what is queued, then closes the file. Handles that remain are refused.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.handle.queue.stop();
        let _ = thread.join();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    /// Queues a request without waiting. `reply` is called exactly once if this returns `Ok`, and
    /// never otherwise.
    pub fn submit(&self, request: Request, reply: Reply) -> Result<(), Refused> {
        let taken = self.submit_quietly(request, reply);
        self.ring();
        taken
    }

    /// The same, without waking the store's thread: [`Handle::ring`] does, once for all that was
    /// submitted before.
    pub fn submit_quietly(&self, request: Request, reply: Reply) -> Result<(), Refused> {
        self.offer(request, reply).map_err(|refused| match refused {
            Unqueued::Full(job) => {
                job.take_back();
                Refused::Busy
            }
            Unqueued::Ended(job) => {
                job.take_back();
                Refused::Stopped
            }
        })
    }

    /// The same; where there is no room the request is given back, to be tried again.
    pub fn submit_or_return(&self, request: Request, reply: Reply) -> Result<(), Box<Request>> {
        match self.offer(request, reply) {
            Ok(()) => Ok(()),
            Err(Unqueued::Full(job)) => Err(Box::new(job.take_back())),
            // Its reply says so.
            Err(Unqueued::Ended(_)) => Ok(()),
        }
    }

    /// Wakes the store's thread, if it sleeps, for what was submitted quietly.
    pub fn ring(&self) {
        self.queue.ring();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long the store takes is measured here"
    )]
    fn offer(&self, request: Request, reply: Reply) -> Result<(), Unqueued> {
        let job = Job::new(request, reply);
        self.queue
            .put(Box::new(job.timed(Instant::now(), &self.times)))
    }

    /// How long answers to [`Handle::submit`] took.
    pub fn times(&self) -> Histogram {
        self.times.read()
    }

    /// Queues a request and waits for room in the queue: for threads of the command line, never for
    /// an executor.
    pub fn submit_waiting(&self, request: Request, reply: Reply) -> Result<(), Refused> {
        let job = Box::new(Job::new(request, reply));
        self.queue.put_waiting(job).map_err(|job| {
            job.take_back();
            Refused::Stopped
        })
    }

    /// Queues a request and waits for its answer: for threads of the command line, never for an
    /// executor.
    pub fn call(&self, request: Request) -> Result<Response, StoreError> {
        let (sender, answer) = crossbeam_channel::bounded(1);
        let reply = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.submit_waiting(request, reply)
            .map_err(|_| StoreError::Stopped)?;
        answer.recv().unwrap_or(Err(StoreError::Stopped))
    }

    /// Moves when another process has changed the store, within a second of the change: whatever
    /// was remembered of rows read before is to be forgotten.
    pub fn changed_outside(&self) -> u64 {
        self.changed_outside.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
