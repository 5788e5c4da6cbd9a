//! The loop of a shard: wait, handle what happened, send what was written.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::base::key::Key;
use crate::listeners::connection::Receiving;
use crate::listeners::connection::STALL_MS;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Handover;
use crate::listeners::mail::Mail;
use crate::listeners::mail::Moved;
use crate::listeners::shard::Shard;
use crate::modules::handover::arrive;
use crate::modules::kept;
use crate::net::ring::Buffers;
use crate::net::ring::Event;
use crate::net::ring::Ring;
use crate::proto::proxy::BadHeader;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::runtime::mesh::LANE_BATCHES_MAX;
use crate::runtime::waker::Waker;

/// Bytes of stanzas for one other shard that may be held back because its mailbox is full. Beyond
/// it this shard reads no more from its own connections until the other has caught up.
const MAIL_HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Answers from other threads that are taken in within one turn.
const NOTES_PER_TURN_MAX: usize = 1024;
/// How long to wait before a full mailbox is tried again.
const MAILBOX_RETRY: Duration = Duration::from_millis(1);
/// Time between two log lines about the same trouble, in milliseconds.
const LOG_EVERY_MS: u64 = 1_000;

impl Shard {
    /// Runs until the server stops.
    #[expect(
        clippy::disallowed_methods,
        reason = "a core without its ring cannot go on"
    )]
    pub fn drive(mut self, mut ring: Ring, mut buffers: Buffers) {
        self.tell_time();
        loop {
            self.accept_more(&mut ring);
            self.flush(&mut ring);
            self.time_turn();
            let rouse = |shard, waker: &Waker| ring.rouse(shard, waker);
            let flushed = self.desk.mesh.flush(rouse);
            self.store.ring();
            self.congested = !flushed && self.is_congested();
            self.tell_drained(flushed);
            if self.is_done() {
                // Sends of the last turn are submitted by the last wait.
                let _ = ring.wait(Some(Duration::ZERO));
                return;
            }
            if let Err(error) = self.sleep(&mut ring, flushed) {
                // Users of this core could not be reached: better to be started again.
                tracing::error!(%error, shard = self.number(), "the ring failed; the server ends");
                std::process::exit(1);
            }
            self.tell_time();
            self.wake_tired();
            self.unstash(&mut ring, &mut buffers);
            while let Some(event) = ring.next_event() {
                self.event(&mut ring, &mut buffers, event);
            }
            self.read_mail(&mut ring);
            self.run_flushes();
            self.run_asked();
            self.run_resumed(&mut ring);
            self.run_links(&mut ring);
            self.run_bosh(&mut ring);
            self.run_pulse();
            self.run_movers(&mut ring);
            self.run_timers(&mut ring);
            self.run_drain(&mut ring);
            self.run_ends(&mut ring);
            while !self.words.is_empty() {
                self.hear_words(&mut ring);
                self.run_ends(&mut ring);
            }
        }
    }

    /// Handles the reads that had to wait, in their order, once the other shard has caught up.
    fn unstash(&mut self, ring: &mut Ring, buffers: &mut Buffers) {
        if self.stashed.is_empty() || self.congested {
            return;
        }
        for (key, outcome) in std::mem::take(&mut self.stashed) {
            let armed = self
                .desk
                .slab
                .get(key)
                .is_some_and(|c| c.receiving != Receiving::Idle);
            self.event(
                ring,
                buffers,
                Event::Received {
                    key,
                    outcome,
                    armed,
                },
            );
        }
        for key in std::mem::take(&mut self.starved) {
            self.listen_on(ring, key);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the driver is where time comes in"
    )]
    fn tell_time(&mut self) {
        // 0 means "none" wherever a time is kept.
        let elapsed = self.epoch.elapsed();
        self.desk.now_ms = elapsed.as_millis() as u64 + 1;
        self.turn = (
            elapsed.as_micros() as u64,
            self.cells.stanzas_in.iter().sum(),
        );
        self.facts.unix_seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.facts.since_unix_seconds == 0 {
            self.facts.since_unix_seconds = self.facts.unix_seconds;
        }
    }

    /// The stanzas of the turn are handed to the kernel: how long did that take?
    fn time_turn(&mut self) {
        let (began_us, before) = self.turn;
        let stanzas = self.cells.stanzas_in.iter().sum::<u64>() - before;
        if stanzas > 0 {
            let took = self.epoch.elapsed().as_micros() as u64 - began_us;
            self.cells.turn.observe(took, stanzas);
        }
    }

    fn sleep(&mut self, ring: &mut Ring, flushed: bool) -> std::io::Result<()> {
        let waker = std::sync::Arc::clone(self.desk.mesh.waker());
        waker.park();
        let now_ms = self.desk.now_ms;
        let busy = !self.desk.mesh.is_idle()
            || !self.desk.dirty.is_empty()
            || !self.desk.ends.is_empty()
            || self.http.bosh.has_requests()
            || !self.words.is_empty()
            || !self.asked.is_empty()
            || !self.desk.resumed.is_empty()
            || self.sessions.flushes.has_due()
            || !self.tired.is_empty()
            || self
                .acceptors
                .iter()
                .any(|acceptor| acceptor.is_ready(now_ms));
        let patience = match (busy, flushed) {
            (true, _) => Some(Duration::ZERO),
            (false, false) => Some(MAILBOX_RETRY),
            (false, true) if self.must_ask_again() => Some(MAILBOX_RETRY),
            (false, true) => self.patience(),
        };
        let result = ring.wait(patience);
        waker.unpark();
        result
    }

    fn patience(&self) -> Option<Duration> {
        let now_ms = self.desk.now_ms;
        let accepts = self
            .acceptors
            .iter()
            .filter_map(|acceptor| acceptor.due_ms(now_ms));
        let due_ms = accepts
            .chain(self.wheel.next_deadline())
            .chain(self.desk.links.next_due_ms())
            .chain(self.http.pulse.due_ms())
            .chain(self.drain_due_ms())
            .min()?;
        Some(Duration::from_millis(due_ms.saturating_sub(now_ms).max(1)))
    }

    fn event(&mut self, ring: &mut Ring, buffers: &mut Buffers, event: Event) {
        match event {
            Event::Accepted { listener, result } => self.accepted(listener, result),
            Event::Received {
                key,
                outcome,
                armed,
            } => {
                self.received(ring, buffers, key, outcome, armed);
            }
            Event::Sent {
                key,
                buffer,
                from,
                result,
            } => {
                self.sent(ring, key, buffer, from, result);
            }
            Event::Woken => {}
            Event::Unheard(shard) => self.alert(shard),
        }
    }

    /// The handling of one connection's bytes panicked: that connection ends, the shard lives.
    pub(super) fn survive(&mut self, ring: &mut Ring, key: Key) {
        let shard = self.number();
        if let Some(connection) = self.desk.slab.get_mut(key) {
            let text = "handling a connection failed; it is closed";
            log_of!(error, self.settings, connection, shard, "{text}");
            // Whatever it was doing, the socket is shut down before it is closed.
            connection.receiving = Receiving::Many;
        }
        self.sessions.unbind_connection(key);
        self.leave_service(key);
        self.close(ring, key, EndReason::Fault);
    }

    fn accepted(
        &mut self,
        number: u16,
        result: std::io::Result<(std::os::fd::OwnedFd, std::net::SocketAddr)>,
    ) {
        let now_ms = self.desk.now_ms;
        let Some(acceptor) = self.acceptors.iter_mut().find(|a| a.number() == number) else {
            return;
        };
        if let Err(error) = acceptor.completed(result, now_ms)
            && now_ms >= self.scarce_logged_ms + LOG_EVERY_MS
        {
            self.scarce_logged_ms = now_ms;
            let path = &self.settings.listener(number).path;
            tracing::warn!(%error, listener = %path, "accepting pauses: the system lacks something");
        }
    }

    /// Serves what may be served, and asks for more.
    fn accept_more(&mut self, ring: &mut Ring) {
        let now_ms = self.desk.now_ms;
        let mut acceptors = std::mem::take(&mut self.acceptors);
        for acceptor in &mut acceptors {
            while let Some(admitted) = acceptor.admit(now_ms) {
                let number = acceptor.number();
                let serving = self.settings.listener(number).acceptors.len();
                let shards = self.settings.hosts.shards();
                let shard = if serving < shards {
                    self.next_shard(shards)
                } else {
                    self.number()
                };
                if shard == self.number() {
                    self.begin(ring, admitted.socket, admitted.peer, number);
                } else {
                    let handover = Handover::Accepted(admitted.socket, admitted.peer, number);
                    self.desk.mesh.filling(shard).handovers.push(handover);
                }
            }
            acceptor.arm(ring, now_ms);
        }
        self.acceptors = acceptors;
    }

    /// Where fewer cores accept than serve, connections are dealt out in turn.
    fn next_shard(&mut self, shards: usize) -> usize {
        self.spread_next = (self.spread_next + 1) % shards.max(1);
        self.spread_next
    }

    /// Kept messages whose predecessors the sockets have taken.
    fn run_flushes(&mut self) {
        if !self.sessions.flushes.is_empty() {
            kept::proceed(&mut self.scene());
        }
    }

    fn read_mail(&mut self, ring: &mut Ring) {
        // One batch of each shard a turn, so that what it leads to is sent before more is taken in.
        for sender in 0..self.desk.mesh.shards() {
            if let Some(mut mail) = self.desk.mesh.receive(sender) {
                self.open_mail(ring, &mut mail);
                self.desk.mesh.recycle(sender, mail);
            }
        }
        for _ in 0..NOTES_PER_TURN_MAX {
            let Some(note) = self.desk.mesh.receive_outside() else {
                break;
            };
            let key = note.connection();
            let handled = catch_unwind(AssertUnwindSafe(|| self.note(ring, note)));
            if let (Err(_), Some(key)) = (handled, key) {
                self.survive(ring, key);
            }
        }
    }

    /// Takes in all that other shards have sent by now: whatever they said before comes before.
    pub(super) fn drain_mail(&mut self, ring: &mut Ring) {
        for sender in 0..self.desk.mesh.shards() {
            for _ in 0..LANE_BATCHES_MAX {
                let Some(mut mail) = self.desk.mesh.receive(sender) else {
                    break;
                };
                self.open_mail(ring, &mut mail);
                self.desk.mesh.recycle(sender, mail);
            }
        }
    }

    fn open_mail(&mut self, ring: &mut Ring, mail: &mut Mail) {
        for handover in mail.handovers.drain(..) {
            match handover {
                Handover::Accepted(socket, peer, number) => {
                    self.begin(ring, socket, peer, number);
                }
                Handover::Bosh(request) => self.bosh_arrived(ring, *request),
                Handover::BoshLost(sid, from) => self.bosh_lost(ring, sid, from),
                Handover::BoshAnswer(from, body) => self.answer_bosh(ring, from, body),
                Handover::BoshGone(sid) => self.forget_bosh(&sid),
                Handover::Server(connection) => {
                    let key = self.arrive_here(*connection);
                    let come = AssertUnwindSafe(|| self.come_home(ring, key));
                    if catch_unwind(come).is_err() {
                        self.survive(ring, key);
                    }
                }
                Handover::Bind(moved) => {
                    let Moved {
                        connection,
                        user,
                        resource,
                    } = *moved;
                    let key = self.arrive_here(connection);
                    let handled = catch_unwind(AssertUnwindSafe(|| {
                        self.take_over(ring, key, &user, resource.as_deref());
                    }));
                    if handled.is_err() {
                        self.survive(ring, key);
                    }
                }
            }
        }
        self.words.extend(mail.words.drain(..));
        for letter in mail.letters.drain(..) {
            self.open_letter(ring, letter);
        }
        let mut scene = self.scene();
        for envelope in mail.envelopes.iter() {
            arrive(&mut scene, &envelope);
        }
    }

    fn run_timers(&mut self, ring: &mut Ring) {
        let now_ms = self.desk.now_ms;
        while let Some(report) = self.wheel.pop(now_ms) {
            let key = Key::from_u64(report.key);
            let Some(connection) = self.desk.slab.get_mut(key) else {
                continue;
            };
            if connection.alarm.rings(report) {
                self.look_after(ring, key);
                self.arm_timer(key);
            }
        }
    }

    /// One of a connection's times may have come.
    fn look_after(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if connection.stalled_since_ms > 0 && now_ms >= connection.stalled_since_ms + STALL_MS {
            connection.cut = true;
            self.desk.ends.push((key, EndReason::SlowReader));
            return;
        }
        if connection.deadline_ms > 0 && now_ms >= connection.deadline_ms {
            return self.too_late(ring, key);
        }
        if connection.paced_until_ms > 0 && now_ms >= connection.paced_until_ms {
            connection.paced_until_ms = 0;
            self.listen_on(ring, key);
        }
        self.look_after_websocket(ring, key);
        self.look_after_bosh(ring, key);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let idle_ms = self
            .settings
            .listener(connection.listener)
            .hibernate_after_ms;
        if let Some(idle_ms) = idle_ms
            && now_ms >= connection.active_ms + idle_ms
        {
            connection.hibernate();
        }
    }

    fn too_late(&mut self, ring: &mut Ring, key: Key) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.deadline_ms = 0;
        match connection.stage {
            Stage::Ending => self.cut(ring, key, EndReason::Timeout),
            Stage::Proxy(_) => {
                let place = self.cells.place(connection.listener);
                place.proxy_failures[BadHeader::Missing.index()] += 1;
                self.log_proxy_failure(key, BadHeader::Missing);
                self.close(ring, key, EndReason::BadProxyHeader);
            }
            Stage::Http => self.http_late(ring, key),
            Stage::Outbound(_) => self.outgoing_is_due(ring, key),
            Stage::Negotiating(_)
            | Stage::Session(_)
            | Stage::Joining(_)
            | Stage::Peer(_)
            | Stage::Inbound(_)
            | Stage::Lent => {
                let error = StreamError::new(StreamCondition::ConnectionTimeout);
                self.end_with(ring, key, EndReason::Timeout, error);
            }
        }
    }

    /// At most one line a second: a port scan must not fill the disk.
    pub(super) fn log_proxy_failure(&mut self, key: Key, kind: BadHeader) {
        let now_ms = self.desk.now_ms;
        if now_ms < self.proxy_logged_ms + LOG_EVERY_MS {
            return;
        }
        self.proxy_logged_ms = now_ms;
        if let Some(connection) = self.desk.slab.get(key) {
            let kind = kind.label();
            log_of!(info, self.settings, connection, kind, "bad PROXY header");
        }
    }

    /// True while another shard is so far behind that nothing more may be read for it.
    fn is_congested(&mut self) -> bool {
        let (me, shards) = (self.number(), self.settings.hosts.shards());
        (0..shards)
            .filter(|shard| *shard != me)
            .any(|shard| self.desk.mesh.filling(shard).envelopes.bytes() > MAIL_HELD_BYTES_MAX)
    }
}
