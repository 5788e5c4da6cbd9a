//! The hosts that this server is, and how many shards share their users.

/// The served hosts. Lives on: every shard, unchanged after the start.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Vec<Box<str>>,
    shards: usize,
}

impl Hosts {
    /// From prepared host names.
    pub fn new(names: impl IntoIterator<Item = String>, shards: usize) -> Self {
        Self {
            names: names.into_iter().map(String::into_boxed_str).collect(),
            shards,
        }
    }

    /// True when `domain`, prepared, is one of them. A server has few hosts: a search beats a hash.
    pub fn serves(&self, domain: &str) -> bool {
        self.names.iter().any(|name| &**name == domain)
    }

    /// Its place among them.
    pub fn position(&self, domain: &str) -> Option<usize> {
        self.names.iter().position(|name| &**name == domain)
    }

    /// All hosts in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The same as a slice.
    pub fn as_slice(&self) -> &[Box<str>] {
        &self.names
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }
}
