//! A pause between two things that one client address may do: registrations.
//!
//! Exact over all cores, so it is shared and behind a lock, which is taken once for a registration
//! and never on behalf of a stanza. A client is an IPv4 address or an IPv6 /64, as for
//! [`address_limits`](super::address_limits).
//!
//! Lives on: once per process, shared by every shard.
#![expect(
    clippy::disallowed_types,
    reason = "an exact count over all cores, off the message path"
)]

use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use hashbrown::HashMap;

use super::address_limits::Client;

/// Addresses that are remembered. When so many pause at once, no other may begin.
pub const ADDRESSES_MAX: usize = 65_536;

/// Who has to wait until when.
#[derive(Debug)]
pub struct AddressPauses {
    addresses_max: usize,
    until_ms: Mutex<HashMap<Client, u64, RandomState>>,
}

impl AddressPauses {
    /// Nobody waits. `hasher` is keyed, because strangers choose the addresses.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self::with_room_for(ADDRESSES_MAX, hasher)
    }

    fn with_room_for(addresses_max: usize, hasher: RandomState) -> Self {
        Self {
            addresses_max,
            until_ms: Mutex::new(HashMap::with_hasher(hasher)),
        }
    }

    /// Whether the client may go ahead; if so, its pause of `pause_ms` begins.
    #[must_use]
    pub fn begin(&self, address: IpAddr, now_ms: u64, pause_ms: u64) -> bool {
        let client = Client::from(address);
        let mut table = self.lock();
        if table.get(&client).is_some_and(|until| *until > now_ms) {
            return false;
        }
        if table.len() >= self.addresses_max && !table.contains_key(&client) {
            table.retain(|_, until| *until > now_ms);
            if table.len() >= self.addresses_max {
                return false;
            }
        }
        table.insert(client, now_ms.saturating_add(pause_ms));
        true
    }

    /// What the client began came to nothing: it waits until `until_ms` at most.
    pub fn shorten(&self, address: IpAddr, until_ms: u64) {
        if let Some(until) = self.lock().get_mut(&Client::from(address)) {
            *until = until_ms.min(*until);
        }
    }

    /// A shard that panicked while it held the table has left it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Client, u64, RandomState>> {
        self.until_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_goes_ahead_and_then_pauses() {
        let pauses = AddressPauses::new(RandomState::new());
        assert!(pauses.begin(address(1), 1_000, 600));
        assert!(!pauses.begin(address(1), 1_599, 600));
        assert!(pauses.begin(address(2), 1_599, 600));
        assert!(pauses.begin(address(1), 1_600, 600));
        // What failed is tried again soon, and no later than it would have been.
        pauses.shorten(address(1), 1_700);
        assert!(!pauses.begin(address(1), 1_699, 600));
        assert!(pauses.begin(address(1), 1_700, 600));
        pauses.shorten(address(1), 9_999);
        assert!(pauses.begin(address(1), 2_300, 600));
        pauses.shorten(address(9), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let pauses = AddressPauses::new(RandomState::new());
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(pauses.begin(parse("2001:db8::1"), 0, 10));
        assert!(!pauses.begin(parse("2001:db8::2"), 0, 10));
        assert!(pauses.begin(parse("2001:db8:0:1::1"), 0, 10));
    }

    #[test]
    fn a_full_table_refuses_until_pauses_end() {
        let pauses = AddressPauses::with_room_for(2, RandomState::new());
        assert!(pauses.begin(address(1), 0, 10));
        assert!(pauses.begin(address(2), 5, 10));
        assert!(!pauses.begin(address(3), 9, 10));
        assert!(pauses.begin(address(3), 10, 10), "the first is over");
        assert!(!pauses.begin(address(4), 10, 10));
    }
}
