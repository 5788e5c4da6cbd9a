//! `[runtime]`: ours. How the process uses the machine.

use std::path::Component;
use std::path::Path;

use super::general::LogLevel;
use super::option::Kind;
use super::option::Range;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::source::Sited;

/// Most executors one process runs; more cores than any machine it was tried on.
const CORES_MAX: i64 = 1024;

/// Less than this could not hold one stanza of each of a handful of clients.
const PARTIAL_STANZA_MEMORY_MIN: i64 = 1 << 20;

/// Longer would keep people waiting, and what comes meanwhile fills a group sooner.
const COMMIT_WINDOW_MS_MAX: i64 = 1000;

options! {
    /// `[runtime]`.
    Runtime {
        /// How many cores to use, one executor on each.
        cores: Option<Sited<usize>> = Kind::Int(Range { min: 1, max: CORES_MAX, unit: "" }),
            Unwritten::Unset("all that the process may use, by cgroup and affinity"), ours();
        /// Folder of the accounts, of made certificates and secrets. Relative to the working
        /// folder.
        data_dir: Sited<String> = Kind::Name, Unwritten::Text("data"), ours();
        /// Make a self-signed certificate at start for each `tls` table of a listener whose
        /// `certfile` and `keyfile` both lie below `data_dir` and both do not exist. Without it,
        /// a file that does not exist is an error.
        self_signed: bool = Kind::Bool, Unwritten::Bool(false), ours();
        /// Bytes of unfinished stanzas, HTTP requests and TLS records that one core holds for all of its
        /// connections together; beyond it the largest offender is cut.
        partial_stanza_memory: u64 = Kind::Int(Range {
                min: PARTIAL_STANZA_MEMORY_MIN, max: i64::MAX, unit: "bytes",
            }), Unwritten::Int(64 << 20), ours();
        /// How long a change waits for others that are written to the disk with it, in milliseconds:
        /// longer costs the disk less under load, and delays each answer by as much.
        commit_window_ms: u64 = Kind::Int(Range { min: 0, max: COMMIT_WINDOW_MS_MAX, unit: "ms" }),
            Unwritten::Int(2), ours();
        /// Over how long a stopping server ends its streams and waits for its connections to
        /// take what is still to be said to them, in milliseconds.
        drain_ms: u64 = Kind::MILLIS, Unwritten::Int(10_000), ours();
        /// How log lines look on stderr: text for people, with colours on a terminal, or one JSON
        /// object a line for machines.
        log_format: LogFormat = Kind::OneOf(LogFormat::WORDS), Unwritten::Text("text"), ours();
        /// Levels of parts of the server that differ from `general.loglevel`.
        log_levels: LogLevels = Kind::Section(&LogLevels::SCHEMA), Unwritten::Section, ours();
    }
}

choices! {
    /// How log lines look.
    LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

const LEVEL: Kind = Kind::OneOf(LogLevel::WORDS);
const AS_GENERAL: Unwritten = Unwritten::Unset("that of [general]");

options! {
    /// `[runtime.log_levels]`: each key is the part that a log line names.
    LogLevels {
        /// The store, password hashes and what the first start makes.
        backend: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// Connections and streams: how they begin, what ends them.
        listeners: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// Features.
        modules: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// Sockets, TLS and the ring.
        net: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// Executors and the mailboxes between them.
        runtime: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// Start, stop, reload and the log itself.
        server: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
        /// The TLS library.
        rustls: Option<LogLevel> = LEVEL, AS_GENERAL, ours();
    }
}

impl LogLevels {
    /// Those that are set, by the part they are for.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, LogLevel)> {
        let all = [
            ("backend", self.backend),
            ("listeners", self.listeners),
            ("modules", self.modules),
            ("net", self.net),
            ("runtime", self.runtime),
            ("server", self.server),
            ("rustls", self.rustls),
        ];
        all.into_iter()
            .filter_map(|(part, level)| Some((part, level?)))
    }
}

impl Runtime {
    /// Whether a file is below the data folder, where a first start makes what is missing.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let name = Path::new(name);
        name.starts_with(&self.data_dir.value)
            && !name.components().any(|part| part == Component::ParentDir)
    }
}
