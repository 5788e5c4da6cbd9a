//! XEP-0288: streams that other servers have opened to us and on which we send too.
//!
//! What goes to a domain is written on the shard that owns it, so such a stream moves there, once, as
//! a client's does to the owner of its user. There its link uses it instead of a stream of ours,
//! unless there is one already: no stanza may overtake another because the way has changed. For the
//! same reason a new way is used when the connection of the old one is gone, and not before.

use crate::base::key::Key;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::opening::Errand;
use crate::listeners::s2s::links::Name;
use crate::listeners::s2s::links::State;
use crate::listeners::s2s::links::THEIRS_MAX;
use crate::listeners::shard::Shard;
use crate::net::ring::Ring;
use crate::proto::s2s::Pair;
use crate::proto::s2s::inbound::Inbound;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::route::owner;

impl Shard {
    /// A stream goes both ways from now on: to where the peer's domain is owned.
    pub(super) fn take_home(&mut self, key: Key, pair: &Pair) {
        let hash = self.sessions.hash(&pair.remote);
        let shard = owner(hash, self.settings.hosts.shards());
        if shard == self.number() {
            return self.adopt(key);
        }
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
            self.movers.push((key, Errand::Serve(shard)));
        }
    }

    /// Such a stream arrives from another shard.
    pub(in crate::listeners) fn come_home(&mut self, ring: &mut Ring, key: Key) {
        if self.stop_by_ms > 0 {
            let error = StreamError::new(StreamCondition::SystemShutdown);
            return self.end_with(ring, key, EndReason::Shutdown, error);
        }
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = false;
        }
        self.adopt(key);
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    /// The link of its domains may use the stream.
    fn adopt(&mut self, key: Key) {
        let Some(pair) = self.desk.slab.get(key).and_then(pair_of) else {
            return;
        };
        let hash = self.sessions.hash(&pair.remote);
        let (now_ms, links) = (self.desk.now_ms, &mut self.desk.links);
        let link = links.find_or_make(now_ms, hash, &pair.local, &pair.remote);
        let Some(link) = link.filter(|link| link.theirs.len() < THEIRS_MAX) else {
            // The peer sends on it all the same; what goes there takes another way.
            return;
        };
        link.theirs.push(key);
        let is_free = match link.state {
            State::Idle | State::Dialling(_) | State::Failed(..) => true,
            // One that only asks about keys carries no stanzas.
            State::Opening(_) => link.queue.is_empty(),
            State::Ready(_) => false,
        };
        if is_free {
            if matches!(link.state, State::Failed(..)) {
                link.state = State::Idle;
            }
            self.use_theirs(&(hash, pair));
        }
    }

    /// Stanzas go on the peer's stream, if there is one and the way that was used before is gone.
    pub(super) fn use_theirs(&mut self, name: &Name) {
        let (hash, pair) = name;
        if !self.is_settled(name) {
            return;
        }
        let slab = &self.desk.slab;
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        link.theirs.retain(|key| slab.get(*key).is_some());
        let Some(key) = link.theirs.first().copied().filter(|_| !link.on_theirs) else {
            return;
        };
        link.on_theirs = true;
        link.failures = 0;
        if let Some(connection) = slab.get(key) {
            let (local, remote) = (&pair.local, &pair.remote);
            log_of!(info, self.settings, connection, %local, %remote, "a server's own stream is used");
        }
        let queue = self.desk.links.take_queue(name);
        self.write_or_cut(key, queue);
    }

    /// True where nothing that was written for the peer can still wait on a connection that ends:
    /// what is written on another would overtake it. The link is looked after when that is over.
    pub(super) fn is_settled(&mut self, name: &Name) -> bool {
        let (hash, pair) = name;
        let slab = &self.desk.slab;
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return true;
        };
        link.after = link.after.filter(|key| slab.get(*key).is_some());
        let after = link.after;
        if let Some(key) = after {
            self.desk.links.await_end(key, name);
        }
        after.is_none()
    }

    /// A stream that another server has opened ends; its connection is still there, and more than
    /// once may be said so.
    pub(in crate::listeners) fn incoming_left(&mut self, key: Key, inbound: &Inbound) {
        let Some(pair) = inbound.both_ways() else {
            return;
        };
        let hash = self.sessions.hash(&pair.remote);
        let name = (hash, pair.clone());
        let Some(link) = self.desk.links.get_mut(hash, &pair.local, &pair.remote) else {
            return;
        };
        let Some(place) = link.theirs.iter().position(|theirs| *theirs == key) else {
            return;
        };
        link.theirs.remove(place);
        if place > 0 || !std::mem::replace(&mut link.on_theirs, false) {
            return;
        }
        link.after = Some(key);
        let cut = self.desk.slab.get(key).is_some_and(|of| of.cut);
        if cut {
            return self.fail_link(&name, StanzaCondition::RemoteServerTimeout);
        }
        self.send_anew(key, &name);
    }

    /// What was written for a peer, and was not sent, is sent in another way; where the server stops
    /// it goes before the end of the stream.
    pub(super) fn send_anew(&mut self, key: Key, name: &Name) {
        let (hash, pair) = name;
        if self.stop_by_ms > 0 {
            return;
        }
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let written = std::mem::take(&mut connection.out);
        let mut unsent = Vec::new();
        // What else was written was about that stream.
        self.each_stanza(&written, |_, _, bytes, _| unsent.extend_from_slice(bytes));
        self.desk.pool.give(written);
        self.desk.links.put_back(name, unsent);
        self.desk.links.want(*hash, &pair.local, &pair.remote);
    }
}

/// The domains of a stream that goes both ways.
fn pair_of(connection: &Connection) -> Option<Pair> {
    match &connection.stage {
        Stage::Inbound(inbound) => inbound.both_ways().cloned(),
        _ => None,
    }
}
