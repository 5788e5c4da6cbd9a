//! Writes a stanza for its recipient: `from` is stamped, everything else keeps its meaning.
//!
//! The bytes behind the top-level tag are copied as they came, CDATA and references included. What
//! the sender's stream header bound and the recipient's does not is declared on the tag itself, so
//! that every prefix means to the recipient what it meant to us.
//!
//! A stanza is in the namespace of its stream: `jabber:client`, `jabber:server` or
//! `jabber:component:accept`. Where sender and recipient differ in that ([`relay_into`]), whatever
//! names the one is made to name the other; what only inherits it needs no change at all.

use crate::proto::ns;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::content::copy_children;
use crate::proto::stanza::content::is_content;
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

/// How much longer a namespace may get when it is rewritten.
const REWRITTEN_BYTES: usize = ns::COMPONENT_ACCEPT.len() - ns::CLIENT.len();

/// How many bytes [`relay`] and [`relay_into`] append at most.
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
    let rewritten = (stanza.head.children as usize + stanza.head.attributes().len())
        .saturating_mul(REWRITTEN_BYTES);
    stanza.bytes.len()
        + stamp.from.len()
        + stamp.to.map_or(0, str::len)
        + stanza.scope.lang().map_or(0, escaped)
        + declared
        + rewritten
        + OVERHEAD_BYTES
}

/// Appends the stanza with its addresses stamped, for a client's stream.
pub fn relay(stanza: &Stanza<'_>, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    relay_into(stanza, stamp, ns::CLIENT, out);
}

/// The same for a stream whose stanzas are in the namespace `content`.
pub fn relay_into(stanza: &Stanza<'_>, stamp: Stamp<'_>, content: &str, out: &mut Vec<u8>) {
    // Mostly both are the same constant.
    let same = std::ptr::eq(stanza.content, content) || stanza.content == content;
    let rewrites = !same || !stanza.is_default;
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
        } else if rewrites && attribute.is_xmlns && is_content(&attribute.decoded(bytes)) {
            let (value, whole) = (attribute.value().range(), attribute.whole().range());
            out.extend_from_slice(bytes.get(from..value.start).unwrap_or_default());
            out.extend_from_slice(content.as_bytes());
            // Its quote too: what is declared below goes behind it.
            out.extend_from_slice(bytes.get(value.end..whole.end).unwrap_or_default());
            from = whole.end;
        }
    }
    if !lang && let Some(lang) = stanza.scope.lang() {
        write_escaped("xml:lang", lang, out);
    }
    declare(stanza, rewrites.then_some(content), out);
    if rewrites && stanza.head.children > 0 {
        let end = stanza.head.tag_end;
        out.extend_from_slice(bytes.get(from..end).unwrap_or_default());
        copy_children(bytes.get(end..).unwrap_or_default(), content, out);
    } else {
        out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    }
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

/// Declares what the stanza uses of the sender's stream header, the namespace of stanzas as
/// `rewritten` where it is to be.
fn declare(stanza: &Stanza<'_>, rewritten: Option<&str>, out: &mut Vec<u8>) {
    let used = stanza.head.header_prefixes_used;
    if used == 0 {
        return;
    }
    for (index, prefix, uri) in stanza.scope.bindings() {
        if used & (1 << index) != 0 {
            out.extend_from_slice(b" xmlns:");
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(b"='");
            escape_attribute(rewritten.filter(|_| is_content(uri)).unwrap_or(uri), out);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::scan::Found;
    use crate::xml::scan::HeaderFound;
    use crate::xml::scan::Limits;
    use crate::xml::scan::Scanner;

    /// What a stanza of a stream with these declarations becomes on a stream of `content`.
    fn relayed(declarations: &str, stanza: &str, own: &'static str, content: &str) -> String {
        let header = format!(
            "<stream:stream xmlns:stream='{}' {declarations}>",
            ns::STREAMS
        );
        let mut scanner = Scanner::new();
        let found = scanner.scan_header(&Limits::default(), header.as_bytes());
        assert!(matches!(found, Ok(HeaderFound::Header { .. })), "{found:?}");
        let scope = scanner.take_scope(header.as_bytes());
        let found = scanner.scan(&Limits::default(), &scope, stanza.as_bytes());
        assert!(matches!(found, Ok(Found::Element { .. })), "{found:?}");
        let stanza = Stanza::read(stanza.as_bytes(), scanner.head(), &scope, own);
        let stanza = stanza.expect("a stanza");
        let stamp = Stamp {
            from: "a@x",
            to: None,
        };
        let mut out = Vec::new();
        relay_into(&stanza, stamp, content, &mut out);
        assert!(out.len() <= relayed_bytes(&stanza, stamp));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_stanza_changes_streams() {
        let component = "xmlns='jabber:component:accept'";
        let prefixed = "xmlns='jabber:component:accept' xmlns:c='jabber:component:accept'";
        let rows = [
            (
                component,
                "<message><body>a</body></message>",
                "<message from='a@x'><body>a</body></message>",
            ),
            (
                component,
                "<message xmlns='jabber:component:accept'><body xmlns='jabber:component:accept'/></message>",
                "<message from='a@x'><body xmlns='jabber:client'/></message>",
            ),
            (
                component,
                "<c:message xmlns:c='jabber:component:accept'><c:body/></c:message>",
                "<c:message from='a@x' xmlns:c='jabber:client'><c:body/></c:message>",
            ),
            (
                prefixed,
                "<c:message><c:body/></c:message>",
                "<c:message from='a@x' xmlns:c='jabber:client'><c:body/></c:message>",
            ),
            (
                prefixed,
                "<d:message xmlns:d='jabber:component:accept'><c:body/></d:message>",
                "<d:message from='a@x' xmlns:d='jabber:client' xmlns:c='jabber:client'><c:body/></d:message>",
            ),
            (
                component,
                "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded></message>",
                "<message from='a@x'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded></message>",
            ),
        ];
        for (header, given, expected) in rows {
            let got = relayed(header, given, ns::COMPONENT_ACCEPT, ns::CLIENT);
            assert_eq!(got, expected);
        }
        let client = "xmlns='jabber:client' xmlns:c='jabber:client'";
        let given = "<message><c:body/><x xmlns='jabber:client'/></message>";
        assert_eq!(
            relayed(client, given, ns::CLIENT, ns::COMPONENT_ACCEPT),
            "<message from='a@x' xmlns:c='jabber:component:accept'><c:body/>\
             <x xmlns='jabber:component:accept'/></message>"
        );
        assert_eq!(
            relayed(client, given, ns::CLIENT, ns::CLIENT),
            "<message from='a@x' xmlns:c='jabber:client'><c:body/><x xmlns='jabber:client'/></message>"
        );
    }
}
