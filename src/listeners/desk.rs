//! What a shard's modules write to: the outputs of its connections and the mail to other shards.

use std::rc::Rc;
use std::sync::Arc;

use crate::base::key::Key;
use crate::config::Who;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Mail;
use crate::listeners::mail::Note;
use crate::listeners::s2s::links::Links;
use crate::listeners::s2s::links::State;
use crate::listeners::settings::Settings;
use crate::listeners::slab::Slab;
use crate::listeners::traffic::Peers;
use crate::metrics::traffic::Traffic;
use crate::modules::happening::Happening;
use crate::modules::pipeline::Outbox;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::envelope::Envelopes;
use crate::runtime::mesh::Mesh;

/// Spare output buffers that a shard keeps.
const SPARE_BUFFERS_MAX: usize = 1024;
/// A buffer that grew larger is given back to the system instead.
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Output buffers that nobody uses just now. Lives on: one shard.
#[derive(Default)]
pub struct Pool {
    spare: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer, with memory if there is a spare one.
    pub fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0
            || capacity > SPARE_BUFFER_BYTES_MAX
            || self.spare.len() >= SPARE_BUFFERS_MAX
        {
            return;
        }
        buffer.clear();
        self.spare.push(buffer);
    }
}

/// Connections and mail of one shard. Lives on: one shard.
pub struct Desk {
    /// The connections.
    pub slab: Slab,
    /// The way to other shards.
    pub mesh: Mesh<Mail, Note>,
    /// What the operator configured.
    pub settings: Rc<Arc<Settings>>,
    /// The shard's clock at the beginning of the turn, in milliseconds.
    pub now_ms: u64,
    /// Connections with output.
    pub dirty: Vec<Key>,
    /// Connections that are to end at the end of the turn.
    pub ends: Vec<(Key, EndReason)>,
    /// Spare output buffers.
    pub pool: Pool,
    /// What went in and out, by class.
    pub traffic: Vec<Traffic>,
    /// What happened to users, by host; first where the host is not known.
    pub happened: Vec<[u64; Happening::COUNT]>,
    /// The class of the connection that was last written to.
    writing: u16,
    /// The class of the connection whose stanzas are being read.
    pub reading: u16,
    /// The ways to other servers' domains.
    pub links: Links,
    /// The session whose stanza is being handled is not read further.
    pub pausing: bool,
    /// Sessions that are to be read again.
    pub resumed: Vec<Key>,
    /// What is written is not the recipient's doing: who has no room for it is not cut.
    pub spares: bool,
}

impl Desk {
    /// A desk without connections.
    pub fn new(mesh: Mesh<Mail, Note>, settings: Rc<Arc<Settings>>) -> Self {
        let hosts = &settings.hosts;
        let traffic = vec![Traffic::default(); Peers::classes(hosts)];
        let happened = vec![[0; Happening::COUNT]; hosts.as_slice().len() + 1];
        Self {
            slab: Slab::new(mesh.me(), mesh.shards()),
            mesh,
            settings,
            now_ms: 0,
            dirty: Vec::new(),
            ends: Vec::new(),
            pool: Pool::default(),
            traffic,
            happened,
            writing: 0,
            reading: 0,
            links: Links::default(),
            pausing: false,
            resumed: Vec::new(),
            spares: false,
        }
    }

    /// Notes that a connection has output.
    pub fn touch(&mut self, key: Key) {
        if let Some(connection) = self.slab.get_mut(key)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    fn bound(&self, connection: &Connection) -> usize {
        self.settings.listener(connection.listener).outbound_buffer
    }
}

impl Outbox for Desk {
    fn delivered(&mut self, kind: Type, bytes: usize) {
        if let Some(traffic) = self.traffic.get_mut(usize::from(self.writing)) {
            traffic.sent.note(kind.number(), kind.is_error(), bytes);
        }
    }

    fn dispatched(&mut self, local: &str, kind: Type, bytes: usize) {
        let hosts = &self.settings.hosts;
        self.writing = Peers::Servers.class(hosts, hosts.position(local));
        self.delivered(kind, bytes);
    }

    fn happened(&mut self, what: Happening, host: &str) {
        self.note_happened(what, host);
    }

    fn output(&mut self, key: Key, bytes: usize) -> Option<&mut Vec<u8>> {
        let connection = self.slab.get_mut(key)?;
        // Before its handshake is answered a component takes nothing.
        if matches!(connection.stage, Stage::Ending | Stage::Joining(_)) || connection.cut {
            return None;
        }
        let bound = self.settings.listener(connection.listener).outbound_buffer;
        if connection.outbound_bytes() + bytes > bound {
            if self.spares {
                return None;
            }
            connection.cut = true;
            self.ends.push((key, EndReason::SlowReader));
            return None;
        }
        if connection.out.capacity() == 0 {
            connection.out = self.pool.take();
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
        }
        self.writing = connection.class;
        Some(&mut connection.out)
    }

    fn largest(&self, key: Key) -> usize {
        self.slab
            .get(key)
            .map_or(0, |connection| self.bound(connection))
    }

    fn mail(&mut self, shard: usize) -> &mut Envelopes {
        &mut self.mesh.filling(shard).envelopes
    }

    fn pause(&mut self, key: Key) {
        if let Some(connection) = self.slab.get_mut(key) {
            connection.paused = true;
            self.pausing = true;
        }
    }

    fn resume(&mut self, key: Key) {
        self.resumed.push(key);
    }

    fn replace(&mut self, key: Key) {
        self.ends.push((key, EndReason::Replaced));
    }

    fn remote(
        &mut self,
        hash: u64,
        (local, remote): (&str, &str),
        bytes: usize,
    ) -> Result<&mut Vec<u8>, StanzaCondition> {
        let now_ms = self.now_ms;
        let slab = &self.slab;
        let way = self.links.get_mut(hash, local, remote).and_then(|link| {
            link.forget_lost(|key| slab.get(key).is_some());
            link.way()
        });
        if let Some(key) = way {
            if bytes > self.largest(key) / 2 {
                return Err(StanzaCondition::PolicyViolation);
            }
            // All our users share the stream: what one of them writes faster than the peer reads comes
            // back to that one. A peer that reads nothing at all is cut when it has stalled.
            let before = std::mem::replace(&mut self.spares, true);
            let has_room = self.output(key, bytes).is_some();
            self.spares = before;
            return match self.slab.get_mut(key) {
                Some(connection) if has_room => Ok(&mut connection.out),
                Some(_) | None => Err(StanzaCondition::ResourceConstraint),
            };
        }
        if !self.settings.config.s2s_of(local).allows(remote) {
            return Err(StanzaCondition::RemoteServerNotFound);
        }
        let full = StanzaCondition::ResourceConstraint;
        let link = self.links.find_or_make(now_ms, hash, local, remote);
        let link = link.ok_or(full)?;
        match link.state {
            State::Failed(until_ms, condition) if now_ms < until_ms && link.theirs.is_empty() => {
                return Err(condition);
            }
            State::Failed(..) => link.state = State::Idle,
            State::Idle | State::Dialling(_) | State::Opening(_) | State::Ready(_) => {}
        }
        self.links.want(hash, local, remote);
        self.links.queue(hash, local, remote, bytes).ok_or(full)
    }

    fn is_sending(&self, key: Key) -> bool {
        let connection = self.slab.get(key);
        connection.is_some_and(|connection| connection.sending)
    }

    fn kept_most(&self, rule: &str, who: Who<'_>) -> u64 {
        self.settings.config.kept_most(rule, who.domain, who)
    }

    fn allows(&self, rule: &str, who: Who<'_>) -> bool {
        self.settings.config.allows(rule, who.domain, who)
    }
}
