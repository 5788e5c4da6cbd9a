//! Names a connection within its shard.

/// A slot of the shard's slab and the generation of its occupant, so that what is late finds
/// nobody instead of somebody else.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    /// The place in the slab.
    pub slot: u32,
    /// Which occupant of that place; only [`GENERATION_BITS`] count.
    pub generation: u32,
}

/// Bits of a generation: what fits beside a slot and an operation in 64 bits.
pub const GENERATION_BITS: u32 = 24;

impl Key {
    /// The generation after `generation`.
    pub fn next_generation(generation: u32) -> u32 {
        generation.wrapping_add(1) & ((1 << GENERATION_BITS) - 1)
    }

    /// As one number, for timers and the ring.
    pub fn as_u64(self) -> u64 {
        u64::from(self.slot) | (u64::from(self.generation) << 32)
    }

    /// The reverse of [`Key::as_u64`]; bits above the generation are ignored.
    pub fn from_u64(value: u64) -> Self {
        Self {
            slot: value as u32,
            generation: (value >> 32) as u32 & ((1 << GENERATION_BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let key = Key {
            slot: u32::MAX,
            generation: Key::next_generation(41),
        };
        assert_eq!(Key::from_u64(key.as_u64() | (7 << 56)), key);
        assert_eq!(Key::next_generation((1 << GENERATION_BITS) - 1), 0);
    }
}
