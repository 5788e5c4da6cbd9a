//! The scanner and its naive twin agree on every input, whole and in pieces.
//!
//! The first byte says in which pieces the rest arrives and how small the bounds are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::STREAMS_NAMESPACE;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;
use meerkat::xml::scan::naive;
use meerkat::xml::scan::naive::Item;
use meerkat::xml::scan::naive::Summary;

fuzz_target!(|data: &[u8]| {
    if let Some((&how, input)) = data.split_first() {
        let step = usize::from(how % 64) + 1;
        let limits = if how < 128 {
            Limits::default()
        } else {
            small()
        };
        stanzas(&limits, input, step);
        header(&limits, input, step);
    }
});

fn small() -> Limits {
    Limits {
        stanza_bytes_max: 100,
        depth_max: 3,
        attributes_max: 3,
        namespaces_max: 2,
        name_bytes_max: 8,
    }
}

/// How many bytes have arrived after each read.
fn reads(input: &[u8], step: usize) -> impl Iterator<Item = usize> {
    (step..input.len()).step_by(step).chain([input.len()])
}

fn stanzas(limits: &Limits, input: &[u8], step: usize) {
    let bindings = [
        ("stream", STREAMS_NAMESPACE),
        ("db", "jabber:server:dialback"),
    ];
    let scope = StreamScope::declared("jabber:client", "stream:stream", None, &bindings);
    let mut scanner = Scanner::new();
    let mut start = 0;
    for arrived in reads(input, step) {
        loop {
            let bytes = &input[start..arrived];
            let found = match scanner.scan(limits, &scope, bytes) {
                Ok(Found::More) => Ok(None),
                Ok(Found::Whitespace { end }) => Ok(Some(Item::Whitespace(end))),
                Ok(Found::StreamEnd { end }) => Ok(Some(Item::StreamEnd(end))),
                Ok(Found::Element { end }) => {
                    let summary = Summary::of(scanner.head(), &scope, bytes);
                    Ok(Some(Item::Element(end, Box::new(summary))))
                }
                Err(error) => Err(error.condition()),
            };
            let expected = naive::scan(limits, &scope, bytes);
            assert_eq!(found, expected.map_err(|error| error.condition()));
            start += match found {
                Ok(None) => break,
                Ok(Some(Item::Whitespace(end) | Item::Element(end, _))) => end,
                Ok(Some(Item::StreamEnd(_))) | Err(_) => return,
            };
        }
    }
}

fn header(limits: &Limits, input: &[u8], step: usize) {
    let mut scanner = Scanner::new();
    for arrived in reads(input, step) {
        let bytes = &input[..arrived];
        let found = match scanner.scan_header(limits, bytes) {
            Ok(HeaderFound::More) => Ok(None),
            Ok(HeaderFound::Header { end }) => {
                let scope = scanner.take_scope(bytes);
                assert!(scope.bindings().all(|(_, _, uri)| !uri.is_empty()));
                Ok(Some((
                    end,
                    Summary::of(scanner.head(), &StreamScope::unbound(), bytes),
                )))
            }
            Err(error) => Err(error.condition()),
        };
        let expected = naive::scan_header(limits, bytes).map_err(|error| error.condition());
        assert_eq!(found, expected);
        if found != Ok(None) {
            return;
        }
    }
}
