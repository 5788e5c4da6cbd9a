//! From the text of an address to its prepared parts.

use std::borrow::Cow;

use memchr::memchr2;

use super::{
    BareJid, FullJid, JID_BYTES_MAX, Jid, JidError, domain_prep, node_prep, resource_prep,
};

/// The prepared parts of one address. Borrowed from the text where it was in that form already.
///
/// Only [`parse`] makes one; replace a part by preparing and parsing anew, not in place.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// Before the `@`.
    pub node: Option<Cow<'a, str>>,
    /// The host.
    pub domain: Cow<'a, str>,
    /// After the `/`.
    pub resource: Option<Cow<'a, str>>,
    /// The text itself, if it is the prepared address byte for byte.
    as_given: Option<&'a str>,
}

/// Splits and prepares `input`. An address in its prepared form costs one pass and no allocation.
pub fn parse(input: &str) -> Result<Parts<'_>, JidError> {
    if input.len() > JID_BYTES_MAX {
        return Err(JidError::TooLong);
    }
    let (node, domain, resource) = split(input)?;
    let node = node.map(node_prep).transpose()?;
    let domain = domain_prep(domain)?;
    let resource = resource.map(resource_prep).transpose()?;
    let borrowed = |part: &Cow<'_, str>| matches!(part, Cow::Borrowed(_));
    let unchanged = borrowed(&domain)
        && node.as_ref().is_none_or(borrowed)
        && resource.as_ref().is_none_or(borrowed);
    let length = joined_length(node.as_deref(), &domain, resource.as_deref());
    // A root dot that was cut off leaves every part borrowed, but not the text.
    let as_given = (unchanged && length == input.len()).then_some(input);
    Ok(Parts {
        node,
        domain,
        resource,
        as_given,
    })
}

type Split<'a> = (Option<&'a str>, &'a str, Option<&'a str>);

/// RFC 6122 2.1: the resource begins at the first `/`, and only before that can an `@` separate.
fn split(input: &str) -> Result<Split<'_>, JidError> {
    let Some((head, tail)) = before_separator(input) else {
        return Ok((None, input, None));
    };
    let Some(tail) = tail.strip_prefix('@') else {
        return Ok((None, head, tail.strip_prefix('/')));
    };
    match before_separator(tail) {
        None => Ok((Some(head), tail, None)),
        Some((domain, resource)) => match resource.strip_prefix('/') {
            Some(resource) => Ok((Some(head), domain, Some(resource))),
            None => Err(JidError::SecondAt),
        },
    }
}

/// What stands before the first separator, and the rest from there on.
fn before_separator(text: &str) -> Option<(&str, &str)> {
    text.split_at_checked(memchr2(b'@', b'/', text.as_bytes())?)
}

fn joined_length(node: Option<&str>, domain: &str, resource: Option<&str>) -> usize {
    node.map_or(0, |node| node.len() + 1)
        + domain.len()
        + resource.map_or(0, |resource| resource.len() + 1)
}

impl<'a> Parts<'a> {
    /// The text of the prepared address, borrowed if the input was in that form.
    pub fn full(&self) -> Cow<'a, str> {
        match self.as_given {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.to_jid().into_string()),
        }
    }

    /// The text without the resource, borrowed if the input was in prepared form: the key under
    /// which accounts and rooms are found.
    pub fn bare(&self) -> Cow<'a, str> {
        match self.as_given {
            Some(text) => {
                let length = joined_length(self.node.as_deref(), &self.domain, None);
                Cow::Borrowed(&text[..length])
            }
            None => Cow::Owned(self.to_bare().into_string()),
        }
    }

    /// The owned address.
    pub fn to_jid(&self) -> Jid {
        Jid::join(self.node.as_deref(), &self.domain, self.resource.as_deref())
    }

    /// The owned address without its resource.
    pub fn to_bare(&self) -> BareJid {
        BareJid::join(self.node.as_deref(), &self.domain)
    }

    /// The owned address if it has a resource.
    pub fn to_full(&self) -> Result<FullJid, JidError> {
        FullJid::try_from(self.to_jid())
    }

    /// True if the text that was parsed is the prepared address byte for byte.
    pub fn is_as_given(&self) -> bool {
        self.as_given.is_some()
    }
}
