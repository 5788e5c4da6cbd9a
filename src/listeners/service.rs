//! XEP-0114: a component's connection, from its handshake to its names and its stanzas.
//!
//! The connection stays on the shard that accepted it. Its names are claimed from the registrar
//! ([`crate::route::registrar`]); until every shard knows them the component hears nothing, and
//! nobody is given anything for it.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::rc::Rc;

use crate::base::key::Key;
use crate::config::Who;
use crate::listeners::c2s::stream_error;
use crate::listeners::connection::Peer;
use crate::listeners::connection::PeerKind;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::shard::Shard;
use crate::modules::pipeline::Origin;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::carry;
use crate::net::ring::Ring;
use crate::proto::c2s::negotiate::Found as Element;
use crate::proto::ns;
use crate::proto::service::Handshake;
use crate::proto::service::Order;
use crate::proto::stanza::NoStanza;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::route::registrar::REGISTRAR;
use crate::route::services::Claim;
use crate::route::services::Entry;
use crate::route::services::Name;
use crate::route::services::Service;
use crate::route::services::Word;
use crate::xml::scan::Found;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

impl Shard {
    /// Handles what a component sent that is not admitted yet; returns how many bytes are done with.
    pub(super) fn join(
        &mut self,
        ring: &mut Ring,
        key: Key,
        mut handshake: Box<Handshake>,
        scanner: &mut Scanner,
        input: &[u8],
    ) -> usize {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        let mut out = std::mem::take(&mut connection.out);
        let mut at = 0;
        let mut last = Order::Go;
        while at < input.len() && last == Order::Go {
            let rest = input.get(at..).unwrap_or_default();
            match self.join_next(key, &mut handshake, scanner, rest, &mut out) {
                None => break,
                Some((end, order)) => {
                    at += end;
                    last = order;
                }
            }
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        connection.held = handshake.awaits();
        connection.out = out;
        connection.stage = Stage::Joining(handshake);
        if !connection.out.is_empty() {
            self.desk.touch(key);
        }
        match last {
            Order::Go => at,
            Order::Claim(names) => {
                self.claim(key, names);
                at
            }
            Order::End(error) => {
                let refused = error.condition == StreamCondition::NotAuthorized;
                self.cells.components_refused += u64::from(refused);
                self.end_with(ring, key, EndReason::StreamError, error);
                input.len()
            }
            Order::Finish => {
                self.end_finished(ring, key);
                input.len()
            }
        }
    }

    /// One item; None where more has to come first.
    fn join_next(
        &mut self,
        key: Key,
        handshake: &mut Handshake,
        scanner: &mut Scanner,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(usize, Order)> {
        let settings = Rc::clone(&self.settings);
        let id = if handshake.expects_header() {
            self.stream_id()
        } else {
            String::new()
        };
        let connection = self.desk.slab.get_mut(key)?;
        let listener = settings.listener(connection.listener);
        let limits = &listener.limits_before_login;
        let rules = listener.components.as_ref()?.rules(&settings);
        let refused = |error| Some((0, Order::End(stream_error(error))));
        if handshake.expects_header() {
            return match scanner.scan_header(limits, input) {
                Ok(HeaderFound::More) => None,
                Ok(HeaderFound::Header { end }) => {
                    connection.scope = scanner.take_scope(input);
                    let bytes = input.get(..end).unwrap_or_default();
                    let (head, scope) = (scanner.head(), &connection.scope);
                    let found = Element { bytes, head, scope };
                    let order = handshake.header(&rules, found, &id, out);
                    if order == Order::Go {
                        self.next_step(key);
                    }
                    Some((end, order))
                }
                Err(error) => refused(error),
            };
        }
        match scanner.scan(limits, &connection.scope, input) {
            Ok(Found::More) => None,
            Ok(Found::Whitespace { end }) => Some((end, Order::Go)),
            Ok(Found::StreamEnd { end }) => Some((end, Order::Finish)),
            Ok(Found::Element { end }) => {
                let bytes = input.get(..end).unwrap_or_default();
                let (head, scope) = (scanner.head(), &connection.scope);
                let found = Element { bytes, head, scope };
                Some((end, handshake.element(&rules, found)))
            }
            Err(error) => refused(error),
        }
    }

    fn claim(&mut self, key: Key, names: Vec<Box<str>>) {
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Some(rules) = &settings.listener(connection.listener).components else {
            return;
        };
        let hashed = names.into_iter().map(|name| Name {
            hash: self.sessions.hash(&name),
            is_ours: settings.hosts.names().any(|host| is_below(&name, host)),
            name,
        });
        let entry = Entry {
            names: hashed.collect(),
            service: Service {
                owner: self.desk.mesh.me(),
                connection: key,
                number: 0,
                access: rules.access.clone(),
                hidden: rules.hidden,
            },
        };
        let replaces = rules.kicks_old;
        self.tell(REGISTRAR, Word::Claim(Box::new(Claim { entry, replaces })));
    }

    /// Says something to a shard, this one included.
    pub(super) fn tell(&mut self, shard: usize, word: Word) {
        if shard == self.number() {
            self.words.push_back(word);
        } else {
            self.desk.mesh.filling(shard).words.push(word);
        }
    }

    /// Hears what shards have told this one about components. Claims come last: whoever has left by
    /// now, on any shard, no longer has a name.
    pub(super) fn hear_words(&mut self, ring: &mut Ring) {
        self.hear_all(ring);
        if self.claims.is_empty() {
            return;
        }
        self.drain_mail(ring);
        self.hear_all(ring);
        while let Some(claim) = self.claims.pop_front() {
            let mut sent = Vec::new();
            self.registrar.claim(&self.services, *claim, &mut sent);
            self.pass_on(ring, sent);
        }
    }

    fn hear_all(&mut self, ring: &mut Ring) {
        while let Some(word) = self.words.pop_front() {
            self.hear(ring, word);
        }
    }

    /// What a decision led to. Of a decision this shard hears at once, before the next is made.
    fn pass_on(&mut self, ring: &mut Ring, sent: Vec<(usize, Word)>) {
        for (shard, word) in sent {
            if shard == self.number() {
                self.hear(ring, word);
            } else {
                self.desk.mesh.filling(shard).words.push(word);
            }
        }
    }

    fn hear(&mut self, ring: &mut Ring, word: Word) {
        let mut sent = Vec::new();
        match word {
            Word::Claim(claim) => self.claims.push_back(claim),
            Word::Entered(number) => self.registrar.entered(number, &mut sent),
            Word::Leave { owner, connection } => {
                let same =
                    |service: &Service| service.owner == owner && service.connection == connection;
                self.claims.retain(|claim| !same(&claim.entry.service));
                self.registrar.leave(owner, connection, &mut sent);
            }
            Word::Enter(entry) => {
                let me = self.number();
                for replaced in self.services.enter(&entry) {
                    if replaced.owner == me {
                        self.desk.replace(replaced.connection);
                    }
                }
                sent.push((REGISTRAR, Word::Entered(entry.service.number)));
            }
            Word::Left(number) => self.services.remove(number),
            Word::Granted(connection) => self.answer_claim(ring, connection, true),
            Word::Refused(connection) => self.answer_claim(ring, connection, false),
        }
        self.pass_on(ring, sent);
    }

    /// What the component has sent meanwhile is handled too: whatever that does ends nobody else.
    fn answer_claim(&mut self, ring: &mut Ring, key: Key, granted: bool) {
        let admit = AssertUnwindSafe(|| self.admitted(ring, key, granted));
        if catch_unwind(admit).is_err() {
            self.survive(ring, key);
        }
    }

    /// The registrar has decided, and every shard knows.
    fn admitted(&mut self, ring: &mut Ring, key: Key, granted: bool) {
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let waits = matches!(&connection.stage, Stage::Joining(handshake) if handshake.awaits());
        if !waits || connection.cut {
            return;
        }
        let Stage::Joining(handshake) = std::mem::replace(&mut connection.stage, Stage::Lent)
        else {
            return;
        };
        connection.held = false;
        match handshake.registered(granted, &mut connection.out) {
            Ok(names) => {
                log_of!(info, settings, connection, ?names, "component connected");
                let listener = settings.listener(connection.listener);
                let first = names.first().map(|name| &**name).unwrap_or_default();
                let who = Who {
                    node: "",
                    domain: first,
                    resource: "",
                };
                let rate = settings.config.rate(&listener.shaper, first, who);
                connection.deadline_ms = 0;
                connection.active_ms = self.desk.now_ms;
                connection.stage = Stage::Peer(Box::new(Peer {
                    kind: PeerKind::Service,
                    names,
                }));
                self.shape(key, rate);
                self.desk.touch(key);
                self.feed(ring, key, &[]);
                self.listen_on(ring, key);
            }
            Err(error) => {
                // Its stream is open already: there is nothing to begin before the error.
                self.end_with(ring, key, EndReason::StreamError, error);
            }
        }
    }

    /// A component's stream, or one that waits to be one, is no more: its names are free.
    pub(super) fn leave_service(&mut self, key: Key) {
        let owner = self.number();
        self.services.remove_connection(owner, key);
        self.tell(
            REGISTRAR,
            Word::Leave {
                owner,
                connection: key,
            },
        );
    }

    /// Handles the stanzas of a component; returns how many bytes are done with.
    pub(super) fn peer_stanzas(
        &mut self,
        ring: &mut Ring,
        key: Key,
        peer: Box<Peer>,
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
        let outcome = self.scan_peer(key, &peer, (scanner, limits, &scope), input, &mut at);
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.stage = Stage::Peer(peer);
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
    fn scan_peer(
        &mut self,
        key: Key,
        peer: &Peer,
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
                    let head = scanner.head();
                    if head.name.is(scope, bytes, ns::STREAMS, "error") {
                        // RFC 6120 section 4.9.1.1: the component gives up.
                        return Ok(true);
                    }
                    let content = ns::COMPONENT_ACCEPT;
                    let stanza = Stanza::read(bytes, head, scope, content).or_else(|no| match no {
                        // COMPAT(slixmpp and others): stanzas made for a client's stream.
                        NoStanza::Unsupported => Stanza::read(bytes, head, scope, ns::CLIENT),
                        NoStanza::Malformed => Err(no),
                    });
                    let attribute = |name| {
                        let found = head.attribute(bytes, name);
                        found.map(|found| found.decoded(bytes))
                    };
                    let from = attribute(b"from").unwrap_or_default();
                    match stanza {
                        Ok(stanza) => self.peer_stanza(key, peer, &stanza, &from)?,
                        Err(NoStanza::Unsupported) => {
                            return Err(StreamError::new(StreamCondition::UnsupportedStanzaType));
                        }
                        Err(NoStanza::Malformed) => {
                            let is_presence = head.name.local.of(bytes) == b"presence";
                            let element = if is_presence { "presence" } else { "iq" };
                            let kind = attribute(b"type");
                            if !matches!(kind.as_deref(), Some("error" | "result")) {
                                let (id, to) = (attribute(b"id"), attribute(b"to"));
                                let why = (StanzaCondition::BadRequest, "");
                                let (to, id) = (to.as_deref(), id.as_deref());
                                let back = reply::attribute(&from);
                                let kind = Type::error_of(element);
                                self.desk.hand(key, kind, reply::ERROR_BYTES, |out| {
                                    reply::error_parts(element, to, &back, id, why, out);
                                });
                            }
                        }
                    }
                    *at += end;
                }
            }
        }
        Ok(false)
    }

    fn peer_stanza(
        &mut self,
        key: Key,
        peer: &Peer,
        stanza: &Stanza<'_>,
        from: &str,
    ) -> Result<(), StreamError> {
        let invalid = || StreamError::new(StreamCondition::InvalidFrom);
        self.note_received(self.desk.reading, stanza);
        let parts = crate::jid::parse(from).map_err(|_| invalid())?;
        if !self.speaks_for(key, peer, &parts.domain) {
            return Err(invalid());
        }
        let (full, bare) = (parts.full(), parts.bare());
        let sender = Sender {
            origin: Origin::Peer,
            connection: key,
            stamp: &reply::attribute(&full),
            full: &full,
            bare: &bare,
            resource: parts.resource.as_deref().unwrap_or_default(),
        };
        carry(&mut self.scene(), &sender, stanza);
        Ok(())
    }

    /// `check_from`: a domain that this stream registered; otherwise any but ours.
    fn speaks_for(&self, key: Key, peer: &Peer, domain: &str) -> bool {
        if peer.names.iter().any(|name| **name == *domain) {
            return true;
        }
        let Some(connection) = self.desk.slab.get(key) else {
            return false;
        };
        let listener = self.settings.listener(connection.listener);
        let lax = listener
            .components
            .as_ref()
            .is_some_and(|rules| !rules.check_from);
        lax && !self.settings.hosts.serves(domain)
    }

    /// Names that listeners keep for components, before anything is served.
    pub(super) fn reserve_names(&mut self) {
        let settings = Rc::clone(&self.settings);
        for name in &settings.kept_domains {
            let hash = self.sessions.hash(name);
            let name = name.as_str().into();
            self.services.reserve(Name {
                name,
                hash,
                is_ours: true,
            });
        }
    }
}

/// `name` is a subdomain of `host`.
fn is_below(name: &str, host: &str) -> bool {
    name.strip_suffix(host)
        .is_some_and(|rest| rest.ends_with('.'))
}
