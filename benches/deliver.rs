//! What routing one chat message costs inside a shard, in nanoseconds of the calling thread.
//!
//! `cargo bench --bench deliver` prints a table. `deliver --only PART CASE COUNT` does one thing so
//! many times and prints nothing, for `benches/count-instructions` and `scripts/count-routing`: two
//! counts, and the difference between them is free of the start. There PART may also be `naive`, the
//! reference: the message is scanned by the scanner that is written to be obviously right.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod in_process;

use std::hint::black_box;
use std::time::Instant;

use meerkat::proto::ns;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::StreamScope;
use meerkat::xml::scan::naive;
use meerkat::xml::scan::naive::Item;

use in_process::Case;
use in_process::Exchange;

/// Messages in one timed round: long against the clock, short against a scheduler's slice.
const ROUND_MESSAGES: usize = 20_000;
/// Rounds of each kind; the median is told.
const ROUNDS: usize = 31;

/// What is done to each message.
#[derive(Clone, Copy)]
enum Part {
    Scan,
    Carry,
    Both,
    Naive,
}

const PARTS: [(Part, &str); 3] = [
    (Part::Scan, "scan"),
    (Part::Carry, "carry"),
    (Part::Both, "both"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().position(|argument| argument == "--only") {
        Some(at) => only(&arguments[at + 1..]),
        None => table(),
    }
}

fn only(arguments: &[String]) {
    let [part, case, count] = arguments else {
        panic!("--only PART CASE COUNT");
    };
    let parts = PARTS.iter().chain(&[(Part::Naive, "naive")]);
    let part = parts.into_iter().find(|(_, name)| name == part);
    let (part, _) = part.expect("scan, carry, both or naive");
    let case = Case::ALL
        .into_iter()
        .find(|c| c.name() == case)
        .expect("bare, full or crossing");
    let mut exchange = Exchange::new(case);
    run(&mut exchange, *part, count.parse().expect("a number"));
    black_box(exchange.delivered_bytes);
}

fn run(exchange: &mut Exchange, part: Part, count: usize) {
    exchange.scan();
    for _ in 0..count {
        match part {
            Part::Scan => exchange.scan(),
            Part::Carry => exchange.carry(),
            Part::Both => exchange.scan_and_carry(),
            Part::Naive => scan_naively(&exchange.message),
        }
    }
}

fn scan_naively(message: &[u8]) {
    let (limits, scope) = (Limits::default(), StreamScope::ordinary(ns::CLIENT));
    let found = naive::scan(&limits, &scope, message);
    let is_whole = matches!(found, Ok(Some(Item::Element(end, _))) if end == message.len());
    assert!(is_whole, "it is one element");
}

fn table() {
    println!(
        "{:10} {:8} {:>10} {:>10} {:>10}",
        "case", "part", "median ns", "least", "most"
    );
    for case in Case::ALL {
        let mut exchange = Exchange::new(case);
        let mut times = PARTS.map(|_| Vec::with_capacity(ROUNDS));
        // In turn, so that a slow spell of the machine meets all of them.
        for _ in 0..ROUNDS {
            for ((part, _), times) in PARTS.iter().zip(&mut times) {
                times.push(round_ns(&mut exchange, *part));
            }
        }
        for ((_, name), times) in PARTS.iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            let (least, median, most) = (times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
            println!(
                "{:10} {name:8} {median:10.1} {least:10.1} {most:10.1}",
                case.name()
            );
        }
        assert!(exchange.delivered_bytes > 0, "the messages arrived");
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn round_ns(exchange: &mut Exchange, part: Part) -> f64 {
    let began = Instant::now();
    run(exchange, part, ROUND_MESSAGES);
    began.elapsed().as_nanos() as f64 / ROUND_MESSAGES as f64
}
