//! The ring in which a core's sockets wait.
//!
//! One io_uring per shard carries every accept, receive and send of the shard's connections, and
//! the shard sleeps in it directly: one `io_uring_enter` a turn submits what the last turn produced
//! and waits for what comes next (docs/decisions/0001). [`Ring::wait`] is the place where a shard
//! sleeps, [`Ring::next_event`] is what it wakes up to.
//!
//! Received bytes arrive in buffers that the shard lends to the kernel ([`Buffers`]), so a
//! connection that waits holds no memory of ours. A buffer being sent belongs to the ring until its
//! completion gives it back; that is what makes the interface safe.

mod buffers;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::cqueue;
use io_uring::opcode;
use io_uring::squeue;
use io_uring::types::CancelBuilder;
use io_uring::types::Fd;
use io_uring::types::SubmitArgs;
use io_uring::types::Timespec;
use socket2::SockAddr;
use socket2::SockAddrStorage;

use crate::base::key::Key;
use crate::runtime::waker::Waker;

pub use buffers::BUFFER_BYTES;
pub use buffers::BufferId;
pub use buffers::Buffers;

/// Submission entries: work queued within one turn. More is submitted in between.
const SUBMISSIONS: u32 = 2048;
/// Completion entries; the kernel keeps what does not fit (NODROP), this only has to be ample.
const COMPLETIONS: u32 = 16_384;
/// How long a turn may wait for the completions of its own sends together with the next event.
/// They come at once unless a peer's receive window is full; then this is what the others lose.
const SENDS_TOGETHER: Duration = Duration::from_millis(2);

#[repr(u8)]
#[derive(Clone, Copy)]
enum Kind {
    Ignore = 0,
    Wake = 1,
    Accept = 2,
    Receive = 3,
    Send = 4,
    Told = 5,
    Rouse = 6,
}

fn token(kind: Kind, key: Key) -> u64 {
    key.as_u64() | ((kind as u64) << 56)
}

/// How to receive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reception {
    /// One read of at most so many bytes: where more may not be read before these are handled.
    Once(u32),
    /// Reads until told otherwise, without being asked again.
    Many,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection came in on the listening socket that was armed under this number.
    Accepted {
        /// The number given to [`Ring::accept`].
        listener: u16,
        /// The socket and the address it came from.
        result: io::Result<(OwnedFd, SocketAddr)>,
    },
    /// Bytes, the end, or an error of a connection's receiving side.
    Received {
        /// The connection.
        key: Key,
        /// What came.
        outcome: Received,
        /// False when nothing is armed any more.
        armed: bool,
    },
    /// A buffer was sent, at least in part.
    Sent {
        /// The connection.
        key: Key,
        /// The buffer, back with its owner.
        buffer: Vec<u8>,
        /// Offset from which this send was made.
        from: usize,
        /// Bytes that the kernel took.
        result: io::Result<usize>,
    },
    /// Something waits in the shard's inbox.
    Woken,
    /// The message that was to wake the shard with this number failed.
    Unheard(usize),
}

/// What a receive brought.
#[derive(Debug)]
pub enum Received {
    /// So many bytes in this buffer. Give it back with [`Buffers::give_back`].
    Bytes(BufferId, usize),
    /// The peer ended its side.
    End,
    /// All buffers were lent out: arm again when some are back.
    Starved,
    /// The receive was cancelled on our request.
    Cancelled,
    /// The connection failed.
    Failed(io::Error),
}

struct Flight {
    key: Key,
    buffer: Vec<u8>,
    from: usize,
}

struct AcceptSlot {
    listener: u16,
    address: Box<(SockAddrStorage, libc::socklen_t)>,
}

struct Completion {
    token: u64,
    result: i32,
    flags: u32,
}

/// One shard's ring. Lives on: one shard.
pub struct Ring {
    ring: IoUring,
    waker: Arc<Waker>,
    wake_count: Box<[u8; 8]>,
    flights: Vec<Flight>,
    flights_free: Vec<u32>,
    accepts: Vec<AcceptSlot>,
    accepts_free: Vec<u32>,
    /// The kernel knows accepts that wait before they look (6.10).
    accepts_may_wait: bool,
    sends_queued: u32,
    failed: Option<io::Error>,
    done: Vec<Completion>,
    done_next: usize,
}

impl Ring {
    /// A ring for the calling thread and the buffers it receives into.
    ///
    /// # Errors
    /// When the kernel refuses; `net::preflight` explains why before this is reached.
    pub fn new(waker: Arc<Waker>) -> io::Result<(Self, Buffers)> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::register(&ring)?;
        // The three came with the same kernel, and only this one says so.
        let accepts_may_wait = ring.params().is_feature_recvsend_bundle();
        if accepts_may_wait {
            waker.sleeps_in(second_descriptor(&ring)?);
        }
        let mut this = Self {
            ring,
            waker,
            wake_count: Box::new([0; 8]),
            flights: Vec::new(),
            flights_free: Vec::new(),
            accepts: Vec::new(),
            accepts_free: Vec::new(),
            accepts_may_wait,
            sends_queued: 0,
            failed: None,
            done: Vec::with_capacity(COMPLETIONS as usize),
            done_next: 0,
        };
        this.arm_wake();
        Ok((this, buffers))
    }

    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: every entry is built in this file; what it points to (the wake counter, an
            // accept slot, a flight's buffer, the lent buffers) is owned by this ring on the heap,
            // is not moved or freed before its completion, and is leaked when the ring is dropped.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            // The queue is full: hand over what is in it. An interrupted call is simply repeated;
            // any other failure leaves the queue full and is met again at the next wait.
            if let Err(error) = self.ring.submit()
                && error.kind() != io::ErrorKind::Interrupted
                && error.raw_os_error() != Some(libc::EBUSY)
            {
                // Met again at the next wait, which then fails: the ring is of no use any more.
                self.failed = Some(error);
                return;
            }
        }
    }

    fn arm_wake(&mut self) {
        let key = Key {
            slot: 0,
            generation: 0,
        };
        let entry = opcode::Read::new(Fd(self.waker.as_raw_fd()), self.wake_count.as_mut_ptr(), 8)
            .build()
            .user_data(token(Kind::Wake, key));
        self.push(&entry);
    }

    /// Other shards wake this one by messages, and not by its eventfd.
    pub fn takes_messages(&self) -> bool {
        self.waker.ring().is_some()
    }

    /// Wakes another shard if it sleeps: by a message to its ring, which goes with what the turn submits,
    /// or by its eventfd. Call after the item is in its inbox. Where the message fails,
    /// [`Event::Unheard`] says so.
    pub fn rouse(&mut self, shard: usize, waker: &Waker) {
        if !waker.claim() {
            return;
        }
        let Some(ring) = waker.ring() else {
            return waker.alert();
        };
        let key = Key {
            slot: shard as u32,
            generation: 0,
        };
        let entry = opcode::MsgRingData::new(Fd(ring), 0, token(Kind::Told, key), None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(token(Kind::Rouse, key));
        self.push(&entry);
    }

    /// Keeps one more accept outstanding on a listening socket.
    pub fn accept(&mut self, listener: u16, socket: RawFd) {
        let index = self.accepts_free.pop().unwrap_or_else(|| {
            self.accepts.push(AcceptSlot {
                listener,
                address: Box::new((SockAddrStorage::zeroed(), 0)),
            });
            (self.accepts.len() - 1) as u32
        });
        let Some(slot) = self.accepts.get_mut(index as usize) else {
            return;
        };
        slot.listener = listener;
        slot.address.1 = slot.address.0.size_of();
        let address: *mut SockAddrStorage = &raw mut slot.address.0;
        let length: *mut libc::socklen_t = &raw mut slot.address.1;
        let mut entry = opcode::Accept::new(Fd(socket), address.cast(), length)
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(token(
                Kind::Accept,
                Key {
                    slot: index,
                    generation: 0,
                },
            ));
        if self.accepts_may_wait {
            wait_first(&mut entry);
        }
        self.push(&entry);
    }

    /// Ends the accepts that are outstanding on a listening socket, and leaves the socket as it is.
    pub fn cancel_accepts(&mut self, socket: RawFd) {
        let ignored = token(
            Kind::Ignore,
            Key {
                slot: 0,
                generation: 0,
            },
        );
        let all = CancelBuilder::fd(Fd(socket)).all();
        let entry = opcode::AsyncCancel2::new(all).build().user_data(ignored);
        self.push(&entry);
    }

    /// Asks for a connection's bytes.
    pub fn receive(&mut self, key: Key, socket: RawFd, how: Reception) {
        let entry = match how {
            Reception::Once(most) => opcode::Recv::new(Fd(socket), std::ptr::null_mut(), most)
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Reception::Many => opcode::RecvMulti::new(Fd(socket), buffers::GROUP).build(),
        };
        self.push(&entry.user_data(token(Kind::Receive, key)));
    }

    /// Ends the receive that is armed for a connection, which says so by [`Received::Cancelled`]. Bytes
    /// that have come by then come before.
    pub fn cancel_receive(&mut self, key: Key) {
        let ignored = token(
            Kind::Ignore,
            Key {
                slot: 0,
                generation: 0,
            },
        );
        let armed = CancelBuilder::user_data(token(Kind::Receive, key));
        let entry = opcode::AsyncCancel2::new(armed)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(ignored);
        self.push(&entry);
    }

    /// Sends `buffer[from..]`. The buffer comes back with [`Event::Sent`].
    pub fn send(&mut self, key: Key, socket: RawFd, buffer: Vec<u8>, from: usize) {
        let start = buffer.get(from..).unwrap_or_default();
        let (pointer, length) = (
            start.as_ptr(),
            u32::try_from(start.len()).unwrap_or(u32::MAX),
        );
        let flight = Flight { key, buffer, from };
        let index = match self.flights_free.pop() {
            Some(index) => {
                if let Some(place) = self.flights.get_mut(index as usize) {
                    *place = flight;
                }
                index
            }
            None => {
                self.flights.push(flight);
                (self.flights.len() - 1) as u32
            }
        };
        let entry = opcode::Send::new(Fd(socket), pointer, length)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(token(
                Kind::Send,
                Key {
                    slot: index,
                    generation: 0,
                },
            ));
        self.push(&entry);
        self.sends_queued += 1;
    }

    /// Closes a socket that nothing is outstanding on.
    pub fn close(&mut self, socket: OwnedFd) {
        let ignored = token(
            Kind::Ignore,
            Key {
                slot: 0,
                generation: 0,
            },
        );
        let entry = opcode::Close::new(Fd(socket.into_raw_fd()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(ignored);
        self.push(&entry);
    }

    /// Submits what is queued and waits for something to happen, at most for `patience`
    /// (None: as long as it takes). Returns at once with `Some(Duration::ZERO)`.
    ///
    /// # Errors
    /// When the kernel fails the ring itself.
    pub fn wait(&mut self, patience: Option<Duration>) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let sends = std::mem::take(&mut self.sends_queued);
        self.enter(sends, patience)?;
        self.done.clear();
        self.done_next = 0;
        for entry in self.ring.completion() {
            self.done.push(Completion {
                token: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
        Ok(())
    }

    fn enter(&mut self, sends: u32, patience: Option<Duration>) -> io::Result<()> {
        if patience == Some(Duration::ZERO) {
            return tolerate(self.submit_and_look());
        }
        // A send completes while it is submitted. Waiting for one event more than there are sends
        // makes "send, then wait for the next message" a single call.
        let patience = match (sends, patience) {
            (0, patience) => patience,
            (_, None) => Some(SENDS_TOGETHER),
            (_, Some(patience)) => Some(patience.min(SENDS_TOGETHER)),
        };
        let want = sends as usize + 1;
        match patience {
            None => tolerate(self.ring.submit_and_wait(want)),
            Some(patience) => {
                let time = Timespec::from(patience);
                let args = SubmitArgs::new().timespec(&time);
                tolerate(self.ring.submitter().submit_with_args(want, &args))
            }
        }
    }

    fn submit_and_look(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed; GETEVENTS with a minimum of zero submits what is queued and
        // runs the kernel's deferred completions without waiting.
        unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(queued, 0, GETEVENTS, None)
        }
    }

    /// The next event of the last wait.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let done = self.done.get(self.done_next)?;
            let (token, result, flags) = (done.token, done.result, done.flags);
            self.done_next += 1;
            let event = match token >> 56 {
                kind if kind == Kind::Receive as u64 => {
                    Some(received(Key::from_u64(token), result, flags))
                }
                kind if kind == Kind::Send as u64 => self.sent(Key::from_u64(token), result),
                kind if kind == Kind::Accept as u64 => self.accepted(Key::from_u64(token), result),
                kind if kind == Kind::Told as u64 => Some(Event::Woken),
                kind if kind == Kind::Rouse as u64 => {
                    Some(Event::Unheard(Key::from_u64(token).slot as usize))
                }
                kind if kind == Kind::Wake as u64 => {
                    self.arm_wake();
                    Some(Event::Woken)
                }
                _ => None,
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn sent(&mut self, index: Key, result: i32) -> Option<Event> {
        let flight = self.flights.get_mut(index.slot as usize)?;
        let buffer = std::mem::take(&mut flight.buffer);
        let (key, from) = (flight.key, flight.from);
        self.flights_free.push(index.slot);
        Some(Event::Sent {
            key,
            buffer,
            from,
            result: checked(result).map(|n| n as usize),
        })
    }

    fn accepted(&mut self, index: Key, result: i32) -> Option<Event> {
        let slot = self.accepts.get_mut(index.slot as usize)?;
        let listener = slot.listener;
        let storage = std::mem::replace(&mut slot.address.0, SockAddrStorage::zeroed());
        let result = checked(result).and_then(|raw| {
            // SAFETY: the kernel just made this descriptor for us; nobody else knows it.
            let socket = unsafe { OwnedFd::from_raw_fd(raw) };
            // SAFETY: the kernel wrote an address of this length into the storage.
            let address = unsafe { SockAddr::new(storage, slot.address.1) };
            address
                .as_socket()
                .map(|address| (socket, address))
                .ok_or_else(|| io::Error::other("the peer has no IP address"))
        });
        self.accepts_free.push(index.slot);
        Some(Event::Accepted { listener, result })
    }
}

impl Drop for Ring {
    /// What the kernel may still touch is leaked: a ring is dropped once, at the end of a process.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.flights));
        std::mem::forget(std::mem::take(&mut self.accepts));
        std::mem::forget(std::mem::replace(&mut self.wake_count, Box::new([0; 8])));
    }
}

/// The ring once more, for those who send it messages.
fn second_descriptor(ring: &IoUring) -> io::Result<OwnedFd> {
    // SAFETY: the ring is open, and borrowed until the copy is made.
    unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }.try_clone_to_owned()
}

/// Has an accept wait for somebody before it looks for the first time: the kernel makes a socket and a
/// file for each look, and takes both apart again where nobody is there.
fn wait_first(entry: &mut squeue::Entry) {
    /// IORING_ACCEPT_POLL_FIRST, for which the library has no name.
    const POLL_FIRST: u16 = 1 << 2;
    /// `ioprio` of `struct io_uring_sqe`, in units of its own size.
    const PLACE: usize = 1;
    // SAFETY: an entry is the kernel's structure of 64 bytes and nothing else (repr(C)), aligned to 8;
    // the two bytes written are its `ioprio`, where every value is valid.
    unsafe {
        std::ptr::from_mut(entry)
            .cast::<u16>()
            .add(PLACE)
            .write(POLL_FIRST);
    }
}

fn received(key: Key, result: i32, flags: u32) -> Event {
    let armed = cqueue::more(flags);
    let outcome = match (result, cqueue::buffer_select(flags)) {
        (length, Some(buffer)) if length > 0 => Received::Bytes(BufferId(buffer), length as usize),
        (0, _) => Received::End,
        (result, _) if result == -libc::ENOBUFS => Received::Starved,
        (result, _) if result == -libc::ECANCELED => Received::Cancelled,
        (result, _) => Received::Failed(io::Error::from_raw_os_error(-result)),
    };
    Event::Received {
        key,
        outcome,
        armed,
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::from_raw_os_error(-result))
    } else {
        Ok(result)
    }
}

/// A wait that ended early is not a failure: the caller looks at what completed and waits again.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests;
