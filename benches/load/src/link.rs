//! A client's connection: TCP, and what is put on top of it, TLS or WebSocket frames or both.
//!
//! `compose` puts a stanza into bytes as the stream wants it, `send` sends such bytes, `receive` has
//! what came. What the socket does not take waits here, and `settle` tells the epoll set.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::sockopt;
use rustls::ClientConfig;

use crate::fault::Fault;
use crate::frames::Frames;
use crate::proxy;
use crate::proxy::Version;
use crate::tls::Secured;
use crate::wire::epoll::Epoll;
use crate::wire::socket::INPUT_BYTES;
use crate::wire::socket::connect;
use crate::wire::socket::receive_some;
use crate::wire::socket::send_some;
use crate::wire::socket::source;

/// Where clients go, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where the server listens.
    pub(crate) to: SocketAddrV4,
    /// Addresses of 127/8 that they come from; 0: the kernel decides.
    pub(crate) sources: usize,
    /// The PROXY header that they begin with.
    pub(crate) proxy: Option<Version>,
    /// How TLS is spoken, where it is.
    pub(crate) tls: Arc<ClientConfig>,
}

/// Where bytes are put that are looked at once; one for all connections.
pub(crate) struct Buffers {
    wire: Vec<u8>,
    clear: Vec<u8>,
    text: Vec<u8>,
}

impl Buffers {
    /// None, for as long as somebody else has them.
    pub(crate) fn none() -> Self {
        Self {
            wire: Vec::new(),
            clear: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Empty ones.
    pub(crate) fn new() -> Self {
        Self {
            wire: vec![0; INPUT_BYTES],
            clear: Vec::new(),
            text: Vec::new(),
        }
    }
}

/// A connection.
pub(crate) struct Link {
    socket: OwnedFd,
    unsent: Vec<u8>,
    watches_output: bool,
    /// What is on top of TCP; an idle connection in clear has nothing.
    tls: Option<Box<Secured>>,
    frames: Option<Box<Frames>>,
}

impl Link {
    /// Connects client `number`.
    pub(crate) fn open(target: &Target, number: usize) -> Result<Self, Fault> {
        let from = (target.sources > 0).then(|| source(number, target.sources));
        let socket = connect(target.to, from)?;
        let unsent = target
            .proxy
            .map(|version| proxy::header(version, number, target.to));
        Ok(Self {
            socket,
            unsent: unsent.unwrap_or_default(),
            watches_output: false,
            tls: None,
            frames: None,
        })
    }

    /// Has the set wait for it.
    pub(crate) fn enter(&self, epoll: &Epoll, number: usize) -> Result<(), Fault> {
        Ok(epoll.add(&self.socket, number)?)
    }

    /// Takes it out of the set: nothing more is expected of it.
    pub(crate) fn leave(&self, epoll: &Epoll) {
        // One that was never in it is out of it.
        let _ = epoll.remove(&self.socket);
    }

    /// Has small writes leave at once, although earlier ones are not acknowledged.
    pub(crate) fn hurry(&self) -> Result<(), Fault> {
        Ok(sockopt::set_tcp_nodelay(&self.socket, true)?)
    }

    /// Begins TLS.
    pub(crate) fn secure(&mut self, target: &Target) -> Result<(), Fault> {
        self.tls = Some(Box::new(Secured::new(&target.tls)?));
        self.send(&[])
    }

    /// Whether the TLS handshake is done.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_ready())
    }

    /// From here on every stanza is a WebSocket message.
    pub(crate) fn frame(&mut self) {
        self.frames = Some(Box::default());
    }

    /// Whether stanzas are WebSocket messages.
    pub(crate) fn has_frames(&self) -> bool {
        self.frames.is_some()
    }

    /// Appends the stanza as this stream wants it.
    pub(crate) fn compose(&self, stanza: &[u8], out: &mut Vec<u8>) {
        if self.frames.is_some() {
            Frames::write(stanza, out);
        } else {
            out.extend_from_slice(stanza);
        }
    }

    /// Sends what `compose` made.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(tls) = &mut self.tls {
            tls.write(bytes, &mut self.unsent)?;
        } else if self.unsent.is_empty() {
            let sent = send_some(&self.socket, bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
            return Ok(());
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if !self.unsent.is_empty() {
            let sent = send_some(&self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }

    /// What has come of the stream; nothing where nothing waits or it was no part of the stream.
    pub(crate) fn receive<'a>(&mut self, buffers: &'a mut Buffers) -> Result<&'a [u8], Fault> {
        if self.watches_output {
            self.flush()?;
        }
        let Buffers { wire, clear, text } = buffers;
        let mut bytes = receive_some(&self.socket, wire)?;
        if let Some(tls) = &mut self.tls {
            clear.clear();
            tls.read(bytes, clear)?;
            if !tls.is_ready() {
                tls.write(&[], &mut self.unsent)?;
                self.flush()?;
            }
            bytes = clear;
        }
        let Some(frames) = &mut self.frames else {
            return Ok(bytes);
        };
        text.clear();
        let pongs = frames.read(bytes, text)?;
        if !pongs.is_empty() {
            self.send(&pongs)?;
        }
        Ok(text)
    }

    /// Tells the set whether bytes wait for room in the socket.
    pub(crate) fn settle(&mut self, epoll: &Epoll, number: usize) -> Result<(), Fault> {
        let waits = !self.unsent.is_empty();
        if waits != self.watches_output {
            epoll.watch_output(&self.socket, number, waits)?;
            self.watches_output = waits;
        }
        Ok(())
    }

    /// Tells the server that nothing more will come.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        Ok(rustix::net::shutdown(
            &self.socket,
            rustix::net::Shutdown::Write,
        )?)
    }
}
