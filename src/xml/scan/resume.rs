//! Going on where the bytes of the last call ran out.
//!
//! A peer that feeds a long text, value or run of white space in small reads comes here with each
//! of them, so this costs little, and what has been looked at is not looked at again.

use super::Limits;
use super::engine::Entry;
use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::error::Malformed;
use super::simd;
use super::simd::Vector;
use super::tables::State;
use super::tables::Tables;

impl Tables {
    /// Nothing but more of a long run of one kind has arrived, and the size limit is not reached.
    pub(super) fn run_goes_on(&mut self, limits: &Limits, input: &[u8]) -> bool {
        let end = match self.state {
            State::Text => simd::find::<{ simd::TEXT }>(input, self.pos),
            State::Value => simd::find::<{ simd::VALUE }>(input, self.pos),
            State::Cdata => simd::find::<{ simd::CDATA }>(input, self.pos),
            State::Spaced
            | State::Equals
            | State::Quote
            | State::EndSpace
            | State::StreamEndSpace => simd::find::<{ simd::NOT_SPACE }>(input, self.pos),
            State::Start
            | State::Begun
            | State::Lead
            | State::StreamEndName
            | State::ElementName
            | State::Gap
            | State::Slash
            | State::AttributeName
            | State::ValueReference
            | State::TextReference
            | State::EndName => return false,
        };
        if end < input.len() || end >= limits.size_max() {
            return false;
        }
        self.pos = end;
        true
    }
}

impl<V: Vector> Place<'_, V> {
    /// Finishes the token that the last call broke off in.
    pub(super) fn resume(&mut self) -> Result<Entry, Stop> {
        let pos = self.tables.pos;
        let quote = self.tables.quote;
        let pos = match self.tables.state {
            State::Text => return self.text(pos),
            State::Value => self.value(pos, quote)?,
            State::Spaced => self.spaced(pos)?,
            State::Cdata => return self.cdata(pos).and_then(|pos| self.after(pos)),
            State::EndSpace => return self.end_space(pos).and_then(|pos| self.after(pos)),
            State::EndName => return self.end_name(pos).and_then(|pos| self.after(pos)),
            State::TextReference => {
                let pos = self.reference(State::TextReference, pos)?;
                return self.after(pos);
            }
            State::ValueReference => {
                let pos = self.reference(State::ValueReference, pos)?;
                self.value(pos, quote)?
            }
            State::ElementName => self.element_name(pos)?,
            State::AttributeName => self.attribute(pos)?,
            state @ (State::Equals | State::Quote) => self.late_value(state, pos)?,
            State::Slash => pos - 1,
            State::Gap
            | State::Start
            | State::Begun
            | State::Lead
            | State::StreamEndName
            | State::StreamEndSpace => pos,
        };
        Ok(Entry::Tag(pos))
    }

    /// In text that began at `mark`.
    fn text(&mut self, mut pos: usize) -> Result<Entry, Stop> {
        loop {
            pos = self.vector.find::<{ simd::TEXT }>(self.input, pos);
            if self.input.get(pos) == Some(&b'<') {
                return Ok(Entry::Markup(pos));
            }
            pos = self.text_other(pos)?;
        }
    }

    /// Behind an end tag, a CDATA section or a reference.
    fn after(&mut self, pos: usize) -> Result<Entry, Stop> {
        if self.tables.open.is_empty() {
            return Ok(Entry::Done(pos));
        }
        self.tables.mark = pos;
        self.text(pos)
    }

    /// In a start tag, behind white space.
    fn spaced(&mut self, pos: usize) -> Step {
        let pos = self.vector.find::<{ simd::NOT_SPACE }>(self.input, pos);
        match self.input.get(pos) {
            Some(b'>' | b'/') => Ok(pos),
            Some(_) => {
                self.tables.mark = pos;
                self.tables.prefix_len = 0;
                self.attribute(pos)
            }
            None => {
                self.tables.suspend(State::Spaced, pos);
                Err(Stop::More)
            }
        }
    }

    /// In the name of an end tag, which begins at `start`.
    fn end_name(&mut self, start: usize) -> Step {
        let Some(&open) = self.tables.open.last() else {
            return Err(Malformed::EndTag.into());
        };
        self.end_tag(open, start, start + usize::from(open.name_len))
    }
}
