//! All that one core has: connections, sessions, timers and the means to reach the others.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::verified::Verified;
use crate::backend::embedded::Handle as StoreHandle;
use crate::backend::password_work::PasswordHandle;
use crate::base::key::Key;
use crate::base::timer_wheel::TimerWheel;
use crate::listeners::desk::Desk;
use crate::listeners::drain::Drain;
use crate::listeners::effort::Effort;
use crate::listeners::http::Http;
use crate::listeners::mail::Mail;
use crate::listeners::mail::Note;
use crate::listeners::opening::Errand;
use crate::listeners::questions::Question;
use crate::listeners::random::Random;
use crate::listeners::report::ServerFacts;
use crate::listeners::s2s::Letter;
use crate::listeners::settings::Settings;
use crate::metrics::Cells;
use crate::modules::Asked;
use crate::modules::Facts;
use crate::modules::Scene;
use crate::net::accept::Acceptor;
use crate::net::ring::Received;
use crate::net::tls::TlsClient;
use crate::net::tls::TlsServer;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::registrar::Registrar;
use crate::route::services::Claim;
use crate::route::services::Services;
use crate::route::services::Word;
use crate::runtime::mesh::Mesh;
use crate::runtime::mesh::Outside;
use crate::runtime::waker::Waker;
use crate::session::table::Table;
use crate::xml::scan::Scanner;

/// Scanners that a shard keeps for connections whose stanza is partial.
const SPARE_SCANNERS_MAX: usize = 64;

/// What a shard is made of. Built on the main thread, moved to its core.
pub struct Parts {
    /// This shard's end of the mesh.
    pub mesh: Mesh<Mail, Note>,
    /// What the operator configured.
    pub settings: Arc<Settings>,
    /// Keys of the hash that says who owns a user: the same on every shard.
    pub hasher: RandomState,
    /// The store.
    pub store: StoreHandle,
    /// Threads that compute password hashes.
    pub work: PasswordHandle,
    /// How other threads reach this shard.
    pub outside: Outside<Note>,
    /// How this shard reaches all of them, itself among them, with what is no stanza.
    pub shards: Vec<Outside<Note>>,
    /// The wakers of all shards.
    pub wakers: Vec<Arc<Waker>>,
    /// Facts that answers are made of.
    pub facts: Facts,
    /// The key under which passwords are remembered: the same on every shard.
    pub verified_key: [u8; 32],
    /// The clock that all shards share: the moment that is 1 in their milliseconds.
    pub epoch: std::time::Instant,
}

/// One core's state. Lives on: one shard.
pub struct Shard {
    /// Connections and mail.
    pub desk: Desk,
    /// Sessions.
    pub sessions: Table,
    /// The domains that components serve.
    pub services: Services,
    /// What connections that speak HTTP need.
    pub http: Http,
    /// Who decides about them; on one shard.
    pub registrar: Registrar,
    /// What this shard has to hear about components, from others and from itself.
    pub words: VecDeque<Word>,
    /// Components that the registrar has still to decide about.
    pub claims: VecDeque<Box<Claim>>,
    /// The operator's configuration. The outer count is this core's own: cloning it on the way of a
    /// stanza touches no memory that other cores write.
    pub settings: Rc<Arc<Settings>>,
    /// Listening sockets of this core.
    pub acceptors: Vec<Acceptor>,
    /// Deadlines.
    pub wheel: TimerWheel,
    /// Plaintext of the TLS records that are handled.
    pub plain: Vec<u8>,
    /// Bytes of partial elements held.
    pub partial_bytes: usize,
    /// Where the next connection goes that is spread over the shards.
    pub spread_next: usize,
    /// The time by which the shard stops; 0 while it serves.
    pub stop_by_ms: u64,
    /// How far the stop has come.
    pub drain: Option<Drain>,
    /// Shards that have fallen quiet before this one was told to stop.
    pub quiet: usize,
    /// What each listener handshakes with, by its number: a reload puts new ones here.
    pub tls: Vec<Option<TlsServer>>,
    /// What streams to other servers handshake with; a reload changes it.
    pub outgoing_tls: Option<TlsClient>,
    /// The store.
    pub store: StoreHandle,
    /// Threads that compute password hashes.
    pub work: PasswordHandle,
    /// How other threads reach this shard.
    pub outside: Outside<Note>,
    /// How it reaches all shards, itself among them, with what is no stanza.
    pub shards: Vec<Outside<Note>>,
    /// Facts that answers are made of.
    pub facts: Facts,
    /// Passwords that were found right.
    pub verified: Verified,
    /// Requests of modules that wait for the store.
    pub asked: Vec<Asked>,
    /// How many the store has been asked and has not answered.
    pub questions: usize,
    /// What it cannot be asked yet.
    pub backlog: VecDeque<Question>,
    /// When a lack of descriptors or memory was last logged.
    pub scarce_logged_ms: u64,
    /// Connections that wait to be moved to another shard.
    pub movers: Vec<(Key, Errand)>,
    /// Sessions that have had their share of this turn.
    pub tired: Vec<Key>,
    /// What the read that is being handled has taken.
    pub effort: Effort,
    /// Another shard is so far behind that nothing more is read for it.
    pub congested: bool,
    /// Reads that wait because another shard is too far behind.
    pub stashed: Vec<(Key, Received)>,
    /// Connections to listen on again when the reads that wait have given their buffers back.
    pub starved: Vec<Key>,
    /// Connections that were cut while a send was under way, until its buffer comes back; with
    /// TLS also what it holds in clear.
    pub cut_in_flight: Vec<(Key, Vec<u8>)>,
    /// What it counts.
    pub cells: Cells,
    /// When this turn began, in microseconds of the shared clock, and the stanzas before it.
    pub turn: (u64, u64),
    /// Letters to this shard itself.
    pub letters: Vec<Letter>,
    /// Why streams to other servers that are about to end have failed.
    pub verdicts: Vec<(Key, StanzaCondition)>,
    /// When a bad PROXY header was last logged.
    pub proxy_logged_ms: u64,
    /// The shared origin of time.
    pub epoch: std::time::Instant,
    scanners: Vec<Scanner>,
    wakers: Vec<Arc<Waker>>,
    random: Random,
}

impl Shard {
    /// From its parts, on its own thread.
    pub fn new(parts: Parts, acceptors: Vec<Acceptor>) -> Self {
        let settings = Rc::new(parts.settings);
        let listeners = settings.listeners().iter();
        let tls = listeners
            .map(|listener| listener.tls_at_start.clone())
            .collect();
        let mut shard = Self {
            desk: Desk::new(parts.mesh, Rc::clone(&settings)),
            sessions: Table::new(parts.hasher),
            services: Services::default(),
            http: Http::default(),
            registrar: Registrar::new(settings.hosts.shards()),
            words: VecDeque::new(),
            claims: VecDeque::new(),
            settings: Rc::clone(&settings),
            acceptors,
            wheel: TimerWheel::new(0),
            plain: Vec::new(),
            partial_bytes: 0,
            spread_next: 0,
            stop_by_ms: 0,
            drain: None,
            quiet: 0,
            tls,
            outgoing_tls: settings.federation.tls.clone(),
            store: parts.store,
            work: parts.work,
            outside: parts.outside,
            shards: parts.shards,
            facts: parts.facts,
            verified: Verified::new(&parts.verified_key),
            asked: Vec::new(),
            questions: 0,
            backlog: VecDeque::new(),
            scarce_logged_ms: 0,
            movers: Vec::new(),
            tired: Vec::new(),
            effort: Effort::default(),
            congested: false,
            cut_in_flight: Vec::new(),
            stashed: Vec::new(),
            starved: Vec::new(),
            cells: Cells::default(),
            turn: (0, 0),
            letters: Vec::new(),
            verdicts: Vec::new(),
            proxy_logged_ms: 0,
            epoch: parts.epoch,
            scanners: Vec::new(),
            wakers: parts.wakers,
            random: Random::default(),
        };
        shard.reserve_names();
        shard
    }

    /// This shard's number.
    pub fn number(&self) -> usize {
        self.desk.mesh.me()
    }

    /// What connections of a listener handshake with from now on; None where it has no TLS.
    pub fn tls_of(&self, listener: u16) -> Option<&TlsServer> {
        self.tls.get(usize::from(listener))?.as_ref()
    }

    /// Takes new certificates. Connections keep what they have shaken hands with.
    pub(super) fn take_certificates(
        &mut self,
        fresh: Vec<(u16, TlsServer)>,
        outgoing: Option<TlsClient>,
    ) {
        if outgoing.is_some() {
            self.outgoing_tls = outgoing;
        }
        for (listener, server) in fresh {
            if let Some(place) = self.tls.get_mut(usize::from(listener)) {
                *place = Some(server);
            }
        }
    }

    /// What the modules see.
    pub fn scene(&mut self) -> Scene<'_, Desk> {
        Scene {
            shard: self.desk.mesh.me(),
            hosts: &self.settings.hosts,
            services: &self.services,
            sessions: &mut self.sessions,
            outbox: &mut self.desk,
            facts: &self.facts,
            asked: &mut self.asked,
        }
    }

    /// What one shard alone does not know.
    pub fn server_facts(&self) -> ServerFacts {
        ServerFacts {
            version: self.facts.version,
            uptime_s: self.desk.now_ms / 1000,
            unix_seconds: self.facts.unix_seconds,
            store: self.store.times(),
        }
    }

    /// A scanner for a connection whose element is partial.
    pub fn spare_scanner(&mut self) -> Scanner {
        self.scanners.pop().unwrap_or_default()
    }

    /// Gives a scanner back.
    pub fn give_scanner(&mut self, mut scanner: Scanner) {
        if self.scanners.len() < SPARE_SCANNERS_MAX {
            scanner.reset();
            self.scanners.push(scanner);
        }
    }

    /// A name for a stream that nobody can guess (RFC 6120 section 4.7.3).
    pub fn stream_id(&mut self) -> String {
        hex(&self.random_bytes::<8>())
    }

    /// Bytes that nobody can guess.
    pub fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        self.random.bytes()
    }

    /// Has the wheel look at a connection at the earliest of its deadlines.
    pub fn arm_timer(&mut self, key: Key) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        if let Some(due_ms) = connection.due_ms(&self.settings) {
            self.wheel.arm(&mut connection.alarm, key.as_u64(), due_ms);
        }
    }

    /// Wakes one shard by its eventfd.
    pub(super) fn alert(&self, shard: usize) {
        if let Some(waker) = self.wakers.get(shard) {
            waker.alert();
        }
    }

    /// Wakes every shard: something that all share has changed.
    pub fn wake_all(&self) {
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        text.extend(digits.map(char::from));
    }
    text
}
