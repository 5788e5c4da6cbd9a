//! PBKDF2 on threads of its own.
//!
//! 10,000 rounds take a millisecond and more: on an executor they would stop every connection of
//! that core. A few threads take such jobs from one bounded queue; the reply runs on that thread
//! and hands the result on. A full queue is said at once, so that a flood of logins costs refusals
//! and not memory.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::TrySendError;

/// Jobs that may wait for each thread: about two seconds of them at 10,000 rounds of SHA-256. Who
/// comes later would be past its `state_timeout` anyway.
pub const QUEUE_JOBS_PER_THREAD_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The queue is full, or the threads are gone. The job and its reply were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many passwords wait to be checked")
    }
}

impl std::error::Error for Busy {}

/// The job panicked; it has no result. Counts as a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobFailed;

/// The threads. Lives on: once per process.
#[derive(Debug)]
pub struct PasswordWork {
    handle: PasswordHandle,
    threads: Vec<JoinHandle<()>>,
}

/// Gives jobs to the threads; cheap to clone, one for each shard.
#[derive(Clone, Debug)]
pub struct PasswordHandle {
    jobs: Sender<Order>,
}

/// What the queue carries.
enum Order {
    Do(Job),
    Stop,
}

impl PasswordWork {
    /// Starts the threads. Fails where the system gives none.
    pub fn start(threads: NonZeroUsize) -> std::io::Result<Self> {
        let bound = threads.get().saturating_mul(QUEUE_JOBS_PER_THREAD_MAX);
        let (jobs, queue) = crossbeam_channel::bounded(bound);
        let mut work = Self {
            handle: PasswordHandle { jobs },
            threads: Vec::new(),
        };
        for number in 0..threads.get() {
            let queue = queue.clone();
            let thread = std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || run(&queue))?;
            work.threads.push(thread);
        }
        Ok(work)
    }

    /// One more way to give jobs.
    pub fn handle(&self) -> PasswordHandle {
        self.handle.clone()
    }
}

impl Drop for PasswordWork {
    /// Finishes what is queued.
    fn drop(&mut self) {
        for _ in &self.threads {
            let _ = self.handle.jobs.send(Order::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl PasswordHandle {
    /// Queues `job` without waiting. `reply` gets its result, on the thread that computed it; it is
    /// called exactly once if this returns `Ok` and the threads are not ended before.
    pub fn submit<T, J, R>(&self, job: J, reply: R) -> Result<(), Busy>
    where
        J: FnOnce() -> T + Send + 'static,
        R: FnOnce(Result<T, JobFailed>) + Send + 'static,
    {
        let both: Job = Box::new(move || {
            reply(catch_unwind(AssertUnwindSafe(job)).map_err(|_| JobFailed));
        });
        match self.jobs.try_send(Order::Do(both)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }

    /// Jobs that wait, for the metrics.
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

fn run(queue: &Receiver<Order>) {
    while let Ok(Order::Do(job)) = queue.recv() {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a reply to a password job panicked; the thread goes on");
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn one_thread() -> PasswordWork {
        PasswordWork::start(NonZeroUsize::MIN).expect("a thread")
    }

    #[test]
    fn every_job_is_answered_before_the_end() {
        let work = one_thread();
        let (sender, answers) = crossbeam_channel::unbounded();
        for number in 0..100 {
            let sender = sender.clone();
            let reply = move |result| sender.send(result).expect("somebody listens");
            work.handle()
                .submit(move || number * 2, reply)
                .expect("room");
        }
        drop((work, sender));
        let sum: i32 = answers.iter().map(|answer| answer.expect("no panic")).sum();
        assert_eq!(sum, 9900);
    }

    #[test]
    fn a_full_queue_is_said_at_once() {
        let work = one_thread();
        let handle = work.handle();
        let (started, has_started) = crossbeam_channel::unbounded();
        let (release, released) = crossbeam_channel::bounded::<()>(1);
        let blocker = move || {
            started.send(()).expect("the test listens");
            released.recv()
        };
        handle.submit(blocker, |_| ()).expect("room");
        has_started.recv().expect("the thread took it");
        for _ in 0..QUEUE_JOBS_PER_THREAD_MAX {
            handle.submit(|| (), |_| ()).expect("room");
        }
        assert_eq!(handle.submit(|| (), |_| ()), Err(Busy));
        assert_eq!(handle.waiting(), QUEUE_JOBS_PER_THREAD_MAX);
        release.send(()).expect("the job waits");
    }

    #[test]
    fn a_panicking_job_is_a_failed_job() {
        let work = one_thread();
        let (sender, answers) = crossbeam_channel::unbounded();
        let reply = move |result: Result<(), JobFailed>| sender.send(result).expect("listens");
        work.handle()
            .submit(|| panic!("on purpose"), reply)
            .expect("room");
        assert_eq!(answers.recv(), Ok(Err(JobFailed)));
        let (sender, answers) = crossbeam_channel::unbounded();
        let reply = move |result: Result<u8, JobFailed>| sender.send(result).expect("listens");
        work.handle().submit(|| 7, reply).expect("room");
        assert_eq!(answers.recv(), Ok(Ok(7)), "the thread lives");
    }
}
