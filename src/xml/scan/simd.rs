//! Classifies bytes by the vector.
//!
//! Two shapes of work. Short tokens (names, ordinary attribute values, text between tags) are found
//! by [`Vector::masks`]: one pass over 64 bytes yields a bit for every byte that ends a name, and one
//! for every byte that ends or interrupts text or a value; the parser then walks bits instead of
//! bytes. Long runs go through [`Vector::find`], a loop over one class only.
//!
//! An implementation is picked once a call by [`dispatch`], which instantiates the whole parser for
//! it, so that everything inlines. [`Scalar`] is the reference that the others are tested against
//! and what other processors run; those of x86 are in `x86`.

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions; each use is argued for")]
mod x86;

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
