//! `[[listen.TYPE]]`: the listeners.
//!
//! A [`Listener`] has what every type has in [`Common`], and the rest by [`ListenerKind`]. Rules
//! between listeners are in [`address`], those of the `tls` table in [`tls`].

pub mod address;
mod c2s;
pub mod ciphers;
pub mod http;
mod s2s;
mod service;
pub mod tls;

use std::net::SocketAddr;

pub use self::c2s::C2s;
pub use self::http::Http;
pub use self::s2s::S2s;
pub use self::service::Conflict;
pub use self::service::Service;
pub use self::tls::Tls;
pub use self::tls::TlsMode;
pub use self::tls::TlsVersion;
pub use self::tls::VerifyMode;

use self::address::Everywhere;
use self::address::Xmpp;
use super::check::Check;
use super::decode::Decode;
use super::error::Level;
use super::option::Kind;
use super::option::Opt;
use super::option::Repeats;
use super::option::Schema;
use super::option::Unwritten;
use super::runtime::Runtime;
use super::source::Place;
use super::source::Sited;
use super::tree::Node;
use super::values::Bound;
use super::values::Cidr;

/// Most listeners of one file; each has a socket on each core.
const LISTENERS_MAX: usize = 1024;

/// Backlog of http listeners, which have no option for it.
const HTTP_BACKLOG: u32 = 1024;

/// One `[[listen.TYPE]]` table.
#[derive(Clone, Debug)]
pub struct Listener {
    /// TOML path, such as `listen.c2s[0]`.
    pub path: String,
    /// Its header in the file.
    pub place: Place,
    /// What every listener has.
    pub common: Common,
    /// What only its type has.
    pub kind: ListenerKind,
}

/// The types of listeners.
#[derive(Clone, Debug)]
pub enum ListenerKind {
    /// Clients.
    C2s(C2s),
    /// Servers.
    S2s(S2s),
    /// External components.
    Service(Service),
    /// HTTP.
    Http(Http),
}

/// What every listener has. Where an http listener has no such option, it has the default of the
/// XMPP listeners.
#[derive(Clone, Debug)]
pub struct Common {
    /// Where to listen; port 0: the kernel picks one.
    pub address: SocketAddr,
    /// Where the port is written, for an error about the address.
    pub port_place: Place,
    /// Milliseconds without activity after which a connection gives back its buffers.
    pub hibernate_after: Bound<u64>,
    /// Proxies whose word is taken; with `proxy_protocol`, who may connect ([] = anyone).
    pub trusted_proxies: Vec<Cidr>,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: bool,
    /// Connections that wait in the kernel, for each socket.
    pub backlog: u32,
    /// Accepts kept outstanding over all cores.
    pub num_acceptors: u32,
    /// Most open connections over all cores.
    pub max_connections: Bound<u64>,
    /// Most open connections of one IPv4 address or IPv6 /64.
    pub max_connections_per_ip: Option<u32>,
    /// Most accepts a second.
    pub accept_rate: Option<u32>,
    /// Most accepts a second of one IPv4 address or IPv6 /64.
    pub accept_rate_per_ip: Option<u32>,
    /// Bytes that wait for one slow reader before it is cut.
    pub outbound_buffer: u64,
    /// false: one socket on one core.
    pub reuse_port: bool,
    /// Milliseconds for each step of negotiation.
    pub state_timeout: Bound<u64>,
    /// Most bytes of one stanza, as written.
    pub max_stanza_size: Bound<u64>,
    /// The same before authentication.
    pub pre_auth_stanza_size: u64,
    /// How fast input is read.
    pub shaper: ShaperChoice,
    /// Where the shaper is named.
    pub shaper_place: Place,
}

/// What `shaper` of a listener refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShaperChoice {
    /// "none".
    Unlimited,
    /// `[shaper.NAME]`.
    Named(String),
    /// A rule of `[access]` that gives the name of a shaper.
    ByRule(String),
}

/// The keys of `[listen]`: the types.
pub(crate) const SCHEMA: Schema = Schema { groups: &[TYPES] };

const TYPES: &[Opt] = &[
    listeners("c2s", "Clients (RFC 6120).", &C2S),
    listeners("s2s", "Other servers (RFC 6120, XEP-0220).", &S2S),
    listeners(
        "service",
        "External components (XEP-0114), with the names of 6.3.",
        &SERVICE,
    ),
    listeners(
        "component",
        "External components (XEP-0114), newer name of `service`.",
        &COMPONENT,
    ),
    listeners("http", "BOSH, WebSocket, metrics and APIs.", &HTTP),
];

const C2S: Kind = Kind::Section(&c2s::SCHEMA);
const S2S: Kind = Kind::Section(&s2s::SCHEMA);
const SERVICE: Kind = Kind::Section(&service::SERVICE);
const COMPONENT: Kind = Kind::Section(&service::COMPONENT);
const HTTP: Kind = Kind::Section(&http::SCHEMA);

const fn listeners(key: &'static str, doc: &'static str, kind: &'static Kind) -> Opt {
    Opt::new(
        key,
        doc,
        Kind::List(kind, Repeats::Allowed),
        Unwritten::Empty,
    )
}

/// Reads the listeners in the order of the file. `section` has been checked.
pub(crate) fn read(check: &mut Check<'_>, section: &Node, runtime: &Runtime) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for entry in section.entries() {
        for node in entry.node.elements() {
            listeners.extend(listener(check, &entry.key, node));
        }
    }
    if let Some(listener) = listeners.get(LISTENERS_MAX) {
        let accepted = format!("expected at most {LISTENERS_MAX} listeners");
        check.error(&listener.place, "too many listeners", &accepted);
        listeners.truncate(LISTENERS_MAX);
    }
    listeners.sort_by_key(|listener| listener.place.span().start);
    for listener in &listeners {
        check_one(check, listener, runtime);
    }
    address::check_overlaps(check, &listeners);
    listeners
}

fn listener(check: &mut Check<'_>, key: &str, node: &Node) -> Option<Listener> {
    let kind = match key {
        "c2s" => ListenerKind::C2s(C2s::decode(node)?),
        "s2s" => ListenerKind::S2s(S2s::decode(node)?),
        "service" | "component" => {
            service::check_secret(check, node);
            ListenerKind::Service(service(node)?)
        }
        "http" => ListenerKind::Http(http(node)?),
        _ => return None,
    };
    let common = common(check, node, &kind)?;
    Some(Listener {
        path: node.place.path().to_owned(),
        place: node.place.clone(),
        common,
        kind,
    })
}

fn service(node: &Node) -> Option<Service> {
    let mut service = Service::decode(node)?;
    if let Some(tls) = &mut service.tls {
        tls.mode = TlsMode::Tls;
    }
    Some(service)
}

fn http(node: &Node) -> Option<Http> {
    let mut http = Http::decode(node)?;
    if let Some(tls) = &mut http.tls {
        tls.mode = TlsMode::Tls;
    }
    Some(http)
}

fn common(check: &mut Check<'_>, node: &Node, kind: &ListenerKind) -> Option<Common> {
    let everywhere = Everywhere::decode(node)?;
    let mut xmpp = Xmpp::decode(node)?;
    if let ListenerKind::Http(http) = kind {
        xmpp.backlog = HTTP_BACKLOG;
        xmpp.num_acceptors = http.transport.num_acceptors;
        xmpp.max_connections = http.transport.max_connections;
    }
    check_common(
        check,
        &everywhere,
        &xmpp,
        matches!(kind, ListenerKind::Http(_)),
    );
    Some(Common {
        address: everywhere.address(check),
        port_place: everywhere.port.place,
        hibernate_after: everywhere.hibernate_after,
        trusted_proxies: everywhere.trusted_proxies.value,
        proxy_protocol: everywhere.proxy_protocol,
        backlog: xmpp.backlog,
        num_acceptors: xmpp.num_acceptors,
        max_connections: xmpp.max_connections,
        max_connections_per_ip: everywhere.max_connections_per_ip,
        accept_rate: everywhere.accept_rate,
        accept_rate_per_ip: everywhere.accept_rate_per_ip,
        outbound_buffer: everywhere.outbound_buffer,
        reuse_port: xmpp.reuse_port.unwrap_or(true),
        state_timeout: xmpp.state_timeout.value,
        max_stanza_size: xmpp.max_stanza_size,
        pre_auth_stanza_size: xmpp.pre_auth_stanza_size,
        shaper: match xmpp.shaper.value.as_str() {
            "none" => ShaperChoice::Unlimited,
            name => ShaperChoice::Named(name.to_owned()),
        },
        shaper_place: xmpp.shaper.place,
    })
}

/// Options that load and are worth a word.
fn check_common(check: &mut Check<'_>, everywhere: &Everywhere, xmpp: &Xmpp, http: bool) {
    let proxies = &everywhere.trusted_proxies;
    if proxies.place.is_written() && !everywhere.proxy_protocol && !http {
        let text = "has no effect without `proxy_protocol`";
        check.notice(Level::NoEffect, &proxies.place, text);
    }
    let timeout = &xmpp.state_timeout;
    if timeout.value == Bound::At(0) && timeout.place.is_written() {
        let text = "0 ends every negotiation at once: nobody can connect";
        check.notice(Level::Warning, &timeout.place, text);
    }
}

fn check_one(check: &mut Check<'_>, listener: &Listener, runtime: &Runtime) {
    let common = &listener.common;
    if common.proxy_protocol
        && common.trusted_proxies.is_empty()
        && !common.address.ip().is_loopback()
    {
        let text = "anyone who can connect may claim any address: name the proxies in \
                    `trusted_proxies`";
        check.notice(Level::Warning, &listener.place, text);
    }
    if let Some(tls) = listener.tls() {
        tls.check(check, runtime);
    }
    match &listener.kind {
        ListenerKind::Http(http) => {
            http.check(check, &listener.place, common.address.ip(), runtime)
        }
        ListenerKind::Service(service) => service.check(check, runtime),
        ListenerKind::C2s(_) | ListenerKind::S2s(_) => {}
    }
}

impl Listener {
    /// The type as the file writes it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            ListenerKind::C2s(_) => "c2s",
            ListenerKind::S2s(_) => "s2s",
            ListenerKind::Service(_) => "service",
            ListenerKind::Http(_) => "http",
        }
    }

    /// Its `tls` table.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match &self.kind {
            ListenerKind::C2s(c2s) => c2s.tls.as_ref(),
            ListenerKind::S2s(s2s) => s2s.tls.as_ref(),
            ListenerKind::Service(service) => service.tls.as_ref(),
            ListenerKind::Http(http) => http.tls.as_ref(),
        }
    }

    /// Rule of `[access]` that the listener names.
    #[must_use]
    pub fn access(&self) -> Option<&Sited<String>> {
        match &self.kind {
            ListenerKind::C2s(c2s) => Some(&c2s.access),
            ListenerKind::Service(service) => Some(&service.access),
            ListenerKind::S2s(_) | ListenerKind::Http(_) => None,
        }
    }
}
