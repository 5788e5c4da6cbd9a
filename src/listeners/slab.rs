//! Where a shard's connections are: a slab in chunks, so that growing copies nothing.

use crate::base::key::Key;
use crate::listeners::connection::Connection;

const CHUNK: usize = 256;

struct Place {
    generation: u32,
    connection: Option<Connection>,
}

/// The connections of one shard. Lives on: one shard.
pub struct Slab {
    /// The id of the next fresh connection; the shards take turns.
    next_id: u64,
    id_step: u64,
    chunks: Vec<Box<[Place]>>,
    free: Vec<u32>,
    count: usize,
    /// Of the count, by number of the listener.
    by_listener: Vec<u32>,
}

impl Slab {
    /// An empty one, of shard number `shard` of so many.
    pub fn new(shard: usize, shards: usize) -> Self {
        Self {
            next_id: shard as u64 + 1,
            id_step: shards as u64,
            chunks: Vec::new(),
            free: Vec::new(),
            count: 0,
            by_listener: Vec::new(),
        }
    }

    /// Connections in the slab.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Connections by number of their listener.
    pub fn by_listener(&self) -> &[u32] {
        &self.by_listener
    }

    fn counted(&mut self, listener: u16) -> &mut u32 {
        let place = usize::from(listener);
        if self.by_listener.len() <= place {
            self.by_listener.resize(place + 1, 0);
        }
        self.by_listener
            .get_mut(place)
            .expect("the vector has just been made long enough")
    }

    /// A connection goes over to another listener.
    pub fn relabel(&mut self, key: Key, listener: u16) {
        if let Some(connection) = self.get_mut(key) {
            let before = std::mem::replace(&mut connection.listener, listener);
            *self.counted(before) -= 1;
            *self.counted(listener) += 1;
        }
    }

    /// Some of the connections.
    pub fn first(&self, most: usize) -> impl Iterator<Item = &Connection> {
        let places = self.chunks.iter().flat_map(|chunk| chunk.iter());
        places
            .filter_map(|place| place.connection.as_ref())
            .take(most)
    }

    fn place(&mut self, slot: u32) -> Option<&mut Place> {
        self.chunks
            .get_mut(slot as usize / CHUNK)?
            .get_mut(slot as usize % CHUNK)
    }

    /// Puts a connection in and names it; one that comes from another shard keeps its id.
    pub fn insert(&mut self, mut connection: Connection) -> Key {
        if connection.id == 0 {
            connection.id = self.next_id;
            self.next_id += self.id_step;
        }
        if self.free.is_empty() {
            self.grow();
        }
        let slot = self.free.pop().expect("grow made free places");
        self.count += 1;
        *self.counted(connection.listener) += 1;
        let place = self.place(slot).expect("free places are in the slab");
        place.connection = Some(connection);
        Key {
            slot,
            generation: place.generation,
        }
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let chunk = (0..CHUNK)
            .map(|_| Place {
                generation: 0,
                connection: None,
            })
            .collect();
        self.chunks.push(chunk);
        // Popped from the end: low slots first, so that few chunks are touched.
        self.free.extend((first..first + CHUNK as u32).rev());
    }

    /// The connection, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        let place = self.place(key.slot)?;
        if place.generation != key.generation {
            return None;
        }
        place.connection.as_mut()
    }

    /// The connection, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&Connection> {
        let place = self
            .chunks
            .get(key.slot as usize / CHUNK)?
            .get(key.slot as usize % CHUNK)?;
        if place.generation != key.generation {
            return None;
        }
        place.connection.as_ref()
    }

    /// Takes a connection out; its name is never given again soon.
    pub fn remove(&mut self, key: Key) -> Option<Connection> {
        let place = self.place(key.slot)?;
        if place.generation != key.generation {
            return None;
        }
        let connection = place.connection.take()?;
        place.generation = Key::next_generation(place.generation);
        self.free.push(key.slot);
        self.count -= 1;
        *self.counted(connection.listener) -= 1;
        Some(connection)
    }

    /// The names of all connections, for what concerns them all.
    pub fn keys(&self) -> Vec<Key> {
        let places = self
            .chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .enumerate();
        places
            .filter(|(_, place)| place.connection.is_some())
            .map(|(slot, place)| Key {
                slot: slot as u32,
                generation: place.generation,
            })
            .collect()
    }
}
