//! Connects to the server of a domain: finds out where it listens, and races its addresses.
//!
//! Runs on the background thread, because resolvers wait; what comes out is a socket as the ring
//! takes it. Both families are raced with a head start for the preferred one (RFC 8305).

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::resolve::DnsOptions;
use crate::net::resolve::Resolver;
use crate::net::resolve::Target;
use crate::net::resolve::Unresolved;
use crate::net::socket;
use crate::runtime::background::Busy;
use crate::runtime::background::Tasks;

/// Head start of an address before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Time for everything: lookups that nobody answers, and all targets. Whoever wrote to the domain waits
/// for it.
const DIAL_TIME_MAX: Duration = Duration::from_secs(60);

/// A place that the operator has named for a domain.
#[derive(Clone, Copy, Debug)]
pub struct Override {
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS begins with the first byte.
    pub direct_tls: bool,
}

/// How to connect.
#[derive(Debug)]
pub struct DialOptions {
    /// Places by domain, prepared; those are not looked up.
    pub overrides: HashMap<Box<str>, Vec<Override>>,
    /// Port where a domain names none.
    pub port: u16,
    /// Address families in the order in which they are tried: 4, 6.
    pub families: Vec<u8>,
    /// Time to connect to one target; None: what the kernel takes.
    pub timeout: Option<Duration>,
    /// Targets with direct TLS are tried.
    pub direct_tls: bool,
    /// No others are.
    pub direct_only: bool,
    /// How names are looked up.
    pub dns: DnsOptions,
}

/// A connection that was made.
#[derive(Debug)]
pub struct Dialled {
    /// The socket, blocking, as the ring takes it.
    pub socket: OwnedFd,
    /// Its other end.
    pub peer: SocketAddr,
    /// TLS begins with the first byte.
    pub direct_tls: bool,
    /// Where to try next, if the peer turns out to be no use.
    pub rest: Vec<Target>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DialError {
    /// There is no such server.
    NotFound,
    /// Nobody could be reached.
    Unreachable,
}

/// Makes connections. Lives on: every shard; cheap to clone.
#[derive(Clone)]
pub struct Dialler {
    tasks: Tasks,
    work: Arc<Work>,
}

struct Work {
    options: DialOptions,
    resolver: Resolver,
}

impl Dialler {
    /// A dialler whose work `tasks` carries out.
    ///
    /// # Errors
    /// What the resolver finds wrong.
    pub fn new(tasks: Tasks, options: DialOptions) -> io::Result<Self> {
        let resolver = Resolver::new(&options.dns)?;
        Ok(Self {
            tasks,
            work: Arc::new(Work { options, resolver }),
        })
    }

    /// Connects to the server of `domain`: to the first that answers of `rest`, or of what the
    /// domain says where that is None. `reply` is called exactly once, on another thread.
    ///
    /// # Errors
    /// When too much is under way already.
    pub fn dial(
        &self,
        domain: &str,
        rest: Option<Vec<Target>>,
        reply: impl FnOnce(Result<Dialled, DialError>) + Send + 'static,
    ) -> Result<(), Busy> {
        let work = Arc::clone(&self.work);
        let domain: Box<str> = domain.into();
        let task = async move {
            let dialled = timeout(DIAL_TIME_MAX, work.dial(&domain, rest)).await;
            dialled.unwrap_or(Err(DialError::Unreachable))
        };
        self.tasks.run(task, |result| {
            reply(result.unwrap_or(Err(DialError::Unreachable)));
        })
    }
}

impl Work {
    async fn dial(&self, domain: &str, rest: Option<Vec<Target>>) -> Result<Dialled, DialError> {
        let targets = match rest {
            Some(rest) => rest,
            None => self.targets(domain).await?,
        };
        let mut error = DialError::NotFound;
        let mut rest = targets.into_iter();
        while let Some(target) = rest.next() {
            match self.reach(&target).await {
                Ok((stream, peer)) => {
                    let socket = handed_over(stream).map_err(|_| DialError::Unreachable)?;
                    return Ok(Dialled {
                        socket,
                        peer,
                        direct_tls: target.direct_tls,
                        rest: rest.collect(),
                    });
                }
                Err(DialError::NotFound) => {}
                Err(DialError::Unreachable) => error = DialError::Unreachable,
            }
        }
        Err(error)
    }

    async fn targets(&self, domain: &str) -> Result<Vec<Target>, DialError> {
        if let Some(overrides) = self.options.overrides.get(domain) {
            return Ok(overrides
                .iter()
                .map(|place| Target {
                    host: place.address.ip().to_string().into(),
                    port: place.address.port(),
                    direct_tls: place.direct_tls,
                })
                .collect());
        }
        // An address is its own target, in the notation of RFC 6122 section 2.2.
        let literal = domain.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![Target {
                host: address.to_string().into(),
                port: self.options.port,
                direct_tls: false,
            }]);
        }
        let (port, direct) = (self.options.port, self.options.direct_tls);
        let mut found = self
            .resolver
            .targets(domain, port, direct)
            .await
            .map_err(told)?;
        if self.options.direct_only {
            found.iter_mut().for_each(|target| target.direct_tls = true);
        }
        Ok(found)
    }

    async fn reach(&self, target: &Target) -> Result<(TcpStream, SocketAddr), DialError> {
        let families = &self.options.families;
        let addresses = self.resolver.addresses(&target.host, families).await;
        let addresses = addresses.map_err(told)?;
        let candidates = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, target.port));
        let race = race(candidates);
        let won = match self.options.timeout {
            Some(patience) => timeout(patience, race).await.unwrap_or(None),
            None => race.await,
        };
        won.ok_or(DialError::Unreachable)
    }
}

fn told(unresolved: Unresolved) -> DialError {
    match unresolved {
        Unresolved::NotFound => DialError::NotFound,
        Unresolved::Failed => DialError::Unreachable,
    }
}

/// The first that connects; each has a head start before the next.
async fn race(candidates: impl Iterator<Item = SocketAddr>) -> Option<(TcpStream, SocketAddr)> {
    let mut candidates = candidates.peekable();
    let mut running = JoinSet::new();
    loop {
        if let Some(address) = candidates.next() {
            running.spawn(async move { (TcpStream::connect(address).await, address) });
        }
        if running.is_empty() {
            return None;
        }
        let finished = if candidates.peek().is_some() {
            timeout(HEAD_START, running.join_next())
                .await
                .ok()
                .flatten()
        } else {
            running.join_next().await
        };
        match finished {
            Some(Ok((Ok(stream), address))) => return Some((stream, address)),
            Some(Ok((Err(error), address))) => {
                tracing::debug!(%address, %error, "no connection");
            }
            Some(Err(_)) | None => {}
        }
    }
}

/// From the runtime to the ring, whose operations fail on sockets that must not wait.
fn handed_over(stream: TcpStream) -> io::Result<OwnedFd> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    socket::keep_alive(&stream)?;
    socket::notice_loss(&stream)?;
    Ok(OwnedFd::from(stream))
}

#[cfg(test)]
mod tests;
