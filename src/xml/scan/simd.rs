//! Classifies bytes by the vector: the only unsafe code of the scanner.
//!
//! Two shapes of work. Short tokens (names, ordinary attribute values, text between tags) are found
//! by [`Vector::masks`]: one pass over 64 bytes yields a bit for every byte that ends a name, and one
//! for every byte that ends or interrupts text or a value; the parser then walks bits instead of
//! bytes. Long runs go through [`Vector::find`], a loop over one class only.
//!
//! An implementation is picked once a call by [`dispatch`], which instantiates the whole parser for
//! it, so that everything inlines. [`Scalar`] is the reference that the others are tested against
//! and what other processors run.

/// Bytes a mask covers.
pub(super) const BLOCK: usize = 64;

/// Ends a text run: markup, a reference, a possible `]]>`, controls, anything not ASCII.
pub(super) const TEXT: u8 = 0;
/// [`TEXT`], but runs on over bytes that are not ASCII.
pub(super) const TEXT_WIDE: u8 = 1;
/// Ends or interrupts an attribute value: quotes, markup, references, controls, not ASCII.
pub(super) const VALUE: u8 = 2;
/// [`VALUE`], but runs on over bytes that are not ASCII.
pub(super) const VALUE_WIDE: u8 = 3;
/// Interrupts a CDATA section: a bracket, controls, not ASCII.
pub(super) const CDATA: u8 = 4;
/// [`CDATA`], but runs on over bytes that are not ASCII.
pub(super) const CDATA_WIDE: u8 = 5;
/// Anything that is not white space (XML production S).
pub(super) const NOT_SPACE: u8 = 6;
/// Anything that is not an ASCII character of a name without a colon.
pub(super) const NOT_NAME: u8 = 7;
/// Ends a namespace name, or may not be in one: see `bind::may_separate`. Quotes and references are
/// of the class too, so that a search through a value stops where it ends.
pub(super) const SEPARATOR: u8 = 8;
/// [`TEXT`] and [`VALUE`] in one: what ends either, or has to be looked at in it.
pub(super) const STOP: u8 = 9;
/// How many classes there are.
const CLASSES_COUNT: u8 = 10;

/// The definition of the classes, byte by byte.
pub(super) const fn stops(class: u8, byte: u8) -> bool {
    let interrupts = byte < 0x20 || (byte >= 0x80 && class.is_multiple_of(2));
    match class {
        TEXT | TEXT_WIDE => interrupts || matches!(byte, b'<' | b'&' | b'>'),
        VALUE | VALUE_WIDE => interrupts || matches!(byte, b'<' | b'&' | b'"' | b'\''),
        CDATA | CDATA_WIDE => interrupts || byte == b']',
        NOT_SPACE => !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'),
        SEPARATOR => {
            byte <= b' '
                || matches!(
                    byte,
                    b'"' | b'&' | b'\'' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
                )
        }
        STOP => stops(TEXT, byte) || stops(VALUE, byte),
        _ => !matches!(byte, b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'),
    }
}

/// Bit i of each mask: byte i of the block is of the class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// [`NOT_NAME`]
    pub(super) not_name: u64,
    /// [`STOP`]
    pub(super) stop: u64,
}

/// One way to classify.
pub(super) trait Vector: Copy {
    /// The masks of a block.
    fn masks(self, block: &[u8; BLOCK]) -> Masks;
    /// The bytes of a block that are of [`SEPARATOR`].
    fn separators(self, block: &[u8; BLOCK]) -> u64;
    /// The first byte of `CLASS` at or behind `at`, or the length of the input.
    fn find<const CLASS: u8>(self, input: &[u8], at: usize) -> usize;
    /// Does work in a function of its own, with the instructions that this needs.
    fn run<T: Task>(self, task: T) -> T::Output;
}

/// Work to be compiled once for each implementation.
pub(super) trait Task {
    /// What comes out.
    type Output;
    /// Does the work. To be marked `#[inline(always)]`, or it does not see the wider instructions.
    fn run<V: Vector>(self, vector: V) -> Self::Output;
}

/// Runs the task with the best that this processor has.
#[inline]
pub(super) fn dispatch<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    match x86::best() {
        x86::Best::Avx2(vector) => return vector.run(task),
        x86::Best::Ssse3(vector) => return vector.run(task),
        x86::Best::Neither => {}
    }
    Scalar.run(task)
}

/// The first byte of `CLASS` at or behind `at`, or the length of the input.
#[inline]
pub(super) fn find<const CLASS: u8>(input: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    match x86::best() {
        x86::Best::Avx2(vector) => return vector.find::<CLASS>(input, at),
        x86::Best::Ssse3(vector) => return vector.find::<CLASS>(input, at),
        x86::Best::Neither => {}
    }
    Scalar.find::<CLASS>(input, at)
}

/// Byte by byte, with a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar;

/// Bit c of an entry: the byte is of class c.
static CLASSES: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = 0;
        while class < CLASSES_COUNT {
            table[byte] |= (stops(class, byte as u8) as u16) << class;
            class += 1;
        }
        byte += 1;
    }
    table
};

impl Vector for Scalar {
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        for (i, &byte) in block.iter().enumerate() {
            let classes = u64::from(CLASSES[usize::from(byte)]);
            masks.not_name |= (classes >> NOT_NAME & 1) << i;
            masks.stop |= (classes >> STOP & 1) << i;
        }
        masks
    }

    fn separators(self, block: &[u8; BLOCK]) -> u64 {
        let is = |byte: u8| u64::from(CLASSES[usize::from(byte)] >> SEPARATOR & 1);
        let bits = block.iter().enumerate();
        bits.fold(0, |bits, (i, &byte)| bits | is(byte) << i)
    }

    fn find<const CLASS: u8>(self, input: &[u8], at: usize) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        let found = rest
            .iter()
            .position(|&byte| CLASSES[usize::from(byte)] >> CLASS & 1 != 0);
        found.map_or(input.len(), |offset| at + offset)
    }

    #[inline(never)]
    fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions; each use is argued for")]
mod x86 {
    use std::arch::x86_64::*;
    use std::sync::atomic::AtomicU8;
    use std::sync::atomic::Ordering;

    use super::*;

    /// What a byte is lies in the bits that the entries for its two nibbles share: [`NAME`] ones for
    /// a character of a name, [`PLAIN`] ones for what no [`STOP`] is. A bit stands for the high
    /// nibbles whose entries have it; those are all ASCII, and no control.
    const HIGH: [u8; 16] = [
        0, 0, 0x21, 0x42, 0x84, 0x88, 0x84, 0x90, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const NAME: u8 = 0x1F;
    const PLAIN: u8 = 0xE0;
    /// By low nibble. The instruction that looks up takes 0 for a byte that is not ASCII.
    const LOW: [u8; 16] = {
        let mut table = [0; 16];
        let mut byte = 0x20;
        while byte < 0x80 {
            let high = HIGH[byte as usize >> 4];
            if !stops(NOT_NAME, byte) {
                table[byte as usize & 15] |= high & NAME;
            }
            if !stops(STOP, byte) {
                table[byte as usize & 15] |= high & PLAIN;
            }
            byte += 1;
        }
        table
    };
    /// The same for separators. Bits: 1 = 0x0_ and 0x1_, 2 = 0x2_, 4 = 0x5_, 8 = 0x6_, 16 = 0x7_.
    const SEPARATOR_LOW: [u8; 16] = [11, 1, 3, 1, 1, 1, 3, 3, 1, 1, 1, 17, 21, 17, 5, 1];
    const SEPARATOR_HIGH: [u8; 16] = [1, 1, 2, 0, 0, 4, 8, 16, 0, 0, 0, 0, 0, 0, 0, 0];

    /// The best that this processor has.
    pub(super) enum Best {
        Avx2(Avx2),
        Ssse3(Ssse3),
        Neither,
    }

    /// What [`best`] found: 0 = not asked yet. One load a call instead of one for each feature.
    static FOUND: AtomicU8 = AtomicU8::new(0);

    #[inline]
    pub(super) fn best() -> Best {
        match FOUND.load(Ordering::Relaxed) {
            3 => Best::Avx2(Avx2(())),
            2 => Best::Ssse3(Ssse3(())),
            1 => Best::Neither,
            _ => detect(),
        }
    }

    #[cold]
    fn detect() -> Best {
        let (best, found) = match (Avx2::detect(), Ssse3::detect()) {
            (Some(vector), _) => (Best::Avx2(vector), 3),
            (None, Some(vector)) => (Best::Ssse3(vector), 2),
            (None, None) => (Best::Neither, 1),
        };
        FOUND.store(found, Ordering::Relaxed);
        best
    }

    /// Proof that the processor has AVX2, BMI1 and BMI2.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        /// `Some` where it may be used.
        pub(super) fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2"))
            .then_some(Self(()))
        }
    }

    /// Bytes that are of `CLASS` come out as 0xFF, others as 0.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn stops_avx2<const CLASS: u8>(x: __m256i) -> __m256i {
        let is = |byte: u8| _mm256_cmpeq_epi8(x, _mm256_set1_epi8(byte as i8));
        let either = |a, b| _mm256_or_si256(a, b);
        // Signed, what is not ASCII is negative and so below the space like the controls.
        let narrow = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), x);
        let controls = _mm256_cmpeq_epi8(_mm256_min_epu8(x, _mm256_set1_epi8(0x1F)), x);
        match CLASS {
            TEXT => either(either(narrow, is(b'<')), either(is(b'&'), is(b'>'))),
            TEXT_WIDE => either(either(controls, is(b'<')), either(is(b'&'), is(b'>'))),
            VALUE => either(
                either(narrow, is(b'<')),
                either(is(b'&'), either(is(b'"'), is(b'\''))),
            ),
            VALUE_WIDE => either(
                either(controls, is(b'<')),
                either(is(b'&'), either(is(b'"'), is(b'\''))),
            ),
            CDATA => either(narrow, is(b']')),
            CDATA_WIDE => either(controls, is(b']')),
            NOT_SPACE => {
                let space = either(either(is(b' '), is(b'\t')), either(is(b'\r'), is(b'\n')));
                _mm256_andnot_si256(space, _mm256_set1_epi8(-1))
            }
            SEPARATOR => {
                let found = shared_avx2(&SEPARATOR_LOW, &SEPARATOR_HIGH, x);
                _mm256_cmpgt_epi8(found, _mm256_setzero_si256())
            }
            STOP => lacks_avx2::<PLAIN>(shared_avx2(&LOW, &HIGH, x)),
            _ => lacks_avx2::<NAME>(shared_avx2(&LOW, &HIGH, x)),
        }
    }

    /// What the entries for the two nibbles of each byte have in common.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn shared_avx2(low: &[u8; 16], high: &[u8; 16], x: __m256i) -> __m256i {
        let low = _mm256_broadcastsi128_si256(load_table(low));
        let high = _mm256_broadcastsi128_si256(load_table(high));
        let nibble = _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(0x0F));
        _mm256_and_si256(
            _mm256_shuffle_epi8(low, x),
            _mm256_shuffle_epi8(high, nibble),
        )
    }

    /// Bytes with none of these bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn lacks_avx2<const BITS: u8>(x: __m256i) -> __m256i {
        let bits = _mm256_and_si256(x, _mm256_set1_epi8(BITS as i8));
        _mm256_cmpeq_epi8(bits, _mm256_setzero_si256())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load_table(table: &[u8; 16]) -> __m128i {
        // SAFETY: the reference is to 16 readable bytes; the load needs no alignment.
        unsafe { _mm_loadu_si128(table.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits_avx2(x: __m256i) -> u64 {
        u64::from(_mm256_movemask_epi8(x) as u32)
    }

    impl Vector for Avx2 {
        #[inline(always)]
        fn masks(self, block: &[u8; BLOCK]) -> Masks {
            // SAFETY: the type proves AVX2; both loads lie within the 64 bytes of the block and
            // need no alignment.
            unsafe {
                let a = _mm256_loadu_si256(block.as_ptr().cast());
                let b = _mm256_loadu_si256(block.as_ptr().add(32).cast());
                let (a, b) = (shared_avx2(&LOW, &HIGH, a), shared_avx2(&LOW, &HIGH, b));
                Masks {
                    not_name: bits_avx2(lacks_avx2::<NAME>(a))
                        | bits_avx2(lacks_avx2::<NAME>(b)) << 32,
                    stop: bits_avx2(lacks_avx2::<PLAIN>(a))
                        | bits_avx2(lacks_avx2::<PLAIN>(b)) << 32,
                }
            }
        }

        #[inline(always)]
        fn separators(self, block: &[u8; BLOCK]) -> u64 {
            // SAFETY: as above.
            unsafe {
                let a = _mm256_loadu_si256(block.as_ptr().cast());
                let b = _mm256_loadu_si256(block.as_ptr().add(32).cast());
                bits_avx2(stops_avx2::<SEPARATOR>(a)) | bits_avx2(stops_avx2::<SEPARATOR>(b)) << 32
            }
        }

        #[inline(always)]
        fn find<const CLASS: u8>(self, input: &[u8], at: usize) -> usize {
            // SAFETY: the type proves AVX2.
            unsafe { find_avx2::<CLASS>(input, at) }
        }

        #[inline]
        fn run<T: Task>(self, task: T) -> T::Output {
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            #[inline(never)]
            fn inner<T: Task>(vector: Avx2, task: T) -> T::Output {
                task.run(vector)
            }
            // SAFETY: a value of this type exists only where `detect` saw the features; LZCNT and
            // POPCNT are older than AVX2 on every processor that has it.
            unsafe { inner(self, task) }
        }
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn find_avx2<const CLASS: u8>(input: &[u8], mut at: usize) -> usize {
        while let Some(chunk) = input.get(at..).and_then(|rest| rest.first_chunk::<128>()) {
            // SAFETY: the four loads lie within the 128 bytes of the chunk and need no alignment.
            let [a, b, c, d] = [0, 32, 64, 96]
                .map(|o| unsafe { _mm256_loadu_si256(chunk.as_ptr().add(o).cast()) });
            let [a, b, c, d] = [a, b, c, d].map(|x| stops_avx2::<CLASS>(x));
            let any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
            if _mm256_movemask_epi8(any) != 0 {
                let first = bits_avx2(a) | bits_avx2(b) << 32;
                let second = bits_avx2(c) | bits_avx2(d) << 32;
                return at
                    + if first != 0 {
                        first.trailing_zeros() as usize
                    } else {
                        64 + second.trailing_zeros() as usize
                    };
            }
            at += 128;
        }
        while let Some(chunk) = input.get(at..).and_then(|rest| rest.first_chunk::<32>()) {
            // SAFETY: the load is of the 32 bytes of the chunk and needs no alignment.
            let x = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
            let bits = bits_avx2(stops_avx2::<CLASS>(x));
            if bits != 0 {
                return at + bits.trailing_zeros() as usize;
            }
            at += 32;
        }
        let Some(chunk) = input.last_chunk::<32>() else {
            return Scalar.find::<CLASS>(input, at);
        };
        // SAFETY: the load is of the 32 bytes of the chunk and needs no alignment.
        let x = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
        let seen = at.min(input.len()) - (input.len() - 32);
        let bits = bits_avx2(stops_avx2::<CLASS>(x)) >> seen;
        if bits == 0 {
            input.len()
        } else {
            at + bits.trailing_zeros() as usize
        }
    }

    /// Proof that the processor has SSSE3.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Ssse3(());

    impl Ssse3 {
        /// `Some` where it may be used.
        pub(super) fn detect() -> Option<Self> {
            is_x86_feature_detected!("ssse3").then_some(Self(()))
        }
    }

    /// Bit i: byte i of the 16 is of `CLASS`.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn stops_ssse3<const CLASS: u8>(x: __m128i) -> u64 {
        let is = |byte: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(byte as i8));
        let either = |a, b| _mm_or_si128(a, b);
        let narrow = _mm_cmpgt_epi8(_mm_set1_epi8(0x20), x);
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
        let found = match CLASS {
            TEXT => either(either(narrow, is(b'<')), either(is(b'&'), is(b'>'))),
            TEXT_WIDE => either(either(controls, is(b'<')), either(is(b'&'), is(b'>'))),
            VALUE => either(
                either(narrow, is(b'<')),
                either(is(b'&'), either(is(b'"'), is(b'\''))),
            ),
            VALUE_WIDE => either(
                either(controls, is(b'<')),
                either(is(b'&'), either(is(b'"'), is(b'\''))),
            ),
            CDATA => either(narrow, is(b']')),
            CDATA_WIDE => either(controls, is(b']')),
            NOT_SPACE => {
                let space = either(either(is(b' '), is(b'\t')), either(is(b'\r'), is(b'\n')));
                _mm_andnot_si128(space, _mm_set1_epi8(-1))
            }
            SEPARATOR => {
                let found = shared_ssse3(&SEPARATOR_LOW, &SEPARATOR_HIGH, x);
                _mm_cmpgt_epi8(found, _mm_setzero_si128())
            }
            STOP => lacks_ssse3::<PLAIN>(shared_ssse3(&LOW, &HIGH, x)),
            _ => lacks_ssse3::<NAME>(shared_ssse3(&LOW, &HIGH, x)),
        };
        u64::from(_mm_movemask_epi8(found) as u16)
    }

    /// What the entries for the two nibbles of each byte have in common.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn shared_ssse3(low: &[u8; 16], high: &[u8; 16], x: __m128i) -> __m128i {
        let nibble = _mm_and_si128(_mm_srli_epi16(x, 4), _mm_set1_epi8(0x0F));
        _mm_and_si128(
            _mm_shuffle_epi8(load_table(low), x),
            _mm_shuffle_epi8(load_table(high), nibble),
        )
    }

    /// Bytes with none of these bits.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn lacks_ssse3<const BITS: u8>(x: __m128i) -> __m128i {
        let bits = _mm_and_si128(x, _mm_set1_epi8(BITS as i8));
        _mm_cmpeq_epi8(bits, _mm_setzero_si128())
    }

    impl Vector for Ssse3 {
        #[inline(always)]
        fn masks(self, block: &[u8; BLOCK]) -> Masks {
            let mut masks = Masks::default();
            for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: the type proves SSSE3; the load is of the 16 bytes of the part and needs
                // no alignment.
                unsafe {
                    let x = _mm_loadu_si128(part.as_ptr().cast());
                    masks.not_name |= stops_ssse3::<NOT_NAME>(x) << (16 * i);
                    masks.stop |= stops_ssse3::<STOP>(x) << (16 * i);
                }
            }
            masks
        }

        #[inline(always)]
        fn separators(self, block: &[u8; BLOCK]) -> u64 {
            let mut bits = 0;
            for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: as above.
                bits |= unsafe {
                    stops_ssse3::<SEPARATOR>(_mm_loadu_si128(part.as_ptr().cast())) << (16 * i)
                };
            }
            bits
        }

        #[inline(always)]
        fn find<const CLASS: u8>(self, input: &[u8], at: usize) -> usize {
            // SAFETY: the type proves SSSE3.
            unsafe { find_ssse3::<CLASS>(input, at) }
        }

        #[inline]
        fn run<T: Task>(self, task: T) -> T::Output {
            #[target_feature(enable = "ssse3")]
            #[inline(never)]
            fn inner<T: Task>(vector: Ssse3, task: T) -> T::Output {
                task.run(vector)
            }
            // SAFETY: a value of this type exists only where `detect` saw the feature.
            unsafe { inner(self, task) }
        }
    }

    #[target_feature(enable = "ssse3")]
    fn find_ssse3<const CLASS: u8>(input: &[u8], mut at: usize) -> usize {
        while let Some(chunk) = input.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
            // SAFETY: the load is of the 16 bytes of the chunk and needs no alignment.
            let x = unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) };
            let bits = stops_ssse3::<CLASS>(x);
            if bits != 0 {
                return at + bits.trailing_zeros() as usize;
            }
            at += 16;
        }
        Scalar.find::<CLASS>(input, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<V: Vector>(vector: V) {
        for class_byte in 0..=255u8 {
            for at in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[at] = class_byte;
                let what = format!("{class_byte:#x} at {at}");
                assert_eq!(vector.masks(&block), Scalar.masks(&block), "{what}");
                let separators = Scalar.separators(&block);
                assert_eq!(vector.separators(&block), separators, "{what}");
            }
        }
        for len in 0..300 {
            for byte in [
                0, 9, 10, b' ', b'<', b'>', b'&', b'"', b'\'', b']', b':', b'z', 0x80, 255, b'\\',
                b'^', b'`', b'{', b'|', b'}', b'~', 0x1F,
            ] {
                let mut input = vec![b'a'; len];
                if len > 0 {
                    input[len / 2] = byte;
                    input[len - 1] = byte;
                }
                for at in [0, 1, len / 2, (len / 2 + 1).min(len), len] {
                    find_all(vector, &input, at);
                }
            }
        }
    }

    fn find_all<V: Vector>(vector: V, input: &[u8], at: usize) {
        fn one<const CLASS: u8, V: Vector>(vector: V, input: &[u8], at: usize) {
            let expected = (at..input.len()).find(|&i| stops(CLASS, input[i]));
            let expected = expected.unwrap_or(input.len());
            assert_eq!(
                vector.find::<CLASS>(input, at),
                expected,
                "class {CLASS} at {at}"
            );
        }
        one::<TEXT, V>(vector, input, at);
        one::<TEXT_WIDE, V>(vector, input, at);
        one::<VALUE, V>(vector, input, at);
        one::<VALUE_WIDE, V>(vector, input, at);
        one::<CDATA, V>(vector, input, at);
        one::<CDATA_WIDE, V>(vector, input, at);
        one::<NOT_SPACE, V>(vector, input, at);
        one::<NOT_NAME, V>(vector, input, at);
        one::<SEPARATOR, V>(vector, input, at);
        one::<STOP, V>(vector, input, at);
    }

    #[test]
    fn every_byte_is_classified_alike() {
        for byte in 0..=255u8 {
            let input = [b'a', byte, b'a'].repeat(20);
            find_all(Scalar, &input, 0);
            #[cfg(target_arch = "x86_64")]
            {
                let wide = x86::Avx2::detect().into_iter();
                wide.for_each(|vector| find_all(vector, &input, 0));
                let narrow = x86::Ssse3::detect().into_iter();
                narrow.for_each(|vector| find_all(vector, &input, 0));
            }
        }
    }

    #[test]
    fn every_implementation_classifies_alike() {
        check(Scalar);
        #[cfg(target_arch = "x86_64")]
        {
            x86::Avx2::detect().into_iter().for_each(check);
            x86::Ssse3::detect().into_iter().for_each(check);
        }
    }
}
