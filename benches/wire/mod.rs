//! What the benchmarks over sockets share: a client, the floor they compare with, and processes
//! whose CPU time is read.
//!
//! The floor is the least that a server could do: one thread, one epoll set, the same socket
//! operations, answers that are fixed bytes, and no check of anything. It runs in a process of its
//! own, made of the benchmark's own binary, so that its time is measured in the same way.

pub(crate) mod client;
pub(crate) mod epoll;
pub(crate) mod floor;
pub(crate) mod process;
pub(crate) mod socket;

use std::io;
use std::process::ExitCode;

/// The argument that makes the benchmark's binary the floor.
pub(crate) const FLOOR_ARGUMENT: &str = "--floor";

/// The stream header of a client.
pub(crate) const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    to='localhost' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>";

/// What ends the server's first answer.
pub(crate) const FEATURES_END: &[u8] = b"</stream:features>";

/// Runs a benchmark; what went wrong is told and is its exit status.
pub(crate) fn run(bench: impl FnOnce() -> io::Result<()>) -> ExitCode {
    let Err(error) = bench() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// Median, least and most of some figures.
pub(crate) fn spread(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |n: usize| figures.get(n).copied().unwrap_or(f64::NAN);
    (
        at(figures.len() / 2),
        at(0),
        at(figures.len().saturating_sub(1)),
    )
}
