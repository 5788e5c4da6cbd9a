//! `[runtime]`: ours. How the process uses the machine.

use std::path::Component;
use std::path::Path;

use super::option::Kind;
use super::option::Range;
use super::option::Unwritten;
use super::option::options;
use super::source::Sited;

/// Most executors one process runs; more cores than any machine it was tried on.
const CORES_MAX: i64 = 1024;

/// Less than this could not hold one stanza of each of a handful of clients.
const PARTIAL_STANZA_MEMORY_MIN: i64 = 1 << 20;

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
        /// Bytes of unfinished stanzas that one core holds for all of its connections together;
        /// beyond it the largest offender is cut.
        partial_stanza_memory: u64 = Kind::Int(Range {
                min: PARTIAL_STANZA_MEMORY_MIN, max: i64::MAX, unit: "bytes",
            }), Unwritten::Int(64 << 20), ours();
        /// How long a stopping server waits for its connections to take what is still to be
        /// said to them, in milliseconds.
        drain_ms: u64 = Kind::MILLIS, Unwritten::Int(10_000), ours();
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
