//! Stanza errors: conditions and types of RFC 6120 section 8.3.

use crate::proto::ns;
use crate::xml::write::escape_text;

/// A condition of RFC 6120 section 8.3.3.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StanzaCondition {
    /// Malformed: the request makes no sense.
    BadRequest,
    /// Something of that name exists already.
    Conflict,
    /// Understood, and not offered.
    FeatureNotImplemented,
    /// Not for this sender.
    Forbidden,
    /// Our own fault.
    InternalServerError,
    /// Nothing of that name.
    ItemNotFound,
    /// An address that cannot be.
    JidMalformed,
    /// The request does not meet a rule.
    NotAcceptable,
    /// Nobody may do this.
    NotAllowed,
    /// Not with these credentials.
    NotAuthorized,
    /// A limit or rule of this server.
    PolicyViolation,
    /// The domain is not known.
    RemoteServerNotFound,
    /// The domain did not answer in time.
    RemoteServerTimeout,
    /// Too busy, or too much.
    ResourceConstraint,
    /// The recipient cannot or will not.
    ServiceUnavailable,
}

impl StanzaCondition {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Conflict => "conflict",
            Self::FeatureNotImplemented => "feature-not-implemented",
            Self::Forbidden => "forbidden",
            Self::InternalServerError => "internal-server-error",
            Self::ItemNotFound => "item-not-found",
            Self::JidMalformed => "jid-malformed",
            Self::NotAcceptable => "not-acceptable",
            Self::NotAllowed => "not-allowed",
            Self::NotAuthorized => "not-authorized",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteServerNotFound => "remote-server-not-found",
            Self::RemoteServerTimeout => "remote-server-timeout",
            Self::ResourceConstraint => "resource-constraint",
            Self::ServiceUnavailable => "service-unavailable",
        }
    }

    /// The error type that RFC 6120 section 8.3.3 recommends.
    pub fn kind(self) -> &'static str {
        match self {
            Self::BadRequest | Self::JidMalformed | Self::NotAcceptable | Self::PolicyViolation => {
                "modify"
            }
            Self::Forbidden | Self::NotAuthorized => "auth",
            Self::RemoteServerTimeout | Self::ResourceConstraint => "wait",
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable => "cancel",
        }
    }

    /// Writes the `<error/>` element.
    pub fn write(self, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<error type='");
        out.extend_from_slice(self.kind().as_bytes());
        out.extend_from_slice(b"'><");
        out.extend_from_slice(self.name().as_bytes());
        out.extend_from_slice(b" xmlns='");
        out.extend_from_slice(ns::STANZA_ERRORS.as_bytes());
        out.extend_from_slice(b"'/>");
        if !text.is_empty() {
            out.extend_from_slice(b"<text xml:lang='en' xmlns='");
            out.extend_from_slice(ns::STANZA_ERRORS.as_bytes());
            out.extend_from_slice(b"'>");
            escape_text(text, out);
            out.extend_from_slice(b"</text>");
        }
        out.extend_from_slice(b"</error>");
    }
}
