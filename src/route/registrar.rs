//! Who gets a domain: one shard decides, so that two components can never both have it.
//!
//! A claim is entered in every shard's table before its component hears of it. So whoever can know
//! that the component is there, through the server or beside it, reaches it from any shard. The
//! same words travel the same lanes, so every table sees the decisions in the order in which they
//! were made.

use std::sync::Arc;

use crate::base::key::Key;
use crate::route::services::Claim;
use crate::route::services::Services;
use crate::route::services::Word;

/// The shard that decides. Components come and go rarely; any one shard would do.
pub const REGISTRAR: usize = 0;

/// A word on its way, and the shard it is for.
pub type Sent = (usize, Word);

/// A registration whose component has not left.
struct Held {
    number: u64,
    owner: usize,
    connection: Key,
    /// Shards that have not said yet that they know.
    missing: usize,
}

/// The registrar. Lives on: every shard, and has something to do on [`REGISTRAR`] only.
pub struct Registrar {
    shards: usize,
    last: u64,
    held: Vec<Held>,
}

impl Registrar {
    /// For so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            shards,
            last: 0,
            held: Vec::new(),
        }
    }

    /// Decides about a claim. `services` is the table of this shard, which gets an entry of its own
    /// like any other: `sent` has to be carried out before the next call.
    pub fn claim(&mut self, services: &Services, claim: Claim, sent: &mut Vec<Sent>) {
        let Claim {
            mut entry,
            replaces,
        } = claim;
        let (owner, connection) = (entry.service.owner, entry.service.connection);
        if !replaces && services.holder(&entry.names).is_some() {
            return sent.push((owner, Word::Refused(connection)));
        }
        self.last += 1;
        entry.service.number = self.last;
        self.held.push(Held {
            number: self.last,
            owner,
            connection,
            missing: self.shards,
        });
        let entry = Arc::new(entry);
        sent.extend((0..self.shards).map(|shard| (shard, Word::Enter(Arc::clone(&entry)))));
    }

    /// A shard knows the entry of that number.
    pub fn entered(&mut self, number: u64, sent: &mut Vec<Sent>) {
        let Some(held) = self.held.iter_mut().find(|held| held.number == number) else {
            return;
        };
        held.missing = held.missing.saturating_sub(1);
        if held.missing == 0 {
            sent.push((held.owner, Word::Granted(held.connection)));
        }
    }

    /// A component is gone. Its registration ends everywhere, be it complete or not.
    pub fn leave(&mut self, owner: usize, connection: Key, sent: &mut Vec<Sent>) {
        let shards = self.shards;
        self.held.retain(|held| {
            let leaves = held.owner == owner && held.connection == connection;
            if leaves {
                sent.extend((0..shards).map(|shard| (shard, Word::Left(held.number))));
            }
            !leaves
        });
    }
}

#[cfg(test)]
mod tests;
