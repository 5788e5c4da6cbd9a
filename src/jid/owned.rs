//! Owned addresses: one allocation with the prepared text, and where its separators are.
//!
//! The text decides equality, order and hash, and all three types lend themselves as `str`, so a
//! map keyed by an address is searched with a slice of the stanza.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;

use super::{JidError, domain_prep, node_prep, parse, resource_prep};

/// A prepared address, bare or full.
#[derive(Clone)]
pub struct Jid {
    text: Box<str>,
    /// Where the `@` is; 0: no node, since a node is never empty.
    at: u16,
    /// Where the `/` is; 0: no resource, since a domain is never empty.
    slash: u16,
}

/// A prepared address without a resource: an account, a room, a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BareJid(Jid);

/// A prepared address with a resource: one session, one occupant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullJid(Jid);

impl Jid {
    /// Prepares three parts that come from different places and joins them.
    pub fn new(node: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let node = node.map(node_prep).transpose()?;
        let domain = domain_prep(domain)?;
        let resource = resource.map(resource_prep).transpose()?;
        Ok(Self::join(node.as_deref(), &domain, resource.as_deref()))
    }

    /// Joins parts that are prepared, and so within their bounds.
    pub(super) fn join(node: Option<&str>, domain: &str, resource: Option<&str>) -> Self {
        let (node_length, resource_length) =
            (node.map_or(0, str::len), resource.map_or(0, str::len));
        let mut text = String::with_capacity(node_length + domain.len() + resource_length + 2);
        let (mut at, mut slash) = (0, 0);
        if let Some(node) = node {
            text.push_str(node);
            at = offset(&text);
            text.push('@');
        }
        text.push_str(domain);
        if let Some(resource) = resource {
            slash = offset(&text);
            text.push('/');
            text.push_str(resource);
        }
        Self {
            text: text.into_boxed_str(),
            at,
            slash,
        }
    }

    /// The whole prepared text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text alone.
    pub fn into_string(self) -> String {
        self.text.into_string()
    }

    /// Before the `@`.
    pub fn node(&self) -> Option<&str> {
        (self.at != 0).then(|| &self.text[..usize::from(self.at)])
    }

    /// The host.
    pub fn domain(&self) -> &str {
        let start = if self.at == 0 {
            0
        } else {
            usize::from(self.at) + 1
        };
        &self.bare()[start..]
    }

    /// After the `/`.
    pub fn resource(&self) -> Option<&str> {
        (self.slash != 0).then(|| &self.text[usize::from(self.slash) + 1..])
    }

    /// The text without the resource.
    pub fn bare(&self) -> &str {
        match self.slash {
            0 => &self.text,
            slash => &self.text[..usize::from(slash)],
        }
    }

    /// True without a resource.
    pub fn is_bare(&self) -> bool {
        self.slash == 0
    }

    /// A copy without the resource.
    pub fn to_bare(&self) -> BareJid {
        BareJid(Self {
            text: self.bare().into(),
            at: self.at,
            slash: 0,
        })
    }

    /// A copy with this resource, prepared, in place of any other.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource = resource_prep(resource)?;
        Ok(FullJid(Self::join(
            self.node(),
            self.domain(),
            Some(&resource),
        )))
    }
}

fn offset(text: &str) -> u16 {
    u16::try_from(text.len()).expect("prepared parts together are within JID_BYTES_MAX")
}

impl BareJid {
    /// Prepares a node and a domain and joins them.
    pub fn new(node: Option<&str>, domain: &str) -> Result<Self, JidError> {
        Jid::new(node, domain, None).map(Self)
    }

    pub(super) fn join(node: Option<&str>, domain: &str) -> Self {
        Self(Jid::join(node, domain, None))
    }

    /// The address as one of either kind.
    pub fn into_jid(self) -> Jid {
        self.0
    }

    /// The text alone.
    pub fn into_string(self) -> String {
        self.0.into_string()
    }
}

impl FullJid {
    /// The address as one of either kind.
    pub fn into_jid(self) -> Jid {
        self.0
    }

    /// After the `/`, which a full address always has.
    pub fn resource(&self) -> &str {
        &self.0.text[usize::from(self.0.slash) + 1..]
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jid {}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Jid {
    // As a str hashes: `Borrow<str>` promises it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        parse(text).map(|parts| parts.to_jid())
    }
}

impl FromStr for BareJid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        text.parse::<Jid>()?.try_into()
    }
}

impl FromStr for FullJid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        text.parse::<Jid>()?.try_into()
    }
}

impl TryFrom<Jid> for BareJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        if jid.is_bare() {
            Ok(Self(jid))
        } else {
            Err(JidError::ResourcePresent)
        }
    }
}

impl TryFrom<Jid> for FullJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        if jid.is_bare() {
            Err(JidError::ResourceMissing)
        } else {
            Ok(Self(jid))
        }
    }
}

impl Deref for BareJid {
    type Target = Jid;

    fn deref(&self) -> &Jid {
        &self.0
    }
}

impl Deref for FullJid {
    type Target = Jid;

    fn deref(&self) -> &Jid {
        &self.0
    }
}

/// What all three have in common as text.
macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }
    )*};
}

text_traits!(Jid, BareJid, FullJid);
