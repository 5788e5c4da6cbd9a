//! The receive buffers that a shard lends to the kernel.
//!
//! The kernel picks a free one when bytes arrive, so buffers are needed per connection that has
//! bytes just now, not per connection. They are given back at the end of the handling of each read.

use std::io;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The kernel's name for this group of buffers.
pub(super) const GROUP: u16 = 1;
/// How many reads of one wait can be held at once; a power of two, as the kernel asks.
const COUNT: u16 = 512;
/// Bytes of one buffer: a whole TLS record (16 KiB and its framing) fits.
pub const BUFFER_BYTES: usize = 16_896;

/// Names a buffer that the kernel has filled. Not `Copy`: who has it has the buffer, until it is
/// given back.
#[derive(Debug, Eq, PartialEq)]
pub struct BufferId(pub(super) u16);

/// The buffers of one shard. Lives on: one shard; leaked when dropped, because the kernel may
/// still write into them.
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
}

impl Buffers {
    pub(super) fn register(ring: &IoUring) -> io::Result<Self> {
        let entries = map(usize::from(COUNT) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = map(usize::from(COUNT) * BUFFER_BYTES)?;
        // SAFETY: `entries` is page-aligned memory of COUNT entries that stays mapped for good.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(entries as u64, COUNT, GROUP, 0)?;
        }
        let mut this = Self {
            entries,
            memory,
            tail: 0,
        };
        for id in 0..COUNT {
            this.put(&BufferId(id));
        }
        this.publish();
        Ok(this)
    }

    /// The bytes that a receive brought.
    pub fn bytes(&mut self, id: &BufferId, length: usize) -> &mut [u8] {
        let length = length.min(BUFFER_BYTES);
        let at = usize::from(id.0 % COUNT) * BUFFER_BYTES;
        // SAFETY: the offset and length lie within the mapping; the kernel has handed this buffer
        // to us and does not touch it before it is given back; `&mut self` makes it the only view.
        unsafe { std::slice::from_raw_parts_mut(self.memory.add(at), length) }
    }

    /// Lends a buffer to the kernel again.
    pub fn give_back(&mut self, id: BufferId) {
        self.put(&id);
        self.publish();
    }

    fn put(&mut self, id: &BufferId) {
        let place = usize::from(self.tail & (COUNT - 1));
        let at = usize::from(id.0 % COUNT) * BUFFER_BYTES;
        // SAFETY: `place` is within the entries; the entry is ours until the tail passes it.
        let entry = unsafe { &mut *self.entries.add(place) };
        // SAFETY: the offset lies within the mapping.
        entry.set_addr(unsafe { self.memory.add(at) } as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id.0);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the kernel's interface places the tail inside the first entry; it is read by the
        // kernel with acquire semantics, which the release store here pairs with.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    // SAFETY: an anonymous private mapping takes no pointer of ours; the result is checked.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(memory.cast())
}
