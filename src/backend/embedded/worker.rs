//! The store's thread: takes what waits in the queue, commits its writes in one transaction, then
//! answers.
//!
//! A group is closed when the window has passed since its first write came, or when it is full. Under
//! load the queue fills while a commit is flushed, so that groups grow beyond that by themselves. What
//! only reads does not wait for the window, unless it follows a write of the same account: else every
//! login would wait for somebody's logout.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;

use super::Reply;
use super::accounts::Database;
use super::schema::failed;
use crate::store::AccountStore;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// Most requests in one group: bounds how long the first of them waits for its answer, and how long
/// other processes wait for the write lock (512 rows take 5 ms).
pub(super) const GROUP_REQUESTS_MAX: usize = 512;

/// How often an idle store looks for changes of other processes; a busy one looks with each group.
const OUTSIDE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the queue carries.
pub(super) enum Order {
    /// Carry out a request.
    Do(Box<Job>),
    /// Answer what came before this, then end.
    Stop,
}

impl Order {
    /// Carry out `request`, then call `reply`.
    pub(super) fn ask(request: Request, reply: Reply) -> Self {
        Self::Do(Box::new(Job {
            request,
            reply: Some(reply),
        }))
    }

    /// The request of an order that is not carried out, which is not answered then.
    pub(super) fn take_back(self) -> Option<Request> {
        match self {
            Self::Do(mut job) => {
                job.reply = None;
                Some(job.request.clone())
            }
            Self::Stop => None,
        }
    }
}

/// A request with the way back. Answers [`StoreError::Stopped`] when dropped unanswered, so that
/// nobody waits for an answer that cannot come.
pub(super) struct Job {
    request: Request,
    reply: Option<Reply>,
}

impl Job {
    fn answer(mut self, result: Result<Response, StoreError>) {
        self.reply_once(result);
    }

    fn reply_once(&mut self, result: Result<Response, StoreError>) {
        let Some(reply) = self.reply.take() else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| reply(result))).is_err() {
            tracing::error!("a reply to a store request panicked; the store goes on");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.reply_once(Err(StoreError::Stopped));
    }
}

/// Owns the open file. Lives on: the store's thread.
pub(super) struct Worker {
    database: Database,
    queue: Receiver<Order>,
    /// How long a write waits for others.
    window: Duration,
    changed_outside: Arc<AtomicU64>,
    /// What is to be committed together, in order.
    writes: Vec<Job>,
    /// Hashes of the accounts that it writes to.
    written_for: HashSet<u64>,
    hasher: RandomState,
    /// SQLite's `data_version` when last looked at: changes with other connections' commits only.
    data_version: Option<i64>,
}

impl Worker {
    pub(super) fn new(
        database: Database,
        queue: Receiver<Order>,
        window: Duration,
        changed_outside: Arc<AtomicU64>,
    ) -> Self {
        let mut worker = Self {
            database,
            queue,
            window,
            changed_outside,
            writes: Vec::new(),
            written_for: HashSet::new(),
            hasher: RandomState::new(),
            data_version: None,
        };
        worker.data_version = worker.read_data_version();
        worker
    }

    /// Until told to stop, or until the last handle is gone.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_REQUESTS_MAX);
        loop {
            match self.queue.recv_timeout(OUTSIDE_CHECK_INTERVAL) {
                Ok(Order::Do(job)) => group.push(*job),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    self.notice_outside_changes();
                    continue;
                }
            }
            let mut stop = self.fill(&mut group, 0);
            self.sort(mem::take(&mut group));
            if !self.writes.is_empty() {
                stop = stop || self.wait_for_more(&mut group);
                self.written_for.clear();
                let writes = mem::take(&mut self.writes);
                self.write(writes);
            }
            if stop {
                return;
            }
        }
    }

    /// Carries out what only reads, unless it follows a write of the same account: that one, and what
    /// writes, is for the commit.
    fn sort(&mut self, group: Vec<Job>) {
        let mut reads = Vec::new();
        for job in group {
            let account = job.request.account().map(|id| self.hasher.hash_one(id));
            let follows = match account {
                Some(account) => self.written_for.contains(&account),
                None => !self.writes.is_empty(),
            };
            if job.request.is_write() {
                self.written_for.extend(account);
                self.writes.push(job);
            } else if follows {
                self.writes.push(job);
            } else {
                reads.push(job);
            }
        }
        self.read(reads);
    }

    /// Takes what waits, up to a full group, `taken` of which are taken already; `true` where the order
    /// to stop was among it.
    fn fill(&mut self, group: &mut Vec<Job>, taken: usize) -> bool {
        while taken + group.len() < GROUP_REQUESTS_MAX {
            match self.queue.try_recv() {
                Ok(Order::Do(job)) => group.push(*job),
                Ok(Order::Stop) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// Takes what comes within the window; `true` as for [`Self::fill`].
    #[expect(
        clippy::disallowed_methods,
        reason = "a group is closed by the clock, on the store's thread"
    )]
    fn wait_for_more(&mut self, group: &mut Vec<Job>) -> bool {
        if self.window.is_zero() {
            return false;
        }
        let closes = Instant::now() + self.window;
        // What comes without a pause must not keep it open either.
        while self.writes.len() < GROUP_REQUESTS_MAX && Instant::now() < closes {
            match self.queue.recv_deadline(closes) {
                Ok(Order::Do(job)) => group.push(*job),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
            let stop = self.fill(group, self.writes.len());
            self.sort(mem::take(group));
            if stop {
                return true;
            }
        }
        false
    }

    /// What changes nothing, in one transaction: the file is locked and looked at once, not once for
    /// each request. The answers come together, so that whoever waits for many of them is woken once.
    fn read(&mut self, group: Vec<Job>) {
        let together = group.len() > 1 && self.execute("begin to read", "BEGIN").is_ok();
        self.notice_outside_changes();
        let perform = |job: &Job| self.database.perform(&job.request);
        let results: Vec<_> = group.iter().map(perform).collect();
        if together && let Err(error) = self.execute("end reading", "COMMIT") {
            tracing::error!(%error, "the store could not end reading");
            // Fails where SQLite has rolled back by itself, and then need not succeed.
            let _ = self.execute("end reading", "ROLLBACK");
        }
        for (job, result) in group.into_iter().zip(results) {
            job.answer(result);
        }
    }

    /// Everything in one transaction; where that fails, each request in one of its own, so that one
    /// request cannot make its neighbours fail.
    fn write(&mut self, group: Vec<Job>) {
        match self.commit(&group) {
            Ok(results) => {
                for (job, result) in group.into_iter().zip(results) {
                    job.answer(result);
                }
            }
            // Alone, each would only wait for the same lock again.
            Err(StoreError::Locked) => {
                for job in group {
                    job.answer(Err(StoreError::Locked));
                }
            }
            Err(error) if group.len() == 1 => {
                for job in group {
                    job.answer(Err(error.clone()));
                }
            }
            Err(_) => {
                for job in group {
                    self.write(vec![job]);
                }
            }
        }
    }

    /// One result for each request, all of them on the disk; or an error, and nothing happened.
    fn commit(&mut self, group: &[Job]) -> Result<Vec<Result<Response, StoreError>>, StoreError> {
        self.execute("begin a transaction", "BEGIN IMMEDIATE")?;
        let done = self.perform_all(group).and_then(|results| {
            self.execute("commit", "COMMIT")?;
            Ok(results)
        });
        // After some errors (a full disk) SQLite has rolled back by itself.
        if done.is_err() && !self.database.connection.is_autocommit() {
            self.execute("roll back", "ROLLBACK")?;
        }
        done
    }

    fn perform_all(
        &mut self,
        group: &[Job],
    ) -> Result<Vec<Result<Response, StoreError>>, StoreError> {
        let mut results = Vec::with_capacity(group.len());
        for job in group {
            let result = self.database.perform(&job.request);
            match result {
                Err(error) if job.request.is_write() => return Err(error),
                result => results.push(result),
            }
        }
        Ok(results)
    }

    fn execute(&mut self, doing: &'static str, sql: &str) -> Result<(), StoreError> {
        self.database
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(|error| failed(doing, &error))
    }

    fn notice_outside_changes(&mut self) {
        let version = self.read_data_version();
        if version != self.data_version {
            self.data_version = version;
            self.changed_outside.fetch_add(1, Ordering::Release);
        }
    }

    fn read_data_version(&mut self) -> Option<i64> {
        let statement = self
            .database
            .connection
            .prepare_cached("PRAGMA data_version");
        statement
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .ok()
    }
}
