//! What MongooseIM counts as well, by its names and labels.
//!
//! Its releases from 6.4 on say `xmpp_element_in` with a label where 6.3 says `c2s_element_in`; both are
//! here. The type of a host is the host, as it is there for hosts that the file names. What it has and
//! we do not count, or count differently, is not here: docs/metrics.md says so for each.

use std::fmt::Display;

use super::KINDS;
use super::of_peers;
use crate::listeners::report::ServerFacts;
use crate::listeners::settings::Settings;
use crate::listeners::status::ShardStatus;
use crate::listeners::traffic::Peers;
use crate::listeners::traffic::Way;
use crate::metrics::exposition::Exposition;
use crate::metrics::exposition::Kind;
use crate::metrics::traffic::Flow;
use crate::metrics::traffic::Traffic;
use crate::modules::happening::Happening;

/// Counted by host: name, help, what.
const BY_HOST: [(&str, &str, Happening); 11] = [
    ("sm_session_logins", "Sessions opened.", Happening::Login),
    ("sm_session_logouts", "Sessions ended.", Happening::Logout),
    (
        "c2s_auth_failed_count",
        "Logins refused.",
        Happening::LoginFailed,
    ),
    (
        "sm_message_bounced_count",
        "Messages that went back because their recipient is not here.",
        Happening::MessageBounced,
    ),
    (
        "mod_roster_get_count",
        "Rosters asked for.",
        Happening::RosterRead,
    ),
    (
        "mod_roster_set_count",
        "Changes of rosters by their owners.",
        Happening::RosterChanged,
    ),
    (
        "mod_roster_push_count",
        "Sessions told of a change.",
        Happening::RosterPushed,
    ),
    (
        "sm_presence_subscription_subscription_count",
        "Subscriptions granted to users.",
        Happening::Subscribed,
    ),
    (
        "sm_presence_subscription_unsubscription_count",
        "Subscriptions refused to users, or withdrawn.",
        Happening::Unsubscribed,
    ),
    (
        "auth_register_user_count",
        "Accounts made over XMPP.",
        Happening::Registered,
    ),
    (
        "auth_unregister_user_count",
        "Accounts removed.",
        Happening::Unregistered,
    ),
];

/// Everything.
pub(super) fn write(
    out: &mut Exposition,
    settings: &Settings,
    statuses: &[ShardStatus],
    facts: &ServerFacts,
) {
    totals(out, statuses, facts);
    by_host(out, settings, statuses);
    let mut traffic = vec![Traffic::default(); Peers::classes(&settings.hosts)];
    for status in statuses {
        for (sum, class) in traffic.iter_mut().zip(&status.traffic) {
            sum.add(class);
        }
    }
    for (direction, of) in DIRECTIONS {
        elements(out, settings, &traffic, (direction, of));
    }
    bytes(out, settings, statuses, &traffic);
    certificates(out, settings, statuses);
}

fn totals(out: &mut Exposition, statuses: &[ShardStatus], facts: &ServerFacts) {
    type Read = fn(&ShardStatus) -> u64;
    let gauges: [(&str, &str, Read); 5] = [
        ("sm_node_sessions_count", "Sessions.", |s| s.sessions as u64),
        ("sm_total_sessions_count", "Sessions.", |s| {
            s.sessions as u64
        }),
        ("sm_unique_sessions_count", "Users with a session.", |s| {
            s.users as u64
        }),
        ("system_tcp_ports_count", "Open TCP connections.", |s| {
            s.connections.saturating_sub(s.socketless) as u64
        }),
        (
            "system_process_queue_lengths_total",
            "What waits for a core: batches of others, notes of other threads.",
            |s| s.waiting as u64,
        ),
    ];
    out.family(
        "system_up_time_seconds",
        Kind::Gauge,
        "Seconds since the start.",
    );
    out.value(&[], facts.uptime_s);
    let total = |read: Read| statuses.iter().map(read).sum::<u64>();
    for (name, help, read) in gauges {
        out.family(name, Kind::Gauge, help);
        out.value(&[], total(read));
    }
    let counters: [(&str, &str, Read); 3] = [
        (
            "s2s_auth_failed_count",
            "Servers that did not prove who they are to us, or we to them.",
            |s| s.cells.servers_refused,
        ),
        (
            "component_auth_failed_count",
            "Components whose handshake was wrong.",
            |s| s.cells.components_refused,
        ),
        (
            "router_no_route_found_count",
            "Stanzas for domains of components that are not here.",
            |s| s.happened(Happening::NoRoute),
        ),
    ];
    for (name, help, read) in counters {
        out.family(name, Kind::Counter, help);
        out.value(&[], total(read));
    }
}

fn by_host(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    let hosts = settings.hosts.as_slice();
    let count = |what: Happening, place: usize| {
        let counts = statuses.iter().filter_map(|s| s.happened.get(place + 1));
        counts.map(|counts| counts[what as usize]).sum::<u64>()
    };
    out.family("sm_session_count", Kind::Gauge, "Sessions.");
    for (place, host) in hosts.iter().enumerate() {
        let open = count(Happening::Login, place).saturating_sub(count(Happening::Logout, place));
        out.value(&[("host_type", host)], open);
    }
    for (name, help, what) in BY_HOST {
        out.family(name, Kind::Counter, help);
        for (place, host) in hosts.iter().enumerate() {
            out.value(&[("host_type", host)], count(what, place));
        }
    }
}

type Of = fn(&Traffic) -> &Flow;

const DIRECTIONS: [(&str, Of); 2] = [
    ("in", |traffic| &traffic.received),
    ("out", |traffic| &traffic.sent),
];

/// What is counted of stanzas: the end of the name, and how much.
fn counts(flow: &Flow) -> [(String, u64); 8] {
    let [iq, message, presence] = KINDS;
    let [good_iqs, good_messages, good_presences] =
        [0, 1, 2].map(|kind| flow.stanzas[kind] - flow.errors[kind]);
    let [iq_errors, message_errors, presence_errors] = flow.errors;
    [
        ("stanza_count".to_owned(), flow.stanzas.iter().sum()),
        (format!("{iq}_count"), good_iqs),
        (format!("{message}_count"), good_messages),
        (format!("{presence}_count"), good_presences),
        ("error_count".to_owned(), flow.all_errors()),
        (format!("{iq}_error_count"), iq_errors),
        (format!("{message}_error_count"), message_errors),
        (format!("{presence}_error_count"), presence_errors),
    ]
}

/// Host, "" where it is not known, and what counts there.
fn classes<'a>(
    settings: &'a Settings,
    traffic: &'a [Traffic],
    peers: Peers,
) -> impl Iterator<Item = (&'a str, &'a Traffic)> {
    let hosts = settings.hosts.names().map(Some);
    let hosts = std::iter::once(None).chain(hosts.filter(move |_| peers != Peers::Components));
    let first = usize::from(peers.class(&settings.hosts, None));
    let names = hosts.map(Option::unwrap_or_default);
    names.zip(traffic.iter().skip(first))
}

fn elements(
    out: &mut Exposition,
    settings: &Settings,
    traffic: &[Traffic],
    (direction, of): (&str, Of),
) {
    let names = counts(&Flow::default()).map(|(name, _)| name);
    for (place, name) in names.iter().enumerate() {
        let help = "Stanzas; those with error in their name are of the type error.";
        let family = format!("xmpp_element_{direction}_{name}");
        out.family(&family, Kind::Counter, help);
        for peers in Peers::ALL {
            for (host, class) in classes(settings, traffic, peers) {
                let labels: [(&str, &dyn Display); 2] =
                    [("connection_type", &peers.label()), ("host_type", &host)];
                out.value(&labels, counts(of(class))[place].1);
            }
        }
        let family = format!("c2s_element_{direction}_{name}");
        out.family(&family, Kind::Counter, "The same of clients (6.3).");
        for (host, class) in classes(settings, traffic, Peers::Clients) {
            if !host.is_empty() {
                out.value(&[("host_type", &host)], counts(of(class))[place].1);
            }
        }
    }
    let help = "Sizes of stanzas, in bytes.";
    out.histogram(&format!("xmpp_element_{direction}_byte_size"), help);
    for peers in Peers::ALL {
        for (host, class) in classes(settings, traffic, peers) {
            let flow = of(class);
            let labels: [(&str, &dyn Display); 2] =
                [("connection_type", &peers.label()), ("host_type", &host)];
            out.sizes(&labels, &flow.sizes, flow.bytes.iter().sum());
        }
    }
    for peers in Peers::ALL {
        let sum = of_peers(settings, traffic, peers);
        let flow = of(&sum);
        let name = peers.label();
        let help = "Sizes of stanzas, in bytes (6.3).";
        out.histogram(
            &format!("{name}_xmpp_element_size_{direction}_byte_size"),
            help,
        );
        out.sizes(&[], &flow.sizes, flow.bytes.iter().sum());
    }
}

fn bytes(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus], traffic: &[Traffic]) {
    type Read = fn(&Traffic) -> &[u64; 3];
    let directions: [(&str, Read); 2] = [
        ("in", |traffic| &traffic.bytes_in),
        ("out", |traffic| &traffic.bytes_out),
    ];
    let help = "Bytes of streams, before they are encrypted or after they are decrypted.";
    let sums = Peers::ALL.map(|peers| (peers.label(), of_peers(settings, traffic, peers)));
    for (direction, read) in directions {
        for (name, way) in [("tcp", Way::Clear), ("tls", Way::Tls)] {
            let family = format!("{name}_data_{direction}_byte_size");
            out.family(&family, Kind::Counter, help);
            for (peers, sum) in &sums {
                let value = read(sum)[way as usize];
                out.value(&[("connection_type", peers)], value);
            }
            for (peers, sum) in &sums {
                let family = format!("{peers}_{name}_data_{direction}_byte_size");
                out.family(&family, Kind::Counter, "The same (6.3).");
                out.value(&[], read(sum)[way as usize]);
            }
        }
    }
    let mut all = Traffic::default();
    for (_, sum) in &sums {
        all.add(sum);
    }
    let cells = |read: fn(&ShardStatus) -> u64| statuses.iter().map(read).sum::<u64>();
    let web = [
        ("bosh_data_received", cells(|s| s.cells.bosh_in)),
        ("bosh_data_sent", cells(|s| s.cells.bosh_out)),
        (
            "websocket_data_received",
            all.bytes_in[Way::WebSocket as usize],
        ),
        (
            "websocket_data_sent",
            all.bytes_out[Way::WebSocket as usize],
        ),
    ];
    for (name, value) in web {
        for prefix in ["", "mod_"] {
            let family = format!("{prefix}{name}_byte_size");
            let help = "Bytes in bodies of BOSH, or in frames of WebSockets.";
            out.family(&family, Kind::Counter, help);
            out.value(&[], value);
        }
    }
}

fn certificates(out: &mut Exposition, settings: &Settings, statuses: &[ShardStatus]) {
    let help = "Days until the first certificate of the chain expires, by address@tcp/port.";
    out.family("tls_cert_remaining_days_count", Kind::Gauge, help);
    let days = statuses.first().map(|status| &status.certificate_days);
    let all = settings.listeners().iter();
    for (listener, days) in all.zip(days.into_iter().flatten()) {
        if let Some(days) = days {
            let (ip, port) = (listener.address.ip(), listener.address.port());
            let id = format!("{ip}@tcp/{port}");
            out.value(&[("listener_id", &id)], days);
        }
    }
}
