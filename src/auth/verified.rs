//! Passwords that were found right: the next login with PLAIN costs no PBKDF2.
//!
//! Kept is what a password and the stored keys that it was checked against come to under a key that
//! the process makes at its start and never writes down. So nothing follows from a copy of the memory
//! without that key, and with it no more than from the stored keys, but faster. An account whose keys
//! are others than they were, whoever changed them, is one that nothing is known of.
//!
//! A wrong password is not remembered and always costs the whole computation.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroize;

use crate::auth::password::Work;
use crate::store::AccountId;

/// Accounts that one shard remembers, the latest: about 8 MiB.
pub const VERIFIED_MAX: usize = 65_536;

const DIGEST_BYTES: usize = 32;

type Digest = [u8; DIGEST_BYTES];

/// What one check comes to. Overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    account: u64,
    keys: Digest,
    password: Digest,
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.keys.zeroize();
        self.password.zeroize();
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// The accounts whose passwords are known to be right. Lives on: every shard, with one key.
pub struct Verified {
    key: hmac::Key,
    /// Each in a box, so that nothing moves that would have to be overwritten in two places.
    proofs: BTreeMap<u64, Box<Proof>>,
    /// Those and some that are dropped already, the oldest first.
    order: VecDeque<u64>,
}

impl Verified {
    /// Nobody is known yet. `secret` is random, made at the start of the process.
    pub fn new(secret: &[u8; DIGEST_BYTES]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            proofs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// What the work for this account comes to.
    pub fn proof(&self, id: &AccountId, work: &Work) -> Proof {
        let account = self.digest(&[b"account", id.host().as_bytes(), id.user().as_bytes()]);
        let keys = work.keys();
        let keys = self.digest(&[
            b"keys",
            &account,
            &work.hash().bytes().to_be_bytes(),
            &keys.iterations.to_be_bytes(),
            &keys.salt,
            &keys.stored_key,
            &keys.server_key,
        ]);
        let password = self.digest(&[b"password", &keys, work.password().as_bytes()]);
        let (number, _) = account.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Proof {
            account: u64::from_be_bytes(*number),
            keys,
            password,
        }
    }

    /// Whether this password was found right, against these keys. An account whose keys have changed
    /// is forgotten.
    pub fn knows(&mut self, proof: &Proof) -> bool {
        let Some(known) = self.proofs.get(&proof.account) else {
            return false;
        };
        if verify_slices_are_equal(&known.keys, &proof.keys).is_err() {
            self.proofs.remove(&proof.account);
            return false;
        }
        verify_slices_are_equal(&known.password, &proof.password).is_ok()
    }

    /// A password was found right.
    pub fn note(&mut self, proof: Proof) {
        if let Some(known) = self.proofs.get_mut(&proof.account) {
            **known = proof;
            return;
        }
        while self.order.len() >= VERIFIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.proofs.remove(&oldest);
        }
        self.order.push_back(proof.account);
        self.proofs.insert(proof.account, Box::new(proof));
    }

    /// Each part with its length, so that no two lists of parts come to the same.
    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut digest = [0; DIGEST_BYTES];
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::keys::Hash;
    use crate::proto::sasl::keys::ScramKeys;

    fn verified() -> Verified {
        Verified::new(&[7; DIGEST_BYTES])
    }

    fn id(user: &str) -> AccountId {
        AccountId::from_prepared(user, "example.org")
    }

    fn keys(hash: Hash, password: &str, salt: &[u8], rounds: u32) -> ScramKeys {
        ScramKeys::derive(hash, password, salt, rounds).expect("a password")
    }

    fn work(password: &str) -> Work {
        Work::new(Hash::Sha1, keys(Hash::Sha1, "right", b"salt", 1), password)
    }

    #[test]
    fn only_the_same_password_of_the_same_account_is_known() {
        let mut verified = verified();
        let right = verified.proof(&id("romeo"), &work("right"));
        assert!(!verified.knows(&right), "nobody has said so");
        verified.note(right.clone());
        assert!(verified.knows(&right) && verified.knows(&right));
        let others = [
            verified.proof(&id("romeo"), &work("wrong")),
            verified.proof(&id("romeo"), &work("right ")),
            verified.proof(&id("juliet"), &work("right")),
            Verified::new(&[8; DIGEST_BYTES]).proof(&id("romeo"), &work("right")),
        ];
        for other in &others {
            assert!(!verified.knows(other));
        }
        assert!(verified.knows(&right), "a wrong password forgets nothing");
    }

    #[test]
    fn keys_that_have_changed_forget_the_password() {
        let stored = keys(Hash::Sha256, "right", b"salt", 2);
        let work = |change: fn(&mut ScramKeys)| {
            let mut keys = stored.clone();
            change(&mut keys);
            Work::new(Hash::Sha256, keys, "right")
        };
        let changes: [fn(&mut ScramKeys); 4] = [
            |keys| keys.salt = Box::from(*b"tlas"),
            |keys| keys.iterations = 3,
            |keys| keys.stored_key = Box::from([0; 32]),
            |keys| keys.server_key = Box::from([0; 32]),
        ];
        for change in changes {
            let mut verified = verified();
            let before = verified.proof(&id("romeo"), &work(|_| {}));
            verified.note(before.clone());
            let after = verified.proof(&id("romeo"), &work(change));
            assert!(!verified.knows(&after));
            assert!(!verified.knows(&before), "it is forgotten");
            assert_eq!(verified.proofs.len(), 0);
        }
        let mut verified = verified();
        let sha1 = Work::new(Hash::Sha1, stored.clone(), "right");
        let sha1 = verified.proof(&id("romeo"), &sha1);
        verified.note(sha1);
        let sha256 = verified.proof(&id("romeo"), &work(|_| {}));
        assert!(!verified.knows(&sha256));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut verified = verified();
        let proof = |account: usize| Proof {
            account: account as u64,
            keys: [1; DIGEST_BYTES],
            password: [2; DIGEST_BYTES],
        };
        for account in 0..VERIFIED_MAX {
            verified.note(proof(account));
            verified.note(proof(account));
        }
        assert!(verified.knows(&proof(0)));
        verified.note(proof(VERIFIED_MAX));
        assert!(!verified.knows(&proof(0)));
        assert!(verified.knows(&proof(1)) && verified.knows(&proof(VERIFIED_MAX)));
        // Who changes passwords in turn makes nothing grow.
        for round in 0..2 * VERIFIED_MAX {
            let mut changed = proof(1);
            changed.keys = [(round % 251) as u8 + 2; DIGEST_BYTES];
            assert!(!verified.knows(&changed));
            verified.note(changed);
        }
        assert!(verified.order.len() <= VERIFIED_MAX);
        assert!(verified.proofs.len() <= VERIFIED_MAX);
    }
}
