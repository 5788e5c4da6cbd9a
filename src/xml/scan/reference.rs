//! References: the five predefined entities, and characters by number.

use super::engine::Place;
use super::engine::Step;
use super::engine::Stop;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::names;
use super::names::Decoded;
use super::simd::Vector;
use super::tables::Stage;
use super::tables::State;
use super::tables::Tables;

/// Beyond the last code point: where a number stops to grow.
const CODE_OVERFLOW: u32 = 0x11_0000;

impl<V: Vector> Place<'_, V> {
    /// A reference from its `&` on, or, resumed, from `pos` on; returns the position behind it.
    /// `state` is to be resumed where the bytes run out.
    #[cold]
    pub(super) fn reference(&mut self, state: State, pos: usize) -> Step {
        if tables_idle(self.tables)
            && let Some(end) = predefined(self.input, pos)
        {
            return Ok(end);
        }
        scan_reference(self.tables, self.input, self.limits.name_max(), state, pos)
    }
}

/// No reference has been begun.
fn tables_idle(tables: &Tables) -> bool {
    tables.stage == Stage::Ampersand
}

/// One of the five, if it stands whole at `pos`.
fn predefined(input: &[u8], pos: usize) -> Option<usize> {
    const ALL: [&[u8]; 5] = [b"&lt;", b"&gt;", b"&amp;", b"&apos;", b"&quot;"];
    let rest = input.get(pos..)?;
    ALL.iter()
        .find(|entity| rest.starts_with(entity))
        .map(|entity| pos + entity.len())
}

fn scan_reference(
    tables: &mut Tables,
    input: &[u8],
    name_bytes_max: usize,
    state: State,
    mut pos: usize,
) -> Step {
    loop {
        let Some(&byte) = input.get(pos) else {
            tables.suspend(state, pos);
            return Err(Stop::More);
        };
        tables.stage = match (tables.stage, byte) {
            (Stage::Ampersand, b'&') => {
                tables.mark = pos + 1;
                tables.code = 0;
                match input.get(pos + 1) {
                    Some(b'#') => {
                        pos += 1;
                        Stage::Hash
                    }
                    Some(_) => Stage::Entity,
                    // Nothing is lost by looking at the `&` again.
                    None => {
                        tables.suspend(state, pos);
                        return Err(Stop::More);
                    }
                }
            }
            (Stage::Hash, b'x') => Stage::HexStart,
            (Stage::Hash | Stage::Decimal, b'0'..=b'9') => {
                pos = number::<10>(tables, input, pos)?;
                tables.stage = Stage::Decimal;
                continue;
            }
            (Stage::HexStart | Stage::Hex, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                pos = number::<16>(tables, input, pos)?;
                tables.stage = Stage::Hex;
                continue;
            }
            (Stage::Decimal | Stage::Hex, b';') => {
                tables.stage = Stage::Ampersand;
                let char = char::from_u32(tables.code).filter(|&char| names::is_xml_char(char));
                return match char {
                    Some(_) => Ok(pos + 1),
                    None => Err(Malformed::Reference.into()),
                };
            }
            (Stage::Entity, _) => return entity(tables, input, name_bytes_max, state, pos),
            (Stage::Ampersand | Stage::Hash | Stage::Decimal | Stage::HexStart | Stage::Hex, _) => {
                return Err(Malformed::Reference.into());
            }
        };
        pos += 1;
    }
}

/// More digits; returns the position behind them.
fn number<const RADIX: u32>(
    tables: &mut Tables,
    input: &[u8],
    mut pos: usize,
) -> Result<usize, ScanError> {
    let mut code = tables.code;
    // Zeros at the front, of which there can be as many as a stanza has bytes.
    while code == 0 && input.get(pos) == Some(&b'0') {
        pos += 1;
    }
    while let Some(digit) = input.get(pos).and_then(|&b| char::from(b).to_digit(RADIX)) {
        code = code * RADIX + digit;
        if code >= CODE_OVERFLOW {
            return Err(Malformed::Reference.into());
        }
        pos += 1;
    }
    tables.code = code;
    Ok(pos)
}

/// In the name of an entity, which began at `mark`.
fn entity(
    tables: &mut Tables,
    input: &[u8],
    name_bytes_max: usize,
    state: State,
    mut pos: usize,
) -> Step {
    loop {
        if pos - tables.mark > name_bytes_max {
            return Err(Limit::NameBytes.into());
        }
        let (char, len) = match names::decode(input.get(pos..).unwrap_or_default()) {
            Decoded::Char(char, len) => (char, len),
            Decoded::Invalid => return Err(ScanError::UnsupportedEncoding.into()),
            Decoded::Incomplete => {
                tables.suspend(state, pos);
                return Err(Stop::More);
            }
        };
        let is_first = pos == tables.mark;
        if char == ';' && !is_first {
            tables.stage = Stage::Ampersand;
            return match input.get(tables.mark..pos) {
                Some(b"amp" | b"apos" | b"gt" | b"lt" | b"quot") => Ok(pos + 1),
                _ => Err(Restricted::Entity.into()),
            };
        }
        let fits = if is_first {
            names::starts_name(char)
        } else {
            names::continues_name(char)
        };
        if !fits && char != ':' {
            return Err(Malformed::Reference.into());
        }
        pos += len;
    }
}
