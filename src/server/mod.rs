//! The order of start and the order of stop, one step a line.

mod control;
pub mod doctor;
pub mod federation;
mod inherited;
mod log;
mod notify;
mod reload;
mod secrets;
mod start_text;
pub mod status;
pub mod tls;
mod watch;

use std::hash::RandomState;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::rand::SystemRandom;

use crate::auth::decoy::Decoys;
use crate::backend::embedded::Store;
use crate::backend::first_start;
use crate::backend::password_work::PasswordWork;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::config::Config;
use crate::config::listen::Listener;
use crate::listeners::mail::Mail;
use crate::listeners::mail::Note;
use crate::listeners::settings::Prepared;
use crate::listeners::settings::Settings;
use crate::listeners::shard::Parts;
use crate::listeners::shard::Shard;
use crate::modules::Facts;
use crate::net::accept::Acceptor;
use crate::net::accept::split;
use crate::net::cpus;
use crate::net::preflight;
use crate::net::ring::Ring;
use crate::net::socket;
use crate::runtime::background::Background;
use crate::runtime::mesh;
use crate::runtime::mesh::Outside;
use crate::runtime::shards;
use crate::runtime::shards::Shards;
use crate::runtime::waker::Waker;

/// File of the secret that disguises unknown users, below the data folder.
const DECOY_SECRET: &str = "decoy.secret";

/// How long a start waits for a port that a killed predecessor may still hold.
const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// The listeners that this version serves.
pub fn served(config: &Config) -> Vec<Listener> {
    config.listeners.clone()
}

/// Beyond the drain time, how long a stop waits for shards to say that they are done.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// `meerkat serve`: until SIGTERM or SIGINT.
pub fn serve(loaded: Loaded) -> ExitCode {
    let mut log = log::Log::start(&loaded.config);
    match start_and_run(&loaded, &mut log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            start_text::refuse(&failure, loaded.config.runtime.log_format);
            ExitCode::FAILURE
        }
    }
}

fn start_and_run(loaded: &Loaded, log: &mut log::Log) -> Result<(), Failure> {
    // A signal during the start is not lost.
    let told = control::catch_signals()?;
    let server = Server::start(loaded)?;
    notify::watch(&server.outside)
        .map_err(|error| Failure::new(format!("no thread for the watchdog: {error}")))?;
    start_text::print(&server.text, loaded.config.runtime.log_format);
    let reload = reload::Reload::new(loaded.clone(), server.outside.clone());
    control::run(server, reload, log, &told)
}

/// A listener's sockets, one for each core that serves it.
type Sockets = Vec<Vec<OwnedFd>>;

/// A running server. Lives on: once per process.
pub struct Server {
    settings: Arc<Settings>,
    shards: Shards,
    outside: Vec<Outside<Note>>,
    store: Store,
    work: PasswordWork,
    background: Option<Background>,
    text: String,
}

impl Server {
    /// Starts everything, in this order.
    ///
    /// # Errors
    /// What the operator has to mend; nothing is served then.
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of all shards starts here"
    )]
    pub fn start(loaded: &Loaded) -> Result<Self, Failure> {
        let since = Instant::now();
        let report = preflight::run()
            .map_err(|refusal| Failure::new(format!("{}\n{}", refusal.cause, refusal.remedy)))?;
        let cores = loaded.config.runtime.cores.as_ref();
        let cores = cores.and_then(|cores| NonZeroUsize::new(cores.value));
        let cpus = cpus::choose_here(cores).map_err(Failure::new)?;
        let mut listeners = served(&loaded.config);
        let secrets = secrets::read(loaded, &mut listeners)?;
        let made = tls::make_certificates(loaded, &listeners)?;
        let window = Duration::from_millis(loaded.config.runtime.commit_window_ms);
        let store = Store::open_with(&loaded.data_folder(), window)?;
        let threads = NonZeroUsize::new(cpus.chosen.len()).unwrap_or(NonZeroUsize::MIN);
        let work = PasswordWork::start(threads)
            .map_err(|error| Failure::new(format!("no threads for password hashes: {error}")))?;
        let (prepared, sockets) = prepare(loaded, &listeners, cpus.chosen.len())?;
        let secret = first_start::secret(&loaded.data_folder().join(DECOY_SECRET))
            .map_err(|error| Failure::new(error.to_string()))?;
        let config = loaded.config.clone();
        let decoys = Decoys::new(secret.as_bytes());
        let (federation, background) = federation::build(loaded, &random()?)?;
        let made_of = (decoys, federation);
        let settings = Settings::new(config, cpus.chosen.len(), made_of, &listeners, prepared);
        let settings = Arc::new(settings);
        let text = start_text::Start {
            loaded,
            report: &report,
            cpus: &cpus,
            made: &made,
            secrets: &secrets,
        };
        let text = text.text(&settings);
        let (shards, outside) =
            start_shards(&cpus.chosen, &settings, sockets, &store, &work, since)?;
        let source = status::Source {
            shards: outside.clone(),
            cpus: cpus.chosen,
            settings: Arc::clone(&settings),
            store: store.handle(),
            since,
        };
        let folder = loaded.data_folder();
        status::serve(&folder, source).map_err(|error| {
            let path = status::socket_path(&folder);
            Failure::new(format!(
                "the status socket {} cannot be made: {error}",
                path.display()
            ))
        })?;
        Ok(Self {
            settings,
            shards,
            outside,
            store,
            work,
            background,
            text,
        })
    }

    /// The addresses that are listened on, by the listener's place in the file.
    pub fn addresses(&self) -> Vec<(&str, SocketAddr)> {
        let listeners = self.settings.listeners().iter();
        listeners
            .map(|listener| (listener.path.as_str(), listener.address))
            .collect()
    }

    fn drain_ms(&self) -> u64 {
        self.settings.config.runtime.drain_ms
    }

    fn tell(&self, note: impl Fn() -> Note) {
        for shard in &self.outside {
            // A full inbox has room again after the shard's next turn.
            while shard.send(note()).is_err() {
                std::thread::yield_now();
            }
        }
    }

    /// Closes every stream, waits for the shards and finishes pending writes.
    ///
    /// # Errors
    /// When a shard had failed.
    pub fn stop(self) -> Result<(), Failure> {
        let (sender, drained) = sync_channel(self.outside.len());
        self.tell(|| Note::Stop(self.drain_ms(), sender.clone()));
        drop(sender);
        // None ends before the last: until then stanzas may come for users of each.
        let patience = Duration::from_millis(self.drain_ms()).saturating_add(STOP_PATIENCE);
        for _ in &self.outside {
            if drained.recv_timeout(patience).is_err() {
                break;
            }
        }
        self.tell(|| Note::Drained);
        let joined = self.shards.join();
        drop(self.work);
        drop(self.background);
        self.store.close();
        joined.map_err(|error| Failure::new(error.to_string()))
    }
}

/// A secret for dialback keys, where the operator has named none: good until the next start.
fn random() -> Result<[u8; 32], Failure> {
    let mut secret = [0; 32];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| Failure::new("the kernel gives no random numbers".to_owned()))?;
    Ok(secret)
}

/// Sockets are bound and certificates read before anything is served.
fn prepare(
    loaded: &Loaded,
    listeners: &[Listener],
    cores: usize,
) -> Result<(Vec<Prepared>, Sockets), Failure> {
    let mut prepared = Vec::with_capacity(listeners.len());
    let mut sockets = Vec::with_capacity(listeners.len());
    let mut inherited = inherited::Sockets::take()?;
    for listener in listeners {
        let tls = tls::build(loaded, listener);
        let tls = tls.map_err(|errors| Failure::new(errors.to_string()))?;
        let own = inherited.of(listener, cores)?;
        let is_inherited = !own.sockets.is_empty();
        let (bound, acceptors) = if is_inherited {
            (
                socket::Bound {
                    address: own.address,
                    sockets: own.sockets,
                },
                own.acceptors,
            )
        } else {
            bind(listener, cores)?
        };
        sockets.push(bound.sockets);
        prepared.push(Prepared {
            address: bound.address,
            acceptors,
            tls,
            inherited: is_inherited,
            hasher: RandomState::new(),
        });
    }
    inherited.nothing_left()?;
    Ok((prepared, sockets))
}

/// The sockets of a listener and the accepts of each.
fn bind(listener: &Listener, cores: usize) -> Result<(socket::Bound, Vec<u32>), Failure> {
    let mut acceptors = split(listener.common.num_acceptors, cores);
    if !listener.common.reuse_port {
        // One socket on one core, as `reuse_port = false` asks for.
        acceptors = split(listener.common.num_acceptors, 1);
    }
    let bound = socket::bind_patiently(listener.common.address, acceptors.len(), PORT_PATIENCE)
        .map_err(|error| taken(listener, listener.common.address, &error))?;
    Ok((bound, acceptors))
}

fn taken(listener: &Listener, address: SocketAddr, error: &std::io::Error) -> Failure {
    let path = &listener.path;
    Failure::new(format!(
        "{path} cannot listen on {address}: {error}\n{}",
        remedy(error.kind(), path)
    ))
}

/// What helps against an address that cannot be had.
fn remedy(kind: ErrorKind, path: &str) -> String {
    match kind {
        ErrorKind::AddrNotAvailable => format!(
            "No interface of this machine has that address: change ip_address in {path}, or add the \
             address (`ip address add`)"
        ),
        ErrorKind::PermissionDenied => format!(
            "A port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE \
             (AmbientCapabilities= of the unit): give it, or change the port in {path}"
        ),
        ErrorKind::AddrInUse => {
            format!("Stop what listens there, or change the port in {path}")
        }
        _ => format!("Change ip_address or port in {path}"),
    }
}

type Started = (Shards, Vec<Outside<Note>>);

fn start_shards(
    cpus: &[usize],
    settings: &Arc<Settings>,
    sockets: Sockets,
    store: &Store,
    work: &PasswordWork,
    epoch: Instant,
) -> Result<Started, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("a core cannot be started: {error}"));
    let wakers: Result<Vec<_>, _> = cpus.iter().map(|_| Waker::new().map(Arc::new)).collect();
    let wakers = wakers.map_err(failed)?;
    let (ends, outside) = mesh::connect::<Mail, Note>(&wakers);
    let hasher = RandomState::new();
    let verified_key = random()?;
    let mut per_shard: Vec<Vec<(u16, OwnedFd, u32)>> = cpus.iter().map(|_| Vec::new()).collect();
    for (number, sockets) in sockets.into_iter().enumerate() {
        let listener = settings.listener(number as u16);
        for (shard, (socket, share)) in sockets.into_iter().zip(&listener.acceptors).enumerate() {
            if listener.is_s2s {
                socket::notice_loss(&socket).map_err(failed)?;
            }
            socket::listen(&socket, listener.backlog).map_err(failed)?;
            if let Some(own) = per_shard.get_mut(shard) {
                own.push((number as u16, socket, *share));
            }
        }
    }
    let all = outside.clone();
    let mut futures = Vec::with_capacity(cpus.len());
    for ((mesh, own), outside) in ends.into_iter().zip(per_shard).zip(&outside) {
        let parts = Parts {
            mesh,
            settings: Arc::clone(settings),
            hasher: hasher.clone(),
            store: store.handle(),
            work: work.handle(),
            outside: outside.clone(),
            shards: all.clone(),
            wakers: wakers.clone(),
            facts: facts(&settings.config),
            verified_key,
            epoch,
        };
        futures.push(move || serve_on_core(parts, own));
    }
    let shards = shards::run(cpus, futures).map_err(failed)?;
    Ok((shards, outside))
}

fn facts(config: &Config) -> Facts {
    Facts {
        version: crate::cli::version(),
        unix_seconds: 0,
        since_unix_seconds: 0,
        modules: config.modules_by_host(),
    }
}

/// The life of one core.
#[expect(
    clippy::disallowed_methods,
    reason = "a server without one of its cores cannot go on"
)]
async fn serve_on_core(parts: Parts, own: Vec<(u16, OwnedFd, u32)>) {
    let waker = Arc::clone(parts.mesh.waker());
    let (ring, buffers) = match Ring::new(waker) {
        Ok(ring) => ring,
        Err(error) => {
            tracing::error!(%error, "a core has no ring; the server ends");
            // Without this core its users could not log in: better to be started again.
            std::process::exit(1);
        }
    };
    if parts.mesh.me() == 0 && parts.mesh.shards() > 1 && !ring.takes_messages() {
        tracing::info!("cores wake each other by eventfd: this kernel is older than 6.10");
    }
    let acceptors = own
        .into_iter()
        .map(|(number, socket, share)| {
            let listener = parts.settings.listener(number);
            let gate = Arc::clone(&listener.gate);
            Acceptor::new(number, socket, share, gate).inherited(listener.inherited)
        })
        .collect();
    let drive = AssertUnwindSafe(|| Shard::new(parts, acceptors).drive(ring, buffers));
    if catch_unwind(drive).is_err() {
        // A shard that is gone takes its users with it: better to be started again.
        tracing::error!("a core failed; the server ends");
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_has_its_own_remedy() {
        let remedies = [
            (ErrorKind::AddrInUse, "Stop what listens there"),
            (
                ErrorKind::AddrNotAvailable,
                "change ip_address in listen.c2s[0]",
            ),
            (ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::Unsupported, "Change ip_address or port"),
        ];
        for (kind, part) in remedies {
            let said = remedy(kind, "listen.c2s[0]");
            assert!(said.contains(part), "{said}");
        }
        let elsewhere = "192.0.2.1:0".parse().expect("an address");
        let error = socket::bind(elsewhere, 1).expect_err("TEST-NET-1 is nowhere");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }
}
