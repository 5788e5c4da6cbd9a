//! http listeners: from the first byte of a request to the handler that answers it.
//!
//! [`conversation`] is hyper on one connection, [`sites`] finds the handler, and [`Shard::answer`]
//! asks it. Most answers are there at once; others come when other shards have spoken, and find the
//! request by its serial number. A WebSocket ([`websocket`]) leaves HTTP behind and is a client's
//! connection like any other.
//!
//! What is read and not yet used is bounded by one receive, since nothing more is asked for while a
//! request is being answered; what is written by one answer, since the next request is looked at
//! only when it is sent.

pub mod answer;
pub mod bosh;
pub mod conversation;
pub mod dashboard;
pub mod forwarded;
pub mod gather;
pub mod gzip;
pub mod host_meta;
pub mod metrics;
pub mod sites;
pub mod websocket;

use std::cell::RefCell;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hyper::Method;
use hyper::Response;
use hyper::StatusCode;

use self::conversation::Asked;
use self::conversation::Content;
use self::conversation::Conversation;
use self::conversation::Events;
use self::conversation::Progress;
use self::gather::Gathering;
use self::gather::Purpose;
use self::gzip::Gzip;
use self::gzip::Packing;
use self::sites::Handler;
use self::sites::NoSite;
use crate::base::key::Key;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::ending::LINGER_MS;
use crate::listeners::shard::Shard;
use crate::listeners::status::Question;
use crate::net::ring::Ring;

/// Time for a request to come in whole, head and body, from the end of the answer before. So it is
/// also how long an idle connection is kept. Milliseconds.
pub const REQUEST_MS: u64 = 30_000;

/// What a shard needs for HTTP. Lives on: one shard.
#[derive(Default)]
pub struct Http {
    conversations: HashMap<Key, Box<Conversation>, RandomState>,
    /// Requests that wait for other shards; at most one for each connection.
    gatherings: Vec<Gathering>,
    gatherings_begun: u64,
    /// BOSH.
    pub bosh: bosh::Sessions,
    /// Who looks at dashboards.
    pub pulse: dashboard::pulse::Pulse,
    gzip: Gzip,
}

impl Http {
    /// A connection is gone; what it still asked.
    fn forget(&mut self, key: Key) -> Option<Box<Conversation>> {
        self.pulse.forget(key);
        let conversation = self.conversations.remove(&key);
        conversation.filter(|conversation| conversation.is_asking)
    }

    /// Bytes of a connection's request that has not come in whole.
    pub fn unasked_bytes(&self, key: Key) -> usize {
        let conversation = self.conversations.get(&key);
        conversation.map_or(0, |conversation| conversation.unasked_bytes)
    }

    /// Where events of a request go, while it is being answered with them.
    fn events_of(&self, key: Key, serial: u32) -> Option<Rc<RefCell<Events>>> {
        let conversation = self.conversations.get(&key)?;
        let events = conversation.events.as_ref();
        events.filter(|_| conversation.serial == serial).cloned()
    }

    /// A question for events that not all shards have answered will not be.
    fn forget_pulse(&mut self) {
        self.gatherings.retain(|gathering| !gathering.is_pulse());
    }

    /// A request of this connection is being answered.
    fn is_asking(&self, key: Key) -> bool {
        let conversation = self.conversations.get(&key);
        conversation.is_some_and(|conversation| conversation.is_asking)
    }
}

fn is_read(request: &Asked) -> bool {
    matches!(request.parts.method, Method::GET | Method::HEAD)
}

impl Shard {
    /// A connection is gone: a BOSH session whose request it was hears of it.
    pub(super) fn forget_http(&mut self, key: Key) {
        let asked = self.http.forget(key);
        if let Some(conversation) = asked
            && let Some(sid) = conversation.bosh
        {
            self.lose_bosh(sid, (key, conversation.serial));
        }
    }

    /// Bytes of a connection that speaks HTTP.
    pub(super) fn http_input(&mut self, ring: &mut Ring, key: Key, fresh: &[u8]) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let secured = connection.tls.as_ref().is_none_or(|tls| tls.established);
        if fresh.is_empty() && !self.http.conversations.contains_key(&key) {
            return;
        }
        let listener = connection.listener;
        let settings = &self.settings;
        let new = || Box::new(Conversation::new(settings, listener));
        let conversation = self.http.conversations.entry(key).or_insert_with(new);
        conversation.push(fresh);
        self.partial_bytes += fresh.len();
        // Early data can be a replay: it waits for the end of the handshake.
        if secured {
            self.pump(ring, key);
        }
    }

    /// The peer sends no more; what it has asked is still answered.
    pub(super) fn http_input_ended(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(conversation) = self.http.conversations.get_mut(&key) else {
            return self.close(ring, key, EndReason::PeerClosed);
        };
        conversation.end_input();
        // Nobody reads what might come later: browsers close both sides together.
        if conversation.events.is_some() || conversation.bosh.is_some() {
            return self.close(ring, key, EndReason::PeerClosed);
        }
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
            connection.input_ended = true;
        }
        self.set_deadline(key, now_ms + LINGER_MS);
        self.pump(ring, key);
    }

    /// Lets hyper work as long as there is something to do and what it writes is sent.
    pub(super) fn pump(&mut self, ring: &mut Ring, key: Key) {
        let Some(mut conversation) = self.http.conversations.remove(&key) else {
            return;
        };
        self.partial_bytes = self
            .partial_bytes
            .saturating_sub(conversation.unasked_bytes);
        loop {
            let Some(connection) = self.desk.slab.get_mut(key) else {
                return;
            };
            if !matches!(connection.stage, Stage::Http) {
                return;
            }
            let is_writing = connection.sending || !connection.out.is_empty();
            if is_writing && conversation.events.is_none() {
                break;
            }
            if connection.out.capacity() == 0 {
                connection.out = self.desk.pool.take();
            }
            let progress = conversation.poll(&mut connection.out);
            if let Some(error) = conversation.failure.take() {
                log_of!(debug, self.settings, connection, %error, "HTTP failed");
            }
            let has_output = !connection.out.is_empty();
            if has_output {
                self.desk.touch(key);
            }
            match progress {
                Progress::Done if conversation.upgrade.is_some() => {
                    return self.become_websocket(ring, key, *conversation);
                }
                Progress::Done | Progress::Failed => {
                    return self.end_http(ring, key, progress);
                }
                Progress::Waits => {}
            }
            let Some(request) = conversation.take_request() else {
                break;
            };
            match self.answer(key, &mut conversation, request) {
                Some(answer) => {
                    conversation.answer(self.http.gzip.pack(answer, conversation.packing));
                }
                None => break,
            }
        }
        let has_input = conversation.has_input();
        let is_asking = conversation.is_asking || conversation.events.is_some();
        self.partial_bytes += conversation.unasked_bytes;
        self.http.conversations.insert(key, conversation);
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.held = has_input || connection.input_ended;
        if is_asking && !connection.input_ended {
            self.set_deadline(key, 0);
        } else if connection.deadline_ms == 0 {
            self.set_deadline(key, now_ms + REQUEST_MS);
        }
        self.bound_partials(ring);
    }

    /// What was written for a connection that speaks HTTP is sent: the next request may be looked at.
    pub(super) fn http_sent(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        if !self.http.is_asking(key) {
            self.set_deadline(key, now_ms + REQUEST_MS);
        }
        self.pump(ring, key);
        self.listen_on(ring, key);
    }

    /// The answer that a request had to wait for.
    pub(super) fn answer_late(
        &mut self,
        ring: &mut Ring,
        (key, serial): (Key, u32),
        answer: Response<Content>,
    ) {
        let Some(conversation) = self.http.conversations.get_mut(&key) else {
            return;
        };
        if !conversation.is_asking || conversation.serial != serial {
            return;
        }
        conversation.answer(self.http.gzip.pack(answer, conversation.packing));
        self.pump(ring, key);
        self.listen_on(ring, key);
    }

    /// No request after this one: what is written is sent, then the connection is closed in order.
    fn end_http(&mut self, ring: &mut Ring, key: Key, progress: Progress) {
        let now_ms = self.desk.now_ms;
        let reason = match progress {
            Progress::Failed => EndReason::BadRequest,
            Progress::Done | Progress::Waits => EndReason::Finished,
        };
        self.count_end(key, reason);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.stage = Stage::Ending;
        // Closing at once would reset a connection whose input was not read to its end, and an
        // answer with it.
        connection.held = connection.input_ended;
        connection.close_when_sent = connection.input_ended;
        self.set_deadline(key, now_ms + LINGER_MS);
        self.desk.touch(key);
        self.listen_on(ring, key);
    }

    /// Nothing whole has come for too long.
    pub(super) fn http_late(&mut self, ring: &mut Ring, key: Key) {
        let conversation = self.http.conversations.get(&key);
        let begun = conversation.is_some_and(|conversation| conversation.unasked_bytes > 0);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let can_speak = !connection.sending
            && connection.out.is_empty()
            && connection.tls.as_ref().is_none_or(|tls| tls.established);
        if !begun || !can_speak {
            return self.close(ring, key, EndReason::Timeout);
        }
        // Hyper is in the middle of a request and says nothing by itself.
        connection.out.extend_from_slice(
            b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\
              access-control-allow-origin: *\r\n\r\n",
        );
        self.count_end(key, EndReason::Timeout);
        self.end_http(ring, key, Progress::Failed);
    }

    /// The server stops: the request that is being answered is the last one.
    pub(super) fn stop_http(&mut self, ring: &mut Ring, key: Key) {
        self.count_end(key, EndReason::Shutdown);
        match self.http.conversations.get_mut(&key) {
            Some(conversation) => {
                conversation.finish();
                self.pump(ring, key);
            }
            None => self.close(ring, key, EndReason::Shutdown),
        }
    }

    /// Asks the handler of a request. None: the answer comes later.
    fn answer(
        &mut self,
        key: Key,
        conversation: &mut Conversation,
        request: Asked,
    ) -> Option<Response<Content>> {
        let settings = Rc::clone(&self.settings);
        self.cells.requests += 1;
        self.forwarded(key, conversation, &request);
        let connection = self.desk.slab.get_mut(key)?;
        let listener = settings.listener(connection.listener);
        conversation.packing = if listener.compress {
            Packing::of(&request.parts.headers)
        } else {
            Packing::Off
        };
        match listener.sites.find(&request.parts) {
            Err(NoSite::BadHost) => Some(answer::explained(
                StatusCode::BAD_REQUEST,
                "one Host has to be named",
            )),
            Err(NoSite::NotFound) if host_meta::is_here(request.parts.uri.path()) => {
                let secured = connection.tls.is_some()
                    || (conversation.is_forwarded && forwarded::is_secured(&request.parts.headers));
                Some(if is_read(&request) {
                    host_meta::document(&settings, listener, &request.parts, secured)
                } else {
                    answer::not_allowed("GET, HEAD")
                })
            }
            Err(NoSite::NotFound) => Some(answer::status(StatusCode::NOT_FOUND)),
            Ok(Handler::Absent(name)) => {
                let text = format!("this version has no {name}");
                Some(answer::explained(StatusCode::NOT_IMPLEMENTED, &text))
            }
            Ok(Handler::Metrics) if is_read(&request) => {
                let asked = (key, conversation.serial);
                self.gather(Some(asked), Purpose::Metrics, &Question::Status);
                None
            }
            Ok(Handler::Metrics) => Some(answer::not_allowed("GET, HEAD")),
            Ok(Handler::Dashboard(number)) => {
                self.ask_dashboard(key, conversation, *number, &request)
            }
            Ok(Handler::Bosh(number)) => self.ask_bosh((key, conversation), *number, &request),
            Ok(Handler::WebSocket(number)) => match websocket::upgrade(&request.parts) {
                Ok(answer) if self.admit_forwarded(key) => {
                    conversation.upgrade = Some(*number);
                    Some(answer)
                }
                Ok(_) => Some(answer::status(StatusCode::TOO_MANY_REQUESTS)),
                Err(answer) => Some(*answer),
            },
        }
    }

    /// A trusted proxy may name the client of a request.
    fn forwarded(&mut self, key: Key, conversation: &mut Conversation, request: &Asked) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let listener = self.settings.listener(connection.listener);
        if listener.proxy || listener.trusted.is_empty() {
            return;
        }
        let proxy = *conversation.socket_peer.get_or_insert(connection.peer);
        if !listener.trusts(proxy.ip()) {
            return;
        }
        conversation.is_forwarded = true;
        let client = forwarded::client(&request.parts.headers, &listener.trusted);
        connection.proxied = client.is_some();
        connection.peer = client.map_or(proxy, |client| (client, 0).into());
    }

    /// The limits of an address count a client behind a trusted proxy when its stream begins, since
    /// the connections are the proxy's.
    fn admit_forwarded(&mut self, key: Key) -> bool {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return false;
        };
        let listener = self.settings.listener(connection.listener);
        let Some(addresses) = listener.addresses.as_ref() else {
            return true;
        };
        if connection.counted.is_some() {
            return true;
        }
        match addresses.admit(connection.peer.ip(), now_ms) {
            Ok(counted) => connection.counted = Some(Box::new(counted)),
            Err(refusal) => {
                let place = self.cells.place(connection.listener);
                place.refusals[refusal as usize] += 1;
                return false;
            }
        }
        true
    }
}
