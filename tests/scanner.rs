//! The scanner against its corpus: tests/data/xml/index.tsv says what each file must give, whole,
//! at every two-way split, and byte by byte. And it allocates nothing.

#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use meerkat::xml::scan::Found;
use meerkat::xml::scan::HeaderFound;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::STREAMS_NAMESPACE;
use meerkat::xml::scan::ScanError;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

#[test]
fn corpus_whole() {
    for case in cases() {
        assert_eq!(case.feed(&[]), case.expected, "{}", case.name);
    }
}

#[test]
fn corpus_at_every_two_way_split() {
    for case in cases() {
        for split in 1..case.bytes.len() {
            assert_eq!(
                case.feed(&[split]),
                case.expected,
                "{} split at {split}",
                case.name
            );
        }
    }
}

#[test]
fn corpus_byte_by_byte() {
    for case in cases() {
        let splits: Vec<_> = (1..case.bytes.len()).collect();
        assert_eq!(case.feed(&splits), case.expected, "{}", case.name);
    }
}

#[test]
fn a_million_stanzas_allocate_nothing() {
    let stream = STANZAS.concat().into_bytes();
    let (limits, scope) = (Limits::default(), StreamScope::ordinary("jabber:client"));
    let mut scanner = Scanner::new();
    let before = ALLOCATIONS.get();
    let mut elements = 0;
    while elements < 1_000_000 {
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            // Every other one arrives in two pieces.
            if elements % 2 == 1 {
                let half = scanner.scan(&limits, &scope, &rest[..20]);
                assert_eq!(half, Ok(Found::More));
            }
            let Ok(Found::Element { end }) = scanner.scan(&limits, &scope, rest) else {
                panic!("refused: {}", rest.escape_ascii());
            };
            assert!(scanner.head().tag_end <= end);
            rest = &rest[end..];
            elements += 1;
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn an_ordinary_header_allocates_nothing() {
    let header = b"<?xml version='1.0'?><stream:stream to='example.com' version='1.0' \
        xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut scanner = Scanner::new();
    let end = header.len();
    let before = ALLOCATIONS.get();
    let found = scanner.scan_header(&Limits::default(), header);
    assert_eq!(found, Ok(HeaderFound::Header { end }));
    let scope = scanner.take_scope(header);
    assert_eq!(scope.lang(), Some("en"));
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

const STANZAS: [&str; 5] = [
    "<message to='romeo@example.net' type='chat' id='a'><body>At two, then.</body>\
        <active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "<presence><show>away</show><c xmlns='http://jabber.org/protocol/caps' ver='x'/></presence>",
    "<iq type='get' id='b' to='example.com' xml:lang='de'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<message to='a@example.net'><body>Поезд &amp; кот &#x1F600;\n</body></message>",
    "<s:x xmlns:s='urn:s' s:a='&lt;' b='é'><![CDATA[<>]]><s:y xmlns:t='urn:t' t:a='1'/></s:x>",
];

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more, and nothing to count.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above; the memory came from there.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One line of the index.
struct Case {
    name: String,
    bytes: Vec<u8>,
    limits: Limits,
    scope: StreamScope,
    /// After so many elements a stream header comes.
    restart_after: Option<usize>,
    /// `ends` and `expected` of the index in one line.
    expected: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xml");
    let index = fs::read_to_string(folder.join("index.tsv")).expect("the index is committed");
    let lines = index.lines().filter(|line| !line.starts_with('#')).skip(1);
    let cases: Vec<_> = lines.map(|line| Case::parse(&folder, line)).collect();
    assert!(cases.len() > 240, "the index is not whole: {}", cases.len());
    cases
}

impl Case {
    fn parse(folder: &Path, line: &str) -> Self {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, expected, ends, _alternatives, options, _note] = columns[..] else {
            panic!("six columns: {line}");
        };
        // Where a file could be accepted and is refused, the ends are those of the other outcome.
        let is_refused_by_choice = name.starts_with("accept/") && expected.starts_with("reject:");
        let ends = if is_refused_by_choice { "-" } else { ends };
        let mut limits = Limits::default();
        let mut bindings = vec![("stream", STREAMS_NAMESPACE)];
        let mut restart_after = None;
        for option in options.split(';').filter(|option| *option != "-") {
            let (key, value) = option.split_once('=').expect("key=value");
            match key {
                "max_stanza_size" => limits.stanza_bytes_max = value.parse().expect("a number"),
                "max_depth" => limits.depth_max = value.parse().expect("a number"),
                "max_attrs" => limits.attributes_max = value.parse().expect("a number"),
                "restart_after" => restart_after = Some(value.parse().expect("a number")),
                "hdr_ns" => bindings.push(value.split_once('=').expect("prefix=uri")),
                _ => panic!("unknown option {key} of {name}"),
            }
        }
        Self {
            name: name.to_owned(),
            bytes: fs::read(folder.join(name)).expect("the file is committed"),
            limits,
            scope: StreamScope::declared("jabber:client", "stream:stream", None, &bindings),
            restart_after,
            expected: format!("{expected} {ends}"),
        }
    }

    /// Feeds the file in pieces that end at `splits`, and puts the outcome like the index.
    fn feed(&self, splits: &[usize]) -> String {
        let mut feeder = Feeder {
            case: self,
            scanner: Scanner::new(),
            scope: self.scope.clone(),
            start: 0,
            elements: 0,
            ends: String::new(),
            header_due: false,
        };
        let mut outcome = Ok(None);
        for &arrived in splits.iter().chain([&self.bytes.len()]) {
            outcome = feeder.arrive(&self.bytes[..arrived]);
            if outcome != Ok(None) {
                break;
            }
        }
        let ends = if feeder.ends.is_empty() {
            "-"
        } else {
            &feeder.ends[1..]
        };
        let count = feeder.elements;
        match outcome {
            Err(error) => format!("reject:{} {ends}", error.condition()),
            Ok(Some(())) => format!("accept:{count}+close {ends}"),
            Ok(None) if feeder.scanner.is_midway() => format!("accept:{count}+partial {ends}"),
            Ok(None) => format!("accept:{count} {ends}"),
        }
    }
}

/// Bytes that are copied to another place for each call.
const MOVED_BYTES_MAX: usize = 512;

/// What a connection does with its bytes.
struct Feeder<'a> {
    case: &'a Case,
    scanner: Scanner,
    scope: StreamScope,
    /// Where the current item begins.
    start: usize,
    elements: usize,
    ends: String,
    header_due: bool,
}

impl Feeder<'_> {
    /// `Some` at the end of the stream. Each call sees the bytes at another place of memory.
    fn arrive(&mut self, arrived: &[u8]) -> Result<Option<()>, ScanError> {
        loop {
            let input = &arrived[self.start..];
            // The buffer may move between two calls; a large one would take the test too long.
            let moved;
            let input = if input.len() <= MOVED_BYTES_MAX {
                moved = input.to_vec();
                &moved
            } else {
                input
            };
            if self.header_due {
                match self.scanner.scan_header(&self.case.limits, input)? {
                    HeaderFound::More => return Ok(None),
                    HeaderFound::Header { end } => {
                        self.scope = self.scanner.take_scope(input);
                        self.header_due = false;
                        self.start += end;
                        continue;
                    }
                }
            }
            match self.scanner.scan(&self.case.limits, &self.scope, input)? {
                Found::More => return Ok(None),
                Found::Whitespace { end } => self.start += end,
                Found::Element { end } => {
                    self.start += end;
                    self.elements += 1;
                    write!(self.ends, ",{}", self.start).expect("a string takes all");
                    self.header_due = self.case.restart_after == Some(self.elements);
                }
                Found::StreamEnd { .. } => return Ok(Some(())),
            }
        }
    }
}
