//! A user's contacts in memory, as far as a shard needs them (RFC 6121 section 2), and how one is
//! written down in the store.
//!
//! Invariant: names are prepared bare JIDs, in order, each once.

use crate::session::subscription::State;

/// Contacts of one user, those who only ask among them.
pub const ROSTER_ITEMS_MAX: usize = 2_000;
/// Contacts who have asked and are not in the roster: a flood of them must not fill it.
pub const ROSTER_REQUESTS_MAX: usize = 500;
/// Bytes of all contacts of one user as they are stored.
pub const ROSTER_BYTES_MAX: usize = 1024 * 1024;
/// Groups of one contact.
pub const GROUPS_MAX: usize = 64;
/// Bytes of a name or a group.
pub const TEXT_BYTES_MAX: usize = 1023;

/// The layout of stored contacts.
const LAYOUT: u8 = 1;

/// What a roster set asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The contact is there, with this name and these groups.
    Set {
        /// Prepared bare JID.
        jid: Box<str>,
        /// Empty for none.
        name: Box<str>,
        /// Each once.
        groups: Vec<Box<str>>,
    },
    /// The contact is there no longer.
    Remove(Box<str>),
}

/// A contact. Lives on: the owner shard of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Prepared bare JID.
    pub jid: Box<str>,
    /// What the user calls the contact; empty for nothing.
    pub name: Box<str>,
    /// Groups that the user has put the contact in.
    pub groups: Vec<Box<str>>,
    /// Subscriptions.
    pub state: State,
    /// Whether the user has the contact in the roster; if not, there is only a request.
    pub listed: bool,
    /// The contact's request as it came, while it waits for an answer.
    pub request: Box<[u8]>,
}

/// All contacts of a user. Lives on: the owner shard of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    items: Vec<Item>,
    /// Moves with every change that the user sees (section 2.6).
    pub version: u64,
}

impl Roster {
    /// From what is stored: names and values; the empty name has the version. None where something
    /// is damaged.
    pub fn decode<'a>(things: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Self> {
        let mut roster = Self::default();
        for (name, value) in things {
            match name {
                "" => roster.version = u64::from_be_bytes(value.try_into().ok()?),
                _ => roster.items.push(Item::decode(name, value)?),
            }
        }
        roster.items.sort_unstable_by(|a, b| a.jid.cmp(&b.jid));
        Some(roster)
    }

    /// All, in the order of their addresses.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The contact with this bare JID.
    pub fn item(&self, jid: &str) -> Option<&Item> {
        let place = self.items.binary_search_by(|item| (*item.jid).cmp(jid));
        self.items.get(place.ok()?)
    }

    /// The subscriptions with this bare JID.
    pub fn state(&self, jid: &str) -> State {
        self.item(jid).map(|item| item.state).unwrap_or_default()
    }

    /// Whether one more contact fits.
    pub fn has_room(&self, listed: bool) -> bool {
        let requests = || self.items.iter().filter(|item| !item.listed).count();
        self.items.len() < ROSTER_ITEMS_MAX && (listed || requests() < ROSTER_REQUESTS_MAX)
    }

    /// Puts a contact in place of what was there.
    pub fn put(&mut self, item: Item) {
        match self.items.binary_search_by(|old| old.jid.cmp(&item.jid)) {
            Ok(place) => {
                if let Some(old) = self.items.get_mut(place) {
                    *old = item;
                }
            }
            Err(place) => self.items.insert(place, item),
        }
    }

    /// Removes a contact.
    pub fn remove(&mut self, jid: &str) {
        if let Ok(place) = self.items.binary_search_by(|item| (*item.jid).cmp(jid)) {
            self.items.remove(place);
        }
    }
}

impl Item {
    /// A contact about whom nothing is known yet.
    pub fn new(jid: &str) -> Self {
        Self {
            jid: jid.into(),
            ..Self::default()
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_nothing(&self) -> bool {
        !self.listed && self.state == State::default()
    }

    /// The value that is stored under its address.
    pub fn encode(&self) -> Box<[u8]> {
        let facts = [
            self.state.to,
            self.state.from,
            self.state.asked,
            self.state.wanted,
            self.state.approved,
            self.listed,
        ];
        let flags = facts
            .iter()
            .rev()
            .fold(0, |flags, fact| flags << 1 | u8::from(*fact));
        let mut bytes = vec![LAYOUT, flags, self.groups.len() as u8];
        for text in std::iter::once(&self.name).chain(&self.groups) {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.request);
        bytes.into_boxed_slice()
    }

    fn decode(jid: &str, bytes: &[u8]) -> Option<Self> {
        let [LAYOUT, flags, groups, rest @ ..] = bytes else {
            return None;
        };
        let fact = |bit: u8| flags & (1 << bit) != 0;
        let (name, mut rest) = text(rest)?;
        let mut item = Self {
            jid: jid.into(),
            name: name.into(),
            groups: Vec::with_capacity(usize::from(*groups)),
            state: State {
                to: fact(0),
                from: fact(1),
                asked: fact(2),
                wanted: fact(3),
                approved: fact(4),
            },
            listed: fact(5),
            request: [].into(),
        };
        for _ in 0..*groups {
            let (group, behind) = text(rest)?;
            item.groups.push(group.into());
            rest = behind;
        }
        item.request = rest.into();
        Some(item)
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

// Lengths are stored in 16 bits, the number of groups in eight.
const _: () = assert!(TEXT_BYTES_MAX <= u16::MAX as usize && GROUPS_MAX <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items() -> impl Strategy<Value = Item> {
        let text = "[a-z\u{e9}' ]{0,12}";
        let parts = (
            "[a-z]{1,8}@x",
            text,
            prop::collection::vec(text, 0..5),
            any::<[bool; 6]>(),
            prop::collection::vec(any::<u8>(), 0..40),
        );
        parts.prop_map(|(jid, name, groups, facts, request)| {
            let [to, from, asked, wanted, approved, listed] = facts;
            Item {
                jid: jid.into(),
                name: name.into(),
                groups: groups.into_iter().map(String::into_boxed_str).collect(),
                state: State {
                    to,
                    from,
                    asked,
                    wanted,
                    approved,
                },
                listed,
                request: request.into(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(item in items()) {
            let bytes = item.encode();
            prop_assert_eq!(Item::decode(&item.jid, &bytes), Some(item));
        }

        #[test]
        fn any_bytes_are_a_contact_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Item::decode("a@x", &bytes);
        }

        #[test]
        fn a_roster_is_a_map(changes in prop::collection::vec((items(), any::<bool>()), 0..40)) {
            let mut roster = Roster::default();
            let mut twin = std::collections::BTreeMap::new();
            for (item, puts) in changes {
                if puts {
                    twin.insert(item.jid.clone(), item.clone());
                    roster.put(item);
                } else {
                    twin.remove(&item.jid);
                    roster.remove(&item.jid);
                }
            }
            prop_assert!(roster.items().iter().eq(twin.values()));
            for (jid, item) in &twin {
                prop_assert_eq!(roster.item(jid), Some(item));
            }
            let stored: Vec<_> = twin.iter().map(|(jid, item)| (jid, item.encode())).collect();
            let read = Roster::decode(stored.iter().map(|(jid, bytes)| (&***jid, &**bytes)));
            prop_assert_eq!(read, Some(roster));
        }
    }

    #[test]
    fn requests_of_strangers_leave_room_for_contacts() {
        let mut roster = Roster::default();
        for n in 0..ROSTER_REQUESTS_MAX {
            assert!(roster.has_room(false));
            roster.put(Item::new(&format!("{n}@x")));
        }
        assert!(!roster.has_room(false) && roster.has_room(true));
    }
}
