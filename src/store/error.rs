//! What can go wrong in a store, sorted by what the operator has to do about it.
//!
//! That an account exists already, or does not, is an answer and not an error: see
//! [`Response`](crate::store::Response).

use std::error::Error;
use std::fmt;

/// Why a store could not be opened, or could not carry out a request. It never holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// A stored row does not have the shape its schema promises.
    Corrupt {
        /// Which row and which part of it.
        what: String,
    },
    /// The storage engine refused: disk full, read-only, an I/O error.
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The engine's or the system's reason.
        reason: String,
    },
    /// Another process kept the store locked for longer than we wait.
    Locked,
    /// The file was written by a later version of meerkat.
    NewerSchema {
        /// The file.
        file: String,
        /// Its schema version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is something else than a meerkat store.
    NotOurs {
        /// The file.
        file: String,
    },
    /// The store was closed before it came to the request.
    Stopped,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { what } => write!(
                f,
                "the store holds a damaged row: {what}; restore it from a backup, or set the \
                 account's password anew with 'meerkat account passwd'"
            ),
            Self::Failed { doing, reason } => write!(f, "the store could not {doing}: {reason}"),
            Self::Locked => f.write_str(
                "another process keeps the store locked; wait for a running import or backup to \
                 end and try again",
            ),
            Self::NewerSchema { file, found, known } => write!(
                f,
                "{file} has schema version {found}, this program knows up to {known}: it was \
                 written by a later version of meerkat; run that version, or restore the backup \
                 made before the upgrade"
            ),
            Self::NotOurs { file } => write!(
                f,
                "{file} is not a meerkat store; move it away, or use another data folder"
            ),
            Self::Stopped => f.write_str("the store is closed"),
        }
    }
}

impl Error for StoreError {}
