//! PLAIN (RFC 4616): the one message of the client.

use super::exchange::own_authzid;
use super::failure::Failure;
use super::keys::{PASSWORD_BYTES_MAX, Secret};
use crate::jid;

/// Who claims to be who, and the proof.
#[derive(Debug)]
pub(super) struct Claim {
    /// A prepared node.
    pub(super) user: Box<str>,
    pub(super) password: Secret,
}

/// Reads `[authzid] NUL authcid NUL passwd`.
pub(super) fn parse(message: &[u8], host: &str) -> Result<Claim, Failure> {
    let text = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
    let mut fields = text.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Failure::MalformedRequest);
    };
    if authcid.is_empty() || password.is_empty() {
        return Err(Failure::MalformedRequest);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Failure::NotAuthorized);
    }
    let user = jid::node_prep(authcid).map_err(|_| Failure::NotAuthorized)?;
    if !authzid.is_empty() {
        own_authzid(authzid, &user, host)?;
    }
    Ok(Claim {
        user: user.into(),
        password: Secret::new(password),
    })
}
