//! An epoll set of numbered sockets.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;

/// Events of one wait.
const EVENTS_MAX: usize = 1024;

/// A level-triggered set that waits for input.
pub(crate) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    /// An empty set.
    pub(crate) fn new() -> Self {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set");
        Self {
            set,
            events: Vec::with_capacity(EVENTS_MAX),
        }
    }

    /// Waits for the input of this socket too; events name it by `number`.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.set, socket, data, epoll::EventFlags::IN).expect("room in the set");
    }

    /// Appends the numbers of the sockets that have input; waits at most `patience_ms`.
    pub(crate) fn wait(&mut self, patience_ms: Option<i64>, ready: &mut Vec<usize>) {
        let time = patience_ms.map(|ms| Timespec {
            tv_sec: ms / 1000,
            tv_nsec: ms % 1000 * 1_000_000,
        });
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll: {error}"),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
    }
}
