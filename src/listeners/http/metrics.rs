//! `mongoose_prometheus_handler`: what every shard has counted, in the format of Prometheus.
//!
//! Names of MongooseIM (6.3 and later) where it has the same thing, with the core added; the rest
//! begins with `meerkat_`.

use std::fmt::Display;

use crate::base::address_limits::Refusal;
use crate::listeners::report::ServerFacts;
use crate::listeners::settings::Settings;
use crate::listeners::status::ShardStatus;
use crate::metrics::exposition::Exposition;
use crate::metrics::exposition::Kind;
use crate::net::accept::Tally;
use crate::proto::stream::error::StreamCondition;

/// What the text says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The kinds of stanzas, by number of their cell.
const KINDS: [&str; 3] = ["iq", "message", "presence"];

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
    ("sm_node_sessions_count", Kind::Gauge, "Sessions.", |s| {
        s.sessions as u64
    }),
    (
        "sm_session_logins_count",
        Kind::Counter,
        "Sessions opened.",
        |s| s.cells.logins,
    ),
    (
        "sm_session_logouts_count",
        Kind::Counter,
        "Sessions ended.",
        |s| s.cells.logouts,
    ),
    (
        "c2s_auth_failed_count",
        Kind::Counter,
        "Logins refused.",
        |s| s.cells.logins_failed,
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
        "c2s_element_in_stanza_count",
        Kind::Counter,
        "Stanzas of clients.",
        ShardStatus::stanzas,
    ),
    (
        "c2s_element_in_iq_count",
        Kind::Counter,
        "IQs of clients.",
        |s| s.cells.stanzas_in[0],
    ),
    (
        "c2s_element_in_message_count",
        Kind::Counter,
        "Messages of clients.",
        |s| s.cells.stanzas_in[1],
    ),
    (
        "c2s_element_in_presence_count",
        Kind::Counter,
        "Presences of clients.",
        |s| s.cells.stanzas_in[2],
    ),
    (
        "c2s_element_out_iq_count",
        Kind::Counter,
        "IQs handed to clients.",
        |s| s.cells.stanzas_out[0],
    ),
    (
        "c2s_element_out_message_count",
        Kind::Counter,
        "Messages handed to clients.",
        |s| s.cells.stanzas_out[1],
    ),
    (
        "c2s_element_out_presence_count",
        Kind::Counter,
        "Presences handed to clients.",
        |s| s.cells.stanzas_out[2],
    ),
    (
        "meerkat_core_accepted_total",
        Kind::Counter,
        "Connections taken up, by the core that serves them.",
        |s| s.cells.accepts,
    ),
    (
        "meerkat_received_bytes_total",
        Kind::Counter,
        "Bytes received, as they came over the wire.",
        |s| s.cells.bytes_in,
    ),
    (
        "meerkat_sent_bytes_total",
        Kind::Counter,
        "Bytes sent, as they went over the wire.",
        |s| s.cells.bytes_out,
    ),
    (
        "meerkat_tls_handshakes_total",
        Kind::Counter,
        "TLS handshakes completed; those that failed are ended connections.",
        |s| s.cells.handshakes,
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
    out.family(
        "system_up_time_seconds",
        Kind::Gauge,
        "Seconds since the start.",
    );
    out.value(&[], facts.uptime_s);
    let total = |read: Read| statuses.iter().map(read).sum::<u64>();
    out.family(
        "sm_total_sessions_count",
        Kind::Gauge,
        "Sessions, over all cores.",
    );
    out.value(&[], total(|s| s.sessions as u64));
    out.family(
        "sm_unique_sessions_count",
        Kind::Gauge,
        "Users with a session, over all cores.",
    );
    out.value(&[], total(|s| s.users as u64));
    for (name, kind, help, read) in PER_CORE {
        out.family(name, *kind, help);
        for status in statuses {
            out.value(&[("core", &status.shard)], read(status));
        }
    }
    stanzas(&mut out, statuses);
    reasons(&mut out, statuses);
    listeners(&mut out, settings, statuses);
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

fn stanzas(out: &mut Exposition, statuses: &[ShardStatus]) {
    type Cells = fn(&ShardStatus) -> &[u64; 3];
    let directions: [(&'static str, &str, Cells); 2] = [
        (
            "meerkat_stanzas_received_total",
            "Stanzas of clients.",
            |s| &s.cells.stanzas_in,
        ),
        (
            "meerkat_stanzas_sent_total",
            "Stanzas handed to clients.",
            |s| &s.cells.stanzas_out,
        ),
    ];
    for (name, help, cells) in directions {
        out.family(name, Kind::Counter, help);
        for status in statuses {
            for (kind, count) in KINDS.iter().zip(cells(status)) {
                out.value(&[("core", &status.shard), ("kind", kind)], count);
            }
        }
    }
}

fn reasons(out: &mut Exposition, statuses: &[ShardStatus]) {
    let help = "Connections that ended, by reason.";
    out.family("meerkat_connections_ended_total", Kind::Counter, help);
    for status in statuses {
        for (reason, count) in &status.ends {
            out.value(&[("core", &status.shard), ("reason", reason)], count);
        }
    }
    let help = "Clients refused by the limits of their address, by kind.";
    out.family("meerkat_address_refusals_total", Kind::Counter, help);
    for status in statuses {
        for (refusal, count) in Refusal::ALL.iter().zip(&status.cells.refusals) {
            let labels: [(&str, &dyn Display); 2] =
                [("core", &status.shard), ("reason", &refusal.label())];
            out.value(&labels, count);
        }
    }
    let help = "PROXY headers refused, by kind.";
    out.family("meerkat_proxy_failures_total", Kind::Counter, help);
    for status in statuses {
        for (kind, count) in &status.proxy_failures {
            out.value(&[("core", &status.shard), ("kind", kind)], count);
        }
    }
    let help = "Stream errors sent, by condition.";
    out.family("meerkat_stream_errors_total", Kind::Counter, help);
    for status in statuses {
        for condition in StreamCondition::ALL {
            let count = status.cells.stream_errors.get(condition as usize);
            let labels: [(&str, &dyn Display); 2] =
                [("core", &status.shard), ("condition", &condition.name())];
            out.value(&labels, count.copied().unwrap_or_default());
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

fn listeners(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    let all = settings.listeners();
    out.family(
        "meerkat_accepted_total",
        Kind::Counter,
        "Connections accepted, by the core that accepted them.",
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
    let help = "Days until the first certificate of the chain expires.";
    out.family("meerkat_certificate_days", Kind::Gauge, help);
    let days = statuses.first().map(|status| &status.certificate_days);
    for (listener, days) in all.iter().zip(days.into_iter().flatten()) {
        if let Some(days) = days {
            out.value(&[("listener", &listener.path)], days);
        }
    }
}
