//! Where a listener listens, and whether two of them get in each other's way.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::Listener;
use crate::config::check::Check;
use crate::config::option::Alias;
use crate::config::option::INT31;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Range;
use crate::config::option::Repeats;
use crate::config::option::Rule;
use crate::config::option::Unwritten;
use crate::config::option::options;
use crate::config::option::without_aliases;
use crate::config::source::Sited;
use crate::config::values::Bound;
use crate::config::values::Cidr;

/// Less would not hold the answer to a stream header.
const OUTBOUND_BUFFER_MIN: i64 = 16 << 10;

/// A buffer of 4 GiB for one slow reader is a typing mistake.
const OUTBOUND_BUFFER_MAX: i64 = 4 << 30;

options! {
    /// Options of every listener.
    Everywhere {
        /// Port to bind; 0: the kernel picks one, and the log names it.
        port: Sited<u16> = Kind::PORT, Unwritten::Required;
        /// IPv4 or IPv6 address to bind. "" and unset: all addresses of the family.
        ip_address: Option<Sited<String>> = IP_OR_EMPTY,
            Unwritten::Unset("all addresses of the family");
        /// Transport.
        proto: String = Kind::OneOf(&["tcp"]), Unwritten::Text("tcp");
        /// Address family, 4 or 6.
        ip_version: Option<Sited<u8>> = Kind::OneInt(&[4, 6]),
            Unwritten::Unset("that of ip_address, else 4");
        /// Addresses and networks of proxies. With `proxy_protocol`: who may connect, [] = anyone.
        /// On http: who may set X-Forwarded-For or Forwarded, [] = nobody.
        trusted_proxies: Sited<Vec<Cidr>> = Kind::List(&NETWORK, Repeats::Refused),
            Unwritten::Empty, ours();
        /// How long after its last activity a connection gives back its buffers; 0: at every
        /// opportunity.
        hibernate_after: Bound<u64> = Kind::MILLIS_OR_INFINITY, Unwritten::Int(0);
        /// A PROXY header, version 1 or 2, must come before anything else, TLS included.
        proxy_protocol: bool = Kind::Bool, Unwritten::Bool(false);
        /// Most open connections of one IP address (IPv6: of one /64); more are closed at once.
        max_connections_per_ip: Option<u32> = Kind::POSITIVE, Unwritten::Unset("no limit"), ours();
        /// Most accepts a second; beyond it accepting pauses.
        accept_rate: Option<u32> = Kind::POSITIVE, Unwritten::Unset("no limit"), ours();
        /// Most accepts a second of one IP address (IPv6: of one /64); more are closed at once.
        accept_rate_per_ip: Option<u32> = Kind::POSITIVE, Unwritten::Unset("no limit"), ours();
        /// Bytes that wait for one slow reader before it is cut.
        outbound_buffer: u64 = Kind::Int(Range {
                min: OUTBOUND_BUFFER_MIN, max: OUTBOUND_BUFFER_MAX, unit: "bytes",
            }), Unwritten::Int(4 << 20), ours();
    }
}

options! {
    /// Options of the XMPP listeners: c2s, s2s, service.
    Xmpp {
        /// Connections that wait in the kernel to be accepted, for each socket.
        backlog: u32 = Kind::COUNT, Unwritten::Int(1024);
        /// Most bytes of one stanza on the wire, enforced while it is read. "infinity": half of
        /// `outbound_buffer`, or `runtime.partial_stanza_memory` where that is smaller.
        max_stanza_size: Bound<u64> = Kind::BYTES_OR_INFINITY, Unwritten::Text("infinity");
        /// The same before the peer is authenticated; whichever is smaller holds.
        pre_auth_stanza_size: u64 = Kind::Int(Range { min: 1, max: INT31, unit: "bytes" }),
            Unwritten::Int(10_000), ours();
        /// Accepts kept outstanding, split over the cores that serve this listener.
        num_acceptors: u32 = Kind::POSITIVE, Unwritten::Int(100);
        /// How fast input is read: a name of `[shaper]`, or of an `[access]` rule whose values
        /// are such names; "none": as fast as it comes.
        shaper: Sited<String> = Kind::Name, Unwritten::Text("none"), also(SHAPER_63);
        /// Most open connections over all cores; beyond it clients wait in the backlog.
        max_connections: Bound<u64> = Kind::COUNT_OR_INFINITY, Unwritten::Text("infinity");
        /// false: one socket on one core. Unset and true: one on each.
        reuse_port: Option<bool> = Kind::Bool, Unwritten::Unset("true");
        /// Time for each step of negotiation, up to the established session.
        state_timeout: Sited<Bound<u64>> = Kind::MILLIS_OR_INFINITY, Unwritten::Int(5000);
    }
}

/// Only `[[listen.service]]` knows this name; the other listeners take [`XMPP`].
const SHAPER_63: &[Alias] = &[Alias {
    key: "shaper_rule",
    version: "6.3",
}];

/// The options of the XMPP listeners without names of 6.3.
pub(crate) const XMPP: &[Opt] = &without_aliases::<{ Xmpp::OPTIONS.len() }>(Xmpp::OPTIONS);

const IP_OR_EMPTY: Kind = Kind::Checked(Rule {
    accepted: "an IPv4 or IPv6 address such as \"127.0.0.1\" or \"::1\", or \"\"",
    check: |text| {
        if text.is_empty() {
            Ok(())
        } else {
            parse_ip(text).map(drop)
        }
    },
});

const NETWORK: Kind = Kind::Checked(Rule {
    accepted: "an address or network such as \"192.0.2.1\" or \"10.0.0.0/8\"",
    check: |text| Cidr::parse(text).map(drop),
});

/// An address literal as listeners and federation take it: no short forms, zone ids, host names.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => Err(format!(
            "{text:?} is an IPv4 address in IPv6 form; write the IPv4 address"
        )),
        Ok(address) => Ok(address),
        Err(_) if text.contains('%') => Err(format!("{text:?} has a zone id")),
        Err(_) => Err(format!("{text:?} is no IP address")),
    }
}

impl Everywhere {
    /// The socket address. A contradiction between address and version is an error. Where either
    /// is wrong by itself, the port is 0: such an address meets no other.
    pub(crate) fn address(&self, check: &mut Check<'_>) -> SocketAddr {
        let version = self.ip_version.as_ref().map(|version| version.value);
        let unspecified = match version {
            Some(6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some(_) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let literal = self.ip_address.as_ref().filter(|text| !text.is_empty());
        let address = literal.map_or(Ok(unspecified), |text| parse_ip(text));
        let (Ok(address), None | Some(4 | 6)) = (address, version) else {
            return SocketAddr::new(unspecified, 0);
        };
        if let Some(version) = &self.ip_version
            && address.is_ipv4() != (version.value == 4)
        {
            let message = format!("contradicts ip_address, which is {address}");
            let accepted = if address.is_ipv4() {
                "expected 4"
            } else {
                "expected 6"
            };
            check.error(&version.place, message, accepted);
        }
        SocketAddr::new(address, self.port.value)
    }
}

/// Two listeners that want the same address: the kernel would let only one of them have it, or,
/// with SO_REUSEPORT, share its connections out between both.
pub(crate) fn check_overlaps(check: &mut Check<'_>, listeners: &[Listener]) {
    for (n, later) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(n);
        if let Some(first) = earlier
            .clone()
            .find(|l| overlap(l.common.address, later.common.address))
        {
            let message = format!(
                "{} is taken by {} (line {}), which listens on {}",
                later.common.address,
                first.path,
                first.place.line(),
                first.common.address,
            );
            let accepted = "expected an address and port that no other listener has";
            check.error(&later.common.port_place, message, accepted);
        }
    }
}

/// IPv6 sockets are bound V6ONLY, so the families never meet.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (wildcard || a.ip() == b.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps() {
        let seeds = [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "[::]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("0.0.0.0:1", "0.0.0.0:2", false),
        ];
        for (a, b, expected) in seeds {
            let [first, second] = [a, b].map(|text| text.parse().expect("a seed"));
            assert_eq!(overlap(first, second), expected, "{a} {b}");
            assert_eq!(overlap(second, first), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_plain_literals_are_addresses() {
        for text in ["127.0.0.1", "0.0.0.0", "::", "2001:db8::1"] {
            assert!(parse_ip(text).is_ok(), "{text}");
        }
        for text in [
            "127.1",
            "0",
            "localhost",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            "[::1]",
            "1.2.3.4:5",
        ] {
            assert!(parse_ip(text).is_err(), "{text}");
        }
    }
}
