//! Answers to stanzas, written straight into the sender's output.

use std::borrow::Cow;

use crate::proto::stanza::Stanza;
use crate::proto::stanza::error::StanzaCondition;
use crate::xml::write::escape_attribute;

/// About what an error reply takes, apart from addresses.
pub const ERROR_BYTES: usize = 256;

/// Text as it may stand between apostrophes; borrowed where nothing has to be escaped.
pub fn attribute(text: &str) -> Cow<'_, str> {
    if !text
        .bytes()
        .any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"'))
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    escape_attribute(text, &mut escaped);
    Cow::Owned(String::from_utf8(escaped).unwrap_or_default())
}

/// Writes the error that answers `stanza`, for its sender (`sender` may be written between
/// apostrophes). RFC 6120 section 8.3.1: same kind, same id, addresses swapped.
pub fn error(stanza: &Stanza<'_>, sender: &str, condition: StanzaCondition, out: &mut Vec<u8>) {
    let from = stanza.attribute(b"to");
    let id = stanza.attribute(b"id");
    error_parts(
        stanza.kind.element(),
        from.as_deref(),
        sender,
        id.as_deref(),
        (condition, ""),
        out,
    );
}

/// The same from its parts; `to` may be written between apostrophes, `from` and `id` are escaped.
pub fn error_parts(
    element: &str,
    from: Option<&str>,
    to: &str,
    id: Option<&str>,
    (condition, text): (StanzaCondition, &str),
    out: &mut Vec<u8>,
) {
    open(element, "error", from, to, id, out);
    out.push(b'>');
    condition.write(text, out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(element.as_bytes());
    out.push(b'>');
}

/// Writes the opening tag of an answer without its closing `>`.
pub fn open(
    element: &str,
    kind: &str,
    from: Option<&str>,
    to: &str,
    id: Option<&str>,
    out: &mut Vec<u8>,
) {
    out.push(b'<');
    out.extend_from_slice(element.as_bytes());
    out.extend_from_slice(b" type='");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\'');
    if let Some(from) = from {
        out.extend_from_slice(b" from='");
        escape_attribute(from, out);
        out.push(b'\'');
    }
    if !to.is_empty() {
        out.extend_from_slice(b" to='");
        out.extend_from_slice(to.as_bytes());
        out.push(b'\'');
    }
    if let Some(id) = id {
        out.extend_from_slice(b" id='");
        escape_attribute(id, out);
        out.push(b'\'');
    }
}
