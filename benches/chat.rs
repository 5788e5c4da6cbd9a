//! What a chat message costs from socket to socket: 200 users in pairs, one or ten messages of each
//! under way, on loopback without TLS.
//!
//! `cargo bench --bench chat` starts meerkat (on one core, and on two) and the floor as processes,
//! drives them in turn, and tells CPU microseconds of the server's process per message. Two more, on
//! one core: one without any module, which only routes, and one whose users have all that a message
//! can meet in use: each has a contact, has asked for the roster and for copies, and blocks somebody.

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
/// The server that only routes.
const ROUTES: &str = "meerkat, routing";
/// The one whose users use everything.
const USES: &str = "meerkat, all in use";
/// Rounds of each server and load, in turn.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    wire::run(bench)
}

fn bench() -> io::Result<()> {
    if std::env::args().any(|argument| argument == wire::FLOOR_ARGUMENT) {
        return wire::floor::serve();
    }
    let named = |name: &str, more| Server::meerkat_named(name.to_owned(), 1, USERS, more, |_| {});
    let mut servers = vec![
        Server::floor(),
        named(ROUTES, "[modules.mod_ping]\n"),
        Server::meerkat(1, USERS),
        named(USES, ""),
    ];
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        servers.push(Server::meerkat(2, USERS));
    }
    let talks = servers
        .iter()
        .map(|server| Talk::begin(server.address, USERS, &server.name));
    let mut talks = talks.collect::<io::Result<Vec<_>>>()?;
    for server in &servers {
        eprintln!("{} is process {}", server.name, server.id());
    }
    println!("chat, {USERS} users, CPU-us per message ({ROUNDS} rounds)");
    println!(
        "{:20} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "window", "median", "least", "most", "ratio", "routing"
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
        let (floor, routes) = (spreads[0].0, spreads[1].0);
        for (server, (median, least, most)) in servers.iter().zip(spreads) {
            let (name, ratio, routing) = (&server.name, median / floor, median / routes);
            println!(
                "{name:20} {window:6} {median:8.2} {least:8.2} {most:8.2} {ratio:8.2} {routing:8.2}"
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
    fn begin(to: SocketAddrV4, count: usize, server: &str) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let users = (0..count).map(|n| begin(to, n, server));
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

fn begin(to: SocketAddrV4, number: usize, server: &str) -> io::Result<User> {
    let socket = login::log_in(to, number)?;
    if server == ROUTES {
        // Without presence each session is there from the beginning.
        let ping = b"<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
        ask(&socket, ping, b"id='p'")?;
    } else {
        ask(&socket, b"<presence/>", b"<presence")?;
    }
    if server == USES {
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
