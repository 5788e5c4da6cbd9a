//! The scanner against its corpus: tests/data/xml/index.tsv says what each file must give, whole,
//! at every two-way split, and byte by byte.

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
