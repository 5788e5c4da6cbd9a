//! Whose rosters a shard has in memory: those of users with a session, and for a moment those of
//! users without one to whom somebody says something about a subscription.

use hashbrown::HashTable;

use crate::session::roster::Roster;

/// Stanzas that wait for one roster to be read; more are dropped, as if the network had lost them.
pub const WAITING_MAX: usize = 64;
/// Rosters of users without a session that are read at once; what is for others is dropped.
pub const LOADING_MAX: usize = 4_096;

#[derive(Debug)]
enum Entry {
    /// The store was asked; these stanzas wait, and perhaps a login.
    Loading(Vec<Box<[u8]>>, bool),
    Loaded(Roster),
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

/// The rosters. Lives on: one shard.
#[derive(Debug, Default)]
pub struct Rosters {
    slots: HashTable<Slot>,
    loading: usize,
}

impl Rosters {
    /// The roster of a user, if it is here.
    pub fn roster(&self, hash: u64, bare: &str) -> Option<&Roster> {
        match &*self.slots.find(hash, |slot| &*slot.bare == bare)?.entry {
            Entry::Loaded(roster) => Some(roster),
            Entry::Loading(..) => None,
        }
    }

    /// The same, to change it.
    pub fn roster_mut(&mut self, hash: u64, bare: &str) -> Option<&mut Roster> {
        let slot = self.slots.find_mut(hash, |slot| &*slot.bare == bare)?;
        match &mut *slot.entry {
            Entry::Loaded(roster) => Some(roster),
            Entry::Loading(..) => None,
        }
    }

    /// Wishes for a roster; `stanza` waits until it is here, or without one a login does.
    pub fn wish(
        &mut self,
        hash: u64,
        bare: &str,
        stanza: Option<&[u8]>,
        hasher: impl Fn(&str) -> u64,
    ) -> Wish {
        if let Some(slot) = self.slots.find_mut(hash, |slot| &*slot.bare == bare) {
            return match &mut *slot.entry {
                Entry::Loaded(_) => Wish::Here,
                Entry::Loading(waiting, login) => match stanza {
                    None => {
                        *login = true;
                        Wish::Asked
                    }
                    Some(stanza) if waiting.len() < WAITING_MAX => {
                        waiting.push(stanza.into());
                        Wish::Asked
                    }
                    Some(_) => Wish::Full,
                },
            };
        }
        // A login waits by itself and is bounded elsewhere.
        if stanza.is_some() && self.loading >= LOADING_MAX {
            return Wish::Full;
        }
        self.loading += 1;
        let slot = Slot {
            bare: bare.into(),
            entry: Box::new(Entry::Loading(
                stanza.into_iter().map(Box::from).collect(),
                stanza.is_none(),
            )),
        };
        self.slots
            .insert_unique(hash, slot, |slot| hasher(&slot.bare));
        Wish::Ask
    }

    /// A roster was read; what has waited for it is returned, and whether a login does.
    pub fn loaded(&mut self, hash: u64, bare: &str, roster: Roster) -> (Vec<Box<[u8]>>, bool) {
        let Some(slot) = self.slots.find_mut(hash, |slot| &*slot.bare == bare) else {
            return (Vec::new(), false);
        };
        match std::mem::replace(&mut *slot.entry, Entry::Loaded(roster)) {
            Entry::Loading(waiting, login) => {
                self.loading -= 1;
                (waiting, login)
            }
            Entry::Loaded(_) => (Vec::new(), false),
        }
    }

    /// Forgets a roster, and what waits for it.
    pub fn forget(&mut self, hash: u64, bare: &str) {
        if let Ok(entry) = self.slots.find_entry(hash, |slot| &*slot.bare == bare) {
            let (slot, _) = entry.remove();
            self.loading -= usize::from(matches!(*slot.entry, Entry::Loading(..)));
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

    fn hash(bare: &str) -> u64 {
        bare.bytes().map(u64::from).sum()
    }

    fn wish(rosters: &mut Rosters, bare: &str, stanza: Option<&[u8]>) -> Wish {
        rosters.wish(hash(bare), bare, stanza, hash)
    }

    #[test]
    fn what_waits_comes_out_in_order() {
        let mut rosters = Rosters::default();
        assert_eq!(wish(&mut rosters, "a@x", Some(b"1")), Wish::Ask);
        assert_eq!(wish(&mut rosters, "a@x", Some(b"2")), Wish::Asked);
        assert_eq!(wish(&mut rosters, "a@x", None), Wish::Asked);
        assert!(rosters.roster(hash("a@x"), "a@x").is_none());
        let waited = rosters.loaded(hash("a@x"), "a@x", Roster::default());
        let two: Vec<Box<[u8]>> = vec![Box::from(*b"1"), Box::from(*b"2")];
        assert_eq!(waited, (two, true));
        assert_eq!(wish(&mut rosters, "a@x", Some(b"3")), Wish::Here);
        assert!(rosters.roster(hash("a@x"), "a@x").is_some());
        rosters.forget(hash("a@x"), "a@x");
        assert!(rosters.is_empty());
        assert_eq!(wish(&mut rosters, "a@x", None), Wish::Ask);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut rosters = Rosters::default();
        for _ in 0..WAITING_MAX {
            assert_ne!(wish(&mut rosters, "a@x", Some(b"1")), Wish::Full);
        }
        assert_eq!(wish(&mut rosters, "a@x", Some(b"1")), Wish::Full);
        assert_eq!(wish(&mut rosters, "a@x", None), Wish::Asked);
        for n in 1..LOADING_MAX {
            assert_eq!(wish(&mut rosters, &format!("{n}"), Some(b"1")), Wish::Ask);
        }
        assert_eq!(wish(&mut rosters, "b@x", Some(b"1")), Wish::Full);
        assert_eq!(wish(&mut rosters, "b@x", None), Wish::Ask);
        rosters.forget(hash("a@x"), "a@x");
        rosters.forget(hash("b@x"), "b@x");
        assert_eq!(wish(&mut rosters, "c@x", Some(b"1")), Wish::Ask);
    }
}
