//! RFC 7395, and what BOSH has of it: streams whose elements are documents of their own.
//!
//! The machines read and write one long document (RFC 6120), on every kind of connection. Here it is
//! cut into pieces for connections that carry pieces: the header becomes `<open/>`, the end
//! `<close/>`, and each element declares itself what the header declared for all. In the other
//! direction `<open/>` is made into the header that it stands for. So whoever handles stanzas knows
//! nothing of WebSocket and BOSH.

use crate::proto::ns;
use crate::xml::scan::Found;
use crate::xml::scan::Head;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limits;
use crate::xml::scan::ScanError;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// A piece of what was written for a stream.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The header.
    Header(Tag<'a>),
    /// One element.
    Element(Tag<'a>),
    /// The end of the stream.
    End,
}

/// An element or header of ours, and what the scanner found in it.
#[derive(Debug)]
pub struct Tag<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    head: &'a Head,
}

/// What the ordinary header of ours declares, and a piece has to declare itself.
const DEFAULT: &str = " xmlns='jabber:client'";
const STREAM: &str = " xmlns:stream='http://etherx.jabber.org/streams'";

/// Our own output is limited by other means.
const OWN: Limits = Limits {
    stanza_bytes_max: usize::MAX,
    depth_max: 4 * crate::xml::scan::DEPTH_MAX,
    attributes_max: 4 * crate::xml::scan::ATTRIBUTES_MAX,
    namespaces_max: 4 * crate::xml::scan::NAMESPACES_MAX,
    name_bytes_max: 4 * crate::xml::scan::NAME_BYTES_MAX,
};

/// Cuts `written`, which a machine of ours wrote for a client's stream, into its pieces.
pub fn cut(scanner: &mut Scanner, written: &[u8], mut take: impl FnMut(Piece<'_>)) {
    let scope = StreamScope::ordinary(ns::CLIENT);
    scanner.reset();
    let mut at = 0;
    while let Some(rest) = written.get(at..).filter(|rest| !rest.is_empty()) {
        let is_header = rest.starts_with(b"<?xml ") || rest.starts_with(b"<stream:stream ");
        let end = if is_header {
            match scanner.scan_header(&OWN, rest) {
                Ok(HeaderFound::Header { end }) => {
                    let bytes = rest.get(..end).unwrap_or_default();
                    let head = scanner.head();
                    take(Piece::Header(Tag { bytes, head }));
                    end
                }
                Ok(HeaderFound::More) | Err(_) => break,
            }
        } else {
            match scanner.scan(&OWN, &scope, rest) {
                Ok(Found::Element { end }) => {
                    let bytes = rest.get(..end).unwrap_or_default();
                    let head = scanner.head();
                    take(Piece::Element(Tag { bytes, head }));
                    end
                }
                Ok(Found::Whitespace { end }) => end,
                Ok(Found::StreamEnd { end }) => {
                    take(Piece::End);
                    end
                }
                Ok(Found::More) | Err(_) => break,
            }
        };
        at += end;
    }
    debug_assert_eq!(at, written.len(), "what we write is whole elements");
    scanner.reset();
}

impl Tag<'_> {
    fn additions(&self) -> [&'static str; 2] {
        let bytes = self.bytes;
        let has_own = self.head.attribute(bytes, b"xmlns").is_some();
        let default = if self.head.inherits_default && !has_own {
            DEFAULT
        } else {
            ""
        };
        let stream = if self.head.header_prefixes_used & 1 != 0 {
            STREAM
        } else {
            ""
        };
        [default, stream]
    }

    /// Bytes of the element when it stands alone.
    pub fn alone_bytes(&self) -> usize {
        let [default, stream] = self.additions();
        self.bytes.len() + default.len() + stream.len()
    }

    /// Writes the element so that it can stand alone.
    pub fn write_alone(&self, out: &mut Vec<u8>) {
        let name_end = self.head.name.local.range().end;
        out.extend_from_slice(self.bytes.get(..name_end).unwrap_or_default());
        for addition in self.additions() {
            out.extend_from_slice(addition.as_bytes());
        }
        out.extend_from_slice(self.bytes.get(name_end..).unwrap_or_default());
    }

    /// An attribute of a header of ours, as it is written.
    pub fn attribute(&self, name: &[u8]) -> Option<&[u8]> {
        let attribute = self.head.attribute(self.bytes, name)?;
        Some(attribute.value().of(self.bytes))
    }

    /// Writes the `<open/>` that stands for a header.
    pub fn write_open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<open xmlns='");
        out.extend_from_slice(ns::FRAMING.as_bytes());
        out.push(b'\'');
        for attribute in self.head.attributes().iter().filter(|a| !a.is_xmlns) {
            out.push(b' ');
            out.extend_from_slice(attribute.whole().of(self.bytes));
        }
        out.extend_from_slice(b"/>");
    }
}

/// Writes the `<close/>` that stands for the end of a stream.
pub fn write_close(out: &mut Vec<u8>) {
    out.extend_from_slice(b"<close xmlns='");
    out.extend_from_slice(ns::FRAMING.as_bytes());
    out.extend_from_slice(b"'/>");
}

/// A message of a WebSocket client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// `<open/>`, as the stream header that it stands for, which was written to `header`.
    Open,
    /// `<close/>`: the client ends its stream.
    Close,
    /// Any other element.
    Element(&'a [u8]),
    /// White space; RFC 7395 section 3.8 knows no keepalive of this kind, and it does no harm.
    Nothing,
}

/// Reads a message: one whole element, and nothing else (RFC 7395 section 3.3.3).
///
/// COMPAT(older clients): an element without a namespace is taken as `jabber:client`, as on TCP.
///
/// # Errors
/// What the scanner refuses; more or less than one element is `bad-format`.
pub fn read_message<'a>(
    scanner: &mut Scanner,
    limits: &Limits,
    message: &'a [u8],
    header: &mut Vec<u8>,
) -> Result<Message<'a>, ScanError> {
    // Nothing but the default namespace: a message declares itself what it uses.
    let scope = StreamScope::declared(ns::CLIENT, "", None, &[]);
    scanner.reset();
    let start = skip_space(message);
    let Some(message) = message.get(start..).filter(|message| !message.is_empty()) else {
        return Ok(Message::Nothing);
    };
    let found = scanner.scan(limits, &scope, message);
    let midway = scanner.is_midway();
    match found {
        Ok(Found::Element { end }) => {
            let (element, rest) = message.split_at_checked(end).unwrap_or((message, &[]));
            if skip_space(rest) < rest.len() {
                return Err(ScanError::BadFormat);
            }
            let head = scanner.head();
            if head.name.is(&scope, element, ns::FRAMING, "open") {
                write_header_of(head, element, header);
                return Ok(Message::Open);
            }
            if head.name.is(&scope, element, ns::FRAMING, "close") {
                return Ok(Message::Close);
            }
            Ok(Message::Element(element))
        }
        Ok(Found::More | Found::Whitespace { .. } | Found::StreamEnd { .. }) => {
            if midway {
                scanner.reset();
            }
            Err(ScanError::BadFormat)
        }
        Err(error) => Err(error),
    }
}

fn skip_space(bytes: &[u8]) -> usize {
    let space = bytes.iter().take_while(|byte| byte.is_ascii_whitespace());
    space.count()
}

/// The stream header that an `<open/>` or the first `<body/>` stands for.
fn write_header_of(head: &Head, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:stream");
    out.extend_from_slice(DEFAULT.as_bytes());
    out.extend_from_slice(STREAM.as_bytes());
    for attribute in head.attributes() {
        let name = attribute.name().of(bytes);
        if matches!(name, b"to" | b"from" | b"version" | b"xml:lang") {
            out.push(b' ');
            out.extend_from_slice(attribute.whole().of(bytes));
        }
    }
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(written: &str) -> Vec<String> {
        let mut found = Vec::new();
        cut(&mut Scanner::new(), written.as_bytes(), |piece| {
            let mut out = Vec::new();
            match piece {
                Piece::Header(tag) => tag.write_open(&mut out),
                Piece::Element(tag) => {
                    tag.write_alone(&mut out);
                    assert_eq!(out.len(), tag.alone_bytes());
                }
                Piece::End => write_close(&mut out),
            }
            found.push(String::from_utf8(out).expect("UTF-8"));
        });
        found
    }

    #[test]
    fn what_a_stream_becomes() {
        let written = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><?xml version='1.0'?>\
                       <stream:stream xmlns='jabber:client' \
                       xmlns:stream='http://etherx.jabber.org/streams' id='1' from='a' \
                       xml:lang='en' version='1.0'><stream:features><bind xmlns='b'/>\
                       </stream:features><message from='a'><body>x</body></message>\
                       <iq xmlns='jabber:client'/><stream:error><conflict xmlns='c'/></stream:error>\
                       </stream:stream>";
        let expected = [
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='1' from='a' xml:lang='en' \
             version='1.0'/>",
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='b'/>\
             </stream:features>",
            "<message xmlns='jabber:client' from='a'><body>x</body></message>",
            "<iq xmlns='jabber:client'/>",
            "<stream:error xmlns:stream='http://etherx.jabber.org/streams'>\
             <conflict xmlns='c'/></stream:error>",
            "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
        ];
        assert_eq!(pieces(written), expected);
    }

    #[test]
    fn a_prefixed_stanza_with_children_in_the_default_namespace() {
        let written = "<c:message xmlns:c='jabber:client'><body>x</body></c:message>";
        let expected = "<c:message xmlns='jabber:client' xmlns:c='jabber:client'><body>x</body>\
                        </c:message>";
        assert_eq!(pieces(written), [expected]);
        let own = "<c:message xmlns:c='jabber:client'><c:body>x</c:body></c:message>";
        assert_eq!(pieces(own), [own]);
    }

    fn read(message: &str) -> (Result<String, ScanError>, String) {
        let mut header = Vec::new();
        let mut scanner = Scanner::new();
        let limits = Limits::default();
        let found = read_message(&mut scanner, &limits, message.as_bytes(), &mut header);
        let found = found.map(|message| match message {
            Message::Element(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        });
        (found, String::from_utf8(header).expect("UTF-8"))
    }

    #[test]
    fn messages() {
        let (found, header) =
            read("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a' version='1.0' x='y'/>");
        assert_eq!(found, Ok("Open".to_owned()));
        assert_eq!(
            header,
            "<stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' to='a' version='1.0'>"
        );
        let (found, _) = read(" <close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />\n");
        assert_eq!(found, Ok("Close".to_owned()));
        let (found, _) = read("<iq xmlns='jabber:client'/> ");
        assert_eq!(found, Ok("<iq xmlns='jabber:client'/>".to_owned()));
        assert_eq!(read("").0, Ok("Nothing".to_owned()));
        for bad in ["<a/><b/>", "<a>", "<a/>x", "</a>", "<stream:features/>"] {
            assert!(read(bad).0.is_err(), "{bad}");
        }
    }
}
