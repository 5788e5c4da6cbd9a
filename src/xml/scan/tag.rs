//! Start tags: names, attributes, values.

use super::bind;
use super::engine::Engine;
use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::error::Limit;
use super::error::Malformed;
use super::error::ScanError;
use super::head::Attribute;
use super::head::Name;
use super::head::Namespace;
use super::head::Span;
use super::names;
use super::names::Decoded;
use super::scope::StreamScope;
use super::simd;
use super::simd::Vector;
use super::tables::Open;
use super::tables::State;
use super::tables::Tables;

impl<V: Vector> Engine<'_, V> {
    /// The name of a start tag; returns the position behind it.
    #[inline(always)]
    pub(super) fn element_name(&mut self, start: usize) -> Step {
        let (end, prefix_len) = self.name(State::ElementName, start)?;
        self.element_named(end, prefix_len);
        Ok(end)
    }

    #[inline(always)]
    pub(super) fn element_named(&mut self, end: usize, prefix_len: usize) {
        let tag = &mut self.tables.tag;
        tag.name_len = end - tag.start;
        tag.prefix_len = prefix_len;
        tag.is_bound |= prefix_len != 0;
    }

    /// A name; returns the position behind it and the length of the prefix.
    #[inline(always)]
    fn name(&mut self, state: State, start: usize) -> Result<(usize, usize), Stop> {
        let end = self.find_name_end(start);
        // Of the characters of a name, those up to `9` may not begin one.
        let is_started = end > start && self.byte(start).is_some_and(|byte| byte > b'9');
        let is_whole = self
            .byte(end)
            .is_some_and(|byte| byte < 0x80 && byte != b':');
        if is_started && is_whole && end - start <= self.limits.name_max() {
            return Ok((end, 0));
        }
        self.tables.mark = start;
        self.tables.prefix_len = 0;
        self.place().name(state, start)
    }

    /// Behind the element name or an attribute; to the end of the tag.
    #[inline(always)]
    pub(super) fn attributes(&mut self, mut pos: usize) -> Step {
        loop {
            match self.byte(pos) {
                Some(b'>') => return self.tag_end(pos + 1, false),
                Some(b' ' | b'\t' | b'\r' | b'\n') => pos = self.spaced(pos + 1)?,
                Some(b'/') => match self.byte(pos + 1) {
                    Some(b'>') => return self.tag_end(pos + 2, true),
                    Some(_) => return Err(Malformed::StartTag.into()),
                    None => return self.suspend(State::Slash, pos + 1),
                },
                Some(_) => return Err(Malformed::Attribute.into()),
                None => return self.suspend(State::Gap, pos),
            }
        }
    }

    /// Behind white space: an attribute, or nothing where the tag ends.
    #[inline(always)]
    pub(super) fn spaced(&mut self, mut pos: usize) -> Step {
        if self.byte(pos).is_some_and(|byte| byte <= b' ') {
            pos = self.vector.find::<{ simd::NOT_SPACE }>(self.input, pos);
        }
        match self.byte(pos) {
            Some(b'>' | b'/') => Ok(pos),
            Some(_) => self.attribute(pos),
            None => self.suspend(State::Spaced, pos),
        }
    }

    #[inline(always)]
    fn attribute(&mut self, start: usize) -> Step {
        let (end, prefix_len) = self.name(State::AttributeName, start)?;
        self.attribute_named(start, end, prefix_len)?;
        if let Some(&[b'=', quote @ (b'\'' | b'"')]) = self.input.get(end..end + 2) {
            open_value(self.tables, end + 2, quote);
            return self.value(end + 2, quote);
        }
        self.late_value(State::Equals, end)
    }

    /// Behind the name of an attribute or its `=`, as `state` says; to behind the value.
    #[inline(always)]
    pub(super) fn late_value(&mut self, state: State, pos: usize) -> Step {
        let pos = opening(self.tables, self.input, state, pos)?;
        self.value(pos, self.tables.quote)
    }

    /// Enters the attribute, unless the tag has it already.
    #[inline(always)]
    pub(super) fn attribute_named(
        &mut self,
        start: usize,
        end: usize,
        prefix_len: usize,
    ) -> Result<(), Stop> {
        let name = self.input.get(start..end).unwrap_or_default();
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
            return Err(Malformed::Name.into());
        };
        let hash = 5 * usize::from(first) + usize::from(last) + 8 * name.len();
        let bit = 1u64 << (hash % 64);
        let tables = &mut *self.tables;
        let known = tables.head.attributes.len() - tables.tag.first;
        if tables.tag.seen & bit != 0 || known >= self.limits.attributes_max {
            refuse_attribute(tables, self.input, name, self.limits.attributes_max)?;
        }
        tables.tag.seen |= bit;
        let is_xmlns = first == b'x' && (name == b"xmlns" || name.starts_with(b"xmlns:"));
        tables.tag.is_bound |= is_xmlns || prefix_len != 0;
        tables.tag.has_default |= is_xmlns && prefix_len == 0;
        tables.head.attributes.push(Attribute {
            start: start as u32,
            name_len: name.len() as u16,
            prefix_len: prefix_len as u16,
            is_xmlns,
            ..Attribute::default()
        });
        Ok(())
    }

    /// In a value, whose beginning the attribute knows; returns the position behind its quote.
    #[inline(always)]
    pub(super) fn value(&mut self, mut pos: usize, quote: u8) -> Step {
        loop {
            pos = self.find_value_end(pos);
            if self.byte(pos) == Some(quote) {
                if let Some(attribute) = self.tables.head.attributes.last_mut() {
                    attribute.end = pos as u32;
                }
                return Ok(pos + 1);
            }
            pos = self.place().value_other(pos)?;
        }
    }

    /// Behind the `>`: resolves prefixes, opens the element unless it is empty, and takes note of
    /// the top-level tag and the first one inside.
    #[inline(always)]
    fn tag_end(&mut self, end: usize, is_empty: bool) -> Step {
        let tables = &mut *self.tables;
        let depth = tables.open.len();
        let outer_bindings = tables.bindings.len();
        let mut namespace = if depth == 0 {
            Namespace::Inherited
        } else {
            tables.top_default
        };
        if tables.tag.is_bound {
            namespace = bind::bind(tables, self.input, self.limits, self.scope, namespace)?;
        }
        inherit(tables, depth, is_empty);
        if depth == 0 {
            head_end(tables, self.input, self.scope, namespace, end, is_empty)?;
        } else if depth == 1 {
            tables.head.children += 1;
            if tables.head.children == 1 {
                tables.head.first_child = Some(name_of(tables, namespace));
            }
        }
        if is_empty {
            tables.bindings.truncate(outer_bindings);
        } else if !tables.in_header {
            tables.open.push(Open {
                start: tables.tag.start as u32,
                name_len: tables.tag.name_len as u16,
                bindings: outer_bindings as u16,
            });
        }
        Ok(end)
    }
}

impl<V: Vector> Place<'_, V> {
    /// A name with a prefix, or other than ASCII, or not yet whole: from `pos` on.
    pub(super) fn name(&mut self, state: State, pos: usize) -> Result<(usize, usize), Stop> {
        slow_name(self.tables, self.input, self.limits.name_max(), state, pos)
    }

    /// In a value, at what is neither plain ASCII nor its end.
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
        pos = simd::Scalar.find::<{ simd::NOT_SPACE }>(input, pos);
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

#[inline(always)]
fn open_value(tables: &mut Tables, start: usize, quote: u8) {
    tables.quote = quote;
    if let Some(attribute) = tables.head.attributes.last_mut() {
        attribute.value = start as u32;
    }
}

/// Is the attribute a second one of its name, or one too many?
#[cold]
fn refuse_attribute(
    tables: &Tables,
    input: &[u8],
    name: &[u8],
    attributes_max: usize,
) -> Result<(), ScanError> {
    let known = tables
        .head
        .attributes
        .get(tables.tag.first..)
        .unwrap_or_default();
    if known
        .iter()
        .any(|attribute| attribute.name().of(input) == name)
    {
        return Err(Malformed::DuplicateAttribute.into());
    }
    if known.len() >= attributes_max {
        return Err(Limit::Attributes.into());
    }
    Ok(())
}

/// Notes whether the element, which stands at `depth`, is in the stream's default namespace.
#[inline(always)]
fn inherit(tables: &mut Tables, depth: usize, is_empty: bool) {
    if tables.head.inherits_default {
        return;
    }
    if tables.tag.has_default {
        if tables.default_depth == 0 && !is_empty {
            tables.default_depth = depth + 1;
        }
    } else if tables.default_depth == 0 && tables.tag.prefix_len == 0 {
        tables.head.inherits_default = true;
    }
}

/// The name of the tag at hand.
#[inline(always)]
fn name_of(tables: &Tables, namespace: Namespace) -> Name {
    let tag = &tables.tag;
    let end = tag.start + tag.name_len;
    let local = if tag.prefix_len == 0 {
        tag.start
    } else {
        tag.start + tag.prefix_len + 1
    };
    Name {
        prefix: Span::new(tag.start, tag.start + tag.prefix_len),
        local: Span::new(local, end),
        namespace,
    }
}

/// Keeps the top-level tag.
#[inline(always)]
fn head_end(
    tables: &mut Tables,
    input: &[u8],
    scope: &StreamScope,
    namespace: Namespace,
    end: usize,
    is_empty: bool,
) -> Result<(), ScanError> {
    let name = name_of(tables, namespace);
    if !tables.in_header && name.local.of(input) == b"stream" && scope.is_streams(namespace, input)
    {
        return Err(ScanError::UnexpectedHeader);
    }
    tables.top_default = Namespace::Inherited;
    if tables.tag.has_default {
        tables.top_default = bind::own_default(tables, input).unwrap_or_default();
    }
    let head = &mut tables.head;
    head.name = name;
    head.tag_end = end;
    head.self_closing = is_empty;
    head.attributes_len = head.attributes.len();
    Ok(())
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
