//! SCRAM for names that have no account: the same first answer as for one that has.
//!
//! A server that tells unknown names at the salt lets anyone list its accounts. The decoy's salt
//! follows from the name and a secret, so it is the same at every attempt, like a stored one, and
//! its keys match no password.

use std::fmt;

use aws_lc_rs::hmac;

use crate::auth::password::SALT_BYTES;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::ScramKeys;
use crate::store::AccountId;

/// Makes decoys. The secret has to outlive restarts: salts that change with one would be told from
/// stored ones. Lives on: every shard.
#[derive(Clone)]
pub struct Decoys {
    key: hmac::Key,
}

impl Decoys {
    /// From the server's own random secret, of 32 bytes or more.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// The salt that belongs to a name. Also for accounts whose password is stored as it is: their
    /// keys are made at login, and their salts must not differ from attempt to attempt either.
    pub fn salt(&self, id: &AccountId, hash: Hash) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        self.fill(b"salt", id, hash, &mut salt);
        salt
    }

    /// Keys in the shape of stored ones that no password matches.
    pub fn keys(&self, id: &AccountId, hash: Hash, iterations: u32) -> ScramKeys {
        let mut stored_key = vec![0; hash.bytes()];
        let mut server_key = vec![0; hash.bytes()];
        self.fill(b"stored key", id, hash, &mut stored_key);
        self.fill(b"server key", id, hash, &mut server_key);
        ScramKeys {
            salt: Box::new(self.salt(id, hash)),
            iterations,
            stored_key: stored_key.into(),
            server_key: server_key.into(),
        }
    }

    /// As many bytes as asked for, each block of an HMAC with its number.
    fn fill(&self, purpose: &[u8], id: &AccountId, hash: Hash, bytes: &mut [u8]) {
        for (number, block) in bytes.chunks_mut(32).enumerate() {
            let mut context = hmac::Context::with_key(&self.key);
            // None of the parts can hold a NUL, so no two names give one input.
            for part in [
                purpose,
                name(hash),
                id.host().as_bytes(),
                id.user().as_bytes(),
            ] {
                context.update(part);
                context.update(&[0]);
            }
            context.update(&number.to_be_bytes());
            let tag = context.sign();
            for (byte, of_tag) in block.iter_mut().zip(tag.as_ref()) {
                *byte = *of_tag;
            }
        }
    }
}

impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoys(..)")
    }
}

fn name(hash: Hash) -> &'static [u8] {
    match hash {
        Hash::Sha1 => b"1",
        Hash::Sha256 => b"256",
        Hash::Sha512 => b"512",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoy_looks_like_stored_keys_and_stays() {
        let decoys = Decoys::new(&[7; 32]);
        let id = AccountId::from_prepared("nobody", "example.org");
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
            let decoy = decoys.keys(&id, hash, 10_000);
            let real = ScramKeys::derive(hash, "pw", &[1; SALT_BYTES], 10_000).expect("derived");
            assert_eq!(decoy.salt.len(), real.salt.len());
            assert_eq!(decoy.iterations, real.iterations);
            assert_eq!(decoy.stored_key.len(), real.stored_key.len());
            assert_eq!(decoy.server_key.len(), real.server_key.len());
            assert_ne!(decoy.stored_key, decoy.server_key);
            assert_eq!(decoys.keys(&id, hash, 10_000).salt, decoy.salt);
            assert!(!decoy.verify_password(hash, ""));
        }
    }

    #[test]
    fn salts_follow_from_name_hash_and_secret() {
        let decoys = Decoys::new(&[7; 32]);
        let other = Decoys::new(&[8; 32]);
        let salt = |user, host| decoys.salt(&AccountId::from_prepared(user, host), Hash::Sha1);
        assert_ne!(salt("a", "b"), salt("b", "a"));
        assert_ne!(salt("ab", "c"), salt("b", "ca"));
        let id = AccountId::from_prepared("a", "b");
        assert_ne!(decoys.salt(&id, Hash::Sha1), decoys.salt(&id, Hash::Sha256));
        assert_ne!(decoys.salt(&id, Hash::Sha1), other.salt(&id, Hash::Sha1));
    }
}
