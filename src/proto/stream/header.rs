//! Stream headers: what a peer's says, and how ours looks (RFC 6120 section 4.7).

use std::borrow::Cow;

use crate::proto::ns;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::scan::Head;
use crate::xml::scan::StreamScope;
use crate::xml::write::escape_attribute;

/// Bytes of prefixes and namespaces that a stream header may bind; ten times what any client does.
pub const HEADER_BINDING_BYTES_MAX: usize = 1024;
/// Bytes of `xml:lang` of a stream header; the longest registered language tags have about 35.
pub const HEADER_LANG_BYTES_MAX: usize = 64;

/// What a client's stream header asks for.
#[derive(Debug)]
pub struct ClientHeader<'a> {
    /// The host that it wants, as written.
    pub to: Cow<'a, str>,
}

/// Checks a client's header in the order that the specification of the listener names:
/// namespace of the stream, default namespace, `to`, version.
///
/// # Errors
/// The first thing that is wrong. `serves` says whether a host, as written, is ours.
pub fn client_header<'a>(
    head: &'a Head,
    scope: &'a StreamScope,
    bytes: &'a [u8],
    serves: impl FnOnce(&str) -> bool,
) -> Result<ClientHeader<'a>, StreamError> {
    if !head.name.is(scope, bytes, ns::STREAMS, "stream") {
        return Err(StreamError::new(StreamCondition::InvalidNamespace));
    }
    if scope.default_namespace() != ns::CLIENT {
        return Err(StreamError::because(
            StreamCondition::InvalidNamespace,
            "the default namespace of a client's stream is jabber:client",
        ));
    }
    if is_heavy(scope) {
        return Err(StreamError::because(
            StreamCondition::PolicyViolation,
            "the stream header declares too much",
        ));
    }
    let to = head.attribute(bytes, b"to").map(|to| to.decoded(bytes));
    let Some(to) = to.filter(|to| serves(to)) else {
        return Err(StreamError::new(StreamCondition::HostUnknown));
    };
    let version = head
        .attribute(bytes, b"version")
        .map(|version| version.decoded(bytes));
    if !version.is_some_and(|version| is_spoken(&version)) {
        return Err(StreamError::because(
            StreamCondition::UnsupportedVersion,
            "version 1.0 of XMPP is spoken here",
        ));
    }
    Ok(ClientHeader { to })
}

/// What a header declares is repeated on every stanza that is relayed, so it must be small.
pub fn is_heavy(scope: &StreamScope) -> bool {
    let bindings: usize = scope
        .bindings()
        .map(|(_, prefix, uri)| prefix.len() + uri.len())
        .sum();
    bindings > HEADER_BINDING_BYTES_MAX
        || scope
            .lang()
            .is_some_and(|lang| lang.len() > HEADER_LANG_BYTES_MAX)
}

/// RFC 6120 section 4.7.5: two numbers, of which the first is at least 1; what is above 1.0 is
/// answered with 1.0.
pub fn is_spoken(version: &str) -> bool {
    let Some((major, minor)) = version.split_once('.') else {
        return false;
    };
    let number = |text: &str| {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.trim_start_matches('0').to_owned())
    };
    number(minor).is_some() && number(major).is_some_and(|major| !major.is_empty())
}

/// Writes our header. `from` is a host of ours, `to` the peer's address where it named one.
pub fn write_header(
    content: &str,
    from: &str,
    to: Option<&str>,
    id: &str,
    lang: &str,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='");
    out.extend_from_slice(content.as_bytes());
    out.extend_from_slice(b"' xmlns:stream='");
    out.extend_from_slice(ns::STREAMS.as_bytes());
    out.extend_from_slice(b"' id='");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"' from='");
    escape_attribute(from, out);
    if let Some(to) = to {
        out.extend_from_slice(b"' to='");
        escape_attribute(to, out);
    }
    out.extend_from_slice(b"' xml:lang='");
    escape_attribute(lang, out);
    out.extend_from_slice(b"' version='1.0'>");
}

#[cfg(test)]
mod tests {
    use super::is_spoken;

    #[test]
    fn versions() {
        for good in ["1.0", "1.1", "01.0", "2.0", "10.12", "1.00"] {
            assert!(is_spoken(good), "{good}");
        }
        for bad in [
            "", "1", "0.9", "00.1", "1.", ".1", "a.b", "-1.0", "1.0.0", "1,0",
        ] {
            assert!(!is_spoken(bad), "{bad}");
        }
    }
}
