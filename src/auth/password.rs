//! From a password to what is stored of it, and back to the question whether one is right.

use std::fmt;

use crate::auth::decoy::Decoys;
use crate::config::auth::Auth;
use crate::config::auth::Hash as ConfiguredHash;
use crate::config::auth::PasswordFormat;
use crate::proto::sasl::keys::Credentials;
use crate::proto::sasl::keys::DeriveError;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::PASSWORD_BYTES_MAX;
use crate::proto::sasl::keys::ScramKeys;
use crate::proto::sasl::keys::Secret;
use crate::store::AccountId;

/// Bytes of a new salt. RFC 5802 leaves the length open; 16 random bytes never meet again.
pub const SALT_BYTES: usize = 16;

/// Hash functions that meerkat stores keys for, the cheapest for the server first.
pub const HASHES: [Hash; 3] = [Hash::Sha1, Hash::Sha256, Hash::Sha512];

/// Random bytes for the salts of one password, one for each of [`HASHES`].
pub type Salts = [[u8; SALT_BYTES]; HASHES.len()];

/// How new passwords are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// As SCRAM keys or as they are.
    pub format: PasswordFormat,
    /// Hashes that keys are made for; never empty.
    pub hashes: Vec<Hash>,
    /// PBKDF2 rounds of each hash.
    pub iterations: u32,
}

impl PasswordPolicy {
    /// What `[auth]` asks for. Hashes that have no mechanism of ours are left out; where none
    /// remains, SHA-256 is used, for a password without any key could never be right.
    pub fn from_config(auth: &Auth) -> Self {
        let configured = |hash: &Hash| {
            let name = match hash {
                Hash::Sha1 => ConfiguredHash::Sha1,
                Hash::Sha256 => ConfiguredHash::Sha256,
                Hash::Sha512 => ConfiguredHash::Sha512,
            };
            auth.password
                .hash
                .as_ref()
                .is_none_or(|hashes| hashes.contains(&name))
        };
        let mut hashes: Vec<Hash> = HASHES.into_iter().filter(configured).collect();
        if hashes.is_empty() {
            hashes.push(Hash::Sha256);
        }
        Self {
            format: auth.password.format,
            hashes,
            iterations: auth.iterations(),
        }
    }

    /// What is stored for a new password. Takes milliseconds where the format is "scram": not for
    /// an executor.
    pub fn credentials(&self, password: &str, salts: &Salts) -> Result<Credentials, PasswordError> {
        // Derived for both formats: a password that no client could send is refused in either.
        let keys = |hash, salt: &[u8], iterations| {
            ScramKeys::derive(hash, password, salt, iterations).map_err(PasswordError::from)
        };
        let [salt_sha1, salt_sha256, salt_sha512] = salts;
        if self.format == PasswordFormat::Plain {
            keys(Hash::Sha1, salt_sha1, 1)?;
            return Ok(Credentials::Plain(Secret::new(password)));
        }
        let wanted = |hash, salt: &[u8]| {
            let wanted = self.hashes.contains(&hash);
            wanted
                .then(|| keys(hash, salt, self.iterations))
                .transpose()
        };
        Ok(Credentials::Scram {
            sha1: wanted(Hash::Sha1, salt_sha1)?,
            sha256: wanted(Hash::Sha256, salt_sha256)?,
            sha512: wanted(Hash::Sha512, salt_sha512)?,
        })
    }
}

/// Why a password cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// It has no character; no client would send it (RFC 4616 section 2).
    Empty,
    /// The policy asks for keys of no round; a configuration never does.
    NoIterations,
    /// It holds a character that SASLprep prohibits (RFC 4013 section 2.3), or one that is not
    /// assigned.
    Prohibited,
    /// It is longer than [`PASSWORD_BYTES_MAX`].
    TooLong,
}

impl From<DeriveError> for PasswordError {
    fn from(error: DeriveError) -> Self {
        match error {
            DeriveError::Empty => Self::Empty,
            DeriveError::NoIterations => Self::NoIterations,
            DeriveError::Prohibited => Self::Prohibited,
            DeriveError::TooLong => Self::TooLong,
        }
    }
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty"),
            Self::NoIterations => f.write_str("at least one round of PBKDF2 is needed"),
            Self::Prohibited => f.write_str(
                "the password holds a character that clients may not send, such as a control \
                 character or one that is younger than Unicode 3.2 (RFC 4013)",
            ),
            Self::TooLong => {
                write!(f, "the password is longer than {PASSWORD_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for PasswordError {}

/// What is left to do for an answer.
#[derive(Debug)]
pub enum Check {
    /// [`Work::run`] tells, on a thread that may take milliseconds.
    Compute(Work),
    /// Known at once.
    Decided(bool),
}

/// PBKDF2 over a password somebody claims. Its time is the same for a right, a wrong and an unknown
/// user's password.
pub struct Work {
    hash: Hash,
    keys: ScramKeys,
    password: Secret,
    /// The keys are an account's, not a decoy's.
    pub is_of_account: bool,
}

impl Work {
    /// To check a password against the keys of an account.
    pub fn new(hash: Hash, keys: ScramKeys, password: &str) -> Self {
        Self {
            hash,
            keys,
            password: Secret::new(password),
            is_of_account: true,
        }
    }

    /// The hash of the keys.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The keys.
    pub fn keys(&self) -> &ScramKeys {
        &self.keys
    }

    /// The password that somebody claims.
    pub fn password(&self) -> &str {
        self.password.expose()
    }

    /// Whether the password is right.
    pub fn run(self) -> bool {
        self.keys.verify_password(self.hash, self.password.expose())
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({:?}, {} rounds)", self.hash, self.keys.iterations)
    }
}

/// Whether `password`, sent in clear by PLAIN, is that of `id`. `stored` is what the store holds;
/// `None` for a user that does not exist, who costs the same work for the same answer as a wrong
/// password.
pub fn check_password(
    policy: &PasswordPolicy,
    decoys: &Decoys,
    id: &AccountId,
    stored: Option<Credentials>,
    password: &str,
) -> Check {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Check::Decided(false);
    }
    match stored {
        Some(Credentials::Plain(secret)) => Check::Decided(secret.is(password)),
        Some(scram @ Credentials::Scram { .. }) => match cheapest(scram) {
            Some((hash, keys)) => Check::Compute(Work::new(hash, keys, password)),
            None => Check::Decided(false),
        },
        None if policy.format == PasswordFormat::Plain => Check::Decided(false),
        None => {
            let by_cost = |hash: &&Hash| cost(**hash, policy.iterations);
            let hash = policy
                .hashes
                .iter()
                .min_by_key(by_cost)
                .copied()
                .unwrap_or(Hash::Sha256);
            let keys = decoys.keys(id, hash, policy.iterations);
            Check::Compute(Work {
                is_of_account: false,
                ..Work::new(hash, keys, password)
            })
        }
    }
}

/// The keys that are checked with the least computing.
fn cheapest(stored: Credentials) -> Option<(Hash, ScramKeys)> {
    let Credentials::Scram {
        sha1,
        sha256,
        sha512,
    } = stored
    else {
        return None;
    };
    [
        (Hash::Sha1, sha1),
        (Hash::Sha256, sha256),
        (Hash::Sha512, sha512),
    ]
    .into_iter()
    .filter_map(|(hash, keys)| Some((hash, keys?)))
    .min_by_key(|(hash, keys)| cost(*hash, keys.iterations))
}

/// Nanoseconds of PBKDF2, roughly, on a core with SHA instructions: only the order counts.
fn cost(hash: Hash, iterations: u32) -> u64 {
    let of_one_round = match hash {
        Hash::Sha1 => 100,
        Hash::Sha256 => 110,
        Hash::Sha512 => 400,
    };
    u64::from(iterations) * of_one_round
}

/// What the server needs to run SCRAM with a name.
#[derive(Debug)]
pub enum ScramStart {
    /// Keys that are stored, or a decoy for a name that no login succeeds with.
    Ready(ScramKeys),
    /// The password is stored as it is: keys follow from [`DeriveWork::run`].
    Derive(DeriveWork),
}

/// PBKDF2 over a stored password.
pub struct DeriveWork {
    hash: Hash,
    password: Secret,
    salt: [u8; SALT_BYTES],
    iterations: u32,
}

impl DeriveWork {
    /// The keys; `None` where the stored password cannot be prepared, which nobody can log in with.
    pub fn run(self) -> Option<ScramKeys> {
        ScramKeys::derive(
            self.hash,
            self.password.expose(),
            &self.salt,
            self.iterations,
        )
        .ok()
    }
}

impl fmt::Debug for DeriveWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeriveWork({:?}, {} rounds)", self.hash, self.iterations)
    }
}

/// The keys for a SCRAM exchange of `id` with `hash`. A user that does not exist, or has no keys of
/// that hash, gets a decoy.
pub fn start_scram(
    policy: &PasswordPolicy,
    decoys: &Decoys,
    id: &AccountId,
    stored: Option<Credentials>,
    hash: Hash,
) -> ScramStart {
    let keys = match stored {
        Some(Credentials::Plain(password)) => {
            let salt = decoys.salt(id, hash);
            let iterations = policy.iterations;
            return ScramStart::Derive(DeriveWork {
                hash,
                password,
                salt,
                iterations,
            });
        }
        Some(Credentials::Scram {
            sha1,
            sha256,
            sha512,
        }) => match hash {
            Hash::Sha1 => sha1,
            Hash::Sha256 => sha256,
            Hash::Sha512 => sha512,
        },
        None => None,
    };
    ScramStart::Ready(keys.unwrap_or_else(|| decoys.keys(id, hash, policy.iterations)))
}

#[cfg(test)]
mod tests;
