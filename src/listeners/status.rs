//! What a shard says about itself when somebody asks: figures, its sessions, the end of one.
//!
//! A [`Question`] reaches a shard like any note of another thread, and its answer goes to whoever
//! asked by a closure: the thread of the local socket, or the shard of an HTTP request
//! (`listeners::http::gather`). Nobody looks at another shard's memory.

use crate::base::key::Key;
use crate::listeners::connection::Carrier;
use crate::listeners::connection::Connection;
use crate::listeners::ending::EndReason;
use crate::listeners::removal::Removal;
use crate::listeners::s2s::status::LinksStatus;
use crate::listeners::s2s::status::StreamStatus;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Peers;
use crate::metrics::Cells;
use crate::metrics::traffic::Traffic;
use crate::modules::happening::Happening;
use crate::net::accept::Tally;
use crate::net::ring::Ring;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::session::table::Session;

/// Sessions that one answer of a shard names at most; whoever asks for more narrows the question.
pub const SESSIONS_MAX: usize = 500;
/// Connections that are looked at to say how many have given back their memory.
const SAMPLE: usize = 1024;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// How are you?
    Status,
    /// Which sessions have this text in their address? An empty text is in all of them.
    Sessions(String),
    /// End the sessions of this account, or this one session.
    Kick(String),
    /// Remove this account.
    Remove(String),
}

/// Takes an answer.
pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// A question and where its answer goes.
pub struct Inquiry {
    /// What is asked.
    pub question: Question,
    /// Takes the answer; called once.
    pub reply: Reply,
}

/// What a shard answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<ShardStatus>),
    /// To [`Question::Sessions`]; and how many were left out.
    Sessions(Vec<SessionStatus>, usize),
    /// To [`Question::Kick`]: the sessions that end.
    Kicked(Vec<String>),
    /// To [`Question::Remove`], of the shard that owns the user.
    Removed(Option<Removal>),
}

/// How one shard is.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Its number.
    pub shard: usize,
    /// Open connections.
    pub connections: usize,
    /// Users with a session.
    pub users: usize,
    /// Bound sessions.
    pub sessions: usize,
    /// Connections by listener number.
    pub by_listener: Vec<usize>,
    /// What this core's acceptors have counted, by listener number; 0 where it accepts for none.
    pub tallies: Vec<Tally>,
    /// Days until the certificate of each listener expires, as it is read now.
    pub certificate_days: Vec<Option<i64>>,
    /// Names of components whose connections are here.
    pub components: Vec<String>,
    /// Streams with other servers.
    pub s2s: Vec<StreamStatus>,
    /// Ways to other domains, and what waits for them.
    pub links: LinksStatus,
    /// Bytes that wait for others to read, by what they are (`Peers`).
    pub outbound: [usize; Peers::ALL.len()],
    /// Bytes held by partial elements.
    pub partial_bytes: usize,
    /// Batches and notes that wait for this shard.
    pub waiting: usize,
    /// Connections that hold no memory but their own; an estimate where there are many.
    pub hibernated: usize,
    /// Those of the connections that have no socket.
    pub socketless: usize,
    /// What it has counted.
    pub cells: Cells,
    /// What went in and out, by class (`listeners::traffic`).
    pub traffic: Vec<Traffic>,
    /// What happened to users, by host; first where the host is not known.
    pub happened: Vec<[u64; Happening::COUNT]>,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// The full JID.
    pub jid: String,
    /// Where the client is.
    pub peer: String,
    /// The listener, or its handler.
    pub listener: String,
    /// What carries it.
    pub transport: &'static str,
    /// With TLS.
    pub tls: bool,
    /// Seconds since the connection.
    pub age_s: u64,
    /// Seconds since something came or went.
    pub idle_s: u64,
    /// The priority of its presence, where it is available.
    pub priority: Option<i8>,
    /// Bytes that wait for it to read.
    pub outbound: usize,
    /// The shard that has it.
    pub shard: usize,
}

impl ShardStatus {
    /// Stanzas received since the start.
    pub fn stanzas(&self) -> u64 {
        self.cells.stanzas_in.iter().sum()
    }

    /// Stanzas handed to others since the start.
    pub fn stanzas_sent(&self) -> u64 {
        let sent = self.traffic.iter().flat_map(|traffic| traffic.sent.stanzas);
        sent.sum()
    }

    /// How often something happened, over all hosts.
    pub fn happened(&self, what: Happening) -> u64 {
        self.happened
            .iter()
            .map(|counts| counts[what as usize])
            .sum()
    }
}

impl Shard {
    fn components(&self) -> Vec<String> {
        let me = self.number();
        let own = self
            .services
            .iter()
            .filter(|(_, service)| service.owner == me);
        let mut names: Vec<String> = own.map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Answers a question about this shard.
    pub(super) fn inquired(&mut self, ring: &mut Ring, inquiry: Inquiry) {
        let answer = match inquiry.question {
            Question::Status => Answer::Status(Box::new(self.report())),
            Question::Sessions(text) => self.list(&text),
            Question::Kick(jid) => Answer::Kicked(self.kick(ring, &jid)),
            Question::Remove(jid) => return self.remove_account(&jid, inquiry.reply),
        };
        (inquiry.reply)(answer);
    }

    fn report(&self) -> ShardStatus {
        let mut by_listener = vec![0; self.settings.listeners().len()];
        for (number, open) in self.desk.slab.by_listener().iter().enumerate() {
            let number = self.settings.bound_number(number as u16);
            if let Some(count) = by_listener.get_mut(usize::from(number)) {
                *count += *open as usize;
            }
        }
        ShardStatus {
            shard: self.number(),
            connections: self.desk.slab.len(),
            users: self.sessions.users_len(),
            sessions: self.sessions.sessions(),
            by_listener,
            tallies: self.tallies(),
            certificate_days: self
                .tls
                .iter()
                .map(|tls| Some(tls.as_ref()?.days_left_at(self.facts.unix_seconds)))
                .collect(),
            components: self.components(),
            s2s: self.federation_status(),
            links: self.links_status(),
            outbound: self.outbound(),
            partial_bytes: self.partial_bytes,
            waiting: self.desk.mesh.waiting(),
            hibernated: self.hibernated(),
            socketless: self.http.bosh.sessions_here(),
            cells: self.cells.clone(),
            traffic: self.desk.traffic.clone(),
            happened: self.desk.happened.clone(),
        }
    }

    fn tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.settings.listeners().len()];
        for acceptor in &self.acceptors {
            if let Some(tally) = tallies.get_mut(usize::from(acceptor.number())) {
                *tally = acceptor.tally();
            }
        }
        tallies
    }

    fn outbound(&self) -> [usize; Peers::ALL.len()] {
        let mut sums = [0; Peers::ALL.len()];
        let classes = self.settings.hosts.as_slice().len() + 1;
        for connection in self.desk.slab.first(usize::MAX) {
            if let Some(sum) = sums.get_mut(usize::from(connection.class) / classes) {
                *sum += connection.outbound_bytes();
            }
        }
        sums
    }

    fn hibernated(&self) -> usize {
        let sample = self.desk.slab.first(SAMPLE);
        let (mut seen, mut asleep) = (0, 0);
        for connection in sample {
            seen += 1;
            asleep += usize::from(connection.is_hibernated());
        }
        (asleep * self.desk.slab.len())
            .checked_div(seen)
            .unwrap_or(0)
    }

    fn list(&self, text: &str) -> Answer {
        let mut found = Vec::new();
        let mut left_out = 0;
        for user in self.sessions.users() {
            for session in user.sessions() {
                let jid = format!("{}/{}", user.bare(), session.resource);
                if !text.is_empty() && !jid.contains(text) {
                    continue;
                }
                if found.len() >= SESSIONS_MAX {
                    left_out += 1;
                } else if let Some(connection) = self.desk.slab.get(session.connection) {
                    found.push(self.describe(jid, session, connection));
                }
            }
        }
        Answer::Sessions(found, left_out)
    }

    fn describe(&self, jid: String, session: &Session, connection: &Connection) -> SessionStatus {
        let now_ms = self.desk.now_ms;
        SessionStatus {
            jid,
            peer: connection.peer.to_string(),
            listener: self.settings.listener(connection.listener).path.clone(),
            transport: match connection.carrier.as_deref() {
                Some(Carrier::WebSocket(_)) => "websocket",
                Some(Carrier::Bosh(_)) => "bosh",
                None => "tcp",
            },
            tls: connection.tls.is_some(),
            age_s: now_ms.saturating_sub(connection.since_ms) / 1000,
            idle_s: now_ms.saturating_sub(connection.active_ms) / 1000,
            priority: session.priority,
            outbound: connection.outbound_bytes(),
            shard: self.number(),
        }
    }

    /// The sessions end with `policy-violation`: with `conflict` a client would not come back, with
    /// nothing it would come back at once.
    fn kick(&mut self, ring: &mut Ring, jid: &str) -> Vec<String> {
        let Ok(parts) = crate::jid::parse(jid) else {
            return Vec::new();
        };
        let bare = parts.bare();
        let hash = self.sessions.hash(&bare);
        let resource = parts.resource.as_deref();
        let Some(user) = self.sessions.user(hash, &bare) else {
            return Vec::new();
        };
        let wanted = |session: &&Session| resource.is_none_or(|name| name == &*session.resource);
        let found: Vec<(Key, String)> = user
            .sessions()
            .iter()
            .filter(wanted)
            .map(|session| (session.connection, format!("{bare}/{}", session.resource)))
            .collect();
        let mut kicked = Vec::new();
        for (key, jid) in found {
            let error = StreamError::because(
                StreamCondition::PolicyViolation,
                "an administrator has ended this session",
            );
            self.end_with(ring, key, EndReason::Kicked, error);
            kicked.push(jid);
        }
        kicked
    }
}
