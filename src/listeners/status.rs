//! What a shard says about itself when somebody asks.

use std::sync::mpsc::SyncSender;

use crate::listeners::ending::EndReason;
use crate::listeners::shard::Shard;

/// A question; the answer goes to whoever sent it.
pub struct StatusRequest {
    /// Takes one answer.
    pub answer: SyncSender<ShardStatus>,
}

/// How one shard is.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Its number.
    pub shard: usize,
    /// Open connections.
    pub connections: usize,
    /// Bound sessions.
    pub sessions: usize,
    /// Connections by listener number.
    pub by_listener: Vec<usize>,
    /// Stanzas received since the start.
    pub stanzas: u64,
    /// Ended connections by reason.
    pub ends: Vec<(&'static str, u64)>,
}

impl Shard {
    /// Answers a question about this shard.
    pub(super) fn report(&self, request: StatusRequest) {
        let mut by_listener = vec![0; self.settings.listeners().len()];
        for key in self.desk.slab.keys() {
            if let Some(connection) = self.desk.slab.get(key)
                && let number = self.settings.bound_number(connection.listener)
                && let Some(count) = by_listener.get_mut(usize::from(number))
            {
                *count += 1;
            }
        }
        let status = ShardStatus {
            shard: self.number(),
            connections: self.desk.slab.len(),
            sessions: self.sessions.sessions(),
            by_listener,
            stanzas: self.stanzas_in,
            ends: EndReason::ALL
                .iter()
                .map(|reason| (reason.label(), self.ends[*reason as usize]))
                .collect(),
        };
        // Whoever asked may have given up.
        let _ = request.answer.try_send(status);
    }
}
