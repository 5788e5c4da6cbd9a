//! A server in this process, on a folder of its own, with the accounts that every dialogue has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use meerkat::auth::password::PasswordPolicy;
use meerkat::backend::embedded::Store;
use meerkat::cli::Loaded;
use meerkat::config;
use meerkat::server::Server;
use meerkat::server::status;
use meerkat::store::AccountId;
use meerkat::store::Request;
use socket2::SockRef;
use toml::Table;
use toml::Value;

use super::connection::PATIENCE;

/// Of every account.
pub(crate) const PASSWORD: &str = "secret";
/// The accounts of every host.
pub(crate) const USERS: [&str; 3] = ["romeo", "juliet", "mercutio"];

static SITES: AtomicUsize = AtomicUsize::new(0);

/// A running server. Its folder is removed with it.
pub(crate) struct Site {
    folder: PathBuf,
    /// Where its clients connect.
    pub(crate) address: SocketAddr,
    /// Where its components connect, if it takes any.
    pub(crate) service: Option<SocketAddr>,
    /// Where other servers connect, if it takes any.
    pub(crate) s2s: Option<SocketAddr>,
    /// Where the server connects to for these domains.
    pub(crate) peers: BTreeMap<String, TcpListener>,
    /// How long they wait for it.
    pub(crate) patience: Duration,
    server: Mutex<Option<Server>>,
    stopping: Mutex<Option<JoinHandle<Result<(), String>>>>,
}

/// Files of this machine, for the decoder.
struct OnDisk;

impl config::Files for OnDisk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

impl Site {
    /// Starts a server for `hosts`, which may talk with `peers`. `sections` is merged into the configuration, `listener` into
    /// its only listener for clients, `service` and `s2s` into those for components and servers.
    pub(crate) fn start(
        hosts: &[String],
        sections: &Table,
        listener: &Table,
        (service, s2s): (Option<&Table>, Option<&Table>),
        peers: &[String],
    ) -> Result<Self, String> {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let name = format!("meerkat-site-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // A folder that an earlier process of this number left behind.
        let _ = fs::remove_dir_all(&folder);
        let listeners = (listener, service, s2s);
        let (peers, ways) = listen_for(peers).map_err(|error| error.to_string())?;
        let mut sections = sections.clone();
        merge(&mut sections, &ways);
        let text = configuration(&folder.display().to_string(), hosts, &sections, listeners);
        let config = config::decode(&text, "dialogue.toml", &OnDisk)
            .map_err(|errors| format!("{errors}\n{text}"))?;
        let loaded = Loaded { config, file: None };
        add_accounts(&loaded, hosts)?;
        let server = Server::start(&loaded).map_err(|failure| failure.to_string())?;
        let of = |kind: &str| {
            let addresses = server.addresses();
            let found = addresses.iter().find(|(path, _)| path.starts_with(kind));
            found.map(|(_, address)| *address)
        };
        let (address, service, s2s) = (of("listen.c2s"), of("listen.service"), of("listen.s2s"));
        Ok(Self {
            folder,
            address: address.ok_or("the server has no listener")?,
            service,
            s2s,
            peers,
            patience: PATIENCE,
            server: Mutex::new(Some(server)),
            stopping: Mutex::new(None),
        })
    }

    /// Waits until the server has accepted so many connections: one that the kernel alone knows of ends
    /// without a word when the server stops. The server is this dialogue's alone.
    pub(crate) fn accepts(&self, connections: u64) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let status = status::ask(&self.folder, "status").map_err(|error| error.to_string())?;
            let listeners = status["listeners"].as_array().into_iter().flatten();
            let accepted: u64 = listeners.filter_map(|one| one["accepted"].as_u64()).sum();
            if accepted >= connections {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{accepted} of {connections} connections are accepted"
                ));
            }
        }
    }

    /// Tells the server to stop; it does so while its clients go on.
    pub(crate) fn begin_to_stop(&self) -> Result<(), String> {
        let server = self.server.lock().expect("nothing panics here").take();
        let server = server.ok_or("the server has stopped already")?;
        let stop = move || server.stop().map_err(|failure| failure.to_string());
        let thread = std::thread::Builder::new()
            .name("stop".to_owned())
            .spawn(stop);
        let thread = thread.map_err(|error| error.to_string())?;
        *self.stopping.lock().expect("nothing panics here") = Some(thread);
        Ok(())
    }

    /// Waits for the end of the server.
    pub(crate) fn has_stopped(&self) -> Result<(), String> {
        let thread = self.stopping.lock().expect("nothing panics here").take();
        let thread = thread.ok_or("the server was not told to stop")?;
        thread
            .join()
            .map_err(|_| "the server panicked".to_owned())?
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.begin_to_stop().is_ok() {
            // Dialogues that failed have said so.
            let _ = self.has_stopped();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Listeners of servers that the dialogue plays, and what the configuration says of those.
fn listen_for(peers: &[String]) -> io::Result<(BTreeMap<String, TcpListener>, Table)> {
    let mut listeners = BTreeMap::new();
    let mut ways = Table::new();
    let (mut addresses, mut policies) = (Vec::new(), Vec::new());
    for peer in peers {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
        let port = i64::from(listener.local_addr()?.port());
        let host = ("host".to_owned(), Value::String(peer.clone()));
        let text = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
        addresses.push(Value::Table(Table::from_iter([
            host.clone(),
            text("ip_address", "127.0.0.1"),
            ("port".to_owned(), Value::Integer(port)),
        ])));
        policies.push(Value::Table(Table::from_iter([
            host,
            text("policy", "allow"),
        ])));
        listeners.insert(peer.clone(), listener);
    }
    if !peers.is_empty() {
        let outgoing = Table::from_iter([("address".to_owned(), Value::Array(addresses))]);
        let section = Table::from_iter([
            ("outgoing".to_owned(), Value::Table(outgoing)),
            ("host_policy".to_owned(), Value::Array(policies)),
        ]);
        ways.insert("s2s".to_owned(), Value::Table(section));
    }
    Ok((listeners, ways))
}

fn configuration(
    folder: &str,
    hosts: &[String],
    sections: &Table,
    (listener, service, s2s): (&Table, Option<&Table>, Option<&Table>),
) -> String {
    let base = format!(
        "general.default_server_domain = '{}'\n\
         general.loglevel = 'none'\n\
         runtime.data_dir = '{folder}'\n\
         runtime.self_signed = true\n\
         runtime.drain_ms = 2000\n\
         auth.internal = {{}}\n\
         s2s.default_policy = 'deny'\n\
         auth.password.scram_iterations = 16\n",
        hosts.first().map_or("localhost", String::as_str),
    );
    let mut root: Table = base.parse().expect("the base is TOML");
    let names = hosts.iter().cloned().map(Value::String).collect();
    merge(
        &mut root,
        &Table::from_iter([("general".to_owned(), host_table(names))]),
    );
    merge(&mut root, sections);
    let clients = entry("", folder, listener);
    let mut listeners = Table::from_iter([("c2s".to_owned(), Value::Array(vec![clients]))]);
    if let Some(service) = service {
        let base = format!("password = '{PASSWORD}'\n");
        let components = entry(&base, folder, service);
        listeners.insert("service".to_owned(), Value::Array(vec![components]));
    }
    if let Some(s2s) = s2s {
        let servers = entry("", folder, s2s);
        listeners.insert("s2s".to_owned(), Value::Array(vec![servers]));
    }
    let listen = Value::Table(listeners);
    merge(
        &mut root,
        &Table::from_iter([("listen".to_owned(), listen)]),
    );
    root.to_string()
}

/// The table of one listener.
fn entry(more: &str, folder: &str, listener: &Table) -> Value {
    let base = format!("port = 0\nip_address = '127.0.0.1'\n{more}");
    let mut entry: Table = base.parse().expect("the base is TOML");
    if listener.contains_key("tls") {
        let tls = format!(
            "tls.verify_mode = 'none'\ntls.certfile = '{folder}/tls.crt'\n\
             tls.keyfile = '{folder}/tls.key'\n"
        );
        merge(&mut entry, &tls.parse().expect("the base is TOML"));
    }
    merge(&mut entry, listener);
    Value::Table(entry)
}

fn host_table(names: Vec<Value>) -> Value {
    Value::Table(Table::from_iter([(
        "hosts".to_owned(),
        Value::Array(names),
    )]))
}

/// Adds the keys of `more`, tables within each other.
pub(crate) fn merge(into: &mut Table, more: &Table) {
    for (key, value) in more {
        match (into.get_mut(key), value) {
            (Some(Value::Table(into)), Value::Table(more)) => merge(into, more),
            (_, _) => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

fn add_accounts(loaded: &Loaded, hosts: &[String]) -> Result<(), String> {
    let store = Store::open(&loaded.data_folder()).map_err(|error| error.to_string())?;
    let handle = store.handle();
    let policy = PasswordPolicy::from_config(&loaded.config.auth);
    let credentials = policy
        .credentials(PASSWORD, &[[7; 16]; 3])
        .map_err(|e| e.to_string())?;
    let (done, answers) = mpsc::sync_channel(hosts.len() * USERS.len());
    for host in hosts {
        for user in USERS {
            let id = AccountId::from_prepared(user, host);
            let credentials = credentials.clone();
            let request = Request::Create {
                id,
                credentials,
                created_at: 0,
            };
            let done = done.clone();
            let reply = Box::new(move |answer| drop(done.send(answer)));
            handle
                .submit_waiting(request, reply)
                .map_err(|refused| refused.to_string())?;
        }
    }
    drop(done);
    for answer in answers {
        answer.map_err(|error| error.to_string())?;
    }
    store.close();
    Ok(())
}
