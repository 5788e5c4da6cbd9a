//! Random bytes for names of streams, resources, nonces and salts.
//!
//! The library's generator asks the processor for fresh randomness at every call, which costs the same for
//! eight bytes and for hundreds. So a shard fetches many at once. Those that are given away are
//! overwritten: who reads the process's memory later does not learn what was handed out.

use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::rand::SystemRandom;

/// Bytes that are fetched at once.
const STOCK_BYTES: usize = 512;

/// A stock of bytes that nobody can guess. Lives on: one shard.
pub struct Random {
    source: SystemRandom,
    stock: Box<[u8; STOCK_BYTES]>,
    /// So many of them, at its front, are left.
    left: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self {
            source: SystemRandom::new(),
            stock: Box::new([0; STOCK_BYTES]),
            left: 0,
        }
    }
}

impl Random {
    /// Bytes that nobody can guess and nobody else gets.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if N > STOCK_BYTES {
            fetch(&self.source, &mut bytes);
            return bytes;
        }
        if self.left < N {
            fetch(&self.source, &mut *self.stock);
            self.left = STOCK_BYTES;
        }
        let rest = self.left - N;
        if let Some(taken) = self.stock.get_mut(rest..self.left) {
            bytes.copy_from_slice(taken);
            taken.fill(0);
        }
        self.left = rest;
        bytes
    }
}

fn fetch(source: &SystemRandom, bytes: &mut [u8]) {
    source
        .fill(bytes)
        .expect("the kernel's random numbers do not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_byte_is_given_twice() {
        let mut random = Random::default();
        let mut seen = HashSet::new();
        // Over the edge of the stock, in pieces that do not divide it.
        for _ in 0..STOCK_BYTES {
            assert!(seen.insert(random.bytes::<18>()));
        }
        assert_ne!(random.bytes::<1024>(), [0; 1024]);
    }

    #[test]
    fn what_was_given_away_is_overwritten() {
        let mut random = Random::default();
        let given = random.bytes::<16>();
        assert_ne!(given, [0; 16]);
        assert_eq!(random.stock.get(random.left..), Some(&[0; 16][..]));
    }
}
