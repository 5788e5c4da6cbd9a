//! The client's side of SCRAM (RFC 5802), from the RFC and the primitives alone, so that the
//! server is not compared with itself.

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The hash functions behind one mechanism.
struct Functions {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

/// One login.
pub(crate) struct Scram {
    functions: Functions,
    password: String,
    first_bare: String,
    server_signature: Vec<u8>,
}

impl Scram {
    /// For `SCRAM-SHA-1`, `-256` or `-512`; `None` for another mechanism.
    pub(crate) fn new(mechanism: &str, user: &str, password: &str) -> Option<Self> {
        let functions = match mechanism {
            "SCRAM-SHA-1" => Functions {
                digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
                hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
            },
            "SCRAM-SHA-256" => Functions {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
            },
            "SCRAM-SHA-512" => Functions {
                digest: &digest::SHA512,
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
            },
            _ => return None,
        };
        Some(Self {
            functions,
            password: password.to_owned(),
            first_bare: format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL"),
            server_signature: Vec::new(),
        })
    }

    /// What `<auth/>` holds.
    pub(crate) fn first(&self) -> String {
        STANDARD.encode(format!("n,,{}", self.first_bare))
    }

    /// What answers the challenge.
    pub(crate) fn answer(&mut self, challenge: &str) -> Result<String, String> {
        let challenge = STANDARD
            .decode(challenge)
            .map_err(|error| error.to_string())?;
        let challenge = String::from_utf8(challenge).map_err(|error| error.to_string())?;
        let field = |letter: &str| {
            let found = challenge
                .split(',')
                .find_map(|field| field.strip_prefix(letter));
            found.ok_or_else(|| format!("no {letter} in the challenge {challenge}"))
        };
        let salt = STANDARD
            .decode(field("s=")?)
            .map_err(|error| error.to_string())?;
        let rounds: NonZeroU32 = field("i=")?
            .parse()
            .map_err(|error| format!("{error}: {challenge}"))?;
        let mut salted = vec![0; self.functions.digest.output_len];
        let password = self.password.as_bytes();
        pbkdf2::derive(self.functions.pbkdf2, rounds, &salt, password, &mut salted);

        let client_key = self.hmac(&salted, b"Client Key");
        let stored_key = digest::digest(self.functions.digest, &client_key);
        let last_bare = format!("c=biws,r={}", field("r=")?);
        let all = format!("{},{challenge},{last_bare}", self.first_bare);
        let signature = self.hmac(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = self.hmac(&salted, b"Server Key");
        self.server_signature = self.hmac(&server_key, all.as_bytes());
        Ok(STANDARD.encode(format!("{last_bare},p={}", STANDARD.encode(proof))))
    }

    /// Checks what `<success/>` holds: that the server knows the password too.
    pub(crate) fn verify(&self, success: &str) -> Result<(), String> {
        let expected = STANDARD.encode(format!("v={}", STANDARD.encode(&self.server_signature)));
        match success == expected {
            true => Ok(()),
            false => Err(format!(
                "the server's signature is {success}, expected {expected}"
            )),
        }
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(self.functions.hmac, key);
        hmac::sign(&key, data).as_ref().to_vec()
    }
}
