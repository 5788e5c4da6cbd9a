//! Whom a user blocks, and whether an address is among them (XEP-0191 section 3.1).

/// Addresses that a user blocks. Lives on: the owner shard of the user, while it has a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    /// Prepared, in order, each once.
    sorted: Vec<Box<str>>,
}

impl Blocklist {
    /// From prepared addresses.
    pub fn new(addresses: impl IntoIterator<Item = Box<str>>) -> Self {
        let mut list = Self::default();
        list.add(addresses);
        list
    }

    /// Blocks more.
    pub fn add(&mut self, addresses: impl IntoIterator<Item = Box<str>>) {
        self.sorted.extend(addresses);
        self.sorted.sort_unstable();
        self.sorted.dedup();
    }

    /// Blocks these no longer.
    pub fn remove(&mut self, addresses: &[Box<str>]) {
        let gone = Self::new(addresses.iter().cloned());
        self.sorted.retain(|address| !gone.has(address));
    }

    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The addresses, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(|address| &**address)
    }

    /// Whether a prepared address is blocked: by itself, its bare JID, its domain with its resource,
    /// or its domain.
    pub fn blocks(&self, address: &str) -> bool {
        let (bare, resource) = match address.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (address, None),
        };
        let domain = bare.split_once('@').map_or(bare, |(_, domain)| domain);
        self.has(address)
            || self.has(bare)
            || self.has(domain)
            || resource.is_some_and(|resource| self.has_joined(domain, resource))
    }

    fn has(&self, address: &str) -> bool {
        let found = self
            .sorted
            .binary_search_by(|blocked| (**blocked).cmp(address));
        found.is_ok()
    }

    /// The same of `domain/resource`, which is not made for it.
    fn has_joined(&self, domain: &str, resource: &str) -> bool {
        let address = || domain.bytes().chain([b'/']).chain(resource.bytes());
        let found = self
            .sorted
            .binary_search_by(|blocked| blocked.bytes().cmp(address()));
        found.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &[&str]) -> Blocklist {
        Blocklist::new(addresses.iter().map(|address| Box::from(*address)))
    }

    #[test]
    fn who_is_blocked() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "romeo@x/orchard",
                &["romeo@x/orchard"],
                &[
                    "romeo@x",
                    "romeo@x/garden",
                    "x",
                    "x/orchard",
                    "juliet@x/orchard",
                ],
            ),
            (
                "romeo@x",
                &["romeo@x", "romeo@x/orchard"],
                &["x", "juliet@x", "romeo@y", "romeo@x.y"],
            ),
            (
                "x/orchard",
                &["x/orchard", "romeo@x/orchard"],
                &["x", "romeo@x", "romeo@x/garden", "y/orchard"],
            ),
            (
                "x",
                &["x", "x/a", "romeo@x", "romeo@x/a/b@c"],
                &["y", "a.x", "romeo@a.x", "romeo@y/x"],
            ),
            ("r@x/a@b/c", &["r@x/a@b/c"], &["r@x/a@b", "a@b/c"]),
        ];
        for (blocked, yes, no) in table {
            let list = list(&["a@a", blocked, "zzz"]);
            for address in *yes {
                assert!(list.blocks(address), "{blocked} blocks {address}");
            }
            for address in *no {
                assert!(!list.blocks(address), "{blocked} does not block {address}");
            }
        }
    }

    #[test]
    fn addresses_come_and_go() {
        let mut list = list(&["b@x", "a@x", "b@x"]);
        assert_eq!(list.iter().collect::<Vec<_>>(), ["a@x", "b@x"]);
        list.add([Box::from("a@x"), Box::from("0@x")]);
        assert_eq!(list.iter().collect::<Vec<_>>(), ["0@x", "a@x", "b@x"]);
        list.remove(&[Box::from("a@x"), Box::from("c@x")]);
        assert_eq!(list.iter().collect::<Vec<_>>(), ["0@x", "b@x"]);
        list.remove(&[Box::from("0@x"), Box::from("b@x")]);
        assert!(list.is_empty() && !list.blocks("b@x"));
    }
}
