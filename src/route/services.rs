//! The names that external components serve (XEP-0114), as every shard knows them.
//!
//! A component's connection stays on the shard that accepted it, and a message path must not ask
//! anybody where that is: every shard has the whole table. One shard, the registrar
//! ([`super::registrar`]), decides who gets a name and tells the others; only its [`Word`]s and the
//! end of an own connection change a table, so all tables see the same changes in the same order.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::base::key::Key;

/// Names that are remembered when their component goes; a component that registers ever new ones
/// must not fill the memory.
pub const REMEMBERED_MAX: usize = 1024;

/// A component's stream, as far as senders need it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The shard that its connection is on.
    pub owner: usize,
    /// The connection; a name that is never given again soon.
    pub connection: Key,
    /// The number of its registration, later ones are higher. The registrar gives it.
    pub number: u64,
    /// Rule of `[access]` that decides who may send to it; None: everybody.
    pub access: Option<Arc<str>>,
    /// Left out of disco#items.
    pub hidden: bool,
}

/// A name with its keyed hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// The domain, prepared.
    pub name: Box<str>,
    /// What `session::table::Table::hash` says of it: the same on every shard.
    pub hash: u64,
    /// It is below a served host: without its component it is nobody else's, and not looked for.
    pub is_ours: bool,
}

/// Names that lead to one component from now on.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    /// The names.
    pub names: Vec<Name>,
    /// Where they lead.
    pub service: Service,
}

/// A component that wants its names.
#[derive(Debug)]
pub struct Claim {
    /// Names and connection; the number is still to be given.
    pub entry: Entry,
    /// Whoever has one of the names has to go (`conflict_behaviour = "kick_old"`).
    pub replaces: bool,
}

/// What shards tell each other about components.
#[derive(Debug)]
pub enum Word {
    /// To the registrar: somebody wants names.
    Claim(Box<Claim>),
    /// To every shard: the names lead there.
    Enter(Arc<Entry>),
    /// To the registrar: a shard knows the entry of that number.
    Entered(u64),
    /// To the claimant's shard: every shard knows; the component may begin.
    Granted(Key),
    /// To the claimant's shard: another component has the name.
    Refused(Key),
    /// To the registrar: a component, or one that waits to be one, is gone.
    Leave {
        /// The shard that its connection was on.
        owner: usize,
        /// The connection.
        connection: Key,
    },
    /// To every shard: the entry of that number is no more.
    Left(u64),
}

struct Named {
    name: Name,
    /// None: the component is not here.
    service: Option<Service>,
    /// Kept for a component, also while there is none.
    reserved: bool,
}

/// What a table knows of a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known<'a> {
    /// A component serves it.
    Service(&'a Service),
    /// It is kept for a component, which is not connected.
    Absent,
    /// Nothing: it is another server's.
    Nothing,
}

/// The table. Lives on: every shard.
#[derive(Default)]
pub struct Services {
    names: HashTable<Named>,
    remembered: usize,
}

impl Services {
    /// Keeps a name for a component (`domains` of a listener): it is never looked for elsewhere.
    pub fn reserve(&mut self, name: Name) {
        self.place(&name).reserved = true;
    }

    /// What is known of a domain, given prepared and with its hash.
    pub fn find(&self, hash: u64, domain: &str) -> Known<'_> {
        let found = self.names.find(hash, |named| &*named.name.name == domain);
        match found {
            None => Known::Nothing,
            Some(named) => named.service.as_ref().map_or(Known::Absent, Known::Service),
        }
    }

    /// Names in use, each with its component; in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.names
            .iter()
            .filter_map(|named| Some((&*named.name.name, named.service.as_ref()?)))
    }

    /// Whoever has one of these names.
    pub fn holder(&self, names: &[Name]) -> Option<&Service> {
        names
            .iter()
            .find_map(|name| match self.find(name.hash, &name.name) {
                Known::Service(service) => Some(service),
                Known::Absent | Known::Nothing => None,
            })
    }

    /// Takes in an entry; returns those whose names it has taken over.
    pub fn enter(&mut self, entry: &Entry) -> Vec<Service> {
        let mut replaced = Vec::new();
        for name in &entry.names {
            let before = self.place(name).service.replace(entry.service.clone());
            replaced.extend(before.filter(|before| before.number != entry.service.number));
        }
        replaced.dedup_by_key(|service| service.number);
        replaced
    }

    /// Takes out the entry of that number.
    pub fn remove(&mut self, number: u64) {
        self.remove_where(|service| service.number == number);
    }

    /// Takes out what a connection of this shard serves.
    pub fn remove_connection(&mut self, owner: usize, connection: Key) {
        self.remove_where(|service| service.owner == owner && service.connection == connection);
    }

    fn remove_where(&mut self, of: impl Fn(&Service) -> bool) {
        let remembered = &mut self.remembered;
        self.names.retain(|named| {
            if named.service.as_ref().is_some_and(&of) {
                named.service = None;
                if named.name.is_ours && !named.reserved && *remembered < REMEMBERED_MAX {
                    named.reserved = true;
                    *remembered += 1;
                }
            }
            named.service.is_some() || named.reserved
        });
    }

    fn place(&mut self, name: &Name) -> &mut Named {
        self.names
            .entry(
                name.hash,
                |named| named.name.name == name.name,
                |named| named.name.hash,
            )
            .or_insert_with(|| Named {
                name: name.clone(),
                service: None,
                reserved: false,
            })
            .into_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn name(text: &str) -> Name {
        let hash = text
            .bytes()
            .map(u64::from)
            .sum::<u64>()
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Name {
            name: text.into(),
            hash,
            is_ours: false,
        }
    }

    fn entry(names: &[&str], number: u64) -> Entry {
        Entry {
            names: names.iter().map(|text| name(text)).collect(),
            service: Service {
                owner: 1,
                connection: Key {
                    slot: number as u32,
                    generation: 0,
                },
                number,
                access: None,
                hidden: false,
            },
        }
    }

    fn leads_to(services: &Services, text: &str) -> Option<u64> {
        let name = name(text);
        match services.find(name.hash, text) {
            Known::Service(service) => Some(service.number),
            Known::Absent | Known::Nothing => None,
        }
    }

    #[test]
    fn a_later_entry_takes_over_and_an_earlier_end_leaves_it_alone() {
        let mut services = Services::default();
        assert!(services.enter(&entry(&["a.x", "a.y"], 1)).is_empty());
        let replaced = services.enter(&entry(&["a.x", "a.y"], 2));
        assert_eq!(replaced.iter().map(|s| s.number).collect::<Vec<_>>(), [1]);
        services.remove(1);
        assert_eq!(leads_to(&services, "a.x"), Some(2));
        services.remove(2);
        assert_eq!(services.iter().count(), 0);
        assert_eq!(services.find(name("a.x").hash, "a.x"), Known::Nothing);
    }

    #[test]
    fn a_name_below_a_host_is_remembered() {
        let mut services = Services::default();
        for number in 0..2 * REMEMBERED_MAX as u64 {
            let text = format!("{number}.x");
            let mut entry = entry(&[&text], number);
            entry.names.iter_mut().for_each(|name| name.is_ours = true);
            services.enter(&entry);
            services.remove(number);
        }
        let known = |text: &str| services.find(name(text).hash, text);
        assert_eq!(known("0.x"), Known::Absent);
        assert_eq!(known(&format!("{}.x", REMEMBERED_MAX + 1)), Known::Nothing);
    }

    #[test]
    fn a_reserved_name_stays_known() {
        let mut services = Services::default();
        services.reserve(name("a.x"));
        assert_eq!(services.find(name("a.x").hash, "a.x"), Known::Absent);
        services.enter(&entry(&["a.x"], 1));
        assert_eq!(leads_to(&services, "a.x"), Some(1));
        services.remove_connection(
            1,
            Key {
                slot: 1,
                generation: 0,
            },
        );
        assert_eq!(services.find(name("a.x").hash, "a.x"), Known::Absent);
        assert_eq!(services.iter().count(), 0);
    }
}
