//! `[s2s]`: federation, in both dialects.
//!
//! Since 6.4 MongooseIM has TLS in the listeners and in `s2s.outgoing.tls`; 6.3 has `use_starttls`,
//! `certfile` and `ciphers` here for both directions. What is written in the newer manner holds.

use super::Config;
use super::check::Check;
use super::decode::Decode;
use super::decode::text;
use super::error::Level;
use super::listen::ListenerKind;
use super::listen::TlsMode;
use super::listen::address::parse_ip;
use super::listen::tls::VERSIONS;
use super::modules::Policy;
use super::option::Kind;
use super::option::Repeats;
use super::option::Rule;
use super::option::Schema;
use super::option::Unwritten;
use super::option::options;
use super::pools::ClientTls;
use super::source::Sited;
use super::tree::Node;
use super::tree::Value;
use super::values::Bound;
use super::values::Secret;
use super::values::prepare;

options! {
    /// `[s2s]`.
    S2s {
        /// Whether servers that `host_policy` does not name may connect, and be connected to.
        default_policy: Policy = Kind::OneOf(Policy::WORDS), Unwritten::Text("allow");
        /// The same for single servers.
        host_policy: Vec<HostPolicy> =
            Kind::List(&Kind::Section(&HostPolicy::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// Secret of our dialback keys (XEP-0185).
        shared: Option<Secret> = Kind::Name, Unwritten::Unset("made at random at each start");
        /// Connections that we open.
        outgoing: Outgoing = Kind::Section(&OUTGOING), Unwritten::Section;
        /// TLS in both directions, in the manner of 6.3: for listeners without a `tls` table, and
        /// outgoing connections without `outgoing.tls`.
        use_starttls: Option<Sited<UseStartTls>> = Kind::Either(&[
            Kind::False, Kind::OneOf(UseStartTls::WORDS),
        ]), Unwritten::Unset("no TLS");
        /// PEM file with certificate and key for `use_starttls`.
        certfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("");
        /// PEM file with the certificates that peers must chain to, for `use_starttls`.
        cafile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("the system's");
        /// Cipher suites, or versions of TLS, for `use_starttls`.
        ciphers: Option<Sited<String>> = Kind::Name, Unwritten::Unset("all that are supported");
        /// As `outgoing.address`, in the manner of 6.3.
        address: Option<Vec<Address>> = ADDRESSES, Unwritten::Unset("");
        /// As `outgoing.max_retry_delay`, in the manner of 6.3.
        max_retry_delay: Option<u32> = Kind::SECONDS_FROM_1, Unwritten::Unset("");
        /// As `outgoing.dns`, in the manner of 6.3.
        dns: Option<Dns> = Kind::Section(&Dns::SCHEMA), Unwritten::Unset("");
    }
}

/// `s2s.use_starttls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UseStartTls {
    /// No TLS.
    #[default]
    No,
    /// Where the peer can.
    Optional,
    /// Or no connection.
    Required,
    /// Or no connection, and the peer's certificate must chain to a known one.
    RequiredTrusted,
}

impl UseStartTls {
    const WORDS: &'static [&'static str] = &["false", "optional", "required", "required_trusted"];
}

impl Decode for UseStartTls {
    fn decode(node: &Node) -> Option<Self> {
        match (&node.value, text(node)) {
            (Value::Boolean(false), _) | (_, Some("false")) => Some(Self::No),
            (_, Some("optional")) => Some(Self::Optional),
            (_, Some("required")) => Some(Self::Required),
            (_, Some("required_trusted")) => Some(Self::RequiredTrusted),
            (_, _) => None,
        }
    }
}

options! {
    /// One element of `host_policy`.
    HostPolicy {
        /// The server.
        host: Sited<String> = Kind::DOMAIN, Unwritten::Required;
        /// Whether it may.
        policy: Policy = Kind::OneOf(Policy::WORDS), Unwritten::Required;
    }
}

options! {
    /// `s2s.outgoing`.
    Outgoing {
        /// Addresses of servers that are not looked up.
        address: Vec<Address> = ADDRESSES, Unwritten::Empty;
        /// Time to connect.
        connection_timeout: Bound<u64> = Kind::MILLIS_FROM_1_OR_INFINITY, Unwritten::Int(10_000);
        /// How names are looked up.
        dns: Dns = Kind::Section(&Dns::SCHEMA), Unwritten::Section;
        /// Address families in the order in which they are tried.
        ip_versions: Option<Vec<u8>> =
            Kind::List(&Kind::OneInt(&[4, 6]), Repeats::RefusedNorEmpty),
            Unwritten::Unset("[4, 6]");
        /// Longest pause before a server is tried again; pauses double up to it.
        max_retry_delay: u32 = Kind::SECONDS_FROM_1, Unwritten::Int(300);
        /// Most bytes of one stanza that the peer sends us.
        max_stanza_size: Bound<u64> = Kind::BYTES_OR_INFINITY, Unwritten::Text("infinity");
        /// Port where a server names none.
        port: u16 = Kind::PORT, Unwritten::Int(5269);
        /// How fast input is read: a name of `[shaper]`, or "none".
        shaper: Sited<String> = Kind::Name, Unwritten::Text("none");
        /// Time for each step of negotiation.
        state_timeout: Bound<u64> = Kind::MILLIS_OR_INFINITY, Unwritten::Int(5000);
        /// Time without a stanza after which a connection is closed.
        stream_timeout: Bound<u64> = Kind::MILLIS_OR_INFINITY, Unwritten::Int(600_000);
        /// TLS. Absent: what `use_starttls` says.
        tls: Option<OutgoingTls> = Kind::Section(&OUTGOING_TLS), Unwritten::Unset("no TLS");
    }
}

const OUTGOING: Schema = Outgoing::SCHEMA;
const OUTGOING_TLS: Schema = Schema {
    groups: &[OutgoingStart::OPTIONS, ClientTls::OPTIONS],
};
const ADDRESSES: Kind = Kind::List(&Kind::Section(&Address::SCHEMA), Repeats::Allowed);

/// `s2s.outgoing.tls`.
#[derive(Clone, Debug, Default)]
pub struct OutgoingTls {
    /// When TLS starts.
    pub start: OutgoingStart,
    /// What every connection that the server opens has.
    pub client: ClientTls,
}

impl Decode for OutgoingTls {
    fn decode(node: &Node) -> Option<Self> {
        Some(Self {
            start: OutgoingStart::decode(node)?,
            client: ClientTls::decode(node)?,
        })
    }
}

options! {
    /// What `s2s.outgoing.tls` has beyond the table of every client connection.
    OutgoingStart {
        /// When TLS starts.
        mode: TlsMode = Kind::OneOf(TlsMode::WORDS), Unwritten::Text("starttls");
        /// Write session keys to the file that SSLKEYLOGFILE names, to read captures.
        keep_secrets: bool = Kind::Bool, Unwritten::Bool(false);
    }
}

options! {
    /// One element of `outgoing.address`.
    Address {
        /// The server.
        host: String = Kind::DOMAIN, Unwritten::Required;
        /// Its address.
        ip_address: String = Kind::Checked(Rule {
                accepted: "an IPv4 or IPv6 address",
                check: |text| parse_ip(text).map(drop),
            }), Unwritten::Required;
        /// Its port.
        port: Option<u16> = Kind::PORT, Unwritten::Unset("outgoing.port");
        /// Whether it is spoken to in TLS from the first byte.
        tls: bool = Kind::Bool, Unwritten::Bool(false);
    }
}

options! {
    /// `outgoing.dns`.
    Dns {
        /// Time of one lookup.
        timeout: u32 = Kind::SECONDS_FROM_1, Unwritten::Int(10);
        /// How often a lookup is tried.
        retries: u32 = Kind::COUNT, Unwritten::Int(2);
        /// Address and port of a name server to ask instead of the system's.
        server: Option<String> = Kind::Checked(Rule {
                accepted: "an address with a port such as \"192.0.2.53:53\"",
                check: |text| match text.parse::<std::net::SocketAddr>() {
                    Ok(_) => Ok(()),
                    Err(_) => Err(format!("{text:?} is no address with a port")),
                },
            }), Unwritten::Unset("the system's"), ours();
    }
}

/// Keys of `[s2s]`.
pub(crate) const SCHEMA: Schema = S2s::SCHEMA;

/// Options by their 6.3 place, and by their newer one.
const MOVED: &[(&str, &[&str])] = &[
    ("address", &["outgoing", "address"]),
    ("max_retry_delay", &["outgoing", "max_retry_delay"]),
    ("dns", &["outgoing", "dns"]),
];

impl S2s {
    /// Whether the policy lets `host` be connected with.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let own = self.host_policy.iter().find(|own| own.host.value == host);
        own.map_or(self.default_policy, |own| own.policy) == Policy::Allow
    }

    /// When TLS starts on a listener without a `tls` table.
    #[must_use]
    pub fn listener_mode(&self) -> Option<TlsMode> {
        match self.use_starttls.as_ref()?.value {
            UseStartTls::No => None,
            UseStartTls::Optional => Some(TlsMode::StartTls),
            UseStartTls::Required | UseStartTls::RequiredTrusted => Some(TlsMode::StartTlsRequired),
        }
    }

    /// Whether any server may be connected with.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        let mut own = self.host_policy.iter().map(|own| own.policy);
        self.default_policy == Policy::Allow || own.any(|policy| policy == Policy::Allow)
    }

    /// `use_starttls` wants TLS.
    fn offers_tls(&self) -> bool {
        self.use_starttls
            .as_ref()
            .is_some_and(|wanted| wanted.value != UseStartTls::No)
    }

    /// The rules that look at more than one option of the section.
    pub(crate) fn check(&self, check: &mut Check<'_>, section: &Node) {
        for (old, new) in MOVED {
            let old = section.entries().iter().find(|entry| entry.key == *old);
            let newer = new.iter().try_fold(section, |node, key| node.get(key));
            if let (Some(old), Some(newer)) = (old, newer) {
                let message = format!("{} is written too", newer.place.path());
                check.error(&old.key_place, message, "only one of the two");
            }
        }
        let tls = self.outgoing.tls.iter();
        for found in tls.flat_map(|tls| &tls.client.versions) {
            if let Err(why) = (VERSIONS.check)(&found.value) {
                check.error(
                    &found.place,
                    why,
                    &format!("expected {}", VERSIONS.accepted),
                );
            }
        }
        if let Some(wanted) = &self.use_starttls
            && self.offers_tls()
            && self.certfile.is_none()
        {
            check.error(
                &wanted.place,
                "needs a certificate",
                "expected `certfile` too",
            );
        }
    }

    /// Options of the 6.3 manner take the place of the newer ones, and servers have the names by
    /// which they are looked for.
    pub(crate) fn settle(&mut self) {
        if let Some(address) = self.address.take() {
            self.outgoing.address = address;
        }
        if let Some(delay) = self.max_retry_delay.take() {
            self.outgoing.max_retry_delay = delay;
        }
        if let Some(dns) = self.dns.take() {
            self.outgoing.dns = dns;
        }
        for server in &mut self.host_policy {
            prepare(&mut server.host.value);
        }
        for server in &mut self.outgoing.address {
            prepare(&mut server.host);
        }
    }
}

/// Federation never runs in clear without a warning, and a listener's own table goes first.
pub(crate) fn check_clear(check: &mut Check<'_>, config: &Config) {
    let s2s = &config.s2s;
    for listener in &config.listeners {
        let ListenerKind::S2s(options) = &listener.kind else {
            continue;
        };
        match (&options.tls, &s2s.use_starttls) {
            (None, _) if !s2s.offers_tls() => {
                let text = "neither a `tls` table nor `s2s.use_starttls`: federation runs in clear";
                check.notice(Level::Warning, &listener.place, text);
            }
            (Some(_), Some(wanted)) => {
                let text = format!("{} has a `tls` table, which holds there", listener.path);
                check.notice(Level::Info, &wanted.place, text);
            }
            (None, _) | (Some(_), None) => {}
        }
    }
}
