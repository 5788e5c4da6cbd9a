//! Events of a dashboard: what the server does, once a second, to everybody who looks.
//!
//! While nobody looks nothing is asked. All streams of a shard get the same text, which is made once.

use std::cell::RefCell;
use std::rc::Rc;

use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::CONNECTION;
use serde_json::Value;
use serde_json::json;

use super::Conversation;
use super::login::Pass;
use crate::base::key::Key;
use crate::listeners::ending::EndReason;
use crate::listeners::http::answer;
use crate::listeners::http::conversation::Content;
use crate::listeners::http::conversation::Events;
use crate::listeners::http::gather::Purpose;
use crate::listeners::report;
use crate::listeners::shard::Shard;
use crate::listeners::status::Question;
use crate::listeners::status::ShardStatus;
use crate::net::ring::Ring;

/// Streams of events on one shard.
const STREAMS_MAX: usize = 32;
/// Bytes that may wait for one that does not read when the next event comes; then it is cut.
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// The kernel holds so many for it beside (and doubles that for its own needs): a page that fell
/// behind is to be cut, not to catch up with the last hour.
const KERNEL_BYTES: usize = 64 * 1024;
/// Time between two events in milliseconds.
const EVERY_MS: u64 = 1_000;
/// Shards that have not answered by then will not.
const PATIENCE_MS: u64 = 5_000;

/// Somebody who looks.
struct Stream {
    key: Key,
    serial: u32,
    number: u16,
    pass: Pass,
}

/// The streams of a shard. Lives on: one shard.
#[derive(Default)]
pub struct Pulse {
    streams: Vec<Stream>,
    due_ms: u64,
    /// The question that is under way, until when it is waited for.
    asked_until_ms: u64,
}

impl Pulse {
    /// A connection is gone.
    pub fn forget(&mut self, key: Key) {
        self.streams.retain(|stream| stream.key != key);
    }

    /// When there is something to do.
    pub fn due_ms(&self) -> Option<u64> {
        (!self.streams.is_empty()).then_some(self.due_ms.max(self.asked_until_ms))
    }
}

impl Shard {
    /// A page wants to know from now on.
    pub(super) fn stream_events(
        &mut self,
        conversation: &mut Conversation,
        (key, serial): (Key, u32),
        number: u16,
        pass: Pass,
    ) -> Response<Content> {
        if self.http.pulse.streams.len() >= STREAMS_MAX {
            let text = "too many look at the dashboard already";
            return super::explained(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        let connection = self.desk.slab.get(key);
        if let Some(socket) = connection.and_then(|connection| connection.socket.as_ref()) {
            // Without it the kernel's own bound holds.
            let _ = socket2::SockRef::from(socket).set_send_buffer_size(KERNEL_BYTES);
        }
        let events = Rc::new(RefCell::new(Events::default()));
        conversation.events = Some(Rc::clone(&events));
        self.http.pulse.streams.push(Stream {
            key,
            serial,
            number,
            pass,
        });
        self.http.pulse.due_ms = self.desk.now_ms;
        let answer = answer::content(StatusCode::OK, "text/event-stream", Bytes::new());
        let answer = super::guard(answer::with(answer, CONNECTION, "close"));
        answer.map(|_| Content::Events(events))
    }

    /// Asks all shards when it is time.
    pub(in crate::listeners) fn run_pulse(&mut self) {
        let now_ms = self.desk.now_ms;
        if self.http.pulse.due_ms().is_some_and(|due| due <= now_ms) {
            self.http.pulse.asked_until_ms = now_ms + PATIENCE_MS;
            self.http.forget_pulse();
            self.gather(None, Purpose::Pulse, &Question::Status);
        }
    }

    /// All shards have said how they are.
    pub(in crate::listeners::http) fn beat(&mut self, ring: &mut Ring, statuses: &[ShardStatus]) {
        let now_ms = self.desk.now_ms;
        self.http.pulse.asked_until_ms = 0;
        self.http.pulse.due_ms = now_ms + EVERY_MS;
        let mut document = report::status(&self.settings, statuses, &self.server_facts());
        brief(&mut document, now_ms);
        let event = Bytes::from(format!("data: {document}\n\n"));
        let streams = self.http.pulse.streams.iter();
        let all: Vec<(Key, u32, bool)> = streams
            .map(|stream| (stream.key, stream.serial, self.may_see(stream)))
            .collect();
        for (key, serial, allowed) in all {
            self.send_event(ring, (key, serial), allowed, event.clone());
        }
    }

    fn may_see(&self, stream: &Stream) -> bool {
        let Some(connection) = self.desk.slab.get(stream.key) else {
            return false;
        };
        let dashboards = &self.settings.listener(connection.listener).dashboards;
        let login = dashboards.get(usize::from(stream.number));
        login.is_some_and(|login| login.holds(stream.pass, self.facts.unix_seconds))
    }

    fn send_event(
        &mut self,
        ring: &mut Ring,
        (key, serial): (Key, u32),
        allowed: bool,
        event: Bytes,
    ) {
        let Some(events) = self.http.events_of(key, serial) else {
            return self.http.pulse.forget(key);
        };
        let waiting = self.desk.slab.get(key).map(|c| c.outbound_bytes());
        if waiting.unwrap_or_default() > WAITING_BYTES_MAX {
            return self.cut(ring, key, EndReason::SlowReader);
        }
        if allowed {
            events.borrow_mut().queue.push_back(event);
        } else {
            events.borrow_mut().ended = true;
            self.http.pulse.forget(key);
        }
        self.pump(ring, key);
    }
}

/// What the page shows, and no more: names of other servers and of components are not among it.
fn brief(document: &mut Value, now_ms: u64) {
    let Some(members) = document.as_object_mut() else {
        return;
    };
    for name in ["s2s", "components"] {
        let count = members.get(name).and_then(Value::as_array).map(Vec::len);
        members.insert(name.to_owned(), json!(count));
    }
    members.insert("now_ms".to_owned(), json!(now_ms));
}
