//! What the header of a stream binds for every stanza in it.

use std::sync::Arc;

use super::head::Attribute;
use super::head::Head;
use super::head::Namespace;

/// Prefixes one header may bind: [`Head::header_prefixes_used`] has a bit for each.
pub const HEADER_BINDINGS_MAX: usize = 32;

/// Bytes of `xml:lang` that are kept without an allocation. Language tags in use have 2 to 11.
const LANG_INLINE_BYTES: usize = 13;

/// The namespace of `<stream:stream>` (RFC 6120 section 4.8.1).
pub const STREAMS_NAMESPACE: &str = "http://etherx.jabber.org/streams";

/// Prefixes, default namespace, tag and language that the peer's stream header set.
///
/// The ordinary header (a known default namespace, `stream` and no other prefix) is two words
/// without an allocation; others share one. Lives on: the shard of the connection; `Send`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamScope(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Unbound,
    Ordinary(Ordinary),
    Declared(Arc<Declared>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ordinary {
    /// Index in [`DEFAULTS`].
    default: u8,
    lang_len: u8,
    lang: [u8; LANG_INLINE_BYTES],
}

#[derive(Debug, PartialEq, Eq)]
struct Declared {
    default: Box<str>,
    tag: Box<str>,
    lang: Option<Box<str>>,
    bindings: Vec<(Box<str>, Box<str>)>,
}

/// Default namespaces of XMPP streams.
const DEFAULTS: [&str; 3] = ["jabber:client", "jabber:server", "jabber:component:accept"];

const ORDINARY_TAG: &str = "stream:stream";
const ORDINARY_BINDING: (&str, &str) = ("stream", STREAMS_NAMESPACE);

impl StreamScope {
    /// What an ordinary header with this default namespace sets.
    pub fn ordinary(default: &str) -> Self {
        Self::declared(default, ORDINARY_TAG, None, &[ORDINARY_BINDING])
    }

    /// Nothing bound at all: for elements that are documents of their own (RFC 7395, XEP-0124).
    pub const fn unbound() -> Self {
        Self(Shape::Unbound)
    }

    /// Any header. `tag` is the name of its element as written, prefix included.
    pub fn declared(
        default: &str,
        tag: &str,
        lang: Option<&str>,
        bindings: &[(&str, &str)],
    ) -> Self {
        if let Some(ordinary) = Ordinary::fit(default, tag, lang, bindings) {
            return Self(Shape::Ordinary(ordinary));
        }
        Self(Shape::Declared(Arc::new(Declared {
            default: default.into(),
            tag: tag.into(),
            lang: lang.map(Into::into),
            bindings: bindings
                .iter()
                .map(|&(p, uri)| (p.into(), uri.into()))
                .collect(),
        })))
    }

    /// From the header just scanned; `input` are its bytes. Allocates only out of the ordinary.
    pub(super) fn of_header(head: &Head, input: &[u8]) -> Self {
        let of = |name: &[u8]| {
            head.attribute(input, name)
                .map(|found| found.decoded(input))
        };
        let (default, lang) = (of(b"xmlns").unwrap_or_default(), of(b"xml:lang"));
        let tag = input.get(head.name.prefix.start as usize..head.name.local.end as usize);
        let tag = std::str::from_utf8(tag.unwrap_or_default()).unwrap_or_default();
        let is_prefix = |attribute: &&Attribute| {
            attribute.prefix().of(input) == b"xmlns" && attribute.local().of(input) != b"xml"
        };
        let mut prefixes = head.attributes().iter().filter(is_prefix).map(|attribute| {
            let prefix = std::str::from_utf8(attribute.local().of(input)).unwrap_or_default();
            (prefix, attribute.decoded(input))
        });
        let (first, second) = (prefixes.next(), prefixes.next());
        if let (Some((prefix, uri)), None) = (&first, &second) {
            return Self::declared(&default, tag, lang.as_deref(), &[(prefix, uri)]);
        }
        let all: Vec<_> = first.into_iter().chain(second).chain(prefixes).collect();
        let all: Vec<_> = all.iter().map(|(prefix, uri)| (*prefix, &**uri)).collect();
        Self::declared(&default, tag, lang.as_deref(), &all)
    }

    /// Namespace of elements without prefix and without `xmlns`; empty for none.
    pub fn default_namespace(&self) -> &str {
        match &self.0 {
            Shape::Ordinary(ordinary) => DEFAULTS
                .get(usize::from(ordinary.default))
                .copied()
                .unwrap_or_default(),
            Shape::Unbound => "",
            Shape::Declared(declared) => &declared.default,
        }
    }

    /// What the closing tag of the stream must literally be called.
    pub fn stream_tag(&self) -> &str {
        match &self.0 {
            Shape::Ordinary(_) => ORDINARY_TAG,
            Shape::Unbound => "",
            Shape::Declared(declared) => &declared.tag,
        }
    }

    /// `xml:lang` of the header, the language of every stanza that names none.
    pub fn lang(&self) -> Option<&str> {
        match &self.0 {
            Shape::Ordinary(ordinary) => ordinary.lang(),
            Shape::Unbound => None,
            Shape::Declared(declared) => declared.lang.as_deref(),
        }
    }

    /// The namespace that this prefix is bound to (`xml` is not among them).
    pub fn prefix(&self, prefix: &str) -> Option<&str> {
        self.lookup(prefix.as_bytes())
            .and_then(|index| self.uri(index))
    }

    /// Index (of a bit in [`Head::header_prefixes_used`]), prefix and namespace of every binding.
    pub fn bindings(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        (0..).map_while(|index| {
            let (prefix, uri) = self.binding(index)?;
            Some((index, prefix, uri))
        })
    }

    fn binding(&self, index: usize) -> Option<(&str, &str)> {
        match &self.0 {
            Shape::Ordinary(_) => (index == 0).then_some(ORDINARY_BINDING),
            Shape::Unbound => None,
            Shape::Declared(declared) => declared
                .bindings
                .get(index)
                .map(|(prefix, uri)| (&**prefix, &**uri)),
        }
    }

    /// The namespace of binding `index`.
    pub(super) fn uri(&self, index: u8) -> Option<&str> {
        self.binding(usize::from(index)).map(|(_, uri)| uri)
    }

    /// The index of the binding of a prefix.
    pub(super) fn lookup(&self, prefix: &[u8]) -> Option<u8> {
        let mut bindings = self.bindings().take(HEADER_BINDINGS_MAX);
        bindings
            .find(|(_, name, _)| name.as_bytes() == prefix)
            .map(|(index, ..)| index as u8)
    }

    /// The namespace means the element of a stream header.
    pub(super) fn is_streams(&self, namespace: Namespace, input: &[u8]) -> bool {
        let name = super::head::Name {
            namespace,
            ..Default::default()
        };
        name.in_namespace(self, input, STREAMS_NAMESPACE)
    }
}

impl Ordinary {
    fn fit(
        default: &str,
        tag: &str,
        lang: Option<&str>,
        bindings: &[(&str, &str)],
    ) -> Option<Self> {
        let index = DEFAULTS.iter().position(|&known| known == default)?;
        if tag != ORDINARY_TAG || bindings != [ORDINARY_BINDING] || lang == Some("") {
            return None;
        }
        let bytes = lang.unwrap_or_default().as_bytes();
        let mut inline = [0; LANG_INLINE_BYTES];
        inline.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            default: index as u8,
            lang_len: bytes.len() as u8,
            lang: inline,
        })
    }

    fn lang(&self) -> Option<&str> {
        let bytes = self.lang.get(..usize::from(self.lang_len))?;
        std::str::from_utf8(bytes)
            .ok()
            .filter(|lang| !lang.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinary_header_needs_no_allocation() {
        assert_eq!(size_of::<StreamScope>(), 16);
        let scope = StreamScope::declared(
            "jabber:client",
            "stream:stream",
            Some("de"),
            &[ORDINARY_BINDING],
        );
        assert!(matches!(scope.0, Shape::Ordinary(_)));
        assert_eq!(scope.lang(), Some("de"));
        assert_eq!(scope.default_namespace(), "jabber:client");
        assert_eq!(scope.stream_tag(), "stream:stream");
        assert_eq!(scope.prefix("stream"), Some(STREAMS_NAMESPACE));
        assert_eq!(scope.prefix("db"), None);
        assert_eq!(StreamScope::ordinary("jabber:server").lang(), None);
    }

    #[test]
    fn any_header_is_kept() {
        let bindings = [ORDINARY_BINDING, ("db", "jabber:server:dialback")];
        let scope = StreamScope::declared("jabber:server", "stream:stream", Some(""), &bindings);
        assert_eq!(scope.lang(), Some(""));
        assert_eq!(scope.lookup(b"db"), Some(1));
        let all: Vec<_> = scope.bindings().collect();
        assert_eq!(all[1], (1, "db", "jabber:server:dialback"));
        assert_eq!(StreamScope::unbound().bindings().count(), 0);
    }
}
