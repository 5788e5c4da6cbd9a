//! The scanner against its naive twin: same items, same ends, same heads, same errors, and at the
//! same byte, whole and in any pieces; and against another parser, which must accept what we accept.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::naive;
use super::naive::Item;
use super::naive::Summary;
use super::*;

/// What one scanner says when so many bytes have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    More,
    Item(Item),
    Header(usize, Summary),
    Refused(&'static str),
}

/// Follows a stream with both scanners, as its bytes arrive in pieces that end at `splits`.
fn compare(limits: &Limits, scope: &StreamScope, input: &[u8], splits: &[usize]) {
    let mut scanner = Scanner::new();
    let mut start = 0;
    for &arrived in splits.iter().chain([&input.len()]) {
        loop {
            // At another place of memory each time.
            let bytes = input[start..arrived].to_vec();
            let ours = fast(&mut scanner, limits, scope, &bytes);
            let theirs = slow(limits, scope, &bytes);
            assert_eq!(
                ours,
                theirs,
                "{:?} {splits:?}",
                bytes.escape_ascii().to_string()
            );
            start += match ours {
                Outcome::More => break,
                Outcome::Refused(_) => return,
                Outcome::Item(Item::StreamEnd(_)) => return,
                Outcome::Item(Item::Whitespace(end) | Item::Element(end, _)) => end,
                Outcome::Header(end, _) => end,
            };
        }
    }
}

fn fast(scanner: &mut Scanner, limits: &Limits, scope: &StreamScope, bytes: &[u8]) -> Outcome {
    match scanner.scan(limits, scope, bytes) {
        Ok(Found::More) => Outcome::More,
        Ok(Found::Whitespace { end }) => Outcome::Item(Item::Whitespace(end)),
        Ok(Found::StreamEnd { end }) => Outcome::Item(Item::StreamEnd(end)),
        Ok(Found::Element { end }) => {
            let summary = Summary::of(scanner.head(), scope, bytes);
            Outcome::Item(Item::Element(end, Box::new(summary)))
        }
        Err(error) => Outcome::Refused(error.condition()),
    }
}

fn slow(limits: &Limits, scope: &StreamScope, bytes: &[u8]) -> Outcome {
    match naive::scan(limits, scope, bytes) {
        Ok(None) => Outcome::More,
        Ok(Some(item)) => Outcome::Item(item),
        Err(error) => Outcome::Refused(error.condition()),
    }
}

/// The same for a stream header.
fn compare_header(limits: &Limits, input: &[u8], splits: &[usize]) {
    let mut scanner = Scanner::new();
    for &arrived in splits.iter().chain([&input.len()]) {
        let bytes = input[..arrived].to_vec();
        let ours = match scanner.scan_header(limits, &bytes) {
            Ok(HeaderFound::More) => Outcome::More,
            Ok(HeaderFound::Header { end }) => {
                let summary = Summary::of(scanner.head(), &StreamScope::unbound(), &bytes);
                Outcome::Header(end, summary)
            }
            Err(error) => Outcome::Refused(error.condition()),
        };
        let theirs = match naive::scan_header(limits, &bytes) {
            Ok(None) => Outcome::More,
            Ok(Some((end, summary))) => Outcome::Header(end, summary),
            Err(error) => Outcome::Refused(error.condition()),
        };
        assert_eq!(ours, theirs, "{:?}", bytes.escape_ascii().to_string());
        if ours != Outcome::More {
            return;
        }
    }
}

/// expat ends the stream of a recipient whose separator is in a namespace name.
#[test]
fn no_namespace_name_holds_a_separator() {
    let verdict = |declaration: &str| {
        let stanza = format!("<message><body {declaration}>hi</body></message>");
        Scanner::new().scan(&Limits::default(), &scope(), stanza.as_bytes())
    };
    for bad in [
        "}", "{", "|", "^", "`", "\\", " ", "\t", "\n", "&#125;", "&#x20;", "&#10;",
    ] {
        for name in [
            format!("urn:{bad}x"),
            bad.to_owned(),
            format!("{}{bad}", "u".repeat(70)),
        ] {
            for declaration in [
                format!("xmlns='{name}'"),
                format!("xmlns=\"it's{name}\""),
                format!("xmlns:p='{name}'"),
            ] {
                assert_eq!(
                    verdict(&declaration),
                    Err(ScanError::NotWellFormed(Malformed::NamespaceName)),
                    "{declaration}"
                );
            }
        }
    }
    for good in [
        "xmlns='urn:x' a='b}c d'",
        "xmlns=\"it's\" a=' '",
        "xmlns='urn:&amp;x'",
        "xmlns:p='urn:é/~!$*'",
        "xmlns=''",
        "a='{}|^'",
    ] {
        assert!(matches!(verdict(good), Ok(Found::Element { .. })), "{good}");
    }
}

/// What we accept, another parser must accept: our elements would reach its users.
fn accepted_elsewhere(input: &[u8]) {
    // COMPAT(rxml 0.14): refuses a carriage return alone, which XML has as a line end.
    let is_alone = |pair: &[u8]| pair[0] == b'\r' && pair[1] != b'\n';
    if input.windows(2).any(is_alone) {
        return;
    }
    let mut scanner = Scanner::new();
    let mut end = 0;
    while let Ok(found) = scanner.scan(&Limits::default(), &scope(), &input[end..]) {
        end += match found {
            Found::Whitespace { end } | Found::Element { end } => end,
            Found::More | Found::StreamEnd { .. } => break,
        };
    }
    let header = b"<stream:stream xmlns='jabber:client' xmlns:d='urn:x' \
        xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>";
    let stream = [header, &input[..end], b"</stream:stream>"].concat();
    let mut parser = rxml::Parser::new();
    let mut rest = stream.as_slice();
    while !rest.is_empty() {
        let parsed = rxml::Parse::parse(&mut parser, &mut rest, true);
        assert!(parsed.is_ok(), "{parsed:?}: {}", stream.escape_ascii());
    }
}

/// Small bounds, so that short inputs reach them.
fn limits() -> impl Strategy<Value = Limits> {
    (20..200usize, 1..6usize, 0..6usize, 0..4usize, 4..20usize).prop_map(
        |(stanza_bytes_max, depth_max, attributes_max, namespaces_max, name_bytes_max)| Limits {
            stanza_bytes_max,
            depth_max,
            attributes_max,
            namespaces_max,
            name_bytes_max,
        },
    )
}

fn scope() -> StreamScope {
    StreamScope::declared(
        "jabber:client",
        "stream:stream",
        None,
        &[
            ("stream", STREAMS_NAMESPACE),
            ("db", "jabber:server:dialback"),
            ("d", "urn:x"),
        ],
    )
}

/// Words that XML streams are made of, and some that they must not be.
const WORDS: [&str; 72] = [
    "<",
    ">",
    "/",
    "</",
    "/>",
    "=",
    "'",
    "\"",
    " ",
    "\n",
    "\r\n",
    "&",
    ";",
    "#",
    ":",
    "a",
    "b",
    "a:",
    "d:",
    "db:",
    "stream:",
    "xml:lang",
    "xmlns",
    "xmlns:",
    "xmlns:a",
    "xmlns:b",
    "xmlns='",
    "='urn:x'",
    "='urn:y'",
    "='urn:}y'",
    "='urn: y'",
    "='urn:&#123;'",
    "='u'|\"'",
    "='",
    "' ",
    "<a>",
    "</a>",
    "<a/>",
    "<b ",
    "<d:e ",
    "</d:e>",
    "<a ",
    "&amp;",
    "&#65;",
    "&#x41;",
    "&#0;",
    "&nbsp;",
    "urn:&#120;",
    "]]>",
    "]",
    "]]",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?xml ",
    "<?",
    "?>",
    "<!DOCTYPE",
    "text",
    "é",
    "中",
    "😀",
    "\u{FFFF}",
    "\u{1}",
    "\u{D7}",
    "<message>",
    "</message>",
    "<stream:stream ",
    "</stream:stream>",
    "='http://www.w3.org/XML/1998/namespace'",
    "='http://www.w3.org/2000/xmlns/'",
    " version='1.0'",
];

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        12 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
        1 => (0..90usize).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// Elements that are mostly whole, of the shape that peers send.
fn elements() -> impl Strategy<Value = Vec<u8>> {
    let name =
        prop::sample::select(&["a", "message", "d:e", "p:q", "body", "long-name.of_17c"][..]);
    let value = prop::sample::select(
        &[
            "",
            "x",
            "urn:x",
            "urn:&#120;",
            "a&lt;b",
            "é",
            "1\n2",
            "\"",
            "juliet@example.com/b",
            "#",
        ][..],
    );
    let key = prop::sample::select(
        &[
            "from", "to", "id", "type", "xml:lang", "xmlns", "xmlns:p", "p:k", "d:k", "xmlns:d",
        ][..],
    );
    let attribute = (key, value).prop_map(|(key, value)| format!(" {key}='{value}'"));
    let tag = (name, prop::collection::vec(attribute, 0..5));
    let tag = tag.prop_map(|(name, attributes)| (name, attributes.concat()));
    let text = prop::sample::select(&["", "text", "a > b", "]] >", "кот", "&amp;", "\n  "][..]);
    let leaf = (tag.clone(), text.clone()).prop_map(|((name, attributes), text)| match text {
        "" => format!("<{name}{attributes}/>"),
        text => format!("<{name}{attributes}>{text}</{name}>"),
    });
    let element = leaf.prop_recursive(4, 16, 4, move |inner| {
        let content = prop::collection::vec((inner, text.clone()), 0..4);
        (tag.clone(), content).prop_map(|((name, attributes), content)| {
            let content: String = content.into_iter().map(|(e, text)| e + text).collect();
            format!("<{name}{attributes}>{content}</{name}>")
        })
    });
    prop::collection::vec(element, 1..4).prop_map(|all| all.concat().into_bytes())
}

/// Some of the bytes replaced, removed or doubled.
fn mutated(input: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0..4u8,
        any::<u8>(),
        prop::sample::select(&WORDS[..]),
    );
    (input, prop::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (index, kind, byte, word) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => drop(bytes.splice(at..at, word.bytes())),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn splits(len: usize, at: &[prop::sample::Index]) -> Vec<usize> {
    let mut splits: Vec<_> = at.iter().map(|index| index.index(len + 1)).collect();
    splits.sort_unstable();
    splits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_in_any_order(input in words(), limits in limits(), at: [prop::sample::Index; 3]) {
        compare(&Limits::default(), &scope(), &input, &splits(input.len(), &at));
        compare(&limits, &scope(), &input, &splits(input.len(), &at));
        compare_header(&limits, &input, &splits(input.len(), &at));
        accepted_elsewhere(&input);
    }

    #[test]
    fn elements_with_errors(input in mutated(elements()), at: [prop::sample::Index; 3]) {
        compare(&Limits::default(), &scope(), &input, &splits(input.len(), &at));
        compare(&Limits::default(), &scope(), &input, &(1..input.len()).collect::<Vec<_>>());
        compare_header(&Limits::default(), &input, &splits(input.len(), &at));
        accepted_elsewhere(&input);
    }

    #[test]
    fn headers_with_errors(
        declaration in prop::sample::select(&[
            "", " ", "<?xml version='1.0'?>", "<?xml version=\"1.0\" encoding='utf-8' ?>\n",
            "<?xml version='1.0' standalone='yes'?>", "<?xml version='1.0' encoding='latin1'?>",
        ][..]),
        input in mutated(elements()),
        limits in limits(),
    ) {
        let input = [declaration.as_bytes(), &input].concat();
        let each: Vec<_> = (1..input.len()).collect();
        compare_header(&Limits::default(), &input, &each);
        compare_header(&limits, &input, &each);
    }

    #[test]
    fn mutated_corpus(
        file in prop::sample::select(corpus()),
        cut in any::<prop::sample::Index>(),
        seed in mutated(Just(Vec::from(&b"<a>x</a>"[..]))),
        at: [prop::sample::Index; 3],
    ) {
        let cut = cut.index(file.len() + 1);
        let input = [&file[..cut], &seed, &file[cut..]].concat();
        compare(&Limits::default(), &scope(), &input, &splits(input.len(), &at));
        compare_header(&Limits::default(), &input, &splits(input.len(), &at));
        accepted_elsewhere(&input);
    }
}

/// The smaller files of the corpus.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xml");
    let folders = ["accept", "reject"].map(|name| fs::read_dir(folder.join(name)));
    let paths = folders
        .into_iter()
        .flat_map(|folder| folder.expect("the corpus is committed"));
    let mut files: Vec<_> = paths
        .map(|entry| fs::read(entry.expect("readable").path()).expect("readable"))
        .filter(|file| file.len() <= 1024)
        .collect();
    files.sort();
    assert!(files.len() > 200);
    files
}

#[test]
fn corpus_byte_by_byte() {
    for file in corpus() {
        let each: Vec<_> = (1..file.len()).collect();
        compare(&Limits::default(), &scope(), &file, &each);
        compare_header(&Limits::default(), &file, &each);
        accepted_elsewhere(&file);
    }
}

#[test]
fn anything_may_cross_the_end_of_a_block() {
    let tags = [
        "<a xmlns='urn:x' id='1'/>",
        "<a xml:lang='en' from=\"x@y/z\" to='q'>it's</a >",
        "<item name='M. &amp; co' xmlns:p='urn:p' p:x='\u{434}'><p:b/>]] ></item>",
        "<active xmlns='http://jabber.org/protocol/chatstates'/>",
        "<a xmlns='urn:{'/>",
        "<a  node='1'\n name='2'\tnode='3'/>",
        "<presences>\u{434}\n&gt;\"</presences>",
        "<a b='\"'></ a>",
        "<?x?>",
    ];
    for before in 0..140 {
        for tag in tags {
            let filled = "x".repeat(before);
            let text = format!("<m>{filled}{tag}</m>");
            let value = format!("<m>{}</m>", tag.replacen("='", &format!("='{filled}"), 1));
            for input in [text, value] {
                compare(&Limits::default(), &scope(), input.as_bytes(), &[]);
            }
        }
    }
}

#[test]
fn attributes_are_counted_and_told_apart() {
    let names = (0..80).map(|i| match i {
        3 => "xml:lang".into(),
        // Of these some are the same as the hash has it.
        _ => format!(
            "{}{}",
            char::from(b'a' + i % 26),
            "y".repeat(usize::from(i / 26))
        ),
    });
    let names: Vec<String> = names.collect();
    for attributes_max in [0, 1, 5, 63, 64, 65, 200] {
        let limits = Limits {
            attributes_max,
            ..Limits::default()
        };
        for count in [0, 1, 3, 4, 5, 6, 62, 63, 64, 65, 66, 80] {
            let attributes: String = names[..count].iter().map(|n| format!(" {n}='v'")).collect();
            for again in ["", " xml:lang='q'", " a='q'", " zy='q'"] {
                let input = format!("<a{attributes}{again}><b{again}{attributes}/></a>");
                compare(&limits, &scope(), input.as_bytes(), &[]);
            }
        }
    }
}

#[test]
fn sizes() {
    assert_eq!(size_of::<StreamScope>(), 16);
    assert_eq!(size_of::<Attribute>(), 20);
    assert!(size_of::<Scanner>() <= 400, "{}", size_of::<Scanner>());
}
