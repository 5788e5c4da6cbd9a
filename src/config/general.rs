//! `[general]`: what the server is called and what it says about itself.

use super::Config;
use super::check::Check;
use super::option::Kind;
use super::option::Repeats;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::source::Sited;
use super::tree::Node;
use super::values::Bound;
use super::values::prepare;

choices! {
    /// How much is logged; each level includes those before it.
    LogLevel {
        /// Nothing.
        None = "none",
        /// The server is unusable.
        Emergency = "emergency",
        /// Someone must act at once.
        Alert = "alert",
        /// A part of the server failed.
        Critical = "critical",
        /// Something did not work.
        Error = "error",
        /// A human may act.
        #[default]
        Warning = "warning",
        /// Significant, normal.
        Notice = "notice",
        /// What happens.
        Info = "info",
        /// How it happens.
        Debug = "debug",
        /// Everything.
        All = "all",
    }
}

options! {
    /// `[general]`.
    General {
        /// Least serious messages that are logged.
        loglevel: LogLevel = Kind::OneOf(LogLevel::WORDS), Unwritten::Text("warning");
        /// XMPP domains that are served. At least one host or host type is needed.
        hosts: Vec<Sited<String>> = Kind::DOMAINS, Unwritten::Empty;
        /// Names of groups of domains that are added while the server runs.
        host_types: Vec<Sited<String>> = Kind::NAMES, Unwritten::Empty;
        /// Domain that speaks where no other can be told, as in the stream error for a client
        /// that named no host.
        default_server_domain: Sited<String> = Kind::DOMAIN, Unwritten::Required;
        /// `xml:lang` of our stream headers where the peer gave none.
        language: String = Kind::Name, Unwritten::Text("en");
        /// Seconds between two registrations from one IP address (XEP-0077); "infinity": no pause.
        registration_timeout: Bound<u32> = REGISTRATION_TIMEOUT, Unwritten::Int(600);
        /// End a connection whose first bytes are no stream header without an answer, so that
        /// a port scan does not learn what listens here.
        hide_service_name: bool = Kind::Bool, Unwritten::Bool(false);
        /// How long a new session waits for the one it replaces to end, in milliseconds.
        replaced_wait_timeout: u32 = Kind::MILLIS_FROM_1, Unwritten::Int(2000);
        /// "s2s": a subdomain of a served host is looked for on the network, not among our
        /// services.
        route_subdomains: Option<String> = Kind::OneOf(&["s2s"]),
            Unwritten::Unset("services first");
        /// Where sessions are kept in a cluster.
        sm_backend: String = Kind::OneOf(&["mnesia", "cets", "redis"]), Unwritten::Text("mnesia");
        /// Where a cluster keeps its list of outgoing federation connections.
        s2s_backend: String = Kind::OneOf(&["mnesia", "cets"]), Unwritten::Text("mnesia");
        /// Where a cluster keeps its list of external components.
        component_backend: String = Kind::OneOf(&["mnesia", "cets"]), Unwritten::Text("mnesia");
        /// Names of the steps a stanza is routed by.
        routing_modules: Vec<String> = Kind::NAMES, Unwritten::Empty;
        /// The `server` header of HTTP answers.
        http_server_name: Option<String> = Kind::Text, Unwritten::Unset("no header");
        /// Bound of an internal queue of MongooseIM before 6.4.
        max_fsm_queue: Option<u64> = Kind::POSITIVE, Unwritten::Unset("");
        /// Dialect of the database of MongooseIM before 6.4.
        rdbms_server_type: Option<String> = Kind::OneOf(&["mssql", "pgsql"]), Unwritten::Unset("");
        /// Certificates by domain, in MongooseIM before 6.4.
        domain_certfile: Vec<DomainCertificate> =
            Kind::List(&Kind::Section(&DomainCertificate::SCHEMA), Repeats::Allowed),
            Unwritten::Empty;
        /// Estimate the number of accounts instead of counting them, in old MongooseIM.
        pgsql_users_number_estimate: Option<bool> = Kind::Bool, Unwritten::Unset("");
        /// How a file extended the running configuration of old MongooseIM.
        override_ "override": Vec<String> =
            Kind::List(&Kind::OneOf(&["local", "global", "acls"]), Repeats::Refused),
            Unwritten::Empty;
        /// Who may use which command of old MongooseIM's mongooseimctl.
        mongooseimctl_access_commands: () = Kind::Named(&Kind::Anything), Unwritten::Unset("");
    }
}

options! {
    /// One element of `general.domain_certfile`.
    DomainCertificate {
        /// The domain.
        domain: String = Kind::Name, Unwritten::Required;
        /// Its certificate and key.
        certfile: Sited<String> = Kind::Readable, Unwritten::Required;
    }
}

options! {
    /// `[host_config.general]`: the options that a host may have for itself.
    HostGeneral {
        /// As in `[general]`.
        replaced_wait_timeout: Option<u32> = Kind::MILLIS_FROM_1,
            Unwritten::Unset("that of [general]");
        /// As in `[general]`.
        route_subdomains: Option<String> = Kind::OneOf(&["s2s"]),
            Unwritten::Unset("that of [general]");
    }
}

const REGISTRATION_TIMEOUT: Kind = Kind::IntOrInfinity(super::option::Range {
    min: 1,
    max: super::option::INT31,
    unit: "s",
});

impl General {
    /// Puts the names into the form in which addresses are compared.
    pub(crate) fn prepare(&mut self, check: &mut Check<'_>) {
        prepare(&mut self.default_server_domain.value);
        let mut seen: Vec<(String, String)> = Vec::new();
        for host in &mut self.hosts {
            let written = host.value.clone();
            prepare(&mut host.value);
            let first = seen.iter().find(|(_, name)| *name == host.value);
            // The same text twice was reported as what it is.
            if let Some((first, name)) = first.filter(|(first, _)| *first != written) {
                let message = format!("{first:?} is the same host, {name:?}");
                check.error(&host.place, message, "each host once");
            }
            seen.push((written, host.value.clone()));
        }
    }
}

/// The rules that look at more than one option of the section.
pub(crate) fn check(check: &mut Check<'_>, config: &Config, root: &Node) {
    let general = &config.general;
    if general.hosts.is_empty() && general.host_types.is_empty() {
        let section = root.get("general");
        let place = section.map_or_else(|| root.place.below("general"), |s| s.place.clone());
        let accepted = "expected `hosts = [\"example.org\"]`, or `host_types`";
        check.error(&place.below("hosts"), "no host is served", accepted);
    }
    for host_type in &general.host_types {
        if general
            .hosts
            .iter()
            .any(|host| host.value == host_type.value)
        {
            let message = format!("{:?} is in `hosts` already", host_type.value);
            check.error(&host_type.place, message, "each name in one of the two");
        }
    }
}
