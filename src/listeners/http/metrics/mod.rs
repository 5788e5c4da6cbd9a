//! `mongoose_prometheus_handler`: what every shard has counted, in the format of Prometheus.
//!
//! What is MongooseIM's as well has its name and labels, over all cores ([`mongoose`]); what begins with
//! `meerkat_` is by core, and by listener where there is one. docs/metrics.md lists both.

mod mongoose;

use std::fmt::Display;

use crate::base::address_limits::Refusal;
use crate::listeners::ending::EndReason;
use crate::listeners::report::ServerFacts;
use crate::listeners::s2s::status::LINK_STATES;
use crate::listeners::settings::Settings;
use crate::listeners::status::ShardStatus;
use crate::listeners::traffic::Peers;
use crate::metrics::Place;
use crate::metrics::exposition::Exposition;
use crate::metrics::exposition::Kind;
use crate::metrics::traffic::Flow;
use crate::metrics::traffic::Traffic;
use crate::modules::happening::Happening;
use crate::net::accept::Tally;
use crate::proto::proxy::BadHeader;
use crate::proto::stream::error::StreamCondition;

/// What the text says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kinds of stanzas, by number of their cell.
const KINDS: [&str; 3] = ["iq", "message", "presence"];
/// What is counted of the connections that we open to other servers has this for a listener.
const OUTGOING: &str = "s2s.outgoing";

type Read = fn(&ShardStatus) -> u64;

/// One value a core: name, kind, help, where it is.
const PER_CORE: &[(&str, Kind, &str, Read)] = &[
    (
        "meerkat_connections",
        Kind::Gauge,
        "Open connections.",
        |s| s.connections as u64,
    ),
    ("meerkat_users", Kind::Gauge, "Users with a session.", |s| {
        s.users as u64
    }),
    ("meerkat_sessions", Kind::Gauge, "Sessions.", |s| {
        s.sessions as u64
    }),
    (
        "meerkat_logins_total",
        Kind::Counter,
        "Sessions opened.",
        |s| s.happened(Happening::Login),
    ),
    (
        "meerkat_logouts_total",
        Kind::Counter,
        "Sessions ended.",
        |s| s.happened(Happening::Logout),
    ),
    (
        "meerkat_logins_failed_total",
        Kind::Counter,
        "Logins refused.",
        |s| s.happened(Happening::LoginFailed),
    ),
    (
        "meerkat_passwords_remembered_total",
        Kind::Counter,
        "Passwords of PLAIN that were right before: no computation.",
        |s| s.cells.passwords_remembered,
    ),
    (
        "meerkat_passwords_computed_total",
        Kind::Counter,
        "Passwords of PLAIN that were computed, though right ones are remembered.",
        |s| s.cells.passwords_computed,
    ),
    (
        "meerkat_connections_taken_total",
        Kind::Counter,
        "Connections that this core serves or has served, whichever core accepted them.",
        |s| s.cells.accepts,
    ),
    (
        "meerkat_http_requests_total",
        Kind::Counter,
        "HTTP requests.",
        |s| s.cells.requests,
    ),
    (
        "meerkat_partial_stanza_bytes",
        Kind::Gauge,
        "Bytes held by stanzas that have not come in whole.",
        |s| s.partial_bytes as u64,
    ),
    (
        "meerkat_queue_waiting",
        Kind::Gauge,
        "Batches of other cores and notes of other threads that wait for this core.",
        |s| s.waiting as u64,
    ),
    (
        "meerkat_s2s_queued_bytes",
        Kind::Gauge,
        "Bytes of stanzas for other servers that wait for a stream.",
        |s| s.links.queued as u64,
    ),
    (
        "meerkat_hibernated_connections",
        Kind::Gauge,
        "Sessions that hold no buffer, estimated from a sample.",
        |s| s.hibernated as u64,
    ),
];

/// The whole text.
pub fn text(settings: &Settings, statuses: &[ShardStatus], facts: &ServerFacts) -> String {
    let mut out = Exposition::default();
    out.family("meerkat_info", Kind::Gauge, "The version, as a label.");
    out.value(&[("version", &facts.version)], 1);
    mongoose::write(&mut out, settings, statuses, facts);
    for (name, kind, help, read) in PER_CORE {
        out.family(name, *kind, help);
        for status in statuses {
            out.value(&[("core", &status.shard)], read(status));
        }
    }
    stanzas(&mut out, settings, statuses);
    queues(&mut out, statuses);
    accepts(&mut out, settings, statuses);
    let rows: Vec<(usize, Vec<Place>)> = statuses
        .iter()
        .map(|status| (status.shard, places(settings, status)))
        .collect();
    by_listener(&mut out, settings, &rows);
    reasons(&mut out, settings, &rows);
    certificates(&mut out, settings, statuses);
    let turns = statuses
        .iter()
        .map(|s| ("core", &s.shard as &dyn Display, &s.cells.turn));
    out.histograms(
        "meerkat_read_to_write_seconds",
        "From the read that brought a stanza to the end of its turn's writes.",
        turns,
    );
    let store = [("store", &"embedded" as &dyn Display, &facts.store)];
    out.histograms(
        "meerkat_store_seconds",
        "From a question to the store to its answer.",
        store,
    );
    out.finish()
}

/// What the classes of some peers have in sum.
fn of_peers(settings: &Settings, traffic: &[Traffic], peers: Peers) -> Traffic {
    let hosts = &settings.hosts;
    let first = usize::from(peers.class(hosts, None));
    let classes = traffic.iter().skip(first);
    let mut sum = Traffic::default();
    for class in classes.take(hosts.as_slice().len() + 1) {
        sum.add(class);
    }
    sum
}

fn stanzas(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    type Of = fn(&Traffic) -> &Flow;
    type Read = fn(&Flow) -> &[u64; 3];
    let families: [(&str, &str, Of, Read); 4] = [
        (
            "meerkat_stanzas_received_total",
            "Stanzas received, by what is at the other end, and by kind.",
            |traffic| &traffic.received,
            |flow| &flow.stanzas,
        ),
        (
            "meerkat_stanzas_sent_total",
            "Stanzas sent, likewise.",
            |traffic| &traffic.sent,
            |flow| &flow.stanzas,
        ),
        (
            "meerkat_stanza_bytes_received_total",
            "Bytes of the stanzas received.",
            |traffic| &traffic.received,
            |flow| &flow.bytes,
        ),
        (
            "meerkat_stanza_bytes_sent_total",
            "Bytes of the stanzas sent.",
            |traffic| &traffic.sent,
            |flow| &flow.bytes,
        ),
    ];
    for (name, help, of, read) in families {
        out.family(name, Kind::Counter, help);
        for status in statuses {
            for peers in Peers::ALL {
                let sum = of_peers(settings, &status.traffic, peers);
                for (kind, count) in KINDS.iter().zip(read(of(&sum))) {
                    let labels: [(&str, &dyn Display); 3] = [
                        ("core", &status.shard),
                        ("connection_type", &peers.label()),
                        ("kind", kind),
                    ];
                    out.value(&labels, count);
                }
            }
        }
    }
}

/// Where stanzas wait for others than this process.
fn queues(out: &mut Exposition, statuses: &[ShardStatus]) {
    let help = "Bytes that wait for others to read them, by what is at the other end.";
    out.family("meerkat_outbound_bytes", Kind::Gauge, help);
    for status in statuses {
        for (peers, bytes) in Peers::ALL.iter().zip(status.outbound) {
            let labels: [(&str, &dyn Display); 2] =
                [("core", &status.shard), ("connection_type", &peers.label())];
            out.value(&labels, bytes);
        }
    }
    let help = "Ways to domains of other servers, by what they are doing.";
    out.family("meerkat_s2s_links", Kind::Gauge, help);
    for status in statuses {
        for (state, count) in LINK_STATES.iter().zip(status.links.by_state) {
            let labels: [(&str, &dyn Display); 2] = [("core", &status.shard), ("state", state)];
            out.value(&labels, count);
        }
    }
}

/// What a shard counted by listener: handlers with the listener that they belong to, and last the
/// connections that we open ourselves.
fn places(settings: &Settings, status: &ShardStatus) -> Vec<Place> {
    let bound = settings.listeners().len();
    let mut rows = vec![Place::default(); bound + 1];
    for (number, place) in status.cells.places.iter().enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let row = if number == settings.outgoing() {
            bound
        } else {
            usize::from(settings.bound_number(number))
        };
        if let Some(row) = rows.get_mut(row) {
            row.add(place);
        }
    }
    rows
}

/// The path of each row, and its listener; none for what we open ourselves.
fn paths(settings: &Settings) -> impl Iterator<Item = (&str, bool, bool, bool)> {
    let listeners = settings.listeners().iter();
    let bound = listeners.map(|listener| {
        (
            &*listener.path,
            listener.tls_at_start.is_some(),
            listener.proxy,
            listener.addresses.is_some(),
        )
    });
    bound.chain([(OUTGOING, true, false, false)])
}

fn by_listener(out: &mut Exposition, settings: &Settings, rows: &[(usize, Vec<Place>)]) {
    type Read = fn(&Place) -> u64;
    let families: [(&str, &str, bool, Read); 4] = [
        (
            "meerkat_received_bytes_total",
            "Bytes received, as they came over the wire.",
            false,
            |place| place.bytes_in,
        ),
        (
            "meerkat_sent_bytes_total",
            "Bytes sent, as they went over the wire.",
            false,
            |place| place.bytes_out,
        ),
        (
            "meerkat_tls_handshakes_total",
            "TLS handshakes completed.",
            true,
            |place| place.handshakes,
        ),
        (
            "meerkat_tls_handshakes_failed_total",
            "TLS handshakes that failed or took too long.",
            true,
            |place| place.handshakes_failed,
        ),
    ];
    for (name, help, needs_tls, read) in families {
        out.family(name, Kind::Counter, help);
        for (core, places) in rows {
            for ((path, tls, ..), place) in paths(settings).zip(places) {
                if tls || !needs_tls {
                    out.value(&[("core", core), ("listener", &path)], read(place));
                }
            }
        }
    }
}

fn reasons(out: &mut Exposition, settings: &Settings, rows: &[(usize, Vec<Place>)]) {
    let ends = EndReason::ALL.map(|reason| (reason.label(), reason as usize));
    let refusals = Refusal::ALL.map(|refusal| (refusal.label(), refusal as usize));
    let bad = BadHeader::ALL.map(|kind| (kind.label(), kind.index()));
    let conditions = StreamCondition::ALL.map(|condition| (condition.name(), condition as usize));
    type Read = fn(&Place) -> &[u64];
    type Family<'a> = (&'a str, &'a str, &'a str, &'a [(&'static str, usize)], Read);
    let families: [Family<'_>; 4] = [
        (
            "meerkat_connections_ended_total",
            "Connections that ended, by reason; slow readers that were cut are one of them.",
            "reason",
            &ends,
            |place| &place.ends,
        ),
        (
            "meerkat_stream_errors_total",
            "Stream errors sent, by condition.",
            "condition",
            &conditions,
            |place| &place.stream_errors,
        ),
        (
            "meerkat_address_refusals_total",
            "Clients refused by the limits of their address, by limit.",
            "reason",
            &refusals,
            |place| &place.refusals,
        ),
        (
            "meerkat_proxy_failures_total",
            "PROXY headers refused, by what is wrong with them.",
            "kind",
            &bad,
            |place| &place.proxy_failures,
        ),
    ];
    for (name, help, label, values, read) in families {
        out.family(name, Kind::Counter, help);
        for (core, places) in rows {
            for ((path, _, proxy, limited), place) in paths(settings).zip(places) {
                let applies = match label {
                    "kind" => proxy,
                    "reason" => limited || name == "meerkat_connections_ended_total",
                    _ => true,
                };
                for (value, number) in values.iter().filter(|_| applies) {
                    let labels: [(&str, &dyn Display); 3] =
                        [("core", core), ("listener", &path), (label, value)];
                    let count = read(place).get(*number).copied();
                    out.value(&labels, count.unwrap_or_default());
                }
            }
        }
    }
}

/// Core, listener and what was counted there.
fn tallies<'a>(
    settings: &'a Settings,
    statuses: &'a [ShardStatus],
) -> impl Iterator<Item = (usize, &'a str, Tally)> {
    statuses.iter().flat_map(|status| {
        let all = settings.listeners().iter().zip(&status.tallies);
        all.map(|(listener, tally)| (status.shard, &*listener.path, *tally))
    })
}

fn accepts(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    let all = settings.listeners();
    out.family(
        "meerkat_accepted_total",
        Kind::Counter,
        "Connections accepted, by listener and by the core that accepted them; meerkat_connections_taken_total has each once more, by the core that serves it.",
    );
    for (core, listener, tally) in tallies(settings, statuses) {
        let labels: [(&str, &dyn Display); 2] = [("core", &core), ("listener", &listener)];
        out.value(&labels, tally.accepted);
    }
    let help = "Times that accepting paused, by reason: all connections taken, or the rate.";
    out.family("meerkat_accept_pauses_total", Kind::Counter, help);
    for (core, listener, tally) in tallies(settings, statuses) {
        for (reason, count) in [
            ("max_connections", tally.full),
            ("accept_rate", tally.paced),
        ] {
            let labels: [(&str, &dyn Display); 3] = [
                ("core", &core),
                ("listener", &listener),
                ("reason", &reason),
            ];
            out.value(&labels, count);
        }
    }
    let help = "Open connections, by core.";
    out.family("meerkat_listener_connections", Kind::Gauge, help);
    for status in statuses {
        for (listener, open) in all.iter().zip(&status.by_listener) {
            out.value(
                &[("core", &status.shard), ("listener", &listener.path)],
                open,
            );
        }
    }
    let help = "Accepts kept outstanding, by core.";
    out.family("meerkat_acceptors", Kind::Gauge, help);
    for listener in all {
        for (core, share) in listener.acceptors.iter().enumerate() {
            out.value(&[("core", &core), ("listener", &listener.path)], share);
        }
    }
}

fn certificates(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    let help = "Days until the first certificate of the chain expires.";
    out.family("meerkat_certificate_days", Kind::Gauge, help);
    let days = statuses.first().map(|status| &status.certificate_days);
    let all = settings.listeners().iter();
    for (listener, days) in all.zip(days.into_iter().flatten()) {
        if let Some(days) = days {
            out.value(&[("listener", &listener.path)], days);
        }
    }
}
