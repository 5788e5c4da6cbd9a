//! Classification by the vectors of x86: AVX2, else SSSE3. The only unsafe code of the scanner.
//!
//! Both look a byte's two nibbles up in tables of 16 entries ([`LOW`], [`HIGH`]), as `pshufb` does for a
//! whole vector at once, or compare with each byte of the class. Read [`Avx2`] first.

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
                not_name: bits_avx2(lacks_avx2::<NAME>(a)) | bits_avx2(lacks_avx2::<NAME>(b)) << 32,
                stop: bits_avx2(lacks_avx2::<PLAIN>(a)) | bits_avx2(lacks_avx2::<PLAIN>(b)) << 32,
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
        let [a, b, c, d] =
            [0, 32, 64, 96].map(|o| unsafe { _mm256_loadu_si256(chunk.as_ptr().add(o).cast()) });
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
