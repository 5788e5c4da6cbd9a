//! What stands outside of elements: the XML declaration, white space, the stream's end tag, and
//! everything that must not.

use super::engine;
use super::engine::Step;
use super::engine::Stop;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::names;
use super::names::Decoded;
use super::simd;
use super::tables::State;
use super::tables::Tables;

/// Bytes of an XML declaration, which is read again from its beginning while it is not whole.
/// Those in use have at most 60.
pub const DECLARATION_BYTES_MAX: usize = 256;

/// Judges what is neither markup nor white space, outside of every element.
pub(super) fn judge_text(bytes: &[u8], otherwise: ScanError) -> Stop {
    match names::decode(bytes) {
        Decoded::Char(char, _) if !names::is_xml_char(char) => Malformed::Character.into(),
        Decoded::Char(..) => otherwise.into(),
        Decoded::Incomplete => Stop::More,
        Decoded::Invalid => ScanError::UnsupportedEncoding.into(),
    }
}

/// Judges `<!` outside of every element.
pub(super) fn judge_declaration(bytes: &[u8], otherwise: ScanError) -> Stop {
    match engine::judge_declaration(bytes) {
        Ok(Some(_)) => otherwise.into(),
        Ok(None) => Stop::More,
        Err(error) => error.into(),
    }
}

/// The stream's end tag, at its `<` or resumed; `tag` is its name. Returns the position behind it.
pub(super) fn stream_end(tables: &mut Tables, input: &[u8], tag: &[u8]) -> Step {
    const NAME: usize = b"</".len();
    let mut pos = tables.pos;
    if tables.state != State::StreamEndSpace {
        let here = input.get(NAME..).unwrap_or_default();
        let here = here.get(..tag.len()).unwrap_or(here);
        if !tag.starts_with(here) || tag.is_empty() {
            return Err(Malformed::EndTag.into());
        }
        if here.len() < tag.len() {
            tables.suspend(State::StreamEndName, 0);
            return Err(Stop::More);
        }
        pos = NAME + tag.len();
    }
    pos = simd::find::<{ simd::NOT_SPACE }>(input, pos);
    match input.get(pos) {
        Some(b'>') => Ok(pos + 1),
        Some(_) => Err(Malformed::EndTag.into()),
        None => {
            tables.suspend(State::StreamEndSpace, pos);
            Err(Stop::More)
        }
    }
}

/// What precedes the tag of a stream header. Returns where that begins.
pub(super) fn header_lead(tables: &mut Tables, input: &[u8]) -> Step {
    let mut pos = if tables.state == State::Lead {
        tables.pos
    } else {
        0
    };
    if pos == 0 {
        // The other encodings that Unicode has, by their first bytes.
        if matches!(input, [0, ..] | [b'<', 0, ..]) {
            return Err(ScanError::UnsupportedEncoding.into());
        }
        if is_declaration(input).inspect_err(|_| tables.suspend(State::Begun, 0))? {
            pos = xml_declaration(input).inspect_err(|_| tables.suspend(State::Begun, 0))?;
        }
    }
    pos = simd::find::<{ simd::NOT_SPACE }>(input, pos);
    tables.suspend(State::Lead, pos);
    let rest = input.get(pos..).unwrap_or_default();
    match rest {
        [] | [b'<'] => Err(Stop::More),
        [b'<', b'!', ..] => Err(judge_declaration(rest, Malformed::Header.into())),
        [b'<', b'?', ..] => match is_declaration(rest)? {
            true => Err(Malformed::Declaration.into()),
            false => Err(Restricted::ProcessingInstruction.into()),
        },
        [b'<', b'/', ..] => Err(Malformed::Header.into()),
        [b'<', ..] => Ok(pos),
        _ => Err(judge_text(rest, Malformed::Header.into())),
    }
}

/// Begins with `<?xml` and white space. A processing instruction of another name is refused.
fn is_declaration(bytes: &[u8]) -> Result<bool, Stop> {
    const START: &[u8] = b"<?xml";
    if !bytes.starts_with(b"<?") {
        return Ok(false);
    }
    let here = bytes.get(..START.len()).unwrap_or(bytes);
    match bytes.get(START.len()) {
        _ if !START.starts_with(here) => Err(Restricted::ProcessingInstruction.into()),
        Some(b' ' | b'\t' | b'\r' | b'\n') => Ok(true),
        Some(_) => Err(Restricted::ProcessingInstruction.into()),
        None => Err(Stop::More),
    }
}

/// The XML declaration at the front of `input` (XML 1.0 section 2.8); returns where it ends.
///
/// SPEC(RFC 6120 11.5): `standalone` is ignored or refused; we refuse `no`, which would need what
/// the stream may not have.
fn xml_declaration(input: &[u8]) -> Step {
    let bytes = input.get(..DECLARATION_BYTES_MAX).unwrap_or(input);
    let result = Cursor {
        bytes,
        pos: b"<?xml".len(),
    }
    .declaration();
    if result == Err(Stop::More) && bytes.len() == DECLARATION_BYTES_MAX {
        return Err(Limit::Declaration.into());
    }
    result
}

struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    fn declaration(&mut self) -> Step {
        self.space()?;
        if self.pseudo_attribute(b"version")? != b"1.0" {
            return Err(Malformed::Declaration.into());
        }
        let mut is_spaced = self.space()?;
        if is_spaced && self.peek()? == b'e' {
            let name = self.pseudo_attribute(b"encoding")?;
            if !name.first().is_some_and(u8::is_ascii_alphabetic) {
                return Err(Malformed::Declaration.into());
            }
            if !name.eq_ignore_ascii_case(b"UTF-8") {
                return Err(ScanError::UnsupportedEncoding.into());
            }
            is_spaced = self.space()?;
        }
        if is_spaced && self.peek()? == b's' {
            match self.pseudo_attribute(b"standalone")? {
                b"yes" => {}
                b"no" => return Err(Restricted::Standalone.into()),
                _ => return Err(Malformed::Declaration.into()),
            }
            self.space()?;
        }
        self.literal(b"?>")?;
        Ok(self.pos)
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.pos).copied().ok_or(Stop::More)
    }

    /// Skips white space; was there any?
    fn space(&mut self) -> Result<bool, Stop> {
        let start = self.pos;
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.pos += 1;
        }
        Ok(self.pos > start)
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Stop> {
        for &byte in literal {
            if self.peek()? != byte {
                return Err(Malformed::Declaration.into());
            }
            self.pos += 1;
        }
        Ok(())
    }

    /// `name = 'value'`
    fn pseudo_attribute(&mut self, name: &[u8]) -> Result<&'a [u8], Stop> {
        self.literal(name)?;
        self.space()?;
        self.literal(b"=")?;
        self.space()?;
        let quote = self.peek()?;
        if quote != b'"' && quote != b'\'' {
            return Err(Malformed::Declaration.into());
        }
        self.pos += 1;
        let start = self.pos;
        while self.peek()? != quote {
            if simd::stops(simd::NOT_NAME, self.peek()?) {
                return Err(Malformed::Declaration.into());
            }
            self.pos += 1;
        }
        self.pos += 1;
        Ok(self.bytes.get(start..self.pos - 1).unwrap_or_default())
    }
}
