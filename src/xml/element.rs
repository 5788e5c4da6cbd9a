//! A small tree, for the payload of an `iq` and whatever else is read as a whole.
//!
//! Off the hot path: a stanza that is only relayed never becomes one. [`Element::parse`] takes the
//! bytes of one element that the scanner has accepted, with what the stream header bound, and
//! resolves names to namespace and local name, so that prefixes no longer matter.
//! [`Element::write`] gives it back, declaring a namespace only where it changes.
//!
//! Invariants: on any bytes at all parsing ends in a tree or an error; a parsed tree is at most
//! [`DEPTH_MAX`] deep, so walking it by recursion is safe; a namespace is one allocation however
//! many elements share it, so that a tree stays within a small multiple of its bytes.

mod parse;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use parse::{ATTRIBUTES_MAX, BINDINGS_MAX, DEPTH_MAX, ELEMENTS_MAX, ParseError};

/// The namespace of `xml:lang` (Namespaces in XML 1.0 section 3).
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace of declarations, which nothing else may be in.
pub(super) const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// A namespace name: a constant of ours or text of a peer, shared within its tree.
#[derive(Clone)]
enum Namespace {
    Known(&'static str),
    Shared(Arc<str>),
}

/// An element with everything in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Element {
    namespace: Namespace,
    name: Box<str>,
    attributes: Vec<Attribute>,
    nodes: Vec<Node>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A child.
    Element(Element),
    /// Character data, decoded; never empty and never beside another text in a parsed tree.
    Text(String),
}

#[derive(Clone, PartialEq, Eq)]
struct Attribute {
    /// Empty for an attribute without prefix.
    namespace: Namespace,
    name: Box<str>,
    value: Box<str>,
}

impl Element {
    /// An empty element in one of our namespaces.
    pub fn new(name: &str, namespace: &'static str) -> Self {
        Self::with_name(name, Namespace::Known(namespace))
    }

    /// An empty element in a namespace that comes from elsewhere.
    pub fn in_namespace(name: &str, namespace: &str) -> Self {
        Self::with_name(name, Namespace::Shared(namespace.into()))
    }

    fn with_name(name: &str, namespace: Namespace) -> Self {
        Self {
            namespace,
            name: name.into(),
            attributes: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Adds or replaces an attribute without namespace.
    #[must_use]
    pub fn with_attr(self, name: &str, value: &str) -> Self {
        self.with_attr_ns(name, "", value)
    }

    /// Adds or replaces an attribute in a namespace, as `xml:lang` is.
    #[must_use]
    pub fn with_attr_ns(mut self, name: &str, namespace: &'static str, value: &str) -> Self {
        self.attributes.retain(|found| !found.is(name, namespace));
        let namespace = Namespace::Known(namespace);
        self.attributes.push(Attribute {
            namespace,
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    /// Adds character data.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.push_text(text);
        self
    }

    fn push_text(&mut self, text: &str) {
        match self.nodes.last_mut() {
            _ if text.is_empty() => {}
            Some(Node::Text(before)) => before.push_str(text),
            Some(Node::Element(_)) | None => self.nodes.push(Node::Text(text.to_owned())),
        }
    }

    /// The local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace; empty: none.
    pub fn ns(&self) -> &str {
        &self.namespace
    }

    /// Whether it has this local name and this namespace.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name() == name && self.ns() == namespace
    }

    /// The value of an attribute without prefix.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns(name, "")
    }

    /// The value of an attribute in a namespace.
    pub fn attr_ns(&self, name: &str, namespace: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|attribute| attribute.is(name, namespace));
        found.map(|attribute| &*attribute.value)
    }

    /// Every attribute as local name, namespace (empty: none) and value, in the order written.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.attributes
            .iter()
            .map(|attribute| (&*attribute.name, &*attribute.namespace, &*attribute.value))
    }

    /// The first child of this local name and namespace.
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Self> {
        self.children().find(|child| child.is(name, namespace))
    }

    /// The children that are elements.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// Children and text in their order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The text between the children, put together; that inside of them does not count.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.nodes.iter().filter_map(|node| match node {
            Node::Element(_) => None,
            Node::Text(text) => Some(text.as_str()),
        });
        let first = texts.next().unwrap_or_default();
        let mut together = Cow::Borrowed(first);
        for text in texts {
            together.to_mut().push_str(text);
        }
        together
    }
}

impl Attribute {
    fn is(&self, name: &str, namespace: &str) -> bool {
        &*self.name == name && &*self.namespace == namespace
    }
}

/// As it would be written where no namespace is inherited.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        self.write(&mut bytes, "");
        f.write_str(&String::from_utf8_lossy(&bytes))
    }
}

impl fmt::Debug for Element {
    // Names only: payloads are private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<{} xmlns='{}'>, {} nodes",
            self.name,
            &*self.namespace,
            self.nodes.len()
        )
    }
}

impl Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Namespace {}
