//! Dialogues with the machine.

use super::*;
use crate::proto::s2s::tests_support::with_found;
use crate::proto::s2s::tests_support::with_header;

const FEATURES: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
     <mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";
const STARTTLS: &str =
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";

struct Scene {
    machine: Outbound,
    keys: Keys,
    tls: TlsWish,
    certificate: bool,
}

impl Scene {
    fn new(secured: bool, wanted: bool) -> Self {
        let pair = Pair::new("a.example", "far.example");
        Self {
            machine: Outbound::new(pair, secured, wanted, false),
            keys: Keys::new(b"secret"),
            tls: TlsWish::Optional,
            certificate: true,
        }
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Outbound, &Terms<'_>, &mut Vec<u8>) -> Order,
    ) -> (Order, String) {
        let terms = Terms {
            keys: &self.keys,
            language: "en",
            tls: self.tls,
            certificate: self.certificate,
        };
        let mut out = Vec::new();
        let order = act(&mut self.machine, &terms, &mut out);
        (order, String::from_utf8(out).expect("text"))
    }

    fn header(&mut self) -> (Order, String) {
        let xml = b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
            xmlns:db='jabber:server:dialback' from='far.example' id='their-id' version='1.0'>";
        self.act(|machine, terms, out| with_header(xml, |found| machine.header(terms, found, out)))
    }

    fn element(&mut self, xml: &str) -> (Order, String) {
        self.act(|machine, terms, out| {
            with_found(xml.as_bytes(), |found| machine.element(terms, found, out))
        })
    }
}

fn why(order: &Order) -> StanzaCondition {
    match order {
        Order::Fail(failed) => failed.condition,
        other => panic!("{other:?}"),
    }
}

#[test]
fn certificate() {
    let mut scene = Scene::new(false, true);
    assert_eq!(scene.header().0, Order::Go);
    let (_, out) = scene.element(STARTTLS);
    assert!(out.starts_with("<starttls"));
    let (order, _) = scene.element("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(order, Order::StartTls);
    scene.act(|machine, terms, out| {
        machine.secured(terms, false, out);
        Order::Go
    });
    scene.header();
    let (order, out) = scene.element(FEATURES);
    assert_eq!(order, Order::Waits);
    assert!(
        out.contains("mechanism='EXTERNAL'>YS5leGFtcGxl</auth>"),
        "{out}"
    );
    let (order, out) = scene.element("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    assert_eq!(order, Order::Restart);
    assert!(out.contains("to='far.example'"), "{out}");
    scene.header();
    let (order, _) = scene.element("<stream:features/>");
    assert_eq!(order, Order::Ready(Proof::Certificate));
}

#[test]
fn dialback_where_external_is_refused() {
    let mut scene = Scene::new(true, true);
    scene.header();
    scene.element(FEATURES);
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    let (_, out) = scene.element(failure);
    let key = scene.keys.key("far.example", "a.example", "their-id");
    assert_eq!(
        out,
        format!("<db:result from='a.example' to='far.example'>{key}</db:result>")
    );
    assert!(scene.machine.failed_external());
    let answer =
        |from: &str, kind: &str| format!("<db:result from='{from}' to='a.example' type='{kind}'/>");
    assert_eq!(scene.element(&answer("evil.example", "valid")).0, Order::Go);
    assert_eq!(scene.machine.ready(), None);
    let (order, _) = scene.element(&answer("far.example", "valid"));
    assert_eq!(order, Order::Ready(Proof::Dialback));
}

#[test]
fn questions_go_before_anything_is_wanted() {
    let mut scene = Scene::new(true, false);
    scene.header();
    assert_eq!(scene.element(FEATURES), (Order::Waits, String::new()));
    assert!(scene.machine.may_ask());
    let answer = "<db:verify from='far.example' to='a.example' id='x' type='valid'/>";
    assert!(matches!(scene.element(answer).0, Order::Verified(_)));
    let strange = "<db:verify from='evil.example' to='a.example' id='x' type='valid'/>";
    assert_eq!(scene.element(strange).0, Order::Go);
    let (_, out) = scene.act(|machine, terms, out| {
        machine.want(terms, out);
        Order::Go
    });
    assert!(out.contains("EXTERNAL"), "{out}");
}

#[test]
fn failures() {
    let timeout = StanzaCondition::RemoteServerTimeout;
    let mut scene = Scene::new(false, true);
    scene.tls = TlsWish::Required;
    scene.header();
    assert_eq!(why(&scene.element(FEATURES).0), timeout);
    for (xml, condition) in [
        ("<message from='far.example' to='a.example'/>", timeout),
        (
            "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            StanzaCondition::RemoteServerNotFound,
        ),
        (
            "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            timeout,
        ),
        (
            "<db:result from='far.example' to='a.example' type='invalid'/>",
            timeout,
        ),
    ] {
        let mut scene = Scene::new(true, true);
        scene.certificate = false;
        scene.header();
        scene.element("<stream:features/>");
        assert_eq!(why(&scene.element(xml).0), condition, "{xml}");
    }
}

const BOTH_WAYS: &str = "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/>\
     <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>\
     </mechanisms></stream:features>";

/// A stream with TLS to a peer that offers XEP-0288; as far as what is written after its features.
fn offered(certified: bool) -> (Scene, String) {
    let mut scene = Scene::new(false, true);
    scene.act(|machine, terms, out| {
        machine.secured(terms, certified, out);
        Order::Go
    });
    scene.header();
    let (_, written) = scene.element(BOTH_WAYS);
    (scene, written)
}

#[test]
fn a_certified_peer_is_asked_to_send_on_our_stream() {
    let (mut scene, written) = offered(true);
    assert!(
        written.starts_with("<bidi xmlns='urn:xmpp:bidi'/><auth "),
        "{written}"
    );
    assert!(!scene.machine.goes_both_ways());
    scene.element("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    scene.header();
    let (order, written) = scene.element(BOTH_WAYS);
    assert_eq!(order, Order::Ready(Proof::Certificate));
    assert_eq!(written, "", "asked for once, before authentication");
    assert!(scene.machine.goes_both_ways());
    let (order, _) = scene.element("<message from='x@far.example' to='y@a.example'/>");
    assert_eq!(order, Order::Stanza);
}

#[test]
fn nobody_else_sends_on_our_stream() {
    let (mut scene, written) = offered(false);
    assert!(!written.contains("bidi"), "{written}");
    scene.element("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    scene.header();
    scene.element(BOTH_WAYS);
    let (order, _) = scene.element("<message from='x@far.example' to='y@a.example'/>");
    assert!(matches!(order, Order::Fail(_)), "{order:?}");
    // Nor before we are let in.
    let (mut scene, _) = offered(true);
    let (order, _) = scene.element("<message from='x@far.example' to='y@a.example'/>");
    assert!(matches!(order, Order::Fail(_)), "{order:?}");
}
