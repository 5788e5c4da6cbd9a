//! Start tags: names, attributes, values.

use super::engine::Engine;
use super::engine::Halt;
use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::engine::Way;
use super::error::Limit;
use super::error::Malformed;
use super::error::ScanError;
use super::head::Attribute;
use super::head::XML_NAMESPACE;
use super::head::XMLNS_NAMESPACE;
use super::names;
use super::names::Decoded;
use super::note;
use super::simd;
use super::simd::Vector;
use super::tables::Open;
use super::tables::State;
use super::tables::Tables;

impl<V: Vector> Engine<'_, V> {
    /// The name of a start tag; returns the position behind it.
    #[inline(always)]
    pub(super) fn element_name(&mut self, start: usize) -> Way {
        let end = self.find_name_end(start);
        let is_whole = self
            .byte(end)
            .is_some_and(|byte| byte < 0x80 && byte != b':');
        if is_whole && self.is_plain_name(start, end) {
            self.tables.tag.name_len = (end - start) as u16;
            return Ok(end);
        }
        self.tables.mark = start;
        self.tables.prefix_len = 0;
        self.go(|place| place.element_name(start))
    }

    /// The name characters in this range, all ASCII and none a colon, make a name.
    #[inline(always)]
    fn is_plain_name(&self, start: usize, end: usize) -> bool {
        // Of the characters of a name, those up to `9` may not begin one.
        let is_started = self.byte(start).is_some_and(|byte| byte > b'9');
        is_started && (end - start).wrapping_sub(1) < self.name_max
    }

    /// Behind the element name or an attribute; to the end of the tag. `seen` has one bit for each
    /// hash of an attribute name: a clear one spares the search for duplicates.
    #[inline(always)]
    pub(super) fn attributes(&mut self, mut pos: usize, mut seen: u64) -> Way {
        loop {
            match self.byte(pos) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => pos = self.spaced(pos + 1, &mut seen)?,
                Some(b'>') => return self.tag_end(pos + 1, false),
                Some(b'/') => match self.byte(pos + 1) {
                    Some(b'>') => return self.tag_end(pos + 2, true),
                    Some(_) => return self.fail(Malformed::StartTag),
                    None => return self.suspend(State::Slash, pos + 1),
                },
                Some(_) => return self.fail(Malformed::Attribute),
                None => return self.suspend(State::Gap, pos),
            }
        }
    }

    /// Behind white space: an attribute, or nothing where the tag ends.
    #[inline(always)]
    pub(super) fn spaced(&mut self, mut pos: usize, seen: &mut u64) -> Way {
        if self.byte(pos).is_some_and(|byte| byte <= b' ') {
            pos = self.vector.find::<{ simd::NOT_SPACE }>(self.input, pos);
        }
        match self.byte(pos) {
            Some(b'>' | b'/') => Ok(pos),
            Some(_) => self.attribute(pos, seen),
            None => self.suspend(State::Spaced, pos),
        }
    }

    /// An attribute; returns the position behind its value.
    #[inline(always)]
    fn attribute(&mut self, start: usize, seen: &mut u64) -> Way {
        let name_end = self.find_name_end(start);
        if let Some(&[b'=', quote @ (b'\'' | b'"')]) = self.input.get(name_end..name_end + 2)
            && self.is_plain_name(start, name_end)
        {
            let value = name_end + 2;
            let end = self.find_value_end(value);
            let is_whole = self.byte(end) == Some(quote);
            self.enter(start, name_end, seen)?;
            self.tables.head.attributes.push(Attribute {
                start: start as u32,
                value: value as u32,
                end: end as u32,
                name_len: (name_end - start) as u16,
                ..Attribute::default()
            });
            if self.byte(start) == Some(b'x') {
                // Here and not there, where the instructions of the vector would not be at hand.
                let separator = self.vector.find::<{ simd::SEPARATOR }>(self.input, value);
                mark_default(self.tables, self.input, is_whole && separator >= end);
            }
            if is_whole {
                return Ok(end + 1);
            }
            return self.go(|place| place.value(end, quote));
        }
        self.tables.mark = start;
        self.tables.prefix_len = 0;
        // No bit is kept for names out of the ordinary: later ones are searched for.
        *seen = u64::MAX;
        self.go(|place| place.attribute(start))
    }

    /// Refuses the attribute if the tag has it already, or has too many.
    #[inline(always)]
    fn enter(&mut self, start: usize, end: usize, seen: &mut u64) -> Result<(), Halt> {
        let (first, last) = (self.byte(start), self.byte(end.wrapping_sub(1)));
        let sum = 5 * usize::from(first.unwrap_or(0)) + usize::from(last.unwrap_or(0));
        let bit = 1 << ((sum + 8 * (end - start)) % 64);
        let known = self.tables.head.attributes.len() - self.tables.tag.first as usize;
        if *seen & bit != 0 || known >= self.limits.attributes_max {
            self.go(|place| place.refuse_attribute(start, end))?;
        }
        *seen |= bit;
        Ok(())
    }

    /// Behind the `>`: resolves prefixes, and opens the element unless it is empty.
    #[inline(always)]
    fn tag_end(&mut self, end: usize, is_empty: bool) -> Way {
        let tables = &mut *self.tables;
        let outer_bindings = tables.bindings.len();
        if tables.tag_is_of_note() {
            let noted = note::note(tables, self.input, self.limits, self.scope, end, is_empty);
            if let Err(error) = noted {
                return self.fail(error);
            }
        } else if tables.open.len() == 1 {
            tables.head.children += 1;
        }
        let tables = &mut *self.tables;
        if is_empty {
            tables.bindings.truncate(outer_bindings);
        } else if !tables.in_header {
            tables.open.push(Open {
                start: tables.tag.start,
                name_len: tables.tag.name_len,
                bindings: outer_bindings as u16,
            });
        }
        Ok(end)
    }
}

impl<V: Vector> Place<'_, V> {
    /// A name with a prefix, or other than ASCII, or not yet whole: from `pos` on, begun at `mark`.
    /// Returns the position behind it and the length of its prefix.
    fn name(&mut self, state: State, pos: usize) -> Result<(usize, usize), Stop> {
        slow_name(self.tables, self.input, self.limits.name_max(), state, pos)
    }

    /// The name of a start tag, out of the ordinary.
    #[cold]
    pub(super) fn element_name(&mut self, pos: usize) -> Step {
        let (end, prefix_len) = self.name(State::ElementName, pos)?;
        let tag = &mut self.tables.tag;
        tag.name_len = (end - tag.start as usize) as u16;
        tag.prefix_len = prefix_len as u16;
        tag.is_bound |= prefix_len != 0;
        Ok(end)
    }

    /// An attribute out of the ordinary, in its name, which began at `mark`.
    #[cold]
    pub(super) fn attribute(&mut self, pos: usize) -> Step {
        let (end, prefix_len) = self.name(State::AttributeName, pos)?;
        let start = self.tables.mark;
        self.refuse_attribute(start, end)?;
        let name = self.input.get(start..end).unwrap_or_default();
        let is_xmlns = name == b"xmlns" || name.starts_with(b"xmlns:");
        self.tables.head.attributes.push(Attribute {
            start: start as u32,
            name_len: name.len() as u16,
            prefix_len: prefix_len as u16,
            is_xmlns,
            ..Attribute::default()
        });
        self.tables.tag.is_bound |= is_xmlns || prefix_len != 0;
        if is_xmlns && prefix_len == 0 {
            self.tables.tag.default = self.tables.head.attributes.len() as u32;
        }
        self.late_value(State::Equals, end)
    }

    /// Refuses the attribute if it is a second one of its name, or one too many.
    #[cold]
    fn refuse_attribute(&mut self, start: usize, end: usize) -> Result<(), Stop> {
        let input = self.input;
        let name = input.get(start..end).unwrap_or_default();
        let first = self.tables.tag.first as usize;
        let known = self.tables.head.attributes.get(first..).unwrap_or_default();
        let is_same = |attribute: &Attribute| {
            usize::from(attribute.name_len) == name.len() && attribute.name().of(input) == name
        };
        if known.iter().any(is_same) {
            return Err(Malformed::DuplicateAttribute.into());
        }
        if known.len() >= self.limits.attributes_max {
            return Err(Limit::Attributes.into());
        }
        Ok(())
    }

    /// Behind the name of an attribute or its `=`, as `state` says; to behind the value.
    #[cold]
    pub(super) fn late_value(&mut self, state: State, pos: usize) -> Step {
        let pos = opening(self.tables, self.input, state, pos)?;
        self.value(pos, self.tables.quote)
    }

    /// In a value, whose beginning the attribute knows; returns the position behind its quote.
    #[cold]
    pub(super) fn value(&mut self, mut pos: usize, quote: u8) -> Step {
        self.tables.quote = quote;
        loop {
            pos = self.vector.find::<{ simd::VALUE }>(self.input, pos);
            if self.input.get(pos) == Some(&quote) {
                if let Some(attribute) = self.tables.head.attributes.last_mut() {
                    attribute.end = pos as u32;
                }
                return Ok(pos + 1);
            }
            pos = self.value_other(pos)?;
        }
    }

    /// In a value, at what is neither plain ASCII nor its end.
    #[cold]
    fn value_other(&mut self, pos: usize) -> Step {
        match self.input.get(pos).copied() {
            Some(b'\'' | b'"') => Ok(pos + 1),
            Some(b'<') => Err(Malformed::Value.into()),
            Some(byte @ (b'&' | b'\t' | b'\r' | b'\n')) => {
                if let Some(attribute) = self.tables.head.attributes.last_mut() {
                    attribute.escaped = true;
                }
                if byte == b'&' {
                    self.reference(State::ValueReference, pos)
                } else {
                    Ok(pos + 1)
                }
            }
            Some(0x80..) => self.wide::<{ simd::VALUE_WIDE }>(State::Value, pos),
            Some(_) => Err(Malformed::Character.into()),
            None => {
                self.tables.suspend(State::Value, pos);
                Err(Stop::More)
            }
        }
    }
}

/// Behind the name of an attribute, or its `=`: to behind the opening quote.
pub(super) fn opening(tables: &mut Tables, input: &[u8], mut state: State, from: usize) -> Step {
    let mut pos = from;
    loop {
        pos = simd::find::<{ simd::NOT_SPACE }>(input, pos);
        match input.get(pos) {
            Some(b'=') if state == State::Equals => state = State::Quote,
            Some(&quote @ (b'\'' | b'"')) if state == State::Quote => {
                open_value(tables, pos + 1, quote);
                return Ok(pos + 1);
            }
            Some(_) => return Err(Malformed::Attribute.into()),
            None => {
                tables.suspend(state, pos);
                return Err(Stop::More);
            }
        }
        pos += 1;
    }
}

fn open_value(tables: &mut Tables, start: usize, quote: u8) {
    tables.quote = quote;
    if let Some(attribute) = tables.head.attributes.last_mut() {
        attribute.value = start as u32;
    }
}

/// Lengths of the namespace names that may not be the default namespace.
const RESERVED_LENS: [usize; 2] = [XML_NAMESPACE.len(), XMLNS_NAMESPACE.len()];

/// Takes note if the last attribute, which has no prefix, is `xmlns`. `is_plain`: its value is
/// plain ASCII up to its end, without a quote or a separator.
#[cold]
fn mark_default(tables: &mut Tables, input: &[u8], is_plain: bool) {
    let index = tables.head.attributes.len() as u32;
    let Some(attribute) = tables.head.attributes.last_mut() else {
        return;
    };
    if attribute.name().of(input) == b"xmlns" {
        attribute.is_xmlns = true;
        tables.tag.default = index;
        // All others are in order as they are.
        tables.tag.is_bound |= !is_plain || RESERVED_LENS.contains(&attribute.value().len());
    }
}

/// A name from `pos` on, which began at `mark`: character by character. Returns the position behind
/// it and the length of its prefix.
pub(super) fn slow_name(
    tables: &mut Tables,
    input: &[u8],
    name_bytes_max: usize,
    state: State,
    mut pos: usize,
) -> Result<(usize, usize), Stop> {
    let start = tables.mark;
    loop {
        if pos - start > name_bytes_max {
            return Err(Limit::NameBytes.into());
        }
        let local = if tables.prefix_len == 0 {
            start
        } else {
            start + tables.prefix_len + 1
        };
        let (char, len) = match input.get(pos) {
            Some(&byte) if byte < 0x80 => (char::from(byte), 1),
            _ => match names::decode(input.get(pos..).unwrap_or_default()) {
                Decoded::Char(char, len) => (char, len),
                Decoded::Invalid => return Err(ScanError::UnsupportedEncoding.into()),
                Decoded::Incomplete => {
                    tables.suspend(state, pos);
                    return Err(Stop::More);
                }
            },
        };
        if char == ':' && pos > local && tables.prefix_len == 0 {
            tables.prefix_len = pos - start;
        } else if pos == local {
            if !names::starts_name(char) {
                return Err(Malformed::Name.into());
            }
        } else if !names::continues_name(char) {
            // What is neither of the name nor ASCII cannot stand behind a name either.
            if char == ':' || len > 1 {
                return Err(Malformed::Name.into());
            }
            return Ok((pos, tables.prefix_len));
        }
        pos += len;
    }
}
