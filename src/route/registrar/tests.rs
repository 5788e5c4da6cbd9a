//! Shards as tables and lanes as queues: every order in which lanes can be emptied is allowed.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::route::services::Entry;
use crate::route::services::Known;
use crate::route::services::Name;
use crate::route::services::Service;

const SHARDS: usize = 3;

/// What a connection has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Nothing,
    Granted,
    Refused,
    Evicted,
    Gone,
}

struct World {
    tables: Vec<Services>,
    registrar: Registrar,
    lanes: BTreeMap<(usize, usize), VecDeque<Word>>,
    told: BTreeMap<(usize, u32), Told>,
    /// How many shards have entered a connection.
    knowing: BTreeMap<(usize, u32), usize>,
}

fn name(text: &str) -> Name {
    Name {
        name: text.into(),
        hash: u64::from(text.as_bytes()[0]).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        is_ours: false,
    }
}

fn key(slot: u32) -> Key {
    Key {
        slot,
        generation: 0,
    }
}

impl World {
    fn new() -> Self {
        Self {
            tables: (0..SHARDS).map(|_| Services::default()).collect(),
            registrar: Registrar::new(SHARDS),
            lanes: BTreeMap::new(),
            told: BTreeMap::new(),
            knowing: BTreeMap::new(),
        }
    }

    fn send(&mut self, from: usize, to: usize, word: Word) {
        if from == to {
            self.hear(to, word);
        } else {
            self.lanes.entry((from, to)).or_default().push_back(word);
        }
    }

    fn connect(&mut self, owner: usize, slot: u32, names: &[&str], replaces: bool) {
        self.told.insert((owner, slot), Told::Nothing);
        let entry = Entry {
            names: names.iter().map(|text| name(text)).collect(),
            service: Service {
                owner,
                connection: key(slot),
                number: 0,
                access: None,
                hidden: false,
            },
        };
        let claim = Box::new(Claim { entry, replaces });
        self.send(owner, REGISTRAR, Word::Claim(claim));
    }

    fn disconnect(&mut self, owner: usize, slot: u32) {
        self.told.insert((owner, slot), Told::Gone);
        self.tables[owner].remove_connection(owner, key(slot));
        let connection = key(slot);
        self.send(owner, REGISTRAR, Word::Leave { owner, connection });
    }

    fn hear(&mut self, me: usize, word: Word) {
        let mut sent = Vec::new();
        match word {
            Word::Claim(claim) => self.registrar.claim(&self.tables[me], *claim, &mut sent),
            Word::Entered(number) => self.registrar.entered(number, &mut sent),
            Word::Leave { owner, connection } => {
                self.registrar.leave(owner, connection, &mut sent);
            }
            Word::Enter(entry) => {
                let who = (entry.service.owner, entry.service.connection.slot);
                *self.knowing.entry(who).or_default() += 1;
                for replaced in self.tables[me].enter(&entry) {
                    if replaced.owner == me {
                        let slot = replaced.connection.slot;
                        self.told.insert((me, slot), Told::Evicted);
                        let connection = replaced.connection;
                        self.tables[me].remove_connection(me, connection);
                        self.send(
                            me,
                            REGISTRAR,
                            Word::Leave {
                                owner: me,
                                connection,
                            },
                        );
                    }
                }
                sent.push((REGISTRAR, Word::Entered(entry.service.number)));
            }
            Word::Left(number) => self.tables[me].remove(number),
            Word::Granted(connection) => self.answer(me, connection, Told::Granted),
            Word::Refused(connection) => self.answer(me, connection, Told::Refused),
        }
        for (to, word) in sent {
            self.send(me, to, word);
        }
    }

    fn answer(&mut self, me: usize, connection: Key, answer: Told) {
        let told = self.told.entry((me, connection.slot)).or_insert(Told::Gone);
        if *told != Told::Nothing {
            return;
        }
        *told = answer;
        if answer == Told::Granted {
            // Whoever can know of it reaches it, from wherever.
            let knowing = self.knowing.get(&(me, connection.slot));
            assert_eq!(knowing, Some(&SHARDS), "granted, and not everybody knows");
        }
    }

    /// Empties one lane by one word; false when all are empty.
    fn step(&mut self, choice: usize) -> bool {
        let full: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.is_empty())
            .map(|(ends, _)| *ends)
            .collect();
        let Some(ends) = full.get(choice % full.len().max(1)).copied() else {
            return false;
        };
        let word = self.lanes.get_mut(&ends).and_then(VecDeque::pop_front);
        self.hear(ends.1, word.expect("not empty"));
        true
    }

    fn settle(&mut self) {
        while self.step(0) {}
    }

    fn leads_to(&self, shard: usize, text: &str) -> Option<(usize, u32)> {
        let name = name(text);
        match self.tables[shard].find(name.hash, text) {
            Known::Service(service) => Some((service.owner, service.connection.slot)),
            Known::Absent | Known::Nothing => None,
        }
    }
}

#[test]
fn the_second_is_refused_or_replaces_the_first() {
    let mut world = World::new();
    world.connect(1, 1, &["a"], false);
    world.settle();
    assert_eq!(world.told[&(1, 1)], Told::Granted);
    world.connect(2, 2, &["a"], false);
    world.settle();
    assert_eq!(world.told[&(2, 2)], Told::Refused);
    assert_eq!(world.leads_to(0, "a"), Some((1, 1)));
    world.connect(2, 3, &["a"], true);
    world.settle();
    assert_eq!(world.told[&(1, 1)], Told::Evicted);
    assert_eq!(world.told[&(2, 3)], Told::Granted);
    for shard in 0..SHARDS {
        assert_eq!(world.leads_to(shard, "a"), Some((2, 3)));
    }
}

#[test]
fn nobody_is_granted_before_every_shard_knows() {
    let mut world = World::new();
    world.connect(1, 1, &["a"], false);
    // The claim, and the entry of one shard of two.
    while world.lanes.get(&(0, 1)).is_none_or(VecDeque::is_empty) {
        world.step(0);
    }
    world.hear_all(0, 1);
    world.hear_all(1, 0);
    assert_eq!(
        world.told[&(1, 1)],
        Told::Nothing,
        "shard 2 does not know yet"
    );
    world.settle();
    assert_eq!(world.told[&(1, 1)], Told::Granted);
}

#[test]
fn who_leaves_while_waiting_leaves_no_trace() {
    let mut world = World::new();
    world.connect(1, 1, &["a"], false);
    world.disconnect(1, 1);
    world.settle();
    assert_eq!(world.told[&(1, 1)], Told::Gone);
    assert!((0..SHARDS).all(|shard| world.leads_to(shard, "a").is_none()));
}

impl World {
    fn hear_all(&mut self, from: usize, to: usize) {
        while let Some(word) = self
            .lanes
            .get_mut(&(from, to))
            .and_then(VecDeque::pop_front)
        {
            self.hear(to, word);
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Connect(usize, u8, bool),
    Disconnect(usize),
    Step(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..SHARDS, 0..4u8, any::<bool>()).prop_map(|(s, n, r)| Act::Connect(s, n, r)),
        1 => any::<usize>().prop_map(Act::Disconnect),
        6 => any::<usize>().prop_map(Act::Step),
    ]
}

proptest! {
    /// Whatever happens in whatever order, in the end all tables agree, they hold exactly what is
    /// connected and granted, and nobody waits for ever.
    #[test]
    fn tables_agree_in_the_end(acts in proptest::collection::vec(act(), 1..80)) {
        let names = [vec!["a"], vec!["b"], vec!["a", "b"], vec!["c"]];
        let mut world = World::new();
        let mut slot = 0;
        let mut all = Vec::new();
        for act in acts {
            match act {
                Act::Connect(shard, which, replaces) => {
                    slot += 1;
                    all.push((shard, slot));
                    world.connect(shard, slot, &names[usize::from(which)], replaces);
                }
                Act::Disconnect(which) if !all.is_empty() => {
                    let (shard, slot) = all[which % all.len()];
                    let told = world.told[&(shard, slot)];
                    if matches!(told, Told::Nothing | Told::Granted) {
                        world.disconnect(shard, slot);
                    }
                }
                Act::Disconnect(_) => {}
                Act::Step(choice) => { world.step(choice); }
            }
        }
        world.settle();
        let first: Vec<_> = ["a", "b", "c"].iter().map(|n| world.leads_to(0, n)).collect();
        for shard in 1..SHARDS {
            let other: Vec<_> = ["a", "b", "c"].iter().map(|n| world.leads_to(shard, n)).collect();
            prop_assert_eq!(&first, &other);
        }
        for (who, told) in &world.told {
            prop_assert_ne!(*told, Told::Nothing, "{:?} waits for ever", who);
            let named = first.contains(&Some(*who));
            prop_assert_eq!(named, *told == Told::Granted, "{:?} {:?}", who, told);
        }
    }
}
