//! What the store's commit window costs and saves: writers that each wait for their answer, as the
//! sessions of a server do, with windows of several lengths.
//!
//! `cargo bench --bench commit` prints a table. CPU time is that of the process, the closed loop of
//! writers included, which is the same in every row.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use meerkat::backend::embedded::Store;
use meerkat::proto::sasl::keys::Credentials;
use meerkat::proto::sasl::keys::Secret;
use meerkat::store::AccountId;

use meerkat::store::Request;
use meerkat::store::data::Area;
use meerkat::store::data::DataRequest;
use meerkat::store::data::Remove;
use meerkat::store::data::Room;

/// How long each row takes.
const ROUND: Duration = Duration::from_secs(2);
const WINDOWS_MS: [u64; 4] = [0, 1, 2, 5];
const WRITERS: [usize; 4] = [1, 10, 100, 1000];

fn main() {
    let folder = std::env::temp_dir().join(format!("meerkat-commit-{}", std::process::id()));
    println!("window  writers  writes/s  CPU us/write  answer p50 ms  p99 ms");
    for window in WINDOWS_MS {
        for writers in WRITERS {
            row(&folder, window, writers);
        }
    }
    drop(std::fs::remove_dir_all(&folder));
}

fn row(folder: &std::path::Path, window: u64, writers: usize) {
    drop(std::fs::remove_dir_all(folder));
    let store = Store::open_with(folder, Duration::from_millis(window)).expect("a folder");
    let handle = store.handle();
    for writer in 0..writers {
        let request = Request::Create {
            id: id(writer),
            credentials: Credentials::Plain(Secret::new("secret")),
            created_at: 0,
        };
        let (sender, answer) = sync_channel(1);
        let reply = Box::new(move |result| drop(sender.send(result)));
        handle.submit_waiting(request, reply).expect("taken");
        if writer + 1 == writers {
            answer.recv().expect("answered").expect("made");
        }
    }
    let (sender, answers) = sync_channel(writers);
    let ask = |writer: usize, number: usize| {
        let (sender, asked) = (sender.clone(), Instant::now());
        let reply = Box::new(move |result: Result<_, _>| {
            result.expect("written");
            let _ = sender.send((writer, asked.elapsed()));
        });
        handle.submit(change(writer, number), reply).expect("taken");
    };
    let (cpu, began) = (cpu(), Instant::now());
    for writer in 0..writers {
        ask(writer, 0);
    }
    let mut took = Vec::new();
    while began.elapsed() < ROUND {
        let (writer, time) = answers.recv().expect("answered");
        took.push(time);
        ask(writer, took.len());
    }
    let (elapsed, cpu) = (began.elapsed(), self::cpu() - cpu);
    store.close();
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{window:>4} ms  {writers:>7}  {:>8.0}  {:>12.1}  {:>13.2}  {:>6.2}",
        took.len() as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / took.len() as f64,
        at(50),
        at(99),
    );
}

fn id(writer: usize) -> AccountId {
    AccountId::from_prepared(&format!("writer{writer}"), "localhost")
}

/// As large as a contact.
fn change(writer: usize, number: usize) -> Request {
    let name = format!("contact{}@example.org", number % 100);
    Request::Data(DataRequest::Change {
        id: id(writer),
        area: Area::Roster,
        remove: Remove::Names(Vec::new()),
        put: vec![(name.into(), vec![7; 60].into())],
        room: Room {
            things: 2000,
            bytes: 1 << 20,
        },
    })
}

/// User and system time of the process.
fn cpu() -> Duration {
    // Ticks are of 10 ms on every Linux that we run on: fine enough for a round of seconds.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("a name")
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 =
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    Duration::from_millis(ticks * 10)
}
