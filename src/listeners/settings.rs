//! What the operator configured, in the form in which connections need it. Made once, shared by
//! all shards, never changed.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::decoy::Decoys;
use crate::auth::offer::AuthRules;
use crate::auth::offer::Channel;
use crate::auth::offer::PlainWithheld;
use crate::base::address_limits::AddressLimits;
use crate::base::address_pauses::AddressPauses;
use crate::config::Cidr;
use crate::config::Config;
use crate::config::Modules;
use crate::config::Secret;
use crate::config::listen::Common;
use crate::config::listen::Http;
use crate::config::listen::Listener as Configured;
use crate::config::listen::ListenerKind;
use crate::config::listen::ShaperChoice;
use crate::config::listen::TlsMode;
use crate::listeners::components::Components;
use crate::listeners::http::dashboard::login::Login;
use crate::listeners::http::sites::Sites;
use crate::listeners::s2s::settings::Federation;
use crate::modules::caps;
use crate::net::gate::Gate;
use crate::net::tls::TlsServer;
use crate::proto::c2s::features::Offer;
use crate::proto::ns;
use crate::proto::sasl::Mechanism;
use crate::route::hosts::Hosts;
use crate::xml::scan::Limits;

/// Bytes of one element on a connection that we have opened, unless stanzas come on it too: features
/// and answers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes that wait for one server that we have connected to: as for a listener's peers.
const OUTGOING_BUFFER_BYTES: usize = 4 << 20;
/// Time for a step of the negotiation over BOSH, in milliseconds.
const BOSH_STEP_MS: u64 = 60_000;

/// Mechanisms of one host on one listener.
struct HostOffer {
    rules: AuthRules,
    registration: bool,
    capabilities: Option<String>,
    plain_withheld: Option<PlainWithheld>,
    clear_here: Vec<Mechanism>,
    clear: Vec<Mechanism>,
    secure: Vec<Mechanism>,
}

/// One listener. Lives on: every shard (in the settings).
pub struct Listener {
    /// Its place in the file: `listen.c2s[0]`.
    pub path: String,
    /// The address it is bound to; with port 0 the one that the kernel picked.
    pub address: SocketAddr,
    /// Accepts outstanding on each core that serves it.
    pub acceptors: Vec<u32>,
    /// `num_acceptors` as written.
    pub num_acceptors: u32,
    /// Limits on open connections and accepts.
    pub gate: Arc<Gate>,
    /// Limits per client address.
    pub addresses: Option<Arc<AddressLimits>>,
    /// Certificate and rules of the start, where TLS is offered. A handshake takes
    /// `Shard::tls_of` instead, which a reload changes.
    pub tls_at_start: Option<TlsServer>,
    /// The socket came from the service manager, which keeps it.
    pub inherited: bool,
    /// TLS begins with the first byte.
    pub direct_tls: bool,
    /// Nothing goes before STARTTLS.
    pub tls_required: bool,
    /// A PROXY header is required.
    pub proxy: bool,
    /// Who may connect with one; empty: anybody.
    pub trusted: Vec<Cidr>,
    /// Bounds of an element before authentication.
    pub limits_before_login: Limits,
    /// Bounds of a stanza.
    pub limits: Limits,
    /// Time for a step of negotiation in milliseconds; None: only the total counts.
    pub state_timeout_ms: Option<u64>,
    /// Idle time after which buffers are given back; None: never.
    pub hibernate_after_ms: Option<u64>,
    /// Bytes that one slow reader may hold.
    pub outbound_buffer: usize,
    /// Backlog of its sockets.
    pub backlog: u32,
    /// Pace of reading.
    pub shaper: ShaperChoice,
    /// Rule that decides who may open a session.
    pub access: String,
    /// `backwards_compatible_session`.
    pub session: bool,
    /// Its connections speak HTTP.
    pub http: bool,
    /// Answers are compressed for who takes that.
    pub compress: bool,
    /// What they may ask for.
    pub sites: Sites,
    /// Logins of its dashboards.
    pub dashboards: Vec<Login>,
    /// The http listener that this one is a handler of: its connections came in there.
    pub handler_of: Option<u16>,
    /// Time between two pings of ours on a WebSocket, in milliseconds.
    pub ping_ms: Option<u64>,
    /// Time without a frame after which a WebSocket ends, in milliseconds.
    pub silence_ms: Option<u64>,
    /// What a service listener asks of components; None: it serves others.
    pub components: Option<Components>,
    /// Its peers are servers.
    pub is_s2s: bool,
    hosts: Vec<HostOffer>,
}

/// Everything that is configured. Lives on: every shard (in an `Arc`).
pub struct Settings {
    /// The file.
    pub config: Config,
    /// The served hosts.
    pub hosts: Hosts,
    /// Domains that listeners keep for their components.
    pub kept_domains: Vec<String>,
    /// What disguises unknown users.
    pub decoys: Decoys,
    /// The pause between two registrations of one address.
    pub registrations: AddressPauses,
    /// Streams with other servers.
    pub federation: Federation,
    /// Those that have sockets, then the handlers of http listeners that clients log in to: each
    /// has its own bounds and times, as a listener has. The last is what holds for connections
    /// that we open to other servers.
    listeners: Vec<Listener>,
    /// How many have sockets.
    bound: usize,
}

/// What a listener needs that is not in the file.
pub struct Prepared {
    /// The address in effect.
    pub address: SocketAddr,
    /// Accepts on each core that serves it.
    pub acceptors: Vec<u32>,
    /// TLS, made from its files.
    pub tls: Option<TlsServer>,
    /// The sockets came from the service manager.
    pub inherited: bool,
    /// Keys for the table of client addresses.
    pub hasher: std::hash::RandomState,
}

impl Settings {
    /// Puts the settings together; `prepared` belongs to the served listeners in their order.
    pub fn new(
        config: Config,
        shards: usize,
        (decoys, federation): (Decoys, Federation),
        served: &[Configured],
        prepared: Vec<Prepared>,
    ) -> Self {
        let names = config.general.hosts.iter().map(|host| host.value.clone());
        let hosts = Hosts::new(names, shards);
        let mut listeners: Vec<Listener> = served
            .iter()
            .zip(prepared)
            .map(|(listener, prepared)| Listener::new(&config, listener, prepared))
            .collect();
        let bound = listeners.len();
        for (number, configured) in served.iter().enumerate() {
            if let ListenerKind::Http(http) = &configured.kind {
                add_handlers(&config, configured, http, number, &mut listeners);
            }
        }
        let components = listeners.iter().filter_map(|l| l.components.as_ref());
        let kept_domains = Components::kept(components, &hosts);
        let registrations = AddressPauses::new(std::hash::RandomState::new());
        listeners.push(Listener::outgoing(&config));
        Self {
            config,
            hosts,
            decoys,
            kept_domains,
            registrations,
            federation,
            listeners,
            bound,
        }
    }

    /// The listener of that number.
    pub fn listener(&self, number: u16) -> &Listener {
        self.listeners
            .get(usize::from(number))
            .expect("listener numbers come from these settings")
    }

    /// All listeners that are served.
    pub fn listeners(&self) -> &[Listener] {
        self.listeners.get(..self.bound).unwrap_or_default()
    }

    /// The number of what holds for connections that we open to other servers.
    pub fn outgoing(&self) -> u16 {
        u16::try_from(self.listeners.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// The number of the listener whose socket a connection came in on.
    pub fn bound_number(&self, number: u16) -> u16 {
        self.listener(number).handler_of.unwrap_or(number)
    }

    /// The auth rules of a host on a listener; those of the first host where it is not known.
    pub fn auth<'a>(&'a self, listener: &'a Listener, host: &str) -> &'a AuthRules {
        &self.host(listener, host).rules
    }

    /// Why a listener does not offer PLAIN to everybody in clear, to be said once at the start.
    pub fn plain_withheld(&self, listener: &Listener) -> Option<&'static str> {
        let offers = listener.hosts.iter().filter(|_| !listener.direct_tls);
        offers
            .filter_map(|host| host.plain_withheld)
            .map(PlainWithheld::text)
            .next()
    }

    /// Hosts for which a listener has no way to log in at all.
    pub fn without_login<'a>(&'a self, listener: &'a Listener) -> impl Iterator<Item = &'a str> {
        let offers = self.hosts.names().zip(&listener.hosts);
        offers
            .filter(|(_, offer)| offer.secure.is_empty() && offer.clear_here.is_empty())
            .map(|(name, _)| name)
    }

    fn host<'a>(&self, listener: &'a Listener, host: &str) -> &'a HostOffer {
        let place = self
            .hosts
            .names()
            .position(|name| name == host)
            .unwrap_or(0);
        listener
            .hosts
            .get(place)
            .expect("there is one offer per host and at least one host")
    }

    /// What is offered to a connection whose stream is for `host`; `local` where the other end of
    /// its socket is this machine.
    pub fn offer<'a>(&'a self, listener: &'a Listener, host: &str, local: bool) -> Offer<'a> {
        let of_host = self.host(listener, host);
        Offer {
            hosts: self.hosts.as_slice(),
            default_host: &self.config.general.default_server_domain.value,
            language: &self.config.general.language,
            starttls: listener.tls_at_start.is_some() && !listener.direct_tls,
            tls_required: listener.tls_required,
            clear: if local {
                &of_host.clear_here
            } else {
                &of_host.clear
            },
            secure: &of_host.secure,
            registration: of_host.registration,
            session: listener.session,
            capabilities: of_host.capabilities.as_deref(),
        }
    }
}

impl Listener {
    /// The word of this address is taken for somebody else's.
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        let mut networks = self.trusted.iter();
        networks.any(|network| network.contains(address))
    }

    /// What holds for connections that we open to other servers, with the defaults of listeners.
    fn outgoing(config: &Config) -> Self {
        let outgoing = &config.s2s.outgoing;
        // As for a listener: "infinity" is what a recipient could ever be given.
        let most = (OUTGOING_BUFFER_BYTES / 2).min(config.runtime.partial_stanza_memory as usize);
        let stanza = outgoing.max_stanza_size.finite();
        let stanza = stanza.map_or(most, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let limits = |bytes| Limits {
            stanza_bytes_max: bytes,
            ..Limits::default()
        };
        Self {
            path: "s2s.outgoing".to_owned(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            acceptors: Vec::new(),
            num_acceptors: 0,
            gate: Arc::new(Gate::new(None, None)),
            addresses: None,
            tls_at_start: None,
            inherited: false,
            direct_tls: false,
            tls_required: false,
            proxy: false,
            trusted: Vec::new(),
            limits_before_login: limits(ANSWER_BYTES_MAX.min(stanza)),
            limits: limits(stanza),
            state_timeout_ms: outgoing.state_timeout.finite(),
            hibernate_after_ms: Some(0),
            outbound_buffer: OUTGOING_BUFFER_BYTES,
            backlog: 0,
            shaper: match outgoing.shaper.value.as_str() {
                "none" => ShaperChoice::Unlimited,
                name => ShaperChoice::Named(name.to_owned()),
            },
            access: String::new(),
            session: false,
            is_s2s: true,
            http: false,
            compress: false,
            sites: Sites::default(),
            dashboards: Vec::new(),
            handler_of: None,
            ping_ms: None,
            silence_ms: None,
            components: None,
            hosts: Vec::new(),
        }
    }

    fn new(config: &Config, configured: &Configured, prepared: Prepared) -> Self {
        let common = &configured.common;
        let (access, session, mode) = match &configured.kind {
            ListenerKind::C2s(c2s) => (
                c2s.access.value.clone(),
                c2s.backwards_compatible_session,
                c2s.tls.as_ref().map(|tls| tls.mode),
            ),
            ListenerKind::Http(http) => {
                let mode = http.tls.as_ref().map(|tls| tls.mode);
                (String::new(), false, mode)
            }
            ListenerKind::Service(service) => {
                let mode = service.tls.as_ref().map(|tls| tls.mode);
                (String::new(), false, mode)
            }
            ListenerKind::S2s(s2s) => {
                let own = s2s.tls.as_ref().map(|tls| tls.mode);
                (
                    String::new(),
                    false,
                    own.or_else(|| config.s2s.listener_mode()),
                )
            }
        };
        let http = matches!(configured.kind, ListenerKind::Http(_));
        let (limits_before_login, limits) = limits(config, common);
        let components = match &configured.kind {
            ListenerKind::Service(service) => Some(Components::new(service)),
            ListenerKind::C2s(_) | ListenerKind::S2s(_) | ListenerKind::Http(_) => None,
        };
        Self {
            path: configured.path.clone(),
            address: prepared.address,
            acceptors: prepared.acceptors,
            num_acceptors: common.num_acceptors,
            gate: Arc::new(Gate::new(
                common.max_connections.finite().map(|max| max as usize),
                common.accept_rate.map(u64::from),
            )),
            addresses: addresses(common, prepared.hasher),
            tls_at_start: prepared.tls,
            inherited: prepared.inherited,
            direct_tls: mode == Some(TlsMode::Tls),
            tls_required: mode == Some(TlsMode::StartTlsRequired),
            proxy: common.proxy_protocol,
            trusted: common.trusted_proxies.clone(),
            limits_before_login,
            limits,
            state_timeout_ms: common.state_timeout.finite(),
            hibernate_after_ms: common.hibernate_after.finite(),
            outbound_buffer: common.outbound_buffer as usize,
            backlog: common.backlog,
            shaper: common.shaper.clone(),
            access,
            session,
            http,
            compress: matches!(&configured.kind, ListenerKind::Http(http) if http.protocol.compress),
            sites: Sites::default(),
            dashboards: Vec::new(),
            handler_of: None,
            ping_ms: None,
            silence_ms: None,
            components,
            is_s2s: matches!(configured.kind, ListenerKind::S2s(_)),
            hosts: host_offers(config, configured, prepared.address),
        }
    }
}

/// Adds the handlers of an http listener that clients log in to, and tells it where they are.
fn add_handlers(
    config: &Config,
    configured: &Configured,
    http: &Http,
    number: usize,
    listeners: &mut Vec<Listener>,
) {
    let mut added: Vec<(&str, usize, u16)> = Vec::new();
    for (place, handler) in http.handlers.mongoose_websocket_handler.iter().enumerate() {
        let name = "mongoose_websocket_handler";
        let Some(parent) = listeners.get(number) else {
            return;
        };
        let mut common = configured.common.clone();
        common.max_stanza_size = handler.max_stanza_size;
        common.state_timeout = handler.state_timeout;
        let mut own = Listener::of_handler(config, configured, common, (number as u16, parent));
        own.path = format!("{}.handlers.{name}[{place}]", configured.path);
        own.session = handler.backwards_compatible_session;
        own.ping_ms = handler.ping_rate;
        own.silence_ms = handler.timeout.finite();
        added.push((name, place, listeners.len() as u16));
        listeners.push(own);
    }
    for place in 0..http.handlers.mongoose_bosh_handler.len() {
        let name = "mongoose_bosh_handler";
        let Some(parent) = listeners.get(number) else {
            return;
        };
        let common = configured.common.clone();
        let mut own = Listener::of_handler(config, configured, common, (number as u16, parent));
        own.path = format!("{}.handlers.{name}[{place}]", configured.path);
        // A step takes as long as a client may stay away.
        own.state_timeout_ms = Some(BOSH_STEP_MS);
        own.session = true;
        added.push((name, place, listeners.len() as u16));
        listeners.push(own);
    }
    let find = |name: &str, place: usize| {
        let of = added.iter().find(|(n, p, _)| *n == name && *p == place);
        of.map_or(number as u16, |(_, _, number)| *number)
    };
    let sites = Sites::new(http, find);
    if let Some(listener) = listeners.get_mut(number) {
        listener.sites = sites;
        listener.dashboards = dashboards(http);
    }
}

/// The logins of an http listener's dashboards, under keys of this process.
fn dashboards(http: &Http) -> Vec<Login> {
    let dashboards = http.handlers.meerkat_dashboard.iter();
    dashboards
        .map(|dashboard| {
            let mut random = [0; 32];
            aws_lc_rs::rand::fill(&mut random).expect("the kernel's random numbers do not fail");
            let password = dashboard.password.as_ref().map(Secret::expose);
            let password = password.expect("the check or the start found one");
            let credentials = (dashboard.username.value.as_str(), password);
            Login::new(&dashboard.path.value, credentials, &random)
        })
        .collect()
}

impl Listener {
    /// A handler that clients log in to, as a listener without sockets: connections come to it from
    /// its http listener, whose counts and limits go on.
    fn of_handler(
        config: &Config,
        configured: &Configured,
        common: Common,
        (number, parent): (u16, &Self),
    ) -> Self {
        let prepared = Prepared {
            address: parent.address,
            acceptors: Vec::new(),
            tls: parent.tls_at_start.clone(),
            inherited: parent.inherited,
            hasher: std::hash::RandomState::new(),
        };
        let (limits_before_login, limits) = limits(config, &common);
        Self {
            gate: Arc::clone(&parent.gate),
            addresses: None,
            direct_tls: parent.direct_tls,
            limits_before_login,
            limits,
            state_timeout_ms: common.state_timeout.finite(),
            access: crate::config::access::ALL.to_owned(),
            http: false,
            handler_of: Some(number),
            hosts: offers(config, None, parent.address, (common.proxy_protocol, true)),
            ..Self::new(config, configured, prepared)
        }
    }
}

/// "infinity" is in effect the smaller of half the outbound buffer and the memory for partial
/// stanzas: what is larger could never be delivered, or never be held.
pub fn stanza_bytes_max(config: &Config, common: &Common) -> u64 {
    let most = (common.outbound_buffer / 2).min(config.runtime.partial_stanza_memory);
    common.max_stanza_size.finite().unwrap_or(most)
}

fn limits(config: &Config, common: &Common) -> (Limits, Limits) {
    let stanza = stanza_bytes_max(config, common).min(config.runtime.partial_stanza_memory);
    let limits = Limits {
        stanza_bytes_max: stanza as usize,
        ..Limits::default()
    };
    let before = stanza.min(common.pre_auth_stanza_size);
    (
        Limits {
            stanza_bytes_max: before as usize,
            ..limits
        },
        limits,
    )
}

fn addresses(common: &Common, hasher: std::hash::RandomState) -> Option<Arc<AddressLimits>> {
    let per_address = crate::base::address_limits::PerAddress {
        connections_max: common.max_connections_per_ip,
        accept_rate: common.accept_rate_per_ip,
    };
    (per_address.connections_max.is_some() || per_address.accept_rate.is_some())
        .then(|| AddressLimits::new(per_address, hasher))
}

fn host_offers(config: &Config, configured: &Configured, address: SocketAddr) -> Vec<HostOffer> {
    let ListenerKind::C2s(c2s) = &configured.kind else {
        return Vec::new();
    };
    let allowed: Option<Vec<_>> = c2s
        .allowed_auth_methods
        .as_ref()
        .map(|methods| methods.iter().map(|method| method.value).collect());
    let proxy = configured.common.proxy_protocol;
    offers(config, allowed.as_deref(), address, (proxy, false))
}

fn offers(
    config: &Config,
    allowed: Option<&[crate::config::auth::Method]>,
    address: SocketAddr,
    (proxy_protocol, http): (bool, bool),
) -> Vec<HostOffer> {
    let channel = |tls, local| Channel {
        tls,
        socket_peer_is_loopback: local,
        bound_to_loopback: address.ip().is_loopback(),
        proxy_protocol,
        http,
    };
    config
        .general
        .hosts
        .iter()
        .map(|host| {
            let rules = AuthRules::new(config.auth_of(&host.value), allowed);
            let far = rules.offer(&channel(false, false));
            HostOffer {
                plain_withheld: far.plain_withheld,
                registration: config.modules_of(&host.value).mod_register.is_some(),
                capabilities: stream_features(config.modules_of(&host.value)),
                clear_here: rules.offer(&channel(false, true)).mechanisms,
                clear: far.mechanisms,
                secure: rules.offer(&channel(true, false)).mechanisms,
                rules,
            }
        })
        .collect()
}

/// What the stream's features of a host say to whoever has logged in.
fn stream_features(modules: &Modules) -> Option<String> {
    let mut features = caps::stream_feature(modules).unwrap_or_default();
    if let Some(roster) = &modules.mod_roster {
        if modules.mod_presence.is_some() {
            features.push_str(&format!("<sub xmlns='{}'/>", ns::PRE_APPROVAL));
        }
        if roster.versioning {
            features.push_str(&format!("<ver xmlns='{}'/>", ns::ROSTER_VERSIONS));
        }
    }
    (!features.is_empty()).then_some(features)
}
