//! Connections and accepts of one client address, counted over all cores.
//!
//! `max_connections_per_ip` and `accept_rate_per_ip` of a listener hold for the whole server, while
//! the connections of one address are spread over cores. A count that is exact everywhere has to be
//! shared, so this is one of the few places with a lock: a table in 64 parts, each behind a
//! mutex that is held for one look-up. It is taken when a connection is accepted and when it
//! ends, by listeners that set one of the two options, and never on behalf of a stanza.
//!
//! A client is an IPv4 address or an IPv6 /64, which is what one customer gets. The table is keyed
//! with SipHash, because strangers choose the addresses.
//!
//! An address is held while it has connections, and after that until its rate bucket is full again.
//! At most [`ADDRESSES_MAX`] are held. When they are all in use:
//!
//! 1. those without connections and with a full bucket go (this happens all the time);
//! 2. then those without connections: the debts of their buckets are forgiven;
//! 3. then a new address is refused, and all counts stay exact. It takes a connection from each of
//!    [`ADDRESSES_MAX`] addresses to come to this, far above what open files allow.
//!
//! Lives on: once per listener, shared by every shard.
#![expect(
    clippy::disallowed_types,
    reason = "an exact count over all cores, off the message path"
)]

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use hashbrown::HashMap;

use super::token_bucket::TokenBucket;

#[cfg(test)]
mod tests;

/// Addresses held for a listener at most. 41 bytes each, up to twice that as tables grow.
pub const ADDRESSES_MAX: usize = 1 << 20;

/// Parts of the table, so that cores seldom wait for each other.
const PARTS: usize = 64;

/// Addresses that a part holds before it looks for some to drop.
const SWEEP_MIN: usize = 256;

/// The limits of a listener for each of its clients. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerAddress {
    /// Connections open at a time.
    pub connections_max: Option<u32>,
    /// Accepts a second, with a second's worth at once.
    pub accept_rate: Option<u32>,
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The client has as many connections as it may.
    TooMany,
    /// The client connects faster than it may.
    TooFast,
    /// There is no room to count a further client.
    TableFull,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::TooMany, Self::TooFast, Self::TableFull];

    /// The metric label and log field.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooMany => "too_many_per_ip",
            Self::TooFast => "too_fast_per_ip",
            Self::TableFull => "too_many_ips",
        }
    }
}

/// Who is connected to a listener, and how often each client has connected lately.
pub struct AddressLimits {
    limits: PerAddress,
    /// Addresses that each part may hold.
    part_max: usize,
    hasher: RandomState,
    parts: Box<[Mutex<Part>; PARTS]>,
}

/// A connection that is counted; dropping it is how it stops being counted.
#[must_use = "the connection counts only while this is held"]
pub struct Counted {
    limits: Arc<AddressLimits>,
    client: Client,
}

/// What counts as one client: the network half of an IPv6 address, or a whole IPv4 address put
/// where IPv6 has multicast, from which nobody connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(u64);

struct Part {
    table: HashMap<Client, Usage, RandomState>,
    /// Number of clients without connections.
    idle: usize,
    /// The size at which to look for clients to drop.
    sweep_at: usize,
}

struct Usage {
    open: u32,
    accepts: TokenBucket,
}

impl AddressLimits {
    /// Limits over a table of [`ADDRESSES_MAX`] addresses, with the keys of `hasher`.
    #[must_use]
    pub fn new(limits: PerAddress, hasher: RandomState) -> Arc<Self> {
        Self::with_room_for(ADDRESSES_MAX, limits, hasher)
    }

    fn with_room_for(addresses_max: usize, limits: PerAddress, hasher: RandomState) -> Arc<Self> {
        let part = || Part {
            table: HashMap::with_hasher(hasher.clone()),
            idle: 0,
            sweep_at: SWEEP_MIN,
        };
        let parts = Box::new(std::array::from_fn(|_| Mutex::new(part())));
        let part_max = addresses_max.div_ceil(PARTS);
        Arc::new(Self {
            limits,
            part_max,
            hasher,
            parts,
        })
    }

    /// Counts a connection of `address`, or says why it has to end. A refused one costs the client
    /// none of its rate.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now_ms: u64) -> Result<Counted, Refusal> {
        let client = Client::from(address);
        self.part(client)
            .admit(client, &self.limits, self.part_max, now_ms)?;
        Ok(Counted {
            limits: Arc::clone(self),
            client,
        })
    }

    /// Addresses held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).table.len()).sum()
    }

    /// Whether no address is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of a client, by bits of its hash that the part's own table does not look at: it
    /// takes the lowest and the uppermost.
    fn part(&self, client: Client) -> MutexGuard<'_, Part> {
        let hash = self.hasher.hash_one(client);
        lock(&self.parts[(hash >> 32) as usize % PARTS])
    }
}

/// A shard that panicked while it held a part has left it whole: nothing in between can panic.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Counted {
    fn drop(&mut self) {
        let forget = self.limits.limits.accept_rate.is_none();
        self.limits.part(self.client).release(self.client, forget);
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        const IPV4: u64 = 0xffff_ffff_0000_0000;
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IPV4 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }
}

impl Part {
    fn admit(
        &mut self,
        client: Client,
        limits: &PerAddress,
        part_max: usize,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        if !self.table.contains_key(&client) {
            self.make_room(part_max, now_ms)?;
        }
        let Self { table, idle, .. } = self;
        let usage = table.entry(client).or_insert_with(|| {
            *idle += 1;
            Usage {
                open: 0,
                accepts: limits.full_bucket(now_ms),
            }
        });
        if limits.connections_max.is_some_and(|max| usage.open >= max) {
            return Err(Refusal::TooMany);
        }
        if limits.accept_rate.is_some() {
            if usage.accepts.available(now_ms) == 0 {
                return Err(Refusal::TooFast);
            }
            usage.accepts.take(now_ms, 1);
        }
        *idle -= usize::from(usage.open == 0);
        usage.open += 1;
        Ok(())
    }

    /// Uncounts a connection; `forget` where there is no bucket to keep the client for.
    fn release(&mut self, client: Client, forget: bool) {
        let Some(usage) = self.table.get_mut(&client) else {
            debug_assert!(false, "a client with connections is never dropped");
            return;
        };
        usage.open = usage.open.saturating_sub(1);
        if usage.open > 0 {
            return;
        }
        if forget {
            self.table.remove(&client);
        } else {
            self.idle += 1;
        }
    }

    /// Makes sure that one more client fits.
    fn make_room(&mut self, part_max: usize, now_ms: u64) -> Result<(), Refusal> {
        if self.table.len() < self.sweep_at.min(part_max) {
            return Ok(());
        }
        if self.idle > 0 {
            self.keep(|usage| usage.open > 0 || !usage.accepts.is_full(now_ms));
        }
        if self.table.len() >= part_max && self.idle > 0 {
            self.keep(|usage| usage.open > 0);
        }
        // Looking through all of them again only when they have doubled keeps the cost per accept
        // constant. At the bound it is the idle ones, gone all at once, that pay for it.
        self.sweep_at = (2 * self.table.len()).max(SWEEP_MIN);
        if self.table.len() < part_max {
            Ok(())
        } else {
            Err(Refusal::TableFull)
        }
    }

    fn keep(&mut self, wanted: impl Fn(&Usage) -> bool) {
        self.table.retain(|_, usage| wanted(usage));
        self.idle = self.table.values().filter(|usage| usage.open == 0).count();
        if self.table.capacity() > 4 * self.table.len().max(SWEEP_MIN) {
            self.table.shrink_to(2 * self.table.len());
        }
    }
}

impl PerAddress {
    /// The bucket of a client that is new, or was forgotten.
    fn full_bucket(&self, now_ms: u64) -> TokenBucket {
        TokenBucket::new(self.accept_rate.unwrap_or_default().into(), now_ms)
    }
}
