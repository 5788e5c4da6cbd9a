//! How a connection begins: the limits of its address, its PROXY header, TLS.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::base::key::Key;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Secured;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::ending::LINGER_MS;
use crate::listeners::http::REQUEST_MS;
use crate::listeners::settings::Listener;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Peers;
use crate::net::ring::Ring;
use crate::net::tls::TlsStream;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::ns;
use crate::proto::proxy::Addresses;
use crate::proto::proxy::Sniff;
use crate::proto::s2s::inbound::Inbound;
use crate::proto::service::Handshake;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::scan::StreamScope;

/// A PROXY header has to be there after this time, or after `state_timeout` if that is shorter.
const PROXY_HEADER_MS: u64 = 1_000;
/// A connection is established after this time in all, whatever `state_timeout` says.
const PRE_AUTH_TOTAL_MS: u64 = 600_000;

/// What comes first on a listener, behind the PROXY header.
fn first_stage(listener: &Listener) -> Stage {
    if listener.http {
        Stage::Http
    } else if listener.components.is_some() {
        Stage::Joining(Box::new(Handshake::new()))
    } else if listener.is_s2s {
        Stage::Inbound(Box::new(Inbound::new(false)))
    } else {
        Stage::Negotiating(Box::new(Negotiation::new(false)))
    }
}

impl Shard {
    /// A connection begins on this shard.
    pub fn begin(&mut self, ring: &mut Ring, socket: OwnedFd, peer: SocketAddr, number: u16) {
        self.cells.accepts += 1;
        let now_ms = self.desk.now_ms;
        let settings = Rc::clone(&self.settings);
        let listener = settings.listener(number);
        let trusted = listener.trusted.is_empty() || listener.trusts(peer.ip());
        let stage = if listener.proxy {
            Stage::Proxy(Vec::new())
        } else {
            first_stage(listener)
        };
        let scope = StreamScope::ordinary(ns::CLIENT);
        let mut connection = Connection::new(Some(socket), peer, number, stage, scope, now_ms);
        connection.class = Peers::of(listener).class(&settings.hosts, None);
        let key = self.desk.slab.insert(connection);
        if self.stop_by_ms > 0 {
            let error = StreamError::new(StreamCondition::SystemShutdown);
            return self.end_with(ring, key, EndReason::Shutdown, error);
        }
        if listener.proxy {
            if !trusted {
                return self.close(ring, key, EndReason::BadProxyHeader);
            }
            let patience_ms = listener.state_timeout_ms.unwrap_or(PROXY_HEADER_MS);
            self.set_deadline(key, now_ms + patience_ms.min(PROXY_HEADER_MS));
        } else if !self.welcome(ring, key) {
            return;
        }
        self.listen_on(ring, key);
    }

    /// The client's address is known: its limits hold, and the negotiation begins.
    fn welcome(&mut self, ring: &mut Ring, key: Key) -> bool {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return false;
        };
        let listener = self.settings.listener(connection.listener);
        // The connections of a trusted proxy are nobody's; see `admit_forwarded`.
        let forwards = listener.http && !listener.proxy && listener.trusts(connection.peer.ip());
        if let Some(addresses) = listener.addresses.as_ref().filter(|_| !forwards) {
            match addresses.admit(connection.peer.ip(), now_ms) {
                Ok(counted) => connection.counted = Some(Box::new(counted)),
                Err(refusal) => {
                    let place = self.cells.place(connection.listener);
                    place.refusals[refusal as usize] += 1;
                    let limit = refusal.label();
                    log_of!(debug, self.settings, connection, limit, "refused");
                    self.close(ring, key, EndReason::AddressLimit);
                    return false;
                }
            }
        }
        if listener.direct_tls && !self.start_tls(key) {
            self.close(ring, key, EndReason::TlsFailed);
            return false;
        }
        self.next_step(key);
        true
    }

    /// Puts TLS on a connection; false where it cannot be.
    pub fn start_tls(&mut self, key: Key) -> bool {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return false;
        };
        let mut send = Vec::new();
        let server = self.tls.get(usize::from(connection.listener));
        let made = match (
            &connection.stage,
            server.and_then(Option::as_ref),
            &self.outgoing_tls,
        ) {
            (Stage::Outbound(outbound), _, Some(client)) => {
                let remote = &outbound.pair().remote;
                TlsStream::connect(client, remote, outbound.expects_header(), &mut send)
            }
            (Stage::Outbound(_), _, None) | (_, None, _) => return false,
            (_, Some(server), _) => TlsStream::new(server),
        };
        match made {
            Ok(stream) => {
                let secured = Secured {
                    stream,
                    send,
                    under_way: Vec::new(),
                    established: false,
                    held: 0,
                };
                connection.tls = Some(Box::new(secured));
                self.desk.touch(key);
                true
            }
            Err(error) => {
                log_of!(warn, self.settings, connection, %error, "TLS cannot be started");
                false
            }
        }
    }

    /// The clock of the next step of the negotiation starts.
    pub fn next_step(&mut self, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let last_ms = connection.since_ms + PRE_AUTH_TOTAL_MS;
        if matches!(connection.stage, Stage::Http) {
            return self.set_deadline(key, now_ms + REQUEST_MS);
        }
        let step_ms = self.settings.listener(connection.listener).state_timeout_ms;
        let due_ms = step_ms.map_or(last_ms, |step_ms| last_ms.min(now_ms + step_ms));
        self.set_deadline(key, due_ms);
    }

    /// Sets the time by which something has to have happened; 0 for none.
    pub fn set_deadline(&mut self, key: Key, due_ms: u64) {
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.deadline_ms = due_ms;
        }
        self.arm_timer(key);
    }

    pub(super) fn sniffed(&mut self, ring: &mut Ring, key: Key, verdict: Sniff, bytes: &mut [u8]) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        match verdict {
            Sniff::More => connection.stage = Stage::Proxy(bytes.to_vec()),
            Sniff::Bad(kind) => {
                let place = self.cells.place(connection.listener);
                place.proxy_failures[kind.index()] += 1;
                self.log_proxy_failure(key, kind);
                self.close(ring, key, EndReason::BadProxyHeader);
            }
            Sniff::Header { length, addresses } => {
                connection.proxied = true;
                if let Addresses::Proxied { source, .. } = addresses {
                    connection.peer = source;
                }
                connection.stage = first_stage(self.settings.listener(connection.listener));
                if self.welcome(ring, key)
                    && let Some(rest) = bytes.get_mut(length..)
                    && !rest.is_empty()
                {
                    self.decrypt(ring, key, rest);
                }
            }
        }
    }

    pub(super) fn handshake_progress(&mut self, ring: &mut Ring, key: Key, handshaking: bool) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Some(tls) = &mut connection.tls else {
            return;
        };
        if handshaking || tls.established {
            return;
        }
        tls.established = true;
        self.cells.place(connection.listener).handshakes += 1;
        match &mut connection.stage {
            Stage::Negotiating(negotiation) => negotiation.secured(),
            Stage::Inbound(inbound) => inbound.secured(),
            Stage::Outbound(_) => self.outgoing_secured(ring, key),
            Stage::Proxy(_)
            | Stage::Http
            | Stage::Session(_)
            | Stage::Joining(_)
            | Stage::Peer(_)
            | Stage::Lent
            | Stage::Ending => {}
        }
        self.next_step(key);
    }

    /// The alert is sent if it can be; nothing else is said.
    pub(super) fn fail_tls(&mut self, ring: &mut Ring, key: Key) {
        self.leave(key);
        let now_ms = self.desk.now_ms;
        self.count_end(key, EndReason::TlsFailed);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let says = connection
            .tls
            .as_ref()
            .is_some_and(|tls| !tls.send.is_empty());
        if !says && !connection.sending {
            return self.close(ring, key, EndReason::TlsFailed);
        }
        connection.stage = Stage::Ending;
        connection.close_when_sent = true;
        self.set_deadline(key, now_ms + LINGER_MS);
    }
}
