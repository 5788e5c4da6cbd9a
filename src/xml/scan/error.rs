//! Why a stream is refused: the peer's deviation by name, and the stream error that answers it.

/// What the peer did wrong. Every one of them ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanError {
    /// XML or Namespaces in XML forbid it (RFC 6120 section 4.9.3.13).
    NotWellFormed(Malformed),
    /// XML allows it, XMPP does not (RFC 6120 section 11.1).
    RestrictedXml(Restricted),
    /// Character data between stanzas, or an empty stream element.
    BadFormat,
    /// Not UTF-8, or declared as something else (RFC 6120 section 11.6).
    UnsupportedEncoding,
    /// Larger than one of our bounds.
    PolicyViolation(Limit),
    /// A stream header where a stanza is due, and no restart was agreed.
    UnexpectedHeader,
}

/// Kinds of malformed XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// White space is missing, or something stands where an attribute, `=` or a quote must.
    Attribute,
    /// `]]>` in text.
    CdataEnd,
    /// A character that XML does not have: controls, U+FFFE, U+FFFF.
    Character,
    /// The XML declaration.
    Declaration,
    /// Two attributes of one element have the same expanded name.
    DuplicateAttribute,
    /// An end tag that does not match the element, or is not one.
    EndTag,
    /// Text, or an end tag, before the stream header.
    Header,
    /// `<!` and nothing known.
    Markup,
    /// A name that is none.
    Name,
    /// A namespace name that may not be bound, or not to this prefix.
    NamespaceName,
    /// A prefix that is not bound, or may not be.
    Prefix,
    /// `&` and no reference, or a reference to no character.
    Reference,
    /// A start tag ends in something else than `>` or `/>`.
    StartTag,
    /// `<` in an attribute value.
    Value,
}

/// Kinds of XML that XMPP leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restricted {
    /// `<!--`
    Comment,
    /// `<!DOCTYPE` and what belongs into one.
    Doctype,
    /// A reference to an entity other than the five predefined ones.
    Entity,
    /// `<?`
    ProcessingInstruction,
    /// `standalone='no'` in the XML declaration.
    Standalone,
}

/// Which bound was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`super::Limits::attributes_max`]
    Attributes,
    /// [`super::DECLARATION_BYTES_MAX`]
    Declaration,
    /// [`super::Limits::depth_max`]
    Depth,
    /// [`super::Limits::name_bytes_max`]
    NameBytes,
    /// [`super::Limits::namespaces_max`]
    Namespaces,
    /// [`super::Limits::stanza_bytes_max`]
    StanzaBytes,
}

impl ScanError {
    /// The defined condition of the stream error (RFC 6120 section 4.9.3).
    pub const fn condition(self) -> &'static str {
        match self {
            Self::NotWellFormed(_) => "not-well-formed",
            Self::RestrictedXml(_) => "restricted-xml",
            Self::BadFormat => "bad-format",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::PolicyViolation(_) | Self::UnexpectedHeader => "policy-violation",
        }
    }
}

impl std::fmt::Display for ScanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotWellFormed(reason) => write!(f, "not well-formed: {reason:?}"),
            Self::RestrictedXml(reason) => write!(f, "restricted XML: {reason:?}"),
            Self::BadFormat => f.write_str("character data between stanzas"),
            Self::UnsupportedEncoding => f.write_str("not UTF-8"),
            Self::PolicyViolation(limit) => write!(f, "too large: {limit:?}"),
            Self::UnexpectedHeader => f.write_str("a stream header where no restart is due"),
        }
    }
}

impl std::error::Error for ScanError {}

impl From<Malformed> for ScanError {
    fn from(reason: Malformed) -> Self {
        Self::NotWellFormed(reason)
    }
}

impl From<Restricted> for ScanError {
    fn from(reason: Restricted) -> Self {
        Self::RestrictedXml(reason)
    }
}

impl From<Limit> for ScanError {
    fn from(limit: Limit) -> Self {
        Self::PolicyViolation(limit)
    }
}
