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

use std::io;
use std::net::SocketAddrV4;
use std::process::ExitCode;

use wire::FEATURES_END;
use wire::HEADER;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_NS;
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

fn main() -> ExitCode {
    wire::run(bench)
}

fn bench() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == wire::FLOOR_ARGUMENT)
    {
        return wire::floor::serve();
    }
    let count = arguments.iter().position(|argument| argument == "--count");
    let count = count.map_or(COUNT, |at| arguments[at + 1].parse().expect("--count N"));
    let servers = [Server::floor(), Server::meerkat(1, 0, "", |_| {})];
    let mut figures = [Vec::new(), Vec::new()];
    for server in &servers {
        open_streams(server.address, BEFORE, AT_ONCE)?;
        eprintln!("{} is process {}", server.name, server.id());
    }
    for _ in 0..ROUNDS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            let before = server.cpu_ns();
            open_streams(server.address, count, AT_ONCE)?;
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
    Ok(())
}

/// Opens `count` streams, `at_once` at a time: connect, header, features, close.
fn open_streams(to: SocketAddrV4, count: usize, at_once: usize) -> io::Result<()> {
    let mut epoll = Epoll::new()?;
    let mut input = vec![0; INPUT_BYTES];
    let begin = |epoll: &Epoll, number: usize, place: usize| {
        let socket = connect(to, number)?;
        send(&socket, HEADER)?;
        epoll.add(&socket, place)?;
        Ok::<_, io::Error>(Some(socket))
    };
    let mut begun = at_once.min(count);
    let open = (0..begun).map(|n| begin(&epoll, n, n));
    let mut open = open.collect::<io::Result<Vec<_>>>()?;
    let (mut done, mut ready) = (0, Vec::new());
    while done < count {
        epoll.wait(Some(PATIENCE_NS), &mut ready)?;
        if ready.is_empty() {
            return Err(io::Error::other("the server is silent"));
        }
        for place in ready.drain(..) {
            let Some(socket) = &open[place] else { continue };
            if !receive(socket, &mut input)?.ends_with(FEATURES_END) {
                continue;
            }
            done += 1;
            open[place] = None;
            if begun < count {
                open[place] = begin(&epoll, begun, place)?;
                begun += 1;
            }
        }
    }
    Ok(())
}
