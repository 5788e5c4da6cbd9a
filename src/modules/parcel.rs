//! A stanza on its way to whoever gets it, which need not be in memory anywhere: it is written into
//! each output that it goes to.
//!
//! Most recipients need no more than that. Some have to know more of it first, above all who sent it
//! ([`Parcel::sender`]), and it would be waste to write and read it for that where it is known.

use std::borrow::Cow;

use crate::proto::ns;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay_into;
use crate::proto::stanza::relay::relayed_bytes;
use crate::xml::scan::Found;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// What is carried.
pub trait Parcel {
    /// What it is.
    fn kind(&self) -> Type;
    /// About how many bytes it has: never fewer than are written, but for the server's own short ones.
    fn room(&self) -> usize;
    /// Appends it to the output of a recipient.
    fn write(&self, out: &mut Vec<u8>);
    /// The prepared address that it comes from, if it says so.
    fn sender(&self) -> Option<Cow<'_, str>>;
    /// The same in memory of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.room());
        self.write(&mut bytes);
        bytes
    }
}

/// What a stream of this shard has sent, with its addresses stamped.
#[derive(Clone, Copy)]
pub struct Relayed<'a> {
    stanza: &'a Stanza<'a>,
    stamp: Stamp<'a>,
    /// The namespace of stanzas on the recipient's stream.
    content: &'static str,
    sender: &'a str,
    room: usize,
}

impl<'a> Relayed<'a> {
    /// For a client. `sender` is the prepared address that `stamp` has.
    #[inline]
    pub fn new(stanza: &'a Stanza<'a>, stamp: Stamp<'a>, sender: &'a str) -> Self {
        Self {
            stanza,
            stamp,
            content: ns::CLIENT,
            sender,
            room: relayed_bytes(stanza, stamp),
        }
    }

    /// The same for a stream whose stanzas are in the namespace `content`.
    pub fn into_content(self, content: &'static str) -> Self {
        Self { content, ..self }
    }
}

impl Parcel for Relayed<'_> {
    fn kind(&self) -> Type {
        self.stanza.kind
    }

    fn room(&self) -> usize {
        self.room
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        relay_into(self.stanza, self.stamp, self.content, out);
    }

    fn sender(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.sender))
    }
}

/// What was stamped before: it comes from another shard, has waited or was kept.
#[derive(Clone, Copy)]
pub struct Stamped<'a> {
    /// What it is.
    pub kind: Type,
    /// The stanza as clients get it.
    pub bytes: &'a [u8],
}

impl Parcel for Stamped<'_> {
    fn kind(&self) -> Type {
        self.kind
    }

    fn room(&self) -> usize {
        self.bytes.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
    }

    fn sender(&self) -> Option<Cow<'_, str>> {
        sender_of(self.bytes)
    }
}

/// What the server itself has to say, on somebody's behalf.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    /// What it is.
    pub kind: Type,
    /// About how many bytes it has.
    pub room: usize,
    /// Appends it.
    pub write: &'a dyn Fn(&mut Vec<u8>),
}

impl Parcel for Made<'_> {
    fn kind(&self) -> Type {
        self.kind
    }

    fn room(&self) -> usize {
        self.room
    }

    fn write(&self, out: &mut Vec<u8>) {
        (self.write)(out);
    }

    fn sender(&self) -> Option<Cow<'_, str>> {
        let bytes = self.to_bytes();
        Some(Cow::Owned(sender_of(&bytes)?.into_owned()))
    }
}

/// The prepared address in `from` of a stanza that is stamped.
pub fn sender_of(stanza: &[u8]) -> Option<Cow<'_, str>> {
    match leading_from(stanza) {
        Some(from) => Some(crate::jid::parse(from).ok()?.full()),
        None => scanned_from(stanza).map(Cow::Owned),
    }
}

/// `from` of a stanza where it stands first and as it is, as relaying writes it: what every message to
/// somebody who blocks somebody is looked at for is found without reading the message.
fn leading_from(stanza: &[u8]) -> Option<&str> {
    const START: &[u8] = b" from='";
    let name_end = memchr::memchr3(b' ', b'>', b'/', stanza)?;
    let value = stanza.get(name_end..)?.strip_prefix(START)?;
    let value = value.get(..memchr::memchr(b'\'', value)?)?;
    let as_it_is = |byte: &u8| *byte >= b' ' && *byte != b'&';
    let is_plain = value.iter().all(as_it_is);
    is_plain.then(|| std::str::from_utf8(value).ok()).flatten()
}

/// The same wherever it stands.
fn scanned_from(stanza: &[u8]) -> Option<String> {
    let limits = Limits {
        stanza_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let mut scanner = Scanner::new();
    let scope = StreamScope::ordinary(ns::CLIENT);
    let Ok(Found::Element { .. }) = scanner.scan(&limits, &scope, stanza) else {
        return None;
    };
    let from = scanner.head().attribute(stanza, b"from")?.decoded(stanza);
    Some(crate::jid::parse(&from).ok()?.full().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::element::Element;

    #[test]
    fn a_sender_is_found_where_relaying_writes_it() {
        let cases = [
            ("<message from='a@b/c' to='d'/>", Some("a@b/c")),
            ("<x:message from='a@b'>", Some("a@b")),
            ("<message from='a@b/&amp;'/>", None),
            ("<message from='a@b/\t'/>", None),
            ("<message to='d' from='a@b/c'/>", None),
            ("<message\tfrom='a@b/c'/>", None),
            ("<message><x from='a@b'/></message>", None),
            ("<message/>", None),
            ("<message from='a@b", None),
            ("", None),
        ];
        for (stanza, expected) in cases {
            assert_eq!(leading_from(stanza.as_bytes()), expected, "{stanza}");
            let whole = Element::parse(stanza.as_bytes(), ns::CLIENT, &[]).is_ok();
            if let Some(from) = expected.filter(|_| whole) {
                assert_eq!(sender_of(stanza.as_bytes()).as_deref(), Some(from));
            }
        }
    }
}
