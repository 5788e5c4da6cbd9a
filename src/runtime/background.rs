//! One thread with a small tokio runtime, for what needs a library that needs one.
//!
//! Shards hand it a future and a reply; the reply runs on that thread and hands the result on, as a
//! note to the shard. Tokio is named here and in what runs here (`net::resolve`, `net::dial`), and
//! nowhere else (docs/decisions/0040).

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

/// Tasks that may be under way. Each is a lookup or a connection being made, so this is what a
/// flood of unknown domains may cost at once; who comes later is told at once.
pub const TASKS_MAX: usize = 4096;

/// As many tasks as there may be are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The thread. Lives on: once per process.
#[derive(Debug)]
pub struct Background {
    tasks: Tasks,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Gives tasks to the thread; cheap to clone, one for each shard.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = Tasks {
            runtime: runtime.handle().clone(),
            room: Arc::new(Semaphore::new(TASKS_MAX)),
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("background".to_owned())
            .spawn(move || {
                // Ends when told to, or when nobody is left who could tell.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            tasks,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// One more way to give tasks.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }
}

impl Drop for Background {
    /// Drops what is under way.
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Tasks {
    /// Runs `task` without waiting. `reply` gets its result, or None where the task panicked; it is
    /// called exactly once if this returns `Ok` and the thread is not ended before.
    ///
    /// # Errors
    /// When [`TASKS_MAX`] are under way; both are dropped.
    pub fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
        reply: impl FnOnce(Option<T>) + Send + 'static,
    ) -> Result<(), Busy> {
        let permit = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| Busy)?;
        let task = self.runtime.spawn(task);
        self.runtime.spawn(async move {
            reply(task.await.ok());
            drop(permit);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn results_and_panics_are_told() {
        let background = Background::start().expect("a thread");
        let tasks = background.tasks();
        let (sender, results) = sync_channel(2);
        let other = sender.clone();
        tasks
            .run(async { 7 }, move |result| {
                sender.send(result).expect("told")
            })
            .expect("room");
        assert_eq!(results.recv().expect("a result"), Some(7));
        tasks
            .run(
                async { panic!("on purpose") },
                move |result: Option<i32>| {
                    other.send(result).expect("told");
                },
            )
            .expect("room");
        assert_eq!(results.recv().expect("a result"), None);
    }

    #[test]
    fn there_is_a_bound() {
        let background = Background::start().expect("a thread");
        let tasks = background.tasks();
        for _ in 0..TASKS_MAX {
            let forever = std::future::pending::<()>();
            tasks.run(forever, |_| {}).expect("room");
        }
        assert_eq!(tasks.run(async {}, |_| {}), Err(Busy));
    }
}
