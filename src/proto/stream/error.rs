//! Stream errors: what ends a stream, in the words of RFC 6120 section 4.9.3.

use crate::proto::ns;
use crate::xml::write::escape_text;

/// The condition that a stream ends with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StreamCondition {
    /// Section 4.9.3.1: the XML cannot be processed, such as text between stanzas.
    BadFormat,
    /// Section 4.9.3.2: a namespace prefix that is not bound.
    BadNamespacePrefix,
    /// Section 4.9.3.3: replaced by a newer session.
    Conflict,
    /// Section 4.9.3.4: a step of the negotiation took too long.
    ConnectionTimeout,
    /// Section 4.9.3.6: a host that is not served here.
    HostUnknown,
    /// Section 4.9.3.7: an address is missing where one is needed.
    ImproperAddressing,
    /// Section 4.9.3.8: our own fault.
    InternalServerError,
    /// Section 4.9.3.9: an address that the peer may not use.
    InvalidFrom,
    /// Section 4.9.3.10: the stream or its content has another namespace.
    InvalidNamespace,
    /// Section 4.9.3.11: the XML is no valid stream.
    InvalidXml,
    /// Section 4.9.3.12: not before authentication.
    NotAuthorized,
    /// Section 4.9.3.13: no XML at all.
    NotWellFormed,
    /// Section 4.9.3.14: a limit or a rule of this server.
    PolicyViolation,
    /// Section 4.9.3.17: out of memory, descriptors or patience.
    ResourceConstraint,
    /// Section 4.9.3.18: comments, processing instructions, a DTD, entities.
    RestrictedXml,
    /// Section 4.9.3.20: the server goes down.
    SystemShutdown,
    /// Section 4.9.3.21: none of the others.
    UndefinedCondition,
    /// Section 4.9.3.22: something else than UTF-8.
    UnsupportedEncoding,
    /// Section 4.9.3.24: an element that is no stanza.
    UnsupportedStanzaType,
    /// Section 4.9.3.25: a version of XMPP that is not spoken here.
    UnsupportedVersion,
}

impl StreamCondition {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::BadFormat,
        Self::BadNamespacePrefix,
        Self::Conflict,
        Self::ConnectionTimeout,
        Self::HostUnknown,
        Self::ImproperAddressing,
        Self::InternalServerError,
        Self::InvalidFrom,
        Self::InvalidNamespace,
        Self::InvalidXml,
        Self::NotAuthorized,
        Self::NotWellFormed,
        Self::PolicyViolation,
        Self::ResourceConstraint,
        Self::RestrictedXml,
        Self::SystemShutdown,
        Self::UndefinedCondition,
        Self::UnsupportedEncoding,
        Self::UnsupportedStanzaType,
        Self::UnsupportedVersion,
    ];

    /// The element's name, which is also the metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadFormat => "bad-format",
            Self::BadNamespacePrefix => "bad-namespace-prefix",
            Self::Conflict => "conflict",
            Self::ConnectionTimeout => "connection-timeout",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::InternalServerError => "internal-server-error",
            Self::InvalidFrom => "invalid-from",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidXml => "invalid-xml",
            Self::NotAuthorized => "not-authorized",
            Self::NotWellFormed => "not-well-formed",
            Self::PolicyViolation => "policy-violation",
            Self::ResourceConstraint => "resource-constraint",
            Self::RestrictedXml => "restricted-xml",
            Self::SystemShutdown => "system-shutdown",
            Self::UndefinedCondition => "undefined-condition",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::UnsupportedStanzaType => "unsupported-stanza-type",
            Self::UnsupportedVersion => "unsupported-version",
        }
    }
}

/// Why a stream ends: the condition, and a sentence for the person who reads the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamError {
    /// The condition of RFC 6120.
    pub condition: StreamCondition,
    /// Put into `<text/>`; empty for none.
    pub text: &'static str,
}

impl StreamError {
    /// A condition that says everything.
    pub const fn new(condition: StreamCondition) -> Self {
        Self {
            condition,
            text: "",
        }
    }

    /// A condition with a sentence.
    pub const fn because(condition: StreamCondition, text: &'static str) -> Self {
        Self { condition, text }
    }

    /// Writes the error and the end of the stream.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<stream:error><");
        out.extend_from_slice(self.condition.name().as_bytes());
        out.extend_from_slice(b" xmlns='");
        out.extend_from_slice(ns::STREAM_ERRORS.as_bytes());
        out.extend_from_slice(b"'/>");
        if !self.text.is_empty() {
            out.extend_from_slice(b"<text xml:lang='en' xmlns='");
            out.extend_from_slice(ns::STREAM_ERRORS.as_bytes());
            out.extend_from_slice(b"'>");
            escape_text(self.text, out);
            out.extend_from_slice(b"</text>");
        }
        out.extend_from_slice(b"</stream:error></stream:stream>");
    }
}
