//! XEP-0220: Server Dialback, its elements; XEP-0185: how its keys are made.
//!
//! A key is a function of the two domains, the stream and a secret that all shards share, so that
//! any shard can say whether a key is ours without having seen the stream it was made for.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;

use crate::jid::domain_prep;
use crate::proto::ns;
use crate::proto::s2s::Found;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::write::escape_attribute;
use crate::xml::write::escape_text;

/// Bytes of a key that is passed on to be verified. Those of deployed servers have 40 to 64.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of a stream id that is asked about. Those of deployed servers have 8 to 40.
pub const ID_BYTES_MAX: usize = 512;

/// Makes and knows our keys. Lives on: every shard.
#[derive(Clone)]
pub struct Keys {
    key: hmac::Key,
}

impl Keys {
    /// From the secret that all shards, and all nodes of a cluster, share.
    pub fn new(secret: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, secret);
        let hashed = hex(digest.as_ref());
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, hashed.as_bytes()),
        }
    }

    /// The key for a stream that `receiving` has named `id`.
    pub fn key(&self, receiving: &str, originating: &str, id: &str) -> String {
        let text = format!("{receiving} {originating} {id}");
        hex(hmac::sign(&self.key, text.as_bytes()).as_ref())
    }

    /// Whether `key` is the one that we made, in a time that does not tell where it differs.
    pub fn is_right(&self, receiving: &str, originating: &str, id: &str, key: &str) -> bool {
        let right = self.key(receiving, originating, id);
        verify_slices_are_equal(right.as_bytes(), key.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Which of the two elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `<db:result/>`: between the two servers of a stream.
    Result,
    /// `<db:verify/>`: to the server that is asked.
    Verify,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Result => "db:result",
            Self::Verify => "db:verify",
        }
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The domain is proven.
    Valid,
    /// It is not.
    Invalid,
    /// It could not be found out (section 2.4).
    Error(StanzaCondition),
}

/// One of the elements, its domains prepared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dialback {
    /// Which one.
    pub kind: Kind,
    /// Who sends it.
    pub from: Box<str>,
    /// To whom.
    pub to: Box<str>,
    /// The stream that a `verify` is about; empty in a `result`.
    pub id: Box<str>,
    /// What an answer says; None in a question.
    pub verdict: Option<Verdict>,
    /// The key of a question.
    pub key: Box<str>,
}

impl Dialback {
    /// Reads a dialback element; None for any other.
    ///
    /// # Errors
    /// Domains that are missing or cannot be, a type that is not known, more than there may be.
    pub fn read(found: Found<'_>) -> Result<Option<Self>, StreamError> {
        let kind = if found.is(ns::DIALBACK, "result") {
            Kind::Result
        } else if found.is(ns::DIALBACK, "verify") {
            Kind::Verify
        } else {
            return Ok(None);
        };
        let domain = |name| {
            let domain = found.attribute(name).filter(|domain| !domain.is_empty());
            let domain = domain.and_then(|domain| domain_prep(&domain).ok().map(Box::<str>::from));
            domain.ok_or(StreamError::because(
                StreamCondition::ImproperAddressing,
                "a dialback element names two domains",
            ))
        };
        let (from, to) = (domain(b"from")?, domain(b"to")?);
        let id = found.attribute(b"id").unwrap_or_default();
        let tree = found.tree()?;
        let verdict = match tree.attr("type") {
            None => None,
            Some("valid") => Some(Verdict::Valid),
            Some("invalid") => Some(Verdict::Invalid),
            Some("error") => Some(Verdict::Error(condition(&tree))),
            Some(_) => return Err(StreamError::new(StreamCondition::InvalidXml)),
        };
        let key = tree.text().trim().to_owned();
        let is_nameless = kind == Kind::Verify && id.is_empty();
        if key.len() > KEY_BYTES_MAX || id.len() > ID_BYTES_MAX || is_nameless {
            return Err(StreamError::because(
                StreamCondition::PolicyViolation,
                "no such dialback key or stream",
            ));
        }
        Ok(Some(Self {
            kind,
            from,
            to,
            id: id.into(),
            verdict,
            key: key.into(),
        }))
    }

    /// Appends the element.
    pub fn write(&self, out: &mut Vec<u8>) {
        let name = self.kind.name();
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        attribute("from", &self.from, out);
        attribute("to", &self.to, out);
        if self.kind == Kind::Verify {
            attribute("id", &self.id, out);
        }
        match self.verdict {
            None => {
                out.push(b'>');
                escape_text(&self.key, out);
            }
            Some(Verdict::Valid) => return out.extend_from_slice(b" type='valid'/>"),
            Some(Verdict::Invalid) => return out.extend_from_slice(b" type='invalid'/>"),
            Some(Verdict::Error(condition)) => {
                out.extend_from_slice(b" type='error'>");
                condition.write("", out);
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }

    /// The question that this claim, made on a stream of that name, leads to.
    pub fn question(&self) -> Self {
        Self {
            kind: Kind::Verify,
            from: self.to.clone(),
            to: self.from.clone(),
            id: self.id.clone(),
            verdict: None,
            key: self.key.clone(),
        }
    }

    /// The answer to this question.
    pub fn answer(&self, verdict: Verdict) -> Self {
        Self {
            kind: self.kind,
            from: self.to.clone(),
            to: self.from.clone(),
            id: self.id.clone(),
            verdict: Some(verdict),
            key: Box::default(),
        }
    }
}

/// The condition inside an `error` answer: one that we know, else that it could not be found out.
fn condition(tree: &crate::xml::element::Element) -> StanzaCondition {
    let error = tree
        .children()
        .find(|child| child.name() == "error")
        .and_then(|error| error.children().find(|c| c.ns() == ns::STANZA_ERRORS));
    let known = [
        StanzaCondition::Forbidden,
        StanzaCondition::InternalServerError,
        StanzaCondition::ItemNotFound,
        StanzaCondition::NotAllowed,
        StanzaCondition::NotAuthorized,
        StanzaCondition::PolicyViolation,
        StanzaCondition::RemoteServerNotFound,
        StanzaCondition::RemoteServerTimeout,
        StanzaCondition::ResourceConstraint,
    ];
    let known = known
        .into_iter()
        .find(|known| error.is_some_and(|error| error.name() == known.name()));
    known.unwrap_or(StanzaCondition::RemoteServerTimeout)
}

fn attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attribute(value, out);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::s2s::tests_support::with_found;

    #[test]
    fn the_example_of_xep_0185() {
        let keys = Keys::new(b"s3cr3tf0rd14lb4ck");
        let key = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643";
        assert_eq!(
            keys.key("xmpp.example.com", "example.org", "D60000229F"),
            key
        );
        assert!(keys.is_right("xmpp.example.com", "example.org", "D60000229F", key));
        assert!(!keys.is_right("xmpp.example.com", "example.org", "D60000229E", key));
        assert!(!keys.is_right("example.org", "xmpp.example.com", "D60000229F", key));
        assert!(!keys.is_right("xmpp.example.com", "example.org", "D60000229F", ""));
    }

    #[test]
    fn what_is_written_is_read() {
        let of = |kind, verdict, key: &str| Dialback {
            kind,
            from: "a.example".into(),
            to: "b.example".into(),
            id: if kind == Kind::Verify {
                "a'b<".into()
            } else {
                "".into()
            },
            verdict,
            key: key.into(),
        };
        let error = Verdict::Error(StanzaCondition::ItemNotFound);
        for kind in [Kind::Result, Kind::Verify] {
            for dialback in [
                of(kind, None, "0a<&"),
                of(kind, Some(Verdict::Valid), ""),
                of(kind, Some(Verdict::Invalid), ""),
                of(kind, Some(error), ""),
            ] {
                let mut out = Vec::new();
                dialback.write(&mut out);
                with_found(&out, |found| {
                    assert_eq!(Dialback::read(found), Ok(Some(dialback.clone())));
                });
            }
        }
    }

    #[test]
    fn what_is_none() {
        let db = "xmlns:db='jabber:server:dialback'";
        for (xml, condition) in [
            (
                format!("<db:result {db}/>"),
                StreamCondition::ImproperAddressing,
            ),
            (
                format!("<db:result {db} from='a' to=''/>"),
                StreamCondition::ImproperAddressing,
            ),
            (
                format!("<db:result {db} from='a' to='b&#x20;c'/>"),
                StreamCondition::ImproperAddressing,
            ),
            (
                format!("<db:verify {db} from='a' to='b'>k</db:verify>"),
                StreamCondition::PolicyViolation,
            ),
            (
                format!("<db:result {db} from='a' to='b' type='sure'/>"),
                StreamCondition::InvalidXml,
            ),
        ] {
            with_found(xml.as_bytes(), |found| {
                let error = Dialback::read(found).expect_err(&xml);
                assert_eq!(error.condition, condition, "{xml}");
            });
        }
        with_found(b"<message/>", |found| {
            assert_eq!(Dialback::read(found), Ok(None))
        });
    }
}
