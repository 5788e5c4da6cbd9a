//! What presence to a thousand contacts costs, and whom a heavy login keeps waiting.
//!
//! `cargo bench --bench presence` prints three figures, each beside what it is compared with:
//!
//! - one broadcast inside a shard, into outputs that nobody sends;
//! - one broadcast of a server on one core, to a thousand clients who are there, against a thousand
//!   bare sends of the same bytes to as many sockets, in turns;
//! - the longest round trip of a user who pings all the time while another one of the same core, with
//!   a thousand contacts and ten thousand kept messages, logs in.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark prints its table and reads the clock"
)]

#[expect(dead_code, reason = "it is shared with benchmarks that use all of it")]
mod wire;

mod login;
#[path = "in_process/sink.rs"]
mod sink;

use std::hash::RandomState;
use std::io;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use meerkat::backend::embedded::Store;
use meerkat::base::key::Key;
use meerkat::config::Files;
use meerkat::modules::Facts;
use meerkat::modules::Scene;
use meerkat::modules::pipeline::Origin;
use meerkat::modules::pipeline::Sender;
use meerkat::modules::pipeline::carry;
use meerkat::proto::ns;
use meerkat::proto::stanza::Stanza;
use meerkat::route::envelope::Envelopes;
use meerkat::route::hosts::Hosts;
use meerkat::route::services::Services;
use meerkat::session::roster::Item;
use meerkat::session::roster::Roster;
use meerkat::session::subscription::State;
use meerkat::session::table::Table;
use meerkat::store::AccountId;
use meerkat::store::Request;
use meerkat::store::data::Area;
use meerkat::store::data::DataRequest;
use meerkat::store::data::Remove;
use meerkat::store::data::Room;
use meerkat::store::offline::OfflineRequest;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;
use memchr::memmem::find_iter;

use login::ask;
use login::log_in;
use sink::Sink;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_NS;
use wire::client::connect;
use wire::client::receive;
use wire::client::send;
use wire::epoll::Epoll;
use wire::process::Server;

/// Contacts who see the user.
const CONTACTS: usize = 1_000;
/// Messages that wait for the user at login.
const KEPT: usize = 10_000;
/// Broadcasts of each kind; the median is told.
const ROUNDS: usize = 41;
/// Blocks of so many broadcasts and bare sends, in turn.
const BLOCKS: usize = 9;
/// Heavy logins.
const LOGINS: usize = 15;
/// As long as a client's presence with capabilities is.
const PRESENCE: &str = "<presence><show>away</show><priority>5</priority><c xmlns='http://jabber.org/protocol/caps' \
    hash='sha-1' node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>";

fn main() -> ExitCode {
    wire::run(|| {
        inside();
        sockets()?;
        logins()
    })
}

/// Presence as one shard does it.
fn inside() {
    let mut figures = Vec::new();
    for shards in [1, 2] {
        let mut shard = Sharded::new(shards);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            shard.broadcast();
            figures.push(began.elapsed().as_secs_f64() * 1e3);
            shard.empty();
        }
        let (median, least, most) = wire::spread(&mut figures);
        println!(
            "in-process, {CONTACTS} contacts, owned by {shards} shards: {median:.3} ms ({least:.3} to {most:.3})"
        );
        figures.clear();
    }
}

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The shard of a user with contacts.
struct Sharded {
    hosts: Hosts,
    services: Services,
    sessions: Table,
    sink: Sink,
    facts: Facts,
    scanner: Scanner,
}

fn bare(number: usize) -> String {
    format!("user{number}@localhost")
}

impl Sharded {
    fn new(shards: usize) -> Self {
        let text = "[general]\n  hosts = ['localhost']\n  default_server_domain = 'localhost'\n";
        let config = meerkat::config::decode(text, "bench", &NoFiles);
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let mut sessions = Table::new(RandomState::new());
        let mut outputs = Vec::new();
        let mut bind = |sessions: &mut Table, bare: &str| {
            let key = Key {
                slot: outputs.len() as u32,
                generation: 0,
            };
            outputs.push(Vec::new());
            sessions.bind(bare, "desk", key, 1);
            let hash = sessions.hash(bare);
            let user = sessions.user_mut(hash, bare).expect("just bound");
            user.session_mut("desk").expect("just bound").priority = Some(0);
        };
        for number in 0..=CONTACTS {
            bind(&mut sessions, &bare(number));
        }
        let mut roster = Roster::default();
        for number in 1..=CONTACTS {
            roster.put(contact(number));
        }
        let me = bare(0);
        let hash = sessions.hash(&me);
        sessions.wish_roster(&me, false);
        sessions.rosters_mut().loaded(hash, &me, roster);
        Self {
            hosts: Hosts::new(["localhost".to_owned()], shards),
            services: Services::default(),
            sessions,
            sink: Sink {
                outputs,
                mail: Envelopes::default(),
            },
            facts: Facts {
                version: "0",
                unix_seconds: 0,
                since_unix_seconds: 0,
                modules: config.modules_by_host(),
            },
            scanner: Scanner::new(),
        }
    }

    fn broadcast(&mut self) {
        let scope = StreamScope::ordinary(ns::CLIENT);
        let bytes = PRESENCE.as_bytes();
        let found = self.scanner.scan(&Limits::default(), &scope, bytes);
        assert!(matches!(found, Ok(Found::Element { .. })));
        let stanza = Stanza::read(bytes, self.scanner.head(), &scope, ns::CLIENT);
        let me = bare(0);
        let full = format!("{me}/desk");
        let sender = Sender {
            origin: Origin::Session,
            connection: Key {
                slot: 0,
                generation: 0,
            },
            stamp: &full,
            full: &full,
            bare: &me,
            resource: "desk",
        };
        let mut asked = Vec::new();
        let mut scene = Scene {
            shard: 0,
            hosts: &self.hosts,
            services: &self.services,
            sessions: &mut self.sessions,
            outbox: &mut self.sink,
            facts: &self.facts,
            asked: &mut asked,
        };
        carry(&mut scene, &sender, &stanza.expect("presence"));
    }

    /// What was written is as if it were sent: as many stanzas as there are contacts, those of the
    /// other shard in one batch.
    fn empty(&mut self) {
        let here = self.sink.outputs.iter().skip(1);
        let written = here.filter(|output| !output.is_empty()).count();
        assert_eq!(written + self.sink.mail.iter().count(), CONTACTS);
        self.sink.outputs.iter_mut().for_each(Vec::clear);
        self.sink.mail.clear(1 << 20);
    }
}

fn contact(number: usize) -> Item {
    Item {
        state: State {
            to: true,
            from: true,
            ..State::default()
        },
        listed: true,
        ..Item::new(&bare(number))
    }
}

/// Writes the rosters and the messages that a server begins with.
fn prepare(data: &Path, kept: usize) {
    let store = Store::open(data).expect("the accounts are there");
    let handle = store.handle();
    let id = |number: usize| AccountId::from_prepared(&format!("user{number}"), "localhost");
    let put = (1..=CONTACTS)
        .map(contact)
        .map(|item| (item.jid.clone(), item.encode()));
    let change = DataRequest::Change {
        id: id(0),
        area: Area::Roster,
        remove: Remove::All,
        put: put.collect(),
        room: Room {
            things: 2 * CONTACTS,
            bytes: 1 << 20,
        },
    };
    handle.call(Request::Data(change)).expect("a roster");
    for number in 0..kept {
        let stanza = format!(
            "<message type='chat' from='user1@localhost/desk' to='user0@localhost' id='{number}'>\
             <body>The quick brown fox jumps over the lazy dog</body></message>"
        );
        let keep = OfflineRequest::Keep {
            id: id(0),
            from: Some("user1@localhost/desk".into()),
            came_at: 1,
            stanza: stanza.into_bytes().into_boxed_slice(),
            most: u64::MAX,
        };
        let keep = Request::Offline(keep);
        if number + 1 == kept {
            handle.call(keep).expect("kept");
        } else {
            handle
                .submit_waiting(keep, Box::new(|_| {}))
                .expect("taken");
        }
    }
    store.close();
}

/// Presence over sockets, against bare sends.
fn sockets() -> io::Result<()> {
    let server = Server::meerkat(1, CONTACTS + 1, "", |data| prepare(data, 0));
    let contacts: io::Result<Vec<_>> = (1..=CONTACTS)
        .map(|number| begin(server.address, number, true))
        .collect();
    let contacts = contacts?;
    let user = begin(server.address, 0, true)?;
    let mut epoll = Epoll::new()?;
    let mut seen = vec![0; contacts.len()];
    for (number, socket) in contacts.iter().enumerate() {
        rustix::io::ioctl_fionbio(socket, true).expect("an open socket");
        epoll.add(socket, number)?;
    }
    let mut input = vec![0; INPUT_BYTES];
    let mut wait_for = |times: usize, seen: &mut Vec<usize>| {
        let mut ready = Vec::new();
        while seen.iter().any(|count| *count < times) {
            epoll.wait(Some(PATIENCE_NS), &mut ready)?;
            assert!(!ready.is_empty(), "a presence is lost");
            for number in ready.drain(..) {
                let bytes = receive(&contacts[number], &mut input)?;
                seen[number] += find_iter(bytes, b"<presence").count();
            }
        }
        io::Result::Ok(())
    };
    // Each has seen the user come.
    wait_for(1, &mut seen)?;
    let bare = Bare::new()?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut times = 1;
    for block in 0..=BLOCKS {
        let before = server.cpu_ns();
        for _ in 0..ROUNDS {
            times += 1;
            send(&user, PRESENCE.as_bytes())?;
            wait_for(times, &mut seen)?;
        }
        let cost = (server.cpu_ns() - before) / 1e6 / ROUNDS as f64;
        let mut sends = 0.0;
        for _ in 0..ROUNDS {
            sends += bare.round()? / ROUNDS as f64;
        }
        // The first block warms up.
        if block > 0 {
            ours.push(cost);
            theirs.push(sends);
            ratios.push(cost / sends);
        }
    }
    let (median, least, most) = wire::spread(&mut ours);
    println!("server, {CONTACTS} contacts online: {median:.2} CPU-ms ({least:.2} to {most:.2})");
    let (median, least, most) = wire::spread(&mut theirs);
    println!("{CONTACTS} bare sends: {median:.2} CPU-ms ({least:.2} to {most:.2})");
    let (median, least, most) = wire::spread(&mut ratios);
    println!(
        "ratio {median:.2} ({least:.2} to {most:.2}) in {BLOCKS} blocks of {ROUNDS} broadcasts"
    );
    Ok(())
}

/// As many sockets, to which as many bytes are sent, and nothing else. They are read as the server's
/// clients are, by somebody who sleeps in epoll.
struct Bare {
    near: Vec<TcpStream>,
    bytes: Vec<u8>,
    read: Receiver<io::Result<()>>,
}

impl Bare {
    fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let std::net::SocketAddr::V4(address) = listener.local_addr().expect("bound") else {
            panic!("an address of version 4");
        };
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for number in 0..CONTACTS {
            far.push(connect(address, number)?);
            let socket = listener.accept().expect("a connection").0;
            socket.set_nodelay(true).expect("an option of TCP");
            near.push(socket);
        }
        let addresses = " from='user0@localhost/desk' to='user1000@localhost'".len();
        let length = PRESENCE.len() + addresses;
        let (sender, read) = sync_channel(1);
        std::thread::spawn(move || {
            // Where nobody listens any more the sockets have been closed, and that is no failure.
            if let Err(error) = read_rounds(&far, length, &sender) {
                let _ = sender.send(Err(error));
            }
        });
        Ok(Self {
            near,
            bytes: vec![b'x'; length],
            read,
        })
    }

    /// CPU milliseconds of this thread for one send to each.
    fn round(&self) -> io::Result<f64> {
        let before = thread_cpu_ns();
        for socket in &self.near {
            let sent = rustix::net::send(socket, &self.bytes, rustix::net::SendFlags::NOSIGNAL);
            assert_eq!(sent.expect("room"), self.bytes.len());
        }
        let cost = (thread_cpu_ns() - before) / 1e6;
        self.read.recv().map_err(io::Error::other)??;
        Ok(cost)
    }
}

/// Reads whole rounds and tells of each, until nobody listens.
fn read_rounds(
    far: &[OwnedFd],
    length: usize,
    sender: &SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let (mut epoll, mut ready) = (Epoll::new()?, Vec::new());
    for (number, socket) in far.iter().enumerate() {
        epoll.add(socket, number)?;
    }
    let (mut input, mut came) = (vec![0; INPUT_BYTES], 0);
    loop {
        epoll.wait(None, &mut ready)?;
        for number in ready.drain(..) {
            came += receive(&far[number], &mut input)?.len();
        }
        if came == far.len() * length {
            came = 0;
            if sender.send(Ok(())).is_err() {
                return Ok(());
            }
        }
    }
}

fn thread_cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// A heavy login beside somebody who pings.
fn logins() -> io::Result<()> {
    let (mut quiet, mut during, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LOGINS {
        let server = Server::meerkat(1, CONTACTS + 1, "", |data| prepare(data, KEPT));
        let pinger = begin(server.address, 1, false)?;
        quiet.push(longest(&pinger, None)?.0);
        let user = begin(server.address, 0, false)?;
        send(&user, b"<presence/>")?;
        let (worst, time) = longest(&pinger, Some(&user))?;
        during.push(worst);
        took.push(time);
    }
    let (median, least, most) = wire::spread(&mut quiet);
    println!("longest ping of 300 ms alone: {median:.2} ms ({least:.2} to {most:.2})");
    let (median, least, most) = wire::spread(&mut during);
    println!(
        "longest ping while {CONTACTS} contacts and {KEPT} messages log in: {median:.2} ms ({least:.2} to {most:.2})"
    );
    let (median, ..) = wire::spread(&mut took);
    println!("that login took {median:.0} ms");
    Ok(())
}

/// Pings until the other one has all messages, or for a while: the longest round trip, and how long
/// all of it took, in milliseconds.
fn longest(pinger: &OwnedFd, user: Option<&OwnedFd>) -> io::Result<(f64, f64)> {
    let (mut worst, began) = (0.0_f64, Instant::now());
    let (mut input, mut came) = (vec![0; INPUT_BYTES], 0);
    if let Some(user) = user {
        rustix::io::ioctl_fionbio(user, true).expect("an open socket");
    }
    loop {
        let asked = Instant::now();
        ask(
            pinger,
            b"<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
            b"id='p'",
        )?;
        worst = worst.max(asked.elapsed().as_secs_f64() * 1e3);
        let elapsed = began.elapsed();
        match user {
            None if elapsed > Duration::from_millis(300) => break,
            None => {}
            Some(user) => {
                let bytes = match rustix::io::read(user, &mut input) {
                    Ok(length) => &input[..length],
                    Err(rustix::io::Errno::AGAIN) => &[],
                    Err(error) => panic!("{error}"),
                };
                came += find_iter(bytes, b"</message>").count();
                if came >= KEPT {
                    break;
                }
                assert!(elapsed < Duration::from_secs(30), "{came} messages came");
            }
        }
    }
    Ok((worst, began.elapsed().as_secs_f64() * 1e3))
}

fn begin(to: std::net::SocketAddrV4, number: usize, available: bool) -> io::Result<OwnedFd> {
    let socket = log_in(to, number)?;
    if available {
        ask(&socket, b"<presence/>", b"<presence")?;
    }
    Ok(socket)
}
