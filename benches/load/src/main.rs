//! stampede: drives an XMPP server from one thread and tells what it costs.
//!
//! `stampede MODE --to 127.0.0.1:5222 --pid PID` prints a table, with `--json FILE` also JSON. The
//! figure that counts is CPU time of the server's process tree for each operation; stampede's own
//! stands beside it. `stampede floor` is the canned-bytes loop to compare with (benches/wire).
//! Accounts are `user0`, `user1` and so on, with the password `secret`; `stampede accounts` prints
//! them for `meerkat account import`. Read first: `run`, then `arrive.rs` and `chat.rs`. Not here:
//! TLS, SCRAM and WebSocket.

mod arrive;
mod chat;
mod process;
mod script;
mod wire;

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::Parser;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde_json::Value;
use serde_json::json;

use arrive::Crowd;
use arrive::arrive;
use chat::Pace;
use chat::Talk;
use process::Usage;
use process::usage;
use script::Depth;
use script::steps;

/// Part of the idle sessions that come before memory is read for the first time: 2,000 of 18,000.
const FIRST_OF_IDLE: usize = 9;

/// The longest latency that is told apart.
const LATENCY_US_MAX: u64 = 60_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Connect, stream header, features, close
    Stream,
    /// The same and SASL PLAIN
    Login,
    /// The same and binding, session request, presence
    Session,
    /// Sessions that stay and are silent: memory of each
    Idle,
    /// Messages between pairs of users
    Chat,
    /// Serve canned answers; prints the port
    Floor,
    /// Print `count` accounts as lines of jid,password
    Accounts,
}

#[derive(Debug, Parser)]
#[command(version, about = "Drives an XMPP server and tells what it costs")]
struct Arguments {
    /// What to do
    mode: Mode,
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:5222")]
    to: SocketAddrV4,
    /// Process whose CPU time and memory are read, with all that it started
    #[arg(long)]
    pid: Option<u32>,
    /// The host of the users
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// Connections, or messages
    #[arg(long, short = 'n', default_value_t = 10_000)]
    count: usize,
    /// Connections that negotiate at the same time
    #[arg(long, default_value_t = 50)]
    at_once: usize,
    /// Connections or messages a second, instead of as fast as it goes
    #[arg(long)]
    rate: Option<f64>,
    /// chat: users, in pairs
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// chat: idle sessions beside the users
    #[arg(long, default_value_t = 0)]
    beside: usize,
    /// chat: messages of each user under way
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// chat: to full addresses
    #[arg(long)]
    full: bool,
    /// Write the result there
    #[arg(long)]
    json: Option<PathBuf>,
    /// Allow a target that is not on loopback. Ask its owner first
    #[arg(long)]
    anywhere: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(fault) = check(&arguments) {
        eprintln!("stampede: {fault}");
        return ExitCode::from(2);
    }
    match arguments.mode {
        Mode::Floor => wire::floor::serve(),
        Mode::Accounts => {
            for number in 0..arguments.count {
                println!("user{number}@{},secret", arguments.domain);
            }
            return ExitCode::SUCCESS;
        }
        Mode::Stream | Mode::Login | Mode::Session | Mode::Idle | Mode::Chat => {}
    }
    let report = run(&arguments);
    for (name, value) in report.as_object().into_iter().flatten() {
        println!("{name:24} {value}");
    }
    if let Some(file) = &arguments.json
        && let Err(error) = std::fs::write(file, format!("{report:#}\n"))
    {
        eprintln!("stampede: {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    let went_wrong = ["failed", "lost", "twice"];
    let is_whole = went_wrong
        .iter()
        .all(|name| report[*name].as_u64().unwrap_or(0) == 0);
    ExitCode::from(u8::from(!is_whole))
}

fn check(arguments: &Arguments) -> Result<(), String> {
    if !arguments.to.ip().is_loopback() && !arguments.anywhere {
        return Err(format!("{} is not on loopback (--anywhere)", arguments.to));
    }
    if arguments.users < 2 || arguments.users % 2 == 1 {
        return Err("--users: talk in pairs, so an even number".to_owned());
    }
    if arguments.at_once == 0 || arguments.window == 0 || arguments.count == 0 {
        return Err("--at-once, --window and --count: at least 1".to_owned());
    }
    if arguments
        .rate
        .is_some_and(|rate| rate.is_nan() || rate <= 0.0)
    {
        return Err("--rate: more than 0".to_owned());
    }
    if arguments.pid.is_some_and(|pid| usage(pid).is_none()) {
        return Err("--pid: no such process".to_owned());
    }
    Ok(())
}

/// Does the work and reports.
fn run(arguments: &Arguments) -> Value {
    let bar = ProgressBar::new(arguments.count as u64);
    let report = match arguments.mode {
        Mode::Stream => visits(arguments, Depth::Stream, &bar),
        Mode::Login => visits(arguments, Depth::Login, &bar),
        Mode::Session => visits(arguments, Depth::Session, &bar),
        Mode::Idle => idle(arguments, &bar),
        Mode::Chat => chat(arguments, &bar),
        Mode::Floor | Mode::Accounts => Value::Null,
    };
    bar.finish_and_clear();
    report
}

fn crowd(arguments: &Arguments, numbers: std::ops::Range<usize>, stay: bool) -> Crowd {
    Crowd {
        to: arguments.to,
        numbers,
        at_once: arguments.at_once,
        rate: arguments.rate,
        stay,
    }
}

fn visits(arguments: &Arguments, depth: Depth, bar: &ProgressBar) -> Value {
    let before = Both::read(arguments);
    let all = crowd(arguments, 0..arguments.count, false);
    // Users come back in turn: a session that is still ending does not hold up the next.
    let script = |number| steps(depth, &arguments.domain, number % arguments.users);
    let arrived = arrive(&all, script, bar);
    let mut report = costs(before, Both::read(arguments), arguments.count, arrived.took);
    report["failed"] = json!(arrived.failed);
    latencies(&mut report, &arrived.latency_us);
    report
}

fn idle(arguments: &Arguments, bar: &ProgressBar) -> Value {
    let first = (arguments.count / FIRST_OF_IDLE).max(1);
    let script = |number| steps(Depth::Session, &arguments.domain, number);
    let early = arrive(&crowd(arguments, 0..first, true), script, bar);
    let before = Both::read(arguments);
    let rest = first..arguments.count;
    let (from, more) = (before.server.rss_kib, rest.len().max(1));
    let late = arrive(&crowd(arguments, rest, true), script, bar);
    let after = Both::read(arguments);
    let mut report = costs(before, after, more, late.took);
    let grown = after.server.rss_kib.saturating_sub(from) as f64;
    report["server_kib_per_session"] = json!(grown / more as f64);
    report["failed"] = json!(early.failed + late.failed);
    report
}

fn chat(arguments: &Arguments, bar: &ProgressBar) -> Value {
    let numbers = 0..arguments.users + arguments.beside;
    let mut arriving = crowd(arguments, numbers, true);
    arriving.rate = None;
    let script = |number| steps(Depth::Session, &arguments.domain, number);
    let hidden = ProgressBar::hidden();
    let mut arrived = arrive(&arriving, script, &hidden);
    assert_eq!(arrived.failed, 0, "not everybody could log in");
    let beside = arrived.sockets.split_off(arguments.users);
    let talk = Talk::new(arrived.sockets, &arguments.domain, arguments.full);
    let pace = arguments
        .rate
        .map_or(Pace::Window(arguments.window), Pace::PerSecond);
    let before = Both::read(arguments);
    let said = talk.run(pace, arguments.count, bar);
    let mut report = costs(before, Both::read(arguments), arguments.count, said.took);
    drop(beside);
    report["lost"] = json!(said.lost);
    report["twice"] = json!(said.twice);
    latencies(&mut report, &said.latency_us);
    report
}

/// The server and we.
#[derive(Clone, Copy)]
struct Both {
    server: Usage,
    own: Usage,
}

impl Both {
    fn read(arguments: &Arguments) -> Self {
        let of = |pid| usage(pid).unwrap_or_default();
        Self {
            server: arguments.pid.map(of).unwrap_or_default(),
            own: of(std::process::id()),
        }
    }
}

fn costs(before: Both, after: Both, count: usize, took: Duration) -> Value {
    let each_us = |before: Usage, after: Usage| {
        after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1000.0 / count as f64
    };
    json!({
        "count": count,
        "seconds": took.as_secs_f64(),
        "server_cpu_us": each_us(before.server, after.server),
        "server_rss_kib": after.server.rss_kib,
        "stampede_cpu_us": each_us(before.own, after.own),
    })
}

/// For microseconds; more than a minute counts as a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("a minute in three digits")
}

fn latencies(report: &mut Value, histogram: &Histogram<u64>) {
    for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        report[name] = json!(histogram.value_at_quantile(quantile));
    }
    report["max_us"] = json!(histogram.max());
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load generator reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &[&str]) -> Result<(), String> {
        let words = ["stampede", "chat"].iter().chain(words);
        check(&Arguments::try_parse_from(words).expect("they are known"))
    }

    #[test]
    fn only_loopback_unless_told() {
        assert!(judged(&["--to", "127.9.9.9:5222"]).is_ok());
        assert!(judged(&["--to", "192.0.2.1:5222"]).is_err());
        assert!(judged(&["--to", "192.0.2.1:5222", "--anywhere"]).is_ok());
    }

    #[test]
    fn latencies_are_told_as_they_were() {
        let (mut report, mut latency_us) = (json!({}), histogram());
        latency_us.saturating_record(1_000);
        latency_us.saturating_record(2_000_000);
        latencies(&mut report, &latency_us);
        let near = |name: &str, us: u64| {
            report[name]
                .as_u64()
                .is_some_and(|v| v.abs_diff(us) < us / 500)
        };
        assert!(
            near("p50_us", 1_000) && near("max_us", 2_000_000),
            "{report}"
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(judged(&["--users", "3"]).is_err());
        assert!(judged(&["--window", "0"]).is_err());
        assert!(judged(&["--rate", "0"]).is_err());
        assert!(judged(&["--pid", "4294967295"]).is_err());
    }
}
