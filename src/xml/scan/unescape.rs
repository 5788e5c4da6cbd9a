//! What raw text and attribute values stand for.
//!
//! Only for bytes that a [`Scanner`](super::Scanner) has accepted; on anything else the result is
//! an error or some text, never a panic.

use std::borrow::Cow;

use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::names;

/// Resolves references and normalises line ends; in an attribute value also turns literal tabs and
/// line ends into spaces (XML 1.0 sections 2.11 and 3.3.3). Borrows where nothing is to do.
///
/// # Errors
/// Where the bytes are not UTF-8 or hold something that is no reference.
pub fn unescape(raw: &[u8], attribute: bool) -> Result<Cow<'_, str>, ScanError> {
    let text = std::str::from_utf8(raw).map_err(|_| ScanError::UnsupportedEncoding)?;
    let is_plain = |&byte: &u8| !(matches!(byte, b'&' | b'\r') || attribute && is_line(byte));
    if raw.iter().all(is_plain) {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((char, behind)) = next(rest, attribute)? {
        plain.push(char);
        rest = behind;
    }
    Ok(Cow::Owned(plain))
}

/// The raw attribute value stands for exactly `plain`. Allocates nothing.
pub(super) fn value_is(raw: &[u8], plain: &str) -> bool {
    if raw == plain.as_bytes() {
        // A reference or a character to normalise could still be in it, but `plain` then names
        // neither: no namespace name that is compared with holds `&` or line ends.
        return !raw.iter().any(|&byte| byte == b'&' || is_line(byte));
    }
    decoded(raw).eq(plain.chars())
}

/// Two raw attribute values stand for the same.
pub(super) fn values_equal(a: &[u8], b: &[u8]) -> bool {
    a == b || decoded(a).eq(decoded(b))
}

/// The characters that a raw attribute value stands for; ends early at what is malformed.
pub(super) fn decoded(raw: &[u8]) -> impl Iterator<Item = char> {
    let mut rest = std::str::from_utf8(raw).unwrap_or_default();
    std::iter::from_fn(move || {
        let (char, behind) = next(rest, true).ok().flatten()?;
        rest = behind;
        Some(char)
    })
}

const fn is_line(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r')
}

/// The first character of `text` decoded, and the rest behind it.
fn next(text: &str, attribute: bool) -> Result<Option<(char, &str)>, ScanError> {
    let mut chars = text.chars();
    let Some(char) = chars.next() else {
        return Ok(None);
    };
    let behind = chars.as_str();
    Ok(Some(match char {
        '&' => reference(behind)?,
        '\r' => {
            let end = if attribute { ' ' } else { '\n' };
            (end, behind.strip_prefix('\n').unwrap_or(behind))
        }
        '\t' | '\n' if attribute => (' ', behind),
        _ => (char, behind),
    }))
}

/// `text` is behind the `&`.
fn reference(text: &str) -> Result<(char, &str), ScanError> {
    let (name, behind) = text.split_once(';').ok_or(Malformed::Reference)?;
    let char = match name {
        "amp" => '&',
        "apos" => '\'',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#').ok_or(Restricted::Entity)?;
            let (digits, radix) = number
                .strip_prefix('x')
                .map_or((number, 10), |hex| (hex, 16));
            if !digits.starts_with(|c: char| c.is_digit(radix)) {
                return Err(Malformed::Reference.into());
            }
            let code = u32::from_str_radix(digits, radix).map_err(|_| Malformed::Reference)?;
            let char = char::from_u32(code).filter(|&char| names::is_xml_char(char));
            char.ok_or(Malformed::Reference)?
        }
    };
    Ok((char, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_references_and_line_ends() {
        for (raw, text, value) in [
            ("", "", ""),
            ("plain", "plain", "plain"),
            ("&lt;&gt;&amp;&apos;&quot;", "<>&'\"", "<>&'\""),
            ("&#65;&#x42;&#0000067;", "ABC", "ABC"),
            ("a\r\nb\rc\nd\te", "a\nb\nc\nd\te", "a b c d e"),
            ("&#10;&#xD;&#9;", "\n\r\t", "\n\r\t"),
            ("&amp;lt;", "&lt;", "&lt;"),
        ] {
            assert_eq!(unescape(raw.as_bytes(), false).as_deref(), Ok(text));
            assert_eq!(unescape(raw.as_bytes(), true).as_deref(), Ok(value));
            assert!(decoded(raw.as_bytes()).eq(value.chars()));
        }
    }

    #[test]
    fn refuses_what_the_scanner_refuses() {
        for raw in [
            "&",
            "&;",
            "&#;",
            "&#x;",
            "&#+5;",
            "&#0;",
            "&#xD800;",
            "&#x110000;",
            "&nbsp;",
        ] {
            assert!(unescape(raw.as_bytes(), true).is_err(), "{raw}");
        }
        assert_eq!(
            unescape(b"\xFF", false),
            Err(ScanError::UnsupportedEncoding)
        );
    }

    #[test]
    fn compares_without_allocating() {
        assert!(value_is(b"urn:&#120;", "urn:x"));
        assert!(!value_is(b"urn:&#120;", "urn:&#120;"));
        assert!(values_equal(b"a&#x62;", b"&#97;b"));
        assert!(!values_equal(b"ab", b"abc"));
    }
}
