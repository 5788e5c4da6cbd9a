//! Start tags out of the ordinary: names, attributes, values.

use super::bind;
use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::error::Limit;
use super::error::Malformed;
use super::error::ScanError;
use super::head::Attribute;
use super::names;
use super::names::Decoded;
use super::simd;
use super::simd::Vector;
use super::tables::State;
use super::tables::Tables;
use super::walk;

impl<V: Vector> Place<'_, V> {
    /// A name with a prefix, or other than ASCII, or not yet whole: from `pos` on, begun at `mark`.
    /// Returns the position behind it and the length of its prefix.
    fn name(&mut self, state: State, pos: usize) -> Result<(usize, usize), Stop> {
        slow_name(self.tables, self.input, self.limits.name_max(), state, pos)
    }

    /// The name of a start tag, out of the ordinary.
    #[cold]
    pub(super) fn element_name(&mut self, start: usize) -> Step {
        self.tables.mark = start;
        self.tables.prefix_len = 0;
        self.late_element_name(start)
    }

    /// The same, begun at `mark`.
    pub(super) fn late_element_name(&mut self, pos: usize) -> Step {
        let (end, prefix_len) = self.name(State::ElementName, pos)?;
        let tag = &mut self.tables.tag;
        tag.name_len = (end - tag.start as usize) as u16;
        tag.prefix_len = prefix_len as u16;
        tag.is_bound |= prefix_len != 0;
        Ok(end)
    }

    /// In a start tag, behind its name or an attribute, at what is neither a space nor its end.
    /// Returns where the tag goes on, and `seen` as it is then.
    #[cold]
    pub(super) fn gap(&mut self, pos: usize, seen: u64) -> Result<(usize, u64), Stop> {
        let tag = self.tables.tag;
        let is_behind_name = pos == tag.start as usize + usize::from(tag.name_len);
        match self.input.get(pos) {
            Some(b'\t' | b'\r' | b'\n' | b' ') => self.spaced(pos + 1, seen),
            // The name goes on, or may.
            Some(b':' | 0x80..) | None if is_behind_name => {
                let end = self.element_name(tag.start as usize)?;
                Ok((end, seen))
            }
            Some(b'/') if pos + 1 < self.input.len() => Err(Malformed::StartTag.into()),
            Some(b'/') => {
                self.tables.suspend(State::Slash, pos + 1);
                Err(Stop::More)
            }
            Some(_) => Err(Malformed::Attribute.into()),
            None => {
                self.tables.suspend(State::Gap, pos);
                Err(Stop::More)
            }
        }
    }

    /// In a start tag, behind white space: an attribute out of the ordinary or longer than a block,
    /// or nothing where the tag ends. Returns the position behind it, and `seen` as it is then.
    #[cold]
    pub(super) fn spaced(&mut self, pos: usize, seen: u64) -> Result<(usize, u64), Stop> {
        let start = self.vector.find::<{ simd::NOT_SPACE }>(self.input, pos);
        let rest = self.input.get(start..).unwrap_or_default();
        let Some(&first) = rest.first() else {
            self.tables.suspend(State::Spaced, start);
            return Err(Stop::More);
        };
        if matches!(first, b'>' | b'/') {
            return Ok((start, seen));
        }
        let (name_end, prefix_len) = if rest.starts_with(walk::XML_LANG) {
            (start + walk::XML_LANG.len(), walk::XML_PREFIX_LEN)
        } else {
            (self.vector.find::<{ simd::NOT_NAME }>(self.input, start), 0)
        };
        let name_len = name_end - start;
        let is_plain = first > b'9' && name_len.wrapping_sub(1) < self.limits.name_max();
        match self.input.get(name_end..name_end + 2) {
            Some(&[b'=', quote @ (b'\'' | b'"')]) if is_plain => {
                let bit = walk::bit_of(first, name_len + 2);
                let mut seen = seen;
                if seen & bit != 0 {
                    self.refuse_attribute(start, name_end)?;
                    // Another bit instead of its own.
                    seen |= seen.wrapping_add(1);
                }
                let seen = seen | bit;
                self.tables.head.attributes.push(Attribute {
                    start: start as u32,
                    value: (name_end + 2) as u32,
                    name_len: name_len as u16,
                    prefix_len,
                    namespace_id: if prefix_len == 0 { 0 } else { bind::XML_ID },
                    ..Attribute::default()
                });
                mark_default(self.tables, self.input);
                Ok((self.value(name_end + 2, quote)?, seen))
            }
            _ => {
                self.tables.mark = start;
                self.tables.prefix_len = 0;
                // No bit is kept for other names: later ones are searched for.
                Ok((self.attribute(start)?, u64::MAX))
            }
        }
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

/// Takes note if the last attribute is `xmlns`. Its value is looked at when the tag ends.
fn mark_default(tables: &mut Tables, input: &[u8]) {
    let index = tables.head.attributes.len() as u32;
    let Some(attribute) = tables.head.attributes.last_mut() else {
        return;
    };
    if attribute.name().of(input) == walk::XMLNS {
        attribute.is_xmlns = true;
        tables.tag.default = index;
        tables.tag.is_bound = true;
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
