//! PROXY headers: no input panics, the first verdict stands whatever follows, and a header ends
//! exactly where it was first seen to be complete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::proxy::HEADER_BYTES_MAX;
use meerkat::proto::proxy::Sniff;
use meerkat::proto::proxy::sniff;

fuzz_target!(|data: &[u8]| {
    let verdicts = (0..=data.len()).map(|cut| (cut, sniff(&data[..cut])));
    let mut first = None;
    for (cut, verdict) in verdicts {
        match first {
            None if verdict == Sniff::More => assert!(cut < HEADER_BYTES_MAX),
            None => {
                first = Some(verdict);
                if let Sniff::Header { length, .. } = verdict {
                    assert_eq!(length, cut);
                }
            }
            Some(first) => assert_eq!(verdict, first),
        }
    }
});
