//! The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding.
//!
//! What PBKDF2 makes of a user's password is kept, as clients do: it is computed once for each salt.

use std::collections::HashMap;
use std::num::NonZeroU32;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;

use crate::fault::Fault;

/// A client's nonce. The server adds its own, which is what makes a login unlike any other.
const NONCE: &str = "c3RhbXBlZGU";
/// The header of GS2 without channel binding, and the same in base64.
const GS2: &str = "n,,";
const GS2_BASE64: &str = "biws";

/// The hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Hash {
    /// SCRAM-SHA-1
    Sha1,
    /// SCRAM-SHA-256
    Sha256,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }
}

/// The keys of a password under one salt.
#[derive(Clone)]
struct Keys {
    client: Vec<u8>,
    stored: hmac::Key,
    server: hmac::Key,
}

/// Keys that were computed, by user, hash, salt and rounds.
#[derive(Default)]
pub(crate) struct KeyRing(HashMap<(usize, Hash, Vec<u8>, u32), Keys>);

/// The first message, in base64.
pub(crate) fn first(number: usize) -> String {
    BASE64_STANDARD.encode(format!("{GS2}{}", bare(number)))
}

fn bare(number: usize) -> String {
    format!("n=user{number},r={NONCE}")
}

/// The last message in base64, and the server's answer to it, likewise.
pub(crate) fn last(
    hash: Hash,
    number: usize,
    password: &str,
    challenge: &str,
    ring: &mut KeyRing,
) -> Result<(String, String), Fault> {
    let challenge = BASE64_STANDARD
        .decode(challenge)
        .map_err(|_| Fault::Nonsense)?;
    let challenge = String::from_utf8(challenge).map_err(|_| Fault::Nonsense)?;
    let field = |name: &str| {
        let mut fields = challenge.split(',');
        fields
            .find_map(|field| field.strip_prefix(name))
            .ok_or(Fault::Nonsense)
    };
    let (nonce, salt) = (field("r=")?, field("s=")?);
    let salt = BASE64_STANDARD.decode(salt).map_err(|_| Fault::Nonsense)?;
    let rounds: u32 = field("i=")?.parse().map_err(|_| Fault::Nonsense)?;
    let rounds = NonZeroU32::new(rounds).ok_or(Fault::Nonsense)?;
    let known = (number, hash, salt, rounds.get());
    let keys = match ring.0.get(&known) {
        Some(keys) => keys,
        None => {
            let keys = derive(hash, rounds, &known.2, password);
            ring.0.entry(known).or_insert(keys)
        }
    };
    let without_proof = format!("c={GS2_BASE64},r={nonce}");
    let signed = format!("{},{challenge},{without_proof}", bare(number));
    let signature = hmac::sign(&keys.stored, signed.as_bytes());
    let pairs = keys.client.iter().zip(signature.as_ref());
    let proof: Vec<u8> = pairs.map(|(a, b)| a ^ b).collect();
    let proof = BASE64_STANDARD.encode(proof);
    let server = hmac::sign(&keys.server, signed.as_bytes());
    let verdict = format!("v={}", BASE64_STANDARD.encode(server));
    Ok((
        BASE64_STANDARD.encode(format!("{without_proof},p={proof}")),
        BASE64_STANDARD.encode(verdict),
    ))
}

fn derive(hash: Hash, rounds: NonZeroU32, salt: &[u8], password: &str) -> Keys {
    let mut salted = vec![0; hash.digest().output_len()];
    pbkdf2::derive(
        hash.pbkdf2(),
        rounds,
        salt,
        password.as_bytes(),
        &mut salted,
    );
    let key = hmac::Key::new(hash.hmac(), &salted);
    let client = hmac::sign(&key, b"Client Key").as_ref().to_vec();
    let stored = digest::digest(hash.digest(), &client);
    let server = hmac::sign(&key, b"Server Key");
    Keys {
        client,
        stored: hmac::Key::new(hash.hmac(), stored.as_ref()),
        server: hmac::Key::new(hash.hmac(), server.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server does with the proof, written down once more.
    #[test]
    fn the_proof_is_what_a_server_expects() {
        for hash in [Hash::Sha1, Hash::Sha256] {
            let challenge = format!("r={NONCE}more,s={},i=64", BASE64_STANDARD.encode(b"salt"));
            let coded = BASE64_STANDARD.encode(&challenge);
            let mut ring = KeyRing::default();
            let (answer, _) = last(hash, 7, "secret", &coded, &mut ring).expect("a challenge");
            let answer = BASE64_STANDARD.decode(answer).expect("base64");
            let answer = String::from_utf8(answer).expect("text");
            let (rest, proof) = answer.split_once(",p=").expect("a proof");
            let proof = BASE64_STANDARD.decode(proof).expect("base64");
            let rounds = NonZeroU32::new(64).expect("more than 0");
            let keys = derive(hash, rounds, b"salt", "secret");
            let signed = format!("n=user7,r={NONCE},{challenge},{rest}");
            let signature = hmac::sign(&keys.stored, signed.as_bytes());
            let client: Vec<u8> = proof
                .iter()
                .zip(signature.as_ref())
                .map(|(a, b)| a ^ b)
                .collect();
            assert_eq!(client, keys.client);
            assert_eq!(ring.0.len(), 1, "the keys are kept");
        }
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for challenge in ["", "!", &BASE64_STANDARD.encode("r=x,s=AA==,i=0")] {
            let mut ring = KeyRing::default();
            assert!(last(Hash::Sha1, 7, "secret", challenge, &mut ring).is_err());
        }
    }
}
