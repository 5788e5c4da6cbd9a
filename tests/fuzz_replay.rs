//! Runs the committed corpora through the fuzz targets, on a stable toolchain and without a fuzzer.
//!
//! A new target is one line in `targets!` below, with its file in tests/fuzz/fuzz_targets and at
//! least one input in tests/fuzz/corpora, in a folder of its name.

use std::fs;
use std::panic;
use std::path::Path;

// The targets are written for libfuzzer-sys, of which they use one macro: here it makes a function.
extern crate self as libfuzzer_sys;

mod on_stable {
    #[macro_export]
    /// Makes a function of what libFuzzer would call.
    macro_rules! fuzz_target {
        (|$data:ident: &[u8]| $body:expr) => {
            pub(crate) fn run($data: &[u8]) {
                $body
            }
        };
    }
}

macro_rules! targets {
    ($($name:ident: $path:literal,)*) => {$(
        #[path = $path]
        #[expect(unused_attributes, reason = "no_main is meant for the fuzzer's build")]
        mod $name;

        #[test]
        fn $name() {
            replay(stringify!($name), $name::run);
        }
    )*};
}

targets! {
    bosh: "fuzz/fuzz_targets/bosh.rs",
    config: "fuzz/fuzz_targets/config.rs",
    element: "fuzz/fuzz_targets/element.rs",
    handshake: "fuzz/fuzz_targets/handshake.rs",
    jid: "fuzz/fuzz_targets/jid.rs",
    negotiation: "fuzz/fuzz_targets/negotiation.rs",
    relay: "fuzz/fuzz_targets/relay.rs",
    requests: "fuzz/fuzz_targets/requests.rs",
    roster: "fuzz/fuzz_targets/roster.rs",
    s2s: "fuzz/fuzz_targets/s2s.rs",
    sasl: "fuzz/fuzz_targets/sasl.rs",
    scan: "fuzz/fuzz_targets/scan.rs",
    proxy: "fuzz/fuzz_targets/proxy.rs",
    routing: "fuzz/fuzz_targets/routing.rs",
    websocket: "fuzz/fuzz_targets/websocket.rs",
}

/// Runs every input of a target's corpus, and names those at which it fails.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpora")
        .join(target);
    let inputs = fs::read_dir(&folder).expect("a target has a corpus");
    let paths = inputs
        .map(|entry| entry.expect("a readable corpus").path())
        .collect::<Vec<_>>();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let failed = paths.iter().filter(|path| {
        let input = fs::read(path).expect("a readable corpus");
        panic::catch_unwind(|| run(&input)).is_err()
    });
    let failed: Vec<_> = failed.collect();
    assert!(
        failed.is_empty(),
        "{} of {} inputs fail: {failed:?}",
        failed.len(),
        paths.len()
    );
}
