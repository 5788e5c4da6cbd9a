//! Which SASL mechanisms a listener offers on a connection.
//!
//! The order is the operator's (`auth.sasl_mechanisms`), the strongest first where nothing is
//! written. What is offered depends on the host and the connection and never on the user, who is not
//! known yet.

use crate::auth::password::PasswordPolicy;
use crate::config::auth::AnonymousProtocol;
use crate::config::auth::Auth;
use crate::config::auth::Mechanism as Configured;
use crate::config::auth::Method;
use crate::config::auth::PasswordFormat;
use crate::proto::sasl::Mechanism;
use crate::proto::sasl::keys::Hash;

/// What `[auth]` of a host and `allowed_auth_methods` of a listener allow together. Lives on: every
/// shard, made once for each host and listener.
#[derive(Clone, Debug)]
pub struct AuthRules {
    /// Accounts of the server's own store count.
    pub internal: bool,
    /// The ANONYMOUS mechanism makes a user.
    pub anonymous: bool,
    /// Any name with any password is a user (`anonymous.protocol` of "login_anon" or "both").
    pub any_login: bool,
    /// How passwords of accounts are stored.
    pub password: PasswordPolicy,
    /// Passwords that were found right need not be computed again.
    pub remembers_verified: bool,
    order: Vec<Mechanism>,
    plain_without_tls: Option<bool>,
}

/// What the connection is like, as far as PLAIN is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Everything is encrypted.
    pub tls: bool,
    /// The address at the other end of the socket is loopback; an address that a PROXY header or
    /// an HTTP header names never counts.
    pub socket_peer_is_loopback: bool,
    /// The listener is bound to a loopback address.
    pub bound_to_loopback: bool,
    /// The listener expects a PROXY header.
    pub proxy_protocol: bool,
    /// The listener is http.
    pub http: bool,
}

/// What to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The mechanisms, in order.
    pub mechanisms: Vec<Mechanism>,
    /// Why PLAIN is not among them although it is configured: to be said once per listener.
    pub plain_withheld: Option<PlainWithheld>,
}

/// Why PLAIN is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainWithheld {
    /// The operator wrote `allow_plain_without_tls = false`.
    Refused,
    /// Without TLS, and the other end is not provably this machine.
    NotLocal,
}

impl PlainWithheld {
    /// The reason and the remedy, for the log.
    pub fn text(self) -> &'static str {
        match self {
            Self::Refused => {
                "PLAIN is not offered before TLS, as auth.allow_plain_without_tls = false demands"
            }
            Self::NotLocal => {
                "PLAIN is not offered before TLS except to loopback; clients that need it use TLS, \
                 or auth.allow_plain_without_tls = true sends passwords in clear"
            }
        }
    }
}

impl AuthRules {
    /// From `[auth]` of the host, and `allowed_auth_methods` of the listener where it is written.
    pub fn new(auth: &Auth, allowed: Option<&[Method]>) -> Self {
        let enabled = auth.enabled();
        let allows = |method: Method| {
            enabled.contains(&method) && allowed.is_none_or(|allowed| allowed.contains(&method))
        };
        let protocol = auth.anonymous.as_ref().map(|anonymous| anonymous.protocol);
        let with_protocol = |protocols: [AnonymousProtocol; 2]| {
            allows(Method::Anonymous) && protocol.is_some_and(|found| protocols.contains(&found))
        };
        Self {
            internal: allows(Method::Internal),
            anonymous: with_protocol([AnonymousProtocol::Sasl, AnonymousProtocol::Both]),
            any_login: with_protocol([AnonymousProtocol::Login, AnonymousProtocol::Both]),
            password: PasswordPolicy::from_config(auth),
            remembers_verified: auth.password.remember_verified,
            order: auth
                .mechanisms()
                .iter()
                .filter_map(|name| known(*name))
                .collect(),
            plain_without_tls: auth.allow_plain_without_tls,
        }
    }

    /// What to offer on a connection.
    pub fn offer(&self, channel: &Channel) -> Offer {
        let withheld = self.plain_withheld(channel);
        let plain_is_due = self.order.contains(&Mechanism::Plain) && self.serves(Mechanism::Plain);
        let mechanisms = self
            .order
            .iter()
            .copied()
            .filter(|mechanism| self.serves(*mechanism))
            .filter(|mechanism| *mechanism != Mechanism::Plain || withheld.is_none())
            .collect();
        Offer {
            mechanisms,
            plain_withheld: withheld.filter(|_| plain_is_due),
        }
    }

    /// Whether some method can carry the mechanism out.
    fn serves(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Anonymous => self.anonymous,
            Mechanism::Plain => self.internal || self.any_login,
            Mechanism::ScramSha1 => self.has_keys(Hash::Sha1),
            Mechanism::ScramSha256 => self.has_keys(Hash::Sha256),
            Mechanism::ScramSha512 => self.has_keys(Hash::Sha512),
        }
    }

    /// From a password that is stored as it is every key can be made.
    fn has_keys(&self, hash: Hash) -> bool {
        self.internal
            && (self.password.format == PasswordFormat::Plain
                || self.password.hashes.contains(&hash))
    }

    fn plain_withheld(&self, channel: &Channel) -> Option<PlainWithheld> {
        if channel.tls {
            return None;
        }
        match self.plain_without_tls {
            Some(true) => None,
            Some(false) => Some(PlainWithheld::Refused),
            None => {
                let is_local = channel.socket_peer_is_loopback
                    && channel.bound_to_loopback
                    && !channel.proxy_protocol
                    && !channel.http;
                (!is_local).then_some(PlainWithheld::NotLocal)
            }
        }
    }
}

/// The mechanism that a name of the configuration stands for; `None` where there is none yet.
/// EXTERNAL and channel binding (`_plus`) wait for the certificates' and the exporter's side.
fn known(name: Configured) -> Option<Mechanism> {
    match name {
        Configured::ScramSha512 => Some(Mechanism::ScramSha512),
        Configured::ScramSha256 => Some(Mechanism::ScramSha256),
        Configured::ScramSha1 => Some(Mechanism::ScramSha1),
        Configured::Plain => Some(Mechanism::Plain),
        Configured::Anonymous => Some(Mechanism::Anonymous),
        Configured::ScramSha512Plus
        | Configured::ScramSha384Plus
        | Configured::ScramSha384
        | Configured::ScramSha256Plus
        | Configured::ScramSha224Plus
        | Configured::ScramSha224
        | Configured::ScramSha1Plus
        | Configured::Oauth
        | Configured::External
        | Configured::Digest => None,
    }
}

#[cfg(test)]
mod tests;
