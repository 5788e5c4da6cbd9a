//! Starts one pinned glommio executor per core and runs a shard on each.

use std::future::Future;
use std::io;

use glommio::ExecutorJoinHandle;
use glommio::LocalExecutorBuilder;
use glommio::Placement;

/// Entries of glommio's own rings. Sockets wait in a ring of ours (see `net::ring`), so this only
/// carries glommio's timers and wake-ups; larger rings only lock memory.
const EXECUTOR_RING_DEPTH: usize = 128;

/// Running executors; dropped handles detach, so keep them until [`Shards::join`].
pub struct Shards {
    handles: Vec<ExecutorJoinHandle<()>>,
}

/// Starts one executor on each of `cpus`; `shard(n)` makes the future that executor n runs.
///
/// # Errors
/// When the kernel refuses the executor its rings or its CPU.
pub fn run<G, F>(cpus: &[usize], shards: Vec<G>) -> io::Result<Shards>
where
    G: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut handles = Vec::with_capacity(cpus.len());
    for (number, (cpu, shard)) in cpus.iter().zip(shards).enumerate() {
        let handle = LocalExecutorBuilder::new(Placement::Fixed(*cpu))
            .name(&format!("shard-{number}"))
            .ring_depth(EXECUTOR_RING_DEPTH)
            // glommio's registered buffers serve its own file and socket types, which are not used.
            .io_memory(0)
            .spawn(move || async move { shard().await })
            .map_err(|error| io::Error::other(format!("executor {number}: {error}")))?;
        handles.push(handle);
    }
    Ok(Shards { handles })
}

impl Shards {
    /// Waits until every shard has ended.
    ///
    /// # Errors
    /// When a shard ended by a panic.
    pub fn join(self) -> io::Result<()> {
        let mut failed = None;
        for (number, handle) in self.handles.into_iter().enumerate() {
            if let Err(error) = handle.join() {
                failed = Some(io::Error::other(format!("shard {number}: {error}")));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
