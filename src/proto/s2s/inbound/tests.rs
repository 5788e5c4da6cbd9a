//! Dialogues with the machine, as tables.

use super::*;
use crate::proto::s2s::tests_support::with_found;
use crate::proto::s2s::tests_support::with_header;

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
     xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";

/// What the world of a machine is.
#[derive(Clone, Copy)]
struct World {
    certified: &'static str,
    starttls: bool,
    required: bool,
}

const PLAIN: World = World {
    certified: "",
    starttls: false,
    required: false,
};

fn with_terms<T>(world: World, act: impl FnOnce(&Terms<'_>) -> T) -> T {
    let keys = Keys::new(b"secret");
    act(&Terms {
        serves: &|domain| ["a.example", "b.example"].contains(&domain),
        allows: &|_, remote| remote != "spam.example",
        certified: &|domain| domain == world.certified,
        keys: &keys,
        default_host: "a.example",
        language: "en",
        starttls: world.starttls,
        tls_required: world.required,
    })
}

fn header(machine: &mut Inbound, world: World, attributes: &str) -> (Order, String) {
    let mut out = Vec::new();
    let xml = format!("{HEADER} {attributes}>");
    let order = with_terms(world, |terms| {
        with_header(xml.as_bytes(), |found| {
            machine.header(terms, found, "id1", &mut out)
        })
    });
    (order, String::from_utf8(out).expect("text"))
}

fn element(machine: &mut Inbound, world: World, xml: &str) -> (Order, String) {
    let mut out = Vec::new();
    let order = with_terms(world, |terms| {
        with_found(xml.as_bytes(), |found| {
            machine.element(terms, found, &mut out)
        })
    });
    (order, String::from_utf8(out).expect("text"))
}

fn opened(world: World, secured: bool) -> Inbound {
    let mut machine = Inbound::new(secured);
    let (order, _) = header(&mut machine, world, "from='far.example' to='a.example'");
    assert_eq!(order, Order::Go);
    machine
}

fn condition(order: &Order) -> Option<StreamCondition> {
    match order {
        Order::End(error) => Some(error.condition),
        _ => None,
    }
}

#[test]
fn headers() {
    use StreamCondition::*;
    for (attributes, expected) in [
        ("from='far.example' to='a.example'", None),
        ("to='a.example'", None),
        ("from='far.example' to='A.Example'", None),
        ("from='far.example'", Some(ImproperAddressing)),
        ("from='far.example' to='c.example'", Some(HostUnknown)),
        ("from='b.example' to='a.example'", Some(InvalidFrom)),
        ("from='a.example' to='a.example'", Some(InvalidFrom)),
        ("from='' to='a.example'", Some(ImproperAddressing)),
        ("from='spam.example' to='a.example'", Some(PolicyViolation)),
    ] {
        let (order, out) = header(&mut Inbound::new(false), PLAIN, attributes);
        assert_eq!(condition(&order), expected, "{attributes}");
        assert_eq!(out.contains("id='id1'"), expected.is_none(), "{attributes}");
    }
}

#[test]
fn external_is_offered_to_whom_the_certificate_names() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let features =
        |world, secured, attributes| header(&mut Inbound::new(secured), world, attributes).1;
    let named = "from='far.example' to='a.example'";
    assert!(features(world, true, named).contains("EXTERNAL"));
    assert!(!features(world, false, named).contains("EXTERNAL"));
    assert!(!features(PLAIN, true, named).contains("EXTERNAL"));
    assert!(!features(world, true, "to='a.example'").contains("EXTERNAL"));
    assert!(!features(world, true, "from='other.example' to='a.example'").contains("EXTERNAL"));
}

#[test]
fn external() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let auth = |text| {
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{text}</auth>")
    };
    // "far.example", then "evil.example".
    for (text, right) in [
        ("", true),
        ("=", true),
        ("ZmFyLmV4YW1wbGU=", true),
        ("ZXZpbC5leGFtcGxl", false),
        ("?", false),
        ("/w==", false),
    ] {
        let mut machine = opened(world, true);
        let (order, out) = element(&mut machine, world, &auth(text));
        assert_eq!(order == Order::Restart, right, "{text} {out}");
        let proof = machine.proof("a.example", "far.example");
        assert_eq!(proof, right.then_some(Proof::Certificate), "{text}");
    }
    let mut machine = opened(PLAIN, true);
    for expected in [Order::Go, Order::Go] {
        assert_eq!(element(&mut machine, PLAIN, &auth("=")).0, expected);
    }
    let (order, _) = element(&mut machine, PLAIN, &auth("="));
    assert_eq!(condition(&order), Some(StreamCondition::PolicyViolation));
    assert!(machine.proven().is_empty());
}

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

#[test]
fn both_ways_is_offered_to_whom_the_certificate_names() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let named = "from='far.example' to='a.example'";
    for (world, secured, attributes, offered) in [
        (world, true, named, true),
        (world, false, named, false),
        (PLAIN, true, named, false),
        (world, true, "to='a.example'", false),
        (world, true, "from='other.example' to='a.example'", false),
    ] {
        let mut machine = Inbound::new(secured);
        let (_, out) = header(&mut machine, world, attributes);
        assert_eq!(out.contains("urn:xmpp:features:bidi"), offered, "{out}");
        // Who takes what was not offered is told what anybody is told.
        let (order, _) = element(&mut machine, world, BIDI);
        assert_eq!(order == Order::Go, offered, "{order:?}");
        assert_eq!(machine.both_ways(), None);
    }
}

#[test]
fn both_ways_with_external() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let mut machine = opened(world, true);
    assert_eq!(element(&mut machine, world, BIDI).0, Order::Go);
    assert_eq!(element(&mut machine, world, AUTH).0, Order::Restart);
    assert_eq!(machine.both_ways(), None, "there is no stream yet");
    let (_, out) = header(&mut machine, world, "from='far.example' to='a.example'");
    assert!(!out.contains("bidi"), "{out}");
    let pair = Pair::new("a.example", "far.example");
    assert_eq!(machine.both_ways(), Some(&pair));
    // Further pairs change nothing.
    element(&mut machine, world, &claim("far.example", "b.example"));
    assert_eq!(machine.both_ways(), Some(&pair));
    // Whoever does not ask for it does not get it, and asking late is too late.
    let mut machine = opened(world, true);
    assert_eq!(element(&mut machine, world, AUTH).0, Order::Restart);
    header(&mut machine, world, "from='far.example' to='a.example'");
    assert_eq!(element(&mut machine, world, BIDI).0, Order::Stanza);
    assert_eq!(machine.both_ways(), None);
}

#[test]
fn both_ways_with_dialback() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let own = claim("far.example", "a.example");
    let mut machine = opened(world, true);
    element(&mut machine, world, BIDI);
    element(&mut machine, world, &own);
    let pair = Pair::new("a.example", "far.example");
    assert_eq!(machine.both_ways(), Some(&pair));
    // Another pair first, or one about which somebody is being asked.
    for other in [
        claim("far.example", "b.example"),
        claim("x.example", "a.example"),
    ] {
        let mut machine = opened(world, true);
        element(&mut machine, world, BIDI);
        element(&mut machine, world, &other);
        element(&mut machine, world, &own);
        assert_eq!(machine.both_ways(), None, "{other}");
        assert!(machine.proof("a.example", "far.example").is_some());
    }
}

#[test]
fn the_stream_after_external_is_the_same() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let mut machine = opened(world, true);
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    assert_eq!(element(&mut machine, world, auth).0, Order::Restart);
    for attributes in [
        "from='far.example' to='b.example'",
        "from='x.example' to='a.example'",
    ] {
        let (order, _) = header(&mut machine, world, attributes);
        assert_eq!(
            condition(&order),
            Some(StreamCondition::InvalidFrom),
            "{attributes}"
        );
    }
    let (order, out) = header(&mut machine, world, "from='far.example' to='a.example'");
    assert_eq!(order, Order::Go);
    assert!(!out.contains("EXTERNAL"));
    assert_eq!(element(&mut machine, world, "<message/>").0, Order::Stanza);
}

fn claim(from: &str, to: &str) -> String {
    format!("<db:result from='{from}' to='{to}'>key</db:result>")
}

#[test]
fn dialback_proves_a_pair_and_no_other() {
    let mut machine = opened(PLAIN, false);
    let (order, out) = element(&mut machine, PLAIN, "<message/>");
    assert_eq!(
        condition(&order),
        Some(StreamCondition::NotAuthorized),
        "{out}"
    );
    let mut machine = opened(PLAIN, false);
    let (order, out) = element(&mut machine, PLAIN, &claim("far.example", "a.example"));
    let Order::Verify(question) = order else {
        panic!("{order:?}");
    };
    assert_eq!((&*question.id, &*question.key, &*out), ("id1", "key", ""));
    let mut out = Vec::new();
    // An answer that nobody asked for proves nothing.
    machine.verified("b.example", "far.example", Verdict::Valid, &mut out);
    machine.verified("a.example", "evil.example", Verdict::Valid, &mut out);
    assert!(machine.proven().is_empty() && out.is_empty());
    machine.verified("a.example", "far.example", Verdict::Valid, &mut out);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "<db:result from='a.example' to='far.example' type='valid'/>"
    );
    assert_eq!(
        machine.proof("a.example", "far.example"),
        Some(Proof::Dialback)
    );
    assert_eq!(machine.proof("b.example", "far.example"), None);
    assert_eq!(machine.proof("a.example", "sub.far.example"), None);
    assert_eq!(element(&mut machine, PLAIN, "<message/>").0, Order::Stanza);
    let (order, _) = element(
        &mut machine,
        PLAIN,
        &claim("rooms.far.example", "b.example"),
    );
    assert!(matches!(order, Order::Verify(_)), "multiplexing");
}

#[test]
fn claims_that_are_refused() {
    for (from, to, expected) in [
        ("far.example", "c.example", "item-not-found"),
        ("spam.example", "a.example", "not-allowed"),
        ("b.example", "a.example", "not-allowed"),
    ] {
        let (order, out) = element(&mut opened(PLAIN, false), PLAIN, &claim(from, to));
        assert_eq!(order, Order::Go);
        assert!(
            out.contains("type='error'") && out.contains(expected),
            "{out}"
        );
    }
    let required = World {
        starttls: true,
        required: true,
        ..PLAIN
    };
    let (_, out) = element(
        &mut opened(required, false),
        required,
        &claim("far.example", "a.example"),
    );
    assert!(out.contains("policy-violation"), "{out}");
    let mut machine = opened(PLAIN, false);
    for number in 0..ASKED_MAX {
        let (order, _) = element(
            &mut machine,
            PLAIN,
            &claim(&format!("x{number}.example"), "a.example"),
        );
        assert!(matches!(order, Order::Verify(_)));
    }
    let (_, out) = element(&mut machine, PLAIN, &claim("y.example", "a.example"));
    assert!(out.contains("resource-constraint"), "{out}");
}

#[test]
fn a_certificate_makes_asking_needless() {
    let world = World {
        certified: "far.example",
        ..PLAIN
    };
    let mut machine = opened(world, true);
    let (order, out) = element(&mut machine, world, &claim("far.example", "b.example"));
    assert_eq!(order, Order::Go);
    assert!(out.contains("type='valid'"), "{out}");
    assert_eq!(
        machine.proof("b.example", "far.example"),
        Some(Proof::Certificate)
    );
    let (order, _) = element(&mut machine, world, &claim("other.example", "b.example"));
    assert!(matches!(order, Order::Verify(_)));
}

#[test]
fn keys_are_known_again() {
    let keys = Keys::new(b"secret");
    let right = keys.key("far.example", "a.example", "their-id");
    for (key, verdict) in [(&*right, "valid"), ("0badcafe", "invalid"), ("", "invalid")] {
        let xml =
            format!("<db:verify from='far.example' to='a.example' id='their-id'>{key}</db:verify>");
        let (order, out) = element(&mut opened(PLAIN, false), PLAIN, &xml);
        assert_eq!(order, Order::Go);
        assert!(out.contains(&format!("type='{verdict}'")), "{out}");
    }
}

#[test]
fn starttls_only_at_the_beginning() {
    let world = World {
        starttls: true,
        ..PLAIN
    };
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let mut machine = opened(world, false);
    assert_eq!(element(&mut machine, world, starttls).0, Order::StartTls);
    assert!(machine.awaits());
    machine.secured();
    assert!(machine.expects_header());
    for mut machine in [opened(PLAIN, false), opened(world, true)] {
        assert_eq!(element(&mut machine, PLAIN, starttls).0, Order::Finish);
    }
    let mut machine = opened(world, false);
    element(&mut machine, world, &claim("far.example", "a.example"));
    assert_eq!(element(&mut machine, world, starttls).0, Order::Finish);
}
