//! How connections end, and why: every reason has a name.

use std::rc::Rc;

use crate::base::key::Key;
use crate::listeners::connection::PeerKind;
use crate::listeners::connection::Receiving;
use crate::listeners::connection::Stage;
use crate::listeners::shard::Shard;
use crate::metrics::ENDS_MAX;
use crate::modules::happening::Happening;
use crate::modules::kept;
use crate::modules::presence;
use crate::net::ring::Ring;
use crate::proto::s2s::header;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;

/// How long a peer may take to close its side after we closed ours, in milliseconds.
pub const LINGER_MS: u64 = 5_000;

/// Why a connection ended: the log field and the metric label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EndReason {
    /// More connections or accepts of one address than allowed.
    AddressLimit,
    /// The PROXY header was missing, bad or late; or came from an untrusted address.
    BadProxyHeader,
    /// What should have been HTTP was none.
    BadRequest,
    /// The client closed its stream.
    Finished,
    /// The handling of its bytes panicked: a defect of ours.
    Fault,
    /// The socket failed or was reset.
    Failed,
    /// An administrator ended it.
    Kicked,
    /// The peer closed the socket without closing the stream.
    PeerClosed,
    /// The client's session was replaced, or made room for another.
    Replaced,
    /// It did not read what was sent to it.
    SlowReader,
    /// The server stops.
    Shutdown,
    /// A stream error of the peer's making, or of a limit.
    StreamError,
    /// TLS could not be established, or broke.
    TlsFailed,
    /// A step of the negotiation took too long.
    Timeout,
}

const _: () = assert!(EndReason::ALL.len() <= ENDS_MAX);

impl EndReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::AddressLimit,
        Self::BadProxyHeader,
        Self::BadRequest,
        Self::Finished,
        Self::Fault,
        Self::Failed,
        Self::Kicked,
        Self::PeerClosed,
        Self::Replaced,
        Self::SlowReader,
        Self::Shutdown,
        Self::StreamError,
        Self::TlsFailed,
        Self::Timeout,
    ];

    /// The label.
    pub fn label(self) -> &'static str {
        match self {
            Self::AddressLimit => "address_limit",
            Self::BadProxyHeader => "bad_proxy_header",
            Self::BadRequest => "bad_request",
            Self::Finished => "finished",
            Self::Fault => "fault",
            Self::Failed => "failed",
            Self::Kicked => "kicked",
            Self::PeerClosed => "peer_closed",
            Self::Replaced => "replaced",
            Self::SlowReader => "slow_reader",
            Self::Shutdown => "shutdown",
            Self::StreamError => "stream_error",
            Self::TlsFailed => "tls_failed",
            Self::Timeout => "timeout",
        }
    }
}

impl Shard {
    /// Ends a stream with an error and closes in order: error, end of stream, TCP.
    pub fn end_with(&mut self, ring: &mut Ring, key: Key, reason: EndReason, error: StreamError) {
        self.leave(key);
        let id = self.stream_id();
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Http) {
            return self.stop_http(ring, key);
        }
        let stage = std::mem::replace(&mut connection.stage, Stage::Ending);
        // Before TLS on a direct TLS port nothing can be said.
        let mute = connection.tls.as_ref().is_some_and(|tls| !tls.established);
        if matches!(stage, Stage::Ending) || matches!(stage, Stage::Proxy(_)) || mute {
            connection.stage = Stage::Ending;
            return self.close(ring, key, reason);
        }
        if let Stage::Inbound(inbound) = &stage
            && inbound.expects_header()
        {
            if inbound.host().is_empty() && settings.config.general.hide_service_name {
                return self.close(ring, key, reason);
            }
            let host = inbound.host();
            let general = &settings.config.general;
            let host = if host.is_empty() {
                &general.default_server_domain.value
            } else {
                host
            };
            header::write(
                host,
                None,
                Some(&id),
                &general.language,
                &mut connection.out,
            );
        }
        let hides = settings.config.general.hide_service_name;
        if let Stage::Negotiating(negotiation) = &stage
            && hides
            && negotiation.host().is_empty()
        {
            return self.close(ring, key, reason);
        }
        if let Stage::Negotiating(negotiation) = &stage {
            let listener = settings.listener(connection.listener);
            let offer = settings.offer(listener, negotiation.host(), connection.is_local());
            negotiation.open_for_error(&offer, &id, &mut connection.out);
        }
        if let Stage::Joining(handshake) = &stage {
            let general = &settings.config.general;
            if hides && handshake.expects_header() {
                return self.close(ring, key, reason);
            }
            let host = &general.default_server_domain.value;
            handshake.open_for_error(host, &id, &general.language, &mut connection.out);
        }
        error.write(&mut connection.out);
        let (number, class) = (connection.listener, connection.class);
        let place = self.cells.place(number);
        if let Some(count) = place.stream_errors.get_mut(error.condition as usize) {
            *count += 1;
        }
        if let Some(traffic) = self.desk.traffic.get_mut(usize::from(class)) {
            traffic.sent.stream_errors += 1;
        }
        self.finish(ring, key, reason, false);
    }

    /// Answers the client's end of stream.
    pub fn end_finished(&mut self, ring: &mut Ring, key: Key) {
        self.leave(key);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Ending) {
            return;
        }
        connection.stage = Stage::Ending;
        connection.out.extend_from_slice(b"</stream:stream>");
        // The peer has said its last word: in clear nothing can be lost by closing at once. A
        // WebSocket still wants to answer our Close frame.
        let at_once = connection.tls.is_none() && connection.carrier.is_none();
        self.finish(ring, key, EndReason::Finished, at_once);
    }

    /// Everything is written: what is left is to send it, and to close in order.
    fn finish(&mut self, ring: &mut Ring, key: Key, reason: EndReason, at_once: bool) {
        let now_ms = self.desk.now_ms;
        self.count_end(key, reason);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.close_when_sent = at_once;
        (connection.held, connection.paused) = (false, false);
        connection.deadline_ms = now_ms + LINGER_MS;
        if let Some(partial) = connection.partial.take() {
            self.partial_bytes = self.partial_bytes.saturating_sub(partial.bytes.len());
        }
        if !connection.dirty {
            connection.dirty = true;
            self.desk.dirty.push(key);
        }
        self.arm_timer(key);
        self.listen_on(ring, key);
    }

    /// Takes the session of a connection out of the table and tells whoever has to know.
    pub fn leave(&mut self, key: Key) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let session = match std::mem::replace(&mut connection.stage, Stage::Lent) {
            Stage::Session(session) => session,
            Stage::Outbound(outbound) => return self.outgoing_left(key, &outbound),
            Stage::Peer(peer) => match peer.kind {
                PeerKind::Service => {
                    let names = &peer.names;
                    log_of!(info, self.settings, connection, ?names, "component gone");
                    return self.leave_service(key);
                }
            },
            Stage::Joining(handshake) => {
                let claims = handshake.awaits();
                connection.stage = Stage::Joining(handshake);
                if claims {
                    self.leave_service(key);
                }
                return;
            }
            stage @ (Stage::Proxy(_)
            | Stage::Http
            | Stage::Negotiating(_)
            | Stage::Lent
            | Stage::Ending) => {
                connection.stage = stage;
                return;
            }
            Stage::Inbound(inbound) => {
                self.incoming_left(key, &inbound);
                if let Some(connection) = self.desk.slab.get_mut(key) {
                    connection.stage = Stage::Inbound(inbound);
                }
                return;
            }
        };
        let bare = session.jid.bare().to_owned();
        if let Some(ended) = self.sessions.unbind(&bare, key) {
            let host = session.jid.domain();
            self.desk.note_happened(Happening::Logout, host);
            let mut scene = self.scene();
            presence::ended(&mut scene, session.jid.as_str(), &bare, &ended);
        }
    }

    /// Closes a connection now, whatever it still has to say.
    pub fn close(&mut self, ring: &mut Ring, key: Key, reason: EndReason) {
        self.leave(key);
        self.unkept(key);
        self.count_end(key, reason);
        let Some(mut connection) = self.desk.slab.remove(key) else {
            return;
        };
        self.desk.links.gone(key);
        if connection.receiving != Receiving::Idle || connection.sending {
            // Ends what is armed in the ring, which would keep the socket open.
            if let Some(socket) = &connection.socket {
                // A socket whose peer is gone already cannot be shut down, and need not be.
                let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Both);
            }
        }
        self.partial_bytes = self
            .partial_bytes
            .saturating_sub(connection.partial_bytes() + self.http.unasked_bytes(key));
        let listener = connection.listener;
        self.forget_http(key);
        drop(connection.counted.take());
        let Some(socket) = connection.socket.take() else {
            // It counts as nobody's connection: its requests come and go on others.
            return self.closed_bosh(ring, &mut connection);
        };
        self.desk.pool.give(std::mem::take(&mut connection.out));
        ring.close(socket);
        if self.settings.listener(listener).gate.release() {
            self.wake_all();
        }
    }

    /// What a connection has not taken of kept messages stays kept.
    pub(super) fn unkept(&mut self, key: Key) {
        if !self.sessions.flushes.is_empty() {
            kept::gone(&mut self.scene(), key);
        }
    }

    pub(super) fn count_end(&mut self, key: Key, reason: EndReason) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if connection.ended {
            return;
        }
        connection.ended = true;
        let place = self.cells.place(connection.listener);
        place.ends[reason as usize] += 1;
        // Who goes before the first byte, as probes do, has not tried.
        let handshaking = connection.tls.as_ref().is_some_and(|tls| !tls.established);
        if reason == EndReason::TlsFailed || (handshaking && reason == EndReason::Timeout) {
            place.handshakes_failed += 1;
        }
        let reason = reason.label();
        log_of!(debug, self.settings, connection, reason, "connection ended");
    }

    /// Carries out the ends that were decided while others were handled.
    pub fn run_ends(&mut self, ring: &mut Ring) {
        while let Some((key, reason)) = self.desk.ends.pop() {
            match reason {
                EndReason::Replaced => {
                    let error = StreamError::new(StreamCondition::Conflict);
                    self.end_with(ring, key, reason, error);
                }
                EndReason::SlowReader => self.cut(ring, key, reason),
                other => self.close(ring, key, other),
            }
        }
    }

    /// A peer that does not read, or is gone, is closed; what it was owed goes back to the senders.
    pub(super) fn cut(&mut self, ring: &mut Ring, key: Key, reason: EndReason) {
        self.leave(key);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let owed = std::mem::take(&mut connection.out);
        if connection.sending {
            let tls = connection.tls.as_mut();
            let clear = tls.map(|tls| std::mem::take(&mut tls.under_way));
            self.cut_in_flight.push((key, clear.unwrap_or_default()));
        }
        self.close(ring, key, reason);
        self.give_back_owed(&owed, 0);
        self.desk.pool.give(owed);
    }
}
