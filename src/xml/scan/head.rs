//! What the scanner reports about a top-level element: its tag, as offsets into its bytes.

use std::borrow::Cow;
use std::ops::Range;

use super::rows::Rows;
use super::scope::StreamScope;
use super::unescape;

/// A range of bytes of the element, relative to its `<`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// As a range to slice with.
    pub const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The bytes of `input`, which begins with the element; empty where `input` is another one.
    pub fn of(self, input: &[u8]) -> &[u8] {
        input.get(self.range()).unwrap_or_default()
    }

    /// In bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Covers no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Where the namespace of an element is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// The default namespace of the stream.
    #[default]
    Inherited,
    /// The prefix binding of the stream with this index.
    Stream(u8),
    /// In this raw attribute value of the element itself; empty means no namespace. `escaped`: it
    /// stands for something else than its bytes.
    Declared {
        /// The raw value.
        value: Span,
        /// Holds a reference, or white space to normalise.
        escaped: bool,
    },
    /// The namespace of the prefix `xml`, which needs no declaration.
    Xml,
}

/// The name of an element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Empty where there is none.
    pub prefix: Span,
    /// Without the prefix.
    pub local: Span,
    /// What it is bound to.
    pub namespace: Namespace,
}

impl Name {
    /// The namespace name, decoded. Allocates only where it is written with references.
    pub fn namespace<'a>(&self, scope: &'a StreamScope, input: &'a [u8]) -> Cow<'a, str> {
        match self.namespace {
            Namespace::Inherited => Cow::Borrowed(scope.default_namespace()),
            Namespace::Stream(index) => Cow::Borrowed(scope.uri(index).unwrap_or_default()),
            Namespace::Declared { value, .. } => {
                unescape(value.of(input), true).unwrap_or_default()
            }
            Namespace::Xml => Cow::Borrowed(XML_NAMESPACE),
        }
    }

    /// The namespace is `uri`. Allocates nothing.
    pub fn in_namespace(&self, scope: &StreamScope, input: &[u8], uri: &str) -> bool {
        match self.namespace {
            Namespace::Inherited => scope.default_namespace() == uri,
            Namespace::Stream(index) => scope.uri(index) == Some(uri),
            Namespace::Declared {
                value,
                escaped: true,
            } => unescape::value_is(value.of(input), uri),
            Namespace::Declared {
                value,
                escaped: false,
            } => value.of(input) == uri.as_bytes(),
            Namespace::Xml => XML_NAMESPACE == uri,
        }
    }

    /// The expanded name is this one. Allocates nothing.
    pub fn is(&self, scope: &StreamScope, input: &[u8], uri: &str, local: &str) -> bool {
        self.local.of(input) == local.as_bytes() && self.in_namespace(scope, input, uri)
    }
}

/// What the prefix `xml` stands for.
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// What the prefix `xmlns` stands for.
pub const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// One attribute of the tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    pub(super) start: u32,
    pub(super) value: u32,
    /// Offset of the closing quote.
    pub(super) end: u32,
    pub(super) name_len: u16,
    /// Without the colon; 0 where there is no prefix.
    pub(super) prefix_len: u16,
    /// Equal for the prefixes of one tag that mean the same namespace.
    pub(super) namespace_id: u16,
    /// The value holds a reference, or white space to normalise: decode it with [`super::unescape()`].
    pub escaped: bool,
    /// It declares a namespace: `xmlns` or `xmlns:prefix`.
    pub is_xmlns: bool,
}

impl Attribute {
    /// Prefix, colon and local name.
    pub const fn name(&self) -> Span {
        Span {
            start: self.start,
            end: self.start + self.name_len as u32,
        }
    }

    /// Empty where there is none.
    pub const fn prefix(&self) -> Span {
        Span {
            start: self.start,
            end: self.start + self.prefix_len as u32,
        }
    }

    /// The name behind the prefix.
    pub const fn local(&self) -> Span {
        let skipped = if self.prefix_len == 0 {
            0
        } else {
            self.prefix_len as u32 + 1
        };
        Span {
            start: self.start + skipped,
            end: self.start + self.name_len as u32,
        }
    }

    /// The raw value between the quotes.
    pub const fn value(&self) -> Span {
        Span {
            start: self.value,
            end: self.end,
        }
    }

    /// From the name to the closing quote.
    pub const fn whole(&self) -> Span {
        Span {
            start: self.start,
            end: self.end + 1,
        }
    }

    /// The value, decoded. Allocates only where it is `escaped`.
    pub fn decoded<'a>(&self, input: &'a [u8]) -> Cow<'a, str> {
        let raw = self.value().of(input);
        if self.escaped {
            return unescape(raw, true).unwrap_or_default();
        }
        std::str::from_utf8(raw).map_or_else(|_| Cow::default(), Cow::Borrowed)
    }
}

/// The opening tag of a top-level element, and what a relay must know of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Name of the element.
    pub name: Name,
    /// Offset behind the `>` of the opening tag.
    pub tag_end: usize,
    /// `<presence/>`
    pub self_closing: bool,
    /// Name of the first child element.
    pub first_child: Option<Name>,
    /// Number of child elements (not of their descendants).
    pub children: u32,
    /// Bit i: a name inside uses prefix binding i of the stream, so that the element means
    /// something else, or nothing, on a stream without that binding.
    pub header_prefixes_used: u32,
    /// An element inside (or the top-level one) is in the default namespace of the stream.
    pub inherits_default: bool,
    /// Of the tag; behind them those of the tag last scanned.
    pub(super) attributes: Rows<Attribute>,
    pub(super) attributes_len: usize,
}

impl Head {
    /// The attributes of the tag in the order of the sender, namespace declarations among them.
    pub fn attributes(&self) -> &[Attribute] {
        self.attributes
            .get(..self.attributes_len)
            .unwrap_or_default()
    }

    /// The attribute without prefix of this name.
    pub fn attribute(&self, input: &[u8], name: &[u8]) -> Option<&Attribute> {
        self.attributes()
            .iter()
            .find(|attribute| attribute.name().of(input) == name)
    }

    /// `xml:lang` of the tag itself.
    pub fn lang(&self, input: &[u8]) -> Option<&Attribute> {
        self.attribute(input, b"xml:lang")
    }
}
