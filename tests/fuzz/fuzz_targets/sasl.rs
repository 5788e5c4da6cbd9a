//! SASL: whatever a client sends, an exchange neither panics nor ends in success, since the
//! password is wrong and the keys are nobody's.
//!
//! The first byte chooses the mechanism, line feeds separate the client's messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::jid::node_prep;
use meerkat::proto::sasl::Mechanism;
use meerkat::proto::sasl::base64;
use meerkat::proto::sasl::exchange::Exchange;
use meerkat::proto::sasl::exchange::Step;
use meerkat::proto::sasl::keys::PASSWORD_BYTES_MAX;
use meerkat::proto::sasl::keys::ScramKeys;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let mechanism = Mechanism::ALL[usize::from(*first) % Mechanism::ALL.len()];
    let nobody = ScramKeys {
        salt: Box::from([1; 16]),
        iterations: 10_000,
        stored_key: Box::from([2; 32]),
        server_key: Box::from([3; 32]),
    };
    let mut exchange = Exchange::start(mechanism, "localhost");
    for message in rest.split(|byte| *byte == b'\n') {
        if let Ok(Some(decoded)) = base64::decode(&String::from_utf8_lossy(message)) {
            let text = String::from_utf8_lossy(message);
            assert!(decoded.is_empty() || base64::encode(&decoded) == text);
        }
        let mut step = exchange.respond((message != b"-").then_some(message));
        if let Step::FindKeys { user, .. } = &step {
            assert_eq!(node_prep(user).as_deref(), Ok(&**user));
            step = exchange.keys(&nobody, "a-nonce-of-the-server");
        }
        match step {
            Step::Challenge(_) => {}
            Step::CheckPassword { user, password } => {
                assert_eq!(node_prep(&user).as_deref(), Ok(&*user));
                assert!((1..=PASSWORD_BYTES_MAX).contains(&password.expose().len()));
                return;
            }
            Step::Anonymous => {
                assert_eq!(mechanism, Mechanism::Anonymous);
                return;
            }
            Step::Failure(failure) => {
                assert!(!failure.name().is_empty());
                return;
            }
            Step::FindKeys { .. } | Step::Success { .. } => panic!("{step:?}"),
        }
    }
});
