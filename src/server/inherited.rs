//! Sockets that systemd opened for us (LISTEN_FDS, sd_listen_fds(3)): each serves the listener with
//! its address.
//!
//! A socket that no listener asks for ends the start: its clients would wait in a backlog that
//! nobody empties.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use crate::cli::Failure;
use crate::config::listen::Listener;
use crate::net::accept::split;
use crate::net::socket::Inherited;

/// Those that no listener has taken yet.
pub(super) struct Sockets(Vec<Inherited>);

impl Sockets {
    /// Takes what this process was given. The environment tells it once.
    ///
    /// # Errors
    /// The first that is no listening TCP socket.
    pub(super) fn take() -> Result<Self, Failure> {
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).map(|place| {
            let socket = given.take_tcp_listener(place);
            socket
                .map_err(|error| error.to_string())
                .and_then(|socket| socket.ok_or_else(|| "it is gone".to_owned()))
                .and_then(|socket| Inherited::adopt(OwnedFd::from(socket)))
                .map_err(|why| {
                    Failure::new(format!(
                        "inherited socket {} (LISTEN_FDS): {why}",
                        place + 1
                    ))
                })
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// The sockets of a listener.
    ///
    /// # Errors
    /// More of them than there are cores: some would never be accepted on.
    pub(super) fn of(&mut self, listener: &Listener, cores: usize) -> Result<Own, Failure> {
        let address = listener.common.address;
        let (own, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|socket| socket.address == address);
        self.0 = others;
        if own.len() > cores {
            return Err(Failure::new(format!(
                "{}: {} inherited sockets on {address} for {cores} cores: one a core at most",
                listener.path,
                own.len(),
            )));
        }
        // A socket that nobody accepts on would swallow connections: each has an accept at least.
        let sockets = own.len() as u32;
        let accepts = listener.common.num_acceptors.max(sockets);
        Ok(Own {
            address,
            acceptors: split(accepts, own.len()),
            sockets: own.into_iter().map(|own| own.socket).collect(),
        })
    }

    /// All of them have to be taken.
    ///
    /// # Errors
    /// Those that nobody took.
    pub(super) fn nothing_left(&self) -> Result<(), Failure> {
        let left: Vec<String> = self.0.iter().map(|left| left.address.to_string()).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "no listener of the configuration is served on the inherited socket {} (LISTEN_FDS)\n\
             Give a [[listen.*]] table that ip_address and port, or take the socket out of the \
             socket unit",
            left.join(", ")
        )))
    }
}

/// The inherited sockets of one listener; mostly none.
pub(super) struct Own {
    /// Where they listen.
    pub(super) address: SocketAddr,
    /// Accepts outstanding on each.
    pub(super) acceptors: Vec<u32>,
    /// The sockets.
    pub(super) sockets: Vec<OwnedFd>,
}
