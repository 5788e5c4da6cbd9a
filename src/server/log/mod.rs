//! Where log events go: one line each on stderr, as text or as JSON, written by a thread of its own,
//! so that no core ever waits for a terminal or a disk.
//!
//! Levels come from `[general] loglevel` and `[runtime.log_levels]`; the environment variable
//! MEERKAT_LOG overrides both. What repeats is limited ([`repeats`]), what the writer could not take
//! is counted, and both are said once a second at most ([`Log::tell_losses`]).

mod repeats;

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_appender::non_blocking::ErrorCounter;
use tracing_appender::non_blocking::NonBlockingBuilder;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::Layered;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;

use self::repeats::Limit;
use self::repeats::Repeats;
use crate::config::Config;
use crate::config::general::LogLevel;
use crate::config::runtime::LogFormat;

/// Overrides the configured levels.
const ENVIRONMENT: &str = "MEERKAT_LOG";

/// Lines that wait for the writer, some 200 bytes each. Beyond it lines are dropped and counted:
/// whoever reads our stderr may stop, and the server may not.
const WAITING_LINES_MAX: usize = 16_384;

type Lines = Box<dyn Layer<Registry> + Send + Sync>;
type Levels = reload::Handle<EnvFilter, Layered<Limit, Layered<Lines, Registry>>>;

/// The log of this process. Lives on: the main thread.
pub(super) struct Log {
    levels: Levels,
    repeats: Arc<Repeats>,
    lost: ErrorCounter,
    lost_told: usize,
    /// Writes what is left when it is dropped.
    _writer: WorkerGuard,
}

/// What became of new levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewLevels {
    /// They hold.
    Applied,
    /// MEERKAT_LOG is set, and goes before the file.
    Overridden,
}

impl Log {
    /// Starts logging as configured.
    pub(super) fn start(config: &Config) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(WAITING_LINES_MAX)
            .thread_name("log")
            .finish(std::io::stderr());
        let lost = writer.error_counter();
        let lines: Lines = match config.runtime.log_format {
            LogFormat::Text => Box::new(fmt::layer().with_writer(writer).with_ansi(colours())),
            LogFormat::Json => {
                Box::new(fmt::layer().json().flatten_event(true).with_writer(writer))
            }
        };
        let repeats = Arc::new(Repeats::new());
        let filter = from_environment().unwrap_or_else(|| EnvFilter::new(directives(config)));
        let (filter, levels) = reload::Layer::new(filter);
        // The filter is outermost, so that it alone decides what is looked at.
        let subscriber = tracing_subscriber::registry()
            .with(lines)
            .with(Limit::new(Arc::clone(&repeats)))
            .with(filter);
        // Set once per process; a second start in a test keeps the first.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Self {
            levels,
            repeats,
            lost,
            lost_told: 0,
            _writer: guard,
        }
    }

    /// The levels of a configuration that was read anew.
    pub(super) fn take_levels(&self, config: &Config) -> NewLevels {
        if from_environment().is_some() {
            return NewLevels::Overridden;
        }
        // Fails only where another subscriber was set before ours: in a test.
        let _ = self.levels.reload(EnvFilter::new(directives(config)));
        NewLevels::Applied
    }

    /// Says what was left out since the last time; call it now and then.
    pub(super) fn tell_losses(&mut self) {
        for (place, lines) in self.repeats.take_left_out() {
            tracing::warn!(lines, %place, "a message repeats; more of it was left out");
        }
        let lost = self.lost.dropped_lines();
        let lines = lost.saturating_sub(self.lost_told);
        self.lost_told = lost;
        if lines > 0 {
            tracing::warn!(lines, "log lines were lost: whoever reads them is too slow");
        }
    }
}

/// On a terminal, unless its user wants none (no-color.org).
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

fn from_environment() -> Option<EnvFilter> {
    EnvFilter::try_from_env(ENVIRONMENT).ok()
}

/// The configured levels in the words of tracing: one for all, then those of parts.
fn directives(config: &Config) -> String {
    let mut text = word(config.general.loglevel).to_owned();
    for (part, level) in config.runtime.log_levels.iter() {
        // A part of meerkat, or a library; only one of the two exists.
        let level = word(level);
        text.push_str(&format!(",meerkat::{part}={level},{part}={level}"));
    }
    text
}

/// MongooseIM's levels in the words of tracing.
fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::None => "off",
        LogLevel::Emergency | LogLevel::Alert | LogLevel::Critical | LogLevel::Error => "error",
        LogLevel::Warning => "warn",
        LogLevel::Notice | LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::All => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_levels_of_their_own() {
        let mut config = Config::default();
        config.general.loglevel = LogLevel::Notice;
        assert_eq!(directives(&config), "info");
        config.runtime.log_levels.net = Some(LogLevel::Debug);
        config.runtime.log_levels.rustls = Some(LogLevel::None);
        assert_eq!(
            directives(&config),
            "info,meerkat::net=debug,net=debug,meerkat::rustls=off,rustls=off"
        );
        assert!(EnvFilter::builder().parse(directives(&config)).is_ok());
    }
}
