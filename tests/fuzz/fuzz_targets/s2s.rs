//! Streams between servers: whatever comes, in whatever pieces, the machines of both sides neither
//! panic nor let anybody send for a domain that neither a certificate nor its server has proven.
//!
//! The first byte says which side it is, what its world is like and how the rest, the peer's bytes,
//! is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::ns;
use meerkat::proto::s2s::Found as Element;
use meerkat::proto::s2s::Pair;
use meerkat::proto::s2s::dialback::Keys;
use meerkat::proto::s2s::dialback::Verdict;
use meerkat::proto::s2s::inbound;
use meerkat::proto::s2s::inbound::Inbound;
use meerkat::proto::s2s::inbound::PAIRS_MAX;
use meerkat::proto::s2s::outbound;
use meerkat::proto::s2s::outbound::Outbound;
use meerkat::proto::s2s::outbound::TlsWish;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

/// The domain that the certificate of the peer is for, where it is for any.
const CERTIFIED: &str = "certified.example";
/// The domain whose server says that every key is right; all others say the contrary.
const HONEST: &str = "honest.example";

/// What stands at the front of the input, and its end; None: more has to come, or it is broken.
fn item(
    scanner: &mut Scanner,
    scope: &mut StreamScope,
    header: bool,
    input: &[u8],
) -> Option<(usize, bool)> {
    let limits = Limits::default();
    if header {
        let HeaderFound::Header { end } = scanner.scan_header(&limits, input).ok()? else {
            return None;
        };
        *scope = scanner.take_scope(input);
        return Some((end, true));
    }
    match scanner.scan(&limits, scope, input).ok()? {
        Found::Whitespace { end } => Some((end, false)),
        Found::Element { end } => Some((end, true)),
        Found::More | Found::StreamEnd { .. } => None,
    }
}

fn incoming(flags: u8, input: &[u8]) {
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let keys = Keys::new(b"a secret");
    let terms = inbound::Terms {
        serves: &|domain| domain == "here.example" || domain == "there.example",
        allows: &|_, remote| remote != "denied.example",
        certified: &|domain| flag(1) && domain == CERTIFIED,
        keys: &keys,
        default_host: "here.example",
        language: "en",
        starttls: flag(2),
        tls_required: flag(2) && flag(3),
    };
    let mut machine = Inbound::new(flag(4));
    let (mut scanner, mut scope) = (Scanner::new(), StreamScope::ordinary(ns::SERVER));
    let (mut at, mut out) = (0, Vec::new());
    while let Some((end, is_it)) =
        item(&mut scanner, &mut scope, machine.expects_header(), &input[at..])
    {
        let bytes = &input[at..at + end];
        at += end;
        if !is_it {
            continue;
        }
        let found = Element {
            bytes,
            head: scanner.head(),
            scope: &scope,
        };
        let order = if machine.expects_header() {
            machine.header(&terms, found, "an-id", &mut out)
        } else {
            machine.element(&terms, found, &mut out)
        };
        match order {
            inbound::Order::Verify(asked) => {
                let verdict = match &*asked.from {
                    HONEST => Verdict::Valid,
                    _ => Verdict::Invalid,
                };
                machine.verified(&asked.to, &asked.from, verdict, &mut out);
            }
            inbound::Order::StartTls => {
                assert!(flag(2), "TLS that was not offered");
                machine.secured();
                scanner.reset();
            }
            inbound::Order::Restart => scanner.reset(),
            inbound::Order::Stanza => assert!(!machine.proven().is_empty()),
            inbound::Order::Go => {}
            inbound::Order::End(_) | inbound::Order::Finish => break,
        }
    }
    assert!(machine.proven().len() <= PAIRS_MAX);
    for (pair, _) in machine.proven() {
        let remote = &*pair.remote;
        assert!(remote == HONEST || (flag(1) && remote == CERTIFIED), "{remote} is proven");
        assert!(["here.example", "there.example"].contains(&&*pair.local));
    }
}

fn outgoing(flags: u8, input: &[u8]) {
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let keys = Keys::new(b"a secret");
    let terms = outbound::Terms {
        keys: &keys,
        language: "en",
        tls: match (flag(1), flag(2)) {
            (false, false) => TlsWish::No,
            (true, _) => TlsWish::Optional,
            (false, true) => TlsWish::Required,
        },
        certificate: flag(3),
    };
    let pair = Pair::new("here.example", HONEST);
    let mut machine = Outbound::new(pair, flag(4), flag(5), flag(6));
    let mut secured = flag(4);
    let (mut scanner, mut scope) = (Scanner::new(), StreamScope::ordinary(ns::SERVER));
    let (mut at, mut out) = (0, Vec::new());
    machine.open(&terms, &mut out);
    while let Some((end, is_it)) =
        item(&mut scanner, &mut scope, machine.expects_header(), &input[at..])
    {
        let bytes = &input[at..at + end];
        at += end;
        if !is_it {
            continue;
        }
        let found = Element {
            bytes,
            head: scanner.head(),
            scope: &scope,
        };
        let order = if machine.expects_header() {
            machine.header(&terms, found, &mut out)
        } else {
            machine.element(&terms, found, &mut out)
        };
        match order {
            outbound::Order::StartTls => {
                secured = true;
                machine.secured(&terms, true, &mut out);
                scanner.reset();
            }
            outbound::Order::Restart => scanner.reset(),
            outbound::Order::Ready(_) => {
                assert!(secured || terms.tls != TlsWish::Required, "ready in clear");
            }
            outbound::Order::Verified(answer) => {
                assert!(machine.may_ask() && *answer.from == *HONEST && *answer.to == *"here.example");
            }
            outbound::Order::Stanza => {
                assert!(secured && machine.goes_both_ways(), "a stanza out of turn");
            }
            outbound::Order::Go => {}
            outbound::Order::Waits => machine.want(&terms, &mut out),
            outbound::Order::Fail(_) | outbound::Order::Finish => break,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, input)) = data.split_first() else {
        return;
    };
    if flags & 1 == 0 {
        incoming(*flags, input);
    } else {
        outgoing(*flags, input);
    }
});
