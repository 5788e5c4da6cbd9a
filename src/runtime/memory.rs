//! Gives memory back to the system when it is not needed any more.
//!
//! The allocator keeps what small pieces were made of, however many of them are free: after ten thousand
//! strangers with half a request each have gone, a hundred megabytes stay. They are used again, but until
//! then nobody else has them, and a memory limit counts them.

use std::fs;

/// Free memory in the allocator's hands, and growth of the process since the last time, from which on
/// it is given back; in bytes. Less is what ordinary traffic comes and goes with.
const SPARE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Looks after the memory of the process. Lives on: the main thread.
#[derive(Debug, Default)]
pub struct Memory {
    /// Resident bytes when memory was last given back, or the least since then.
    resident: u64,
}

impl Memory {
    /// As much as the process has now is what it needs.
    pub fn new() -> Self {
        Self {
            resident: resident_bytes().unwrap_or_default(),
        }
    }

    /// Gives free memory back where it is much. Takes some milliseconds then, in which others may wait for
    /// the allocator.
    pub fn look(&mut self) {
        let Some(resident) = resident_bytes() else {
            return;
        };
        self.resident = self.resident.min(resident);
        if resident < self.resident + SPARE_BYTES_MIN || free_bytes() < SPARE_BYTES_MIN {
            return;
        }
        trim();
        self.resident = resident_bytes().unwrap_or(resident);
    }
}

fn resident_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

#[cfg(target_env = "gnu")]
fn free_bytes() -> u64 {
    // SAFETY: takes nothing, and locks what it looks at by itself.
    unsafe { libc::mallinfo2() }.fordblks as u64
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: gives back pages that hold nothing but free memory; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Another C library gives back by itself, or has no words for it.
#[cfg(not(target_env = "gnu"))]
fn free_bytes() -> u64 {
    0
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
