//! A client's connection: negotiation, binding on the owner shard, and the stanzas of its session.

use std::rc::Rc;

use crate::base::key::Key;
use crate::config::Auth;
use crate::config::access::Who;
use crate::jid::Jid;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Receiving;
use crate::listeners::connection::Session;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Handover;
use crate::listeners::mail::Moved;
use crate::listeners::mail::Note;
use crate::listeners::shard::Shard;
use crate::listeners::shard::hex;
use crate::modules::pipeline::Origin;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::carry;
use crate::modules::presence;
use crate::modules::roster;
use crate::net::ring::Ring;
use crate::proto::c2s::negotiate::Found as Element;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::c2s::negotiate::Order;
use crate::proto::ns;
use crate::proto::stanza::NoStanza;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::route::owner;
use crate::session::blocklist::Blocklist;
use crate::session::rosters::Wish;
use crate::session::table::Session as Replaced;
use crate::store::AccountId;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
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
        self.cells.logins_failed += u64::from(negotiation.failures() - failures);
        connection.out = out;
        connection.stage = Stage::Negotiating(negotiation);
        if !connection.out.is_empty() {
            self.desk.touch(key);
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

    /// Opens the session where its user is owned.
    fn bind(&mut self, ring: &mut Ring, key: Key, user: Jid, resource: Option<Box<str>>) {
        let shard = owner(
            self.sessions.hash(user.bare()),
            self.settings.hosts.shards(),
        );
        if shard == self.number() {
            return self.bind_here(ring, key, &user, resource.as_deref());
        }
        // Its bytes are being handled just now, and some may be left: it goes at the end of the turn.
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
            self.movers.push((key, user, resource));
        }
    }

    /// Connections whose move had to wait go when nothing is under way for them any more.
    pub(super) fn run_movers(&mut self) {
        let waiting = std::mem::take(&mut self.movers);
        for (key, user, resource) in waiting {
            let Some(connection) = self.desk.slab.get_mut(key) else {
                continue;
            };
            if matches!(connection.stage, Stage::Ending) {
                continue;
            }
            let busy = connection.sending
                || connection.receiving != Receiving::Idle
                || connection.outbound_bytes() > 0
                || connection
                    .tls
                    .as_ref()
                    .is_some_and(|tls| !tls.send.is_empty());
            if busy {
                self.movers.push((key, user, resource));
            } else {
                connection.dirty = false;
                let shard = owner(
                    self.sessions.hash(user.bare()),
                    self.settings.hosts.shards(),
                );
                self.move_to(shard, key, user, resource);
            }
        }
    }

    fn move_to(&mut self, shard: usize, key: Key, user: Jid, resource: Option<Box<str>>) {
        let Some(mut connection) = self.desk.slab.remove(key) else {
            return;
        };
        connection.alarm = Default::default();
        self.bosh_moves(&mut connection, shard);
        self.partial_bytes = self
            .partial_bytes
            .saturating_sub(connection.partial_bytes());
        let moved = Moved {
            connection,
            user,
            resource,
        };
        self.desk
            .mesh
            .filling(shard)
            .handovers
            .push(Handover::Bind(Box::new(moved)));
    }

    /// A connection arrives from another shard to be bound here.
    pub(super) fn arrive_here(&mut self, connection: Connection) -> Key {
        self.partial_bytes += connection.partial_bytes();
        let key = self.desk.slab.insert(connection);
        self.bosh_moved(key);
        self.arm_timer(key);
        key
    }

    /// Opens its session and goes on with what it has sent meanwhile.
    pub(super) fn take_over(
        &mut self,
        ring: &mut Ring,
        key: Key,
        user: &Jid,
        resource: Option<&str>,
    ) {
        if self.stop_by_ms > 0 {
            let error = StreamError::new(StreamCondition::SystemShutdown);
            return self.end_with(ring, key, EndReason::Shutdown, error);
        }
        self.bind_here(ring, key, user, resource);
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    /// Before anything can reach a user's first session, the contacts must be known, and whom the
    /// user blocks.
    fn bind_here(&mut self, ring: &mut Ring, key: Key, user: &Jid, resource: Option<&str>) {
        let modules = self.facts.modules_of(user.domain());
        let has_blocking = modules.is_some_and(|modules| modules.mod_blocking.is_some());
        let has_roster = modules.is_some_and(|modules| modules.mod_roster.is_some());
        let hash = self.sessions.hash(user.bare());
        let is_here = self.sessions.user(hash, user.bare()).is_some();
        let (true, false, Some(id)) = (has_blocking || has_roster, is_here, AccountId::of(user))
        else {
            return self.bind_now(ring, key, user, resource);
        };
        if has_roster && self.sessions.wish_roster(user.bare(), None) == Wish::Ask {
            roster::load(&mut self.scene(), user.bare());
        }
        // The store answers in order, so the roster is here when this answer is.
        self.run_asked();
        let area = Area::Blocked;
        let request = Request::Data(DataRequest::All { id, area });
        let opening = Box::new((user.clone(), resource.map(Box::from)));
        let outside = self.outside.clone();
        let reply = Box::new(move |result| {
            // The inbox has room for every request that the store can hold.
            let _ = outside.send(Note::Opening(key, opening, result));
        });
        if self.store.submit(request, reply).is_err() {
            self.sessions.release_roster(user.bare());
            return self.bound(ring, key, Err(StanzaCondition::ResourceConstraint));
        }
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
        }
    }

    /// What must be known of the user is known, and the session opens.
    pub(super) fn opening(
        &mut self,
        ring: &mut Ring,
        key: Key,
        (user, resource): (Jid, Option<Box<str>>),
        result: Result<Response, StoreError>,
    ) {
        let negotiates = |stage: &Stage| matches!(stage, Stage::Negotiating(_));
        let connection = self.desk.slab.get(key);
        if !connection.is_some_and(|connection| negotiates(&connection.stage)) {
            return self.sessions.release_roster(user.bare());
        }
        let modules = self.facts.modules_of(user.domain());
        let has_blocking = modules.is_some_and(|modules| modules.mod_blocking.is_some());
        let has_roster = modules.is_some_and(|modules| modules.mod_roster.is_some());
        let knows = !has_roster || self.sessions.roster(user.bare()).is_some();
        if let Ok(Response::Data(DataResponse::Things(things))) = result
            && knows
        {
            self.bind_now(ring, key, &user, resource.as_deref());
            if has_blocking {
                let names = things.into_iter().map(|(name, _)| name);
                self.sessions
                    .change_blocked(user.bare(), |list| *list = Blocklist::new(names));
            }
        } else {
            tracing::error!("the store did not answer an opening session");
            self.bound(ring, key, Err(StanzaCondition::InternalServerError));
        }
        self.sessions.release_roster(user.bare());
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    fn bind_now(&mut self, ring: &mut Ring, key: Key, user: &Jid, resource: Option<&str>) {
        let result = self.open_session(key, user, resource);
        self.bound(ring, key, result);
    }

    /// The client hears what became of binding.
    fn bound(&mut self, ring: &mut Ring, key: Key, result: Result<Jid, StanzaCondition>) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.held = false;
        let Stage::Negotiating(negotiation) = &mut connection.stage else {
            return;
        };
        match result {
            Ok(full) => {
                negotiation.bound(Ok(full.as_str()), &mut connection.out);
                let attribute = reply::attribute(full.as_str());
                let escaped = matches!(attribute, std::borrow::Cow::Owned(_))
                    .then(|| attribute.into_owned().into_boxed_str());
                connection.stage = Stage::Session(Box::new(Session { jid: full, escaped }));
                connection.deadline_ms = 0;
                connection.active_ms = now_ms;
            }
            Err(condition) => {
                negotiation.bound(Err(condition), &mut connection.out);
                self.next_step(key);
            }
        }
        self.desk.touch(key);
        self.run_ends(ring);
    }

    fn open_session(
        &mut self,
        key: Key,
        user: &Jid,
        resource: Option<&str>,
    ) -> Result<Jid, StanzaCondition> {
        let made;
        let resource = match resource {
            Some(resource) => resource,
            None => {
                made = hex(&self.random_bytes::<8>());
                &made
            }
        };
        let prepared = crate::jid::resource_prep(resource);
        let prepared = prepared.map_err(|_| StanzaCondition::BadRequest)?;
        let full = Jid::new(user.node(), user.domain(), Some(&prepared));
        let full = full.map_err(|_| StanzaCondition::BadRequest)?;
        let settings = Rc::clone(&self.settings);
        let connection = self.desk.slab.get(key);
        let connection = connection.ok_or(StanzaCondition::InternalServerError)?;
        let (listener, guest) = (settings.listener(connection.listener), connection.guest);
        let who = Who {
            node: user.node().unwrap_or_default(),
            domain: user.domain(),
            resource: &prepared,
        };
        let config = &settings.config;
        if !config.allows(&listener.access, user.domain(), who) {
            return Err(StanzaCondition::NotAllowed);
        }
        if guest && !self.may_join(config.auth_of(user.domain()), user) {
            return Err(StanzaCondition::NotAllowed);
        }
        let most = config.sessions_max(user.domain(), who).finite();
        let most = most.map_or(usize::MAX, |most| most as usize);
        for replaced in self.sessions.bind(user.bare(), &prepared, key, most) {
            self.make_room(user, &replaced);
        }
        self.cells.logins += 1;
        self.shape(key, config.rate(&listener.shaper, user.domain(), who));
        Ok(full)
    }

    /// Whether a guest may have this name: by `allow_multiple_connections` also while somebody has it.
    fn may_join(&self, auth: &Auth, user: &Jid) -> bool {
        let hash = self.sessions.hash(user.bare());
        let is_taken = self.sessions.user(hash, user.bare()).is_some();
        let anonymous = auth.anonymous.as_ref();
        !is_taken || anonymous.is_some_and(|anonymous| anonymous.allow_multiple_connections)
    }

    /// A session that had to make room: who saw it is told, its connection ends with `conflict`
    /// (RFC 6120 section 7.7.2.2).
    fn make_room(&mut self, user: &Jid, session: &Replaced) {
        if let Ok(full) = Jid::new(user.node(), user.domain(), Some(&session.resource)) {
            presence::ended(&mut self.scene(), full.as_str(), user.bare(), session);
        }
        self.desk
            .ends
            .push((session.connection, EndReason::Replaced));
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
                        Ok(stanza) => self.stanza(key, session, &stanza),
                        Err(NoStanza::Unsupported) => {
                            return Err(StreamError::new(StreamCondition::UnsupportedStanzaType));
                        }
                        Err(NoStanza::Malformed) => {
                            self.malformed(key, session, (bytes, scanner.head()));
                        }
                    }
                    *at += end;
                }
            }
        }
        Ok(false)
    }

    fn stanza(&mut self, key: Key, session: &Session, stanza: &Stanza<'_>) {
        self.cells.stanzas_in[stanza.kind.number()] += 1;
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
        if let Some(out) = self.desk.output(key, reply::ERROR_BYTES) {
            let why = (StanzaCondition::BadRequest, "");
            let (to, id) = (to.as_deref(), id.as_deref());
            reply::error_parts(element, to, session.attribute(), id, why, out);
        }
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
