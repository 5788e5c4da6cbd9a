//! Streams that other servers have opened to us.

use std::rc::Rc;

use crate::base::key::Key;
use crate::config::Who;
use crate::listeners::c2s::stream_error;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::s2s::Letter;
use crate::listeners::s2s::links::ASK_MS;
use crate::listeners::shard::Shard;
use crate::net::ring::Ring;
use crate::net::tls::Trust;
use crate::net::tls::names::names_domain;
use crate::proto::s2s::Found as Element;
use crate::proto::s2s::Pair;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::s2s::dialback::Verdict;
use crate::proto::s2s::inbound::Inbound;
use crate::proto::s2s::inbound::Order;
use crate::proto::s2s::inbound::Terms;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stream::error::StreamCondition;
use crate::route::owner;
use crate::route::services::Known;
use crate::xml::scan::Found;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;

/// One step of scanning an incoming stream.
enum Next {
    More,
    Skip(usize),
    Ordered(usize, Order),
}

/// Whether the certificate that a peer has shown is good and names `domain`.
pub fn is_certified(connection: &Connection, domain: &str) -> bool {
    let certificate = connection
        .tls
        .as_ref()
        .filter(|tls| tls.established)
        .and_then(|tls| tls.stream.peer_certificate());
    certificate.is_some_and(|certificate| {
        *certificate.trust == Trust::Verified && names_domain(certificate.der, domain)
    })
}

/// Where the next stream header, if `header`, or element ends, or what is to be done first. Until the
/// peer has `named` a host, white space in front of its header is none.
fn item(
    connection: &mut Connection,
    (header, named): (bool, bool),
    (scanner, limits): (&mut Scanner, &Limits),
    input: &[u8],
) -> Result<usize, Next> {
    let refused = |error| Next::Ordered(0, Order::End(stream_error(error)));
    if header {
        // White space behind the element that ended the old stream belongs to that one.
        let space = input.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if space > 0 && named && !scanner.is_midway() {
            return Err(Next::Skip(space));
        }
        return match scanner.scan_header(limits, input).map_err(refused)? {
            HeaderFound::More => Err(Next::More),
            HeaderFound::Header { end } => {
                connection.scope = scanner.take_scope(input);
                Ok(end)
            }
        };
    }
    match scanner
        .scan(limits, &connection.scope, input)
        .map_err(refused)?
    {
        Found::More => Err(Next::More),
        Found::Whitespace { end } => Err(Next::Skip(end)),
        Found::StreamEnd { end } => Err(Next::Ordered(end, Order::Finish)),
        Found::Element { end } => Ok(end),
    }
}

/// What a peer is told that sends from `remote` to `local` and has not proven that it may.
fn refusal(inbound: &Inbound, local: &str, remote: &str) -> Option<StreamCondition> {
    if inbound.proof(local, remote).is_some() {
        return None;
    }
    let known = |pair: &Pair| *pair.remote == *remote;
    // RFC 6120 section 8.1.2.2: whom it has not proven it may not name.
    Some(if inbound.proven().iter().any(|(pair, _)| known(pair)) {
        StreamCondition::ImproperAddressing
    } else {
        StreamCondition::InvalidFrom
    })
}

impl Shard {
    /// Handles what a server sent; returns how many bytes are done with.
    pub(in crate::listeners) fn serve_incoming(
        &mut self,
        ring: &mut Ring,
        key: Key,
        mut inbound: Box<Inbound>,
        scanner: &mut Scanner,
        input: &[u8],
    ) -> usize {
        let mut out = self.desk.pool.take();
        let mut at = 0;
        let mut last = Order::Go;
        let before = inbound.proven().len();
        let failures = inbound.failures();
        let went_both_ways = inbound.both_ways().is_some();
        while at < input.len() {
            let rest = input.get(at..).unwrap_or_default();
            match self.next_incoming(key, &mut inbound, scanner, rest, &mut out) {
                Next::More => break,
                Next::Skip(end) => at += end,
                Next::Ordered(end, order) => {
                    at += end;
                    match order {
                        Order::Go if !went_both_ways && inbound.both_ways().is_some() => break,
                        Order::Go => {}
                        Order::Verify(question) => self.ask_about(key, &question),
                        Order::Restart => scanner.reset(),
                        Order::Stanza | Order::StartTls | Order::End(_) | Order::Finish => {
                            last = order;
                            break;
                        }
                    }
                }
            }
        }
        let proven = inbound.proven().first().map(|(pair, _)| pair.clone());
        let asking = inbound.is_asking();
        self.cells.servers_refused += u64::from(inbound.failures() - failures);
        let both_ways = inbound.both_ways().filter(|_| !went_both_ways).cloned();
        for (pair, _) in inbound.proven().iter().skip(before) {
            self.tell_seen(pair.clone());
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        connection.held = inbound.awaits();
        connection.stage = Stage::Inbound(inbound);
        let wrote = !out.is_empty();
        self.write_or_cut(key, out);
        match proven {
            Some(pair) if wrote => {
                self.set_deadline(key, 0);
                self.shape_incoming(key, &pair.local, &pair.remote);
            }
            None if wrote && !asking => self.next_step(key),
            Some(_) | None => {}
        }
        if let Some(pair) = both_ways {
            self.take_home(key, &pair);
        }
        self.perform_incoming(ring, key, last, at, input.len())
    }

    /// Appends to a connection's output; a peer that asks and does not read is cut.
    pub(in crate::listeners) fn write_or_cut(&mut self, key: Key, out: Vec<u8>) {
        let is_over = match self.desk.slab.get_mut(key) {
            Some(connection) if !out.is_empty() => {
                let bound = self.settings.listener(connection.listener).outbound_buffer;
                connection.out.extend_from_slice(&out);
                connection.outbound_bytes() > bound && !std::mem::replace(&mut connection.cut, true)
            }
            Some(_) | None => return self.desk.pool.give(out),
        };
        self.desk.pool.give(out);
        self.desk.touch(key);
        if is_over {
            self.desk.ends.push((key, EndReason::SlowReader));
        }
    }

    fn next_incoming(
        &mut self,
        key: Key,
        inbound: &mut Inbound,
        scanner: &mut Scanner,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Next {
        let expects_header = inbound.expects_header();
        let id = if expects_header {
            self.stream_id()
        } else {
            String::new()
        };
        let settings = Rc::clone(&self.settings);
        let (sessions, services) = (&self.sessions, &self.services);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return Next::More;
        };
        let listener = settings.listener(connection.listener);
        let limits = if inbound.proven().is_empty() {
            &listener.limits_before_login
        } else {
            &listener.limits
        };
        let named = !inbound.host().is_empty();
        let end = match item(
            connection,
            (expects_header, named),
            (scanner, limits),
            input,
        ) {
            Ok(end) => end,
            Err(next) => return next,
        };
        let scope = connection.scope.clone();
        let found = Element {
            bytes: input.get(..end).unwrap_or_default(),
            head: scanner.head(),
            scope: &scope,
        };
        let config = &settings.config;
        let connection = &*connection;
        let terms = Terms {
            serves: &|domain| {
                settings.hosts.serves(domain)
                    || services.find(sessions.hash(domain), domain) != Known::Nothing
            },
            allows: &|local, remote| config.s2s_of(local).allows(remote),
            certified: &|domain| is_certified(connection, domain),
            keys: &settings.federation.keys,
            default_host: &config.general.default_server_domain.value,
            language: &config.general.language,
            starttls: listener.tls_at_start.is_some() && !listener.direct_tls,
            tls_required: listener.tls_required,
        };
        let order = if expects_header {
            inbound.header(&terms, found, &id, out)
        } else {
            inbound.element(&terms, found, out)
        };
        if order != Order::Stanza {
            return Next::Ordered(end, order);
        }
        let refused = |local: &str, remote: &str| refusal(inbound, local, remote);
        match self.server_stanza(key, found, &refused) {
            Ok(()) => Next::Skip(end),
            Err(error) => Next::Ordered(end, Order::End(error)),
        }
    }

    fn perform_incoming(
        &mut self,
        ring: &mut Ring,
        key: Key,
        order: Order,
        at: usize,
        length: usize,
    ) -> usize {
        match order {
            Order::Go | Order::Restart | Order::Verify(_) | Order::Stanza => at,
            Order::StartTls => {
                self.upgrade(ring, key);
                // What came in clear behind the request must not be taken for what is secured.
                length
            }
            Order::End(error) => {
                self.end_with(ring, key, EndReason::StreamError, error);
                length
            }
            Order::Finish => {
                self.end_finished(ring, key);
                length
            }
        }
    }

    /// Asks the owner of the peer's domain about a key.
    fn ask_about(&mut self, key: Key, claim: &Dialback) {
        let question = claim.question();
        let now_ms = self.desk.now_ms;
        self.set_deadline(key, now_ms + ASK_MS);
        let hash = self.sessions.hash(&claim.from);
        let shard = owner(hash, self.settings.hosts.shards());
        let letter = Letter::Ask {
            question,
            shard: self.number(),
            connection: key,
        };
        self.post(shard, letter);
    }

    fn tell_seen(&mut self, pair: Pair) {
        let hash = self.sessions.hash(&pair.remote);
        let shard = owner(hash, self.settings.hosts.shards());
        self.post(shard, Letter::Seen(pair));
    }

    /// Sends a letter; to this shard itself it is delivered at the end of the turn.
    pub(in crate::listeners) fn post(&mut self, shard: usize, letter: Letter) {
        if shard == self.number() {
            self.letters.push(letter);
        } else {
            self.desk.mesh.filling(shard).letters.push(letter);
        }
    }

    /// The answer about a key of an incoming stream.
    pub(in crate::listeners) fn answered(&mut self, ring: &mut Ring, key: Key, answer: &Dialback) {
        let (local, remote) = (&*answer.to, &*answer.from);
        let verdict = answer
            .verdict
            .unwrap_or(Verdict::Error(StanzaCondition::RemoteServerTimeout));
        let mut out = Vec::new();
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Inbound(inbound) = &mut connection.stage else {
            return;
        };
        let order = inbound.verified(local, remote, verdict, &mut out);
        let proven = !inbound.proven().is_empty();
        self.write_or_cut(key, out);
        if proven {
            self.set_deadline(key, 0);
            self.shape_incoming(key, local, remote);
        } else {
            self.next_step(key);
        }
        self.perform_incoming(ring, key, order, 0, 0);
        self.listen_on(ring, key);
    }

    /// The listener's shaper, once the peer has proven who it is.
    fn shape_incoming(&mut self, key: Key, local: &str, remote: &str) {
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get(key) else {
            return;
        };
        if connection.shaper.is_some() {
            return;
        }
        let who = Who {
            node: "",
            domain: remote,
            resource: "",
        };
        let shaper = &settings.listener(connection.listener).shaper;
        self.shape(key, settings.config.rate(shaper, local, who));
    }
}
