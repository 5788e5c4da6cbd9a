//! The RFCs' conversations, and clients that lie.

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use proptest::prelude::*;

use super::base64;
use super::exchange::{Exchange, MESSAGE_BYTES_MAX, Step};
use super::failure::Failure;
use super::keys::{Credentials, DeriveError, Hash, PASSWORD_BYTES_MAX, ScramKeys, Secret};
use super::mechanism::Mechanism;

const HOST: &str = "example.org";

/// One conversation of a specification, with user `user` and password `pencil`.
struct Vector {
    mechanism: Mechanism,
    hash: Hash,
    client_nonce: &'static str,
    server_nonce: &'static str,
    salt: &'static str,
    proof: &'static str,
    signature: &'static str,
}

const VECTORS: [Vector; 3] = [
    // RFC 5802 section 5.
    Vector {
        mechanism: Mechanism::ScramSha1,
        hash: Hash::Sha1,
        client_nonce: "fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        salt: "QSXCR+Q6sek8bf92",
        proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    // RFC 7677 section 3.
    Vector {
        mechanism: Mechanism::ScramSha256,
        hash: Hash::Sha256,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
    // draft-melnikov-scram-sha-512; Python's hashlib gives the same.
    Vector {
        mechanism: Mechanism::ScramSha512,
        hash: Hash::Sha512,
        client_nonce: "rOprNGfwEbeRWgbNEkqO",
        server_nonce: "02431b08-2f89-4bad-a4e6-80c0564ec865",
        salt: "Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=",
        proof: "Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9x\
                maHt4A==",
        signature: "BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkj\
                    J9kyY4kzmw==",
    },
];

impl Vector {
    fn keys(&self) -> ScramKeys {
        let salt = base64::decode(self.salt).unwrap().unwrap();
        ScramKeys::derive(self.hash, "pencil", &salt, 4096).unwrap()
    }

    fn nonce(&self) -> String {
        format!("{}{}", self.client_nonce, self.server_nonce)
    }

    /// An exchange that waits for the proof.
    fn challenged(&self, header: &str) -> Exchange {
        let mut exchange = Exchange::start(self.mechanism, HOST);
        let first = format!("{header}n=user,r={}", self.client_nonce);
        let step = exchange.respond(Some(first.as_bytes()));
        assert!(
            matches!(step, Step::FindKeys { user, hash } if &*user == "user" && hash == self.hash)
        );
        let Step::Challenge(challenge) = exchange.keys(&self.keys(), self.server_nonce) else {
            panic!("a challenge")
        };
        let expected = format!("r={},s={},i=4096", self.nonce(), self.salt);
        assert_eq!(String::from_utf8(challenge).unwrap(), expected);
        exchange
    }

    fn last(&self) -> String {
        format!("c=biws,r={},p={}", self.nonce(), self.proof)
    }
}

/// What a client proves that knows the password and ends its last message in `end`, by SHA-1.
fn proof_of(vector: &Vector, end: &str) -> String {
    let salt = base64::decode(vector.salt).unwrap().unwrap();
    let (mut salted, rounds) = ([0; 20], NonZeroU32::new(4096).unwrap());
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA1,
        rounds,
        &salt,
        b"pencil",
        &mut salted,
    );
    let sign = |key: &[u8], text: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        hmac::sign(&key, text)
    };
    let client = sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, client.as_ref());
    let (client_nonce, nonce) = (vector.client_nonce, vector.nonce());
    let signed = format!(
        "n=user,r={client_nonce},r={nonce},s={},i=4096,{end}",
        vector.salt
    );
    let signature = sign(stored.as_ref(), signed.as_bytes());
    let pairs = client.as_ref().iter().zip(signature.as_ref());
    base64::encode(&pairs.map(|(a, b)| a ^ b).collect::<Vec<u8>>())
}

fn failure(step: Step) -> Failure {
    match step {
        Step::Failure(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn first_answer(mechanism: Mechanism, message: &[u8]) -> Step {
    Exchange::start(mechanism, HOST).respond(Some(message))
}

#[test]
fn conversations_of_the_specifications() {
    for vector in &VECTORS {
        match vector
            .challenged("n,,")
            .respond(Some(vector.last().as_bytes()))
        {
            Step::Success { user, additional } => {
                assert_eq!(&*user, "user");
                let expected = format!("v={}", vector.signature);
                assert_eq!(additional.as_deref(), Some(expected.as_bytes()));
            }
            other => panic!("{:?}: {other:?}", vector.mechanism),
        }
    }
}

#[test]
fn each_changed_byte_of_a_proof_fails() {
    for vector in &VECTORS {
        let proof = base64::decode(vector.proof).unwrap().unwrap();
        for place in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[place] ^= 1;
            let last = vector.last().replace(vector.proof, &base64::encode(&wrong));
            let step = vector.challenged("n,,").respond(Some(last.as_bytes()));
            assert_eq!(failure(step), Failure::NotAuthorized);
        }
        for wrong in [&proof[1..], &[], &[proof.clone(), vec![0]].concat()] {
            let last = vector.last().replace(vector.proof, &base64::encode(wrong));
            failure(vector.challenged("n,,").respond(Some(last.as_bytes())));
        }
    }
}

#[test]
fn last_messages_that_are_refused() {
    use Failure::{MalformedRequest, NotAuthorized};
    let vector = &VECTORS[0];
    let (nonce, proof) = (vector.nonce(), vector.proof);
    for (message, expected) in [
        (format!("c=eSws,r={nonce},p={proof}"), NotAuthorized),
        (format!("c=biws,r={nonce}x,p={proof}"), NotAuthorized),
        (
            format!("c=biws,r={},p={proof}", vector.client_nonce),
            NotAuthorized,
        ),
        // Extensions are covered by the proof.
        (format!("c=biws,r={nonce},x=1,p={proof}"), NotAuthorized),
        (format!("c=biws,r={nonce},m=1,p={proof}"), MalformedRequest),
        (format!("c=biws,r={nonce},x,p={proof}"), MalformedRequest),
        (format!("c=biws,r={nonce},p={proof},x=1"), MalformedRequest),
        (format!("c=biws,r={nonce},p=*"), MalformedRequest),
        (format!("c=biws,r={nonce},p="), MalformedRequest),
        (format!("c=biws,r={nonce}"), MalformedRequest),
        (format!("r={nonce},c=biws,p={proof}"), MalformedRequest),
        (format!("c=biws,p={proof}"), MalformedRequest),
        (String::new(), MalformedRequest),
        ("\0".into(), MalformedRequest),
    ] {
        let step = vector.challenged("n,,").respond(Some(message.as_bytes()));
        assert_eq!(failure(step), expected, "{message}");
    }
    assert_eq!(
        failure(vector.challenged("n,,").respond(None)),
        MalformedRequest
    );
}

/// `y` is part of what the client signs, by way of `c=`.
/// The proof is right and covers what the message says, which is not what was said before.
#[test]
fn a_password_does_not_excuse_another_binding_or_nonce() {
    let vector = &VECTORS[0];
    let nonce = vector.nonce();
    assert_eq!(proof_of(vector, &format!("c=biws,r={nonce}")), vector.proof);
    for end in [format!("c=eSws,r={nonce}"), format!("c=biws,r={nonce}x")] {
        let message = format!("{end},p={}", proof_of(vector, &end));
        let step = vector.challenged("n,,").respond(Some(message.as_bytes()));
        assert_eq!(failure(step), Failure::NotAuthorized, "{message}");
    }
}

#[test]
fn a_client_that_could_bind_to_the_channel() {
    let vector = &VECTORS[0];
    let mut exchange = vector.challenged("y,,");
    let step = exchange.respond(Some(vector.last().as_bytes()));
    assert_eq!(failure(step), Failure::NotAuthorized);
    let step = first_answer(Mechanism::ScramSha1, b"y,,n=user,r=abc");
    assert!(matches!(step, Step::FindKeys { .. }));
}

#[test]
fn first_messages() {
    use Failure::*;
    let outcome = |message: &[u8]| match first_answer(Mechanism::ScramSha256, message) {
        Step::FindKeys { user, .. } => Ok(user.to_string()),
        Step::Failure(failure) => Err(failure),
        other => panic!("{other:?}"),
    };
    for (message, expected) in [
        ("n,,n=user,r=abc", Ok("user")),
        ("n,,n=User,r=abc", Ok("user")),
        ("n,,n=user,r=abc,x=1,y=a=b", Ok("user")),
        ("n,,n=a=2Cb=3Dc,r=abc", Ok("a,b=c")),
        ("n,,n=stra\u{df}e,r=abc", Ok("strasse")),
        ("n,a=user@example.org,n=user,r=abc", Ok("user")),
        ("n,a=User@Example.ORG,n=user,r=abc", Ok("user")),
        ("n,a=a=2Cb@example.org,n=a=2Cb,r=abc", Ok("a,b")),
        ("n,a=other@example.org,n=user,r=abc", Err(InvalidAuthzid)),
        ("n,a=user@example.com,n=user,r=abc", Err(InvalidAuthzid)),
        ("n,a=user@example.org/r,n=user,r=abc", Err(InvalidAuthzid)),
        ("n,a=user,n=user,r=abc", Err(InvalidAuthzid)),
        ("n,a=,n=user,r=abc", Err(MalformedRequest)),
        ("n,user@example.org,n=user,r=abc", Err(MalformedRequest)),
        ("p=tls-exporter,,n=user,r=abc", Err(MalformedRequest)),
        ("x,,n=user,r=abc", Err(MalformedRequest)),
        (",,n=user,r=abc", Err(MalformedRequest)),
        ("n=user,r=abc", Err(MalformedRequest)),
        ("n,,m=1,n=user,r=abc", Err(MalformedRequest)),
        ("n,,n=user,r=abc,m=1", Err(MalformedRequest)),
        ("n,,n=user,r=abc,", Err(MalformedRequest)),
        ("n,,n=user,r=abc,1=a", Err(MalformedRequest)),
        ("n,,n=user,r=abc,x=", Err(MalformedRequest)),
        ("n,,n=user", Err(MalformedRequest)),
        ("n,,n=user,r=", Err(MalformedRequest)),
        ("n,,n=user,r=a c", Err(MalformedRequest)),
        ("n,,n=user,r=\u{e9}", Err(MalformedRequest)),
        ("n,,r=abc,n=user", Err(MalformedRequest)),
        ("n,,n=,r=abc", Err(MalformedRequest)),
        ("n,,n=a=2cb,r=abc", Err(MalformedRequest)),
        ("n,,n=a=,r=abc", Err(MalformedRequest)),
        ("n,,n=us\0er,r=abc", Err(MalformedRequest)),
        ("n,,n=user@example.org,r=abc", Err(NotAuthorized)),
        ("n,,n=us er,r=abc", Err(NotAuthorized)),
        ("n,,n=\u{ad},r=abc", Err(NotAuthorized)),
        ("n", Err(MalformedRequest)),
        ("", Err(MalformedRequest)),
    ] {
        assert_eq!(
            outcome(message.as_bytes()),
            expected.map(String::from),
            "{message}"
        );
    }
    assert_eq!(outcome(b"n,,n=\xff,r=abc"), Err(MalformedRequest));
    let long = |length: usize| format!("n,,n=user,r={}", "a".repeat(length));
    assert!(outcome(long(256).as_bytes()).is_ok());
    assert_eq!(outcome(long(257).as_bytes()), Err(MalformedRequest));
    assert_eq!(
        outcome(&vec![b'n'; MESSAGE_BYTES_MAX + 1]),
        Err(MalformedRequest)
    );
}

#[test]
fn plain() {
    use Failure::*;
    let outcome = |message: &[u8]| match first_answer(Mechanism::Plain, message) {
        Step::CheckPassword { user, password } => {
            Ok((user.to_string(), password.expose().to_owned()))
        }
        Step::Failure(failure) => Err(failure),
        other => panic!("{other:?}"),
    };
    let ok = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
    assert_eq!(outcome(b"\0user\0pencil"), ok("user", "pencil"));
    assert_eq!(
        outcome(b"user@example.org\0User\0pen cil"),
        ok("user", "pen cil")
    );
    assert_eq!(
        outcome(b"other@example.org\0user\0pencil"),
        Err(InvalidAuthzid)
    );
    for malformed in [
        &b""[..],
        b"user",
        b"user\0pencil",
        b"\0\0pencil",
        b"\0user\0",
        b"\0user\0pencil\0",
        b"\0user\0pen\0cil",
        b"\0user\0\xff",
    ] {
        assert_eq!(outcome(malformed), Err(MalformedRequest), "{malformed:?}");
    }
    assert_eq!(outcome(b"\0us@er\0pencil"), Err(NotAuthorized));
    let long = |length: usize| format!("\0user\0{}", "x".repeat(length));
    assert!(outcome(long(PASSWORD_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(
        outcome(long(PASSWORD_BYTES_MAX + 1).as_bytes()),
        Err(NotAuthorized)
    );

    let mut exchange = Exchange::start(Mechanism::Plain, HOST);
    exchange.respond(Some(b"\0user\0pencil"));
    let step = exchange.checked();
    assert!(matches!(step, Step::Success { user, additional: None } if &*user == "user"));
    assert_eq!(failure(exchange.checked()), MalformedRequest);
}

#[test]
fn without_an_initial_response() {
    for mechanism in Mechanism::ALL {
        let mut exchange = Exchange::start(mechanism, HOST);
        let step = exchange.respond(None);
        if mechanism == Mechanism::Anonymous {
            assert!(matches!(step, Step::Anonymous));
            continue;
        }
        assert!(matches!(step, Step::Challenge(empty) if empty.is_empty()));
        let message: &[u8] = if mechanism == Mechanism::Plain {
            b"\0user\0pencil"
        } else {
            b"n,,n=user,r=abc"
        };
        let step = exchange.respond(Some(message));
        assert!(matches!(
            step,
            Step::CheckPassword { .. } | Step::FindKeys { .. }
        ));
        // A client that does not wait for the answer.
        assert_eq!(
            failure(exchange.respond(Some(message))),
            Failure::MalformedRequest
        );
        assert_eq!(failure(exchange.checked()), Failure::MalformedRequest);
    }
    assert!(matches!(
        first_answer(Mechanism::Anonymous, b"trace"),
        Step::Anonymous
    ));
}

#[test]
fn nonces_that_are_none() {
    for nonce in ["", "a,b", "a b", "\u{e9}"] {
        let mut exchange = Exchange::start(Mechanism::ScramSha1, HOST);
        exchange.respond(Some(b"n,,n=user,r=abc"));
        let step = exchange.keys(&VECTORS[0].keys(), nonce);
        assert_eq!(failure(step), Failure::TemporaryAuthFailure);
    }
}

#[test]
fn names() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(mechanism.name()), Some(mechanism));
        assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), None);
        assert_eq!(
            Mechanism::parse(&format!("{}-PLUS", mechanism.name())),
            None
        );
    }
    assert!(Mechanism::ALL.is_sorted());
    for failure in Failure::ALL {
        assert!(
            failure
                .name()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
        );
    }
}

#[test]
fn encoding() {
    assert_eq!(base64::decode(""), Ok(None));
    assert_eq!(base64::decode("="), Ok(Some(vec![])));
    assert_eq!(
        base64::decode("AHVzZXIAcGVuY2ls"),
        Ok(Some(b"\0user\0pencil".to_vec()))
    );
    for wrong in [
        "==", "A", "AA", "AA=", "AAA", "AB==", "AAAA=", "AA AA", "AAAA\n", "AA-_", "=AAA",
    ] {
        assert_eq!(
            base64::decode(wrong),
            Err(Failure::IncorrectEncoding),
            "{wrong:?}"
        );
    }
    let long = "A".repeat(MESSAGE_BYTES_MAX * 2);
    assert_eq!(base64::decode(&long), Err(Failure::MalformedRequest));
}

#[test]
fn passwords() {
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        let keys = ScramKeys::derive(hash, "I\u{ad}X", b"salt", 2).unwrap();
        assert_eq!(
            (keys.stored_key.len(), keys.server_key.len()),
            (hash.bytes(), hash.bytes())
        );
        // RFC 4013 section 3.
        assert!(keys.verify_password(hash, "IX"));
        assert!(keys.verify_password(hash, "\u{2168}"));
        assert!(!keys.verify_password(hash, "ix"));
        assert!(!keys.verify_password(hash, ""));
        assert!(!keys.verify_password(hash, "\u{7}"));
        let other = ScramKeys {
            server_key: vec![0; hash.bytes()].into(),
            ..keys
        };
        assert!(!other.verify_password(hash, "IX"));
    }
    let derive = |password: &str, rounds| {
        ScramKeys::derive(Hash::Sha1, password, b"salt", rounds)
            .map(|_| ())
            .err()
    };
    assert_eq!(derive("", 1), Some(DeriveError::Empty));
    assert_eq!(derive("\u{ad}", 1), Some(DeriveError::Empty));
    assert_eq!(derive("\u{7}", 1), Some(DeriveError::Prohibited));
    assert_eq!(derive("\u{627}1", 1), Some(DeriveError::Prohibited));
    assert_eq!(derive("a", 0), Some(DeriveError::NoIterations));
    assert_eq!(
        derive(&"a".repeat(PASSWORD_BYTES_MAX + 1), 1),
        Some(DeriveError::TooLong)
    );

    let secret = Secret::new("IX");
    assert!(secret.is("I\u{ad}X") && secret.is("IX"));
    assert!(!secret.is("IXX") && !secret.is("ix") && !secret.is("") && !secret.is("\u{7}"));
}

#[test]
fn nothing_secret_is_printed() {
    let keys = VECTORS[0].keys();
    assert_eq!(format!("{keys:?}"), "ScramKeys(4096 rounds)");
    assert_eq!(
        format!("{:?}", Credentials::Plain(Secret::new("pencil"))),
        "Plain((hidden))"
    );
    let step = first_answer(Mechanism::Plain, b"\0user\0pencil");
    assert!(!format!("{step:?}").contains("pencil"));
    let exchange = VECTORS[0].challenged("n,,");
    assert!(format!("{exchange:?}").contains("ScramKeys(4096 rounds)"));
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(n|y|p=x)?,(a=[a-z=,@.]{0,8})?,(m=1,)?n=[a-z=2C3D]{0,8},r=[!-~]{0,8}(,[a-z]=.{0,3})?"
            .prop_map(String::into_bytes),
        "c=biws,r=[!-~]{0,8},p=[A-Za-z0-9+/=]{0,28}".prop_map(String::into_bytes),
        "[a-z@.]{0,6}\0[a-z]{0,6}\0.{0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    /// Whatever comes, an exchange ends, and never in success without the driver's word.
    #[test]
    fn strangers_do_not_get_in(
        messages in proptest::collection::vec(proptest::option::of(message()), 1..4),
        mechanism in proptest::sample::select(&Mechanism::ALL[..4]),
    ) {
        let decoy = ScramKeys {
            salt: Box::from([1; 16]),
            iterations: 10_000,
            stored_key: Box::from([2; 64]),
            server_key: Box::from([3; 64]),
        };
        let mut exchange = Exchange::start(mechanism, HOST);
        for message in messages {
            let mut step = exchange.respond(message.as_deref());
            if let Step::FindKeys { user, .. } = &step {
                prop_assert!(!user.is_empty());
                step = exchange.keys(&decoy, "nonce");
            }
            let is_in = matches!(step, Step::Success { .. } | Step::Anonymous);
            prop_assert!(!is_in);
        }
    }
}
