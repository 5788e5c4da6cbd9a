//! What this machine lets us do, asked before anything depends on it.
//!
//! Where io_uring is refused, an executor dies with a text about something else. So [`run`] asks
//! first, and ends the start with one [`Refusal`] that names the cause and the remedy. It also
//! raises the resource limits that the process may raise itself, and reports what it found in a few
//! lines for the start-up text.
//!
//! The words are made by functions that get the state of the machine as arguments ([`uring::judge`],
//! [`limits`]), so that each of them is tested on any machine.

use std::fmt;
use std::fs;

pub mod limits;
#[expect(
    unsafe_code,
    reason = "system calls that the standard library does not wrap"
)]
pub mod sys;
pub mod uring;

#[cfg(test)]
mod tests;

use limits::Raised;
use sys::Resource;

/// Why the server cannot run here, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way.
    pub cause: String,
    /// The commands or settings that change it.
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  remedy: {}", self.cause, self.remedy)
    }
}

impl std::error::Error for Refusal {}

/// What was found, for the start-up text and the listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Release of the kernel.
    pub kernel: String,
    /// Open files that the process may have.
    pub open_files: Raised,
    /// Bytes that it may lock.
    pub locked_memory: Raised,
    /// The largest backlog the kernel grants, where it says so.
    pub somaxconn: Option<u32>,
}

impl Report {
    /// A line or two for the start-up text.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Raised { before, now } = self.open_files;
        let files = match (now, before) {
            (u64::MAX, _) => "open files unlimited".to_owned(),
            (now, before) if before < now => format!("open files {now} (raised from {before})"),
            (now, _) => format!("open files {now}"),
        };
        vec![format!("Linux {}, io_uring ready; {files}", self.kernel)]
    }

    /// The warning for a listener's `backlog`, where the kernel cuts it.
    #[must_use]
    pub fn backlog_warning(&self, backlog: u32) -> Option<String> {
        limits::backlog_warning(backlog, self.somaxconn?)
    }
}

/// Raises limits, asks for a ring, and says what came of it. Call it before any executor starts.
pub fn run() -> Result<Report, Refusal> {
    let unreadable = |error| Refusal {
        cause: format!("the limits of this process cannot be read: {error}"),
        remedy: "let the process call getrlimit(2)".to_owned(),
    };
    let open_files = sys::limit(Resource::OpenFiles).map_err(unreadable)?;
    let open_files = limits::open_files(open_files, |limit| {
        sys::set_limit(Resource::OpenFiles, limit)
    });
    let locked_memory = sys::limit(Resource::LockedMemory).map_err(unreadable)?;
    let raised = limits::locked_memory(locked_memory, |limit| {
        sys::set_limit(Resource::LockedMemory, limit)
    });

    // A refused ring explains more than a low limit does, so it is asked for in any case.
    let read = |path: &str| fs::read_to_string(path).ok();
    let may_lock = raised
        .as_ref()
        .map_or(locked_memory.hard, |raised| raised.now);
    let around = uring::Surroundings::read(read, may_lock);
    uring::judge(&uring::try_ring(), &around)?;
    Ok(Report {
        kernel: around.kernel,
        open_files,
        locked_memory: raised?,
        somaxconn: read("/proc/sys/net/core/somaxconn").and_then(|text| text.trim().parse().ok()),
    })
}
