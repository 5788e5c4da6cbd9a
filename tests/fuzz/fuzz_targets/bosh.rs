//! XEP-0124 bodies, one a line: what is read as one keeps to its rules, and a session that is fed with
//! them answers each request once, in the order of their numbers, with a `<body/>` that can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::bosh;
use meerkat::proto::bosh::Options;
use meerkat::proto::bosh::Session;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

const OPTIONS: Options = Options {
    inactivity_s: 30,
    wait_max_s: 60,
    pause_max_s: 120,
    acks: true,
};

/// Of so many requests one loses its connection at once.
const LOST_EVERY: usize = 5;
/// Milliseconds between two lines.
const STEP_MS: u64 = 700;

/// What a client is sent is one whole element.
fn check_answer(scanner: &mut Scanner, answer: &[u8]) {
    scanner.reset();
    let found = scanner.scan(&Limits::default(), &StreamScope::unbound(), answer);
    let shown = String::from_utf8_lossy(answer);
    assert_eq!(found, Ok(Found::Element { end: answer.len() }), "{shown}");
}

fuzz_target!(|data: &[u8]| {
    let (mut scanner, limits) = (Scanner::new(), Limits::default());
    let mut session: Option<Session<usize>> = None;
    let mut answered = Vec::new();
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let now_ms = number as u64 * STEP_MS;
        let Ok(body) = bosh::body::read(&mut scanner, &limits, line) else {
            continue;
        };
        assert!(body.rid < 1 << 53 && body.payload.len() < line.len());
        let session =
            session.get_or_insert_with(|| Session::new("sid".into(), &body, OPTIONS, now_ms));
        let mut take = |scanner: &mut Scanner, from: usize, answer: &[u8]| {
            check_answer(scanner, answer);
            assert!(!answered.contains(&from), "answered twice");
            answered.push(from);
        };
        let mut ends = false;
        match session.request(body, number, now_ms) {
            Ok(None) => {}
            Ok(Some((from, answer))) => take(&mut scanner, from, &answer),
            Err((from, condition)) => {
                let mut answer = Vec::new();
                bosh::write_end(Some(condition), &[], &mut answer);
                take(&mut scanner, from, &answer);
                session.end(Some(condition));
                ends = true;
            }
        }
        let mut pausing = false;
        while !ends {
            match session.next(now_ms) {
                Ok(None) => break,
                Ok(Some(body)) => {
                    pausing |= body.pause.is_some();
                    ends = body.terminate;
                    session.write().extend_from_slice(b"<r/>");
                }
                Err(condition) => {
                    session.end(Some(condition));
                    ends = true;
                }
            }
        }
        if ends {
            session.end(None);
        }
        if number % LOST_EVERY == 0 {
            session.lost(&number, now_ms);
        }
        session.answers(now_ms, pausing, |from, answer| {
            take(&mut scanner, from, &answer)
        });
        if ends {
            return;
        }
        assert!(session.due_ms() >= now_ms || session.is_inactive(now_ms));
    }
});
