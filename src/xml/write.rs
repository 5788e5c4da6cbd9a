//! Text and trees as XML.
//!
//! What comes out is well-formed whatever goes in: characters that XML 1.0 does not have are left
//! out, since there is no way to write them and one of them ends the recipient's stream.

use super::element::{Element, Node, XML_NAMESPACE, XMLNS_NAMESPACE};

/// Appends character data.
pub fn escape_text(text: &str, out: &mut Vec<u8>) {
    escape(text, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        // Only `]]>` must not be there; no one needs to know what stood before.
        b'>' => Some("&gt;"),
        // Literal, it would be read as a line feed.
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends the value of an attribute, for either kind of quotes.
pub fn escape_attribute(value: &str, out: &mut Vec<u8>) {
    escape(value, out, |byte| match byte {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\'' => Some("&apos;"),
        b'"' => Some("&quot;"),
        // Literal, they would be read as spaces.
        b'\t' => Some("&#9;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Production Char of XML 1.0.
pub(super) const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Copies runs; `named` says what stands for an ASCII byte that cannot be itself.
fn escape(text: &str, out: &mut Vec<u8>, named: fn(u8) -> Option<&'static str>) {
    let mut rest = text;
    while let Some(place) = rest
        .bytes()
        .position(|byte| is_suspect(byte) || named(byte).is_some())
    {
        let (run, tail) = rest.split_at(place);
        out.extend_from_slice(run.as_bytes());
        let mut chars = tail.chars();
        let Some(c) = chars.next() else { return };
        match u8::try_from(c).ok().and_then(named) {
            Some(reference) => out.extend_from_slice(reference.as_bytes()),
            None if is_char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => {}
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The first byte of a character that XML may not have: a control, or (0xEF) U+F000 to U+FFFF.
const fn is_suspect(byte: u8) -> bool {
    (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xef
}

impl Element {
    /// Appends the element, to stand where `inherited` is the default namespace.
    pub fn write(&self, out: &mut Vec<u8>, inherited: &str) {
        // Bound to `xml` for good, it cannot be a default namespace.
        let is_xml = self.ns() == XML_NAMESPACE;
        let prefix: &[u8] = if is_xml { b"xml:" } else { b"" };
        out.push(b'<');
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name().as_bytes());
        if !is_xml && self.ns() != inherited {
            write_attribute(b" xmlns", self.ns(), out);
        }
        self.write_attributes(out);
        if self.nodes().is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        let inherited = if is_xml { inherited } else { self.ns() };
        for node in self.nodes() {
            match node {
                Node::Element(child) => child.write(out, inherited),
                Node::Text(text) => escape_text(text, out),
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.name().as_bytes());
        out.push(b'>');
    }

    /// A namespace other than `xml` is declared on the spot, with a prefix of its number.
    fn write_attributes(&self, out: &mut Vec<u8>) {
        let mut declared: Vec<&str> = Vec::new();
        for (name, namespace, value) in self.attributes() {
            debug_assert_ne!(
                namespace, XMLNS_NAMESPACE,
                "declarations are written from names"
            );
            let mut written = Vec::from(b" ");
            if namespace == XML_NAMESPACE {
                written.extend_from_slice(b"xml:");
            } else if !namespace.is_empty() {
                let known = declared.iter().position(|found| *found == namespace);
                let prefix = format!("ns{}", known.unwrap_or(declared.len()));
                if known.is_none() {
                    declared.push(namespace);
                    write_attribute(format!(" xmlns:{prefix}").as_bytes(), namespace, out);
                }
                written.extend_from_slice(prefix.as_bytes());
                written.push(b':');
            }
            written.extend_from_slice(name.as_bytes());
            write_attribute(&written, value, out);
        }
    }
}

/// `name` with the space before it.
fn write_attribute(name: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"='");
    escape_attribute(value, out);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut out = Vec::new();
        escape_text(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn attribute(value: &str) -> String {
        let mut out = Vec::new();
        escape_attribute(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escaped() {
        for (plain, in_text, in_attribute) in [
            ("", "", ""),
            ("a b", "a b", "a b"),
            ("<&>", "&lt;&amp;&gt;", "&lt;&amp;&gt;"),
            ("'\"", "'\"", "&apos;&quot;"),
            ("]]>", "]]&gt;", "]]&gt;"),
            ("\t\n\r", "\t\n&#13;", "&#9;&#10;&#13;"),
            (
                "\u{e9}\u{20ac}\u{1f600}",
                "\u{e9}\u{20ac}\u{1f600}",
                "\u{e9}\u{20ac}\u{1f600}",
            ),
            ("\u{f000}\u{fffd}", "\u{f000}\u{fffd}", "\u{f000}\u{fffd}"),
            ("a\0b\u{1}\u{1f}\u{7f}", "ab\u{7f}", "ab\u{7f}"),
            ("a\u{fffe}b\u{ffff}", "ab", "ab"),
        ] {
            assert_eq!(text(plain), in_text, "{plain:?}");
            assert_eq!(attribute(plain), in_attribute, "{plain:?}");
        }
    }

    #[test]
    fn every_character_is_written_or_left_out() {
        for c in '\0'..=char::MAX {
            let alone = text(c.encode_utf8(&mut [0; 4]));
            assert_eq!(alone.is_empty(), !is_char(c), "{c:?}");
        }
    }
}
