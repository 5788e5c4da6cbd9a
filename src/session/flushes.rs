//! Kept messages (XEP-0160) on their way from the store to sessions that have become available: what
//! `modules::kept` remembers of each. Found by user for each message that comes meanwhile, and by
//! connection for each send that ends.
//!
//! Invariant: there is one of a user, and one of a connection.

use std::collections::HashMap;
use std::collections::VecDeque;

use crate::base::key::Key;
use crate::proto::stanza::Type;
use crate::store::offline::OfflineRow;

/// Kept messages on their way from the store to a session that has just become available.
#[derive(Debug)]
pub struct Flush {
    /// The session's connection.
    pub connection: Key,
    /// Whose.
    pub bare: Box<str>,
    /// The resource.
    pub resource: Box<str>,
    /// The last message that was written to the connection.
    pub written: u64,
    /// Those that the store gave and that are not written yet.
    pub rows: VecDeque<OfflineRow>,
    /// Sends of the connection that end before it is in the kernel.
    pub sends_due: u8,
    /// The store is asked for the next ones.
    pub asked: bool,
    /// The session wants no more of them: what was written is still to be marked. The resource is the
    /// one that goes on then; empty where there is none.
    pub left: bool,
    /// Since it was asked last, one more was kept.
    pub kept: bool,
    /// What came meanwhile and is to come behind the rest.
    pub held: Vec<Held>,
    /// Bytes of it.
    pub held_bytes: usize,
}

/// A message that waits for those before it.
#[derive(Debug)]
pub struct Held {
    /// What it is.
    pub kind: Type,
    /// The resource that it is addressed to, if it is to one.
    pub resource: Option<Box<str>>,
    /// The message.
    pub stanza: Box<[u8]>,
}

impl Flush {
    /// Nothing was written yet; the store is asked.
    pub fn new(connection: Key, bare: &str, resource: &str) -> Self {
        Self {
            connection,
            bare: bare.into(),
            resource: resource.into(),
            written: 0,
            rows: VecDeque::new(),
            sends_due: 0,
            asked: true,
            left: false,
            kept: false,
            held: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Whether all that was written is with the kernel.
    pub fn is_due(&self) -> bool {
        !self.asked && self.sends_due == 0
    }
}

/// All of a shard; `modules::kept` bounds how many. Lives on: one shard.
#[derive(Debug, Default)]
pub struct Flushes {
    by_connection: HashMap<Key, Flush>,
    by_user: HashMap<Box<str>, Key>,
    due: Vec<Key>,
}

impl Flushes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_connection.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_connection.is_empty()
    }

    /// That of a user.
    pub fn of_user(&mut self, bare: &str) -> Option<&mut Flush> {
        let connection = self.by_user.get(bare)?;
        self.by_connection.get_mut(connection)
    }

    /// That of a connection.
    pub fn of_connection(&mut self, connection: Key) -> Option<&mut Flush> {
        self.by_connection.get_mut(&connection)
    }

    /// One more, of a user and a connection that have none.
    pub fn begin(&mut self, flush: Flush) {
        self.by_user.insert(flush.bare.clone(), flush.connection);
        self.by_connection.insert(flush.connection, flush);
    }

    /// One less.
    pub fn end(&mut self, connection: Key) -> Option<Flush> {
        let flush = self.by_connection.remove(&connection)?;
        self.by_user.remove(&flush.bare);
        Some(flush)
    }

    /// A send of a connection is in the kernel's hands whole.
    pub fn note_sent(&mut self, connection: Key) {
        if let Some(flush) = self.by_connection.get_mut(&connection) {
            flush.sends_due = flush.sends_due.saturating_sub(1);
            if flush.is_due() {
                self.due.push(connection);
            }
        }
    }

    /// Nothing has to be waited for.
    pub fn note_due(&mut self, connection: Key) {
        self.due.push(connection);
    }

    /// Whether something may have become due.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Those of which something may have become due since this was asked last.
    pub fn take_due(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn found_by_user_and_by_connection() {
        let mut flushes = Flushes::default();
        flushes.begin(Flush::new(key(1), "a@x", "r"));
        flushes.begin(Flush::new(key(2), "b@x", "r"));
        assert_eq!(flushes.len(), 2);
        assert_eq!(flushes.of_user("a@x").map(|f| f.connection), Some(key(1)));
        assert!(flushes.of_user("c@x").is_none() && flushes.of_connection(key(3)).is_none());
        assert!(
            flushes
                .end(key(1))
                .is_some_and(|flush| &*flush.bare == "a@x")
        );
        assert!(flushes.of_user("a@x").is_none() && flushes.end(key(1)).is_none());
        assert!(flushes.of_connection(key(2)).is_some() && !flushes.is_empty());
    }

    #[test]
    fn due_when_the_last_send_has_ended() {
        let mut flushes = Flushes::default();
        flushes.begin(Flush::new(key(1), "a@x", "r"));
        flushes.note_sent(key(1));
        assert!(flushes.take_due().is_empty(), "the store is asked");
        if let Some(flush) = flushes.of_connection(key(1)) {
            (flush.asked, flush.sends_due) = (false, 2);
        }
        flushes.note_sent(key(1));
        flushes.note_sent(key(2));
        assert!(flushes.take_due().is_empty());
        flushes.note_sent(key(1));
        assert!(flushes.has_due());
        assert_eq!(flushes.take_due(), [key(1)]);
        assert!(!flushes.has_due() && flushes.take_due().is_empty());
    }
}
