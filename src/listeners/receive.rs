//! What arrives: from the ring's buffer through the PROXY header and TLS to the scanner. What comes
//! first on a connection: `begin`.
//!
//! Bytes are handled where they lie. Only an element that has not come in whole is copied, and only
//! the part of it that is there.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use crate::base::key::Key;
use crate::base::token_bucket::TokenBucket;
use crate::config::listen::ShaperChoice;
use crate::listeners::connection::Carrier;
use crate::listeners::connection::Partial;
use crate::listeners::connection::Receiving;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::ending::LINGER_MS;
use crate::listeners::shard::Shard;
use crate::net::ring::BUFFER_BYTES;
use crate::net::ring::Buffers;
use crate::net::ring::Received;
use crate::net::ring::Reception;
use crate::net::ring::Ring;
use crate::proto::proxy::BadHeader;
use crate::proto::proxy::sniff;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;

/// Memory of a partial element that is kept although it holds far less, in bytes.
const PARTIAL_SPARE_BYTES_MAX: usize = 4096;

/// What may come ahead of what a connection waits for, in bytes; then the receive that is armed is taken
/// back until it waits no longer. What the kernel has read by then still comes.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

impl Shard {
    /// Asks the ring for a connection's bytes, unless that is not the time for it.
    pub fn listen_on(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let waits = connection.held || connection.paused;
        if waits || connection.socket.is_none() {
            return;
        }
        if connection.receiving != Receiving::Idle {
            return;
        }
        if connection.ends_as.take().is_some() {
            // What it had sent before is done with.
            return self.peer_closed(ring, key);
        }
        let listener = self.settings.listener(connection.listener);
        // One receive for all of a negotiation, where none has to be paced that comes of it.
        let goes_on = connection.is_established()
            || matches!(connection.stage, Stage::Negotiating(_))
                && matches!(listener.shaper, ShaperChoice::Unlimited);
        let how = match &connection.shaper {
            Some(bucket) if connection.is_established() => {
                if let Some(ready_ms) = bucket.ready_at(now_ms) {
                    connection.paced_until_ms = ready_ms;
                    return self.arm_timer(key);
                }
                let most = bucket.available(now_ms).clamp(1, BUFFER_BYTES as u64);
                // With TLS a read is as large as the client's records are.
                let most = if connection.tls.is_some() {
                    BUFFER_BYTES as u64
                } else {
                    most
                };
                Reception::Once(most as u32)
            }
            Some(_) | None if goes_on => Reception::Many,
            Some(_) | None => Reception::Once(BUFFER_BYTES as u32),
        };
        connection.receiving = if how == Reception::Many {
            Receiving::Many
        } else {
            Receiving::Once
        };
        ring.receive(key, connection.fd(), how);
    }

    /// The ring says what a receive brought.
    pub fn received(
        &mut self,
        ring: &mut Ring,
        buffers: &mut Buffers,
        key: Key,
        outcome: Received,
        armed: bool,
    ) {
        let now_ms = self.desk.now_ms;
        if let Some(connection) = self.desk.slab.get_mut(key)
            && !armed
        {
            connection.receiving = Receiving::Idle;
        }
        match outcome {
            // What came later must not overtake what waits.
            outcome @ (Received::Bytes(..) | Received::End | Received::Failed(_))
                if self.congested || !self.stashed.is_empty() =>
            {
                self.stashed.push((key, outcome));
            }
            Received::Bytes(buffer, length) => {
                let mut handled = Ok(());
                if let Some(connection) = self.desk.slab.get_mut(key) {
                    connection.active_ms = now_ms;
                    self.cells.place(connection.listener).bytes_in += length as u64;
                    let bytes = buffers.bytes(&buffer, length);
                    let arrived = AssertUnwindSafe(|| self.arrived(ring, key, bytes));
                    handled = catch_unwind(arrived);
                }
                buffers.give_back(buffer);
                if handled.is_err() {
                    return self.survive(ring, key);
                }
                self.stop_ahead(ring, key);
                self.listen_on(ring, key);
            }
            Received::End => self.peer_closed(ring, key),
            Received::Starved if self.congested => self.starved.push(key),
            Received::Starved => self.listen_on(ring, key),
            Received::Cancelled => self.listen_on(ring, key),
            Received::Failed(error) => {
                if let Some(connection) = self.desk.slab.get(key) {
                    log_of!(debug, self.settings, connection, %error, "receive failed");
                }
                if self.ends_later(key, EndReason::Failed) {
                    return;
                }
                self.cut(ring, key, EndReason::Failed);
            }
        }
    }

    /// A client that sends far ahead of what it waits for (an answer of its negotiation, a change of its
    /// roster, its share of the next turn) is not read on.
    fn stop_ahead(&mut self, ring: &mut Ring, key: Key) {
        if let Some(connection) = self.desk.slab.get_mut(key)
            && (connection.held || connection.paused)
            && connection.partial_bytes() > AHEAD_BYTES_MAX
        {
            connection.stop_listening(ring, key);
        }
    }

    pub(super) fn peer_closed(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        if self.ends_later(key, EndReason::PeerClosed) {
            return;
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Http) {
            return self.http_input_ended(ring, key);
        }
        if matches!(connection.stage, Stage::Peer(_)) {
            // Who goes without a word gets nothing more: what it was owed goes back.
            return self.cut(ring, key, EndReason::PeerClosed);
        }
        if matches!(connection.stage, Stage::Proxy(_)) {
            let place = self.cells.place(connection.listener);
            place.proxy_failures[BadHeader::Missing.index()] += 1;
        }
        let reason = match connection.stage {
            Stage::Proxy(_) => EndReason::BadProxyHeader,
            Stage::Http
            | Stage::Negotiating(_)
            | Stage::Session(_)
            | Stage::Joining(_)
            | Stage::Peer(_)
            | Stage::Inbound(_)
            | Stage::Outbound(_)
            | Stage::Lent
            | Stage::Ending => EndReason::PeerClosed,
        };
        if connection.dirty || connection.sending {
            // It may have closed only its own side: what we have to say is still sent.
            self.leave(key);
            self.unkept(key);
            self.count_end(key, reason);
            if let Some(connection) = self.desk.slab.get_mut(key) {
                connection.stage = Stage::Ending;
                connection.close_when_sent = true;
                // Nothing more comes, and asking again would only say so again.
                connection.held = true;
            }
            return self.set_deadline(key, now_ms + LINGER_MS);
        }
        self.close(ring, key, reason);
    }

    fn arrived(&mut self, ring: &mut Ring, key: Key, bytes: &mut [u8]) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        match &mut connection.stage {
            Stage::Ending => {
                // Only the end of the peer's side still counts.
            }
            Stage::Proxy(so_far) if so_far.is_empty() => {
                let verdict = sniff(bytes);
                self.sniffed(ring, key, verdict, bytes);
            }
            Stage::Proxy(so_far) => {
                let mut whole = std::mem::take(so_far);
                whole.extend_from_slice(bytes);
                let verdict = sniff(&whole);
                self.sniffed(ring, key, verdict, &mut whole);
            }
            Stage::Http
            | Stage::Negotiating(_)
            | Stage::Session(_)
            | Stage::Joining(_)
            | Stage::Peer(_)
            | Stage::Inbound(_)
            | Stage::Outbound(_)
            | Stage::Lent => {
                self.decrypt(ring, key, bytes);
            }
        }
    }

    pub(super) fn decrypt(&mut self, ring: &mut Ring, key: Key, bytes: &mut [u8]) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let (class, way) = (connection.class, connection.way());
        let Some(tls) = &mut connection.tls else {
            if connection.starttls_due {
                // In clear behind `<starttls/>`: it must not be taken for what is secured.
                return;
            }
            if let Some(way) = way {
                self.desk.note_bytes_in(class, way, bytes.len());
            }
            return self.feed(ring, key, bytes);
        };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let result = tls.stream.receive(bytes, &mut plain, &mut tls.send);
        let held = std::mem::replace(&mut tls.held, tls.stream.pending_bytes());
        self.partial_bytes = self.partial_bytes.saturating_sub(held) + tls.held;
        if !tls.send.is_empty() {
            self.desk.touch(key);
        }
        match result {
            Err(error) => {
                if let Some(connection) = self.desk.slab.get(key) {
                    let reason = error.reason();
                    log_of!(debug, self.settings, connection, reason, "TLS failed");
                }
                self.fail_tls(ring, key);
            }
            Ok(progress) => {
                if let Some(way) = way {
                    self.desk.note_bytes_in(class, way, plain.len());
                }
                self.handshake_progress(ring, key, progress.handshaking);
                // Early data can be a replay: it waits for the handshake, then it is judged.
                self.feed(ring, key, &plain);
                if progress.peer_closed {
                    self.peer_closed(ring, key);
                }
            }
        }
        self.plain = plain;
        self.bound_partials(ring);
    }

    /// Hands bytes of the stream to whoever reads it, behind what is still unread.
    pub fn feed(&mut self, ring: &mut Ring, key: Key, fresh: &[u8]) {
        let waits = self.waits(key);
        let now_ms = self.desk.now_ms;
        self.effort.begin(key);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Http) {
            return self.http_input(ring, key, fresh);
        }
        if matches!(connection.carrier.as_deref(), Some(Carrier::Bosh(_))) {
            return self.bosh_content(ring, key);
        }
        let framed = connection.carrier.is_some();
        if let Some(shaper) = &mut connection.shaper {
            shaper.take(now_ms, fresh.len() as u64);
        }
        match connection.partial.take() {
            None if fresh.is_empty() => {}
            None if waits => self.keep(ring, key, fresh, None),
            None if framed => {
                let used = self.frames(ring, key, fresh);
                let rest = fresh.get(used..).unwrap_or_default();
                if !rest.is_empty() {
                    self.keep(ring, key, rest, None);
                }
            }
            None => {
                let mut scanner = self.spare_scanner();
                let used = self.consume_all(ring, key, &mut scanner, fresh);
                let rest = fresh.get(used..).unwrap_or_default();
                if rest.is_empty() {
                    self.give_scanner(scanner);
                } else {
                    self.keep(ring, key, rest, Some(scanner));
                }
            }
            Some(mut partial) => {
                self.partial_bytes = self.partial_bytes.saturating_sub(partial.bytes.len());
                partial.bytes.extend_from_slice(fresh);
                if !waits {
                    let Partial { bytes, scanner } = &mut *partial;
                    let used = if framed {
                        self.frames(ring, key, bytes)
                    } else {
                        self.consume_all(ring, key, scanner, bytes)
                    };
                    bytes.drain(..used.min(bytes.len()));
                    if bytes.capacity() > PARTIAL_SPARE_BYTES_MAX.max(4 * bytes.len()) {
                        bytes.shrink_to_fit();
                    }
                }
                self.keep_partial(ring, key, partial);
            }
        }
    }

    /// True while an answer is due that the rest of the input depends on.
    pub(super) fn waits(&self, key: Key) -> bool {
        self.desk.slab.get(key).is_none_or(|connection| {
            connection.held
                || connection.paused
                || connection.tls.as_ref().is_some_and(|tls| !tls.established)
                || match &connection.stage {
                    Stage::Negotiating(negotiation) => negotiation.awaits(),
                    Stage::Inbound(inbound) => inbound.awaits(),
                    Stage::Outbound(outbound) => outbound.awaits(),
                    Stage::Proxy(_)
                    | Stage::Http
                    | Stage::Session(_)
                    | Stage::Joining(_)
                    | Stage::Peer(_)
                    | Stage::Lent
                    | Stage::Ending => false,
                }
        })
    }

    /// Hands bytes on until they are used up, the rest is no whole element, or an answer is due. A
    /// negotiation that ends leaves the rest to the session that it became.
    pub(super) fn consume_all(
        &mut self,
        ring: &mut Ring,
        key: Key,
        scanner: &mut crate::xml::scan::Scanner,
        input: &[u8],
    ) -> usize {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let used = self.consume(ring, key, scanner, rest);
            at += used;
            if used == 0 || at >= input.len() || scanner.is_midway() || self.waits(key) {
                return at;
            }
        }
    }

    fn keep(
        &mut self,
        ring: &mut Ring,
        key: Key,
        bytes: &[u8],
        scanner: Option<crate::xml::scan::Scanner>,
    ) {
        let scanner = scanner.unwrap_or_else(|| self.spare_scanner());
        self.keep_partial(
            ring,
            key,
            Box::new(Partial {
                bytes: bytes.to_vec(),
                scanner,
            }),
        );
    }

    fn keep_partial(&mut self, ring: &mut Ring, key: Key, partial: Box<Partial>) {
        let alive = self
            .desk
            .slab
            .get_mut(key)
            .filter(|c| !matches!(c.stage, Stage::Ending));
        match alive {
            Some(connection) if !partial.bytes.is_empty() => {
                self.partial_bytes += partial.bytes.len();
                connection.partial = Some(partial);
            }
            Some(_) | None => self.give_scanner(partial.scanner),
        }
        self.bound_partials(ring);
    }

    /// Keeps what has not come in whole (elements, frames, requests, records) within its bound.
    pub(super) fn bound_partials(&mut self, ring: &mut Ring) {
        let bound = self.settings.config.runtime.partial_stanza_memory as usize;
        if self.partial_bytes > bound {
            self.cut_largest_partials(ring, bound);
        }
    }

    /// The sum of partial elements is over its bound: the largest offenders are cut.
    fn cut_largest_partials(&mut self, ring: &mut Ring, bound: usize) {
        let error = StreamError::because(
            StreamCondition::ResourceConstraint,
            "the server holds too many unfinished stanzas",
        );
        let size = |key: &Key| {
            let bytes = self.desk.slab.get(*key)?.partial_bytes() + self.http.unasked_bytes(*key);
            (bytes > 0).then_some((bytes, *key))
        };
        let mut holders: Vec<(usize, Key)> =
            self.desk.slab.keys().iter().filter_map(size).collect();
        holders.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, key) in holders {
            // Some room is made, so that the next read does not look for an offender again.
            if self.partial_bytes <= bound / 8 * 7 {
                break;
            }
            if self.http.unasked_bytes(key) > 0 {
                // Whoever sends a request does not listen until it has come in.
                self.close(ring, key, EndReason::StreamError);
            } else {
                self.end_with(ring, key, EndReason::StreamError, error);
            }
        }
    }

    fn consume(
        &mut self,
        ring: &mut Ring,
        key: Key,
        scanner: &mut crate::xml::scan::Scanner,
        input: &[u8],
    ) -> usize {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        match std::mem::replace(&mut connection.stage, Stage::Lent) {
            Stage::Negotiating(negotiation) => {
                self.negotiate(ring, key, negotiation, scanner, input)
            }
            Stage::Session(session) => self.stanzas(ring, key, session, scanner, input),
            Stage::Joining(handshake) => self.join(ring, key, handshake, scanner, input),
            Stage::Peer(peer) => self.peer_stanzas(ring, key, peer, scanner, input),
            Stage::Inbound(inbound) => self.serve_incoming(ring, key, inbound, scanner, input),
            Stage::Outbound(outbound) => self.serve_outgoing(ring, key, outbound, scanner, input),
            other @ (Stage::Proxy(_) | Stage::Http | Stage::Lent | Stage::Ending) => {
                connection.stage = other;
                input.len()
            }
        }
    }

    /// A bucket for an established stream whose listener has a shaper.
    pub fn shape(&mut self, key: Key, rate: Option<u64>) {
        let now_ms = self.desk.now_ms;
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.shaper = rate.map(|rate| Box::new(TokenBucket::new(rate, now_ms)));
        }
    }
}
