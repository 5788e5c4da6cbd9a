//! What goes over connections, by what is at their other end.

/// Upper bounds of sizes are the powers of two from 1 byte to 1 GiB.
pub const SIZE_BOUNDS: usize = 31;
/// Kinds of stanzas.
pub const KINDS: usize = 3;
/// Ways on which a stream is carried.
pub const WAYS: usize = 3;

/// How large things were, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Counts by bucket, not summed up; the last one has no bound.
    pub buckets: [u64; SIZE_BOUNDS + 1],
}

impl Sizes {
    /// One had so many bytes.
    pub fn observe(&mut self, bytes: usize) {
        let place = usize::BITS - bytes.saturating_sub(1).leading_zeros();
        let place = (place as usize).min(SIZE_BOUNDS);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
    }

    /// Adds another one.
    fn add(&mut self, other: &Self) {
        for (own, others) in self.buckets.iter_mut().zip(other.buckets) {
            *own += others;
        }
    }
}

/// Stanzas in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// By kind, errors among them.
    pub stanzas: [u64; KINDS],
    /// Those of them that are errors.
    pub errors: [u64; KINDS],
    /// Their bytes, by kind.
    pub bytes: [u64; KINDS],
    /// How large they were.
    pub sizes: Sizes,
    /// Stream errors.
    pub stream_errors: u64,
}

impl Flow {
    /// A stanza of a kind, by its number.
    pub fn note(&mut self, kind: usize, is_error: bool, bytes: usize) {
        if let (Some(stanzas), Some(errors), Some(sum)) = (
            self.stanzas.get_mut(kind),
            self.errors.get_mut(kind),
            self.bytes.get_mut(kind),
        ) {
            *stanzas += 1;
            *errors += u64::from(is_error);
            *sum += bytes as u64;
        }
        self.sizes.observe(bytes);
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.stanzas, &other.stanzas),
            (&mut self.errors, &other.errors),
            (&mut self.bytes, &other.bytes),
        ];
        for (own, others) in pairs {
            for (own, others) in own.iter_mut().zip(others) {
                *own += others;
            }
        }
        self.sizes.add(&other.sizes);
        self.stream_errors += other.stream_errors;
    }

    /// Errors of every kind.
    pub fn all_errors(&self) -> u64 {
        self.errors.iter().sum::<u64>() + self.stream_errors
    }
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What the others sent.
    pub received: Flow,
    /// What they were sent.
    pub sent: Flow,
    /// Bytes of streams received, in clear, by way.
    pub bytes_in: [u64; WAYS],
    /// Bytes of streams sent, likewise.
    pub bytes_out: [u64; WAYS],
}

impl Traffic {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.received.add(&other.received);
        self.sent.add(&other.sent);
        for (own, others) in [
            (&mut self.bytes_in, &other.bytes_in),
            (&mut self.bytes_out, &other.bytes_out),
        ] {
            for (own, others) in own.iter_mut().zip(others) {
                *own += others;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_find_their_bucket() {
        let mut sizes = Sizes::default();
        for (bytes, place) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 30, 30),
        ] {
            let before = sizes.buckets[place];
            sizes.observe(bytes);
            assert_eq!(sizes.buckets[place], before + 1, "{bytes}");
        }
        sizes.observe((1 << 30) + 1);
        assert_eq!(sizes.buckets[SIZE_BOUNDS], 1);
    }

    #[test]
    fn what_is_noted_adds_up() {
        let mut traffic = Traffic::default();
        traffic.sent.note(1, true, 100);
        traffic.sent.note(1, false, 20);
        traffic.sent.stream_errors += 1;
        traffic.bytes_in[2] = 5;
        traffic.bytes_out[0] = 3;
        let mut sum = traffic;
        sum.add(&traffic);
        let sizes = [(7, 2), (5, 2)].map(|(place, count)| sum.sent.sizes.buckets[place] == count);
        assert_eq!((sizes, sum.bytes_out[0]), ([true; 2], 6));
        assert_eq!(sum.sent.stanzas, [0, 4, 0]);
        assert_eq!(sum.sent.bytes, [0, 240, 0]);
        assert_eq!((sum.sent.errors[1], sum.sent.all_errors()), (2, 4));
        assert_eq!((sum.bytes_in[2], sum.received), (10, Flow::default()));
        traffic.sent.note(KINDS, false, 1);
        assert_eq!(traffic.sent.stanzas, [0, 2, 0], "no such kind");
    }
}
