//! What the shards said, put together: as JSON for the local socket and the dashboard.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::listeners::ending::EndReason;
use crate::listeners::removal::Removal;
use crate::listeners::s2s::status::StreamStatus;
use crate::listeners::settings::Settings;
use crate::listeners::status::Answer;
use crate::listeners::status::SessionStatus;
use crate::listeners::status::ShardStatus;
use crate::metrics::Histogram;
use crate::modules::happening::Happening;
use crate::proto::proxy::BadHeader;

/// What one shard alone does not know.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Of this server.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The wall clock, in seconds since 1970.
    pub unix_seconds: u64,
    /// Questions to the store and how long they took.
    pub store: Histogram,
}

/// The statuses among answers, in the order of the shards.
pub fn statuses(answers: Vec<Answer>) -> Vec<ShardStatus> {
    let mut statuses: Vec<ShardStatus> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::Status(status) => Some(*status),
            Answer::Sessions(..) | Answer::Kicked(_) | Answer::Removed(_) => None,
        })
        .collect();
    statuses.sort_by_key(|status| status.shard);
    statuses
}

fn counts(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    let members = counts.map(|(label, count)| (label.to_owned(), json!(count)));
    Value::Object(members.collect())
}

/// `meerkat status --json`.
pub fn status(settings: &Settings, statuses: &[ShardStatus], facts: &ServerFacts) -> Value {
    let shards: Vec<Value> = statuses.iter().map(shard).collect();
    let listeners = settings.listeners().iter().enumerate();
    let listeners: Vec<Value> = listeners
        .map(|(number, listener)| {
            let open: usize = statuses
                .iter()
                .filter_map(|s| s.by_listener.get(number))
                .sum();
            let days = statuses.first().map(|status| &status.certificate_days);
            json!({
                "path": listener.path,
                "address": listener.address.to_string(),
                "acceptors": listener.acceptors,
                "connections": open,
                "connections_max": listener.gate.open_max(),
                "accepted": listener.gate.accepted(),
                "certificate_days": days.and_then(|days| days.get(number).copied().flatten()),
            })
        })
        .collect();
    let components: Vec<Value> = statuses
        .iter()
        .flat_map(|status| {
            let names = status.components.iter();
            names.map(|name| json!({"name": name, "shard": status.shard}))
        })
        .collect();
    json!({
        "version": facts.version,
        "uptime_s": facts.uptime_s,
        "sessions": statuses.iter().map(|status| status.sessions).sum::<usize>(),
        "users": statuses.iter().map(|status| status.users).sum::<usize>(),
        "shards": shards,
        "listeners": listeners,
        "components": components,
        "s2s": statuses.iter().flat_map(|status| &status.s2s).map(stream).collect::<Vec<_>>(),
    })
}

/// A stream with another server.
fn stream(stream: &StreamStatus) -> Value {
    json!({
        "outgoing": stream.outgoing,
        "local": stream.local,
        "remote": stream.remote,
        "peer": stream.peer.map(|peer| peer.to_string()),
        "state": stream.state,
        "proof": stream.proof,
        "tls": stream.tls,
    })
}

fn shard(status: &ShardStatus) -> Value {
    let cells = &status.cells;
    let everywhere = cells.everywhere();
    let ends = EndReason::ALL.map(|reason| (reason.label(), everywhere.ends[reason as usize]));
    let bad = BadHeader::ALL.map(|kind| (kind.label(), everywhere.proxy_failures[kind.index()]));
    json!({
        "shard": status.shard,
        "connections": status.connections,
        "accepted": status.tallies.iter().map(|tally| tally.accepted).sum::<u64>(),
        "sessions": status.sessions,
        "stanzas": status.stanzas(),
        "stanzas_out": status.stanzas_sent(),
        "messages": cells.stanzas_in[1],
        "bytes_in": everywhere.bytes_in,
        "bytes_out": everywhere.bytes_out,
        "logins": status.happened(Happening::Login),
        "waiting": status.waiting,
        "hibernated": status.hibernated,
        "partial_bytes": status.partial_bytes,
        "proxy_failures": counts(bad.into_iter()),
        "ends": counts(ends.into_iter()),
    })
}

/// The sessions among answers, those with the most recent activity first.
pub fn sessions(answers: Vec<Answer>) -> Value {
    let mut all: Vec<SessionStatus> = Vec::new();
    let mut left_out = 0;
    for answer in answers {
        if let Answer::Sessions(sessions, more) = answer {
            all.extend(sessions);
            left_out += more;
        }
    }
    all.sort_by(|a, b| (a.idle_s, &a.jid).cmp(&(b.idle_s, &b.jid)));
    let sessions: Vec<Value> = all.iter().map(session).collect();
    json!({"sessions": sessions, "left_out": left_out})
}

fn session(session: &SessionStatus) -> Value {
    json!({
        "jid": session.jid,
        "peer": session.peer,
        "listener": session.listener,
        "transport": session.transport,
        "tls": session.tls,
        "age_s": session.age_s,
        "idle_s": session.idle_s,
        "priority": session.priority,
        "outbound": session.outbound,
        "shard": session.shard,
    })
}

/// Who was made to leave.
pub fn kicked(answers: Vec<Answer>) -> Value {
    let mut document = Map::new();
    let kicked = answers.into_iter().flat_map(|answer| match answer {
        Answer::Kicked(jids) => jids,
        Answer::Status(_) | Answer::Sessions(..) | Answer::Removed(_) => Vec::new(),
    });
    document.insert("kicked".to_owned(), kicked.collect());
    Value::Object(document)
}

/// What became of an account that was to be removed.
pub fn removed(answers: Vec<Answer>) -> Value {
    let removal = answers.into_iter().find_map(|answer| match answer {
        Answer::Removed(removal) => removal,
        Answer::Status(_) | Answer::Sessions(..) | Answer::Kicked(_) => None,
    });
    match removal {
        Some(Removal::Removed { sessions, contacts }) => {
            json!({"removed": true, "sessions": sessions, "contacts": contacts})
        }
        Some(Removal::NoSuchAccount) => json!({"removed": false}),
        Some(Removal::Failed) | None => {
            json!({"error": "its store did not answer: try again, and look into the server's log"})
        }
    }
}
