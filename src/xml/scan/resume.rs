//! Going on where the bytes of the last call ran out.
//!
//! A peer that feeds a long text, value or run of white space in small reads comes here with each
//! of them, so this costs little, and what has been looked at is not looked at again.

use super::Limits;
use super::engine::Entry;
use super::engine::Place;
use super::engine::Stop;
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
            State::Spaced => self.spaced(pos, u64::MAX)?.0,
            State::Cdata => return self.cdata(pos).map(|pos| self.behind(pos)),
            State::EndSpace => return self.end_space(pos).map(|pos| self.behind(pos)),
            State::EndName => return self.end_tag(pos).map(|pos| self.behind(pos)),
            State::TextReference => {
                let pos = self.reference(State::TextReference, pos)?;
                return Ok(self.behind(pos));
            }
            State::ValueReference => {
                let pos = self.reference(State::ValueReference, pos)?;
                self.value(pos, quote)?
            }
            State::ElementName => self.late_element_name(pos)?,
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
        // Which hashes the tag had is forgotten; its attributes are not.
        Ok(Entry::Tag(pos, u64::MAX))
    }

    /// In text that began at `mark`.
    pub(super) fn text(&mut self, mut pos: usize) -> Result<Entry, Stop> {
        loop {
            match self.input.get(pos) {
                Some(b'<') => return Ok(Entry::Markup(pos)),
                Some(&byte) if !simd::stops(simd::TEXT, byte) => {
                    pos = self.vector.find::<{ simd::TEXT }>(self.input, pos + 1);
                }
                _ => pos = self.text_other(pos)?,
            }
        }
    }
}
