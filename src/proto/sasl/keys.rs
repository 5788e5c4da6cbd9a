//! What is stored to prove a password by, and the arithmetic of RFC 5802 section 3.

use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;

/// Bytes of a password, at most, before its preparation: that bounds what a stranger makes us
/// prepare and hash.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Bytes of the longest digest (SHA-512).
const DIGEST_BYTES_MAX: usize = 64;

/// The hash functions that SCRAM is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SCRAM-SHA-1. HMAC and PBKDF2 do not need what SHA-1 has lost.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl Hash {
    /// Bytes of a digest.
    pub fn bytes(self) -> usize {
        self.digest_algorithm().output_len()
    }

    fn digest_algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac_algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2_algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac_algorithm(), key), data)
    }
}

/// A password in clear. `Debug` hides it, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a copy of `text`.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The password itself. It belongs into no log and no message.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same password once both are prepared with SASLprep, in a time that
    /// does not depend on where they differ.
    pub fn is(&self, other: &str) -> bool {
        let (Ok(ours), Ok(theirs)) = (prepare(&self.0), prepare(other)) else {
            return false;
        };
        // Digests have one length, so that not even the length of the password shows.
        let digest = |secret: &Self| digest::digest(&digest::SHA256, secret.0.as_bytes());
        equal(digest(&ours).as_ref(), digest(&theirs).as_ref())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_boxed_str())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_boxed_bytes();
        bytes.fill(0);
        // Without it the writes are dead, and left out.
        black_box(&bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Why no keys follow from a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveError {
    /// Nothing is left of the password once it is prepared.
    Empty,
    /// The password is longer than [`PASSWORD_BYTES_MAX`].
    TooLong,
    /// SASLprep prohibits a character of it (RFC 4013 section 2.3), or it is not assigned.
    Prohibited,
    /// PBKDF2 has at least one round.
    NoIterations,
}

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the password is empty",
            Self::TooLong => "the password is too long",
            Self::Prohibited => "the password holds a character that SASLprep prohibits",
            Self::NoIterations => "at least one iteration is needed",
        })
    }
}

impl std::error::Error for DeriveError {}

/// What the server keeps of a password for one hash (RFC 5802 section 3). It proves who knows the
/// password and is not enough to log in with; it is still worth hiding.
#[derive(Clone)]
pub struct ScramKeys {
    /// Random, for this password and this hash only.
    pub salt: Box<[u8]>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(ClientKey): what the client's proof is checked against.
    pub stored_key: Box<[u8]>,
    /// What the server proves its own knowledge with.
    pub server_key: Box<[u8]>,
}

impl ScramKeys {
    /// Computes the keys of a password: `iterations` rounds, milliseconds, so not on an executor.
    pub fn derive(
        hash: Hash,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, DeriveError> {
        let password = prepare(password)?;
        let rounds = NonZeroU32::new(iterations).ok_or(DeriveError::NoIterations)?;
        let mut buffer = [0; DIGEST_BYTES_MAX];
        let salted = &mut buffer[..hash.bytes()];
        pbkdf2::derive(
            hash.pbkdf2_algorithm(),
            rounds,
            salt,
            password.0.as_bytes(),
            salted,
        );
        let client_key = hash.hmac(salted, b"Client Key");
        let keys = Self {
            salt: salt.into(),
            iterations,
            stored_key: digest::digest(hash.digest_algorithm(), client_key.as_ref())
                .as_ref()
                .into(),
            server_key: hash.hmac(salted, b"Server Key").as_ref().into(),
        };
        buffer.fill(0);
        black_box(&buffer);
        Ok(keys)
    }

    /// Whether these are the keys of `password`. As slow as [`ScramKeys::derive`]; the comparison
    /// takes the same time whatever differs.
    pub fn verify_password(&self, hash: Hash, password: &str) -> bool {
        Self::derive(hash, password, &self.salt, self.iterations).is_ok_and(|claimed| {
            let client = equal(&claimed.stored_key, &self.stored_key);
            let server = equal(&claimed.server_key, &self.server_key);
            client & server
        })
    }

    /// Whether `proof` shows that the client knows the password: RFC 5802 section 3, ClientProof.
    pub(super) fn verify_proof(&self, hash: Hash, auth_message: &[u8], proof: &[u8]) -> bool {
        let signature = hash.hmac(&self.stored_key, auth_message);
        if proof.len() != signature.as_ref().len() {
            return false;
        }
        let mut client_key = [0; DIGEST_BYTES_MAX];
        for ((key, ours), theirs) in client_key.iter_mut().zip(signature.as_ref()).zip(proof) {
            *key = ours ^ theirs;
        }
        let stored = digest::digest(hash.digest_algorithm(), &client_key[..hash.bytes()]);
        equal(stored.as_ref(), &self.stored_key)
    }

    /// RFC 5802 section 3, ServerSignature.
    pub(super) fn server_signature(&self, hash: Hash, auth_message: &[u8]) -> hmac::Tag {
        hash.hmac(&self.server_key, auth_message)
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({} rounds)", self.iterations)
    }
}

/// What a store holds of an account's password.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The password itself, where the operator asked for it.
    Plain(Secret),
    /// Keys for each hash that was wanted when the password was set.
    Scram {
        /// For SCRAM-SHA-1.
        sha1: Option<ScramKeys>,
        /// For SCRAM-SHA-256.
        sha256: Option<ScramKeys>,
        /// For SCRAM-SHA-512.
        sha512: Option<ScramKeys>,
    },
}

/// SASLprep (RFC 4013), strict about characters that are not assigned in Unicode 3.2: a password
/// that one client can type and another cannot send is refused when it is set.
fn prepare(password: &str) -> Result<Secret, DeriveError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(DeriveError::TooLong);
    }
    let prepared = stringprep::saslprep(password).map_err(|_| DeriveError::Prohibited)?;
    if prepared.is_empty() {
        return Err(DeriveError::Empty);
    }
    Ok(Secret(prepared.into()))
}

/// Constant time for slices of one length; lengths are no secret here.
fn equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}
