//! Rouses a shard that sleeps in its ring.
//!
//! A sleeping shard has a read of this eventfd pending in its ring. Writers pay for a system call
//! only when the shard really sleeps: it says so in `parked` before its last look at its inbox, so
//! either the writer sees the flag or the shard sees the writer's item. Another shard needs no call at
//! all where the kernel takes messages from ring to ring (docs/decisions/0160).

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::atomic::fence;

/// The means to wake one shard. Lives on: every shard and the background threads (in an `Arc`).
#[derive(Debug)]
pub struct Waker {
    event: File,
    /// The ring that the shard sleeps in, where it takes messages. Kept open: its number must not become
    /// somebody else's while another shard may still write to it.
    ring: OnceLock<OwnedFd>,
    parked: AtomicBool,
}

impl Waker {
    /// A waker of its own eventfd.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointer; the result is checked before it is used.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` was just made, is valid, and has no other owner.
        let owned = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self {
            event: File::from(owned),
            ring: OnceLock::new(),
            parked: AtomicBool::new(false),
        })
    }

    /// The descriptor that the sleeper reads eight bytes from.
    pub fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// The sleeper says that it is about to sleep. It looks at its inbox after this, not before.
    pub fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is up again.
    pub fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// The sleeper sleeps in this ring, which takes messages from other rings.
    pub fn sleeps_in(&self, ring: OwnedFd) {
        // Set once: a shard has one ring.
        let _ = self.ring.set(ring);
    }

    /// The ring that a message wakes the sleeper in; None where only the eventfd does.
    pub fn ring(&self) -> Option<RawFd> {
        self.ring.get().map(AsRawFd::as_raw_fd)
    }

    /// True for the one who has to wake the sleeper now. Call after the item is in its inbox.
    pub fn claim(&self) -> bool {
        fence(Ordering::SeqCst);
        self.parked.swap(false, Ordering::SeqCst)
    }

    /// Wakes the sleeper if it sleeps. Call after the item is in its inbox.
    pub fn wake(&self) {
        if self.claim() {
            self.alert();
        }
    }

    /// Wakes the sleeper by its eventfd.
    pub fn alert(&self) {
        // The counter of an eventfd overflows after 2^64 - 2 writes; nothing else can fail.
        let _ = (&self.event).write_all(&1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn only_a_parked_shard_costs_a_write() {
        let waker = Waker::new().expect("an eventfd");
        waker.wake();
        waker.park();
        waker.wake();
        waker.wake();
        let mut count = [0u8; 8];
        (&waker.event)
            .read_exact(&mut count)
            .expect("one write is there");
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
