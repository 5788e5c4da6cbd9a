//! Whose rosters a shard has in memory: those of users with a session, and for a moment those of
//! users without one to whom somebody says something about a subscription.
//!
//! One change of a roster is written at a time, and memory follows the store: what is seen here is on
//! the disk. Meanwhile whatever would change the roster, or must not overtake the change, waits in
//! its slot, in order. What waits and why is the business of `modules::line`.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::base::key::Key;
use crate::proto::stanza::Type;
use crate::session::blocklist::Blocklist;
use crate::session::roster::Roster;
use crate::session::roster::Wanted;
use crate::session::subscription::Verb;

/// Stanzas of others that wait for one roster; more are dropped, as if the network had lost them. A
/// gateway that brings its contacts along sends some hundreds at once, and a change takes some
/// milliseconds.
pub const WAITING_MAX: usize = 1024;
/// Bytes of all that wait on a core.
pub const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rosters of users without a session that are read at once; what is for others is dropped.
pub const LOADING_MAX: usize = 4_096;

/// A stanza of somebody else that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Deed {
    /// The bare JID of who sends it.
    pub from: Box<str>,
    /// What it is.
    pub kind: Type,
    /// The resource that it is addressed to, if it is to one.
    pub resource: Option<Box<str>>,
    /// The stanza.
    pub stanza: Box<[u8]>,
}

/// What a session of the user wants of the roster.
#[derive(Clone, Debug)]
pub struct Own {
    /// The session's connection: it is not read while this waits or is written, so that nothing
    /// overtakes.
    pub connection: Key,
    /// The full JID.
    pub from: Box<str>,
    /// The address that was asked, as it was written.
    pub target: Option<Box<str>>,
    /// The id of the stanza.
    pub id: Box<str>,
    /// What.
    pub what: What,
}

/// The two ways in which a user changes the roster.
#[derive(Clone, Debug)]
pub enum What {
    /// Section 2.3 and its likes: a contact is set or removed.
    Set(Wanted),
    /// Section 3: a word about a subscription goes to a contact.
    Say {
        /// Which.
        verb: Verb,
        /// To whom, a prepared bare JID.
        jid: Box<str>,
        /// What it is.
        kind: Type,
        /// The stanza as it is sent on.
        stanza: Box<[u8]>,
    },
}

/// A change that is being written.
#[derive(Debug)]
struct Change {
    /// About whom.
    contact: Box<str>,
    /// The connection that waits for it.
    by: Option<Key>,
}

#[derive(Debug, Default)]
struct Entry {
    /// None until the store has said.
    roster: Option<Roster>,
    /// How many wait to log in: it stays until they have.
    logins: u32,
    change: Option<Change>,
    /// Whom the user blocks, where no session knows it.
    blocked: Option<Blocklist>,
    own: VecDeque<Own>,
    deeds: VecDeque<Deed>,
}

#[derive(Debug)]
struct Slot {
    bare: Box<str>,
    entry: Box<Entry>,
}

/// What became of a wish to have a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is here.
    Here,
    /// The store was asked before.
    Asked,
    /// The store is to be asked now.
    Ask,
    /// Too many wait.
    Full,
}

/// What is due next.
#[derive(Debug)]
pub enum Due {
    /// Of one of the user's sessions.
    Own(Own),
    /// Of somebody else.
    Deed(Deed),
}

/// The rosters. Lives on: one shard.
#[derive(Debug, Default)]
pub struct Rosters {
    slots: HashTable<Slot>,
    loading: usize,
    /// Slots where something waits or is written.
    busy: usize,
    waiting_bytes: usize,
}

impl Entry {
    fn is_busy(&self) -> bool {
        self.change.is_some() || !self.deeds.is_empty() || !self.own.is_empty()
    }
}

impl Rosters {
    fn entry(&self, hash: u64, bare: &str) -> Option<&Entry> {
        let slot = self.slots.find(hash, |slot| &*slot.bare == bare)?;
        Some(&slot.entry)
    }

    /// Changes an entry and counts whether it is busy.
    fn with<T>(
        &mut self,
        hash: u64,
        bare: &str,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        let slot = self.slots.find_mut(hash, |slot| &*slot.bare == bare)?;
        let before = slot.entry.is_busy();
        let result = change(&mut slot.entry);
        self.busy = self.busy + usize::from(slot.entry.is_busy()) - usize::from(before);
        Some(result)
    }

    /// The roster of a user, if it is here.
    pub fn roster(&self, hash: u64, bare: &str) -> Option<&Roster> {
        self.entry(hash, bare)?.roster.as_ref()
    }

    /// The same, to change it.
    pub fn roster_mut(&mut self, hash: u64, bare: &str) -> Option<&mut Roster> {
        let slot = self.slots.find_mut(hash, |slot| &*slot.bare == bare)?;
        slot.entry.roster.as_mut()
    }

    /// Wishes for a roster: for a login, or because somebody says something.
    pub fn wish(
        &mut self,
        hash: u64,
        bare: &str,
        login: bool,
        hasher: impl Fn(&str) -> u64,
    ) -> Wish {
        if let Some(slot) = self.slots.find_mut(hash, |slot| &*slot.bare == bare) {
            slot.entry.logins += u32::from(login);
            return match slot.entry.roster {
                Some(_) => Wish::Here,
                None => Wish::Asked,
            };
        }
        // A login waits by itself and is bounded elsewhere.
        if !login && self.loading >= LOADING_MAX {
            return Wish::Full;
        }
        self.loading += 1;
        let slot = Slot {
            bare: bare.into(),
            entry: Box::new(Entry {
                logins: u32::from(login),
                ..Entry::default()
            }),
        };
        self.slots
            .insert_unique(hash, slot, |slot| hasher(&slot.bare));
        Wish::Ask
    }

    /// A roster was read, for the first time or anew. True where a login waits for it.
    pub fn loaded(&mut self, hash: u64, bare: &str, roster: Roster) -> bool {
        let read = self.with(hash, bare, |entry| {
            let is_first = entry.roster.replace(roster).is_none();
            (is_first, is_first && entry.logins > 0)
        });
        let (is_first, login) = read.unwrap_or_default();
        self.loading -= usize::from(is_first);
        login
    }

    /// A login that waited for the roster waits no longer.
    pub fn login_over(&mut self, hash: u64, bare: &str) {
        self.with(hash, bare, |entry| {
            entry.logins = entry.logins.saturating_sub(1);
        });
    }

    /// Whom a user blocks, for as long as no session knows it.
    pub fn note_blocked(&mut self, hash: u64, bare: &str, blocked: &Blocklist) {
        self.with(hash, bare, |entry| {
            entry.blocked = (!blocked.is_empty()).then(|| blocked.clone());
        });
    }

    /// Whether a user without a session blocks an address.
    pub fn blocks(&self, hash: u64, bare: &str, address: &str) -> bool {
        let blocked = self.entry(hash, bare).and_then(|e| e.blocked.as_ref());
        blocked.is_some_and(|list| list.blocks(address))
    }

    /// Whether anything waits or is written at all.
    pub fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Whether what concerns a roster has to wait for what came before.
    pub fn waits(&self, hash: u64, bare: &str) -> bool {
        let entry = self.entry(hash, bare);
        entry.is_some_and(|entry| entry.roster.is_none() || entry.is_busy())
    }

    /// Whether a change is being written.
    pub fn is_writing(&self, hash: u64, bare: &str) -> bool {
        let entry = self.entry(hash, bare);
        entry.is_some_and(|entry| entry.change.is_some())
    }

    /// Whether a stanza of `from`, a bare JID, has to wait for what came from there before.
    pub fn follows(&self, hash: u64, bare: &str, from: &str) -> bool {
        self.entry(hash, bare).is_some_and(|entry| {
            let change = entry.change.as_ref();
            change.is_some_and(|change| *change.contact == *from)
                || entry.deeds.iter().any(|deed| *deed.from == *from)
        })
    }

    /// Whether anything waits or is written for one user.
    pub fn is_busy_with(&self, hash: u64, bare: &str) -> bool {
        self.entry(hash, bare).is_some_and(Entry::is_busy)
    }

    /// A change about a contact is being written; a connection waits for it.
    pub fn begin(&mut self, hash: u64, bare: &str, contact: &str, by: Option<Key>) {
        self.with(hash, bare, |entry| {
            entry.change = Some(Change {
                contact: contact.into(),
                by,
            });
        });
    }

    /// The change is written, or will never be: the connection that waited for it, if any.
    pub fn finish(&mut self, hash: u64, bare: &str) -> Option<Key> {
        self.with(hash, bare, |entry| entry.change.take())??.by
    }

    /// Something of a session waits: no more than there are sessions.
    pub fn push_own(&mut self, hash: u64, bare: &str, own: Own) {
        self.with(hash, bare, |entry| entry.own.push_back(own));
    }

    /// Something of somebody else waits; false where too much does.
    pub fn push(&mut self, hash: u64, bare: &str, deed: Deed) -> bool {
        let bytes = deed.stanza.len();
        if self.waiting_bytes + bytes > WAITING_BYTES_MAX {
            return false;
        }
        let pushed = self.with(hash, bare, |entry| {
            let has_room = entry.deeds.len() < WAITING_MAX;
            if has_room {
                entry.deeds.push_back(deed);
            }
            has_room
        });
        let pushed = pushed.unwrap_or(false);
        self.waiting_bytes += bytes * usize::from(pushed);
        pushed
    }

    /// What is due next, once the roster is here and nothing is being written. The user's own comes
    /// first: others must not keep the user from the own roster.
    pub fn next(&mut self, hash: u64, bare: &str) -> Option<Due> {
        let due = self.with(hash, bare, |entry| {
            if entry.roster.is_none() || entry.change.is_some() {
                return None;
            }
            let own = entry.own.pop_front().map(Due::Own);
            own.or_else(|| entry.deeds.pop_front().map(Due::Deed))
        })??;
        if let Due::Deed(deed) = &due {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(deed.stanza.len());
        }
        Some(due)
    }

    /// Forgets a roster, unless something is under way for it.
    pub fn release(&mut self, hash: u64, bare: &str) {
        let entry = self.entry(hash, bare);
        if entry.is_some_and(|entry| !entry.is_busy() && entry.logins == 0) {
            self.forget(hash, bare);
        }
    }

    /// Forgets a roster, and what waits for it.
    pub fn forget(&mut self, hash: u64, bare: &str) {
        if let Ok(entry) = self.slots.find_entry(hash, |slot| &*slot.bare == bare) {
            let (slot, _) = entry.remove();
            self.loading -= usize::from(slot.entry.roster.is_none());
            self.busy -= usize::from(slot.entry.is_busy());
            let bytes: usize = slot.entry.deeds.iter().map(|d| d.stanza.len()).sum();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stanza::PresenceType;

    fn hash(bare: &str) -> u64 {
        bare.bytes().map(u64::from).sum()
    }

    fn wish(rosters: &mut Rosters, bare: &str, login: bool) -> Wish {
        rosters.wish(hash(bare), bare, login, hash)
    }

    fn deed(from: &str, stanza: &[u8]) -> Deed {
        Deed {
            from: from.into(),
            kind: Type::Presence(PresenceType::Subscribe),
            resource: None,
            stanza: stanza.into(),
        }
    }

    fn next(rosters: &mut Rosters) -> Option<Box<[u8]>> {
        match rosters.next(hash("a@x"), "a@x")? {
            Due::Own(_) => None,
            Due::Deed(deed) => Some(deed.stanza),
        }
    }

    #[test]
    fn what_waits_comes_out_in_order_one_change_after_the_other() {
        let mut rosters = Rosters::default();
        let at = hash("a@x");
        assert_eq!(wish(&mut rosters, "a@x", false), Wish::Ask);
        assert!(rosters.push(at, "a@x", deed("b@x", b"1")));
        assert!(rosters.push(at, "a@x", deed("c@x", b"2")));
        assert_eq!(wish(&mut rosters, "a@x", true), Wish::Asked);
        assert!(rosters.roster(at, "a@x").is_none() && rosters.is_busy());
        assert!(rosters.next(at, "a@x").is_none(), "it is not read yet");
        assert!(rosters.loaded(at, "a@x", Roster::default()), "a login");
        assert_eq!(next(&mut rosters), Some(Box::from(*b"1")));
        rosters.begin(at, "a@x", "b@x", None);
        assert!(rosters.next(at, "a@x").is_none(), "one is being written");
        assert!(rosters.follows(at, "a@x", "b@x") && rosters.follows(at, "a@x", "c@x"));
        assert!(!rosters.follows(at, "a@x", "d@x"));
        rosters.release(at, "a@x");
        assert!(rosters.roster(at, "a@x").is_some(), "it is still used");
        assert_eq!(rosters.finish(at, "a@x"), None);
        assert_eq!(next(&mut rosters), Some(Box::from(*b"2")));
        assert!(!rosters.is_busy() && !rosters.waits(at, "a@x"));
        assert_eq!(wish(&mut rosters, "a@x", false), Wish::Here);
        rosters.release(at, "a@x");
        assert!(rosters.roster(at, "a@x").is_some(), "a login needs it");
        rosters.login_over(at, "a@x");
        rosters.release(at, "a@x");
        assert!(rosters.is_empty());
        assert_eq!(wish(&mut rosters, "a@x", true), Wish::Ask);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut rosters = Rosters::default();
        let at = hash("a@x");
        wish(&mut rosters, "a@x", false);
        for _ in 0..WAITING_MAX {
            assert!(rosters.push(at, "a@x", deed("b@x", b"1")));
        }
        assert!(!rosters.push(at, "a@x", deed("b@x", b"1")));
        assert_eq!(rosters.waiting_bytes, WAITING_MAX);
        assert_eq!(wish(&mut rosters, "a@x", true), Wish::Asked);
        for n in 1..LOADING_MAX {
            assert_eq!(wish(&mut rosters, &format!("{n}"), false), Wish::Ask);
        }
        assert_eq!(wish(&mut rosters, "b@x", false), Wish::Full);
        assert_eq!(wish(&mut rosters, "b@x", true), Wish::Ask);
        let large = vec![0; WAITING_BYTES_MAX - WAITING_MAX];
        assert!(rosters.push(hash("b@x"), "b@x", deed("a@x", &large)));
        assert!(!rosters.push(hash("b@x"), "b@x", deed("a@x", b"1")));
        rosters.forget(at, "a@x");
        rosters.forget(hash("b@x"), "b@x");
        assert_eq!((rosters.waiting_bytes, rosters.busy), (0, 0));
        assert_eq!(wish(&mut rosters, "c@x", false), Wish::Ask);
    }
}
