//! `[modules.mod_bosh]` and `[services.service_bosh]`: the times of BOSH sessions (XEP-0124).
//!
//! That clients are served at all is said by the handler of a listener. MongooseIM moved the options
//! from the one place to the other, so both have the same ones.

use super::BACKEND;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::options;
use crate::config::values::Bound;

options! {
    /// Times of BOSH sessions.
    Bosh {
        /// Seconds without a request after which a session ends. A request that waits for its answer
        /// counts as one.
        inactivity: Bound<u64> = Kind::SECONDS_FROM_1_OR_INFINITY, Unwritten::Int(30);
        /// Longest time in seconds that a request waits for its answer, whatever the client asks for.
        max_wait: Bound<u64> = Kind::SECONDS_FROM_1_OR_INFINITY, Unwritten::Int(60);
        /// Whether answers acknowledge the requests that have come (XEP-0124 section 9.1).
        server_acks: bool = Kind::Bool, Unwritten::Bool(false);
        /// Longest pause in seconds that a client may ask for.
        max_pause: u64 = Kind::SECONDS_FROM_1, Unwritten::Int(120);
    }
}

/// Keys of `[modules.mod_bosh]`.
pub(super) const MODULE: Schema = Schema {
    groups: &[
        Bosh::OPTIONS,
        &[Opt::new(
            "backend",
            "Database of MongooseIM; here sessions are in memory.",
            BACKEND,
            Unwritten::Unset("memory"),
        )],
    ],
};

/// Keys of `[services.service_bosh]`.
pub(crate) const SERVICE: Schema = Schema {
    groups: &[
        Bosh::OPTIONS,
        &[
            Opt::new(
                "backend",
                "Database of MongooseIM; here sessions are in memory.",
                Kind::OneOf(&["mnesia", "cets"]),
                Unwritten::Unset("memory"),
            ),
            Opt::new(
                "host_types",
                "Host types whose users MongooseIM serves; here it is those of every host.",
                Kind::NAMES,
                Unwritten::Unset("all"),
            ),
        ],
    ],
};
