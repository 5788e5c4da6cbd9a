//! What a message through a component's one connection costs, beside the same through a client's.
//!
//! One connection, the hub, writes to 200 users and is written to by them. It is a session the one
//! time and a component (XEP-0114) the other time; users, messages, bursts and server are the same.
//! `cargo bench --bench component` tells CPU microseconds of the server's process per message, and
//! how many a second went through.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark prints its table and reads the clock"
)]

#[expect(
    dead_code,
    reason = "a client is what a component is compared with, not the floor"
)]
mod wire;

mod login;

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use aws_lc_rs::digest;
use memchr::memchr_iter;

use login::ask;
use login::log_in;
use login::open;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_NS;
use wire::client::receive;
use wire::client::send;
use wire::epoll::Epoll;
use wire::process::COMPONENT_SECRET;
use wire::process::Server;

/// A byte that every message holds exactly once.
const MARK: u8 = b'~';
/// Users beside the hub.
const USERS: usize = 200;
/// Messages of one burst to or from each user.
const BURST: usize = 2;
/// Bursts of a round.
const BURSTS: usize = 100;
/// Rounds of each kind, in turn.
const ROUNDS: usize = 7;
/// The component's domain.
const NAME: &str = "hub.localhost";

fn main() -> ExitCode {
    wire::run(bench)
}

fn bench() -> io::Result<()> {
    let mut servers = vec![Server::meerkat(1, USERS + 1, "", |_| {})];
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        servers.push(Server::meerkat(2, USERS + 1, "", |_| {}));
    }
    let mut stars = Vec::new();
    for server in &servers {
        stars.extend(stars_of(server)?);
    }
    println!("one hub and {USERS} users, CPU-us per message ({ROUNDS} rounds)");
    println!(
        "{:36} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "", "median", "least", "most", "ratio", "a second"
    );
    for outward in [true, false] {
        let mut figures = vec![Vec::new(); stars.len()];
        let mut fastest = vec![0.0f64; stars.len()];
        for round in 0..=ROUNDS {
            for (place, star) in stars.iter_mut().enumerate() {
                let (before, began) = (star.server.cpu_ns(), Instant::now());
                let count = if outward {
                    star.outward()?
                } else {
                    star.inward()?
                };
                let cost = (star.server.cpu_ns() - before) / 1000.0 / count as f64;
                // The first round warms up.
                if round > 0 {
                    let rate = count as f64 / began.elapsed().as_secs_f64();
                    figures[place].push(cost);
                    fastest[place] = fastest[place].max(rate);
                }
            }
        }
        let direction = if outward { "to users" } else { "from users" };
        let mut session = 0.0;
        for (place, star) in stars.iter().enumerate() {
            let (median, least, most) = wire::spread(&mut figures[place]);
            if star.from.is_empty() {
                session = median;
            }
            let name = format!("{}: {} {direction}", star.server.name, star.name());
            let (ratio, rate) = (median / session, fastest[place]);
            println!("{name:36} {median:8.2} {least:8.2} {most:8.2} {ratio:8.2} {rate:10.0}");
        }
    }
    Ok(())
}

/// The hub as a session, and as a component, with the same users.
fn stars_of(server: &Server) -> io::Result<Vec<Star<'_>>> {
    eprintln!("{} is process {}", server.name, server.id());
    let users = (0..USERS).map(|n| begin(server.address, n));
    let users = Rc::new(users.collect::<io::Result<Vec<_>>>()?);
    let hub = begin(server.address, USERS)?;
    let address = format!("user{USERS}@localhost");
    let mut stars = vec![Star::new(server, &users, hub, String::new(), address)?];
    let (hub, address) = (join(server.service)?, format!("bot@{NAME}"));
    let from = format!(" from='{address}'");
    stars.push(Star::new(server, &users, hub, from, address)?);
    Ok(stars)
}

/// A hub and its users.
struct Star<'a> {
    server: &'a Server,
    epoll: Epoll,
    users: Rc<Vec<OwnedFd>>,
    hub: OwnedFd,
    /// What a component writes of itself into its messages.
    from: String,
    address: String,
    input: Vec<u8>,
}

impl<'a> Star<'a> {
    fn new(
        server: &'a Server,
        users: &Rc<Vec<OwnedFd>>,
        hub: OwnedFd,
        from: String,
        address: String,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        for (number, user) in users.iter().enumerate() {
            epoll.add(user, number)?;
        }
        epoll.add(&hub, USERS)?;
        Ok(Self {
            server,
            epoll,
            users: Rc::clone(users),
            hub,
            from,
            address,
            input: vec![0; INPUT_BYTES],
        })
    }

    fn name(&self) -> &'static str {
        if self.from.is_empty() {
            "session"
        } else {
            "component"
        }
    }

    /// The hub writes to every user, burst by burst. Returns how many messages arrived.
    fn outward(&mut self) -> io::Result<usize> {
        let one = |n: usize| message(&self.from, &format!("user{}@localhost", n % USERS));
        let burst: Vec<u8> = (0..USERS * BURST).flat_map(one).collect();
        for _ in 0..BURSTS {
            send(&self.hub, &burst)?;
            self.take(|number| number < USERS)?;
        }
        Ok(USERS * BURST * BURSTS)
    }

    /// Every user writes to the hub.
    fn inward(&mut self) -> io::Result<usize> {
        let burst = message("", &self.address).repeat(BURST);
        for _ in 0..BURSTS {
            for user in &*self.users {
                send(user, &burst)?;
            }
            self.take(|number| number == USERS)?;
        }
        Ok(USERS * BURST * BURSTS)
    }

    /// Waits for the messages of one burst at those who are to get them.
    fn take(&mut self, gets: impl Fn(usize) -> bool) -> io::Result<()> {
        let whole = USERS * BURST;
        let (mut arrived, mut ready) = (0, Vec::new());
        while arrived < whole {
            self.epoll.wait(Some(PATIENCE_NS), &mut ready)?;
            if ready.is_empty() {
                let lost = whole - arrived;
                return Err(io::Error::other(format!("{lost} of {whole} are lost")));
            }
            for number in ready.drain(..) {
                if !gets(number) {
                    return Err(io::Error::other("somebody else gets something"));
                }
                let socket = self.users.get(number).unwrap_or(&self.hub);
                arrived += memchr_iter(MARK, receive(socket, &mut self.input)?).count();
            }
        }
        if arrived > whole {
            return Err(io::Error::other("some came twice"));
        }
        Ok(())
    }
}

fn message(from: &str, to: &str) -> Vec<u8> {
    format!(
        "<message type='chat'{from} to='{to}' id='b4f1a2'><body>The quick brown fox jumps \
         over the lazy dog{}</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='b4f1a2'/></message>",
        char::from(MARK),
    )
    .into_bytes()
}

fn begin(to: SocketAddrV4, number: usize) -> io::Result<OwnedFd> {
    let socket = log_in(to, number)?;
    ask(&socket, b"<presence/>", b"<presence")?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn join(to: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = open(to, 0)?;
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' to='{NAME}' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    let answer = ask(&socket, header.as_bytes(), b"xml:lang='en'>")?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let id = answer
        .split_once(" id='")
        .and_then(|(_, rest)| rest.split_once('\''));
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(id.expect("every stream has an id").0.as_bytes());
    context.update(COMPONENT_SECRET.as_bytes());
    let digits = context.finish();
    let digits: String = digits
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let handshake = format!("<handshake>{digits}</handshake>");
    ask(&socket, handshake.as_bytes(), b"<handshake/>")?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
