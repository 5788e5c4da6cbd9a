//! SCRAM (RFC 5802 section 7): the two messages of the client and the two of the server.
//!
//! Every attribute stands where the grammar wants it, or the message is refused. Extensions are
//! read over, except the mandatory ones (`m=`), which nobody may read over.

use std::borrow::Cow;

use super::base64;
use super::exchange::own_authzid;
use super::failure::Failure;
use super::keys::{Hash, ScramKeys};
use crate::jid;

/// Bytes of the client's nonce, at most. Real ones have 16 to 48.
pub(super) const NONCE_BYTES_MAX: usize = 256;

/// The client's first message.
#[derive(Debug)]
pub(super) struct First {
    /// A prepared node.
    pub(super) user: Box<str>,
    /// What the second message must repeat in `c=`.
    gs2_header: Box<str>,
    bare: Box<str>,
    nonce: Box<str>,
}

/// Between the server's first message and the client's second.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) user: Box<str>,
    hash: Hash,
    keys: ScramKeys,
    /// The client's nonce and ours.
    nonce: Box<str>,
    /// In base64, as it has to come back.
    channel_binding: Box<str>,
    /// The first two parts of AuthMessage, each with its comma.
    so_far: Box<str>,
}

impl First {
    /// Reads `gs2-header [m=...,] n=user, r=nonce [, extensions]`.
    pub(super) fn parse(message: &[u8], host: &str) -> Result<Self, Failure> {
        let text = text_of(message)?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::MalformedRequest)?;
        // `y`: the client could bind to the channel and believes that we cannot, which is true.
        // `p` asks for a binding that only a -PLUS mechanism has.
        if flag != "n" && flag != "y" {
            return Err(Failure::MalformedRequest);
        }
        let (authzid, bare) = rest.split_once(',').ok_or(Failure::MalformedRequest)?;
        let gs2_header = &text[..text.len() - bare.len()];
        let mut attributes = bare.split(',');
        let name = value(attributes.next(), "n=")?;
        let nonce = value(attributes.next(), "r=")?;
        if nonce.len() > NONCE_BYTES_MAX || !is_printable(nonce) {
            return Err(Failure::MalformedRequest);
        }
        extensions(attributes)?;
        let name = saslname(name)?;
        let user = jid::node_prep(&name).map_err(|_| Failure::NotAuthorized)?;
        if !authzid.is_empty() {
            own_authzid(&saslname(value(Some(authzid), "a=")?)?, &user, host)?;
        }
        Ok(Self {
            user: user.as_ref().into(),
            gs2_header: gs2_header.into(),
            bare: bare.into(),
            nonce: nonce.into(),
        })
    }

    /// The server's first message and what to wait with for the answer. `None` if `server_nonce`
    /// is no nonce.
    pub(super) fn challenge(
        self,
        hash: Hash,
        keys: &ScramKeys,
        server_nonce: &str,
    ) -> Option<(Vec<u8>, Pending)> {
        if server_nonce.is_empty() || !is_printable(server_nonce) {
            return None;
        }
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = base64::encode(&keys.salt);
        let message = format!("r={nonce},s={salt},i={}", keys.iterations);
        let pending = Pending {
            user: self.user,
            hash,
            keys: keys.clone(),
            nonce: nonce.into(),
            channel_binding: base64::encode(self.gs2_header.as_bytes()).into(),
            so_far: format!("{},{message},", self.bare).into(),
        };
        Some((message.into_bytes(), pending))
    }
}

impl Pending {
    /// Reads `c=binding, r=nonce [, extensions], p=proof` and gives the server's last message.
    pub(super) fn verify(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let text = text_of(message)?;
        let (without_proof, proof) = text.rsplit_once(',').ok_or(Failure::MalformedRequest)?;
        let proof = value(Some(proof), "p=")?;
        let mut attributes = without_proof.split(',');
        let channel_binding = value(attributes.next(), "c=")?;
        let nonce = value(attributes.next(), "r=")?;
        extensions(attributes)?;
        let Ok(Some(proof)) = base64::decode(proof) else {
            return Err(Failure::MalformedRequest);
        };
        if channel_binding != &*self.channel_binding || nonce != &*self.nonce {
            return Err(Failure::NotAuthorized);
        }
        let auth_message = format!("{}{without_proof}", self.so_far);
        if !self
            .keys
            .verify_proof(self.hash, auth_message.as_bytes(), &proof)
        {
            return Err(Failure::NotAuthorized);
        }
        let signature = self
            .keys
            .server_signature(self.hash, auth_message.as_bytes());
        Ok(format!("v={}", base64::encode(signature.as_ref())).into_bytes())
    }
}

fn text_of(message: &[u8]) -> Result<&str, Failure> {
    match std::str::from_utf8(message) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) | Err(_) => Err(Failure::MalformedRequest),
    }
}

/// The value of the attribute that has to stand here; never empty.
fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, Failure> {
    attribute
        .and_then(|attribute| attribute.strip_prefix(name))
        .filter(|value| !value.is_empty())
        .ok_or(Failure::MalformedRequest)
}

/// Optional extensions: a letter, `=` and a value. `m` is the mark of a mandatory one.
fn extensions<'a>(attributes: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    for attribute in attributes {
        let mut bytes = attribute.bytes();
        let is_letter = bytes
            .next()
            .is_some_and(|letter| letter.is_ascii_alphabetic());
        let is_other = !attribute.starts_with('m');
        if !(is_letter && is_other && bytes.next() == Some(b'=') && bytes.next().is_some()) {
            return Err(Failure::MalformedRequest);
        }
    }
    Ok(())
}

/// RFC 5802 section 7, printable: the comma, which separates, is none of them.
fn is_printable(nonce: &str) -> bool {
    nonce
        .bytes()
        .all(|b| matches!(b, 0x21..=0x2b | 0x2d..=0x7e))
}

/// RFC 5802 section 5.1: `=2C` is a comma, `=3D` an equals sign, and nothing else is escaped.
fn saslname(name: &str) -> Result<Cow<'_, str>, Failure> {
    let mut pieces = name.split('=');
    let first = pieces.next().unwrap_or_default();
    if first.len() == name.len() {
        return Ok(Cow::Borrowed(name));
    }
    let mut decoded = String::from(first);
    for piece in pieces {
        let (letter, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return Err(Failure::MalformedRequest),
        };
        decoded.push(letter);
        decoded.push_str(rest);
    }
    Ok(Cow::Owned(decoded))
}
