//! What leaves: everything that a turn wrote for a connection, in one send.

use crate::base::key::Key;
use crate::listeners::connection::Carrier;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Way;
use crate::modules::offline;
use crate::net::ring::Ring;
use crate::net::tls::record;
use crate::proto::stanza::IqType;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::Type;

impl Shard {
    /// Sends what the turn wrote.
    pub fn flush(&mut self, ring: &mut Ring) {
        let mut dirty = std::mem::take(&mut self.desk.dirty);
        for key in dirty.drain(..) {
            self.flush_one(ring, key);
        }
        // What was written meanwhile stays for the next turn.
        dirty.append(&mut self.desk.dirty);
        self.desk.dirty = dirty;
    }

    /// Sends what is written for one connection, unless a send is under way.
    pub fn flush_one(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.dirty = false;
        if connection.sending {
            return;
        }
        match connection.carrier.as_deref() {
            Some(Carrier::Bosh(_)) => return self.flush_bosh(ring, key),
            Some(Carrier::WebSocket(_)) => self.frame_output(key),
            None => {}
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if let Some(way) = connection.way()
            && let Some(traffic) = self.desk.traffic.get_mut(usize::from(connection.class))
            && connection.tls.as_ref().is_none_or(|tls| tls.established)
        {
            traffic.bytes_out[way as usize] += connection.out.len() as u64;
        }
        let buffer = match &mut connection.tls {
            None => std::mem::take(&mut connection.out),
            Some(tls) => {
                if tls.established && !connection.out.is_empty() {
                    if tls.send.capacity() == 0 {
                        tls.send = self.desk.pool.take();
                    }
                    if tls.stream.encrypt(&connection.out, &mut tls.send).is_err() {
                        return self.close(ring, key, EndReason::TlsFailed);
                    }
                    // Not a copy: the buffer waits here instead of in the pool.
                    std::mem::swap(&mut connection.out, &mut tls.under_way);
                    connection.out.clear();
                }
                if matches!(connection.stage, Stage::Ending) && tls.established {
                    tls.stream.close_notify(&mut tls.send);
                }
                std::mem::take(&mut tls.send)
            }
        };
        if buffer.is_empty() {
            self.desk.pool.give(buffer);
            return self.all_sent(ring, key);
        }
        connection.sending = true;
        connection.in_flight = buffer.len() as u32;
        connection.stalled_since_ms = now_ms;
        connection.active_ms = now_ms;
        ring.send(key, connection.fd(), buffer, 0);
        self.arm_timer(key);
    }

    /// Frames what the turn wrote for a stream that is not on the socket itself.
    fn frame_output(&mut self, key: Key) {
        let mut scanner = self.spare_scanner();
        let mut framed = self.desk.pool.take();
        if let Some(connection) = self.desk.slab.get_mut(key) {
            let written = std::mem::take(&mut connection.out);
            match connection.carrier.as_deref_mut() {
                Some(Carrier::WebSocket(socket)) => {
                    let bytes = socket.frame(&mut scanner, &written, &mut framed);
                    if let Some(traffic) = self.desk.traffic.get_mut(usize::from(connection.class))
                    {
                        traffic.bytes_out[Way::WebSocket as usize] += bytes as u64;
                    }
                }
                Some(Carrier::Bosh(_)) | None => framed.extend_from_slice(&written),
            }
            connection.out = std::mem::take(&mut framed);
            self.desk.pool.give(written);
        }
        self.give_scanner(scanner);
    }

    /// The ring says what became of a send.
    pub fn sent(
        &mut self,
        ring: &mut Ring,
        key: Key,
        buffer: Vec<u8>,
        from: usize,
        result: std::io::Result<usize>,
    ) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            self.cut_came_back(key, &buffer, from + result.unwrap_or(0));
            return self.desk.pool.give(buffer);
        };
        let sent = match result {
            Ok(sent) => {
                self.cells.place(connection.listener).bytes_out += sent as u64;
                from + sent
            }
            Err(error) => {
                log_of!(debug, self.settings, connection, %error, "send failed");
                self.cut(ring, key, EndReason::Failed);
                self.cut_came_back(key, &buffer, from);
                return self.desk.pool.give(buffer);
            }
        };
        connection.stalled_since_ms = now_ms;
        if sent < buffer.len() {
            connection.in_flight = (buffer.len() - sent) as u32;
            ring.send(key, connection.fd(), buffer, sent);
            return self.arm_timer(key);
        }
        connection.sending = false;
        connection.in_flight = 0;
        connection.stalled_since_ms = 0;
        self.sessions.note_sent(key);
        self.keep_or_give(key, buffer);
        self.forget_clear(key);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if std::mem::take(&mut connection.starttls_due) {
            return self.upgrade(ring, key);
        }
        if connection.outbound_bytes() > 0
            || connection
                .tls
                .as_ref()
                .is_some_and(|tls| !tls.send.is_empty())
            || connection.has_frames()
        {
            self.flush_one(ring, key);
        } else {
            self.all_sent(ring, key);
        }
    }

    /// With `hibernate_after` 0 a buffer goes back at every opportunity; otherwise the connection
    /// keeps it for its next stanza until it has been idle long enough.
    fn keep_or_give(&mut self, key: Key, mut buffer: Vec<u8>) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let at_once = self
            .settings
            .listener(connection.listener)
            .hibernate_after_ms
            == Some(0);
        let place = match &mut connection.tls {
            Some(tls) => &mut tls.send,
            None => &mut connection.out,
        };
        if at_once || place.capacity() > 0 {
            return self.desk.pool.give(buffer);
        }
        buffer.clear();
        *place = buffer;
        self.arm_timer(key);
    }

    /// What was kept in case the peer would be cut is not needed any more.
    fn forget_clear(&mut self, key: Key) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Some(tls) = &mut connection.tls else {
            return;
        };
        let mut clear = std::mem::take(&mut tls.under_way);
        if clear.capacity() == 0 {
            return;
        }
        let listener = self.settings.listener(connection.listener);
        if listener.hibernate_after_ms == Some(0) || connection.out.capacity() > 0 {
            return self.desk.pool.give(clear);
        }
        clear.clear();
        connection.out = clear;
        self.arm_timer(key);
    }

    /// The send that was under way when a connection was cut; the kernel took `taken` bytes of it.
    fn cut_came_back(&mut self, key: Key, buffer: &[u8], taken: usize) {
        let Some(place) = self.cut_in_flight.iter().position(|(cut, _)| *cut == key) else {
            return;
        };
        let (_, clear) = self.cut_in_flight.swap_remove(place);
        if clear.is_empty() {
            return self.give_back_owed(buffer, taken);
        }
        self.give_back_owed(
            &clear,
            record::clear_bytes_within(buffer, taken, clear.len()),
        );
        self.desk.pool.give(clear);
    }

    /// Nothing is left to send: an ending connection is closed on our side.
    fn all_sent(&mut self, ring: &mut Ring, key: Key) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if matches!(connection.stage, Stage::Http) {
            return self.http_sent(ring, key);
        }
        if !matches!(connection.stage, Stage::Ending) {
            return;
        }
        if connection.close_when_sent {
            return self.close(ring, key, EndReason::Finished);
        }
        // The peer may already be gone; its end is what is waited for either way.
        if let Some(socket) = &connection.socket {
            let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
        }
        self.listen_on(ring, key);
    }

    /// Messages that a connection could not take go where messages to an offline user go.
    /// `taken` bytes of it were handed to the kernel; a stanza that ended among them may have arrived.
    pub fn give_back_owed(&mut self, owed: &[u8], taken: usize) {
        // A sender cannot be made to lose its stream by what its recipients do not read.
        self.desk.spares = true;
        self.each_stanza(owed, |shard, stanza, bytes, end| {
            if end > taken && is_owed(stanza.kind) {
                offline::give_back(&mut shard.scene(), bytes, stanza.kind);
            }
        });
        self.desk.spares = false;
    }
}

/// What somebody waits for, or an offline store would keep.
fn is_owed(kind: Type) -> bool {
    matches!(
        kind,
        Type::Message(MessageType::Chat | MessageType::Groupchat | MessageType::Normal)
            | Type::Iq(IqType::Get | IqType::Set)
    )
}
