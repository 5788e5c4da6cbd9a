//! A component's stream up to its names (XEP-0114): whatever comes, in whatever pieces, nobody gets
//! a name who does not know the password, nobody gets a served host, and what we say is one
//! well-formed stream.
//!
//! The first byte says what the listener allows and what the registrar answers, the second how the
//! rest, the component's bytes, is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::c2s::negotiate::Found as Element;
use meerkat::proto::ns;
use meerkat::proto::service::Handshake;
use meerkat::proto::service::Order;
use meerkat::proto::service::Rules;
use meerkat::proto::stream::error::StreamCondition;
use meerkat::proto::stream::error::StreamError;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

/// The digest of "an-id" and "secret".
const RIGHT: &str = "d661607cb1784f49355f946dade43fbf9f4c1b0b";

/// What was said and ordered.
#[derive(Debug, Default, PartialEq)]
struct Run {
    said: Vec<u8>,
    orders: Vec<String>,
    names: Vec<Box<str>>,
}

fn play(flags: u8, cut: usize, bytes: &[u8]) -> Run {
    let hosts: [Box<str>; 2] = ["localhost".into(), "example.org".into()];
    let domains = ["echo.localhost".to_owned(), "gate".to_owned()];
    let rules = Rules {
        password: "secret",
        hosts: &hosts,
        domains: (flags & 1 != 0).then_some(&domains),
        kept: &[],
        language: "en",
    };
    let mut machine = Some(Handshake::new());
    let mut scanner = Scanner::new();
    let mut scope = StreamScope::ordinary(ns::COMPONENT_ACCEPT);
    let mut run = Run::default();
    let (mut from, mut to) = (0, 0);
    while to < bytes.len() && machine.is_some() {
        to = bytes.len().min(to.saturating_add(cut));
        while let Some(step) = machine.as_mut().and_then(|machine| {
            let input = &bytes[from..to];
            step(machine, &rules, (&mut scanner, &mut scope), input, &mut run.said)
        }) {
            from += step.0;
            obey(&mut machine, step.1, flags & 2 != 0, &mut run);
        }
    }
    run
}

fn step(
    machine: &mut Handshake,
    rules: &Rules<'_>,
    (scanner, scope): (&mut Scanner, &mut StreamScope),
    input: &[u8],
    out: &mut Vec<u8>,
) -> Option<(usize, Order)> {
    if input.is_empty() {
        return None;
    }
    let limits = Limits::default();
    let broken = || Order::End(StreamError::new(StreamCondition::NotWellFormed));
    if machine.expects_header() {
        return match scanner.scan_header(&limits, input) {
            Ok(HeaderFound::More) => None,
            Ok(HeaderFound::Header { end }) => {
                *scope = scanner.take_scope(input);
                let (bytes, head) = (&input[..end], scanner.head());
                let found = Element { bytes, head, scope };
                Some((end, machine.header(rules, found, "an-id", out)))
            }
            Err(_) => Some((0, broken())),
        };
    }
    match scanner.scan(&limits, scope, input) {
        Ok(Found::More) => None,
        Ok(Found::Whitespace { end }) => Some((end, Order::Go)),
        Ok(Found::StreamEnd { end }) => Some((end, Order::Finish)),
        Ok(Found::Element { end }) => {
            let (bytes, head) = (&input[..end], scanner.head());
            let found = Element { bytes, head, scope };
            Some((end, machine.element(rules, found)))
        }
        Err(_) => Some((0, broken())),
    }
}

fn obey(machine: &mut Option<Handshake>, order: Order, grants: bool, run: &mut Run) {
    if order != Order::Go {
        run.orders.push(format!("{order:?}"));
    }
    let Some(now) = machine.as_ref() else { return };
    assert_eq!(now.awaits(), matches!(order, Order::Claim(_)), "{order:?}");
    let ended = match order {
        Order::Go => return,
        Order::Claim(names) => {
            let mut texts = names.iter().map(|name| &**name);
            let served = texts.any(|name| matches!(name, "localhost" | "example.org"));
            assert!(!names.is_empty() && !served, "{names:?}");
            let machine = machine.take().expect("it was there");
            match machine.registered(grants, &mut run.said) {
                Ok(names) => {
                    run.names = names;
                    return;
                }
                Err(error) => Some(error),
            }
        }
        Order::End(error) => {
            now.open_for_error("localhost", "an-id", "en", &mut run.said);
            Some(error)
        }
        Order::Finish => None,
    };
    match ended {
        Some(error) => error.write(&mut run.said),
        None => run.said.extend_from_slice(b"</stream:stream>"),
    }
    *machine = None;
}

/// Our own side is a header, whole elements and, at most once and at its end, the end.
fn check_stream(run: &Run) {
    let said = &run.said;
    // Who ends a stream that we have not begun gets the end alone.
    if said.is_empty() || said == b"</stream:stream>" {
        return;
    }
    let shown = String::from_utf8_lossy(said);
    let (mut scanner, limits) = (Scanner::new(), Limits::default());
    let Ok(HeaderFound::Header { end: mut at }) = scanner.scan_header(&limits, said) else {
        panic!("no header: {shown}");
    };
    let scope = scanner.take_scope(said);
    assert_eq!(scope.default_namespace(), ns::COMPONENT_ACCEPT);
    while at < said.len() {
        match scanner.scan(&limits, &scope, &said[at..]) {
            Ok(Found::Element { end }) => at += end,
            Ok(Found::StreamEnd { end }) => {
                at += end;
                assert_eq!(at, said.len(), "{shown}");
            }
            other => panic!("{other:?}: {shown}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [flags, cut, bytes @ ..] = data else {
        return;
    };
    let whole = play(*flags, usize::MAX, bytes);
    let pieces = play(*flags, usize::from(*cut) + 1, bytes);
    assert_eq!(whole, pieces, "pieces change nothing");
    let knows = find(bytes, RIGHT.as_bytes()) || bytes.contains(&b'&') || find(bytes, b"CDATA");
    assert!(whole.names.is_empty() || knows, "nobody may come in");
    check_stream(&whole);
});

fn find(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
