//! RFC 6120 section 4.7: stream headers between servers, and the features that follow ours.

use crate::jid::domain_prep;
use crate::proto::ns;
use crate::proto::s2s::Found;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::proto::stream::header::is_heavy;
use crate::proto::stream::header::is_spoken;
use crate::xml::write::escape_attribute;

/// What a server's stream header says, its domains prepared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerHeader {
    /// Whom it wants; None where it says nothing.
    pub to: Option<Box<str>>,
    /// Who it says that it is.
    pub from: Option<Box<str>>,
    /// The name of the stream, which only the answering side gives.
    pub id: Option<Box<str>>,
    /// Features follow, or are expected.
    pub modern: bool,
}

/// Reads a header and checks what holds in both directions.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(found: Found<'_>) -> Result<ServerHeader, StreamError> {
    if !found.is(ns::STREAMS, "stream") {
        return Err(StreamError::new(StreamCondition::InvalidNamespace));
    }
    if found.scope.default_namespace() != ns::SERVER {
        return Err(StreamError::because(
            StreamCondition::InvalidNamespace,
            "the default namespace of a server's stream is jabber:server",
        ));
    }
    if is_heavy(found.scope) {
        return Err(StreamError::because(
            StreamCondition::PolicyViolation,
            "the stream header declares too much",
        ));
    }
    let domain = |name| match found.attribute(name) {
        None => Ok(None),
        Some(text) => match domain_prep(&text) {
            Ok(domain) if !domain.is_empty() => Ok(Some(domain.into())),
            Ok(_) | Err(_) => Err(StreamError::new(StreamCondition::ImproperAddressing)),
        },
    };
    Ok(ServerHeader {
        to: domain(b"to")?,
        from: domain(b"from")?,
        id: found.attribute(b"id").map(Into::into),
        modern: found
            .attribute(b"version")
            .is_some_and(|version| is_spoken(&version)),
    })
}

/// Writes our header; `id` where we answer.
pub fn write(from: &str, to: Option<&str>, id: Option<&str>, lang: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='");
    out.extend_from_slice(ns::SERVER.as_bytes());
    out.extend_from_slice(b"' xmlns:stream='");
    out.extend_from_slice(ns::STREAMS.as_bytes());
    out.extend_from_slice(b"' xmlns:db='");
    out.extend_from_slice(ns::DIALBACK.as_bytes());
    for (name, value) in [("id", id), ("from", Some(from)), ("to", to)] {
        if let Some(value) = value {
            out.extend_from_slice(b"' ");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"='");
            escape_attribute(value, out);
        }
    }
    out.extend_from_slice(b"' xml:lang='");
    escape_attribute(lang, out);
    out.extend_from_slice(b"' version='1.0'>");
}

/// What we offer to a server that has connected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features {
    /// STARTTLS; true where nothing goes without it.
    pub starttls: Option<bool>,
    /// SASL EXTERNAL: the peer's certificate is for the domain that it named.
    pub external: bool,
    /// Dialback, and that its errors are understood.
    pub dialback: bool,
    /// XEP-0288.
    pub bidi: bool,
}

impl Features {
    /// Writes them.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<stream:features>");
        if let Some(required) = self.starttls {
            out.extend_from_slice(b"<starttls xmlns='");
            out.extend_from_slice(ns::TLS.as_bytes());
            out.extend_from_slice(if required {
                b"'><required/></starttls>"
            } else {
                b"'/>"
            });
        }
        if self.external {
            out.extend_from_slice(b"<mechanisms xmlns='");
            out.extend_from_slice(ns::SASL.as_bytes());
            out.extend_from_slice(b"'><mechanism>EXTERNAL</mechanism></mechanisms>");
        }
        if self.dialback {
            out.extend_from_slice(b"<dialback xmlns='");
            out.extend_from_slice(ns::DIALBACK_FEATURE.as_bytes());
            out.extend_from_slice(b"'><errors/></dialback>");
        }
        if self.bidi {
            out.extend_from_slice(b"<bidi xmlns='");
            out.extend_from_slice(ns::BIDI_FEATURE.as_bytes());
            out.extend_from_slice(b"'/>");
        }
        out.extend_from_slice(b"</stream:features>");
    }
}
