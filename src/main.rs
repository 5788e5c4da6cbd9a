//! The `meerkat` binary: parse the arguments, carry out one command.

use std::process::ExitCode;

use meerkat::cli;
use meerkat::server;

fn main() -> ExitCode {
    cli::run(cli::Commands {
        serve: server::serve,
        ask: server::status::ask,
        doctor: server::doctor::run,
        examine: server::tls::examine,
    })
}
