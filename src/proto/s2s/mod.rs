//! Streams between servers (RFC 6120, XEP-0220): two machines, one for each direction.
//!
//! [`inbound`] is the side that was connected to: it says which pairs of domains the peer has proven
//! and may send for. [`outbound`] is the side that connected: it says when a pair may be sent for.
//! Both take one input at a time, append what is to be sent, and return an order; [`dialback`] has
//! the keys and elements that both use. Sockets, TLS, time and name lookups are the driver's.

pub mod dialback;
pub mod header;
pub mod inbound;
pub mod outbound;

#[cfg(test)]
mod tests_support;

use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::element::Element;
use crate::xml::scan::Head;
use crate::xml::scan::StreamScope;

/// An element, or a stream header, as the scanner found it.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its top-level tag.
    pub head: &'a Head,
    /// What the stream header bound.
    pub scope: &'a StreamScope,
}

impl Found<'_> {
    /// True for an element of that name.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.head.name.is(self.scope, self.bytes, namespace, name)
    }

    /// An attribute without a prefix, decoded.
    pub fn attribute(&self, name: &[u8]) -> Option<String> {
        let found = self.head.attribute(self.bytes, name)?;
        Some(found.decoded(self.bytes).into_owned())
    }

    /// The element as a tree.
    ///
    /// # Errors
    /// When it is deeper than trees are built.
    pub fn tree(&self) -> Result<Element, StreamError> {
        let bindings = self.scope.bindings();
        let bindings: Vec<(&str, &str)> = bindings.map(|(_, prefix, uri)| (prefix, uri)).collect();
        Element::parse(self.bytes, self.scope.default_namespace(), &bindings).map_err(|_| {
            StreamError::because(StreamCondition::PolicyViolation, "the element is too deep")
        })
    }
}

/// How a pair of domains was proven.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Proof {
    /// By a certificate for the domain (SASL EXTERNAL, XEP-0178).
    Certificate,
    /// By asking the domain's own server (XEP-0220).
    Dialback,
}

impl Proof {
    /// The word that `meerkat status` shows.
    pub fn label(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dialback => "dialback",
        }
    }
}

/// A domain of the peer's and one of ours, both prepared.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pair {
    /// The domain that is served here.
    pub local: Box<str>,
    /// The domain of the peer.
    pub remote: Box<str>,
}

impl Pair {
    /// From prepared domains.
    pub fn new(local: &str, remote: &str) -> Self {
        Self {
            local: local.into(),
            remote: remote.into(),
        }
    }

    /// True for these two.
    pub fn is(&self, local: &str, remote: &str) -> bool {
        *self.local == *local && *self.remote == *remote
    }
}
