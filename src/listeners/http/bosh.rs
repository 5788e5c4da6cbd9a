//! XEP-0206: XMPP over BOSH. A client's stream without a socket, fed by requests from any shard.
//!
//! A session is a [`Connection`] whose [`Carrier`] is the machine of `proto::bosh`. It is made on the
//! shard of its first request, whose number begins its name, and moves to its user's owner like any
//! other. The shard that made it remembers where it went: a request is mailed to the shard that its
//! session's name says, and from there at most once further. The answer goes back the same way.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hyper::Method;
use hyper::Response;
use hyper::StatusCode;

use super::answer;
use super::conversation::Asked;
use super::conversation::Content;
use super::conversation::Conversation;
use super::gzip;
use crate::base::key::Key;
use crate::config::Bound;
use crate::config::modules::Bosh as Configured;
use crate::jid::domain_prep;
use crate::listeners::connection::Carrier;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Handover;
use crate::listeners::shard::Shard;
use crate::listeners::shard::hex;
use crate::net::ring::Ring;
use crate::proto::bosh;
use crate::proto::bosh::Condition;
use crate::proto::bosh::Options;
use crate::proto::bosh::Session;
use crate::proto::bosh::body;
use crate::proto::bosh::body::Body;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::ns;
use crate::proto::stream::framing;
use crate::proto::stream::framing::Piece;
use crate::xml::scan::StreamScope;

/// Sessions of one shard, so that they are bounded although no socket is held.
const SESSIONS_MAX: usize = 65_536;
/// What a `<body/>` may take beside its elements, in bytes.
pub const BODY_BYTES: usize = 16 * 1024;
/// What the answers say they are (XEP-0124 section 7.2).
const CONTENT_TYPE: &str = "text/xml; charset=utf-8";
/// Methods of the handler.
const METHODS: &str = "POST, OPTIONS";

/// A request that waits: its shard, its connection there, its number there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct From {
    shard: usize,
    request: (Key, u32),
}

/// A request on its way to its session.
pub struct Request {
    from: From,
    /// The handler's listener, the client, and whether it came over TLS.
    number: u16,
    peer: (SocketAddr, bool),
    secured: bool,
    body: Body,
}

/// What a turn has for sessions, in its order.
enum Incoming {
    Request(Box<Request>),
    /// The connection of a request of the session with this name is gone.
    Lost(Box<str>, From),
}

/// Where a session is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Here(Key),
    Moved(usize),
}

/// What is BOSH beside a connection. Lives on: the shard of the connection; moves with it.
#[derive(Debug)]
pub struct Bosh {
    /// The machine.
    pub session: Session<From>,
    /// Content of a request that waits for an answer to what came before it.
    rest: Vec<u8>,
    /// The host that the first request was for.
    to: Box<str>,
    /// A request asked for its fellows back.
    pausing: bool,
    /// The client has said that nothing comes behind what waits.
    terminating: bool,
    /// A stream error is among what is written.
    failed: bool,
}

/// BOSH of one shard. Lives on: one shard.
#[derive(Default)]
pub struct Sessions {
    places: HashMap<Box<str>, Place, RandomState>,
    inbox: Vec<Incoming>,
}

impl Sessions {
    /// Sessions of this shard.
    pub fn sessions_here(&self) -> usize {
        let places = self.places.values();
        places
            .filter(|place| matches!(place, Place::Here(_)))
            .count()
    }

    /// Requests wait to be handled.
    pub fn has_requests(&self) -> bool {
        !self.inbox.is_empty()
    }
}

fn of(connection: &mut Connection) -> Option<&mut Bosh> {
    match connection.carrier.as_deref_mut() {
        Some(Carrier::Bosh(bosh)) => Some(bosh),
        Some(Carrier::WebSocket(_)) | None => None,
    }
}

/// The answer that carries a `<body/>`.
fn respond(body: Vec<u8>) -> Response<Content> {
    let answer = answer::content(StatusCode::OK, CONTENT_TYPE, body);
    answer::with_cors(gzip::compressible(answer))
}

fn refusal(condition: Condition) -> Vec<u8> {
    let mut body = Vec::new();
    bosh::write_end(Some(condition), &[], &mut body);
    body
}

fn options(configured: &Configured) -> Options {
    let seconds = |bound: &Bound<u64>| bound.finite().unwrap_or(bosh::FOREVER_S);
    Options {
        inactivity_s: seconds(&configured.inactivity),
        wait_max_s: seconds(&configured.max_wait),
        pause_max_s: configured.max_pause,
        acks: configured.server_acks,
    }
}

impl Shard {
    /// A request for the handler. None: its session answers.
    pub(super) fn ask_bosh(
        &mut self,
        (key, conversation): (Key, &mut Conversation),
        number: u16,
        request: &Asked,
    ) -> Option<Response<Content>> {
        match request.parts.method {
            Method::POST => {}
            Method::OPTIONS => return Some(answer::preflight(METHODS)),
            _ => return Some(answer::with_cors(answer::not_allowed(METHODS))),
        }
        let connection = self.desk.slab.get(key)?;
        let (peer, secured) = (
            (connection.peer, connection.proxied),
            connection.tls.is_some(),
        );
        self.cells.bosh_in += request.body.len() as u64;
        let mut limits = self.settings.listener(number).limits;
        limits.stanza_bytes_max = limits.stanza_bytes_max.saturating_add(BODY_BYTES);
        limits.depth_max += 1;
        let mut scanner = self.spare_scanner();
        let body = body::read(&mut scanner, &limits, &request.body);
        self.give_scanner(scanner);
        let body = match body {
            Ok(body) => body,
            Err(condition) => return Some(respond(refusal(condition))),
        };
        let from = From {
            shard: self.number(),
            request: (key, conversation.serial),
        };
        conversation.bosh = body.sid.clone();
        self.http
            .bosh
            .inbox
            .push(Incoming::Request(Box::new(Request {
                from,
                number,
                peer,
                secured,
                body,
            })));
        None
    }

    /// The connection of a request is gone before its answer. Its session hears of it behind the request.
    pub(super) fn lose_bosh(&mut self, sid: Box<str>, request: (Key, u32)) {
        let shard = self.number();
        let from = From { shard, request };
        self.http.bosh.inbox.push(Incoming::Lost(sid, from));
    }

    /// Handles the requests of this turn, or sends them where their sessions are.
    pub(in crate::listeners) fn run_bosh(&mut self, ring: &mut Ring) {
        for incoming in std::mem::take(&mut self.http.bosh.inbox) {
            let request = match incoming {
                Incoming::Request(request) => *request,
                Incoming::Lost(sid, from) => {
                    self.pass_lost_on(ring, sid, from);
                    continue;
                }
            };
            let home = request.body.sid.as_deref().map(home);
            match home {
                None => self.open_bosh(ring, request),
                Some(Some(shard)) if shard < self.settings.hosts.shards() => {
                    self.send_home(ring, shard, request);
                }
                Some(_) => self.refuse_bosh(ring, request.from, Condition::ItemNotFound),
            }
        }
    }

    fn send_home(&mut self, ring: &mut Ring, shard: usize, request: Request) {
        if shard == self.number() {
            return self.bosh_arrived(ring, request);
        }
        let handover = Handover::Bosh(Box::new(request));
        self.desk.mesh.filling(shard).handovers.push(handover);
    }

    /// A request whose session was made here, or moved here.
    pub(in crate::listeners) fn bosh_arrived(&mut self, ring: &mut Ring, request: Request) {
        let sid = request.body.sid.as_deref().unwrap_or_default();
        match self.http.bosh.places.get(sid).copied() {
            None => self.refuse_bosh(ring, request.from, Condition::ItemNotFound),
            Some(Place::Moved(shard)) => self.send_home(ring, shard, request),
            Some(Place::Here(key)) => self.bosh_request(ring, key, request),
        }
    }

    fn pass_lost_on(&mut self, ring: &mut Ring, sid: Box<str>, from: From) {
        let shard = home(&sid).filter(|shard| *shard < self.settings.hosts.shards());
        if let Some(shard) = shard {
            self.send_lost(ring, shard, sid, from);
        }
    }

    fn send_lost(&mut self, ring: &mut Ring, shard: usize, sid: Box<str>, from: From) {
        if shard == self.number() {
            return self.bosh_lost(ring, sid, from);
        }
        let handover = Handover::BoshLost(sid, from);
        self.desk.mesh.filling(shard).handovers.push(handover);
    }

    /// The connection of a request is gone, whose session was made here, or moved here.
    pub(in crate::listeners) fn bosh_lost(&mut self, ring: &mut Ring, sid: Box<str>, from: From) {
        match self.http.bosh.places.get(&sid).copied() {
            None => {}
            Some(Place::Moved(shard)) => self.send_lost(ring, shard, sid, from),
            Some(Place::Here(key)) => {
                let now_ms = self.desk.now_ms;
                if let Some(bosh) = self.desk.slab.get_mut(key).and_then(of) {
                    bosh.session.lost(&from, now_ms);
                    self.arm_timer(key);
                }
            }
        }
    }

    fn refuse_bosh(&mut self, ring: &mut Ring, from: From, condition: Condition) {
        self.answer_bosh(ring, from, refusal(condition));
    }

    /// Brings an answer to the connection that waits for it.
    pub(in crate::listeners) fn answer_bosh(&mut self, ring: &mut Ring, from: From, body: Vec<u8>) {
        if from.shard == self.number() {
            self.cells.bosh_out += body.len() as u64;
            return self.answer_late(ring, from.request, respond(body));
        }
        let handover = Handover::BoshAnswer(from, body);
        self.desk.mesh.filling(from.shard).handovers.push(handover);
    }

    fn open_bosh(&mut self, ring: &mut Ring, request: Request) {
        let now_ms = self.desk.now_ms;
        let settings = std::rc::Rc::clone(&self.settings);
        let parent = settings.listener(settings.bound_number(request.number));
        let counted = match &parent.addresses {
            None => None,
            Some(addresses) => match addresses.admit(request.peer.0.ip(), now_ms) {
                Ok(counted) => Some(Box::new(counted)),
                Err(refusal) => {
                    let place = self.cells.place(request.number);
                    place.refusals[refusal as usize] += 1;
                    return self.refuse_bosh(ring, request.from, Condition::PolicyViolation);
                }
            },
        };
        if self.stop_by_ms > 0 || self.http.bosh.places.len() >= SESSIONS_MAX {
            return self.refuse_bosh(ring, request.from, Condition::SystemShutdown);
        }
        let host = match self.bosh_host(request.body.to.as_deref()) {
            Ok(host) => host,
            Err(condition) => return self.refuse_bosh(ring, request.from, condition),
        };
        let options = options(settings.config.bosh_of(&host));
        let sid = format!("{:x}-{}", self.number(), hex(&self.random_bytes::<16>()));
        let sid: Box<str> = sid.into();
        let stage = Stage::Negotiating(Box::new(Negotiation::new(request.secured)));
        let scope = StreamScope::ordinary(ns::CLIENT);
        let (peer, proxied) = request.peer;
        let mut connection = Connection::new(None, peer, request.number, stage, scope, now_ms);
        connection.proxied = proxied;
        connection.counted = counted;
        connection.carrier = Some(Box::new(Carrier::Bosh(Box::new(Bosh {
            session: Session::new(sid.clone(), &request.body, options, now_ms),
            rest: Vec::new(),
            to: request.body.to.clone().unwrap_or_default(),
            pausing: false,
            terminating: false,
            failed: false,
        }))));
        let key = self.desk.slab.insert(connection);
        self.http.bosh.places.insert(sid, Place::Here(key));
        self.next_step(key);
        let header = bosh::header(
            request.body.to.as_deref().unwrap_or_default(),
            request.body.lang.as_deref(),
        );
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let mut scanner = self.spare_scanner();
            self.consume_all(ring, key, &mut scanner, &header);
            self.give_scanner(scanner);
        }));
        match begun {
            Ok(()) => self.bosh_request(ring, key, request),
            Err(_) => self.survive(ring, key),
        }
    }

    /// The host that a first request is for, prepared.
    fn bosh_host(&self, to: Option<&str>) -> Result<String, Condition> {
        let prepared = domain_prep(to.unwrap_or_default()).ok();
        let host = prepared.filter(|host| !host.is_empty());
        let host = host.ok_or(Condition::ImproperAddressing)?;
        match self.settings.hosts.serves(&host) {
            true => Ok(host.into()),
            false => Err(Condition::HostUnknown),
        }
    }

    fn bosh_request(&mut self, ring: &mut Ring, key: Key, request: Request) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return self.refuse_bosh(ring, request.from, Condition::ItemNotFound);
        };
        connection.active_ms = now_ms;
        let Some(bosh) = of(connection) else {
            return;
        };
        match bosh.session.request(request.body, request.from, now_ms) {
            Ok(None) => {}
            Ok(Some((from, answer))) => return self.answer_bosh(ring, from, answer),
            Err((from, condition)) => {
                self.refuse_bosh(ring, from, condition);
                return self.fail_bosh(ring, key, condition);
            }
        }
        let handled = catch_unwind(AssertUnwindSafe(|| self.bosh_content(ring, key)));
        if handled.is_err() {
            return self.survive(ring, key);
        }
        self.desk.touch(key);
        self.arm_timer(key);
    }

    /// Hands the content of requests to the stream, in their order, until it has to wait.
    pub(in crate::listeners) fn bosh_content(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        loop {
            let waits = self.waits(key);
            let Some(connection) = self.desk.slab.get_mut(key) else {
                return;
            };
            if waits || matches!(connection.stage, Stage::Ending) {
                return;
            }
            let Some(bosh) = of(connection) else {
                return;
            };
            if !bosh.rest.is_empty() {
                let rest = std::mem::take(&mut bosh.rest);
                self.bosh_elements(ring, key, &rest);
                continue;
            }
            if bosh.terminating {
                return self.end_finished(ring, key);
            }
            match bosh.session.next(now_ms) {
                Ok(None) => return,
                Err(condition) => return self.fail_bosh(ring, key, condition),
                Ok(Some(body)) => self.bosh_body(ring, key, body),
            }
        }
    }

    fn bosh_body(&mut self, ring: &mut Ring, key: Key, body: Body) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.scope = body.scope;
        let Some(bosh) = of(connection) else {
            return;
        };
        bosh.pausing = body.pause.is_some();
        bosh.terminating = body.terminate;
        if body.restart {
            let header = bosh::header(&bosh.to, body.lang.as_deref());
            let mut scanner = self.spare_scanner();
            self.consume_all(ring, key, &mut scanner, &header);
            self.give_scanner(scanner);
        }
        self.bosh_elements(ring, key, &body.payload);
    }

    fn bosh_elements(&mut self, ring: &mut Ring, key: Key, elements: &[u8]) {
        if elements.is_empty() {
            return;
        }
        let mut scanner = self.spare_scanner();
        let used = self.consume_all(ring, key, &mut scanner, elements);
        self.give_scanner(scanner);
        let rest = elements.get(used..).unwrap_or_default();
        if let Some(bosh) = self.desk.slab.get_mut(key).and_then(of) {
            bosh.rest = rest.to_vec();
        }
    }

    /// The session ends by a fault of the client's.
    fn fail_bosh(&mut self, ring: &mut Ring, key: Key, condition: Condition) {
        let Some(bosh) = self.desk.slab.get_mut(key).and_then(of) else {
            return;
        };
        bosh.session.end(Some(condition));
        self.close(ring, key, EndReason::StreamError);
    }

    /// Gives what the turn wrote to the requests that wait.
    pub(in crate::listeners) fn flush_bosh(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let mut scanner = self.spare_scanner();
        let mut answers = Vec::new();
        let (mut over, mut all_given) = (false, false);
        if let Some(connection) = self.desk.slab.get_mut(key) {
            let is_ending = matches!(connection.stage, Stage::Ending);
            let written = std::mem::take(&mut connection.out);
            if let Some(bosh) = of(connection) {
                bosh.write(&mut scanner, &written);
                if is_ending {
                    let condition = bosh.failed.then_some(Condition::RemoteStreamError);
                    bosh.session.end(condition);
                }
                let pausing = std::mem::take(&mut bosh.pausing);
                bosh.session
                    .answers(now_ms, pausing, |from, body| answers.push((from, body)));
                over = bosh.session.is_over();
                all_given = bosh.session.outbound_bytes() == 0;
            }
            self.desk.pool.give(written);
        }
        if all_given {
            // What is in an answer is given again until the client has it (XEP-0124 section 14.2).
            self.sessions.note_sent(key);
        }
        self.give_scanner(scanner);
        for (from, body) in answers {
            self.answer_bosh(ring, from, body);
        }
        if over {
            return self.close(ring, key, EndReason::Finished);
        }
        self.arm_timer(key);
    }

    /// A request has waited long enough, or there is none.
    pub(in crate::listeners) fn look_after_bosh(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Some(bosh) = of(connection) else {
            return;
        };
        if now_ms < bosh.session.due_ms() {
            return;
        }
        if bosh.session.is_inactive(now_ms) {
            return self.desk.ends.push((key, EndReason::Timeout));
        }
        self.flush_bosh(ring, key);
    }

    /// A session without a socket is closed: whoever waits is told, what it was owed goes back.
    pub(in crate::listeners) fn closed_bosh(
        &mut self,
        ring: &mut Ring,
        connection: &mut Connection,
    ) {
        let written = std::mem::take(&mut connection.out);
        let Some(bosh) = of(connection) else {
            return;
        };
        let mut scanner = self.spare_scanner();
        bosh.write(&mut scanner, &written);
        self.give_scanner(scanner);
        self.desk.pool.give(written);
        bosh.session.end(None);
        let mut answers = Vec::new();
        bosh.session.answers(self.desk.now_ms, true, |from, body| {
            answers.push((from, body))
        });
        // Requests ahead of their turn, too.
        let early = bosh.session.take_held();
        answers.extend(early.map(|from| (from, refusal(Condition::ItemNotFound))));
        let sid = bosh.session.sid.clone();
        // What nobody waits for goes back.
        let owed = bosh.session.take_outbound();
        for (from, body) in answers {
            self.answer_bosh(ring, from, body);
        }
        self.give_back_owed(&owed, 0);
        self.forget_bosh(&sid);
        if let Some(home) = home(&sid).filter(|home| *home != self.number()) {
            let handover = Handover::BoshGone(sid);
            self.desk.mesh.filling(home).handovers.push(handover);
        }
    }

    /// No such session any more.
    pub(in crate::listeners) fn forget_bosh(&mut self, sid: &str) {
        self.http.bosh.places.remove(sid);
    }

    /// A session leaves for the shard of its user.
    pub(in crate::listeners) fn bosh_moves(&mut self, connection: &mut Connection, shard: usize) {
        if let Some(bosh) = of(connection) {
            let sid = bosh.session.sid.clone();
            self.http.bosh.places.insert(sid, Place::Moved(shard));
        }
    }

    /// It has come.
    pub(in crate::listeners) fn bosh_moved(&mut self, key: Key) {
        if let Some(bosh) = self.desk.slab.get_mut(key).and_then(of) {
            let sid = bosh.session.sid.clone();
            self.http.bosh.places.insert(sid, Place::Here(key));
        }
    }
}

impl Bosh {
    /// What the stream wrote, as elements of answers to come.
    fn write(&mut self, scanner: &mut crate::xml::scan::Scanner, written: &[u8]) {
        framing::cut(scanner, written, |piece| match piece {
            Piece::Header(tag) => {
                let id = tag.attribute(b"id").unwrap_or_default();
                let from = tag.attribute(b"from").unwrap_or_default();
                self.session.opened(id, from);
            }
            Piece::Element(tag) => {
                self.failed |= tag.bytes.starts_with(b"<stream:error>");
                tag.write_alone(self.session.write());
            }
            Piece::End => {
                let condition = self.failed.then_some(Condition::RemoteStreamError);
                self.session.end(condition);
            }
        });
    }

    /// Bytes that wait for the client to ask for them.
    pub fn outbound_bytes(&self) -> usize {
        self.session.outbound_bytes()
    }
}

/// The shard that made a session, by its name.
fn home(sid: &str) -> Option<usize> {
    let (shard, _) = sid.split_once('-')?;
    usize::from_str_radix(shard, 16).ok()
}
