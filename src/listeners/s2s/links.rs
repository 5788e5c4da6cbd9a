//! The ways to other domains: one link for each pair of domains, on the shard that owns the remote
//! one.
//!
//! A link outlives its streams: what is sent while there is none waits here, and what could not be
//! sent goes back to its senders from here. This file has the table and its bounds; [`super::outgoing`]
//! carries out what the table wants.

use std::hash::Hash;
use std::hash::Hasher;

use hashbrown::HashTable;

use crate::base::key::Key;
use crate::net::resolve::Target;
use crate::proto::s2s::Pair;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::stanza::error::StanzaCondition;

/// Bytes of stanzas that wait for one stream to be there: some thousand messages.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// The same over all links of a shard.
pub const QUEUES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Links of a shard, those that only remember a failure among them. A link has some 300 bytes.
pub const LINKS_MAX: usize = 65_536;
/// Links of a shard that may be connecting at once. Who wants more domains at once than this does
/// not write to people.
pub const CONNECTING_MAX: usize = 1024;
/// Keys that one link may be asking about.
pub const ASKED_MAX: usize = 64;
/// Streams of a peer for one pair that a link remembers: a server is a few machines at most.
pub const THEIRS_MAX: usize = 4;
/// How long a question about a key may take, in milliseconds. The whole way to the domain's server
/// lies in it: lookup, connection, TLS.
pub const ASK_MS: u64 = 30_000;
/// The least pause before somebody's question leads to the next attempt, in milliseconds: claims of
/// strangers must not have us knock at a third server's door all the time.
pub const ASK_PAUSE_MS: u64 = 500;
/// Time in which one of a domain's places after the other is tried, in milliseconds: sixteen that
/// take the connection and say nothing would have a message wait for minutes.
pub const PLACES_MS: u64 = 60_000;
/// The first pause after a failure, in milliseconds; it doubles from there.
const RETRY_FIRST_MS: u64 = 1_000;

/// Whether there is a way to the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// No stream, and nobody has asked for one.
    Idle,
    /// The background thread makes a connection; the number of the attempt.
    Dialling(u64),
    /// A stream is being negotiated, or waits for somebody who wants it.
    Opening(Key),
    /// Stanzas go there.
    Ready(Key),
    /// The last attempt has failed; until this time of the shard's clock nothing is tried.
    Failed(u64, StanzaCondition),
}

/// Somebody who asks whether a key is right.
#[derive(Debug)]
pub struct Asked {
    /// The question, as it goes over the wire.
    pub question: Dialback,
    /// The shard that asks.
    pub shard: usize,
    /// The incoming stream there.
    pub connection: Key,
    /// It is on its way.
    pub sent: bool,
    /// When it was asked. Milliseconds.
    pub since_ms: u64,
}

/// The way from one of our domains to one of others. Lives on: the owner shard of the remote domain.
#[derive(Debug)]
pub struct Link {
    /// The domains.
    pub pair: Pair,
    /// The keyed hash of the remote one.
    pub hash: u64,
    /// Where it stands.
    pub state: State,
    /// Streams that the peer has opened and on which we may send too (XEP-0288), the oldest first.
    pub theirs: Vec<Key>,
    /// Stanzas go on the first of those, and not on one of ours.
    pub on_theirs: bool,
    /// The connection that stanzas went on before, until it is known to be gone.
    pub after: Option<Key>,
    /// Stanzas that wait, one behind the other.
    pub queue: Vec<u8>,
    /// Questions about keys that are not answered.
    pub asked: Vec<Asked>,
    /// When the last attempt failed. Milliseconds.
    pub failed_ms: u64,
    /// Attempts that have failed since the last that has not.
    pub failures: u32,
    /// Where to try next if the connection turns out to be no use.
    pub rest: Vec<Target>,
    /// When the first place was tried. Milliseconds.
    pub begun_ms: u64,
    /// The peer has refused our certificate: dialback is tried alone.
    pub without_external: bool,
    /// It is in the list of links to look after.
    pub listed: bool,
}

impl Link {
    fn new(hash: u64, pair: Pair) -> Self {
        Self {
            pair,
            hash,
            state: State::Idle,
            theirs: Vec::new(),
            on_theirs: false,
            after: None,
            queue: Vec::new(),
            asked: Vec::new(),
            failed_ms: 0,
            failures: 0,
            rest: Vec::new(),
            begun_ms: 0,
            without_external: false,
            listed: false,
        }
    }

    /// Nothing would be lost with it.
    fn is_idle(&self, now_ms: u64) -> bool {
        let rests = match self.state {
            State::Idle => true,
            State::Failed(until_ms, _) => until_ms <= now_ms,
            State::Dialling(_) | State::Opening(_) | State::Ready(_) => false,
        };
        rests && self.queue.is_empty() && self.asked.is_empty() && self.theirs.is_empty()
    }

    /// The places that are left to be tried, while there is time for that.
    pub fn take_rest(&mut self, now_ms: u64) -> Vec<Target> {
        let rest = std::mem::take(&mut self.rest);
        match now_ms < self.begun_ms + PLACES_MS {
            true => rest,
            false => Vec::new(),
        }
    }

    /// The connection that stanzas go on, where there is one.
    pub fn way(&self) -> Option<Key> {
        match self.state {
            _ if self.on_theirs => self.theirs.first().copied(),
            State::Ready(key) => Some(key),
            State::Idle | State::Dialling(_) | State::Opening(_) | State::Failed(..) => None,
        }
    }

    /// Forgets connections that `is_there` does not know: a fault of ours ends one without a word.
    pub fn forget_lost(&mut self, is_there: impl Fn(Key) -> bool) {
        if let State::Ready(key) | State::Opening(key) = self.state
            && !is_there(key)
        {
            self.state = State::Idle;
        }
        if !self.theirs.is_empty() {
            let first = self.theirs.first().copied();
            self.theirs.retain(|key| is_there(*key));
            self.on_theirs &= self.theirs.first().copied() == first;
        }
    }
}

/// Names a link in notes and lists.
pub type Name = (u64, Pair);

/// All links of a shard. Lives on: one shard.
#[derive(Default)]
pub struct Links {
    table: HashTable<Link>,
    /// Links that want something, in the order in which they began to.
    wanting: Vec<Name>,
    /// Links that will want something, each once, with the time from which on.
    delayed: Vec<(u64, Name)>,
    /// Connections whose end links wait for, each with its link; no more than there are links.
    leaving: Vec<(Key, Name)>,
    /// Bytes in all queues.
    queued: usize,
    /// Links that are being connected.
    pub connecting: usize,
    attempts: u64,
}

impl Links {
    /// The link of a pair.
    pub fn get_mut(&mut self, hash: u64, local: &str, remote: &str) -> Option<&mut Link> {
        self.table
            .find_mut(hash, |link| link.pair.is(local, remote))
    }

    /// The same, made where there is none and there is room.
    pub fn find_or_make(
        &mut self,
        now_ms: u64,
        hash: u64,
        local: &str,
        remote: &str,
    ) -> Option<&mut Link> {
        let found = self.table.find(hash, |link| link.pair.is(local, remote));
        if found.is_none() {
            if self.table.len() >= LINKS_MAX {
                self.table.retain(|link| !link.is_idle(now_ms));
            }
            if self.table.len() >= LINKS_MAX {
                return None;
            }
            let link = Link::new(hash, Pair::new(local, remote));
            self.table.insert_unique(hash, link, |link| link.hash);
        }
        self.get_mut(hash, local, remote)
    }

    /// The link has something to do.
    pub fn want(&mut self, hash: u64, local: &str, remote: &str) {
        let Some(link) = self.get_mut(hash, local, remote) else {
            return;
        };
        if !link.listed {
            link.listed = true;
            let name = (hash, link.pair.clone());
            self.wanting.push(name);
        }
    }

    /// Links that have something to do; they are taken out of the list.
    pub fn take_wanting(&mut self) -> Vec<Name> {
        let names = std::mem::take(&mut self.wanting);
        for (hash, pair) in &names {
            if let Some(link) = self.get_mut(*hash, &pair.local, &pair.remote) {
                link.listed = false;
            }
        }
        names
    }

    /// The link has something to do, but not before that time.
    pub fn want_later(&mut self, due_ms: u64, name: &Name) {
        if !self.delayed.iter().any(|(_, delayed)| delayed == name) {
            self.delayed.push((due_ms, name.clone()));
        }
    }

    /// When the first link will want something.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.delayed.iter().map(|(due_ms, _)| *due_ms).min()
    }

    /// The link has something to do when this connection is gone.
    pub fn await_end(&mut self, key: Key, name: &Name) {
        if !self.leaving.iter().any(|(_, waiting)| waiting == name) {
            self.leaving.push((key, name.clone()));
        }
    }

    /// A connection is gone.
    pub fn gone(&mut self, key: Key) {
        if self.leaving.is_empty() {
            return;
        }
        let is_it = |(leaving, _): &mut (Key, Name)| *leaving == key;
        let waiting: Vec<_> = self.leaving.extract_if(.., is_it).collect();
        for (_, (hash, pair)) in waiting {
            self.want(hash, &pair.local, &pair.remote);
        }
    }

    /// Links whose time has come want something now.
    pub fn wake(&mut self, now_ms: u64) {
        if self.delayed.is_empty() {
            return;
        }
        let is_due = |(due_ms, _): &mut (u64, Name)| *due_ms <= now_ms;
        let due: Vec<_> = self.delayed.extract_if(.., is_due).collect();
        for (_, (hash, pair)) in due {
            self.want(hash, &pair.local, &pair.remote);
        }
    }

    /// True when a link has something to do.
    pub fn wants(&self) -> bool {
        !self.wanting.is_empty()
    }

    /// The queue of a link, where a stanza of about `bytes` still has room.
    pub fn queue(
        &mut self,
        hash: u64,
        local: &str,
        remote: &str,
        bytes: usize,
    ) -> Option<&mut Vec<u8>> {
        let total = self.queued;
        let link = self.get_mut(hash, local, remote)?;
        let fits = link.queue.len() + bytes <= QUEUE_BYTES_MAX && total + bytes <= QUEUES_BYTES_MAX;
        if !fits {
            return None;
        }
        self.queued += bytes;
        self.get_mut(hash, local, remote)
            .map(|link| &mut link.queue)
    }

    /// Takes out what waits for a link.
    pub fn take_queue(&mut self, name: &Name) -> Vec<u8> {
        let Some(link) = self.get_mut(name.0, &name.1.local, &name.1.remote) else {
            return Vec::new();
        };
        let queue = std::mem::take(&mut link.queue);
        self.recount();
        queue
    }

    /// Puts what was not sent in front of what has come since.
    pub fn put_back(&mut self, name: &Name, mut unsent: Vec<u8>) {
        let link = self.get_mut(name.0, &name.1.local, &name.1.remote);
        if let Some(link) = link.filter(|_| !unsent.is_empty()) {
            unsent.append(&mut link.queue);
            link.queue = unsent;
        }
        self.recount();
    }

    /// Room was counted by estimates; what is there counts from now on.
    fn recount(&mut self) {
        self.queued = self.table.iter().map(|link| link.queue.len()).sum();
    }

    /// The number of a new attempt.
    pub fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.table.iter()
    }
}

/// The pause after so many failures, in milliseconds. The pauses of several domains that went away
/// together are spread, so that they do not come back together.
pub fn pause_ms(failures: u32, longest_ms: u64, pair: &Pair) -> u64 {
    let doubled = RETRY_FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let pause = doubled.min(longest_ms.max(RETRY_FIRST_MS));
    let mut hasher = std::hash::DefaultHasher::new();
    pair.hash(&mut hasher);
    pause - hasher.finish() % (pause / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pair = Pair::new("a", "b");
        let pauses: Vec<u64> = (1..6).map(|n| pause_ms(n, 5_000, &pair)).collect();
        for (pause, whole) in pauses.iter().zip([1_000, 2_000, 4_000, 5_000, 5_000]) {
            assert!((whole * 3 / 4..=whole).contains(pause), "{pauses:?}");
        }
        assert!(pause_ms(u32::MAX, u64::MAX, &pair) > 700_000);
    }

    #[test]
    fn places_are_tried_for_a_minute() {
        let mut links = Links::default();
        let link = links.find_or_make(0, 7, "a", "b").expect("room");
        let place = Target {
            host: "c".into(),
            port: 1,
            direct_tls: false,
        };
        link.begun_ms = 5;
        for (now_ms, left) in [(5, 1), (PLACES_MS + 4, 1), (PLACES_MS + 5, 0)] {
            link.rest = vec![place.clone()];
            assert_eq!(link.take_rest(now_ms).len(), left);
            assert!(link.rest.is_empty());
        }
    }

    #[test]
    fn the_way_is_ours_or_theirs() {
        let key = |slot| Key {
            slot,
            generation: 0,
        };
        let mut links = Links::default();
        let link = links.find_or_make(0, 7, "a", "b").expect("room");
        assert_eq!(link.way(), None);
        link.theirs = vec![key(1), key(2)];
        assert_eq!((link.way(), link.is_idle(0)), (None, false));
        link.state = State::Ready(key(3));
        assert_eq!(link.way(), Some(key(3)));
        (link.state, link.on_theirs) = (State::Idle, true);
        assert_eq!(link.way(), Some(key(1)));
        link.forget_lost(|lost| lost != key(2));
        assert_eq!(link.way(), Some(key(1)));
        link.theirs.push(key(4));
        link.forget_lost(|lost| lost != key(1));
        assert_eq!((link.way(), link.theirs.len()), (None, 1));
        link.state = State::Ready(key(3));
        link.forget_lost(|lost| lost != key(3));
        assert_eq!(link.state, State::Idle);
    }

    #[test]
    fn what_comes_back_goes_first_when_the_old_way_is_gone() {
        let key = |slot| Key {
            slot,
            generation: 0,
        };
        let mut links = Links::default();
        let name = (7, Pair::new("a", "b"));
        assert!(links.find_or_make(0, 7, "a", "b").is_some());
        let queue = links.queue(7, "a", "b", 1).expect("room");
        queue.push(b'2');
        links.put_back(&name, b"1".to_vec());
        links.put_back(&name, Vec::new());
        links.await_end(key(5), &name);
        links.await_end(key(5), &name);
        links.gone(key(4));
        assert!(!links.wants());
        links.gone(key(5));
        assert_eq!(links.take_wanting(), std::slice::from_ref(&name));
        assert_eq!(links.take_queue(&name), b"12");
        links.gone(key(5));
        assert!(!links.wants());
    }

    #[test]
    fn some_links_want_something_later() {
        let mut links = Links::default();
        let name = (7, Pair::new("a", "b"));
        assert!(links.find_or_make(0, 7, "a", "b").is_some());
        links.want_later(20, &name);
        links.want_later(30, &name);
        assert_eq!(links.next_due_ms(), Some(20));
        links.wake(19);
        assert!(!links.wants());
        links.wake(20);
        assert_eq!(links.take_wanting(), [name]);
        assert_eq!(links.next_due_ms(), None);
    }

    #[test]
    fn queues_are_bounded_and_links_are_listed_once() {
        let mut links = Links::default();
        assert!(links.find_or_make(0, 7, "a", "b").is_some());
        assert!(links.queue(7, "a", "b", QUEUE_BYTES_MAX + 1).is_none());
        let queue = links.queue(7, "a", "b", 3).expect("room");
        queue.extend_from_slice(b"<m>");
        assert!(links.queue(7, "a", "b", QUEUE_BYTES_MAX - 2).is_none());
        links.want(7, "a", "b");
        links.want(7, "a", "b");
        assert!(links.wants());
        let name = (7, Pair::new("a", "b"));
        assert_eq!(links.take_wanting(), std::slice::from_ref(&name));
        assert!(!links.wants());
        assert_eq!(links.take_queue(&name), b"<m>");
        assert!(links.queue(7, "a", "b", QUEUE_BYTES_MAX).is_some());
        assert!(links.get_mut(7, "a", "c").is_none());
    }
}
