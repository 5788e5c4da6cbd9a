//! Work to count instructions of: `scan_count WORK BYTES`, under `valgrind --tool=callgrind`.
//!
//! scripts/count-scan runs it and judges the counts. WORK is `SHAPE-FEED`: a shape of element
//! (`text`, `value`, `space`, ...) of about BYTES bytes, fed `whole`, in 16-byte reads (`drip`), or
//! not at all (`none`: what the rest of the process costs); or the name of a set of stanzas behind
//! `scan-`, `naive-` (the reference) or `set-` (not scanned). `shapes` and `sets` list the names.
//! Without arguments it does a little of everything.

#![expect(clippy::print_stdout, reason = "a program for scripts")]

use std::hint::black_box;

use meerkat::xml::scan::Found;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;
use meerkat::xml::scan::naive;
use meerkat::xml::scan::naive::Item;

mod stanzas;

/// Bytes of one read of a drip-feeding peer.
const READ_BYTES: usize = 16;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [work, bytes] if !work.starts_with('-') => {
            run(work, bytes.parse().expect("BYTES is a number"));
        }
        _ => {
            for shape in SHAPES {
                run(&format!("{shape}-whole"), 4096);
                run(&format!("{shape}-drip"), 4096);
            }
            run("scan-chat", 1);
            run("naive-chat", 1);
        }
    }
}

const SHAPES: [&str; 8] = [
    "text", "value", "space", "cdata", "cyrillic", "newlines", "endspace", "zeros",
];

fn run(work: &str, bytes: usize) {
    let Some((first, second)) = work.split_once('-') else {
        match work {
            "shapes" => SHAPES.iter().for_each(|shape| println!("{shape}")),
            "sets" => stanzas::sets()
                .iter()
                .for_each(|set| println!("{}", set.name)),
            _ => panic!("unknown work {work}"),
        }
        return;
    };
    match (first, second) {
        ("scan", set) => {
            let bytes = set_of(set);
            let mut scanner = Scanner::new();
            scan_all(&mut scanner, &bytes);
        }
        ("naive", set) => {
            let bytes = set_of(set);
            scan_all_naively(&bytes);
        }
        ("set", set) => {
            black_box(set_of(set));
        }
        (shape, feed) => {
            let element = element(shape, bytes);
            let step = if feed == "drip" {
                READ_BYTES
            } else {
                element.len()
            };
            let feeds = if feed == "none" {
                0
            } else {
                element.len().div_ceil(step)
            };
            feed_element(&element, step, feeds);
        }
    }
}

fn set_of(name: &str) -> Vec<u8> {
    let set = stanzas::sets().into_iter().find(|set| set.name == name);
    set.expect("a known set").bytes
}

/// An element most of whose bytes are of one shape.
fn element(shape: &str, bytes: usize) -> Vec<u8> {
    let (before, filler, behind) = match shape {
        "text" => ("<message><body>", "x", "</body></message>"),
        "value" => ("<message a='", "x", "'/>"),
        "space" => ("<message", " ", "/>"),
        "cdata" => ("<message><![CDATA[", "x", "]]></message>"),
        "cyrillic" => ("<message><body>", "я", "</body></message>"),
        "newlines" => ("<message><body>", "\n", "</body></message>"),
        "endspace" => ("<message></message", " ", ">"),
        "zeros" => ("<message>&#", "0", "65;</message>"),
        _ => panic!("unknown shape {shape}"),
    };
    let count = (bytes - before.len() - behind.len()) / filler.len();
    [
        before.as_bytes(),
        &filler.as_bytes().repeat(count),
        behind.as_bytes(),
    ]
    .concat()
}

fn feed_element(element: &[u8], step: usize, feeds: usize) {
    let limits = Limits {
        stanza_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let scope = StreamScope::ordinary("jabber:client");
    let mut scanner = Scanner::new();
    let mut found = Found::More;
    for read in 1..=feeds {
        let arrived = &element[..(read * step).min(element.len())];
        found = scanner
            .scan(&limits, &scope, black_box(arrived))
            .expect("well-formed");
    }
    assert!(feeds == 0 || found == Found::Element { end: element.len() });
}

fn scan_all(scanner: &mut Scanner, mut rest: &[u8]) {
    let (limits, scope) = (Limits::default(), StreamScope::ordinary("jabber:client"));
    while let Ok(Found::Element { end }) = scanner.scan(&limits, &scope, black_box(rest)) {
        black_box(scanner.head());
        rest = &rest[end..];
    }
    assert!(rest.is_empty());
}

fn scan_all_naively(mut rest: &[u8]) {
    let (limits, scope) = (Limits::default(), StreamScope::ordinary("jabber:client"));
    while let Ok(Some(Item::Element(end, summary))) = naive::scan(&limits, &scope, rest) {
        black_box(summary);
        rest = &rest[end..];
    }
    assert!(rest.is_empty());
}
