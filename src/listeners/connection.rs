//! A connection as a value: all that a shard knows of one socket.
//!
//! It is no task and holds no buffer, timer or lock while it waits. What is large or short-lived
//! (negotiation, TLS, a partial stanza) is boxed and given back when its time is over, because a
//! server's memory is this struct times the people who are online. It is `Send`: a connection moves
//! once, to the shard that owns its user.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

use crate::base::address_limits::Counted;
use crate::base::key::Key;
use crate::base::timer_wheel::Alarm;
use crate::base::token_bucket::TokenBucket;
use crate::jid::Jid;
use crate::listeners::ending::EndReason;
use crate::listeners::http::bosh::Bosh;
use crate::listeners::http::websocket::WebSocket;
use crate::listeners::settings::Settings;
use crate::net::ring::Ring;
use crate::net::tls::TlsStream;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::s2s::inbound::Inbound;
use crate::proto::s2s::outbound::Outbound;
use crate::proto::service::Handshake;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// How long a send may make no progress before the peer is cut, in milliseconds.
pub const STALL_MS: u64 = 30_000;

/// Which receive is armed in the ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Receiving {
    /// None: the connection does not hear anything.
    Idle,
    /// One read.
    Once,
    /// Reads until the end.
    Many,
    /// The same, and the ring has been told to stop.
    Stopping,
}

/// What a connection is doing.
pub enum Stage {
    /// A PROXY header must come first; the bytes of it so far.
    Proxy(Vec<u8>),
    /// It speaks HTTP; hyper's part of it is in `listeners::http`.
    Http,
    /// From the first byte to the bound resource.
    Negotiating(Box<Negotiation>),
    /// A session of this shard.
    Session(Box<Session>),
    /// A component that is not admitted yet.
    Joining(Box<Handshake>),
    /// A stream that speaks for whole domains.
    Peer(Box<Peer>),
    /// A stream that another server has opened to us.
    Inbound(Box<Inbound>),
    /// A stream that we have opened to another server.
    Outbound(Box<Outbound>),
    /// What it does is in the hands of whoever handles its bytes just now.
    Lent,
    /// The stream is closed on our side; what is still to be sent is sent, nothing is read.
    Ending,
}

/// What carries a stream that is not on the socket itself.
#[derive(Debug)]
pub enum Carrier {
    /// Frames of a WebSocket.
    WebSocket(WebSocket),
    /// Requests and answers of BOSH; there is no socket.
    Bosh(Box<Bosh>),
}

/// The session of a connection, as far as the connection needs it.
pub struct Session {
    /// The full JID.
    pub jid: Jid,
    /// The full JID as it stands in an attribute, where it holds something to be escaped.
    pub escaped: Option<Box<str>>,
}

impl Session {
    /// The full JID as it may be written between apostrophes.
    pub fn attribute(&self) -> &str {
        self.escaped.as_deref().unwrap_or(self.jid.as_str())
    }
}

/// A stream whose stanzas say themselves whom they are from, as far as it may speak for them.
pub struct Peer {
    /// What is at its other end.
    pub kind: PeerKind,
    /// The domains that it speaks for, prepared.
    pub names: Vec<Box<str>>,
}

/// What speaks for whole domains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerKind {
    /// An external component (XEP-0114).
    Service,
}

/// TLS and the records that are to be sent.
pub struct Secured {
    /// The server's side of it.
    pub stream: TlsStream,
    /// Records of the handshake and alerts; at the end of a turn also what the turn wrote.
    pub send: Vec<u8>,
    /// What the send that is under way holds, in clear: a peer that is cut has not read it.
    pub under_way: Vec<u8>,
    /// The handshake is done.
    pub established: bool,
    /// Bytes of a record, or of the handshake, that have not come in whole, as the shard counts them.
    pub held: usize,
}

/// An element that has not come in whole.
pub struct Partial {
    /// The bytes so far, beginning with the element.
    pub bytes: Vec<u8>,
    /// How far they are understood.
    pub scanner: Scanner,
}

/// One socket. Lives on: the shard that accepted it until its session is bound, then on the owner
/// shard of its user.
pub struct Connection {
    /// Names it in the log, in this process once; 0 until it is in a slab.
    pub id: u64,
    /// The socket; None for a session that is carried by requests.
    pub socket: Option<OwnedFd>,
    /// The client: the socket's peer, or what the PROXY header says.
    pub peer: SocketAddr,
    /// Which listener it came in on.
    pub listener: u16,
    /// The class that its stanzas count in (`listeners::traffic`).
    pub class: u16,
    /// The receive that is armed.
    pub receiving: Receiving,
    /// A send is under way in the ring.
    pub sending: bool,
    /// It is in the shard's list of connections with output.
    pub dirty: bool,
    /// Received bytes are held back until an answer comes (store, TLS, shaper).
    pub held: bool,
    /// Received bytes are held back until a change of its user's roster is written.
    pub paused: bool,
    /// How it ends once those bytes are handled: the peer has gone.
    pub ends_as: Option<EndReason>,
    /// Close without waiting for the peer once everything is sent.
    pub close_when_sent: bool,
    /// A PROXY header named the peer, so its address proves nothing about the socket.
    pub proxied: bool,
    /// Its user came in by a name that has no account (`login_anon`).
    pub guest: bool,
    /// It is to be cut at the end of the turn.
    pub cut: bool,
    /// TLS begins once what is under way in clear is sent.
    pub starttls_due: bool,
    /// The peer has closed its side, and what it asked is still answered (HTTP).
    pub input_ended: bool,
    /// Its end is counted.
    pub ended: bool,
    /// What it is doing.
    pub stage: Stage,
    /// TLS, once it has begun.
    pub tls: Option<Box<Secured>>,
    /// What frames the stream; None where it is on the socket itself.
    pub carrier: Option<Box<Carrier>>,
    /// Its part in the limits of its address.
    pub counted: Option<Box<Counted>>,
    /// What the peer's stream header bound.
    pub scope: StreamScope,
    /// The element that has begun and not ended.
    pub partial: Option<Box<Partial>>,
    /// Output of this turn, in clear.
    pub out: Vec<u8>,
    /// Bytes that the ring is sending.
    pub in_flight: u32,
    /// Pace of reading, where the listener has a shaper.
    pub shaper: Option<Box<TokenBucket>>,
    /// When the step of negotiation, or the end, takes too long; 0 = no such time. Milliseconds.
    pub deadline_ms: u64,
    /// Since when a send makes no progress; 0 = none is under way. Milliseconds.
    pub stalled_since_ms: u64,
    /// Until when its shaper keeps it from being read; 0 = it does not. Milliseconds.
    pub paced_until_ms: u64,
    /// When the shard's wheel will look at this connection.
    pub alarm: Alarm,
    /// When something last came or went, for hibernation. Milliseconds.
    pub active_ms: u64,
    /// When it was accepted. Milliseconds.
    pub since_ms: u64,
}

impl Connection {
    /// A fresh connection.
    pub fn new(
        socket: Option<OwnedFd>,
        peer: SocketAddr,
        listener: u16,
        stage: Stage,
        scope: StreamScope,
        now_ms: u64,
    ) -> Self {
        Self {
            id: 0,
            socket,
            peer,
            listener,
            class: 0,
            receiving: Receiving::Idle,
            sending: false,
            dirty: false,
            held: false,
            paused: false,
            ends_as: None,
            close_when_sent: false,
            proxied: false,
            guest: false,
            cut: false,
            starttls_due: false,
            input_ended: false,
            ended: false,
            stage,
            tls: None,
            carrier: None,
            counted: None,
            scope,
            partial: None,
            out: Vec::new(),
            in_flight: 0,
            shaper: None,
            deadline_ms: 0,
            stalled_since_ms: 0,
            paced_until_ms: 0,
            alarm: Alarm::default(),
            active_ms: now_ms,
            since_ms: now_ms,
        }
    }

    /// The descriptor, for the ring.
    pub fn fd(&self) -> RawFd {
        // Nothing is ever asked of a session without a socket; the kernel refuses this number.
        self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Has the ring read no further; what has come by then still comes.
    pub fn stop_listening(&mut self, ring: &mut Ring, key: Key) {
        if self.receiving == Receiving::Many {
            ring.cancel_receive(key);
            self.receiving = Receiving::Stopping;
        }
    }

    /// The other end of the socket is this machine; what a PROXY header says never is.
    pub fn is_local(&self) -> bool {
        self.peer.ip().is_loopback() && !self.proxied
    }

    /// When the shard has to look at it without being asked; milliseconds.
    pub fn due_ms(&self, settings: &Settings) -> Option<u64> {
        let stalled = (self.stalled_since_ms > 0).then_some(self.stalled_since_ms + STALL_MS);
        let deadline = (self.deadline_ms > 0).then_some(self.deadline_ms);
        let paced = (self.paced_until_ms > 0).then_some(self.paced_until_ms);
        let idle = settings
            .listener(self.listener)
            .hibernate_after_ms
            .filter(|_| self.holds_spare_memory())
            .map(|idle_ms| self.active_ms + idle_ms);
        let carrier = match self.carrier.as_deref() {
            Some(Carrier::WebSocket(socket)) => socket.due_ms(settings.listener(self.listener)),
            Some(Carrier::Bosh(bosh)) => Some(bosh.session.due_ms()),
            None => None,
        };
        [stalled, deadline, paced, idle, carrier]
            .into_iter()
            .flatten()
            .min()
    }

    /// It keeps memory that only speeds up the next stanza.
    pub fn holds_spare_memory(&self) -> bool {
        (self.out.is_empty() && self.out.capacity() > 0)
            || self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.send.is_empty() && tls.send.capacity() > 0)
    }

    /// Gives that memory back.
    pub fn hibernate(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if let Some(tls) = &mut self.tls {
            tls.stream.hibernate();
            if tls.send.is_empty() {
                tls.send = Vec::new();
            }
        }
    }

    /// Frames of our own wait to be sent.
    pub fn has_frames(&self) -> bool {
        match self.carrier.as_deref() {
            Some(Carrier::WebSocket(socket)) => socket.has_raw(),
            Some(Carrier::Bosh(_)) | None => false,
        }
    }

    /// It holds no memory but its own and its session's.
    pub fn is_hibernated(&self) -> bool {
        self.is_session()
            && self.partial.is_none()
            && !self.sending
            && self.out.capacity() == 0
            && !self.holds_spare_memory()
    }

    /// Bytes of what has not come in whole: an element, a frame, a TLS record.
    pub fn partial_bytes(&self) -> usize {
        let framed = match self.carrier.as_deref() {
            Some(Carrier::WebSocket(socket)) => socket.partial_bytes(),
            // Bounded by its request, and there only while the stream waits.
            Some(Carrier::Bosh(_)) => 0,
            None => 0,
        };
        let sealed = self.tls.as_ref().map_or(0, |tls| tls.held);
        let element = self.partial.as_ref();
        framed + sealed + element.map_or(0, |partial| partial.bytes.len())
    }

    /// Bytes that wait for this peer to read.
    pub fn outbound_bytes(&self) -> usize {
        let held = match self.carrier.as_deref() {
            Some(Carrier::Bosh(bosh)) => bosh.outbound_bytes(),
            Some(Carrier::WebSocket(_)) | None => 0,
        };
        held + self.out.len() + self.in_flight as usize
    }

    /// True for a bound session.
    pub fn is_session(&self) -> bool {
        matches!(self.stage, Stage::Session(_))
    }

    /// The negotiation is over: stanzas come and go.
    pub fn is_established(&self) -> bool {
        match &self.stage {
            Stage::Session(_) | Stage::Peer(_) => true,
            Stage::Inbound(inbound) => !inbound.proven().is_empty() && !inbound.expects_header(),
            Stage::Outbound(outbound) => outbound.ready().is_some(),
            Stage::Proxy(_)
            | Stage::Http
            | Stage::Negotiating(_)
            | Stage::Joining(_)
            | Stage::Lent
            | Stage::Ending => false,
        }
    }
}
