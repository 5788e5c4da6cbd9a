//! An epoll set of numbered sockets.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;

/// Events of one wait.
const EVENTS_MAX: usize = 1024;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// A level-triggered set that waits for input.
pub(crate) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// There are no more files.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            set: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Waits for the input of this socket too; events name it by `number`.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.set, socket, data, epoll::EventFlags::IN)
    }

    /// Waits for it no longer.
    ///
    /// # Errors
    /// The socket is not of this set.
    #[allow(dead_code, reason = "only stampede does")]
    pub(crate) fn remove(&self, socket: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.set, socket)
    }

    /// Waits for room in the socket's buffer as well, or no longer.
    ///
    /// # Errors
    /// The socket is not of this set.
    #[allow(dead_code, reason = "only stampede does")]
    pub(crate) fn watch_output(
        &self,
        socket: impl AsFd,
        number: usize,
        wanted: bool,
    ) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(number as u64);
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, wanted);
        epoll::modify(&self.set, socket, data, flags)
    }

    /// Waits at most `patience_ns`, for ever without; appends the numbers of the sockets that have
    /// input, or can take what they could not.
    ///
    /// # Errors
    /// None that a caller could do anything about.
    pub(crate) fn wait(
        &mut self,
        patience_ns: Option<u64>,
        ready: &mut Vec<usize>,
    ) -> Result<(), Errno> {
        let time = patience_ns.map(|ns| Timespec {
            tv_sec: (ns / NS_PER_SECOND) as i64,
            tv_nsec: (ns % NS_PER_SECOND) as i64,
        });
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
