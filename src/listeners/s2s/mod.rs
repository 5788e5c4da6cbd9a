//! Streams with other servers (RFC 6120, XEP-0220, XEP-0178).
//!
//! [`incoming`] serves the streams that others open: they stay on the shard that accepted them, and
//! what they carry was checked against what they have proven. [`outgoing`] opens and uses the
//! streams to others, on which [`heard`] listens: each belongs to a link of the shard that owns the other domain ([`links`]), so
//! that two entities' stanzas keep their order. Questions about dialback keys travel between the
//! two as [`Letter`]s, because an incoming stream and the link to its domain may be on different
//! shards. An incoming stream that is used in both directions goes where its link is ([`both_ways`]).

pub mod both_ways;
mod heard;
pub mod incoming;
pub mod links;
pub mod outgoing;
pub mod settings;
mod stanza;
pub mod status;

use crate::base::key::Key;
use crate::proto::s2s::Pair;
use crate::proto::s2s::dialback::Dialback;

/// What shards write to each other about streams with other servers.
#[derive(Debug)]
pub enum Letter {
    /// To the owner of a domain: is this key right?
    Ask {
        /// The question, as it goes over the wire.
        question: Dialback,
        /// Who asks.
        shard: usize,
        /// The incoming stream there.
        connection: Key,
    },
    /// Back to whoever asked.
    Answer {
        /// The incoming stream.
        connection: Key,
        /// The answer, from the remote domain to the local one.
        answer: Dialback,
    },
    /// To the owner of the remote domain: its server has connected and proven this pair.
    Seen(Pair),
    /// The server stops, and the shard that writes has ended all its sessions.
    Quiet,
}
