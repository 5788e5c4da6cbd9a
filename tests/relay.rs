//! What one client sends another receives with the same meaning: random stanzas, written in random
//! ways, are scanned and relayed, and read back by rxml as if they stood in the recipient's stream.
//!
//! The same parser reads them in the sender's stream, so nothing here knows what a stanza means;
//! only `from`, `to` and the inherited language may differ, and only as the relay is told.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rxml::Event;
use rxml::Parse;
use rxml::Parser;

use meerkat::proto::ns;
use meerkat::proto::stanza::Stanza;
use meerkat::proto::stanza::relay::Stamp;
use meerkat::proto::stanza::relay::relay;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;

/// The stream header of every recipient.
const ORDINARY: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Elements within each other in a random stanza.
const DEPTH_MAX: usize = 5;

/// What XML says, whichever way it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Start(String, BTreeMap<String, String>),
    Text(String),
    End,
}

/// Reads the elements below `header`.
fn read(header: &str, stanza: &[u8]) -> Result<Vec<Piece>, String> {
    let mut document = header.as_bytes().to_vec();
    document.extend_from_slice(stanza);
    let mut parser = Parser::default();
    let mut rest = document.as_slice();
    let mut pieces = Vec::new();
    let name = |namespace: &str, local: &str| format!("{{{namespace}}}{local}");
    loop {
        match parser.parse(&mut rest, false) {
            Ok(Some(Event::XmlDeclaration(..))) => {}
            Ok(Some(Event::StartElement(_, (namespace, local), attributes))) => {
                let attributes = attributes
                    .iter()
                    .map(|((namespace, local), value)| (name(namespace, local), value.clone()));
                pieces.push(Piece::Start(name(&namespace, &local), attributes.collect()));
            }
            Ok(Some(Event::EndElement(_))) => pieces.push(Piece::End),
            Ok(Some(Event::Text(_, text))) => match pieces.last_mut() {
                Some(Piece::Text(last)) => last.push_str(&text),
                _ => pieces.push(Piece::Text(text)),
            },
            Ok(None) | Err(rxml::error::EndOrError::NeedMoreData) => break,
            Err(rxml::error::EndOrError::Error(error)) => return Err(error.to_string()),
        }
    }
    // The header itself.
    Ok(pieces.split_off(1))
}

/// Random choices, as many as are asked for.
struct Dice<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Dice<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(byte) % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == bound - 1
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const SPACES: &[&str] = &[" ", "\n", "\t", "  \r\n ", " "];
const NAMES: &[&str] = &[
    "a", "body", "x", "from", "to", "Б", "a-b.c_1", "iq", "message",
];
const PREFIXES: &[&str] = &["p", "q", "x", "stream", "Ж"];
const NAMESPACES: &[(&str, &str)] = &[
    ("urn:a", "urn:a"),
    ("urn:b&'\"<", "urn:b&amp;&apos;&quot;&lt;"),
    ("jabber:client", "jabber:client"),
    ("jabber:server", "jabber&#58;server"),
    (
        "http://etherx.jabber.org/streams",
        "http://etherx.jabber.org/streams",
    ),
];
/// Parts of values and text, as they are written; quotes are left out, they depend on the place.
const TEXTS: &[&str] = &[
    "a",
    " ",
    "&amp;",
    "&lt;",
    "&gt;",
    "&apos;",
    "&quot;",
    "&#10;",
    "&#x9;",
    "&#xD;",
    "&#x1F339;",
    "\u{1F339}",
    "Ж",
    "]]",
    ">x",
    "\u{FFFD}",
    "\u{2028}",
    "=",
    "/",
    "\n",
    "\t",
];

/// Writes a stanza, and the header of the stream that it stands in.
struct Writer<'a> {
    dice: Dice<'a>,
    out: String,
}

/// What prefixes stand for; the empty one is the default namespace.
type Scope = BTreeMap<String, String>;

impl Writer<'_> {
    fn space(&mut self) {
        let space = *self.dice.pick(SPACES);
        self.out.push_str(space);
    }

    fn maybe_space(&mut self) {
        if self.dice.one_in(3) {
            self.space();
        }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.space();
        self.out.push_str(name);
        self.maybe_space();
        self.out.push('=');
        self.maybe_space();
        let (quote, value) = if self.dice.one_in(2) {
            ('"', value)
        } else {
            ('\'', value)
        };
        self.out.push(quote);
        self.out.push_str(value);
        self.out.push(quote);
    }

    fn value(&mut self) -> String {
        let parts = self.dice.below(4);
        (0..parts).map(|_| *self.dice.pick(TEXTS)).collect()
    }

    fn text(&mut self) {
        for _ in 0..self.dice.below(4) {
            let part = *self.dice.pick(TEXTS);
            match self.dice.below(4) {
                0 => self.out += &format!("<![CDATA[{part}<&'\"]]]>"),
                1 => self.out += "'\"",
                // "]]>" may not stand in text.
                _ if self.out.ends_with(']') => self.out.push(' '),
                _ => self.out.push_str(part),
            }
        }
    }

    /// Declarations of a tag: in `scope` at once, for writing at any place of the tag.
    fn declarations(&mut self, scope: &mut Scope) -> Vec<(String, String)> {
        let mut declared = BTreeMap::new();
        for _ in 0..self.dice.below(3) {
            let prefix = *self.dice.pick(PREFIXES);
            let (namespace, written) = *self.dice.pick(NAMESPACES);
            scope.insert(prefix.to_owned(), namespace.to_owned());
            declared.insert(format!("xmlns:{prefix}"), written.to_owned());
        }
        declared.into_iter().collect()
    }

    /// Attributes of a tag, no two of which have one expanded name, nor one of `taken`.
    fn attributes(&mut self, scope: &Scope, taken: &[&str]) -> Vec<(String, String)> {
        let mut expanded = Vec::new();
        let mut attributes = Vec::new();
        for _ in 0..self.dice.below(4) {
            let name = *self.dice.pick(NAMES);
            let prefixes: Vec<&String> = scope.keys().filter(|prefix| !prefix.is_empty()).collect();
            let (key, written) = if prefixes.is_empty() || self.dice.one_in(2) {
                ((String::new(), name), name.to_owned())
            } else {
                let prefix = *self.dice.pick(&prefixes);
                ((scope[prefix].clone(), name), format!("{prefix}:{name}"))
            };
            if (key.0.is_empty() && taken.contains(&name)) || expanded.contains(&key) {
                continue;
            }
            expanded.push(key);
            attributes.push((written, self.value()));
        }
        attributes
    }

    /// The rest of a tag, in any order.
    fn tag(&mut self, mut attributes: Vec<(String, String)>) {
        while !attributes.is_empty() {
            let (name, value) = attributes.swap_remove(self.dice.below(attributes.len()));
            self.attribute(&name, &value);
        }
        self.maybe_space();
    }

    fn element(&mut self, outer: &Scope, depth: usize) {
        let mut scope = outer.clone();
        let mut attributes = self.declarations(&mut scope);
        match self.dice.below(4) {
            0 => {
                let (namespace, written) = *self.dice.pick(NAMESPACES);
                scope.insert(String::new(), namespace.to_owned());
                attributes.push(("xmlns".to_owned(), written.to_owned()));
            }
            1 => {
                scope.insert(String::new(), String::new());
                attributes.push(("xmlns".to_owned(), String::new()));
            }
            _ => {}
        }
        attributes.extend(self.attributes(&scope, &[]));
        if self.dice.one_in(4) {
            attributes.push(("xml:lang".to_owned(), "la".to_owned()));
        }
        let prefixes: Vec<&String> = scope.keys().collect();
        let prefix = *self.dice.pick(&prefixes);
        let local = *self.dice.pick(NAMES);
        let name = if prefix.is_empty() {
            local.to_owned()
        } else {
            format!("{prefix}:{local}")
        };
        self.out += &format!("<{name}");
        self.tag(attributes);
        self.content(&name, &scope, depth);
    }

    fn content(&mut self, name: &str, scope: &Scope, depth: usize) {
        if self.dice.one_in(4) {
            self.out += "/>";
            return;
        }
        self.out.push('>');
        self.text();
        for _ in 0..self.dice.below(3) {
            if depth < DEPTH_MAX {
                self.element(scope, depth + 1);
            }
            self.text();
        }
        self.out += &format!("</{name}");
        self.maybe_space();
        self.out.push('>');
    }

    fn stanza(&mut self, header: &Scope) {
        let mut scope = header.clone();
        let mut attributes = self.declarations(&mut scope);
        let name = *self.dice.pick(&["message", "presence", "iq"]);
        let prefix = self.stanza_prefix(&mut scope, &mut attributes);
        let taken = ["from", "to", "id", "type"];
        attributes.extend(self.attributes(&scope, &taken));
        if name == "iq" {
            attributes.push((
                "type".to_owned(),
                (*self.dice.pick(&["get", "&#115;et"])).to_owned(),
            ));
        }
        if name == "iq" || self.dice.one_in(2) {
            let value = self.value();
            attributes.push(("id".to_owned(), value));
        }
        for name in ["from", "to", "xml:lang"] {
            if self.dice.one_in(2) {
                let value = if name == "xml:lang" {
                    "en-GB".to_owned()
                } else {
                    self.value()
                };
                attributes.push((name.to_owned(), value));
            }
        }
        let name = format!("{prefix}{name}");
        self.out += &format!("<{name}");
        self.tag(attributes);
        self.content(&name, &scope, 0);
    }

    /// How a stanza comes to be in jabber:client; what stands before its name.
    fn stanza_prefix(
        &mut self,
        scope: &mut Scope,
        attributes: &mut Vec<(String, String)>,
    ) -> &'static str {
        match self.dice.below(4) {
            0 => {
                scope.insert("c".to_owned(), ns::CLIENT.to_owned());
                attributes.push(("xmlns:c".to_owned(), ns::CLIENT.to_owned()));
                if self.dice.one_in(2) {
                    scope.insert(String::new(), "urn:a".to_owned());
                    attributes.push(("xmlns".to_owned(), "urn:a".to_owned()));
                }
                "c:"
            }
            1 => {
                attributes.push(("xmlns".to_owned(), ns::CLIENT.to_owned()));
                ""
            }
            _ => "",
        }
    }
}

/// A header, its language, and a stanza below it.
fn write(bytes: &[u8]) -> (String, Option<&'static str>, String) {
    let mut writer = Writer {
        dice: Dice { bytes, next: 0 },
        out: String::new(),
    };
    let mut scope = Scope::from([(String::new(), ns::CLIENT.to_owned())]);
    let own = *writer.dice.pick(&["stream", "s"]);
    let mut attributes = writer.declarations(&mut scope);
    attributes.retain(|(name, _)| *name != format!("xmlns:{own}"));
    scope.insert(own.to_owned(), ns::STREAMS.to_owned());
    attributes.push((format!("xmlns:{own}"), ns::STREAMS.to_owned()));
    attributes.push(("xmlns".to_owned(), ns::CLIENT.to_owned()));
    let lang = writer.dice.one_in(2).then_some("it");
    attributes.extend(lang.map(|lang| ("xml:lang".to_owned(), lang.to_owned())));
    writer.out += &format!("<{own}:stream");
    writer.tag(attributes);
    writer.out.push('>');
    let header = std::mem::take(&mut writer.out);
    writer.stanza(&scope);
    (header, lang, writer.out)
}

/// What the recipient has to read, of what was read in the sender's stream.
fn expected(mut sent: Vec<Piece>, stamp: Stamp<'_>, lang: Option<&str>) -> Vec<Piece> {
    if let Some(Piece::Start(_, attributes)) = sent.first_mut() {
        attributes.insert("{}from".to_owned(), stamp.from.to_owned());
        if let Some(to) = stamp.to {
            attributes.insert("{}to".to_owned(), to.to_owned());
        }
        if let Some(lang) = lang {
            let name = format!("{{{}}}lang", rxml::XMLNS_XML);
            attributes.entry(name).or_insert_with(|| lang.to_owned());
        }
    }
    sent
}

/// Scans and relays the stanza as the server does.
fn relayed(header: &str, stanza: &str, stamp: Stamp<'_>) -> Result<Vec<u8>, String> {
    let (mut scanner, limits) = (Scanner::new(), Limits::default());
    let found = scanner
        .scan_header(&limits, header.as_bytes())
        .map_err(|e| format!("{e:?}"))?;
    if found != (HeaderFound::Header { end: header.len() }) {
        return Err(format!("header: {found:?}"));
    }
    let scope = scanner.take_scope(header.as_bytes());
    let bytes = stanza.as_bytes();
    let found = scanner
        .scan(&limits, &scope, bytes)
        .map_err(|error| format!("{error:?}"))?;
    if found != (Found::Element { end: bytes.len() }) {
        return Err(format!("stanza: {found:?}"));
    }
    let stanza = Stanza::read(bytes, scanner.head(), &scope, ns::CLIENT);
    let stanza = stanza.map_err(|error| format!("{error:?}"))?;
    let mut out = Vec::new();
    relay(&stanza, stamp, &mut out);
    Ok(out)
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (header, lang, stanza) = write(bytes);
    let to = bytes
        .first()
        .is_some_and(|byte| byte & 0x80 != 0)
        .then_some("juliet@example.org");
    let stamp = Stamp {
        from: "romeo@example.org/orchard",
        to,
    };
    let case = format!("{header}\n{stanza}");
    let sent = read(&header, stanza.as_bytes())
        .map_err(|error| TestCaseError::fail(format!("the test wrote no XML: {error}\n{case}")))?;
    let out = relayed(&header, &stanza, stamp)
        .map_err(|error| TestCaseError::fail(format!("refused: {error}\n{case}")))?;
    let text = String::from_utf8_lossy(&out).into_owned();
    let got = read(ORDINARY, &out)
        .map_err(|error| TestCaseError::fail(format!("{error}\n{case}\nrelayed as {text}")))?;
    prop_assert_eq!(
        got,
        expected(sent, stamp, lang),
        "{}\nrelayed as {}",
        case,
        text
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stanza_means_the_same_to_its_recipient(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes)?;
    }
}

#[test]
fn the_random_stanzas_are_of_many_kinds() {
    let mut seen = [0; 8];
    for seed in 0..2000_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(300)
        .collect();
        let (header, lang, stanza) = write(&bytes);
        let kinds = [
            stanza.contains("<![CDATA["),
            stanza.starts_with("<c:"),
            stanza.contains("xmlns=''") || stanza.contains("xmlns=\"\""),
            header.contains("xmlns:x") && stanza.contains("x:") && !stanza.contains("xmlns:x"),
            lang.is_some() && !stanza.contains("xml:lang"),
            stanza.contains("<s:") || stanza.contains("<stream:"),
            stanza.contains("from"),
            stanza.len() > 500,
        ];
        for (count, is_seen) in seen.iter_mut().zip(kinds) {
            *count += usize::from(is_seen);
        }
    }
    assert!(seen.iter().all(|count| *count >= 20), "{seen:?}");
}
