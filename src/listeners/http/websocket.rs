//! RFC 7395: XMPP over WebSocket. A client's connection whose elements come in frames.
//!
//! From the upgrade on such a connection is negotiated and served like one of a c2s listener; only
//! what comes in and what goes out is framed here. It is a [`Carrier`] of some bytes more.

use hyper::Method;
use hyper::Response;
use hyper::StatusCode;
use hyper::Version;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use hyper::header::CONNECTION;
use hyper::header::SEC_WEBSOCKET_ACCEPT;
use hyper::header::SEC_WEBSOCKET_KEY;
use hyper::header::SEC_WEBSOCKET_PROTOCOL;
use hyper::header::SEC_WEBSOCKET_VERSION;
use hyper::header::TRANSFER_ENCODING;
use hyper::header::UPGRADE;
use hyper::http::request::Parts;

use super::answer;
use super::conversation::Content;
use super::conversation::Conversation;
use crate::base::key::Key;
use crate::listeners::c2s::stream_error;
use crate::listeners::connection::Carrier;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::ending::LINGER_MS;
use crate::listeners::settings::Listener;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Way;
use crate::net::ring::Ring;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::proto::stream::framing;
use crate::proto::stream::framing::Message;
use crate::proto::stream::framing::Piece;
use crate::proto::websocket;
use crate::proto::websocket::CloseCode;
use crate::proto::websocket::HEAD_BYTES_MAX;
use crate::proto::websocket::Opcode;
use crate::proto::websocket::Reader;
use crate::proto::websocket::Step;
use crate::proto::websocket::What;
use crate::xml::scan::Limits;

/// Bytes of pongs that wait for a peer that pings and does not read.
const RAW_BYTES_MAX: usize = 16 * 1024;

/// What a WebSocket is beside its connection. Lives on: the shard of the connection; moves with it.
#[derive(Debug)]
pub struct WebSocket {
    reader: Reader,
    /// Messages that began with a frame that was not their last.
    message: Vec<u8>,
    /// What goes out before the next element: the answer to the upgrade, pings and pongs.
    raw: Vec<u8>,
    code: CloseCode,
    closed: bool,
    /// When a frame last came. Milliseconds.
    pub heard_ms: u64,
    /// When we last sent a ping. Milliseconds.
    pub pinged_ms: u64,
}

impl WebSocket {
    fn new(raw: Vec<u8>, now_ms: u64) -> Self {
        Self {
            reader: Reader::default(),
            message: Vec::new(),
            raw,
            code: CloseCode::Normal,
            closed: false,
            heard_ms: now_ms,
            pinged_ms: now_ms,
        }
    }

    /// Bytes of a message that has begun and not ended.
    pub fn partial_bytes(&self) -> usize {
        self.message.len()
    }

    /// Something waits to be sent.
    pub fn has_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// When it has to be looked at without being asked; milliseconds.
    pub fn due_ms(&self, listener: &Listener) -> Option<u64> {
        let silence = listener.silence_ms.map(|most| self.heard_ms + most);
        let ping = listener.ping_ms.map(|every| self.pinged_ms + every);
        [silence, ping].into_iter().flatten().min()
    }

    /// Puts what the stream wrote into frames, behind what goes out before it; returns how many bytes
    /// are in the frames.
    pub fn frame(
        &mut self,
        scanner: &mut crate::xml::scan::Scanner,
        written: &[u8],
        out: &mut Vec<u8>,
    ) -> usize {
        let mut bytes = 0;
        out.append(&mut self.raw);
        framing::cut(scanner, written, |piece| match piece {
            Piece::Header(tag) => {
                let mut open = Vec::new();
                tag.write_open(&mut open);
                bytes += open.len();
                websocket::write(Opcode::Text, &open, out);
            }
            Piece::Element(tag) => {
                bytes += tag.alone_bytes();
                websocket::write_head(Opcode::Text, tag.alone_bytes(), out);
                tag.write_alone(out);
            }
            Piece::End => {
                let mut close = Vec::new();
                framing::write_close(&mut close);
                bytes += close.len();
                websocket::write(Opcode::Text, &close, out);
                if !std::mem::replace(&mut self.closed, true) {
                    websocket::write_close(self.code as u16, out);
                }
            }
        });
        bytes
    }
}

/// Whether a request is one for a WebSocket of ours, and the answer to it (RFC 6455 section 4.2).
///
/// # Errors
/// The answer that says why not.
pub fn upgrade(parts: &Parts) -> Result<Response<Content>, Box<Response<Content>>> {
    let bad = |text| Box::new(answer::explained(StatusCode::BAD_REQUEST, text));
    if parts.method == Method::OPTIONS {
        return Err(Box::new(answer::preflight("GET, OPTIONS")));
    }
    if parts.method != Method::GET {
        return Err(Box::new(answer::not_allowed("GET, OPTIONS")));
    }
    let lists = |name, wanted: &str| {
        let values = parts.headers.get_all(name).iter();
        let mut words = values
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    // SPEC(RFC 9110 7.8): what HTTP/1.0 says about upgrades does not count.
    let upgrades = parts.version >= Version::HTTP_11
        && lists(UPGRADE, "websocket")
        && lists(CONNECTION, "upgrade");
    let version = parts.headers.get(SEC_WEBSOCKET_VERSION);
    if !upgrades || version.is_none_or(|version| version != "13") {
        let answer = answer::explained(
            StatusCode::UPGRADE_REQUIRED,
            "XMPP over WebSocket, version 13, is spoken here",
        );
        let answer = answer::with(answer, UPGRADE, "websocket");
        let answer = answer::with(answer, CONNECTION, "upgrade");
        let answer = answer::with(answer, SEC_WEBSOCKET_VERSION, "13");
        return Err(Box::new(answer));
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        // Where such a body ends is nothing that whoever stands in front has to see as we do.
        return Err(bad("a request for a WebSocket has no body"));
    }
    let mut keys = parts.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key.to_str().ok().and_then(websocket::accept_key),
        (_, _) => None,
    };
    let Some(key) = key else {
        return Err(bad("Sec-WebSocket-Key is missing or bad"));
    };
    // SPEC(RFC 7395 3.1): both sides have to name the subprotocol.
    if !lists(SEC_WEBSOCKET_PROTOCOL, websocket::SUBPROTOCOL) {
        return Err(bad("the subprotocol xmpp has to be offered"));
    }
    let mut answer = Response::new(Content::Whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = answer::with(answer, UPGRADE, "websocket");
    let answer = answer::with(answer, CONNECTION, "upgrade");
    let answer = answer::with(answer, SEC_WEBSOCKET_PROTOCOL, websocket::SUBPROTOCOL);
    debug_assert!(!answer.headers().contains_key(ALLOW));
    Ok(answer::with_text(answer, SEC_WEBSOCKET_ACCEPT, &key))
}

fn of(connection: &mut Connection) -> Option<&mut WebSocket> {
    match connection.carrier.as_deref_mut() {
        Some(Carrier::WebSocket(socket)) => Some(socket),
        Some(Carrier::Bosh(_)) | None => None,
    }
}

impl Shard {
    /// HTTP ends here: the connection is a client's from now on.
    pub(super) fn become_websocket(
        &mut self,
        ring: &mut Ring,
        key: Key,
        conversation: Conversation,
    ) {
        let now_ms = self.desk.now_ms;
        let (Some(number), Some(connection)) = (conversation.upgrade, self.desk.slab.get_mut(key))
        else {
            return;
        };
        let rest = conversation.into_rest();
        // Still HTTP, and sent as it is.
        let raw = std::mem::take(&mut connection.out);
        connection.carrier = Some(Box::new(Carrier::WebSocket(WebSocket::new(raw, now_ms))));
        connection.stage = Stage::Negotiating(Box::new(Negotiation::new(connection.tls.is_some())));
        connection.held = connection.input_ended;
        connection.since_ms = now_ms;
        self.desk.slab.relabel(key, number);
        self.desk.touch(key);
        self.next_step(key);
        self.feed(ring, key, &rest);
    }

    /// Handles frames as far as they are whole; returns how many bytes are done with.
    pub(in crate::listeners) fn frames(
        &mut self,
        ring: &mut Ring,
        key: Key,
        input: &[u8],
    ) -> usize {
        let now_ms = self.desk.now_ms;
        let mut at = 0;
        loop {
            let limits = self.element_limits(key);
            let waits = self.waits(key);
            let Some(connection) = self.desk.slab.get_mut(key) else {
                return input.len();
            };
            if waits || matches!(connection.stage, Stage::Ending) {
                return at;
            }
            let Some(socket) = of(connection) else {
                return input.len();
            };
            let rest = input.get(at..).unwrap_or_default();
            if socket.message.capacity() == 0 {
                socket.message = self.desk.pool.take();
            }
            let before = socket.message.len();
            let step = socket
                .reader
                .next(rest, limits.stanza_bytes_max, &mut socket.message);
            self.partial_bytes += socket.message.len() - before;
            match step {
                Ok(Step::More) => {
                    if socket.message.is_empty() {
                        self.desk.pool.give(std::mem::take(&mut socket.message));
                    }
                    return at;
                }
                Ok(Step::Frame(used, what)) => {
                    at += used;
                    socket.heard_ms = now_ms;
                    self.frame(ring, key, &limits, what);
                }
                Err(code) => {
                    self.refuse_frame(ring, key, code);
                    return input.len();
                }
            }
        }
    }

    fn frame(&mut self, ring: &mut Ring, key: Key, limits: &Limits, what: What) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let class = connection.class;
        let Some(socket) = of(connection) else {
            return;
        };
        match what {
            What::Fragment | What::Pong => {}
            What::Message => {
                let message = std::mem::take(&mut socket.message);
                self.partial_bytes = self.partial_bytes.saturating_sub(message.len());
                self.desk
                    .note_bytes_in(class, Way::WebSocket, message.len());
                self.message(ring, key, limits, &message);
                self.desk.pool.give(message);
            }
            What::Ping(bytes, length) => {
                let payload = bytes.get(..usize::from(length)).unwrap_or_default();
                if socket.raw.len() > RAW_BYTES_MAX {
                    self.desk.ends.push((key, EndReason::SlowReader));
                    return;
                }
                websocket::write(Opcode::Pong, payload, &mut socket.raw);
                self.desk.touch(key);
            }
            What::Close(code) => {
                if !std::mem::replace(&mut socket.closed, true) {
                    websocket::write_close(code, &mut socket.raw);
                }
                self.socket_closed(ring, key);
            }
        }
    }

    /// The client has closed the WebSocket and not the stream: like a TCP connection that is closed.
    fn socket_closed(&mut self, ring: &mut Ring, key: Key) {
        self.leave(key);
        self.count_end(key, EndReason::PeerClosed);
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.stage = Stage::Ending;
        connection.out.clear();
        (connection.held, connection.paused) = (false, false);
        self.set_deadline(key, now_ms + LINGER_MS);
        self.desk.touch(key);
        self.listen_on(ring, key);
    }

    fn message(&mut self, ring: &mut Ring, key: Key, limits: &Limits, message: &[u8]) {
        let mut scanner = self.spare_scanner();
        let mut header = Vec::new();
        match framing::read_message(&mut scanner, limits, message, &mut header) {
            Ok(Message::Nothing) => {}
            Ok(Message::Open) => {
                self.consume_all(ring, key, &mut scanner, &header);
            }
            Ok(Message::Close) => self.end_finished(ring, key),
            Ok(Message::Element(element)) => {
                self.consume_all(ring, key, &mut scanner, element);
            }
            Err(error) => {
                // SPEC(RFC 6455 8.1): text that is no text ends the WebSocket with a code of its own.
                if std::str::from_utf8(message).is_err()
                    && let Some(socket) = self.desk.slab.get_mut(key).and_then(of)
                {
                    socket.code = CloseCode::NotUtf8;
                }
                self.end_with(ring, key, EndReason::StreamError, stream_error(error));
            }
        }
        self.give_scanner(scanner);
    }

    fn refuse_frame(&mut self, ring: &mut Ring, key: Key, code: CloseCode) {
        if let Some(socket) = self.desk.slab.get_mut(key).and_then(of) {
            socket.code = code;
        }
        let error = match code {
            CloseCode::TooBig => StreamError::because(
                StreamCondition::PolicyViolation,
                "the element is larger than allowed here",
            ),
            CloseCode::Normal
            | CloseCode::Protocol
            | CloseCode::Unsupported
            | CloseCode::NotUtf8 => StreamError::because(
                StreamCondition::BadFormat,
                "the WebSocket frames are not valid",
            ),
        };
        self.end_with(ring, key, EndReason::StreamError, error);
    }

    /// The bounds of the next element.
    fn element_limits(&self, key: Key) -> Limits {
        let Some(connection) = self.desk.slab.get(key) else {
            return Limits::default();
        };
        let listener = self.settings.listener(connection.listener);
        match &connection.stage {
            Stage::Negotiating(negotiation) if !negotiation.is_past_login() => {
                listener.limits_before_login
            }
            _ => listener.limits,
        }
    }

    /// A ping may be due, or the client silent for too long.
    pub(in crate::listeners) fn look_after_websocket(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let listener = self.settings.listener(connection.listener);
        let (silence, ping) = (listener.silence_ms, listener.ping_ms);
        let is_ending = matches!(connection.stage, Stage::Ending);
        let Some(socket) = of(connection).filter(|_| !is_ending) else {
            return;
        };
        if silence.is_some_and(|most| now_ms >= socket.heard_ms + most) {
            let error = StreamError::new(StreamCondition::ConnectionTimeout);
            return self.end_with(ring, key, EndReason::Timeout, error);
        }
        if ping.is_some_and(|every| now_ms >= socket.pinged_ms + every) {
            socket.pinged_ms = now_ms;
            if socket.raw.len() <= RAW_BYTES_MAX {
                websocket::write(Opcode::Ping, &[], &mut socket.raw);
            }
            self.desk.touch(key);
        }
    }
}

/// Memory that a frame's head may add to a partial element.
const _: () = assert!(HEAD_BYTES_MAX < 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = hyper::Request::builder().method(method).uri("/ws");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "other, xmpp"),
    ];

    #[test]
    fn a_whole_handshake_is_accepted() {
        let answer = upgrade(&request("GET", &GOOD)).unwrap_or_else(|answer| *answer);
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "xmpp");
        assert_eq!(
            answer.headers()[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn anything_less_is_told_why_not() {
        let without = |place: usize| {
            let mut headers = GOOD.to_vec();
            headers.remove(place);
            let answer = upgrade(&request("GET", &headers));
            answer.err().expect("refused").status()
        };
        let expected = [426, 426, 426, 400, 400];
        for (place, status) in expected.into_iter().enumerate() {
            assert_eq!(without(place).as_u16(), status, "without {:?}", GOOD[place]);
        }
        let post = upgrade(&request("POST", &GOOD)).err().expect("refused");
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn an_idle_one_is_small() {
        assert!(size_of::<WebSocket>() <= 112, "{}", size_of::<WebSocket>());
    }
}
