//! What stands between tags and is out of the ordinary: text, CDATA sections, end tags, and everything that is not ASCII.

use super::engine;
use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::error::Malformed;
use super::error::ScanError;
use super::names;
use super::simd;
use super::simd::Vector;
use super::tables::State;

impl<V: Vector> Place<'_, V> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    fn suspend(&mut self, state: State, pos: usize) -> Step {
        self.tables.suspend(state, pos);
        Err(Stop::More)
    }

    /// In text, at what is neither plain ASCII nor markup.
    #[cold]
    pub(super) fn text_other(&mut self, pos: usize) -> Step {
        match self.byte(pos) {
            Some(b'&') => {
                let pos = self.reference(State::TextReference, pos)?;
                self.tables.mark = pos;
                Ok(pos)
            }
            Some(b'>') => {
                let run = self.input.get(self.tables.mark..pos).unwrap_or_default();
                if run.ends_with(b"]]") {
                    Err(Malformed::CdataEnd.into())
                } else {
                    Ok(pos + 1)
                }
            }
            Some(b'\t' | b'\r' | b'\n') => {
                let rest = self.input.get(pos + 1..).unwrap_or_default();
                let is_space = |&&byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                Ok(pos + 1 + rest.iter().take_while(is_space).count())
            }
            Some(0x80..) => self.wide::<{ simd::TEXT_WIDE }>(State::Text, pos),
            Some(_) => Err(Malformed::Character.into()),
            None => self.suspend(State::Text, pos),
        }
    }

    /// A run that begins with a byte beyond ASCII, up to what ends the `CLASS`. `state` is to be
    /// resumed where the run ends amid a character because the bytes run out.
    #[cold]
    pub(super) fn wide<const CLASS: u8>(&mut self, state: State, start: usize) -> Step {
        let end = self.vector.find::<CLASS>(self.input, start);
        let run = self.input.get(start..end).unwrap_or_default();
        let valid = valid_up_to(run);
        if let Some(at) = find_noncharacter(run.get(..valid).unwrap_or_default()) {
            debug_assert!(at < valid);
            return Err(Malformed::Character.into());
        }
        let rest = run.get(valid..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(end);
        }
        if end == self.input.len() && names::decode(rest) == names::Decoded::Incomplete {
            return self.suspend(state, start + valid);
        }
        Err(ScanError::UnsupportedEncoding.into())
    }

    /// At `<!` inside an element.
    #[cold]
    pub(super) fn declaration(&mut self, pos: usize) -> Step {
        match engine::judge_declaration(self.input.get(pos..).unwrap_or_default())? {
            Some(_) => self.cdata(pos + engine::CDATA_START.len()),
            None => self.suspend(State::Text, pos),
        }
    }

    /// In a CDATA section; returns the position behind it.
    #[cold]
    pub(super) fn cdata(&mut self, mut pos: usize) -> Step {
        loop {
            pos = self.vector.find::<{ simd::CDATA }>(self.input, pos);
            pos = match self.input.get(pos..).unwrap_or_default() {
                [b']', b']', b'>', ..] => return Ok(pos + 3),
                [] | [b']'] | [b']', b']'] => return self.suspend(State::Cdata, pos),
                [b']' | b'\t' | b'\r' | b'\n', ..] => pos + 1,
                [0x80..=0xFF, ..] => self.wide::<{ simd::CDATA_WIDE }>(State::Cdata, pos)?,
                [_, ..] => return Err(Malformed::Character.into()),
            };
        }
    }

    /// Behind `</`: an end tag that is not yet whole, or has white space in it, or is wrong.
    pub(super) fn end_tag(&mut self, start: usize) -> Step {
        let Some(&open) = self.tables.open.last() else {
            return Err(Malformed::EndTag.into());
        };
        let end = start + usize::from(open.name_len);
        let opened = open.start as usize;
        let name = self.input.get(opened..opened + usize::from(open.name_len));
        let name = name.unwrap_or_default();
        let here = self
            .input
            .get(start..end.min(self.input.len()))
            .unwrap_or_default();
        if !name.starts_with(here) {
            return Err(Malformed::EndTag.into());
        }
        if here.len() < name.len() {
            return self.suspend(State::EndName, start);
        }
        self.end_space(end)
    }

    /// Behind the name of an end tag.
    #[cold]
    pub(super) fn end_space(&mut self, pos: usize) -> Step {
        let pos = self.vector.find::<{ simd::NOT_SPACE }>(self.input, pos);
        match self.byte(pos) {
            Some(b'>') => {
                self.tables.close();
                Ok(pos + 1)
            }
            Some(_) => Err(Malformed::EndTag.into()),
            None => self.suspend(State::EndSpace, pos),
        }
    }
}

/// From here on the vectors of simdutf8 pay.
const SIMD_UTF8_BYTES_MIN: usize = 64;

/// The length of the part at the front that is whole characters of UTF-8.
fn valid_up_to(run: &[u8]) -> usize {
    if run.len() >= SIMD_UTF8_BYTES_MIN && simdutf8::basic::from_utf8(run).is_ok() {
        return run.len();
    }
    std::str::from_utf8(run).map_or_else(|error| error.valid_up_to(), str::len)
}

/// Where U+FFFE or U+FFFF stands.
fn find_noncharacter(run: &[u8]) -> Option<usize> {
    memchr::memchr_iter(0xEF, run)
        .find(|&at| matches!(run.get(at + 1..at + 3), Some(&[0xBF, 0xBE | 0xBF])))
}
