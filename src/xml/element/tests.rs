//! Tables of seeds, round trips, and quick-xml as a second reader of what is written.

use proptest::prelude::*;

use super::*;

const NS: &str = "jabber:client";

fn parse(text: &str) -> Result<Element, ParseError> {
    Element::parse(
        text.as_bytes(),
        NS,
        &[("s", "urn:stream"), ("", "urn:ignored")],
    )
}

fn written(element: &Element, inherited: &str) -> String {
    let mut out = Vec::new();
    element.write(&mut out, inherited);
    String::from_utf8(out).unwrap()
}

#[test]
fn written_back() {
    for (text, expected) in [
        ("<a/>", "<a/>"),
        (" <a ></a >\n", "<a/>"),
        ("<a x='1' y=\"2\"/>", "<a x='1' y='2'/>"),
        ("<a x = '&lt;&#x41;&#66;&apos;'/>", "<a x='&lt;AB&apos;'/>"),
        ("<a x='a\tb\r\nc\rd&#10;'/>", "<a x='a b c d&#10;'/>"),
        ("<a>a\r\nb\rc&#13;</a>", "<a>a\nb\nc&#13;</a>"),
        (
            "<a>1<![CDATA[<&\r\n]]]]><![CDATA[>]]>2</a>",
            "<a>1&lt;&amp;\n]]&gt;2</a>",
        ),
        ("<a><b/>t<c>u</c></a>", "<a><b/>t<c>u</c></a>"),
        ("<a xmlns='urn:x'><b/></a>", "<a xmlns='urn:x'><b/></a>"),
        (
            "<a><b xmlns='urn:x'><c xmlns='jabber:client'/></b></a>",
            "<a><b xmlns='urn:x'><c xmlns='jabber:client'/></b></a>",
        ),
        ("<a xmlns='jabber:client'/>", "<a/>"),
        ("<a xmlns=''><b/></a>", "<a xmlns=''><b/></a>"),
        (
            "<p:a xmlns:p='urn:x'><p:b/><c/></p:a>",
            "<a xmlns='urn:x'><b/><c xmlns='jabber:client'/></a>",
        ),
        ("<s:a/>", "<a xmlns='urn:stream'/>"),
        (
            "<s:a xmlns:s='urn:y'><s:b/></s:a>",
            "<a xmlns='urn:y'><b/></a>",
        ),
        ("<a xml:lang='de'/>", "<a xml:lang='de'/>"),
        ("<xml:a><b/></xml:a>", "<xml:a><b/></xml:a>"),
        (
            "<a s:x='1' x='2' s:y='3' xmlns:q='urn:q' q:x='4'/>",
            "<a xmlns:ns0='urn:stream' ns0:x='1' x='2' ns0:y='3' xmlns:ns1='urn:q' ns1:x='4'/>",
        ),
        (
            "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
            "<a/>",
        ),
        (
            "<\u{e9}\u{4e00} \u{f1}='\u{1f600}'/>",
            "<\u{e9}\u{4e00} \u{f1}='\u{1f600}'/>",
        ),
    ] {
        let element = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(written(&element, NS), expected, "{text}");
        assert_eq!(parse(expected).as_ref(), Ok(&element), "{text}");
    }
}

#[test]
fn refused() {
    use ParseError::*;
    for (text, error) in [
        ("", Syntax),
        ("a", Syntax),
        ("<", Syntax),
        ("<a", Syntax),
        ("<a/", Syntax),
        ("<a>", Syntax),
        ("<a></b>", Syntax),
        ("</a>", Syntax),
        ("<a/><b/>", Syntax),
        ("<a/>x", Syntax),
        ("x<a/>", Syntax),
        ("< a/>", Syntax),
        ("<a / >", Syntax),
        ("<a x/>", Syntax),
        ("<a x=1/>", Syntax),
        ("<a x='1'y='2'/>", Syntax),
        ("<a x='<'/>", Syntax),
        ("<a x='1/>", Syntax),
        ("<1/>", Syntax),
        ("<:a/>", Syntax),
        ("<a:/>", Syntax),
        ("<s:a:b/>", Syntax),
        ("<a -x='1'/>", Syntax),
        ("<a>]]></a>", Syntax),
        ("<![CDATA[]]><a/>", Syntax),
        ("<a><![CDATA[</a>", Syntax),
        ("<xmlns:a/>", Syntax),
        ("<!-- --><a/>", Restricted),
        ("<a><!-- --></a>", Restricted),
        ("<a><?x?></a>", Restricted),
        ("<!DOCTYPE a><a/>", Restricted),
        ("<a>&</a>", Reference),
        ("<a>&nbsp;</a>", Reference),
        ("<a>&#0;</a>", Reference),
        ("<a>&#xD800;</a>", Reference),
        ("<a>&#xfffe;</a>", Reference),
        ("<a>&#+65;</a>", Reference),
        ("<a>&#;</a>", Reference),
        ("<a>&#99999999999;</a>", Reference),
        ("<a x='&lt'/>", Reference),
        ("<a>\u{1}</a>", Character),
        ("<a x='\u{ffff}'/>", Character),
        ("<a><![CDATA[\u{1}]]></a>", Character),
        ("<p:a/>", Unbound),
        ("<a p:x='1'/>", Unbound),
        ("<a><b xmlns:p='urn:x'/><p:c/></a>", Unbound),
        ("<a xmlns:p=''/>", Declaration),
        ("<a xmlns:xmlns='urn:x'/>", Declaration),
        ("<a xmlns:xml='urn:x'/>", Declaration),
        (
            "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            Declaration,
        ),
        ("<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", Declaration),
        ("<a xmlns:='urn:x'/>", Declaration),
        ("<a x='1' x='2'/>", Duplicate),
        ("<a xmlns:p='urn:stream' p:x='1' s:x='2'/>", Duplicate),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
    assert_eq!(Element::parse(b"<a>\xff</a>", NS, &[]), Err(Encoding));
}

/// The same declaration twice is one attribute twice.
#[test]
fn declarations_twice() {
    for text in ["<a xmlns='x' xmlns='y'/>", "<a xmlns:p='x' xmlns:p='x'/>"] {
        assert_eq!(parse(text), Err(ParseError::Duplicate), "{text}");
    }
    assert!(parse("<a xmlns:p='x'><b xmlns:p='y'/></a>").is_ok());
}

#[test]
fn bounds() {
    let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(ParseError::TooDeep));
    let wide = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count - 1));
    assert!(parse(&wide(ELEMENTS_MAX)).is_ok());
    assert_eq!(parse(&wide(ELEMENTS_MAX + 1)), Err(ParseError::TooMany));
    let declared = |depth: usize| {
        let all: String = (0..4)
            .map(|number| format!(" xmlns:a{number}='x'"))
            .collect();
        format!(
            "{}{}",
            format!("<a{all}>").repeat(depth),
            "</a>".repeat(depth)
        )
    };
    assert!(parse(&declared(BINDINGS_MAX / 4 - 1)).is_ok());
    assert_eq!(parse(&declared(BINDINGS_MAX / 4)), Err(ParseError::TooMany));
    let attributes = |count: usize| {
        let all: String = (0..count).map(|number| format!(" a{number}=''")).collect();
        format!("<a{all}/>")
    };
    assert!(parse(&attributes(ATTRIBUTES_MAX)).is_ok());
    assert_eq!(
        parse(&attributes(ATTRIBUTES_MAX + 1)),
        Err(ParseError::TooMany)
    );
}

#[test]
fn accessors() {
    let iq = parse(
        "<iq id='1' xml:lang='en'>a<query xmlns='urn:q'><item/>x</query>b<item/><item n='2'/></iq>",
    )
    .unwrap();
    assert_eq!((iq.name(), iq.ns()), ("iq", NS));
    assert_eq!((iq.attr("id"), iq.attr("lang")), (Some("1"), None));
    assert_eq!(iq.attr_ns("lang", XML_NAMESPACE), Some("en"));
    assert_eq!(iq.attributes().count(), 2);
    assert_eq!(iq.children().count(), 3);
    assert_eq!(iq.nodes().len(), 5);
    assert_eq!(iq.text(), "ab");
    let query = iq.child("query", "urn:q").unwrap();
    assert!(matches!(query.text(), Cow::Borrowed("x")));
    assert!(query.child("item", "urn:q").is_some() && query.child("item", NS).is_none());
    assert_eq!(iq.child("item", NS).unwrap().attr("n"), None);
    assert!(iq.child("query", NS).is_none());
    assert!(!format!("{iq:?}").contains("id"));
}

#[test]
fn built() {
    let built = Element::new("query", "urn:q")
        .with_attr("x", "1")
        .with_attr("x", "2")
        .with_attr_ns("lang", XML_NAMESPACE, "en")
        .with_child(Element::in_namespace("item", &String::from("urn:q")).with_text("<"))
        .with_child(Element::new("other", ""))
        .with_text("a")
        .with_text("")
        .with_text("b\0");
    let expected = "<query xmlns='urn:q' x='2' xml:lang='en'><item>&lt;</item><other xmlns=''/>\
                    ab</query>";
    assert_eq!(built.to_string(), expected);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_][a-z0-9.-]{0,4}", Just("\u{e9}".to_owned())]
}

fn namespace() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["", NS, "urn:a", "urn:'<&\"b", "urn:c\u{e9}", XML_NAMESPACE][..])
}

fn leaf() -> impl Strategy<Value = Element> {
    let attributes = proptest::collection::vec((name(), namespace(), ".{0,4}"), 0..4);
    (
        name(),
        namespace(),
        attributes,
        "[ -~\t\n\r\u{e9}\u{fffd}]{0,6}",
    )
        .prop_map(|(name, namespace, attributes, text)| {
            let element = Element::new(&name, namespace).with_text(&text);
            attributes
                .into_iter()
                .fold(element, |element, (name, namespace, value)| {
                    let value: String = value
                        .chars()
                        .filter(|c| crate::xml::write::is_char(*c))
                        .collect();
                    element.with_attr_ns(&name, namespace, &value)
                })
        })
}

fn tree() -> impl Strategy<Value = Element> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        (
            leaf(),
            proptest::collection::vec((inner, "[a-z<]{0,3}"), 0..4),
        )
            .prop_map(|(parent, children)| {
                children.into_iter().fold(parent, |parent, (child, text)| {
                    parent.with_child(child).with_text(&text)
                })
            })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(element in tree(), inherited in namespace()) {
        prop_assume!(inherited != XML_NAMESPACE);
        let text = written(&element, inherited);
        let read = Element::parse(text.as_bytes(), inherited, &[]);
        prop_assert_eq!(read.as_ref(), Ok(&element), "{}", text);
        // A namespace is declared only where it changes.
        prop_assert_eq!(text.matches(" xmlns='").count(), changes(&element, inherited));
    }

    #[test]
    fn another_reader_agrees(element in tree()) {
        let text = written(&element, "");
        let mut reader = quick_xml::NsReader::from_str(&text);
        let mut found = Vec::new();
        loop {
            let (namespace, event) = reader.read_resolved_event().expect("well-formed");
            let namespace = match namespace {
                quick_xml::name::ResolveResult::Bound(namespace) => namespace.0.as_bytes().to_vec(),
                quick_xml::name::ResolveResult::Unbound => Vec::new(),
                quick_xml::name::ResolveResult::Unknown(prefix) => panic!("{prefix:?} in {text}"),
            };
            match event {
                quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                    found.push((namespace, tag.local_name().as_ref().as_bytes().to_vec()));
                }
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        let mut expected = Vec::new();
        names(&element, &mut expected);
        prop_assert_eq!(found, expected, "{}", text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Element::parse(&bytes, NS, &[]);
    }

    #[test]
    fn any_markup(text in "[<>/a:='\" !\\[\\]CDATA&;#x?-]{0,48}|(<a( (xmlns|xmlns:b|b:c|d)='[&#;b4]{0,4}')?/?>|</a>|t){0,9}") {
        if let Ok(element) = parse(&text) {
            let again = written(&element, NS);
            prop_assert_eq!(parse(&again), Ok(element), "{}", again);
        }
    }
}

fn changes(element: &Element, inherited: &str) -> usize {
    let is_xml = element.ns() == XML_NAMESPACE;
    let inside = if is_xml { inherited } else { element.ns() };
    usize::from(!is_xml && inside != inherited)
        + element
            .children()
            .map(|child| changes(child, inside))
            .sum::<usize>()
}

/// As quick-xml has them: namespaces as they are written.
fn names(element: &Element, into: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let mut namespace = Vec::new();
    crate::xml::write::escape_attribute(element.ns(), &mut namespace);
    into.push((namespace, element.name().as_bytes().to_vec()));
    for child in element.children() {
        names(child, into);
    }
}
