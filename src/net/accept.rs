//! Where a connection is accepted: one [`Acceptor`] per core and listener.
//!
//! It keeps this core's share of `num_acceptors` accepts outstanding in the ring. A connection that
//! may not be served yet (`max_connections`, `accept_rate`) waits here, unread, and no further
//! accept is asked for, so that the rest queue in the backlog. The loop never ends: what the system
//! lacks for a moment (descriptors, memory) pauses it, and it never spins.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::SockRef;

use crate::net::gate::Admission;
use crate::net::gate::Gate;
use crate::net::ring::Ring;

/// How long accepts pause after the system said that it lacks something, in milliseconds.
pub const SCARCE_PAUSE_MS: u64 = 100;
/// Accepts that one core keeps outstanding at most, whatever `num_acceptors` says.
pub const ACCEPTS_PER_CORE_MAX: u32 = 1024;

/// A connection that may be served.
#[derive(Debug)]
pub struct Admitted {
    /// The connected socket.
    pub socket: OwnedFd,
    /// The address of its peer as the kernel knows it.
    pub peer: SocketAddr,
}

/// One listening socket of one core. Lives on: one shard.
pub struct Acceptor {
    number: u16,
    socket: OwnedFd,
    share: u32,
    outstanding: u32,
    waiting: VecDeque<Admitted>,
    paused_until_ms: u64,
    gate: Arc<Gate>,
    /// Others hold the socket too: it goes on listening when this server stops.
    inherited: bool,
    open: bool,
    /// Nothing is asked for because the listener is full; whoever ends has to say so.
    blocked: bool,
    tally: Tally,
}

/// Splits `total` accepts over `cores`: the remainder goes to the first cores, and cores that get
/// none do not bind the listener.
pub fn split(total: u32, cores: usize) -> Vec<u32> {
    let cores = cores.max(1) as u32;
    (0..cores)
        .map(|core| total / cores + u32::from(core < total % cores))
        .filter(|share| *share > 0)
        .map(|share| share.min(ACCEPTS_PER_CORE_MAX))
        .collect()
}

/// What an acceptor has counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Connections that were let in.
    pub accepted: u64,
    /// Times that accepting paused because the listener's connections were all taken.
    pub full: u64,
    /// Times that it paused because of the listener's rate.
    pub paced: u64,
}

impl Acceptor {
    /// An acceptor for listener `number`, keeping `share` accepts outstanding.
    pub fn new(number: u16, socket: OwnedFd, share: u32, gate: Arc<Gate>) -> Self {
        Self {
            number,
            socket,
            share,
            outstanding: 0,
            waiting: VecDeque::new(),
            paused_until_ms: 0,
            gate,
            inherited: false,
            open: true,
            blocked: false,
            tally: Tally::default(),
        }
    }

    /// What it has counted.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Marks a socket that another process opened and may serve after us.
    #[must_use]
    pub fn inherited(self, inherited: bool) -> Self {
        Self { inherited, ..self }
    }

    /// The listener's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Asks the ring for as many accepts as the share allows.
    pub fn arm(&mut self, ring: &mut Ring, now_ms: u64) {
        if !self.open || !self.waiting.is_empty() || now_ms < self.paused_until_ms {
            return;
        }
        // No more than there is room for: the rest queue in the backlog.
        let wanted = self.gate.room(self.share);
        let blocked = wanted == 0 && self.outstanding == 0;
        if blocked != self.blocked {
            self.blocked = blocked;
            self.tally.full += u64::from(blocked);
            self.gate.note_waiting(blocked);
        }
        while self.outstanding < wanted {
            ring.accept(self.number, self.socket.as_raw_fd());
            self.outstanding += 1;
        }
    }

    /// Takes the result of one accept; it is served when [`Acceptor::admit`] says so.
    ///
    /// # Errors
    /// What the system lacks; accepts pause for [`SCARCE_PAUSE_MS`].
    pub fn completed(
        &mut self,
        result: io::Result<(OwnedFd, SocketAddr)>,
        now_ms: u64,
    ) -> io::Result<()> {
        self.outstanding = self.outstanding.saturating_sub(1);
        match result {
            Ok((socket, peer)) if self.open => {
                self.gate.note_waiting(true);
                self.waiting.push_back(Admitted { socket, peer });
                Ok(())
            }
            Ok(_) => Ok(()),
            // Closing ends the accepts that are outstanding.
            Err(_) if !self.open => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(()),
            Err(error) => {
                self.paused_until_ms = now_ms + SCARCE_PAUSE_MS;
                Err(error)
            }
        }
    }

    /// The next connection that may be served now.
    pub fn admit(&mut self, now_ms: u64) -> Option<Admitted> {
        self.waiting.front()?;
        match self.gate.admit(now_ms) {
            Admission::Granted => {
                self.gate.note_waiting(false);
                self.tally.accepted += 1;
                self.waiting.pop_front()
            }
            Admission::Later(when_ms) => {
                if self.paused_until_ms < when_ms {
                    self.paused_until_ms = when_ms;
                    self.tally.paced += 1;
                }
                None
            }
            Admission::Full => None,
        }
    }

    /// True when something waits that can be done now: looked at before the core sleeps.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        self.open
            && (self.blocked || !self.waiting.is_empty())
            && now_ms >= self.paused_until_ms
            && self.gate.has_room()
    }

    /// When to look again although nothing happened in between.
    pub fn due_ms(&self, now_ms: u64) -> Option<u64> {
        (self.open && self.paused_until_ms > now_ms).then_some(self.paused_until_ms)
    }

    /// No more connections: those that wait are closed, outstanding accepts end.
    pub fn close(&mut self, ring: &mut Ring) {
        if !self.open {
            return;
        }
        self.open = false;
        for _ in self.waiting.drain(..) {
            self.gate.note_waiting(false);
        }
        if std::mem::take(&mut self.blocked) {
            self.gate.note_waiting(false);
        }
        if self.inherited {
            // Whoever opened it keeps it: clients queue in its backlog until the next server.
            return ring.cancel_accepts(self.socket.as_raw_fd());
        }
        // By a call of its own: a shutdown in the ring looks the descriptor up later, when its
        // number may be somebody else's. It ends every accept that is outstanding; a socket that
        // never listened has none.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_are_split_with_the_remainder_first() {
        assert_eq!(split(100, 2), [50, 50]);
        assert_eq!(split(5, 3), [2, 2, 1]);
        assert_eq!(split(1, 8), [1]);
        assert_eq!(split(1_000_000, 2), [1024, 1024]);
    }
}
