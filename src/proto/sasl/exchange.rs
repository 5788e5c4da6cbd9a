//! One login, from `<auth/>` to success or failure.
//!
//! Call [`Exchange::respond`] with what the client sends, and do what the [`Step`] says:
//! - `Challenge`: send it; the client's next response goes into `respond`.
//! - `FindKeys`: look the user up and answer with [`Exchange::keys`]. For a user that does not
//!   exist, answer with keys that no password matches and that are the same at every attempt.
//! - `CheckPassword`: have it checked and call [`Exchange::checked`] if it was right; if it was
//!   wrong, or nobody could tell, the exchange has failed: drop it.
//! - `Anonymous`: make up a user. `Success`, `Failure`: the end.

use std::mem;

use super::failure::Failure;
use super::keys::{Hash, ScramKeys, Secret};
use super::mechanism::Mechanism;
use super::plain;
use super::scram::{First, Pending};
use crate::jid;

/// Bytes of one message of the client, decoded, at most: the longest PLAIN (an authzid of three
/// 1023-byte parts, a name, a password of 1024) with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 8192;

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this, and wait for a response.
    Challenge(Vec<u8>),
    /// Find the keys of an account.
    FindKeys {
        /// A prepared node at the exchange's host.
        user: Box<str>,
        /// Of this hash.
        hash: Hash,
    },
    /// Check a password, which may take milliseconds.
    CheckPassword {
        /// A prepared node at the exchange's host.
        user: Box<str>,
        /// As the client sent it, not empty and not longer than
        /// [`PASSWORD_BYTES_MAX`](super::keys::PASSWORD_BYTES_MAX).
        password: Secret,
    },
    /// Make up a user: whoever it is may come in.
    Anonymous,
    /// The client is who it says.
    Success {
        /// A prepared node at the exchange's host.
        user: Box<str>,
        /// To be sent with the success.
        additional: Option<Vec<u8>>,
    },
    /// The login failed.
    Failure(Failure),
}

/// What the exchange waits for.
#[derive(Debug)]
enum State {
    /// The initial response with `<auth/>`, or none.
    ExpectAuth,
    /// The initial response after an empty challenge.
    ExpectInitial,
    /// The driver's keys.
    AwaitKeys(First, Hash),
    /// The client's proof.
    ExpectProof(Pending),
    /// The driver's verdict on a password.
    AwaitVerdict(Box<str>),
    /// Nothing.
    Over,
}

/// One login of one client. Lives on: the shard of its connection.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    host: Box<str>,
    state: State,
}

impl Exchange {
    /// Begins. `host` is the prepared domain that the stream is for.
    pub fn start(mechanism: Mechanism, host: &str) -> Self {
        Self {
            mechanism,
            host: host.into(),
            state: State::ExpectAuth,
        }
    }

    /// What the client sent with `<auth/>` (`None`: no initial response) or `<response/>`.
    pub fn respond(&mut self, data: Option<&[u8]>) -> Step {
        let state = mem::replace(&mut self.state, State::Over);
        if data.is_some_and(|data| data.len() > MESSAGE_BYTES_MAX) {
            return Step::Failure(Failure::MalformedRequest);
        }
        match (state, data) {
            (State::ExpectAuth, None) => self.begin(),
            (State::ExpectAuth | State::ExpectInitial, Some(data)) => {
                self.initial(data).unwrap_or_else(Step::Failure)
            }
            (State::ExpectProof(pending), Some(data)) => match pending.verify(data) {
                Ok(last) => Step::Success {
                    user: pending.user,
                    additional: Some(last),
                },
                Err(failure) => Step::Failure(failure),
            },
            (State::ExpectInitial | State::ExpectProof(_), None)
            | (State::AwaitKeys(..) | State::AwaitVerdict(_) | State::Over, _) => {
                Step::Failure(Failure::MalformedRequest)
            }
        }
    }

    /// The client speaks first in all of these mechanisms: an empty challenge asks it to (RFC 4422
    /// section 5). Only ANONYMOUS has nothing to say that matters (XEP-0175).
    fn begin(&mut self) -> Step {
        match self.mechanism {
            Mechanism::Anonymous => Step::Anonymous,
            Mechanism::Plain
            | Mechanism::ScramSha1
            | Mechanism::ScramSha256
            | Mechanism::ScramSha512 => {
                self.state = State::ExpectInitial;
                Step::Challenge(Vec::new())
            }
        }
    }

    fn initial(&mut self, data: &[u8]) -> Result<Step, Failure> {
        let hash = match self.mechanism {
            // The trace of RFC 4505 is for logs, which do not want what strangers write.
            Mechanism::Anonymous => return Ok(Step::Anonymous),
            Mechanism::Plain => {
                let claim = plain::parse(data, &self.host)?;
                self.state = State::AwaitVerdict(claim.user.clone());
                return Ok(Step::CheckPassword {
                    user: claim.user,
                    password: claim.password,
                });
            }
            Mechanism::ScramSha1 => Hash::Sha1,
            Mechanism::ScramSha256 => Hash::Sha256,
            Mechanism::ScramSha512 => Hash::Sha512,
        };
        let first = First::parse(data, &self.host)?;
        let user = first.user.clone();
        self.state = State::AwaitKeys(first, hash);
        Ok(Step::FindKeys { user, hash })
    }

    /// Answers [`Step::FindKeys`]. `nonce` is fresh and random, of at least 16 bytes, in printable
    /// ASCII without a comma.
    pub fn keys(&mut self, keys: &ScramKeys, nonce: &str) -> Step {
        let State::AwaitKeys(first, hash) = mem::replace(&mut self.state, State::Over) else {
            return Step::Failure(Failure::MalformedRequest);
        };
        match first.challenge(hash, keys, nonce) {
            Some((challenge, pending)) => {
                self.state = State::ExpectProof(pending);
                Step::Challenge(challenge)
            }
            None => Step::Failure(Failure::TemporaryAuthFailure),
        }
    }

    /// Answers [`Step::CheckPassword`]: the password was right.
    pub fn checked(&mut self) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::AwaitVerdict(user) => Step::Success {
                user,
                additional: None,
            },
            State::ExpectAuth
            | State::ExpectInitial
            | State::AwaitKeys(..)
            | State::ExpectProof(_)
            | State::Over => Step::Failure(Failure::MalformedRequest),
        }
    }
}

/// RFC 6120 section 6.3.8: who logs in as `user` acts as that user's bare JID and as nobody else.
pub(super) fn own_authzid(authzid: &str, user: &str, host: &str) -> Result<(), Failure> {
    let parts = jid::parse(authzid).map_err(|_| Failure::InvalidAuthzid)?;
    let own =
        parts.node.as_deref() == Some(user) && parts.domain == host && parts.resource.is_none();
    if own {
        Ok(())
    } else {
        Err(Failure::InvalidAuthzid)
    }
}
