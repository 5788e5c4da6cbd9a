//! What a connection costs: connect, stream header, features, close, on loopback without TLS.
//!
//! `cargo bench --bench accept` starts meerkat and the floor as processes, drives both in turn, and
//! tells CPU microseconds of the server's process per connection. `--count N` connections a round.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table"
)]

mod wire;

use std::net::SocketAddrV4;

use wire::FEATURES_END;
use wire::HEADER;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_MS;
use wire::client::connect;
use wire::client::receive;
use wire::client::send;
use wire::epoll::Epoll;
use wire::process::Server;

/// Connections in one round; over a second of work.
const COUNT: usize = 20_000;
/// Rounds of each server, in turn.
const ROUNDS: usize = 7;
/// Connections that are open at the same time.
const AT_ONCE: usize = 50;
/// Connections before anything is measured.
const BEFORE: usize = 2_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == wire::FLOOR_ARGUMENT)
    {
        wire::floor::serve();
    }
    let count = arguments.iter().position(|argument| argument == "--count");
    let count = count.map_or(COUNT, |at| arguments[at + 1].parse().expect("--count N"));
    let servers = [Server::floor(), Server::meerkat(1, 0)];
    let mut figures = [Vec::new(), Vec::new()];
    for server in &servers {
        open_streams(server.address, BEFORE, AT_ONCE);
        eprintln!("{} is process {}", server.name, server.id());
    }
    for _ in 0..ROUNDS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            let before = server.cpu_ns();
            open_streams(server.address, count, AT_ONCE);
            figures.push((server.cpu_ns() - before) / 1000.0 / count as f64);
        }
    }
    let mut floor = 0.0;
    println!("stream open, CPU-us per connection ({ROUNDS} rounds of {count})");
    println!(
        "{:20} {:>8} {:>8} {:>8} {:>8}",
        "", "median", "least", "most", "ratio"
    );
    for (server, figures) in servers.iter().zip(&mut figures) {
        let (median, least, most) = wire::spread(figures);
        if floor == 0.0 {
            floor = median;
        }
        let (name, ratio) = (&server.name, median / floor);
        println!("{name:20} {median:8.1} {least:8.1} {most:8.1} {ratio:8.2}");
    }
}

/// Opens `count` streams, `at_once` at a time: connect, header, features, close.
fn open_streams(to: SocketAddrV4, count: usize, at_once: usize) {
    let mut epoll = Epoll::new();
    let mut input = vec![0; INPUT_BYTES];
    let begin = |epoll: &Epoll, number: usize, place: usize| {
        let socket = connect(to, number);
        send(&socket, HEADER);
        epoll.add(&socket, place);
        Some(socket)
    };
    let mut begun = at_once.min(count);
    let mut open: Vec<_> = (0..begun).map(|n| begin(&epoll, n, n)).collect();
    let (mut done, mut ready) = (0, Vec::new());
    while done < count {
        epoll.wait(Some(PATIENCE_MS), &mut ready);
        assert!(!ready.is_empty(), "the server is silent");
        for place in ready.drain(..) {
            let Some(socket) = &open[place] else { continue };
            if !receive(socket, &mut input).ends_with(FEATURES_END) {
                continue;
            }
            done += 1;
            open[place] = None;
            if begun < count {
                open[place] = begin(&epoll, begun, place);
                begun += 1;
            }
        }
    }
}
