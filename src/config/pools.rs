//! Sections about systems that MongooseIM talks to: `[outgoing_pools.*]`, `[internal_databases]`,
//! `[services.*]`, `[instrumentation.*]`. They are checked, so that a file keeps its meaning when
//! the feature comes; nothing of them is kept but what [`Services`] has.

use super::check::Check;
use super::decode::find;
use super::listen::VerifyMode;
use super::modules::Bosh;
use super::modules::bosh;
use super::option::Kind;
use super::option::Opt;
use super::option::Repeats;
use super::option::Schema;
use super::option::Unwritten;
use super::option::options;
use super::option::tables;
use super::source::Sited;
use super::tree::Node;
use super::values::Secret;

const TLS: Kind = Kind::Section(&ClientTls::SCHEMA);
const TLS_SQL: Kind = Kind::Section(&Schema {
    groups: &[ClientTls::OPTIONS, SQL],
});
const INT: Kind = Kind::NATURAL;
const NAME: Kind = Kind::Name;
const TEXT: Kind = Kind::Text;
const HOST: Kind = Kind::Name;

options! {
    /// The `tls` table of a connection that the server opens.
    ClientTls {
        /// What is asked of the peer's certificate.
        verify_mode: VerifyMode = Kind::OneOf(VerifyMode::WORDS), Unwritten::Text("peer");
        /// Our certificate.
        certfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("none");
        /// Its key.
        keyfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("none");
        /// Certificates that the peer must chain to.
        cacertfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("the system's");
        /// Password of an encrypted key.
        password: Option<Sited<Secret>> = Kind::Text, Unwritten::Unset("none");
        /// Cipher suites.
        ciphers: Option<Sited<String>> = Kind::Text, Unwritten::Unset("all that are supported");
        /// Versions of TLS.
        versions: Vec<Sited<String>> = Kind::NAMES, Unwritten::Empty;
        /// Whether a certificate that does not pass ends the handshake.
        disconnect_on_failure: Option<bool> = Kind::Bool, Unwritten::Unset("true");
        /// Revoked certificates.
        crl_files: Vec<Sited<String>> = Kind::List(&Kind::Readable, Repeats::Refused),
            Unwritten::Empty;
        /// The name that is sent to the peer.
        server_name_indication: Sni = Kind::Section(&Sni::SCHEMA), Unwritten::Section;
    }
}

options! {
    /// `server_name_indication` of a connection that the server opens.
    Sni {
        /// Whether a name is sent.
        enabled: bool = Kind::Bool, Unwritten::Bool(true);
        /// The name.
        host: () = Kind::Name, Unwritten::Unset("the host connected to");
        /// How the certificate's name is compared.
        protocol: () = Kind::OneOf(&["default", "https"]), Unwritten::Text("default");
    }
}

const SQL: &[Opt] = &[Opt::new(
    "required",
    "Whether a database without TLS is refused.",
    Kind::Bool,
    Unwritten::Unset("false"),
)];

macro_rules! pool {
    ($key:literal, $doc:literal, $connection:expr) => {
        Opt {
            key: $key,
            doc: $doc,
            kind: Kind::Named(&Kind::Section(&Schema {
                groups: &[
                    POOL,
                    &[Opt {
                        key: "connection",
                        doc: "Where and how to connect.",
                        kind: Kind::Section(&Schema {
                            groups: &[$connection],
                        }),
                        unwritten: Unwritten::Unset("defaults"),
                        aliases: &[],
                        ours: false,
                    }],
                ],
            })),
            unwritten: Unwritten::Unset(""),
            aliases: &[],
            ours: false,
        }
    };
}

/// Keys of `[outgoing_pools]`: kinds of pools, below them tags.
pub(crate) const POOLS: Schema = Schema {
    groups: &[&[
        pool!("cassandra", "Cassandra.", CASSANDRA),
        pool!("elastic", "Elasticsearch.", ELASTIC),
        pool!("http", "HTTP services.", HTTP),
        pool!("ldap", "Directories.", LDAP),
        pool!("rabbit", "RabbitMQ.", RABBIT),
        pool!("rdbms", "SQL databases.", RDBMS),
        pool!("redis", "Redis.", REDIS),
    ]],
};

const POOL: &[Opt] = &[
    Opt::new(
        "workers",
        "Connections of the pool.",
        Kind::COUNT,
        Unwritten::Int(10),
    ),
    Opt::new(
        "strategy",
        "How a connection is chosen.",
        Kind::OneOf(&[
            "best_worker",
            "random_worker",
            "next_worker",
            "available_worker",
            "next_available_worker",
        ]),
        Unwritten::Text("best_worker"),
    ),
    Opt::new(
        "call_timeout",
        "Time of a call.",
        Kind::MILLIS_FROM_1,
        Unwritten::Int(5000),
    ),
    Opt::new(
        "max_worker_queue_len",
        "Calls that may wait.",
        INT,
        Unwritten::Unset("no limit"),
    ),
    Opt::new(
        "scope",
        "For the server, or for each host type.",
        Kind::OneOf(&["global", "host", "host_type"]),
        Unwritten::Text("global"),
    ),
];

const fn plain(key: &'static str, kind: Kind) -> Opt {
    Opt::new(key, "", kind, Unwritten::Unset(""))
}

const CASSANDRA: &[Opt] = &[
    plain(
        "servers",
        Kind::List(
            &Kind::Section(&Schema { groups: &[SERVER] }),
            Repeats::Allowed,
        ),
    ),
    plain("keyspace", NAME),
    plain("auth", Kind::UNREAD),
    plain("tls", TLS),
];

const SERVER: &[Opt] = &[
    Opt::new("host", "", HOST, Unwritten::Required),
    Opt::new("port", "", Kind::PORT, Unwritten::Int(9042)),
];

const ELASTIC: &[Opt] = &[plain("host", HOST), plain("port", Kind::PORT)];

const HTTP: &[Opt] = &[
    Opt::new("host", "", HOST, Unwritten::Required),
    plain("path_prefix", NAME),
    plain("request_timeout", Kind::MILLIS),
    plain("tls", TLS),
];

const LDAP: &[Opt] = &[
    plain("servers", Kind::NAMES),
    plain("port", Kind::PORT),
    plain("root_dn", TEXT),
    plain("password", TEXT),
    plain("connect_interval", Kind::MILLIS_FROM_1),
    plain("tls", TLS),
];

const RABBIT: &[Opt] = &[
    plain("host", HOST),
    plain("port", Kind::PORT),
    plain("username", NAME),
    plain("password", NAME),
    plain("virtual_host", NAME),
    plain("confirms_enabled", Kind::Bool),
    plain("max_worker_queue_len", Kind::NATURAL_OR_INFINITY),
    plain("tls", TLS),
    plain("reconnect", Kind::UNREAD),
];

const RDBMS: &[Opt] = &[
    Opt::new(
        "driver",
        "",
        Kind::OneOf(&["odbc", "pgsql", "mysql", "cockroachdb"]),
        Unwritten::Required,
    ),
    plain("keepalive_interval", Kind::POSITIVE),
    plain("query_timeout", Kind::MILLIS),
    plain("max_start_interval", Kind::POSITIVE),
    plain("settings", TEXT),
    plain("host", HOST),
    plain("port", Kind::PORT),
    plain("database", NAME),
    plain("username", NAME),
    plain("password", NAME),
    plain("tls", TLS_SQL),
];

const REDIS: &[Opt] = &[
    plain("host", HOST),
    plain("port", Kind::PORT),
    plain("database", INT),
    plain("username", TEXT),
    plain("password", TEXT),
    plain("tls", TLS),
];

/// Keys of `[internal_databases]`.
pub(crate) const DATABASES: Schema = Schema {
    groups: &[DATABASE_TABLES],
};

const DATABASE_TABLES: &[Opt] = tables! {
    "mnesia", "Mnesia." {}
    "cets", "CETS." {
        "backend": Kind::OneOf(&["file", "rdbms"]), "cluster_name": NAME, "node_list_file": NAME,
    }
};

/// Keys of `[services]`.
pub(crate) const SERVICES: Schema = Schema {
    groups: &[Services::OPTIONS, SERVICE_TABLES],
};

options! {
    /// What works of `[services]`.
    Services {
        /// Times of BOSH sessions, since 6.6. Where it is written it holds for every host, and
        /// `modules.mod_bosh` for none.
        service_bosh: Option<Bosh> = Kind::Section(&bosh::SERVICE),
            Unwritten::Unset("as `modules.mod_bosh`");
    }
}

const SERVICE_TABLES: &[Opt] = tables! {
    "service_domain_db", "Domains from a database." {
        "event_cleaning_interval": Kind::POSITIVE, "event_max_age": Kind::POSITIVE, "db_pool": NAME,
    }
    "service_mongoose_system_metrics", "Usage reports to MongooseIM's makers." {
        "initial_report": INT, "periodic_report": INT, "report": Kind::Bool,
        "tracking_id": Kind::UNREAD,
    }
    "service_traffic", "Traffic on a debugging page." {}
    "service_translations", "Translations, of 6.3." {}
};

/// Keys of `[instrumentation]`.
pub(crate) const INSTRUMENTATION: Schema = Schema {
    groups: &[INSTRUMENTATION_TABLES, PROBE_INTERVAL],
};

const PROBE_INTERVAL: &[Opt] = &[Opt::new(
    "probe_interval",
    "Seconds between two measurements.",
    Kind::SECONDS_FROM_1,
    Unwritten::Int(15),
)];

const INSTRUMENTATION_TABLES: &[Opt] = tables! {
    "prometheus", "Metrics for Prometheus." {}
    "exometer", "Metrics for Exometer." {
        "all_metrics_are_global": Kind::Bool, "report": Kind::UNREAD,
    }
    "log", "Events in the log." {
        "level": Kind::OneOf(&[
            "none", "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug",
            "all",
        ]),
    }
};

/// A queue bound belongs to one strategy only.
pub(crate) fn check(check: &mut Check<'_>, section: &Node) {
    for tag in section
        .entries()
        .iter()
        .flat_map(|kind| kind.node.entries())
    {
        let strategy = tag.node.get("strategy").and_then(super::decode::text);
        let bound = POOL
            .iter()
            .find(|option| option.key == "max_worker_queue_len");
        let bound = bound.and_then(|option| find(&tag.node, option));
        if let Some(bound) = bound
            && strategy.is_some_and(|strategy| strategy != "best_worker")
        {
            let accepted = "expected `strategy = \"best_worker\"` with it";
            check.error(
                &bound.key_place,
                "has no meaning with this strategy",
                accepted,
            );
        }
    }
}
