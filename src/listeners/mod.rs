//! Where bytes meet the protocol: the connections of a shard and the loop that drives them.
//!
//! [`drive`] is the loop. A connection's life reads from top to bottom in [`begin`] (limits, PROXY
//! header, TLS), [`receive`], [`c2s`] (negotiation and stanzas), [`opening`] (sessions), [`service`] (components),
//! [`send`] and [`ending`]. [`desk`] is what the modules write to, [`mail`] what travels between shards, [`answers`] what comes back from the
//! store. Every end of a connection has a name in [`ending::EndReason`].
//!
//! Not here: what a stanza means (`proto`, `modules`), and how the kernel is asked (`net`).

/// A log line about a connection: its number, its listener and its client are fields of each.
macro_rules! log_of {
    ($level:ident, $settings:expr, $connection:expr, $($rest:tt)+) => {
        tracing::$level!(
            connection = $connection.id,
            listener = %$settings.listener($connection.listener).path,
            peer = %$connection.peer,
            $($rest)+
        )
    };
}

pub mod answers;
pub mod begin;
pub mod c2s;
pub mod components;
pub mod connection;
pub mod desk;
pub mod drain;
pub mod drive;
mod effort;
pub mod ending;
pub mod http;
pub mod mail;
pub mod opening;
pub mod pause;
pub mod questions;
pub mod random;
pub mod receive;
pub mod registration;
pub mod removal;
pub mod report;
pub mod s2s;
pub mod send;
pub mod service;
pub mod settings;
pub mod shard;
pub mod slab;
pub mod status;
pub mod traffic;
pub mod written;
