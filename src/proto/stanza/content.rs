//! The content of a stanza that changes streams: namespaces of stanzas on its children.
//!
//! RFC 6120 section 4.8.3: the content namespace belongs to the stream. Most children inherit it, or
//! are in a namespace of their own; a child that names it (`<body xmlns='jabber:client'>`) has to
//! name the recipient's. Only children of the stanza itself are looked at: a stanza that is carried
//! inside something else (XEP-0297) is in `jabber:client` wherever it goes.

use memchr::memchr;
use memchr::memchr_iter;
use memchr::memmem;

use crate::proto::ns;
use crate::xml::scan::unescape;

/// What stands before the first colon of every namespace of stanzas.
const BEGINNING: &[u8] = b"jabber";

/// True for the namespaces that stanzas are in.
pub fn is_content(namespace: &str) -> bool {
    [ns::CLIENT, ns::COMPONENT_ACCEPT, ns::SERVER].contains(&namespace)
}

/// Appends what stands behind the opening tag of a stanza, its end tag included. `bytes` have
/// passed the scanner.
pub fn copy_children(bytes: &[u8], content: &str, out: &mut Vec<u8>) {
    if !may_name_content(bytes) {
        return out.extend_from_slice(bytes);
    }
    let mut copied = 0;
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(found) = memchr(b'<', bytes.get(at..).unwrap_or_default()) {
        let start = at + found;
        let rest = bytes.get(start..).unwrap_or_default();
        let length = item_bytes(rest);
        at = start + length;
        match rest {
            [b'<', b'!', ..] => {}
            [b'<', b'/', ..] => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => break,
            },
            _ => {
                let tag = rest.get(..length).unwrap_or_default();
                if depth == 0
                    && let Some((from, to)) = declared_content(tag)
                {
                    out.extend_from_slice(bytes.get(copied..start + from).unwrap_or_default());
                    out.extend_from_slice(content.as_bytes());
                    copied = start + to;
                }
                depth += usize::from(!tag.ends_with(b"/>"));
            }
        }
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

/// False where no namespace of stanzas is named, so that no tag needs a look. Colons are rare, and
/// looking for one costs less than making a searcher for a longer text does with every stanza.
fn may_name_content(bytes: &[u8]) -> bool {
    memchr_iter(b':', bytes).any(|at| bytes.get(..at).is_some_and(|of| of.ends_with(BEGINNING)))
}

/// Bytes of the tag or CDATA section that begins here.
fn item_bytes(bytes: &[u8]) -> usize {
    const CDATA_END: &[u8] = b"]]>";
    if bytes.starts_with(b"<!") {
        return memmem::find(bytes, CDATA_END).map_or(bytes.len(), |at| at + CDATA_END.len());
    }
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            (_, _) => {}
        }
    }
    bytes.len()
}

/// Where in a tag the namespace of its own element is declared, if that is one of stanzas.
fn declared_content(tag: &[u8]) -> Option<(usize, usize)> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
    let name = tag.get(1..)?.split(is_end).next()?;
    let prefix = name
        .iter()
        .position(|byte| *byte == b':')
        .and_then(|colon| name.get(..colon));
    let mut at = 1 + name.len();
    loop {
        at += tag
            .get(at..)?
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let rest = tag.get(at..)?;
        let equals = memchr(b'=', rest)?;
        let attribute = rest.get(..equals)?.trim_ascii_end();
        let behind = rest.get(equals + 1..)?;
        let space = behind
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let quote = *behind.get(space)?;
        let from = at + equals + 1 + space + 1;
        let to = from + memchr(quote, tag.get(from..)?)?;
        let declares = match prefix {
            None => attribute == b"xmlns",
            Some(prefix) => attribute.strip_prefix(b"xmlns:") == Some(prefix),
        };
        if declares {
            let value = unescape(tag.get(from..to)?, true).ok()?;
            return is_content(&value).then_some((from, to));
        }
        at = to + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(text: &str) -> String {
        let mut out = Vec::new();
        copy_children(text.as_bytes(), ns::COMPONENT_ACCEPT, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn children_that_name_the_namespace() {
        let rows = [
            (
                "<body xmlns='jabber:client'>a</body></message>",
                "<body xmlns='jabber:component:accept'>a</body></message>",
            ),
            (
                "<a x='1' xmlns = \"jabber:server\" /> <b xmlns='jabber:client'/></m>",
                "<a x='1' xmlns = \"jabber:component:accept\" /> <b xmlns='jabber:component:accept'/></m>",
            ),
            (
                "<c:body xmlns='jabber:client' xmlns:c='jabber:client'/></m>",
                "<c:body xmlns='jabber:client' xmlns:c='jabber:component:accept'/></m>",
            ),
            (
                "<body xmlns='jabber&#58;client'/><a xmlns='jabber:client'/></m>",
                "<body xmlns='jabber:component:accept'/><a xmlns='jabber:component:accept'/></m>",
            ),
        ];
        for (given, expected) in rows {
            assert_eq!(copied(given), expected);
        }
    }

    #[test]
    fn what_is_carried_inside_stays() {
        let untouched = [
            "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded></m>",
            "<x xmlns='jabber:x:data'/><y xmlns='jabber:clients'/></message>",
            "<body>a &lt;b xmlns='jabber:client'&gt;</body></message>",
            "<body><![CDATA[<b xmlns='jabber:client'>]]></body></message>",
            "<body a='&lt;/>' b=\"'jabber:client\"/></message>",
            "<x xmlns:c='jabber:client'><c:message/></x></message>",
            "jabber:client</message>",
            "</message>",
        ];
        for text in untouched {
            assert_eq!(copied(text), text);
        }
    }

    #[test]
    fn any_bytes_end() {
        for text in [
            "<",
            "<a",
            "<a x",
            "<a x=",
            "<a x='",
            "<![CDATA[",
            "</",
            "<a/>jabber:<",
        ] {
            let text = format!("jabber:{text}");
            assert_eq!(copied(&text), text);
        }
    }
}
