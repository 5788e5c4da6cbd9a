//! The ordinary way through an element: names of ASCII, attributes `name='value'` with one space
//! before them, text, end tags without white space.
//!
//! It walks the bits of a window of 64 classified bytes ([`Masks`]). All of it is inlined into one
//! function that calls next to nothing, so that it works in registers. At whatever is out of the
//! ordinary, long, or not yet whole it leaves an [`Exit`] behind and stops; [`super::engine`] then
//! takes the step and has it go on. See docs/decisions/0095.

use super::Limits;
use super::bind;
use super::engine::Entry;
use super::engine::Exit;
use super::engine::Place;
use super::engine::Step;
use super::head::Attribute;
use super::head::XML_NAMESPACE;
use super::head::XMLNS_NAMESPACE;
use super::note;
use super::scope::StreamScope;
use super::simd;
use super::simd::BLOCK;
use super::simd::Masks;
use super::simd::Vector;
use super::tables::Open;
use super::tables::Tables;

/// What declares the default namespace.
pub(super) const XMLNS: &[u8] = b"xmlns";

/// Lengths of the namespace names that may not be the default namespace.
const RESERVED_LENS: [usize; 2] = [XML_NAMESPACE.len(), XMLNS_NAMESPACE.len()];

/// The element at the front of `input`, from `entry` on.
pub(super) struct Walk<'a> {
    pub(super) input: &'a [u8],
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
    pub(super) scope: &'a StreamScope,
    pub(super) entry: Entry,
}

/// See [`Tables::exit`].
#[derive(Clone, Copy, Debug)]
struct Halt;

/// The position behind what was recognised. Why there is none is in the tables, since a reason handed
/// from step to step takes registers from all of them.
type Way = Result<usize, Halt>;

impl simd::Task for Walk<'_> {
    type Output = Step;

    #[inline(always)]
    fn run<V: Vector>(self, vector: V) -> Step {
        let Self {
            input,
            tables,
            limits,
            scope,
            mut entry,
        } = self;
        let short;
        let block = match input.first_chunk() {
            Some(block) => block,
            None => {
                short = with_zeros(input);
                &short
            }
        };
        let mut walker = Walker {
            input,
            window: 0,
            block,
            masks: vector.masks(block),
            tables,
            depth_max: limits.depth_max,
            name_max: limits.name_max(),
            seen: seen_at_first(limits),
        };
        loop {
            match walker.element(vector, entry) {
                Ok(end) => return Ok(end),
                Err(Halt) => {
                    let mut place = Place {
                        vector,
                        input,
                        tables: &mut *walker.tables,
                        limits,
                    };
                    place.step(scope, &mut entry)?;
                }
            }
        }
    }
}

/// A copy of what is shorter than a block.
#[cold]
fn with_zeros(input: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(input) {
        *to = *from;
    }
    block
}

/// [`Walker::seen`]
#[inline(always)]
pub(super) fn seen_at_first(limits: &Limits) -> u64 {
    if limits.name_bytes_max < BLOCK || limits.attributes_max < BLOCK {
        return few_seen(limits);
    }
    0
}

#[cold]
fn few_seen(limits: &Limits) -> u64 {
    if limits.name_bytes_max < BLOCK {
        return u64::MAX;
    }
    let max = limits.attributes_max.min(BLOCK) as u32;
    u64::MAX.checked_shr(max).unwrap_or(0)
}

struct Walker<'a> {
    input: &'a [u8],
    /// Where the block begins that `masks` describe.
    window: usize,
    /// The block; where the input is shorter, a copy of it with zeros behind.
    block: &'a [u8; BLOCK],
    masks: Masks,
    tables: &'a mut Tables,
    depth_max: usize,
    /// [`Limits::name_max`]
    name_max: usize,
    /// Which hashes of attribute names a tag begins with: 64 less as many as it may have attributes,
    /// or all, where names may be so short that their lengths have to be looked at.
    seen: u64,
}

impl<'a> Walker<'a> {
    /// To the end of the top-level element, or of the stream header's tag. Neither leaves anything
    /// open.
    #[inline(always)]
    fn element<V: Vector>(&mut self, vector: V, entry: Entry) -> Way {
        let mut pos = match entry {
            Entry::Markup(pos) => pos,
            Entry::Tag(pos, seen) => {
                let walker = &mut *self;
                let pos = vector.run(RestOfTag { walker, pos, seen })?;
                if self.tables.open.is_empty() {
                    return Ok(pos);
                }
                self.text(vector, pos)?
            }
            Entry::Text(pos) => self.long_text(vector, pos)?,
            Entry::Done(end) => return Ok(end),
        };
        loop {
            if self.byte(pos + 1) == Some(b'/') {
                pos = self.end_tag(pos + 2)?;
            } else {
                if pos + 1 >= self.input.len() || self.tables.open.len() >= self.depth_max {
                    return self.leave(Exit::Markup(pos));
                }
                self.tables.begin_tag(pos + 1);
                let behind = self.element_name(vector, pos + 1)?;
                pos = self.rest_of_tag(vector, behind, self.seen)?;
            }
            if self.tables.open.is_empty() {
                return Ok(pos);
            }
            pos = self.text(vector, pos)?;
        }
    }

    /// Leaves the ordinary way.
    #[inline(always)]
    fn leave<T>(&mut self, exit: Exit) -> Result<T, Halt> {
        self.tables.exit = exit;
        Err(Halt)
    }

    /// The byte at a position, if it has arrived.
    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    /// Moves the window so that it begins at a position of the input, or as near before that as the
    /// end of the input allows. `false`: it does so already.
    #[inline(always)]
    fn move_window<V: Vector>(&mut self, vector: V, to: usize) -> bool {
        let is_moved = self.move_block(to);
        if is_moved {
            self.masks = vector.run(Classify(self.block));
        }
        is_moved
    }

    /// The same, but for the masks.
    #[inline(always)]
    fn move_block(&mut self, to: usize) -> bool {
        let (to, block) = match self.input.get(to..).and_then(|rest| rest.first_chunk()) {
            Some(block) => (to, block),
            None => match self.input.last_chunk() {
                Some(block) => (self.input.len() - BLOCK, block),
                None => return false,
            },
        };
        if self.window == to {
            return false;
        }
        self.window = to;
        self.block = block;
        true
    }

    /// The name of a start tag; returns the position behind it. Whether the name ends there is seen
    /// where the tag goes on: see `Place::gap`.
    #[inline(always)]
    fn element_name<V: Vector>(&mut self, vector: V, start: usize) -> Way {
        let mut from = start.wrapping_sub(self.window);
        if from >= BLOCK || self.masks.not_name >> from == 0 {
            self.move_window(vector, start);
            from = start.wrapping_sub(self.window);
        }
        if from < BLOCK {
            let bits = self.masks.not_name >> from;
            let len = bits.trailing_zeros() as usize;
            // Of the characters of a name, those up to `9` may not begin one.
            let is_plain = self.block[from] > b'9' && len.wrapping_sub(1) < self.name_max;
            if bits != 0 && is_plain {
                self.tables.tag.name_len = len as u16;
                return Ok(start + len);
            }
        }
        self.leave(Exit::ElementName(start))
    }

    /// Behind the element name or an attribute; to the end of the tag. `seen` has a bit for the hash
    /// of each attribute's name: a clear one spares the search for duplicates. It has at least as
    /// many bits as there are attributes, of 64, or of as many more as may be, so that one too many
    /// is searched for.
    #[inline(always)]
    fn rest_of_tag<V: Vector>(&mut self, vector: V, mut pos: usize, mut seen: u64) -> Way {
        let mut next = self.byte(pos);
        while next == Some(b' ') {
            pos = self.attributes(vector, pos, &mut seen);
            next = self.byte(pos);
            if next == Some(b' ') {
                match self.window().lang(self.tables, pos + 1, seen) {
                    Some(end) => pos = end,
                    None => return self.leave(Exit::Spaced(pos + 1, seen)),
                }
                seen |= LANG_BIT;
                next = self.byte(pos);
            }
        }
        match next {
            Some(b'>') => self.tag_end(pos + 1, false),
            Some(b'/') if self.byte(pos + 1) == Some(b'>') => self.tag_end(pos + 2, true),
            _ => self.leave(Exit::Gap(pos, seen)),
        }
    }

    /// Ordinary attributes, as many as there are, at the space before the first of them; returns the
    /// position behind the last one.
    #[inline(always)]
    fn attributes<V: Vector>(&mut self, vector: V, mut pos: usize, seen: &mut u64) -> usize {
        loop {
            let (end, is_done) = self.window().attributes(vector, self.tables, pos, seen);
            pos = end;
            // Once more from there.
            if is_done || !self.move_block(pos + 1) {
                return pos;
            }
            self.masks = vector.masks(self.block);
        }
    }

    #[inline(always)]
    fn window(&self) -> Window<'a> {
        Window {
            block: self.block,
            start: self.window,
            masks: self.masks,
        }
    }

    /// Behind the `>`: takes note of the tag, and opens the element unless it is empty.
    #[inline(always)]
    fn tag_end(&mut self, end: usize, is_empty: bool) -> Way {
        let is_plain = !self.tables.open.is_full()
            && (!self.tables.tag_is_of_note()
                || note::note_plain(self.tables, self.input, end, is_empty));
        if !is_plain {
            return self.leave(Exit::Note(end, is_empty));
        }
        if self.tables.open.len() == 1 {
            self.tables.head.children += 1;
        }
        if !is_empty {
            self.tables.open_tag(self.tables.bindings.len());
        }
        Ok(end)
    }

    /// Text, if any is here, up to the next `<`, where it returns.
    #[inline(always)]
    fn text<V: Vector>(&mut self, vector: V, pos: usize) -> Way {
        if self.byte(pos) == Some(b'<') {
            return Ok(pos);
        }
        self.tables.mark = pos;
        self.long_text(vector, pos)
    }

    /// Text up to the next `<`, where it returns. The text began at [`Tables::mark`].
    #[inline(always)]
    fn long_text<V: Vector>(&mut self, vector: V, mut pos: usize) -> Way {
        loop {
            let from = pos.wrapping_sub(self.window);
            let bits = if from < BLOCK {
                self.masks.stop >> from
            } else {
                0
            };
            if bits == 0 {
                // Once more from where the block ends, and for long text not again.
                let next = pos.max(self.window + BLOCK);
                if from == 0 || next >= self.input.len() || !self.move_window(vector, next) {
                    return self.leave(Exit::Text(pos));
                }
                pos = next;
                continue;
            }
            pos += bits.trailing_zeros() as usize;
            let byte = self.byte(pos);
            if byte == Some(b'<') {
                return Ok(pos);
            }
            if !matches!(byte, Some(b'\'' | b'"' | b'\t' | b'\n' | b'\r')) {
                return self.leave(Exit::Text(pos));
            }
            pos += 1;
        }
    }

    /// Behind `</`: the name must be that of the innermost open element.
    #[inline(always)]
    fn end_tag(&mut self, start: usize) -> Way {
        if let Some(&open) = self.tables.open.last() {
            let end = start + usize::from(open.name_len);
            if self.byte(end) == Some(b'>') && self.repeats(open, start) {
                self.tables.close();
                return Ok(end + 1);
            }
        }
        self.leave(Exit::EndTag(start))
    }

    /// The name of `open` stands at `start` again, as far as two words tell; short names at the very end
    /// of the input and long ones are left to others.
    #[inline(always)]
    fn repeats(&self, open: Open, start: usize) -> bool {
        let len = usize::from(open.name_len);
        let opened = open.start as usize;
        if len <= 8
            && let (Some(a), Some(b)) = (self.word(open.start), self.word(start as u32))
        {
            // What is behind the names falls out.
            return (a ^ b).wrapping_shl(8 * (8 - len as u32)) == 0;
        }
        let (Some(a), Some(b)) = (
            self.input.get(opened..opened + len),
            self.input.get(start..start + len),
        ) else {
            return false;
        };
        (8..=16).contains(&len) && words::<8>(a, b)
    }

    /// The eight bytes at a position, if they have arrived.
    #[inline(always)]
    fn word(&self, at: u32) -> Option<u64> {
        let bytes = self.input.get(at as usize..at as usize + 8)?;
        bytes.first_chunk().map(|word| u64::from_le_bytes(*word))
    }
}

/// [`Walker::rest_of_tag`], in a function of its own.
struct RestOfTag<'w, 'a> {
    walker: &'w mut Walker<'a>,
    pos: usize,
    seen: u64,
}

impl simd::Task for RestOfTag<'_, '_> {
    type Output = Way;

    #[inline(always)]
    fn run<V: Vector>(self, vector: V) -> Way {
        self.walker.rest_of_tag(vector, self.pos, self.seen)
    }
}

/// The masks of a block, got in a function of its own.
struct Classify<'a>(&'a [u8; BLOCK]);

impl simd::Task for Classify<'_> {
    type Output = Masks;

    #[inline(always)]
    fn run<V: Vector>(self, vector: V) -> Masks {
        vector.masks(self.0)
    }
}

/// The name with a prefix that stanzas have most, and that needs no declaration.
pub(super) const XML_LANG: &[u8] = b"xml:lang";
/// Of its prefix.
pub(super) const XML_PREFIX_LEN: u16 = 3;
/// See [`bit_of`].
const LANG_BIT: u64 = bit_of(b'x', XML_LANG.len() + 2);

struct Window<'a> {
    block: &'a [u8; BLOCK],
    start: usize,
    masks: Masks,
}

impl Window<'_> {
    /// The attributes that end in the block, at the space before the first of them; returns the
    /// position behind the last one, and whether the next one is not there or out of the ordinary.
    #[inline(always)]
    fn attributes<V: Vector>(
        &self,
        vector: V,
        tables: &mut Tables,
        pos: usize,
        seen: &mut u64,
    ) -> (usize, bool) {
        let Self {
            block,
            start,
            masks: Masks { not_name, stop },
        } = *self;
        // Of the name of the next attribute.
        let mut from = pos.wrapping_sub(start).wrapping_add(1);
        while from < BLOCK {
            let value = from + (not_name >> from).trailing_zeros() as usize + 2;
            if value >= BLOCK {
                break;
            }
            let [equals, quote] = [block[value - 2], block[value - 1]];
            let end = value + (stop >> value).trailing_zeros() as usize;
            if equals != b'=' || !matches!(quote, b'\'' | b'"') {
                return (start + from - 1, true);
            }
            if end >= BLOCK - 1 {
                break;
            }
            // Of the characters of a name, those below `A` may not begin one; nor may the `=`.
            let first = block[from];
            let bit = bit_of(first, value - from);
            let attributes = &mut tables.head.attributes;
            let is_new = *seen & bit == 0 && !attributes.is_full();
            if block[end] != quote || first < b'A' || !is_new {
                return (start + from - 1, true);
            }
            *seen |= bit;
            attributes.push(Attribute {
                start: (start + from) as u32,
                value: (start + value) as u32,
                end: (start + end) as u32,
                name_len: (value - from - 2) as u16,
                ..Attribute::default()
            });
            if first == b'x' && block.get(from..value - 2) == Some(XMLNS) {
                // A quote is one of them: the first is the one that ends the value.
                let separators = vector.separators(block) >> value;
                let is_plain = value + separators.trailing_zeros() as usize == end;
                tables.tag.default = attributes.len() as u32;
                if let Some(attribute) = attributes.last_mut() {
                    attribute.is_xmlns = true;
                }
                // All others are in order as they are.
                tables.tag.is_bound |= !is_plain || RESERVED_LENS.contains(&(end - value));
            }
            if block[end + 1] != b' ' {
                return (start + end + 1, true);
            }
            from = end + 2;
        }
        (start.wrapping_add(from).wrapping_sub(1), false)
    }
    /// An ordinary `xml:lang` at a position, if it ends in the block; returns the position behind it.
    #[cold]
    #[inline(never)]
    fn lang(self, tables: &mut Tables, start: usize, seen: u64) -> Option<usize> {
        let from = start.checked_sub(self.start)?;
        let rest = self.block.get(from..)?.strip_prefix(XML_LANG)?;
        let (&[equals, quote], rest) = rest.split_first_chunk()?;
        let value = BLOCK - rest.len();
        let end = value + self.masks.stop.checked_shr(value as u32)?.trailing_zeros() as usize;
        let is_quote = equals == b'=' && matches!(quote, b'\'' | b'"');
        if !is_quote || self.block.get(end) != Some(&quote) || seen & LANG_BIT != 0 {
            return None;
        }
        tables.head.attributes.push(Attribute {
            start: start as u32,
            value: (self.start + value) as u32,
            end: (self.start + end) as u32,
            name_len: XML_LANG.len() as u16,
            prefix_len: XML_PREFIX_LEN,
            namespace_id: bind::XML_ID,
            ..Attribute::default()
        });
        Some(self.start + end + 1)
    }
}

/// Which of 64 the name of an attribute is, by its first byte, and a length: that of the name, with
/// what stands between it and the value. So chosen that few names that go together are the same one.
#[inline(always)]
pub(super) const fn bit_of(first: u8, len: usize) -> u64 {
    1 << ((5 * first as usize + 8 * len) % 64)
}

/// Equality of two slices of equal length from `N` to `2 * N`, by their first and last `N` bytes.
#[inline(always)]
fn words<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
}
