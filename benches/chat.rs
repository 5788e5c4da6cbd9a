//! What a chat message costs from socket to socket: 200 users in pairs, one or ten messages of each
//! under way, on loopback without TLS.
//!
//! `cargo bench --bench chat` starts the floor and meerkat as processes, drives them in turn, and
//! tells CPU microseconds of the server's process per message. On one core and on two there is a
//! server without any module, which only routes, one with every module on, and one whose users have
//! in use all that a message can meet: each has a contact, has asked for the roster and for copies,
//! and blocks somebody. `routing` is the cost over that of the one that only routes on as many cores.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table"
)]

mod login;
mod wire;

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use memchr::memchr_iter;

use login::ask;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_NS;
use wire::client::receive;
use wire::client::send;
use wire::epoll::Epoll;
use wire::process::Server;

/// A byte that every message holds exactly once.
const MARK: u8 = b'~';
/// Users of each server.
const USERS: usize = 200;
/// Messages that a user has under way, and how many it sends in a round.
const LOADS: [(usize, usize); 2] = [(1, 200), (10, 1_000)];
/// Rounds of each server and load, in turn.
const ROUNDS: usize = 7;

/// What a server does, and so its users.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    /// The least that a server could do.
    Floor,
    /// No module is on.
    Routes,
    /// Every module is on.
    Offers,
    /// Its users use them.
    InUse,
}

/// A server, and on how many cores it is.
type Subject = (Kind, usize);

/// In turn; the ones on two cores only where there are two.
const SUBJECTS: [Subject; 7] = [
    (Kind::Floor, 1),
    (Kind::Routes, 1),
    (Kind::Offers, 1),
    (Kind::InUse, 1),
    (Kind::Routes, 2),
    (Kind::Offers, 2),
    (Kind::InUse, 2),
];

fn start((kind, cores): Subject) -> Server {
    let named = |what: &str, more| {
        let mut server = Server::meerkat(cores, USERS, more, |_| {});
        server.name = format!("{what}, {cores}");
        server
    };
    match kind {
        Kind::Floor => Server::floor(),
        Kind::Routes => named("routing", "[modules.mod_ping]\n"),
        Kind::Offers => named("every module", ""),
        Kind::InUse => named("in use", ""),
    }
}

fn main() -> ExitCode {
    wire::run(bench)
}

fn bench() -> io::Result<()> {
    if std::env::args().any(|argument| argument == wire::FLOOR_ARGUMENT) {
        return wire::floor::serve();
    }
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let subjects: Vec<Subject> = SUBJECTS.into_iter().filter(|s| s.1 <= here).collect();
    let servers: Vec<Server> = subjects.iter().copied().map(start).collect();
    let talks = servers.iter().zip(&subjects);
    let talks = talks.map(|(server, subject)| Talk::begin(server.address, USERS, subject.0));
    let mut talks = talks.collect::<io::Result<Vec<_>>>()?;
    for server in &servers {
        eprintln!("{} is process {}", server.name, server.id());
    }
    println!("chat, {USERS} users, CPU-us per message ({ROUNDS} rounds)");
    println!(
        "{:20} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "server, cores", "window", "median", "least", "most", "floor", "routing"
    );
    for (window, each) in LOADS {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); servers.len()];
        for round in 0..=ROUNDS {
            for ((server, talk), figures) in servers.iter().zip(&mut talks).zip(&mut figures) {
                let before = server.cpu_ns();
                let arrived = talk.run(window, each)?;
                let cost = (server.cpu_ns() - before) / 1000.0 / arrived as f64;
                // The first round warms up.
                if round > 0 {
                    figures.push(cost);
                }
            }
        }
        let spreads: Vec<_> = figures.iter_mut().map(|f| wire::spread(f)).collect();
        let median = |wanted: Subject| {
            let place = subjects.iter().position(|subject| *subject == wanted);
            place.and_then(|place| spreads.get(place)).map(|s| s.0)
        };
        for ((server, (_, cores)), (cost, least, most)) in
            servers.iter().zip(&subjects).zip(&spreads)
        {
            let over = |wanted| median(wanted).map_or(f64::NAN, |of| cost / of);
            let (floor, routing) = (over((Kind::Floor, 1)), over((Kind::Routes, *cores)));
            let name = &server.name;
            println!(
                "{name:20} {window:6} {cost:8.2} {least:8.2} {most:8.2} {floor:8.2} {routing:8.2}"
            );
        }
    }
    Ok(())
}

/// A session.
struct User {
    socket: OwnedFd,
    /// The message to its partner.
    message: Vec<u8>,
    /// Messages that it may still send.
    may_send: usize,
}

/// Users who are logged in and talk in pairs.
struct Talk {
    epoll: Epoll,
    users: Vec<User>,
    input: Vec<u8>,
}

impl Talk {
    /// Logs in `user0` to `user{count - 1}`, who use what they find there.
    fn begin(to: SocketAddrV4, count: usize, kind: Kind) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let users = (0..count).map(|n| begin(to, n, kind));
        let users = users.collect::<io::Result<Vec<_>>>()?;
        for (number, user) in users.iter().enumerate() {
            epoll.add(&user.socket, number)?;
        }
        Ok(Self {
            epoll,
            users,
            input: vec![0; INPUT_BYTES],
        })
    }

    /// Has them send `each` messages each, `window` of them under way: whoever receives so many
    /// sends as many back. Returns how many arrived.
    fn run(&mut self, window: usize, each: usize) -> io::Result<usize> {
        let whole = self.users.len() * each;
        for user in &mut self.users {
            user.may_send = each;
            user.say(window)?;
        }
        let (mut arrived, mut ready) = (0, Vec::new());
        while arrived < whole {
            self.epoll.wait(Some(PATIENCE_NS), &mut ready)?;
            if ready.is_empty() {
                let lost = whole - arrived;
                return Err(io::Error::other(format!(
                    "{lost} of {whole} messages are lost"
                )));
            }
            for number in ready.drain(..) {
                let user = &mut self.users[number];
                let came = memchr_iter(MARK, receive(&user.socket, &mut self.input)?).count();
                arrived += came;
                user.say(came)?;
            }
        }
        if arrived > whole {
            return Err(io::Error::other("some messages came twice"));
        }
        Ok(arrived)
    }
}

impl User {
    /// Sends so many messages, or what is left of its share, in one call.
    fn say(&mut self, count: usize) -> io::Result<()> {
        let count = count.min(self.may_send);
        self.may_send -= count;
        if count > 0 {
            send(&self.socket, &self.message.repeat(count))?;
        }
        Ok(())
    }
}

fn begin(to: SocketAddrV4, number: usize, kind: Kind) -> io::Result<User> {
    let socket = login::log_in(to, number)?;
    if kind == Kind::Routes {
        // Without presence each session is there from the beginning.
        let ping = b"<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
        ask(&socket, ping, b"id='p'")?;
    } else {
        ask(&socket, b"<presence/>", b"<presence")?;
    }
    if kind == Kind::InUse {
        let partner = number ^ 1;
        ask(
            &socket,
            format!(
                "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>\
                 <iq type='set' id='s'><query xmlns='jabber:iq:roster'>\
                 <item jid='user{partner}@localhost'/></query></iq>\
                 <iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>\
                 <iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>\
                 <item jid='nobody@example.org'/></block></iq>"
            )
            .as_bytes(),
            b"id='b'",
        )?;
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    let message = format!(
        "<message type='chat' to='user{}@localhost' id='b4f1a2'><body>The quick brown fox jumps \
         over the lazy dog{}</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='b4f1a2'/></message>",
        number ^ 1,
        char::from(MARK),
    );
    Ok(User {
        socket,
        message: message.into_bytes(),
        may_send: 0,
    })
}
