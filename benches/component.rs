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

mod wire;

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Instant;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memchr_iter;
use memchr::memmem::find;
use rustix::net::sockopt;

use wire::FEATURES_END;
use wire::HEADER;
use wire::client::INPUT_BYTES;
use wire::client::PATIENCE_MS;
use wire::client::connect;
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

fn main() {
    if std::env::args().any(|argument| argument == wire::FLOOR_ARGUMENT) {
        wire::floor::serve();
    }
    for cores in [1, 2] {
        if std::thread::available_parallelism().is_ok_and(|there| there.get() < cores) {
            continue;
        }
        measure(&Server::meerkat(cores, USERS + 1));
    }
}

fn measure(server: &Server) {
    eprintln!("{} is process {}", server.name, server.id());
    let epoll = Epoll::new();
    let users: Vec<OwnedFd> = (0..USERS).map(|n| log_in(server.address, n)).collect();
    for (number, user) in users.iter().enumerate() {
        epoll.add(user, number);
    }
    let session = log_in(server.address, USERS);
    let component = join(server.service);
    let hubs = [
        (&session, String::new(), format!("user{USERS}@localhost")),
        (
            &component,
            format!(" from='bot@{NAME}'"),
            format!("bot@{NAME}"),
        ),
    ];
    for (place, (hub, ..)) in hubs.iter().enumerate() {
        epoll.add(hub, USERS + place);
    }
    println!(
        "{}, {USERS} users, CPU-us per message ({ROUNDS} rounds)",
        server.name
    );
    println!(
        "{:24} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "", "median", "least", "most", "ratio", "a second"
    );
    let mut star = Star {
        epoll,
        users,
        input: vec![0; INPUT_BYTES],
    };
    for outward in [true, false] {
        let mut figures = [Vec::new(), Vec::new()];
        let mut fastest = [0.0f64; 2];
        for round in 0..=ROUNDS {
            for (place, (hub, from, address)) in hubs.iter().enumerate() {
                let (before, began) = (server.cpu_ns(), Instant::now());
                let count = if outward {
                    star.outward(hub, from)
                } else {
                    star.inward(hub, USERS + place, address)
                };
                let cost = (server.cpu_ns() - before) / 1000.0 / count as f64;
                // The first round warms up.
                if round > 0 {
                    figures[place].push(cost);
                    fastest[place] =
                        fastest[place].max(count as f64 / began.elapsed().as_secs_f64());
                }
            }
        }
        let direction = if outward {
            "to the users"
        } else {
            "from the users"
        };
        let mut session = 0.0;
        for (place, name) in ["session", "component"].iter().enumerate() {
            let (median, least, most) = wire::spread(&mut figures[place]);
            if place == 0 {
                session = median;
            }
            println!(
                "{:24} {median:8.2} {least:8.2} {most:8.2} {:8.2} {:10.0}",
                format!("{name} {direction}"),
                median / session,
                fastest[place]
            );
        }
    }
}

/// A hub and its users.
struct Star {
    epoll: Epoll,
    users: Vec<OwnedFd>,
    input: Vec<u8>,
}

impl Star {
    /// The hub writes to every user, burst by burst. Returns how many messages arrived.
    fn outward(&mut self, hub: &OwnedFd, from: &str) -> usize {
        let one = |n: usize| message(from, &format!("user{}@localhost", n % USERS));
        let burst: Vec<u8> = (0..USERS * BURST).flat_map(one).collect();
        for _ in 0..BURSTS {
            send(hub, &burst);
            self.take(USERS * BURST, |number| number < USERS, hub);
        }
        USERS * BURST * BURSTS
    }

    /// Every user writes to the hub.
    fn inward(&mut self, hub: &OwnedFd, number: usize, address: &str) -> usize {
        let burst = message("", address).repeat(BURST);
        for _ in 0..BURSTS {
            for user in &self.users {
                send(user, &burst);
            }
            self.take(USERS * BURST, |ready| ready == number, hub);
        }
        USERS * BURST * BURSTS
    }

    /// Waits for so many messages at those who are to get them.
    fn take(&mut self, whole: usize, gets: impl Fn(usize) -> bool, hub: &OwnedFd) {
        let (mut arrived, mut ready) = (0, Vec::new());
        while arrived < whole {
            self.epoll.wait(Some(PATIENCE_MS), &mut ready);
            assert!(!ready.is_empty(), "{} of {whole} are lost", whole - arrived);
            for number in ready.drain(..) {
                assert!(gets(number), "somebody else gets something");
                let socket = self.users.get(number).unwrap_or(hub);
                arrived += memchr_iter(MARK, receive(socket, &mut self.input)).count();
            }
        }
        assert_eq!(arrived, whole, "some came twice");
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

fn log_in(to: SocketAddrV4, number: usize) -> OwnedFd {
    let socket = open(to, number);
    let plain = BASE64_STANDARD.encode(format!("\0user{number}\0secret"));
    let auth =
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let bind = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <resource>desk</resource></bind></iq>";
    ask(&socket, HEADER, FEATURES_END);
    ask(&socket, auth.as_bytes(), b"<success");
    ask(&socket, HEADER, FEATURES_END);
    ask(&socket, bind, b"</iq>");
    ask(&socket, b"<presence/>", b"<presence");
    rustix::io::ioctl_fionbio(&socket, true).expect("an open socket");
    socket
}

fn join(to: SocketAddrV4) -> OwnedFd {
    let socket = open(to, 0);
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' to='{NAME}' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    let answer = ask(&socket, header.as_bytes(), b"xml:lang='en'>");
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
    ask(&socket, handshake.as_bytes(), b"<handshake/>");
    rustix::io::ioctl_fionbio(&socket, true).expect("an open socket");
    socket
}

fn open(to: SocketAddrV4, number: usize) -> OwnedFd {
    let socket = connect(to, number);
    sockopt::set_tcp_nodelay(&socket, true).expect("an option of TCP");
    rustix::io::ioctl_fionbio(&socket, false).expect("an open socket");
    socket
}

fn ask(socket: &OwnedFd, question: &[u8], until: &[u8]) -> Vec<u8> {
    send(socket, question);
    let (mut input, mut answer) = ([0; 4096], Vec::new());
    while find(&answer, until).is_none() {
        answer.extend_from_slice(receive(socket, &mut input));
    }
    answer
}
