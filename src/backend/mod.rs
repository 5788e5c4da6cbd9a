//! What carries out slow or lasting work for the pure parts: stores, and threads for computing.
//!
//! - [`embedded`]: SQLite in the data folder.
//! - [`password_work`]: PBKDF2 on threads of its own.
//! - [`first_start`]: what a new data folder is filled with.
//!
//! Invariants: a backend contains no XMPP rule; an executor thread never waits for one, because
//! every answer comes through a closure; every queue is bounded and says when it is full.

pub mod embedded;
pub mod first_start;
pub mod password_work;
