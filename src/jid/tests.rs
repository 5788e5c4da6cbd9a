//! Tables of seeds, and the jid crate as the oracle.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem::size_of;

use proptest::prelude::*;

use super::*;

/// What the oracle makes of the same text. Its own rendering is not used: where a root dot is cut
/// off it forgets to shorten the text, so it is asked part by part.
fn oracle(text: &str) -> Option<(Option<String>, String, Option<String>)> {
    let head = text.split('/').next().unwrap_or_default();
    if head.matches('@').count() > 1 {
        return None;
    }
    let resource = text.split_once('/').map(|(_, resource)| resource);
    let (node, domain) = match head.split_once('@') {
        Some((node, domain)) => (Some(node), domain),
        None => (None, head),
    };
    let node = node
        .map(jid::NodePart::new)
        .transpose()
        .ok()?
        .map(|n| n.into_owned().to_string());
    let domain = jid::DomainPart::new(domain).ok()?.into_owned().to_string();
    let resource = resource
        .map(jid::ResourcePart::new)
        .transpose()
        .ok()?
        .map(|r| r.into_owned().to_string());
    Some((node, domain, resource))
}

fn ours(text: &str) -> Result<(Option<String>, String, Option<String>), JidError> {
    parse(text).map(|parts| {
        (
            parts.node.map(Cow::into_owned),
            parts.domain.into_owned(),
            parts.resource.map(Cow::into_owned),
        )
    })
}

/// Equal to the oracle, or refused by our two rules beyond the profiles.
fn agrees(text: &str) {
    match (ours(text), oracle(text)) {
        (Ok(ours), theirs) => assert_eq!(Some(ours), theirs, "{text:?}"),
        (Err(JidError::Unstable(_)), Some((node, domain, resource))) => {
            let node_again = node
                .as_deref()
                .map(|n| jid::NodePart::new(n).map(|n| n.to_string()));
            let domain_again = jid::DomainPart::new(&domain).map(|d| d.to_string());
            let resource_again = resource
                .as_deref()
                .map(|r| jid::ResourcePart::new(r).map(|r| r.to_string()));
            let stable = node_again.and_then(Result::ok) == node
                && domain_again.ok() == Some(domain)
                && resource_again.and_then(Result::ok) == resource;
            assert!(!stable, "{text:?} is stable");
        }
        (Err(JidError::TooLong), Some(_)) => assert!(text.len() > JID_BYTES_MAX, "{text:?}"),
        (Err(_), None) => {}
        (Err(error), Some(theirs)) => panic!("{text:?}: {error}, but {theirs:?}"),
    }
}

#[test]
fn accepted() {
    for (text, prepared) in [
        ("juliet@example.com", "juliet@example.com"),
        ("juliet@example.com/foo", "juliet@example.com/foo"),
        ("juliet@example.com/foo bar", "juliet@example.com/foo bar"),
        ("juliet@example.com/foo@bar", "juliet@example.com/foo@bar"),
        ("example.com/a/b@c", "example.com/a/b@c"),
        ("foo\\20bar@example.com", "foo\\20bar@example.com"),
        ("fussball@example.com", "fussball@example.com"),
        ("fu\u{df}ball@example.com", "fussball@example.com"),
        ("\u{3c0}@example.com", "\u{3c0}@example.com"),
        ("\u{3a3}@example.com/foo", "\u{3c3}@example.com/foo"),
        ("king@example.com/\u{265a}", "king@example.com/\u{265a}"),
        ("Juliet@EXAMPLE.com/Foo", "juliet@example.com/Foo"),
        ("example.com.", "example.com"),
        ("a@example.com./r", "a@example.com/r"),
        ("a@127.0.0.1", "a@127.0.0.1"),
        ("a@[::1]/r", "a@[::1]/r"),
        ("m\u{fc}nchen.de", "m\u{fc}nchen.de"),
        ("M\u{dc}NCHEN.de", "m\u{fc}nchen.de"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("_xmpp-client._tcp.example", "_xmpp-client._tcp.example"),
        ("a\u{ad}b@example.com", "ab@example.com"),
        ("\u{ff41}@\u{ff42}.example/\u{ff43}", "a@b.example/c"),
    ] {
        assert_eq!(
            text.parse::<Jid>().map(|jid| jid.to_string()),
            Ok(prepared.into()),
            "{text}"
        );
        agrees(text);
    }
}

#[test]
fn refused() {
    use JidError::*;
    use Part::*;
    for (text, error) in [
        ("", Empty(Domain)),
        ("@", Empty(Node)),
        ("@example.com", Empty(Node)),
        ("a@", Empty(Domain)),
        ("a@/r", Empty(Domain)),
        ("/r", Empty(Domain)),
        ("example.com/", Empty(Resource)),
        ("a@example.com/", Empty(Resource)),
        ("a@b@example.com", SecondAt),
        ("a@@example.com", SecondAt),
        ("\"juliet\"@example.com", Prohibited(Node)),
        ("foo bar@example.com", Prohibited(Node)),
        ("a:b@example.com", Prohibited(Node)),
        ("henry\u{2163}@a b", Prohibited(Domain)),
        ("\u{ff20}@example.com", Prohibited(Node)),
        ("a@example.com/\u{7}", Prohibited(Resource)),
        ("a@example.com/\u{e9}\u{7}", Prohibited(Resource)),
        ("a..b", Prohibited(Domain)),
        (".", Prohibited(Domain)),
        (".a", Prohibited(Domain)),
        ("a..", Prohibited(Domain)),
        ("-a.b", Prohibited(Domain)),
        ("a-.b", Prohibited(Domain)),
        ("ab--c", Prohibited(Domain)),
        ("xn--a", Prohibited(Domain)),
        ("a@[::1", Prohibited(Domain)),
        ("a@[1.2.3.4]", Prohibited(Domain)),
        ("a@::1", Prohibited(Domain)),
        ("a\u{ff0f}b", Prohibited(Domain)),
        ("\u{ad}@example.com", Empty(Node)),
        ("\u{1f130}@example.com", Unstable(Node)),
    ] {
        assert_eq!(
            parse(text).map(|parts| parts.to_jid()),
            Err(error),
            "{text:?}"
        );
        agrees(text);
    }
}

#[test]
fn lengths() {
    let long = "a".repeat(PART_BYTES_MAX);
    for text in [format!("{long}@b/{long}"), format!("b/{long}")] {
        assert!(parse(&text).is_ok());
        agrees(&text);
    }
    for text in [
        format!("{long}a@b"),
        format!("b/{long}a"),
        format!("{}.b", "a".repeat(64)),
    ] {
        assert!(parse(&text).is_err());
        agrees(&text);
    }
    let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    assert_eq!(name.len(), 253);
    assert!(parse(&name).is_ok());
    assert!(parse(&format!("{name}b")).is_err());
    // Three bytes become 33: the length is that of the result.
    assert_eq!(
        resource_prep(&"\u{fdfa}".repeat(31)).map(|r| r.len()),
        Ok(1023)
    );
    let long = "\u{fdfa}".repeat(32);
    assert_eq!(
        resource_prep(&long),
        Err(JidError::PartTooLong(Part::Resource))
    );
    assert_eq!(
        resource_prep(&"\u{e9}".repeat(9999)),
        Err(JidError::TooLong)
    );
    assert_eq!(
        parse(&"a".repeat(JID_BYTES_MAX + 1)).err(),
        Some(JidError::TooLong)
    );
}

#[test]
fn prepared_ascii_is_borrowed() {
    for text in [
        "a",
        "a@b",
        "a@b/c",
        "b/c",
        "user.name+tag@chat.example.org/Phone 7{}",
    ] {
        let parts = parse(text).unwrap();
        assert!(parts.is_as_given());
        assert!(matches!(parts.full(), Cow::Borrowed(full) if full == text));
        let bare = text.split('/').next().unwrap();
        assert!(matches!(parts.bare(), Cow::Borrowed(found) if found == bare));
    }
    for text in ["A@b", "a@b.", "a@b./c", "a@b/\u{e9}\u{301}"] {
        let parts = parse(text).unwrap();
        assert_eq!(parts.full(), text.parse::<Jid>().unwrap().as_str());
        assert!(!parts.is_as_given() || parts.full() == text);
    }
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Jid>(), 24);
    assert_eq!(size_of::<Option<FullJid>>(), 24);
    assert_eq!(size_of::<JidError>(), 2);
}

#[test]
fn owned_parts() {
    let jid: Jid = "a@b.c/d/e".parse().unwrap();
    assert_eq!(
        (jid.node(), jid.domain(), jid.resource()),
        (Some("a"), "b.c", Some("d/e"))
    );
    assert_eq!((jid.bare(), jid.is_bare()), ("a@b.c", false));
    assert_eq!(jid.to_bare().as_str(), "a@b.c");
    assert_eq!(jid.with_resource("x").unwrap().as_str(), "a@b.c/x");
    assert_eq!(jid.to_bare().with_resource("x").unwrap().resource(), "x");
    assert_eq!(
        jid.with_resource("").err(),
        Some(JidError::Empty(Part::Resource))
    );
    let host: BareJid = "b.c".parse().unwrap();
    assert_eq!(
        (host.node(), host.domain(), host.resource()),
        (None, "b.c", None)
    );
    assert_eq!("b.c/r".parse::<BareJid>(), Err(JidError::ResourcePresent));
    assert_eq!("b.c".parse::<FullJid>(), Err(JidError::ResourceMissing));
    assert_eq!(
        Jid::new(Some("A"), "B.", Some("C")).unwrap().as_str(),
        "a@b/C"
    );
    assert_eq!(
        Jid::new(Some("a@b"), "c", None),
        Err(JidError::Prohibited(Part::Node))
    );
    assert_eq!(
        Jid::new(None, "c/d", None),
        Err(JidError::Prohibited(Part::Domain))
    );
}

#[test]
fn found_by_text() {
    let map = HashMap::from([("a@b".parse::<BareJid>().unwrap(), 1)]);
    assert_eq!(map.get("a@b"), Some(&1));
    assert_eq!(map.get(parse("A@B/c").unwrap().bare().as_ref()), Some(&1));
}

/// Every character of the planes that have any, around a letter, in each part.
#[test]
fn every_character() {
    for c in ('\0'..'\u{30000}').chain('\u{e0000}'..'\u{e0200}') {
        if c == '@' || c == '/' {
            continue;
        }
        let text = format!("{c}a{c}");
        let check =
            |ours: Result<Cow<'_, str>, JidError>, theirs: Option<String>, part: &str| match ours {
                Ok(ours) => assert_eq!(Some(ours.as_ref()), theirs.as_deref(), "{part} {c:?}"),
                Err(JidError::Unstable(_)) => assert!(theirs.is_some(), "{part} {c:?}"),
                Err(_) => assert_eq!(theirs, None, "{part} {c:?}"),
            };
        check(
            node_prep(&text),
            jid::NodePart::new(&text).ok().map(|n| n.to_string()),
            "node",
        );
        check(
            domain_prep(&text),
            jid::DomainPart::new(&text).ok().map(|d| d.to_string()),
            "domain",
        );
        check(
            resource_prep(&text),
            jid::ResourcePart::new(&text).ok().map(|r| r.to_string()),
            "resource",
        );
    }
}

fn address() -> impl Strategy<Value = String> {
    let letters = prop_oneof![
        6 => "[a-z0-9.-]{0,12}",
        2 => "[ -~]{0,12}",
        2 => "[a-zA-Z@/.\u{ad}\u{df}\u{e9}\u{301}\u{3a3}\u{5d0}\u{3002}\u{ff0f}\u{ff20}\u{fdfa}-]{0,10}",
        1 => "\\PC{0,8}",
        1 => ".{0,6}",
    ];
    (
        proptest::option::of(letters.clone()),
        letters.clone(),
        proptest::option::of(letters),
    )
        .prop_map(|(node, domain, resource)| {
            let node = node.map(|node| node + "@").unwrap_or_default();
            node + &domain
                + &resource
                    .map(|resource| format!("/{resource}"))
                    .unwrap_or_default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn like_the_oracle(text in address()) {
        agrees(&text);
    }

    #[test]
    fn prepared_is_final(text in address()) {
        if let Ok(jid) = text.parse::<Jid>() {
            let again = parse(jid.as_str()).expect("a prepared address is an address").to_jid();
            prop_assert_eq!(&again, &jid);
            prop_assert_eq!(again.node(), jid.node());
            prop_assert_eq!(again.resource(), jid.resource());
            let parts = parse(&text).expect("it parsed before");
            prop_assert_eq!(parts.full(), jid.as_str());
            prop_assert_eq!(parts.bare(), jid.bare());
        }
    }
}
