//! How fast stanzas are found and checked, beside lower bounds and other parsers.
//!
//! - `memchr '<'`: hops from one `<` to the next and does nothing else.
//! - `boundaries`: the least that finds where a stanza ends: counts tags, skips quoted values, by
//!   memchr. It checks nothing.
//! - `scanner`: ours, with every check.
//! - `quick-xml`: end names and attributes checked, no namespaces. Like a reader that is in a hurry it
//!   takes attributes as they are, and checks neither UTF-8 nor characters nor references.
//! - `quick-xml, namespaces`: the same, and the namespace of every element resolved.
//! - `rxml`: the parser of a Rust XMPP library, everything checked.
//!
//! `cargo bench --bench scan`, or for ratios on a machine with other work `cargo bench --bench scan --
//! --in-turn`; the figures of record are in benches/record.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::hint::black_box;
use std::time::Duration;
use std::time::Instant;

use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;

use meerkat::xml::scan::Found;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

mod stanzas;

fn scan(c: &mut Criterion) {
    for set in stanzas::sets() {
        let mut group = c.benchmark_group(set.name);
        group.throughput(Throughput::Bytes(set.bytes.len() as u64));
        let bytes = set.bytes.as_slice();
        group.bench_function("memchr '<'", |b| b.iter(|| hop(black_box(bytes))));
        group.bench_function("boundaries", |b| b.iter(|| boundaries(black_box(bytes))));
        let mut scanner = Scanner::new();
        let scope = StreamScope::ordinary("jabber:client");
        group.bench_function("scanner", |b| {
            b.iter(|| scan_all(&mut scanner, &scope, black_box(bytes)));
        });
        group.bench_function("quick-xml", |b| b.iter(|| quick_xml(black_box(bytes))));
        group.bench_function("quick-xml, namespaces", |b| {
            b.iter(|| quick_xml_resolved(black_box(bytes)));
        });
        group.bench_function("rxml", |b| b.iter(|| rxml(black_box(bytes))));
        group.finish();
    }
}

/// The number of elements.
fn scan_all(scanner: &mut Scanner, scope: &StreamScope, mut rest: &[u8]) -> usize {
    let limits = Limits::default();
    let mut elements = 0;
    while let Ok(Found::Element { end }) = scanner.scan(&limits, scope, rest) {
        black_box(scanner.head());
        rest = &rest[end..];
        elements += 1;
    }
    assert!(rest.is_empty());
    elements
}

/// The sum of all places of a `<`.
fn hop(input: &[u8]) -> usize {
    let mut sum = 0;
    for at in memchr::memchr_iter(b'<', input) {
        sum += black_box(at);
    }
    sum
}

/// The number of elements, of input that is taken to be well-formed.
fn boundaries(input: &[u8]) -> usize {
    let (mut elements, mut depth, mut pos) = (0, 0usize, 0);
    while let Some(offset) = memchr::memchr(b'<', &input[pos..]) {
        let start = pos + offset;
        let is_end = input.get(start + 1) == Some(&b'/');
        pos = start + 1;
        while let Some(offset) = memchr::memchr3(b'>', b'\'', b'"', &input[pos..]) {
            let quote = input[pos + offset];
            pos += offset + 1;
            if quote == b'>' {
                break;
            }
            pos += memchr::memchr(quote, &input[pos..]).map_or(0, |offset| offset + 1);
        }
        let is_empty = input.get(pos.wrapping_sub(2)) == Some(&b'/');
        match (is_end, is_empty) {
            (true, _) => depth -= 1,
            (false, true) => {}
            (false, false) => depth += 1,
        }
        elements += usize::from(depth == 0);
    }
    elements
}

/// The number of events.
fn quick_xml(input: &[u8]) -> usize {
    let mut reader = quick_xml::Reader::from_reader(input);
    reader.config_mut().check_end_names = true;
    let mut events = 0;
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return events,
            Ok(quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag)) => {
                for attribute in tag.attributes() {
                    black_box(attribute.expect("the set is well-formed"));
                }
            }
            Ok(event) => {
                black_box(event);
            }
            Err(error) => panic!("the set is well-formed: {error}"),
        }
        events += 1;
    }
}

/// The number of events.
fn quick_xml_resolved(input: &[u8]) -> usize {
    use quick_xml::events::Event;
    let mut reader = quick_xml::NsReader::from_reader(input);
    reader.config_mut().check_end_names = true;
    let mut events = 0;
    loop {
        match reader.read_resolved_event() {
            Ok((_, Event::Eof)) => return events,
            Ok((namespace, Event::Start(tag) | Event::Empty(tag))) => {
                black_box(namespace);
                for attribute in tag.attributes() {
                    black_box(attribute.expect("the set is well-formed"));
                }
            }
            Ok(event) => {
                black_box(event);
            }
            Err(error) => panic!("the set is well-formed: {error}"),
        }
        events += 1;
    }
}

/// The number of events, of the set inside a root.
fn rxml(input: &[u8]) -> usize {
    use rxml::Parse;
    let root: &[u8] = b"<stream:stream xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut parser = rxml::Parser::new();
    let mut events = 0;
    for mut part in [root, input] {
        loop {
            match parser.parse(&mut part, false) {
                Ok(Some(event)) => {
                    black_box(event);
                    events += 1;
                }
                Ok(None) => return events,
                Err(rxml::error::EndOrError::NeedMoreData) => break,
                Err(rxml::error::EndOrError::Error(error)) => panic!("well-formed: {error}"),
            }
        }
    }
    events
}

criterion_group!(benches, scan);

/// Rounds of `--in-turn`, and passes over a set in each.
const ROUNDS: usize = 40;
const PASSES: u32 = 8;

fn main() {
    if std::env::args().any(|argument| argument == "--in-turn") {
        return in_turn();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}

/// The scanner's speed over that of others, which take turns in one process, so that a machine with
/// other work does not favour one of them: lower quartiles of [`ROUNDS`].
fn in_turn() {
    let scope = StreamScope::ordinary("jabber:client");
    let mut scanner = Scanner::new();
    println!("set: scanner over boundaries, quick-xml, quick-xml with namespaces");
    for set in stanzas::sets() {
        let bytes = set.bytes.as_slice();
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..ROUNDS {
            times[0].push(time(|| scan_all(&mut scanner, &scope, black_box(bytes))));
            times[1].push(time(|| boundaries(black_box(bytes))));
            times[2].push(time(|| quick_xml(black_box(bytes))));
            times[3].push(time(|| quick_xml_resolved(black_box(bytes))));
        }
        let [scanner, others @ ..] = times.map(|mut times| {
            times.sort_unstable();
            times[ROUNDS / 4].as_secs_f64()
        });
        let [a, b, c] = others.map(|other| other / scanner);
        println!("{}: {a:.2}, {b:.2}, {c:.2}", set.name);
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn time(mut work: impl FnMut() -> usize) -> Duration {
    let began = Instant::now();
    for _ in 0..PASSES {
        black_box(work());
    }
    began.elapsed()
}
