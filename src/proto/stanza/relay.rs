//! Writes a stanza for its recipient: `from` is stamped, everything else keeps its meaning.
//!
//! The bytes behind the top-level tag are copied as they came, CDATA and references included. What
//! the sender's stream header bound and the recipient's does not is declared on the tag itself, so
//! that every prefix means to the recipient what it meant to us.

use crate::proto::stanza::Stanza;
use crate::xml::write::escape_attribute;

/// How the top-level tag is to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The sender's address, ready to stand between apostrophes.
    pub from: &'a str,
    /// The recipient's address likewise, where the sender left it out or wrote it differently.
    pub to: Option<&'a str>,
}

/// What stamping adds to a stanza at most, apart from addresses and declarations.
const OVERHEAD_BYTES: usize = 64;

/// How many bytes [`relay`] appends at most.
pub fn relayed_bytes(stanza: &Stanza<'_>, stamp: Stamp<'_>) -> usize {
    let escaped = |text: &str| 6 * text.len() + 16;
    let declared: usize = match stanza.head.header_prefixes_used {
        0 => 0,
        _ => stanza
            .scope
            .bindings()
            .map(|(_, prefix, uri)| prefix.len() + escaped(uri))
            .sum(),
    };
    stanza.bytes.len()
        + stamp.from.len()
        + stamp.to.map_or(0, str::len)
        + stanza.scope.lang().map_or(0, escaped)
        + declared
        + OVERHEAD_BYTES
}

/// Appends the stanza with its addresses stamped.
pub fn relay(stanza: &Stanza<'_>, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let bytes = stanza.bytes;
    let head = stanza.head;
    let name_end = head.name.local.range().end;
    out.extend_from_slice(bytes.get(..name_end).unwrap_or_default());
    write_attribute("from", stamp.from, out);
    if let Some(to) = stamp.to {
        write_attribute("to", to, out);
    }
    let mut from = name_end;
    let mut lang = false;
    for attribute in head.attributes() {
        let name = attribute.name().of(bytes);
        lang |= name == b"xml:lang";
        if is_replaced(stanza, name, stamp.to.is_some()) {
            let whole = attribute.whole().range();
            // The white space in front of it goes with it.
            out.extend_from_slice(trim_end(bytes.get(from..whole.start).unwrap_or_default()));
            from = whole.end;
        }
    }
    if !lang && let Some(lang) = stanza.scope.lang() {
        write_escaped("xml:lang", lang, out);
    }
    declare(stanza, out);
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// `from` always, `to` where it is replaced, and a default namespace that says what the
/// recipient's stream says anyway.
fn is_replaced(stanza: &Stanza<'_>, name: &[u8], to: bool) -> bool {
    match name {
        b"from" => true,
        b"to" => to,
        b"xmlns" => stanza.head.name.prefix.is_empty(),
        _ => false,
    }
}

/// Declares what the stanza uses of the sender's stream header.
fn declare(stanza: &Stanza<'_>, out: &mut Vec<u8>) {
    let used = stanza.head.header_prefixes_used;
    if used == 0 {
        return;
    }
    for (index, prefix, uri) in stanza.scope.bindings() {
        if used & (1 << index) != 0 {
            out.extend_from_slice(b" xmlns:");
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(b"='");
            escape_attribute(uri, out);
            out.push(b'\'');
        }
    }
}

fn write_attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\'');
}

fn write_escaped(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attribute(value, out);
    out.push(b'\'');
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !byte.is_ascii_whitespace())
        .map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}
