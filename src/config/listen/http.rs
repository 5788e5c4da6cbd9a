//! `[[listen.http]]`: BOSH, WebSocket, metrics and APIs.

use std::net::IpAddr;

use super::address::Everywhere;
use super::service::check_secret_file;
use super::tls;
use super::tls::Tls;
use crate::config::check::Check;
use crate::config::error::Level;
use crate::config::option::Alias;
use crate::config::option::Kind;
use crate::config::option::Repeats;
use crate::config::option::Rule;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::choices;
use crate::config::option::options;
use crate::config::runtime::Runtime;
use crate::config::source::Place;
use crate::config::source::Sited;
use crate::config::values::Bound;
use crate::config::values::Secret;

options! {
    /// Options of http listeners alone.
    Http {
        /// How connections are taken.
        transport: Transport = Kind::Section(&Transport::SCHEMA), Unwritten::Section;
        /// What the HTTP layer does.
        protocol: Protocol = Kind::Section(&Protocol::SCHEMA), Unwritten::Section;
        /// Certificate, key and rules of TLS, from the first byte on. Absent: no TLS.
        tls: Option<Tls> = Kind::Section(&tls::HTTP), Unwritten::Unset("no TLS");
        /// What is served, and where.
        handlers: Handlers = Kind::Section(&Handlers::SCHEMA), Unwritten::Section;
    }
}

/// Keys of an http listener.
pub(crate) const SCHEMA: Schema = Schema {
    groups: &[Everywhere::OPTIONS, Http::OPTIONS],
};

options! {
    /// `transport` of an http listener.
    Transport {
        /// Accepts kept outstanding, split over the cores that serve this listener.
        num_acceptors: u32 = Kind::POSITIVE, Unwritten::Int(100);
        /// Most open connections, WebSockets included.
        max_connections: Bound<u64> = Kind::COUNT_OR_INFINITY, Unwritten::Int(1024);
    }
}

options! {
    /// `protocol` of an http listener.
    Protocol {
        /// Compress answers (BOSH, metrics, documents) of 512 bytes to 256 KiB where the client can take it. What a dashboard says behind its login never is.
        compress: bool = Kind::Bool, Unwritten::Bool(false);
    }
}

options! {
    /// Handlers by type; of each type any number of tables.
    Handlers {
        /// BOSH (XEP-0124, XEP-0206).
        mongoose_bosh_handler: Vec<Bosh> =
            Kind::List(&Kind::Section(&Bosh::SCHEMA), Repeats::Allowed), Unwritten::Empty,
            also(&[Alias { key: "mod_bosh", version: "6.5" }]);
        /// XMPP over WebSocket (RFC 7395).
        mongoose_websocket_handler: Vec<WebSocket> =
            Kind::List(&Kind::Section(&WebSocket::SCHEMA), Repeats::Allowed), Unwritten::Empty,
            also(&[Alias { key: "mod_websockets", version: "6.5" }]);
        /// Metrics in the Prometheus text format.
        mongoose_prometheus_handler: Vec<Prometheus> =
            Kind::List(&Kind::Section(&Prometheus::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// A page with live figures and sessions, behind a login.
        meerkat_dashboard: Vec<Dashboard> =
            Kind::List(&Kind::Section(&Dashboard::SCHEMA), Repeats::Allowed), Unwritten::Empty,
            ours();
        /// GraphQL API.
        mongoose_graphql_handler: Vec<GraphQl> =
            Kind::List(&Kind::Section(&GraphQl::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// REST API for administrators, of MongooseIM before 6.6.
        mongoose_admin_api: Vec<AdminApi> =
            Kind::List(&Kind::Section(&AdminApi::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// REST API for users, of MongooseIM before 6.6.
        mongoose_client_api: Vec<ClientApi> =
            Kind::List(&Kind::Section(&ClientApi::SCHEMA), Repeats::Allowed), Unwritten::Empty;
    }
}

options! {
    /// A BOSH handler.
    Bosh {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
    }
}

options! {
    /// A WebSocket handler.
    WebSocket {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
        /// Milliseconds without a frame after which the connection ends.
        timeout: Bound<u64> = Kind::MILLIS_OR_INFINITY, Unwritten::Text("infinity");
        /// Milliseconds between two pings of ours.
        ping_rate: Option<u64> = Kind::MILLIS_FROM_1, Unwritten::Unset("no pings");
        /// As for c2s.
        max_stanza_size: Bound<u64> = Kind::BYTES_OR_INFINITY, Unwritten::Text("infinity");
        /// As for c2s.
        state_timeout: Bound<u64> = Kind::MILLIS_OR_INFINITY, Unwritten::Int(5000);
        /// As for c2s.
        backwards_compatible_session: bool = Kind::Bool, Unwritten::Bool(true);
    }
}

options! {
    /// A metrics handler.
    Prometheus {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
    }
}

options! {
    /// A dashboard.
    Dashboard {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request; the page and what it asks for lie below it.
        path: Sited<String> = PATH, Unwritten::Required;
        /// Name that its login asks for.
        username: Sited<String> = Kind::Name, Unwritten::Required;
        /// Password that its login asks for. Mandatory without `password_file`.
        password: Option<Secret> = Kind::Name, Unwritten::Unset("see `password_file`");
        /// File that holds the password instead. One below `data_dir` that does not exist is made at
        /// the first start, with a random password.
        password_file: Option<Sited<String>> = Kind::Name, Unwritten::Unset("none");
    }
}

choices! {
    /// Whom a GraphQL handler serves.
    SchemaEndpoint {
        /// Administrators of the server.
        Admin = "admin",
        /// Administrators of one domain.
        DomainAdmin = "domain_admin",
        /// Users.
        #[default]
        User = "user",
    }
}

options! {
    /// A GraphQL handler.
    GraphQl {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
        /// Whom it serves.
        schema_endpoint: SchemaEndpoint = Kind::OneOf(SchemaEndpoint::WORDS), Unwritten::Required;
        /// Name for HTTP basic authentication; goes with `password`.
        username: Option<Sited<String>> = Kind::Text, Unwritten::Unset("no login");
        /// Password for HTTP basic authentication; goes with `username`.
        password: Option<Sited<Secret>> = Kind::Text, Unwritten::Unset("no login");
        /// Categories of operations that may be used.
        allowed_categories: Option<Vec<String>> = Kind::List(&Kind::OneOf(&[
            "checkAuth", "account", "domain", "last", "muc", "muc_light", "session", "stanza",
            "roster", "vcard", "private", "metric", "stat", "gdpr", "mnesia", "server", "inbox",
            "http_upload", "offline", "token", "cets", "broadcast", "blocklist",
        ]), Repeats::RefusedNorEmpty), Unwritten::Unset("all");
        /// Milliseconds without an event after which a subscription ends.
        sse_idle_timeout: Bound<u64> = Kind::MILLIS_FROM_1_OR_INFINITY, Unwritten::Int(3_600_000);
    }
}

options! {
    /// A handler of the administrators' REST API.
    AdminApi {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
        /// Name for HTTP basic authentication; goes with `password`.
        username: Option<Sited<String>> = Kind::Text, Unwritten::Unset("no login");
        /// Password for HTTP basic authentication; goes with `username`.
        password: Option<Sited<Secret>> = Kind::Text, Unwritten::Unset("no login");
        /// Parts of the API.
        handlers: Option<Vec<String>> = Kind::List(&Kind::OneOf(&[
            "contacts", "users", "sessions", "messages", "stanzas", "muc_light", "muc", "inbox",
            "domain", "metrics",
        ]), Repeats::Refused), Unwritten::Unset("all");
    }
}

options! {
    /// A handler of the users' REST API.
    ClientApi {
        /// Host name in the request, "_" for any. The most specific host wins.
        host: Sited<String> = Kind::Name, Unwritten::Required;
        /// Path in the request.
        path: Sited<String> = PATH, Unwritten::Required;
        /// Parts of the API.
        handlers: Option<Vec<String>> = Kind::List(&Kind::OneOf(&[
            "sse", "messages", "contacts", "rooms", "rooms_config", "rooms_users",
            "rooms_messages",
        ]), Repeats::Refused), Unwritten::Unset("all");
        /// Serve a description of the API.
        docs: bool = Kind::Bool, Unwritten::Bool(true);
    }
}

const PATH: Kind = Kind::Checked(Rule {
    accepted: "a path that begins with \"/\"",
    check: |text| {
        let begins = text.starts_with('/');
        begins
            .then_some(())
            .ok_or_else(|| format!("{text:?} does not begin with \"/\""))
    },
});

impl Http {
    /// Logins that are whole, and places that are not taken twice.
    pub(crate) fn check(
        &self,
        check: &mut Check<'_>,
        listener: &Place,
        address: IpAddr,
        runtime: &Runtime,
    ) {
        let handlers = &self.handlers;
        for dashboard in &handlers.meerkat_dashboard {
            dashboard.check(check, self.tls.is_some() || address.is_loopback(), runtime);
        }
        for api in &handlers.mongoose_graphql_handler {
            check_login(check, api.username.as_ref(), api.password.as_ref());
        }
        for api in &handlers.mongoose_admin_api {
            check_login(check, api.username.as_ref(), api.password.as_ref());
        }
        let mut taken: Vec<(&str, &str)> = Vec::new();
        for (host, path) in handlers.places() {
            if taken.contains(&(host.as_str(), path.as_str())) {
                let text = "an earlier handler has this host and path; this one is never asked";
                check.notice(Level::Warning, &path.place, text);
            }
            taken.push((host, path));
        }
        if taken.is_empty() {
            check.notice(
                Level::Warning,
                listener,
                "it has no handler and serves nothing",
            );
        }
    }
}

impl Dashboard {
    /// Its password is somewhere, and nobody on the way can read it.
    fn check(&self, check: &mut Check<'_>, is_private: bool, runtime: &Runtime) {
        if !is_private {
            let accepted = "expected `tls` on the listener, or a loopback `ip_address`";
            let text = "its login would be sent in clear over the network";
            check.error(&self.path.place, text, accepted);
        }
        match (&self.password, &self.password_file) {
            (None, None) => {
                let accepted = "expected `password` or `password_file` beside it";
                // A name that is missing was reported, and has no place.
                let place = match self.username.is_empty() {
                    true => &self.path.place,
                    false => &self.username.place,
                };
                check.error(place, "has no password", accepted);
            }
            (Some(_), Some(file)) => {
                let text = "has no effect: there is a `password` too";
                check.notice(Level::NoEffect, &file.place, text);
            }
            (None, Some(file)) => check_secret_file(check, file, runtime),
            (Some(_), None) => {}
        }
    }
}

impl Handlers {
    /// Host and path of every handler.
    fn places(&self) -> impl Iterator<Item = (&Sited<String>, &Sited<String>)> {
        let bosh = self
            .mongoose_bosh_handler
            .iter()
            .map(|h| (&h.host, &h.path));
        let websocket = self
            .mongoose_websocket_handler
            .iter()
            .map(|h| (&h.host, &h.path));
        let prometheus = self
            .mongoose_prometheus_handler
            .iter()
            .map(|h| (&h.host, &h.path));
        let dashboard = self.meerkat_dashboard.iter().map(|h| (&h.host, &h.path));
        let graphql = self
            .mongoose_graphql_handler
            .iter()
            .map(|h| (&h.host, &h.path));
        let admin = self.mongoose_admin_api.iter().map(|h| (&h.host, &h.path));
        let client = self.mongoose_client_api.iter().map(|h| (&h.host, &h.path));
        bosh.chain(websocket)
            .chain(prometheus)
            .chain(dashboard)
            .chain(graphql)
            .chain(admin)
            .chain(client)
    }
}

fn check_login(
    check: &mut Check<'_>,
    username: Option<&Sited<String>>,
    password: Option<&Sited<Secret>>,
) {
    match (username, password) {
        (Some(username), None) => {
            check.error(
                &username.place,
                "goes with `password`",
                "expected both or neither",
            );
        }
        (None, Some(password)) => {
            check.error(
                &password.place,
                "goes with `username`",
                "expected both or neither",
            );
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}
