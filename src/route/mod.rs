//! Where a stanza goes: decided here, carried out in `modules::pipeline`.
//!
//! [`route`] is the one decision. It looks at an address and names a destination; it sends nothing
//! and touches no session. Who among a user's resources gets the stanza is the table in
//! [`deliver`], looked up on the user's owner shard.

pub mod deliver;
pub mod envelope;
pub mod hosts;
pub mod registrar;
pub mod services;

use crate::route::hosts::Hosts;
use crate::route::services::Known;
use crate::route::services::Service;
use crate::route::services::Services;

/// Where an address leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination<'a> {
    /// One of our hosts itself (RFC 6121 section 8.4), which any shard can answer for.
    Host,
    /// An account of ours; its owner shard decides the rest (RFC 6121 section 8.5).
    Account {
        /// The shard that owns the user.
        owner: usize,
        /// The keyed hash of the bare JID.
        hash: u64,
    },
    /// A domain that a component serves, with all addresses in it.
    Service(&'a Service),
    /// A domain that is kept for a component which is not connected.
    Absent,
    /// A domain that is not served here (RFC 6120 section 10.4). Whatever belongs to it (a queue, a
    /// stream) is on its owner shard.
    Remote {
        /// The shard that owns the domain.
        owner: usize,
        /// The keyed hash of the domain.
        hash: u64,
    },
}

/// Names the destination of an address, given in its prepared parts: `domain`, and `bare`, the bare
/// JID, where there is a node. `hash` is the keyed hash (`session::table::Table::hash`); it is
/// asked once, of the bare JID in a host of ours, of the domain elsewhere.
pub fn route<'a>(
    hosts: &Hosts,
    services: &'a Services,
    domain: &str,
    bare: Option<&str>,
    hash: impl FnOnce(&str) -> u64,
) -> Destination<'a> {
    if hosts.serves(domain) {
        let Some(bare) = bare else {
            return Destination::Host;
        };
        let hash = hash(bare);
        let owner = owner(hash, hosts.shards());
        return Destination::Account { owner, hash };
    }
    let hash = hash(domain);
    match services.find(hash, domain) {
        Known::Service(service) => Destination::Service(service),
        Known::Absent => Destination::Absent,
        Known::Nothing => Destination::Remote {
            owner: owner(hash, hosts.shards()),
            hash,
        },
    }
}

/// The shard that owns what hashes to `hash`. Uses the upper bits, because the lower ones choose
/// the place in the owner's table.
pub fn owner(hash: u64, shards: usize) -> usize {
    ((u128::from(hash) * shards as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key::Key;
    use crate::route::services::Entry;
    use crate::route::services::Name;

    #[test]
    fn every_shard_owns_its_share() {
        let mut counts = [0usize; 3];
        for n in 0..30_000u64 {
            counts[owner(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), 3)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
        assert_eq!(owner(u64::MAX, 3), 2);
    }

    #[test]
    fn an_address_leads_to_one_place() {
        let hosts = Hosts::new(["localhost".to_string(), "example.org".to_string()], 2);
        let name = |text: &str, hash| Name {
            name: text.into(),
            hash,
            is_ours: false,
        };
        let entry = Entry {
            names: vec![name("echo.localhost", u64::MAX)],
            service: Service {
                owner: 0,
                connection: Key {
                    slot: 1,
                    generation: 2,
                },
                number: 3,
                access: None,
                hidden: false,
            },
        };
        let mut services = Services::default();
        services.enter(&entry);
        services.reserve(name("kept.localhost", u64::MAX));
        let lead = |domain, bare| route(&hosts, &services, domain, bare, |_| u64::MAX);
        let (owner, hash) = (1, u64::MAX);
        assert_eq!(lead("example.org", None), Destination::Host);
        assert_eq!(
            lead("localhost", Some("a@localhost")),
            Destination::Account { owner, hash }
        );
        for bare in [None, Some("a@echo.localhost")] {
            let service = Destination::Service(&entry.service);
            assert_eq!(lead("echo.localhost", bare), service);
        }
        assert_eq!(lead("kept.localhost", None), Destination::Absent);
        assert_eq!(
            lead("example.net", Some("a@example.net")),
            Destination::Remote { owner, hash }
        );
    }
}
