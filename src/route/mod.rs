//! Where a stanza goes: decided here, carried out in `modules::pipeline`.
//!
//! [`route`] is the one decision. It looks at an address and names a destination; it sends nothing
//! and touches no session. Who among a user's resources gets the stanza is the table in
//! [`deliver`], looked up on the user's owner shard.

pub mod deliver;
pub mod envelope;
pub mod hosts;

use crate::route::hosts::Hosts;

/// Where an address leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Destination {
    /// One of our hosts itself (RFC 6121 section 8.4), which any shard can answer for.
    Host,
    /// An account of ours; its owner shard decides the rest (RFC 6121 section 8.5).
    Account {
        /// The shard that owns the user.
        owner: usize,
        /// The keyed hash of the bare JID.
        hash: u64,
    },
    /// A domain that is not served here (RFC 6120 section 10.4).
    Remote,
}

/// Names the destination of an address, given in its prepared parts. `hash` is the keyed hash of
/// the bare JID (see `session::table::Table::hash`).
pub fn route(hosts: &Hosts, domain: &str, hash_of_bare: Option<u64>) -> Destination {
    if !hosts.serves(domain) {
        return Destination::Remote;
    }
    match hash_of_bare {
        Some(hash) => Destination::Account {
            owner: owner(hash, hosts.shards()),
            hash,
        },
        None => Destination::Host,
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
        assert_eq!(route(&hosts, "example.org", None), Destination::Host);
        assert_eq!(route(&hosts, "example.net", Some(1)), Destination::Remote);
        assert_eq!(
            route(&hosts, "localhost", Some(u64::MAX)),
            Destination::Account {
                owner: 1,
                hash: u64::MAX
            }
        );
    }
}
