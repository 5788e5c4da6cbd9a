//! The table of users who have at least one session on this shard.

use std::hash::BuildHasher;
use std::hash::RandomState;

use hashbrown::HashTable;

use crate::base::key::Key;
use crate::session::blocklist::Blocklist;
use crate::session::flushes::Flushes;
use crate::session::roster::Roster;
use crate::session::rosters::Rosters;
use crate::session::rosters::Wish;

/// Entities that one session may have sent directed presence to and that will hear of its end.
pub const DIRECTED_MAX: usize = 64;

/// One bound resource. Lives on: the owner shard of its user.
#[derive(Debug)]
pub struct Session {
    /// The resource part, prepared.
    pub resource: Box<str>,
    /// The connection that it is reached through.
    pub connection: Key,
    /// The priority of its presence; None while it is not available (RFC 6121 section 4.2).
    pub priority: Option<i8>,
    /// The last presence as it was broadcast, without `to`, for those who come later.
    pub presence: Option<Box<[u8]>>,
    /// Who got directed presence and must hear of the end (RFC 6121 section 4.6.3).
    pub directed: Vec<Box<str>>,
    /// It wants copies of messages (XEP-0280).
    pub carbons: bool,
    /// It has asked for the roster and hears of its changes (RFC 6121 section 2.1.6).
    pub interested: bool,
    /// It has asked for the list of whom its user blocks and hears of changes (XEP-0191).
    pub wants_blocklist: bool,
    /// Messages may wait in the store for its user: only then the store is asked for them.
    pub may_have_kept: bool,
    order: u64,
}

/// A user with at least one session. Lives on: its owner shard.
#[derive(Debug)]
pub struct User {
    bare: Box<str>,
    sessions: Vec<Session>,
    /// Whom the user blocks; None: nobody.
    blocked: Option<Box<Blocklist>>,
}

impl User {
    /// The bare JID.
    pub fn bare(&self) -> &str {
        &self.bare
    }

    /// All bound resources, oldest first.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The same, to change them.
    pub fn sessions_mut(&mut self) -> &mut [Session] {
        &mut self.sessions
    }

    /// Whom the user blocks; None: nobody.
    pub fn blocked(&self) -> Option<&Blocklist> {
        self.blocked.as_deref()
    }

    /// The resource of that name.
    pub fn session(&self, resource: &str) -> Option<&Session> {
        self.sessions
            .iter()
            .find(|session| &*session.resource == resource)
    }

    /// The same, to change it.
    pub fn session_mut(&mut self, resource: &str) -> Option<&mut Session> {
        self.sessions
            .iter_mut()
            .find(|session| &*session.resource == resource)
    }

    /// Highest priority among the available resources that want messages (RFC 6121 8.5.2.1).
    pub fn top_priority(&self) -> Option<i8> {
        self.sessions
            .iter()
            .filter_map(|s| s.priority)
            .filter(|p| *p >= 0)
            .max()
    }
}

/// Users and sessions of one shard. Lives on: one shard.
pub struct Table {
    users: HashTable<User>,
    hasher: RandomState,
    sessions: usize,
    /// Sessions that want copies of messages: while there are none, nobody looks for them.
    carbons: usize,
    /// Users who block somebody.
    blockers: usize,
    next_order: u64,
    next_push: u64,
    keeps: u64,
    rosters: Rosters,
    /// Messages on their way from the store to sessions.
    pub flushes: Flushes,
}

impl Table {
    /// An empty table. Every shard gets the same `hasher`: it also decides who owns a user.
    pub fn new(hasher: RandomState) -> Self {
        Self {
            users: HashTable::new(),
            hasher,
            sessions: 0,
            carbons: 0,
            blockers: 0,
            next_order: 0,
            next_push: 0,
            keeps: 0,
            rosters: Rosters::default(),
            flushes: Flushes::default(),
        }
    }

    /// The keyed hash of a bare JID: a stranger picks the name, so it must not be predictable.
    pub fn hash(&self, bare: &str) -> u64 {
        self.hasher.hash_one(bare)
    }

    /// Sessions on this shard.
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    /// How many users there are on this shard.
    pub fn users_len(&self) -> usize {
        self.users.len()
    }

    /// Whether any user of this shard blocks somebody.
    pub fn has_blockers(&self) -> bool {
        self.blockers > 0
    }

    /// Changes whom a user with a session blocks.
    pub fn change_blocked(&mut self, bare: &str, change: impl FnOnce(&mut Blocklist)) {
        let hash = self.hash(bare);
        let Some(user) = self.users.find_mut(hash, |user| &*user.bare == bare) else {
            return;
        };
        let was = user.blocked.is_some();
        let mut list = user.blocked.take().unwrap_or_default();
        change(&mut list);
        self.rosters.note_blocked(hash, bare, &list);
        user.blocked = (!list.is_empty()).then_some(list);
        self.blockers = self.blockers + usize::from(user.blocked.is_some()) - usize::from(was);
    }

    /// A number that no request of the server's own to a session has had.
    pub fn next_push(&mut self) -> u64 {
        self.next_push += 1;
        self.next_push
    }

    /// Whether any session of this shard wants copies of messages.
    pub fn has_carbons(&self) -> bool {
        self.carbons > 0
    }

    /// A session wants copies of messages, or no longer.
    pub fn want_carbons(&mut self, bare: &str, resource: &str, on: bool) {
        let hash = self.hash(bare);
        let user = self.users.find_mut(hash, |user| &*user.bare == bare);
        let Some(session) = user.and_then(|user| user.session_mut(resource)) else {
            return;
        };
        let was = std::mem::replace(&mut session.carbons, on);
        self.carbons = self.carbons + usize::from(on) - usize::from(was);
    }

    /// Users on this shard.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// The user with this bare JID, whose hash is known.
    pub fn user(&self, hash: u64, bare: &str) -> Option<&User> {
        self.users.find(hash, |user| &*user.bare == bare)
    }

    /// The same, to change it.
    pub fn user_mut(&mut self, hash: u64, bare: &str) -> Option<&mut User> {
        self.users.find_mut(hash, |user| &*user.bare == bare)
    }

    /// The store is about to be asked to keep a message for this user.
    pub fn note_keep(&mut self, bare: &str) {
        self.keeps += 1;
        let hash = self.hash(bare);
        if let Some(user) = self.user_mut(hash, bare) {
            for session in user.sessions_mut() {
                session.may_have_kept = true;
            }
        }
    }

    /// No message waits in the store for the user of this connection's session.
    pub fn note_nothing_kept(&mut self, bare: &str, connection: Key) {
        let hash = self.hash(bare);
        if let Some(user) = self.user_mut(hash, bare) {
            let mut sessions = user.sessions_mut().iter_mut();
            if let Some(session) = sessions.find(|session| session.connection == connection) {
                session.may_have_kept = false;
            }
        }
    }

    /// How often the store was asked to keep a message, for whomever: who asked it before whether one
    /// waits, and finds that this is another number now, knows nothing.
    pub fn keeps(&self) -> u64 {
        self.keeps
    }

    /// A send of a connection is in the kernel's hands whole.
    pub fn note_sent(&mut self, connection: Key) {
        if !self.flushes.is_empty() {
            self.flushes.note_sent(connection);
        }
    }

    /// The roster of a user, if it is in memory.
    pub fn roster(&self, bare: &str) -> Option<&Roster> {
        self.rosters.roster(self.hash(bare), bare)
    }

    /// The same, to change it.
    pub fn roster_mut(&mut self, bare: &str) -> Option<&mut Roster> {
        let hash = self.hash(bare);
        self.rosters.roster_mut(hash, bare)
    }

    /// Wishes for a roster in memory, for a login or because somebody says something.
    pub fn wish_roster(&mut self, bare: &str, login: bool) -> Wish {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(bare);
        self.rosters
            .wish(hash, bare, login, |bare| hasher.hash_one(bare))
    }

    /// All rosters, and what waits for them.
    pub fn rosters(&self) -> &Rosters {
        &self.rosters
    }

    /// The same, to change them.
    pub fn rosters_mut(&mut self) -> &mut Rosters {
        &mut self.rosters
    }

    /// Forgets the roster of a user without a session, unless something is under way for it.
    pub fn release_roster(&mut self, bare: &str) {
        let hash = self.hash(bare);
        if self.user(hash, bare).is_none() {
            self.rosters.release(hash, bare);
        }
    }

    /// Adds a session. One with the same resource is replaced, and beyond `sessions_max` the oldest
    /// are: a person whose client hangs somewhere must always get in (as in MongooseIM). Those that
    /// made room are given to the caller, who tells others and ends their connections.
    pub fn bind(
        &mut self,
        bare: &str,
        resource: &str,
        connection: Key,
        sessions_max: usize,
    ) -> Vec<Session> {
        let hash = self.hash(bare);
        let hasher = &self.hasher;
        let user = self
            .users
            .entry(
                hash,
                |user| &*user.bare == bare,
                |user| hasher.hash_one(&*user.bare),
            )
            .or_insert_with(|| User {
                bare: bare.into(),
                sessions: Vec::with_capacity(1),
                blocked: None,
            })
            .into_mut();
        let mut replaced = Vec::new();
        if let Some(place) = user.sessions.iter().position(|s| &*s.resource == resource) {
            replaced.push(user.sessions.remove(place));
        }
        while user.sessions.len() >= sessions_max.max(1) {
            replaced.push(user.sessions.remove(0));
        }
        user.sessions.push(Session {
            resource: resource.into(),
            connection,
            priority: None,
            presence: None,
            directed: Vec::new(),
            carbons: false,
            interested: false,
            wants_blocklist: false,
            may_have_kept: true,
            order: self.next_order,
        });
        self.next_order += 1;
        self.sessions = self.sessions + 1 - replaced.len();
        self.carbons -= replaced.iter().filter(|session| session.carbons).count();
        replaced
    }

    /// Removes the session of a connection of which nothing else is known any more. Looks at all of
    /// them: only for what must not happen.
    pub fn unbind_connection(&mut self, connection: Key) {
        let of = |user: &User| user.sessions.iter().any(|s| s.connection == connection);
        let bare = self
            .users()
            .find(|user| of(user))
            .map(|user| user.bare.clone());
        if let Some(bare) = bare {
            self.unbind(&bare, connection);
            self.release_roster(&bare);
        }
    }

    /// Removes the session that this connection has, and gives it to the caller, who tells others.
    pub fn unbind(&mut self, bare: &str, connection: Key) -> Option<Session> {
        let hash = self.hash(bare);
        let mut entry = self
            .users
            .find_entry(hash, |user| &*user.bare == bare)
            .ok()?;
        let user = entry.get_mut();
        let place = user
            .sessions
            .iter()
            .position(|s| s.connection == connection)?;
        let session = user.sessions.remove(place);
        if user.sessions.is_empty() {
            self.blockers -= usize::from(user.blocked.is_some());
            entry.remove();
        }
        self.sessions -= 1;
        self.carbons -= usize::from(session.carbons);
        Some(session)
    }
}

impl Session {
    /// Sessions are numbered in the order in which they were bound.
    pub fn order(&self) -> u64 {
        self.order
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

    fn keys(sessions: &[Session]) -> Vec<Key> {
        sessions.iter().map(|session| session.connection).collect()
    }

    fn table() -> Table {
        Table::new(RandomState::new())
    }

    #[test]
    fn the_same_resource_replaces() {
        let mut table = table();
        assert!(table.bind("a@x", "r", key(1), 10).is_empty());
        assert_eq!(keys(&table.bind("a@x", "r", key(2), 10)), [key(1)]);
        assert_eq!(table.sessions(), 1);
        assert!(
            table.unbind("a@x", key(1)).is_none(),
            "the replaced one is gone already"
        );
        assert!(table.unbind("a@x", key(2)).is_some());
        assert_eq!((table.sessions(), table.users().count()), (0, 0));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut table = table();
        table.bind("a@x", "1", key(1), 2);
        table.bind("a@x", "2", key(2), 2);
        assert_eq!(keys(&table.bind("a@x", "3", key(3), 2)), [key(1)]);
        assert!(table.bind("b@x", "1", key(4), 2).is_empty());
        assert_eq!(table.sessions(), 3);
        let user = table.user(table.hash("a@x"), "a@x").expect("a");
        assert_eq!(
            user.sessions()
                .iter()
                .map(|s| &*s.resource)
                .collect::<Vec<_>>(),
            ["2", "3"]
        );
    }

    #[test]
    fn priorities_below_zero_get_no_messages() {
        let mut table = table();
        table.bind("a@x", "1", key(1), 9);
        table.bind("a@x", "2", key(2), 9);
        let hash = table.hash("a@x");
        let user = table.user_mut(hash, "a@x").expect("a");
        assert_eq!(user.top_priority(), None);
        user.session_mut("1").expect("1").priority = Some(-5);
        assert_eq!(user.top_priority(), None);
        user.session_mut("2").expect("2").priority = Some(3);
        assert_eq!(user.top_priority(), Some(3));
    }

    #[test]
    fn copies_are_counted_as_sessions_come_and_go() {
        let mut table = table();
        table.bind("a@x", "1", key(1), 2);
        table.bind("a@x", "2", key(2), 2);
        assert!(!table.has_carbons());
        table.want_carbons("a@x", "1", true);
        table.want_carbons("a@x", "1", true);
        table.want_carbons("a@x", "2", true);
        table.want_carbons("a@x", "2", false);
        table.want_carbons("a@x", "nowhere", true);
        assert!(table.has_carbons());
        table.bind("a@x", "3", key(3), 2);
        assert!(!table.has_carbons(), "1 made room");
        table.want_carbons("a@x", "3", true);
        assert!(table.has_carbons());
        table.unbind("a@x", key(3));
        assert!(!table.has_carbons());
    }

    #[test]
    fn who_blocks_is_counted() {
        let mut table = table();
        table.bind("a@x", "1", key(1), 2);
        let blocks_somebody = |table: &Table| {
            let user = table.user(table.hash("a@x"), "a@x");
            user.is_some_and(|user| user.blocked().is_some())
        };
        table.change_blocked("a@x", |_| {});
        assert!(!blocks_somebody(&table) && !table.has_blockers());
        table.change_blocked("a@x", |list| list.add([Box::from("b@x")]));
        table.change_blocked("a@x", |list| list.add([Box::from("c@x")]));
        assert!(blocks_somebody(&table) && table.has_blockers());
        table.change_blocked("a@x", |list| *list = Blocklist::default());
        assert!(!blocks_somebody(&table) && !table.has_blockers());
        table.change_blocked("a@x", |list| list.add([Box::from("b@x")]));
        table.unbind("a@x", key(1));
        assert!(!table.has_blockers());
        table.change_blocked("nobody@x", |list| list.add([Box::from("b@x")]));
        assert!(!table.has_blockers());
    }

    #[test]
    fn what_is_kept_for_a_user_is_asked_for_again() {
        let mut table = table();
        table.bind("a@x", "1", key(1), 2);
        table.bind("a@x", "2", key(2), 2);
        let asks = |table: &Table| -> Vec<bool> {
            let user = table.user(table.hash("a@x"), "a@x").expect("a");
            user.sessions().iter().map(|s| s.may_have_kept).collect()
        };
        assert_eq!(asks(&table), [true, true], "nobody has looked");
        table.note_nothing_kept("a@x", key(2));
        assert_eq!(asks(&table), [true, false]);
        let before = table.keeps();
        table.note_keep("b@x");
        assert_eq!(
            (asks(&table), table.keeps()),
            (vec![true, false], before + 1)
        );
        table.note_keep("a@x");
        assert_eq!(asks(&table), [true, true]);
    }

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
        assert!(size_of::<User>() <= 48);
    }
}
