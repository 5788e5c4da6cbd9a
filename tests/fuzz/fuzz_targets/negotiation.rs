//! A client's stream up to its resource: whatever comes, in whatever pieces, the negotiation neither
//! panics nor lets anybody in whom the store does not know, and what it says is one well-formed
//! stream after the other.
//!
//! The first byte says how the listener is configured and what the store answers, the second how
//! the rest, the client's bytes, is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::c2s::features::Offer;
use meerkat::proto::c2s::negotiate::Found as Element;
use meerkat::proto::c2s::negotiate::LOGIN_FAILURES_MAX;
use meerkat::proto::c2s::negotiate::Negotiation;
use meerkat::proto::c2s::negotiate::Order;
use meerkat::proto::ns;
use meerkat::proto::sasl::Mechanism;
use meerkat::proto::sasl::failure::Failure;
use meerkat::proto::sasl::keys::ScramKeys;
use meerkat::proto::stanza::error::StanzaCondition;
use meerkat::proto::stream::error::StreamCondition;
use meerkat::proto::stream::error::StreamError;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

/// What the first byte says.
#[derive(Clone, Copy)]
struct World {
    secured: bool,
    starttls: bool,
    tls_required: bool,
    registration: bool,
    anonymous: bool,
    right: bool,
    bindable: bool,
}

impl World {
    fn new(flags: u8) -> Self {
        let flag = |bit: u8| flags & (1 << bit) != 0;
        Self {
            secured: flag(0),
            starttls: flag(1),
            tls_required: flag(1) && flag(2),
            registration: flag(3),
            anonymous: flag(4),
            right: flag(5),
            bindable: flag(6),
        }
    }
}

/// One run: what was said on each stream, and what was ordered.
struct Run<'a> {
    world: World,
    offer: &'a Offer<'a>,
    negotiation: Negotiation,
    scanner: Scanner,
    scope: StreamScope,
    streams: Vec<Vec<u8>>,
    orders: Vec<String>,
    is_over: bool,
}

impl<'a> Run<'a> {
    fn new(world: World, offer: &'a Offer<'a>) -> Self {
        Self {
            world,
            offer,
            negotiation: Negotiation::new(world.secured),
            scanner: Scanner::new(),
            scope: StreamScope::ordinary(ns::CLIENT),
            streams: vec![Vec::new()],
            orders: Vec::new(),
            is_over: false,
        }
    }

    /// Takes what is whole of `input`; how much that was.
    fn feed(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while at < input.len() && !self.is_over {
            let mut out = self.streams.pop().unwrap_or_default();
            let step = self.step(&input[at..], &mut out);
            self.streams.push(out);
            match step {
                None => break,
                Some((end, None)) => at += end,
                Some((end, Some(order))) => {
                    at += end;
                    self.obey(order);
                }
            }
        }
        at
    }

    /// What stands at the front of the input: its end, and what is ordered.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<(usize, Option<Order>)> {
        let limits = Limits::default();
        let broken = || Order::End(StreamError::new(StreamCondition::NotWellFormed));
        if self.negotiation.expects_header() {
            return match self.scanner.scan_header(&limits, input) {
                Ok(HeaderFound::More) => None,
                Ok(HeaderFound::Header { end }) => {
                    self.scope = self.scanner.take_scope(input);
                    let found = element(&input[..end], &self.scanner, &self.scope);
                    let order = self.negotiation.header(self.offer, found, "an-id", out);
                    Some((end, Some(order)))
                }
                Err(_) => Some((0, Some(broken()))),
            };
        }
        match self.scanner.scan(&limits, &self.scope, input) {
            Ok(Found::More) => None,
            Ok(Found::Whitespace { end }) => Some((end, None)),
            Ok(Found::StreamEnd { end }) => Some((end, Some(Order::Finish))),
            Ok(Found::Element { end }) => {
                let found = element(&input[..end], &self.scanner, &self.scope);
                let order = self.negotiation.element(self.offer, found, out);
                Some((end, Some(order)))
            }
            Err(_) => Some((0, Some(broken()))),
        }
    }

    /// Carries out an order, and what its answer orders in turn.
    fn obey(&mut self, mut order: Order) {
        loop {
            self.orders.push(format!("{order:?}"));
            self.check(&order);
            let mut out = self.streams.pop().unwrap_or_default();
            let next = self.answer(order, &mut out);
            self.streams.push(out);
            match next {
                Some(next) => order = next,
                None => return,
            }
        }
    }

    fn answer(&mut self, order: Order, out: &mut Vec<u8>) -> Option<Order> {
        let right = self.world.right;
        match order {
            Order::Go | Order::Register { .. } => None,
            Order::Restart | Order::StartTls => {
                if let Order::StartTls = order {
                    self.negotiation.secured();
                }
                self.scanner.reset();
                self.orders.push(String::from_utf8_lossy(out).into_owned());
                check_stream(out);
                out.clear();
                None
            }
            Order::FindKeys { .. } if right => {
                Some(self.negotiation.keys(Ok(&keys()), "nonce", out))
            }
            Order::FindKeys { .. } => {
                let failure = Err(Failure::TemporaryAuthFailure);
                Some(self.negotiation.keys(failure, "nonce", out))
            }
            Order::CheckPassword { .. } => {
                let verdict = if right {
                    Ok(())
                } else {
                    Err(Failure::NotAuthorized)
                };
                Some(self.negotiation.checked(verdict, out))
            }
            Order::Anonymous => Some(self.negotiation.admitted("guest", out)),
            Order::Bind { user, .. } => {
                let full = format!("{}/r", user.bare());
                let bindable = self.world.bindable;
                let answer = if bindable {
                    Ok(&*full)
                } else {
                    Err(StanzaCondition::Conflict)
                };
                self.negotiation.bound(answer, out);
                self.is_over = bindable;
                None
            }
            Order::End(error) => {
                self.negotiation.open_for_error(self.offer, "an-id", out);
                error.write(out);
                self.is_over = true;
                None
            }
            Order::Finish => {
                out.extend_from_slice(b"</stream:stream>");
                self.is_over = true;
                None
            }
        }
    }

    /// What holds of an order before it is carried out.
    fn check(&self, order: &Order) {
        let waits = match order {
            Order::Go | Order::Restart | Order::Register { .. } => false,
            Order::StartTls
            | Order::FindKeys { .. }
            | Order::CheckPassword { .. }
            | Order::Anonymous
            | Order::Bind { .. } => true,
            Order::End(_) | Order::Finish => return,
        };
        assert_eq!(self.negotiation.awaits(), waits, "{order:?}");
        let has_tls = self.world.secured || self.orders.iter().any(|order| order == "StartTls");
        match order {
            Order::FindKeys { .. }
            | Order::CheckPassword { .. }
            | Order::Anonymous
            | Order::Register { .. } => assert!(has_tls || !self.world.tls_required, "{order:?}"),
            Order::Bind { user, .. } => assert_eq!(Some(user), self.negotiation.user()),
            Order::Go | Order::Restart | Order::StartTls | Order::End(_) | Order::Finish => {}
        }
    }

    /// What holds at the end.
    fn conclude(self) -> (Vec<String>, Vec<Vec<u8>>) {
        if !self.world.right && !self.world.anonymous {
            assert!(self.negotiation.user().is_none(), "nobody may come in");
        }
        let said: String = self
            .streams
            .iter()
            .map(|stream| String::from_utf8_lossy(stream))
            .collect();
        let failed = format!("<failure xmlns='{}'", ns::SASL);
        let failures = self
            .orders
            .iter()
            .map(|order| order.matches(&failed).count())
            .sum::<usize>();
        let failures = failures + said.matches(&failed).count();
        assert!(failures <= usize::from(LOGIN_FAILURES_MAX));
        self.streams.iter().for_each(|stream| check_stream(stream));
        (self.orders, self.streams)
    }
}

fn element<'a>(bytes: &'a [u8], scanner: &'a Scanner, scope: &'a StreamScope) -> Element<'a> {
    Element {
        bytes,
        head: scanner.head(),
        scope,
    }
}

/// Keys that no password leads to.
fn keys() -> ScramKeys {
    ScramKeys {
        salt: Box::from([1; 16]),
        iterations: 10_000,
        stored_key: Box::from([2; 32]),
        server_key: Box::from([3; 32]),
    }
}

/// Our own side is a header, whole elements and, at most once and at its end, the end.
fn check_stream(said: &[u8]) {
    if said.is_empty() {
        return;
    }
    let shown = String::from_utf8_lossy(said);
    let (mut scanner, limits) = (Scanner::new(), Limits::default());
    let Ok(HeaderFound::Header { end: mut at }) = scanner.scan_header(&limits, said) else {
        panic!("no header: {shown}");
    };
    let scope = scanner.take_scope(said);
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

fn play(world: World, cut: usize, bytes: &[u8]) -> (Vec<String>, Vec<Vec<u8>>) {
    let hosts: [Box<str>; 2] = ["localhost".into(), "example.org".into()];
    let mechanisms = match world.anonymous {
        true => &Mechanism::ALL[..],
        false => &[Mechanism::ScramSha256, Mechanism::Plain],
    };
    let offer = Offer {
        hosts: &hosts,
        default_host: "localhost",
        language: "en",
        starttls: world.starttls,
        tls_required: world.tls_required,
        clear: mechanisms,
        secure: mechanisms,
        registration: world.registration,
        session: true,
        capabilities: None,
    };
    let mut run = Run::new(world, &offer);
    let (mut from, mut to) = (0, 0);
    while to < bytes.len() {
        to = bytes.len().min(to + cut);
        from += run.feed(&bytes[from..to]);
    }
    run.conclude()
}

fuzz_target!(|data: &[u8]| {
    let [flags, cut, bytes @ ..] = data else {
        return;
    };
    let world = World::new(*flags);
    let whole = play(world, usize::MAX - bytes.len(), bytes);
    let pieces = play(world, usize::from(*cut) + 1, bytes);
    assert_eq!(whole, pieces, "pieces change nothing");
});
