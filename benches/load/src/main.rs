//! stampede: drives an XMPP server from one thread and tells what it costs.
//!
//! `stampede MODE --to 127.0.0.1:5222 --pid PID` prints a table, with `--json FILE` also JSON, with
//! `--svg FILE` a plot. The figure that counts is CPU time of the server's process tree for each
//! operation; stampede's own stands beside it. `stampede floor` is the canned-bytes loop to compare
//! with (benches/wire). Accounts are `user0`, `user1` and so on, with the password `secret`;
//! `stampede accounts` prints them for `meerkat account import`.
//!
//! What is said comes from `script.rs`, a connection with all that is on top of TCP is `link.rs`;
//! `arrive.rs` has clients follow their scripts, `chat.rs`, `broadcast.rs` and `churn.rs` what comes
//! after. Whatever a server does to a connection is counted (`fault.rs`).

mod arguments;
mod arrive;
mod broadcast;
mod chat;
mod churn;
mod client;
mod fault;
mod frames;
mod link;
mod marks;
mod plot;
mod process;
mod proxy;
mod report;
mod scram;
mod script;
mod tls;
mod wire;

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::ProgressBar;
use rustix::process::Resource;
use serde_json::Value;
use serde_json::json;

use arguments::Arguments;
use arguments::Mode;
use arrive::Arrived;
use arrive::Crowd;
use arrive::arrive;
use broadcast::Broadcast;
use chat::Said;
use chat::Talk;
use churn::churn;
use client::Shared;
use fault::Fault;
use fault::Faults;
use link::Link;
use link::Target;
use plot::Curve;
use report::Both;
use report::costs;
use report::latencies;
use report::latency_curve;
use script::Depth;

/// Parts in which idle sessions arrive; memory counts from the end of the first: 2,000 of 18,000.
const IDLE_PARTS: usize = 9;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(fault) = arguments.check() {
        eprintln!("stampede: {fault}");
        return ExitCode::from(2);
    }
    match act(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("stampede: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing failed, was lost or came twice.
fn act(arguments: &Arguments) -> Result<bool, String> {
    allow_files();
    match arguments.mode {
        Mode::Floor => {
            return wire::floor::serve()
                .map(|()| true)
                .map_err(|error| error.to_string());
        }
        Mode::Accounts => {
            for number in 0..arguments.count {
                println!("user{number}@{},{}", arguments.domain, script::PASSWORD);
            }
            return Ok(true);
        }
        Mode::Connect
        | Mode::Stream
        | Mode::Login
        | Mode::Session
        | Mode::Idle
        | Mode::Chat
        | Mode::Broadcast
        | Mode::Churn => {}
    }
    let (mut report, curve) = Run::new(arguments)?.go()?;
    report["mode"] = json!(arguments.mode.name());
    print!("{}", report::table(&report));
    if let Some(file) = &arguments.json {
        write(file, &format!("{report:#}\n"))?;
    }
    if let Some(file) = &arguments.svg {
        write(file, &plot::svg(&curve))?;
    }
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    Ok(["failed", "lost", "twice"]
        .into_iter()
        .all(|name| count(name) == 0))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Takes all the files that this process may have: one for each connection.
fn allow_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not, connections fail and are counted.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// One run of a mode.
struct Run<'a> {
    arguments: &'a Arguments,
    shared: Shared,
    bar: ProgressBar,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self, String> {
        let target = Target {
            to: arguments.to,
            sources: arguments.sources,
            proxy: arguments.proxy,
            tls: tls::config().map_err(|error| error.to_string())?,
        };
        Ok(Self {
            arguments,
            shared: Shared::new(target),
            bar: ProgressBar::new(arguments.count as u64),
        })
    }

    /// The report, and what is drawn.
    fn go(mut self) -> Result<(Value, Curve), String> {
        let outcome = match self.arguments.mode {
            Mode::Connect => self.visits(Depth::Connect),
            Mode::Stream => self.visits(Depth::Stream),
            Mode::Login => self.visits(Depth::Login),
            Mode::Session => self.visits(Depth::Session),
            Mode::Idle => self.idle(),
            Mode::Chat => self.chat(),
            Mode::Broadcast => self.broadcast(),
            Mode::Churn => self.churn(),
            Mode::Floor | Mode::Accounts => Err("that is no run".to_owned()),
        };
        self.bar.finish_and_clear();
        outcome
    }

    fn read(&self) -> Both {
        Both::read(self.arguments.pid)
    }

    fn arrive(
        &mut self,
        depth: Depth,
        numbers: Range<usize>,
        stay: bool,
    ) -> Result<Arrived, String> {
        let bar = if stay {
            ProgressBar::hidden()
        } else {
            self.bar.clone()
        };
        let crowd = Crowd {
            // Users come back in turn: a session that is still ending does not hold up the next.
            users: if stay {
                numbers.end.max(1)
            } else {
                self.arguments.users
            },
            leave_first: depth == Depth::Session,
            numbers,
            at_once: self.arguments.at_once,
            rate: self
                .arguments
                .rate
                .filter(|_| !stay || self.arguments.mode == Mode::Idle),
            stay,
            patience: self.arguments.patience(),
        };
        let manner = self.arguments.manner();
        let steps = |number| manner.steps(depth, number);
        arrive(&crowd, steps, &mut self.shared, &bar).map_err(told)
    }

    /// Users who stay; all of them, or it is an error.
    fn sessions(&mut self, count: usize) -> Result<Vec<Link>, String> {
        let arrived = self.arrive(Depth::Session, 0..count, true)?;
        match arrived.faults.sum() {
            0 => Ok(arrived.links),
            _ => Err(format!(
                "not everybody could log in: {}",
                arrived.faults.told()
            )),
        }
    }

    fn visits(&mut self, depth: Depth) -> Result<(Value, Curve), String> {
        let before = self.read();
        let arrived = self.arrive(depth, 0..self.arguments.count, false)?;
        let mut report = costs(before, self.read(), self.arguments.count, arrived.took);
        failures(&mut report, &arrived.faults);
        latencies(&mut report, &arrived.latency_us);
        Ok((report, latency_curve(&arrived.latency_us)))
    }

    fn idle(&mut self) -> Result<(Value, Curve), String> {
        let count = self.arguments.count;
        let part = |n: usize| count * n / IDLE_PARTS;
        let (mut links, mut faults, mut points) = (Vec::new(), Faults::default(), Vec::new());
        let (mut first, mut took) = (None, std::time::Duration::ZERO);
        for n in 0..IDLE_PARTS {
            let arrived = self.arrive(Depth::Session, part(n)..part(n + 1), true)?;
            links.extend(arrived.links);
            faults.add(&arrived.faults);
            if n > 0 {
                took += arrived.took;
            }
            let now = self.read();
            first.get_or_insert(now);
            points.push((part(n + 1) as f64, now.server.rss_kib as f64));
            self.bar.set_position(part(n + 1) as u64);
        }
        let (before, after) = (first.unwrap_or_else(|| self.read()), self.read());
        let more = (count - part(1)).max(1);
        let mut report = costs(before, after, more, took);
        let grown = after.server.rss_kib.saturating_sub(before.server.rss_kib) as f64;
        report["server_kib_per_session"] = json!(grown / more as f64);
        report["rss_kib_by_sessions"] = json!(points);
        failures(&mut report, &faults);
        let curve = Curve {
            title: "memory of the server".to_owned(),
            x: "sessions".to_owned(),
            y: "KiB".to_owned(),
            is_log: false,
            points,
        };
        Ok((report, curve))
    }

    fn chat(&mut self) -> Result<(Value, Curve), String> {
        let arguments = self.arguments;
        let mut links = self.sessions(arguments.users + arguments.beside)?;
        let beside = links.split_off(arguments.users);
        let talk = Talk::new(links, &arguments.manner(), arguments.full).map_err(told)?;
        let before = self.read();
        let said = talk.run(
            arguments.pace(),
            arguments.count,
            arguments.patience(),
            &self.bar,
        );
        let outcome = self.said(before, said.map_err(told)?);
        drop(beside);
        outcome
    }

    fn broadcast(&mut self) -> Result<(Value, Curve), String> {
        let arguments = self.arguments;
        let links = self.sessions(arguments.users)?;
        let (manner, patience) = (arguments.manner(), arguments.patience());
        let mut broadcast = Broadcast::new(links, &manner, patience).map_err(told)?;
        broadcast.subscribe().map_err(told)?;
        let before = self.read();
        let said = broadcast.run(arguments.pace(), arguments.count, &self.bar);
        self.said(before, said.map_err(told)?)
    }

    fn said(&self, before: Both, said: Said) -> Result<(Value, Curve), String> {
        let count = said.latency_us.len() as usize + said.lost;
        let mut report = costs(before, self.read(), count.max(1), said.took);
        failures(&mut report, &said.faults);
        report["lost"] = json!(said.lost);
        report["twice"] = json!(said.twice);
        report["late"] = json!(said.late);
        latencies(&mut report, &said.latency_us);
        Ok((report, latency_curve(&said.latency_us)))
    }

    fn churn(&mut self) -> Result<(Value, Curve), String> {
        let arguments = self.arguments;
        let links = self.sessions(arguments.users)?;
        let before = self.read();
        let churned = churn(
            links,
            arguments.count,
            arguments.at_once,
            arguments.patience(),
            &arguments.manner(),
            &mut self.shared,
            &self.bar,
        );
        let churned = churned.map_err(told)?;
        let mut report = costs(before, self.read(), arguments.count, churned.took);
        failures(&mut report, &churned.faults);
        latencies(&mut report, &churned.latency_us);
        Ok((report, latency_curve(&churned.latency_us)))
    }
}

fn failures(report: &mut Value, faults: &Faults) {
    report["failed"] = json!(faults.sum());
    if faults.sum() > 0 {
        report["failures"] = faults.told();
    }
}

fn told(fault: Fault) -> String {
    format!("the run ended early: {fault:?}")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load generator reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}
