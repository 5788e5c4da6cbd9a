//! What is told of the streams with other servers.

use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::s2s::links::State;
use crate::listeners::shard::Shard;
use crate::proto::s2s::Pair;

/// Streams of a shard that are listed; the rest is only counted.
pub const LISTED_MAX: usize = 1000;

/// The states of links that are counted, in the order of [`LinksStatus::by_state`].
pub const LINK_STATES: [&str; 4] = ["connecting", "opening", "ready", "waiting"];

/// How the links of a shard are.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinksStatus {
    /// Links by [`LINK_STATES`]; one that nobody wants anything of is not among them.
    pub by_state: [usize; LINK_STATES.len()],
    /// Bytes of stanzas that wait for a stream.
    pub queued: usize,
}

/// One stream, or one link without any.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// True for a stream that we have opened.
    pub outgoing: bool,
    /// Our domain; empty before the peer has named one.
    pub local: Box<str>,
    /// The other one; empty likewise.
    pub remote: Box<str>,
    /// The other end of the socket, where there is one.
    pub peer: Option<std::net::SocketAddr>,
    /// What it is doing.
    pub state: &'static str,
    /// How it was authenticated; empty where it is not.
    pub proof: &'static str,
    /// The version of TLS; empty without it.
    pub tls: &'static str,
}

impl Shard {
    /// The links to other domains, counted.
    pub(in crate::listeners) fn links_status(&self) -> LinksStatus {
        let mut status = LinksStatus::default();
        for link in self.desk.links.iter() {
            status.queued += link.queue.len();
            let place = match link.state {
                _ if link.way().is_some() => 2,
                State::Dialling(_) => 0,
                State::Opening(_) => 1,
                State::Failed(until_ms, _) if until_ms > self.desk.now_ms => 3,
                State::Failed(..) | State::Idle | State::Ready(_) => continue,
            };
            status.by_state[place] += 1;
        }
        status
    }

    /// The streams with other servers, at most [`LISTED_MAX`].
    pub(in crate::listeners) fn federation_status(&self) -> Vec<StreamStatus> {
        let mut listed = Vec::new();
        for key in self.desk.slab.keys() {
            if let Some(connection) = self.desk.slab.get(key) {
                list(connection, &mut listed);
            }
            if listed.len() >= LISTED_MAX {
                break;
            }
        }
        for link in self.desk.links.iter() {
            let state = match link.state {
                State::Dialling(_) => "connecting",
                State::Failed(until_ms, _) if until_ms > self.desk.now_ms => "waiting",
                State::Failed(..) | State::Idle | State::Opening(_) | State::Ready(_) => continue,
            };
            listed.push(StreamStatus {
                outgoing: true,
                local: link.pair.local.clone(),
                remote: link.pair.remote.clone(),
                peer: None,
                state,
                proof: "",
                tls: "",
            });
        }
        listed.truncate(LISTED_MAX);
        listed
    }
}

fn list(connection: &Connection, listed: &mut Vec<StreamStatus>) {
    let tls = connection.tls.as_ref();
    let tls = tls.and_then(|tls| tls.stream.protocol_version());
    let status = |outgoing, local: &str, remote: &str, state, proof| StreamStatus {
        outgoing,
        local: local.into(),
        remote: remote.into(),
        peer: Some(connection.peer),
        state,
        proof,
        tls: tls.unwrap_or_default(),
    };
    match &connection.stage {
        Stage::Outbound(outbound) => {
            let pair = outbound.pair();
            let proof = outbound.ready().map_or("", |proof| proof.label());
            let (local, remote) = (&pair.local, &pair.remote);
            listed.push(status(true, local, remote, outbound.label(), proof));
            if outbound.goes_both_ways() {
                listed.push(status(false, local, remote, "ready", "certificate"));
            }
        }
        Stage::Inbound(inbound) if inbound.proven().is_empty() => {
            let remote = inbound.claims().unwrap_or_default();
            listed.push(status(false, inbound.host(), remote, "opening", ""));
        }
        Stage::Inbound(inbound) => {
            for (pair, proof) in inbound.proven() {
                let (local, remote) = (&pair.local, &pair.remote);
                listed.push(status(false, local, remote, "ready", proof.label()));
            }
            if let Some(Pair { local, remote }) = inbound.both_ways() {
                listed.push(status(true, local, remote, "ready", "certificate"));
            }
        }
        _ => {}
    }
}
