//! RFC 6120 section 3.2, XEP-0368: where the server of a domain listens.
//!
//! SRV records of both services in one list, ordered by priority and weight (RFC 2782), else the
//! domain's own addresses. Runs on the background thread; the library caches by the records' times.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::rand::SystemRandom;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::ResolverOpts;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

/// SRV records of a domain that are looked at, best first. Nobody has ten.
const TARGETS_MAX: usize = 16;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// No answer is kept longer, whatever its records say, so that a moved server is found again.
const CACHE_TIME_MAX: Duration = Duration::from_secs(3600);

/// How names are looked up.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Time of one lookup.
    pub timeout: Duration,
    /// How often it is tried again.
    pub retries: usize,
    /// A name server to ask instead of those of the system.
    pub server: Option<SocketAddr>,
}

/// One place where a server may listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// A name, or an address as text.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// TLS begins with the first byte.
    pub direct_tls: bool,
}

/// Why nothing is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// There is no such domain, or it says that it has no such service.
    NotFound,
    /// No answer that could be used.
    Failed,
}

/// Asks the DNS. Lives on: the background thread.
pub struct Resolver {
    dns: TokioResolver,
    random: SystemRandom,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Rank {
    priority: u16,
    weight: u16,
}

impl Resolver {
    /// From the system's settings and the operator's. Where the system has none that can be read,
    /// every lookup fails, and domains with an address of their own in the file are still reached.
    ///
    /// # Errors
    /// What the library finds wrong.
    pub fn new(options: &DnsOptions) -> io::Result<Self> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match options.server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, provider)
            }
            None => TokioResolver::builder(provider).unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no DNS server: no domain can be looked up");
                let none = ResolverConfig::from_name_servers(Vec::new());
                TokioResolver::builder_with_config(none, TokioRuntimeProvider::default())
            }),
        };
        let settings: &mut ResolverOpts = builder.options_mut();
        settings.timeout = options.timeout;
        settings.attempts = options.retries;
        settings.positive_max_ttl = Some(CACHE_TIME_MAX);
        settings.negative_max_ttl = Some(CACHE_TIME_MAX);
        Ok(Self {
            dns: builder.build().map_err(io::Error::other)?,
            random: SystemRandom::new(),
        })
    }

    /// Where the server of `domain` listens, in the order in which to try.
    ///
    /// # Errors
    /// When there is no such domain, or nobody says.
    pub async fn targets(
        &self,
        domain: &str,
        port: u16,
        direct_tls: bool,
    ) -> Result<Vec<Target>, Unresolved> {
        // A final dot: the system's search list is none of a domain's business.
        let ascii = idna::domain_to_ascii(domain).map_err(|_| Unresolved::NotFound)?;
        let mut ranked = Vec::new();
        let mut refuses = false;
        let services = [("_xmpps-server._tcp", true), ("_xmpp-server._tcp", false)];
        for (service, direct) in services {
            if direct && !direct_tls {
                continue;
            }
            match self.dns.srv_lookup(format!("{service}.{ascii}.")).await {
                Ok(found) => {
                    for record in found.answers() {
                        let RData::SRV(srv) = &record.data else {
                            continue;
                        };
                        let host = srv.target.to_ascii();
                        if host == "." {
                            refuses = true;
                            continue;
                        }
                        let rank = Rank {
                            priority: srv.priority,
                            weight: srv.weight,
                        };
                        let target = Target {
                            host: host.into(),
                            port: srv.port,
                            direct_tls: direct,
                        };
                        ranked.push((rank, target));
                    }
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => {
                    tracing::debug!(%domain, %error, "SRV lookup failed");
                }
            }
        }
        if ranked.is_empty() && refuses {
            return Err(Unresolved::NotFound);
        }
        if ranked.is_empty() {
            ranked.push((
                Rank {
                    priority: 0,
                    weight: 0,
                },
                Target {
                    host: format!("{ascii}.").into(),
                    port,
                    direct_tls: false,
                },
            ));
        }
        Ok(in_order(ranked, |below| self.below(below)))
    }

    /// The addresses of a target in the order of `families` (4, 6), the families in turn.
    ///
    /// # Errors
    /// When there are none, or nobody says.
    pub async fn addresses(&self, host: &str, families: &[u8]) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut lists = Vec::with_capacity(families.len());
        let mut failed = false;
        for family in families {
            let kind = if *family == 6 {
                RecordType::AAAA
            } else {
                RecordType::A
            };
            match self.dns.lookup(host, kind).await {
                Ok(found) => {
                    let addresses =
                        found
                            .answers()
                            .iter()
                            .filter_map(|record| match &record.data {
                                RData::A(address) => Some(IpAddr::V4(address.0)),
                                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                                _ => None,
                            });
                    lists.push(addresses.take(ADDRESSES_MAX).collect::<Vec<_>>());
                }
                Err(error) => failed |= !is_absence(&error),
            }
        }
        let found = in_turn(&lists);
        match (found.is_empty(), failed) {
            (false, _) => Ok(found),
            (true, true) => Err(Unresolved::Failed),
            (true, false) => Err(Unresolved::NotFound),
        }
    }

    fn below(&self, bound: u32) -> u32 {
        let mut bytes = [0; 4];
        // Without randomness the first of equals is taken, which is an order too.
        let _ = self.random.fill(&mut bytes);
        u32::from_ne_bytes(bytes) % bound.max(1)
    }
}

fn is_absence(error: &NetError) -> bool {
    error.is_no_records_found()
}

/// RFC 2782: by priority; among equals each with a chance by its weight.
fn in_order(mut ranked: Vec<(Rank, Target)>, mut below: impl FnMut(u32) -> u32) -> Vec<Target> {
    // Zero weights first, so that they have a chance only where the draw is zero.
    ranked.sort_by_key(|(rank, _)| (rank.priority, rank.weight));
    ranked.truncate(TARGETS_MAX);
    let mut ordered = Vec::with_capacity(ranked.len());
    while let Some((first, _)) = ranked.first() {
        let priority = first.priority;
        let equals = ranked
            .iter()
            .take_while(|(rank, _)| rank.priority == priority);
        let weights: Vec<u32> = equals.map(|(rank, _)| u32::from(rank.weight)).collect();
        let total: u32 = weights.iter().sum();
        let mut draw = below(total + 1);
        let chosen = weights.iter().position(|weight| {
            let is_it = draw <= *weight;
            draw = draw.saturating_sub(*weight);
            is_it
        });
        ordered.push(ranked.remove(chosen.unwrap_or(0)).1);
    }
    ordered
}

/// One of each list in turn (RFC 8305 section 4).
fn in_turn(lists: &[Vec<IpAddr>]) -> Vec<IpAddr> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let rounds =
        (0..longest).flat_map(|round| lists.iter().filter_map(move |list| list.get(round)));
    rounds.copied().collect()
}

#[cfg(test)]
mod tests;
