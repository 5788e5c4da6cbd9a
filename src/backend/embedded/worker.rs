//! The store's thread: takes what waits in the queue, commits its writes in one transaction, then
//! answers.
//!
//! A group is closed when the window has passed since its first write came, or when it is full; what nobody
//! waits for (when a user was last here) waits longer for company. Under
//! load the queue fills while a commit is flushed, so that groups grow beyond that by themselves. What
//! only reads does not wait for the window, unless it follows a write of the same account: else every
//! login would wait for somebody's logout.

use std::collections::HashSet;
use std::fmt;
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

use super::Reply;
use super::accounts::Database;
use super::queue::Queue;
use super::queue::Taken;
use super::schema::failed;
use crate::metrics::SharedHistogram;
use crate::store::AccountStore;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// Most requests in one group: bounds how long the first of them waits for its answer, and how long
/// other processes wait for the write lock (512 rows take 5 ms).
pub(super) const GROUP_REQUESTS_MAX: usize = 512;

/// How long what may wait ([`Area::may_wait`](crate::store::data::Area::may_wait)) does so for a write
/// that may not: a crash takes back so much of it.
const LATE: Duration = Duration::from_secs(1);
/// Accounts of which such a thing waits, at most: a shard asks only so many questions at once, and each
/// of these is one of them.
const LATE_ACCOUNTS_MAX: usize = 128;

/// How often an idle store looks for changes of other processes; a busy one looks with each group.
const OUTSIDE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A request with the way back. Answers [`StoreError::Stopped`] when dropped unanswered, so that
/// nobody waits for an answer that cannot come.
pub(super) struct Job {
    request: Request,
    reply: Option<Reply>,
    /// When it was asked, and where it is noted how long the answer took.
    asked: Option<(Instant, Arc<SharedHistogram>)>,
}

impl fmt::Debug for Job {
    // What is asked is private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

impl Job {
    /// Carry out `request`, then call `reply`.
    pub(super) fn new(request: Request, reply: Reply) -> Self {
        Self {
            request,
            reply: Some(reply),
            asked: None,
        }
    }

    /// The same, and how long it takes is noted.
    pub(super) fn timed(mut self, asked: Instant, times: &Arc<SharedHistogram>) -> Self {
        self.asked = Some((asked, Arc::clone(times)));
        self
    }

    /// The request of a job that is not carried out, which is not answered then.
    pub(super) fn take_back(mut self) -> Request {
        self.reply = None;
        self.request.clone()
    }

    fn answer(mut self, result: Result<Response, StoreError>) {
        self.reply_once(result);
    }

    fn reply_once(&mut self, result: Result<Response, StoreError>) {
        let Some(reply) = self.reply.take() else {
            return;
        };
        if let Some((asked, times)) = &self.asked {
            times.observe(asked.elapsed().as_micros() as u64);
        }
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
    queue: Arc<Queue>,
    /// How long a write waits for others.
    window: Duration,
    changed_outside: Arc<AtomicU64>,
    /// What is to be committed together, in order.
    writes: Vec<Job>,
    /// By when.
    closes: Option<Instant>,
    /// Hashes of the accounts that it writes to.
    written_for: HashSet<u64>,
    /// Hashes of the accounts of which it writes what may wait.
    written_late: HashSet<u64>,
    hasher: RandomState,
    /// SQLite's `data_version` when last looked at: changes with other connections' commits only.
    data_version: Option<i64>,
}

impl Drop for Worker {
    /// Also where the thread panics: nobody may wait for an answer that cannot come.
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Worker {
    pub(super) fn new(
        database: Database,
        queue: Arc<Queue>,
        window: Duration,
        changed_outside: Arc<AtomicU64>,
    ) -> Self {
        let mut worker = Self {
            database,
            queue,
            window,
            changed_outside,
            writes: Vec::new(),
            closes: None,
            written_for: HashSet::new(),
            written_late: HashSet::new(),
            hasher: RandomState::new(),
            data_version: None,
        };
        worker.data_version = worker.read_data_version();
        worker
    }

    /// Until told to stop.
    #[expect(
        clippy::disallowed_methods,
        reason = "a group is closed by the clock, on the store's thread"
    )]
    pub(super) fn run(mut self) {
        self.queue.begin();
        let mut group = Vec::with_capacity(GROUP_REQUESTS_MAX);
        loop {
            let until = self.closes;
            let until = until.unwrap_or_else(|| Instant::now() + OUTSIDE_CHECK_INTERVAL);
            let mut stop = false;
            match self.queue.take(until) {
                Taken::Job(job) => {
                    group.push(*job);
                    self.fill(&mut group);
                    self.sort(&mut group, Instant::now());
                }
                Taken::Nothing if self.writes.is_empty() => self.notice_outside_changes(),
                Taken::Nothing => {}
                Taken::Stop => stop = true,
            }
            if stop || self.is_due(Instant::now()) {
                self.closes = None;
                self.written_for.clear();
                self.written_late.clear();
                let writes = mem::take(&mut self.writes);
                self.write(writes);
            }
            if stop {
                return;
            }
        }
    }

    /// The group is full, or its time is up.
    fn is_due(&self, now: Instant) -> bool {
        self.writes.len() >= GROUP_REQUESTS_MAX || self.closes.is_some_and(|closes| closes <= now)
    }

    /// Carries out what only reads, unless it follows a write of the same account: that one, and what
    /// writes, is for the commit.
    fn sort(&mut self, group: &mut Vec<Job>, now: Instant) {
        let mut reads = Vec::with_capacity(group.len());
        for job in group.drain(..) {
            let (writes, may_wait) = (job.request.is_write(), job.request.may_wait());
            if !writes && self.writes.is_empty() {
                reads.push(job);
                continue;
            }
            let account = job.request.account().map(|id| self.hasher.hash_one(id));
            let follows = account.is_none_or(|account| {
                self.written_for.contains(&account)
                    || may_wait && self.written_late.contains(&account)
            });
            if !writes && !follows {
                reads.push(job);
                continue;
            }
            let patience = if writes && may_wait {
                self.written_late.extend(account);
                // A full disk queue must not wait for those that nobody waits for.
                let is_many = self.written_late.len() >= LATE_ACCOUNTS_MAX;
                if is_many { self.window } else { LATE }
            } else {
                if writes {
                    self.written_for.extend(account);
                }
                self.window
            };
            let closes = now + patience;
            self.closes = Some(self.closes.map_or(closes, |before| before.min(closes)));
            self.writes.push(job);
        }
        if !reads.is_empty() {
            self.read(reads);
        }
    }

    /// Takes what waits, up to a full group.
    fn fill(&mut self, group: &mut Vec<Job>) {
        while self.writes.len() + group.len() < GROUP_REQUESTS_MAX
            && let Taken::Job(job) = self.queue.try_take()
        {
            group.push(*job);
        }
    }

    /// What changes nothing, in one transaction: the file is locked and looked at once, not once for
    /// each request and once more for what other processes have changed. The answers come together, so that whoever waits for many of them is woken once.
    fn read(&mut self, group: Vec<Job>) {
        let together = self.execute("begin to read", "BEGIN").is_ok();
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
