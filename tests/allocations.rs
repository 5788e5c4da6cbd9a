//! A chat message on its way costs no heap allocation: counted, in the pipeline alone and in a whole
//! server between two sockets.
//!
//! The allocator of this test counts by thread while it is told to, and keeps the call stacks of the
//! first few, so that a failure names the line that allocates.

#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

#[path = "../benches/in_process/mod.rs"]
mod in_process;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use meerkat::backend::embedded::Store;
use meerkat::cli::Loaded;
use meerkat::config;
use meerkat::proto::sasl::keys::Credentials;
use meerkat::proto::sasl::keys::Secret;
use meerkat::server::Server;
use meerkat::store::AccountId;
use meerkat::store::Request;

use in_process::Case;
use in_process::Exchange;

/// Messages that are counted in the pipeline.
const CARRIED: usize = 100_000;
/// Messages before that: every buffer has grown to what it needs.
const CARRIED_BEFORE: usize = 1_000;

/// Users of the server, in pairs. With two shards it is next to certain that some pairs share one
/// and some do not.
const USERS: usize = 8;
/// Messages that a user has under way to its partner.
const WINDOW: usize = 10;
/// Windows that each pair sends each other in all; 20,000 messages over all users.
const WINDOWS: usize = 250;
/// Windows before that.
const WINDOWS_BEFORE: usize = 50;
/// Periods of so many windows, the last of which has to be without any allocation.
const PERIODS_MAX: usize = 8;
/// Call stacks that are kept; resolving one is slow.
const STACKS_MAX: u64 = 40;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS_SHARDS: AtomicBool = AtomicBool::new(false);
static ON_SHARDS: AtomicU64 = AtomicU64::new(0);
#[expect(
    clippy::disallowed_types,
    reason = "call stacks of a failing test, from any thread"
)]
static STACKS: std::sync::Mutex<BTreeMap<String, u64>> = std::sync::Mutex::new(BTreeMap::new());

thread_local! {
    /// Allocations of this thread.
    static HERE: Cell<u64> = const { Cell::new(0) };
    /// This thread is noting a call stack, which allocates.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the same arguments, and its answer is
// returned unchanged; counting touches no memory that is being handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`; the caller vouches for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A thread that is being torn down has no counters any more, and is not one that is measured.
fn count() {
    let _ = HERE.try_with(|here| here.set(here.get() + 1));
    if COUNTS_SHARDS.load(Ordering::Relaxed) {
        let _ = NOTING.try_with(|noting| {
            if !noting.replace(true) {
                note();
                noting.set(false);
            }
        });
    }
}

fn note() {
    let on_shard = std::thread::current()
        .name()
        .is_some_and(|name| name.starts_with("shard-"));
    if on_shard && ON_SHARDS.fetch_add(1, Ordering::Relaxed) < STACKS_MAX {
        let stack = own_lines(&Backtrace::force_capture().to_string());
        *STACKS
            .lock()
            .expect("nobody panics with it")
            .entry(stack)
            .or_insert(0) += 1;
    }
}

/// The lines of a call stack that are the server's own; all of it where there is none.
fn own_lines(backtrace: &str) -> String {
    let lines = backtrace.lines().map(str::trim);
    let own: Vec<_> = lines.filter(|line| line.starts_with("at ./src/")).collect();
    if own.is_empty() {
        backtrace.to_owned()
    } else {
        own.join("\n    ")
    }
}

#[test]
fn the_pipeline_allocates_nothing() {
    for case in Case::ALL {
        let mut exchange = Exchange::new(case);
        for _ in 0..CARRIED_BEFORE {
            exchange.scan_and_carry();
        }
        let before = (HERE.get(), exchange.delivered_bytes);
        for _ in 0..CARRIED {
            exchange.scan_and_carry();
        }
        assert_eq!(
            HERE.get() - before.0,
            0,
            "{}: allocations for {CARRIED} messages",
            case.name(),
        );
        assert!(
            exchange.delivered_bytes - before.1 > (CARRIED * 200) as u64,
            "they arrived"
        );
    }
}

/// One test, because shards are counted for the whole process.
#[test]
fn shards_allocate_nothing() {
    for cores in [1, 2] {
        if std::thread::available_parallelism().is_ok_and(|most| most.get() < cores) {
            continue;
        }
        let (server, folder) = start(cores);
        let address = address_of(&server);
        let mut users: Vec<User> = (0..USERS).map(|n| User::log_in(address, n)).collect();
        for full in [false, true] {
            talk(&mut users, full, WINDOWS_BEFORE);
            assert_comes_to_rest(&mut users, full, cores);
        }
        drop(users);
        server.stop().expect("the shards end");
        std::fs::remove_dir_all(folder).expect("a folder of ours");
    }
}

/// Which buffers are in use at once depends on how the threads are scheduled, so now and then one
/// still grows to the size that it will keep. What is allocated for messages is allocated in every
/// period; a period without any shows that nothing is.
#[expect(
    clippy::print_stdout,
    reason = "how soon it came to rest, for who asks with --nocapture"
)]
fn assert_comes_to_rest(users: &mut [User], full: bool, cores: usize) {
    let mut counts = Vec::new();
    let mut stacks = BTreeMap::new();
    for _ in 0..PERIODS_MAX {
        ON_SHARDS.store(0, Ordering::SeqCst);
        COUNTS_SHARDS.store(true, Ordering::SeqCst);
        talk(users, full, WINDOWS);
        COUNTS_SHARDS.store(false, Ordering::SeqCst);
        counts.push(ON_SHARDS.load(Ordering::SeqCst));
        stacks = std::mem::take(&mut *STACKS.lock().expect("nobody panics with it"));
        if counts.last() == Some(&0) {
            println!("{cores} shards, full JIDs {full}: allocations by period {counts:?}");
            return;
        }
    }
    let sent = users.len() * WINDOW * WINDOWS;
    let stacks: Vec<_> = stacks
        .iter()
        .map(|(at, n)| format!("{n} times\n    {at}"))
        .collect();
    panic!(
        "{cores} shards, full JIDs {full}: allocations by period of {sent} messages {counts:?}; \
         of the last:\n{}",
        stacks.join("\n"),
    );
}

struct NoFiles;

impl config::Files for NoFiles {
    fn read(&self, _path: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn start(cores: usize) -> (Server, PathBuf) {
    let name = format!("meerkat-allocations-{}-{cores}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let text = format!(
        "[general]\n  hosts = [\"localhost\"]\n  default_server_domain = \"localhost\"\n\
         [runtime]\n  cores = {cores}\n  data_dir = \"{}\"\n\
         [auth]\n  password.format = \"plain\"\n  [auth.internal]\n\
         [[listen.c2s]]\n  port = 0\n  ip_address = \"127.0.0.1\"\n",
        folder.display()
    );
    let config = config::decode(&text, "test", &NoFiles);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let store = Store::open(&folder).expect("a new store");
    for n in 0..USERS {
        let create = Request::Create {
            id: AccountId::from_prepared(&format!("user{n}"), "localhost"),
            credentials: Credentials::Plain(Secret::new("secret")),
            created_at: 0,
        };
        store.handle().call(create).expect("a new account");
    }
    store.close();
    let loaded = Loaded { config, file: None };
    let server = Server::start(&loaded).unwrap_or_else(|failure| panic!("{failure}"));
    (server, folder)
}

fn address_of(server: &Server) -> SocketAddr {
    server.addresses().first().expect("one listener").1
}

/// A client of the server.
struct User {
    number: usize,
    socket: TcpStream,
    input: Vec<u8>,
}

impl User {
    #[expect(
        clippy::disallowed_methods,
        reason = "a client, on the thread of the test"
    )]
    fn log_in(address: SocketAddr, number: usize) -> Self {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_nodelay(true).expect("an open socket");
        let mut user = Self {
            number,
            socket,
            input: Vec::new(),
        };
        let header = "<stream:stream xmlns='jabber:client' to='localhost' version='1.0' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
        let plain = BASE64_STANDARD.encode(format!("\0user{number}\0secret"));
        user.ask(header, "</stream:features>");
        user.ask(
            &format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
            ),
            "<success",
        );
        user.ask(header, "</stream:features>");
        user.ask(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>desk</resource></bind></iq>",
            "</iq>",
        );
        user.ask("<presence/>", "<presence");
        user
    }

    /// Sends, and reads until the answer has come.
    fn ask(&mut self, text: &str, until: &str) {
        self.socket
            .write_all(text.as_bytes())
            .expect("the server reads");
        self.input.clear();
        while memchr::memmem::find(&self.input, until.as_bytes()).is_none() {
            self.read_some();
        }
    }

    fn read_some(&mut self) {
        let mut bytes = [0; 4096];
        let read = self.socket.read(&mut bytes).expect("the server writes");
        assert!(
            read > 0,
            "closed after {}",
            String::from_utf8_lossy(&self.input)
        );
        self.input.extend_from_slice(&bytes[..read]);
    }

    /// One window of messages to another user.
    fn send(&mut self, to: usize, full: bool) {
        let resource = if full { "/desk" } else { "" };
        let one = format!(
            "<message type='chat' to='user{to}@localhost{resource}' id='m{}'>\
             <body>The quick brown fox jumps over the lazy dog.</body></message>",
            self.number
        );
        self.socket
            .write_all(one.repeat(WINDOW).as_bytes())
            .expect("the server reads");
    }

    /// One window of messages from another user.
    fn receive(&mut self) {
        self.input.clear();
        while memchr::memmem::find_iter(&self.input, "</message>").count() < WINDOW {
            self.read_some();
        }
    }
}

/// Everybody sends its partner windows of messages, and reads one before it sends the next.
fn talk(users: &mut [User], full: bool, windows: usize) {
    for _ in 0..windows {
        for (n, user) in users.iter_mut().enumerate() {
            user.send(n ^ 1, full);
        }
        for user in &mut *users {
            user.receive();
        }
    }
}
