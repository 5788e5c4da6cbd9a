//! Where log events go: one line each on stderr, written by a thread of its own, so that no core
//! ever waits for a terminal or a disk.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::general::LogLevel;

/// Starts logging at the configured level; the environment variable MEERKAT_LOG overrides it.
pub(super) fn start(level: LogLevel) {
    let filter =
        EnvFilter::try_from_env("MEERKAT_LOG").unwrap_or_else(|_| EnvFilter::new(directive(level)));
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    // The writer lives as long as the process; what it still holds at the end is one line at most.
    std::mem::forget(guard);
    let colours = std::io::stderr().is_terminal();
    let subscriber = fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours)
        .with_target(false)
        .finish();
    // Set once per process; a second start in a test keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// MongooseIM's levels in the words of tracing.
fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::None => "off",
        LogLevel::Emergency | LogLevel::Alert | LogLevel::Critical | LogLevel::Error => "error",
        LogLevel::Warning => "warn",
        LogLevel::Notice | LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::All => "trace",
    }
}
