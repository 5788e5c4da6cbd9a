//! A client's connection: negotiation, and the stanzas of its session. Between them: `opening`.

use std::rc::Rc;

use crate::base::key::Key;
use crate::listeners::connection::Session;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::shard::Shard;
use crate::modules::pipeline::Origin;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::carry;
use crate::net::ring::Ring;
use crate::proto::c2s::negotiate::Found as Element;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::c2s::negotiate::Order;
use crate::proto::ns;
use crate::proto::stanza::NoStanza;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::scan::Found;
use crate::xml::scan::Head;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limit;
use crate::xml::scan::Limits;
use crate::xml::scan::ScanError;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// The stream error that answers what the scanner refused.
pub fn stream_error(error: ScanError) -> StreamError {
    let text = match error {
        ScanError::PolicyViolation(Limit::StanzaBytes) => "the element is larger than allowed here",
        ScanError::PolicyViolation(_) => "the element exceeds a limit of this server",
        ScanError::UnexpectedHeader => "no new stream is due",
        ScanError::NotWellFormed(_)
        | ScanError::RestrictedXml(_)
        | ScanError::BadFormat
        | ScanError::UnsupportedEncoding => "",
    };
    let condition = match error {
        ScanError::NotWellFormed(_) => StreamCondition::NotWellFormed,
        ScanError::RestrictedXml(_) => StreamCondition::RestrictedXml,
        ScanError::BadFormat => StreamCondition::BadFormat,
        ScanError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
        ScanError::PolicyViolation(_) | ScanError::UnexpectedHeader => {
            StreamCondition::PolicyViolation
        }
    };
    StreamError::because(condition, text)
}

/// One step of scanning a negotiation.
enum Next {
    More,
    Skip(usize),
    Ordered(usize, Order),
}

impl Shard {
    /// Handles what a negotiating client sent; returns how many bytes are done with.
    pub(super) fn negotiate(
        &mut self,
        ring: &mut Ring,
        key: Key,
        mut negotiation: Box<Negotiation>,
        scanner: &mut Scanner,
        input: &[u8],
    ) -> usize {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        let bound = self.settings.listener(connection.listener).outbound_buffer;
        let bound = bound.saturating_sub(connection.in_flight as usize);
        let mut out = std::mem::take(&mut connection.out);
        if out.capacity() == 0 {
            out = self.desk.pool.take();
        }
        let mut at = 0;
        let mut last = Order::Go;
        let failures = negotiation.failures();
        while at < input.len() {
            if out.len() > bound {
                // It asks and does not read.
                self.desk.ends.push((key, EndReason::SlowReader));
                at = input.len();
                break;
            }
            let rest = input.get(at..).unwrap_or_default();
            match self.next(key, &mut negotiation, scanner, rest, &mut out) {
                Next::More => break,
                Next::Skip(end) => at += end,
                Next::Ordered(end, order) => {
                    at += end;
                    last = order;
                    match last {
                        Order::Go => {}
                        // RFC 6120 section 6.3.2: nothing of the old stream is kept.
                        Order::Restart => scanner.reset(),
                        _ => break,
                    }
                }
            }
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        connection.held = negotiation.awaits();
        connection.out = out;
        let failed = negotiation.failures() - failures;
        let host = (failed > 0).then(|| negotiation.host().to_owned());
        connection.stage = Stage::Negotiating(negotiation);
        if !connection.out.is_empty() {
            self.desk.touch(key);
        }
        if let Some(host) = host {
            self.note_failed_logins(&host, failed);
        }
        self.perform(ring, key, last, at, input.len())
    }

    fn next(
        &mut self,
        key: Key,
        negotiation: &mut Negotiation,
        scanner: &mut Scanner,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Next {
        let id = if negotiation.expects_header() {
            self.stream_id()
        } else {
            String::new()
        };
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return Next::More;
        };
        let listener = settings.listener(connection.listener);
        let limits = if negotiation.is_past_login() {
            &listener.limits
        } else {
            &listener.limits_before_login
        };
        let offer = settings.offer(listener, negotiation.host(), connection.is_local());
        let refused = |error| Next::Ordered(0, Order::End(stream_error(error)));
        if negotiation.expects_header() {
            // White space behind the element that ended the old stream belongs to that one.
            let space = input
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            if space > 0 && !negotiation.host().is_empty() && !scanner.is_midway() {
                return Next::Skip(space);
            }
            return match scanner.scan_header(limits, input) {
                Ok(HeaderFound::More) => Next::More,
                Ok(HeaderFound::Header { end }) => {
                    connection.scope = scanner.take_scope(input);
                    let scope = connection.scope.clone();
                    let bytes = input.get(..end).unwrap_or_default();
                    let found = Element {
                        bytes,
                        head: scanner.head(),
                        scope: &scope,
                    };
                    Next::Ordered(end, negotiation.header(&offer, found, &id, out))
                }
                Err(error) => refused(error),
            };
        }
        let scope = connection.scope.clone();
        match scanner.scan(limits, &scope, input) {
            Ok(Found::More) => Next::More,
            Ok(Found::Whitespace { end }) => Next::Skip(end),
            Ok(Found::StreamEnd { end }) => Next::Ordered(end, Order::Finish),
            Ok(Found::Element { end }) => {
                let bytes = input.get(..end).unwrap_or_default();
                let found = Element {
                    bytes,
                    head: scanner.head(),
                    scope: &scope,
                };
                Next::Ordered(end, negotiation.element(&offer, found, out))
            }
            Err(error) => refused(error),
        }
    }

    /// Carries out an order; `at` of `length` bytes of input are done with.
    pub(super) fn perform(
        &mut self,
        ring: &mut Ring,
        key: Key,
        order: Order,
        at: usize,
        length: usize,
    ) -> usize {
        match order {
            Order::Go | Order::Restart => return at,
            Order::StartTls => {
                self.upgrade(ring, key);
                // What came in clear behind the request must not be taken for what is secured.
                return length;
            }
            Order::FindKeys { user, hash } => self.find_keys(ring, key, &user, hash),
            Order::CheckPassword { user, password } => {
                self.find_password(ring, key, &user, password);
            }
            Order::Anonymous => self.admit_anonymous(ring, key),
            Order::Register { id, query, set } => self.register_before_login(key, id, &query, set),
            Order::Bind { user, resource } => self.bind(ring, key, user, resource),
            Order::End(error) => {
                self.end_with(ring, key, EndReason::StreamError, error);
                return length;
            }
            Order::Finish => {
                self.end_finished(ring, key);
                return length;
            }
        }
        at
    }

    /// Carries out the order that an answer led to, and goes on with what waited for it.
    pub(super) fn resume(&mut self, ring: &mut Ring, key: Key, order: Order) {
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = matches!(&connection.stage, Stage::Negotiating(n) if n.awaits());
        }
        self.desk.touch(key);
        // RFC 6120 leaves the clock to us: each result of an exchange begins a new step.
        self.next_step(key);
        self.perform(ring, key, order, 0, 0);
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    pub(super) fn upgrade(&mut self, ring: &mut Ring, key: Key) {
        if let Some(connection) = self.desk.slab.get_mut(key)
            && connection.sending
        {
            // `<proceed/>` must not end up behind the records that it announces.
            connection.held = true;
            connection.starttls_due = true;
            return;
        }
        // `<proceed/>` goes out in clear, so it is handed to the ring before TLS begins.
        self.flush_one(ring, key);
        if !self.start_tls(key) {
            return self.close(ring, key, EndReason::TlsFailed);
        }
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = false;
        }
        self.next_step(key);
        self.listen_on(ring, key);
    }

    /// Handles the stanzas of a session; returns how many bytes are done with.
    pub(super) fn stanzas(
        &mut self,
        ring: &mut Ring,
        key: Key,
        session: Box<Session>,
        scanner: &mut Scanner,
        input: &[u8],
    ) -> usize {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        let scope = connection.scope.clone();
        let number = connection.listener;
        self.desk.reading = connection.class;
        let settings = Rc::clone(&self.settings);
        let limits = &settings.listener(number).limits;
        let mut at = 0;
        let outcome = self.scan_stanzas(key, &session, (scanner, limits, &scope), input, &mut at);
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.stage = Stage::Session(session);
        }
        match outcome {
            Ok(false) => at,
            Ok(true) => {
                self.end_finished(ring, key);
                input.len()
            }
            Err(error) => {
                self.end_with(ring, key, EndReason::StreamError, error);
                input.len()
            }
        }
    }

    /// True when the stream ended.
    fn scan_stanzas(
        &mut self,
        key: Key,
        session: &Session,
        (scanner, limits, scope): (&mut Scanner, &Limits, &StreamScope),
        input: &[u8],
        at: &mut usize,
    ) -> Result<bool, StreamError> {
        let mut waits = false;
        while *at < input.len() {
            let rest = input.get(*at..).unwrap_or_default();
            match scanner.scan(limits, scope, rest).map_err(stream_error)? {
                Found::More => return Ok(false),
                Found::Whitespace { end } => *at += end,
                Found::StreamEnd { end } => {
                    *at += end;
                    return Ok(true);
                }
                Found::Element { end } => {
                    let bytes = rest.get(..end).unwrap_or_default();
                    if !is_own(session, scanner.head(), bytes) {
                        return Err(StreamError::new(StreamCondition::InvalidFrom));
                    }
                    if scanner.head().name.is(scope, bytes, ns::STREAMS, "error") {
                        // RFC 6120 section 4.9.1.1: the client gives up.
                        return Ok(true);
                    }
                    match Stanza::read(bytes, scanner.head(), scope, ns::CLIENT) {
                        Ok(stanza) => {
                            self.stanza(key, session, &stanza);
                            waits = self.desk.pausing
                                || self.has_had_its_share(key, stanza.kind, bytes.len());
                        }
                        Err(NoStanza::Unsupported) => {
                            return Err(StreamError::new(StreamCondition::UnsupportedStanzaType));
                        }
                        Err(NoStanza::Malformed) => {
                            self.malformed(key, session, (bytes, scanner.head()));
                        }
                    }
                    *at += end;
                    if waits {
                        self.desk.pausing = false;
                        return Ok(false);
                    }
                }
            }
        }
        Ok(false)
    }

    fn stanza(&mut self, key: Key, session: &Session, stanza: &Stanza<'_>) {
        self.note_received(self.desk.reading, stanza);
        let jid = &session.jid;
        let sender = Sender {
            origin: Origin::Session,
            connection: key,
            stamp: session.attribute(),
            full: jid.as_str(),
            bare: jid.bare(),
            resource: jid.resource().unwrap_or_default(),
        };
        carry(&mut self.scene(), &sender, stanza);
    }

    /// RFC 6120 section 8.3: a stanza that makes no sense gets `bad-request`, unless it is an answer.
    fn malformed(&mut self, key: Key, session: &Session, (bytes, head): (&[u8], &Head)) {
        let attribute = |name| {
            head.attribute(bytes, name)
                .map(|found| found.decoded(bytes))
        };
        if matches!(attribute(b"type").as_deref(), Some("error" | "result")) {
            return;
        }
        let element = if head.name.local.of(bytes) == b"presence" {
            "presence"
        } else {
            "iq"
        };
        let (id, to) = (attribute(b"id"), attribute(b"to"));
        let kind = Type::error_of(element);
        self.desk.hand(key, kind, reply::ERROR_BYTES, |out| {
            let why = (StanzaCondition::BadRequest, "");
            let (to, id) = (to.as_deref(), id.as_deref());
            reply::error_parts(element, to, session.attribute(), id, why, out);
        });
    }
}

/// RFC 6120 section 8.1.2.1: `from` is absent, or the session's full or bare JID.
fn is_own(session: &Session, head: &Head, bytes: &[u8]) -> bool {
    let Some(from) = head
        .attribute(bytes, b"from")
        .map(|from| from.decoded(bytes))
    else {
        return true;
    };
    let jid = &session.jid;
    // Written differently it may still be the same address.
    from == jid.as_str()
        || from == jid.bare()
        || crate::jid::parse(&from).is_ok_and(|parts| {
            let full = parts.full();
            full == jid.as_str() || full == jid.bare()
        })
}
