//! The floor: a loop of canned bytes with the socket operations of an XMPP server.

use std::collections::HashMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::find;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;

use super::epoll::Epoll;

const BEFORE_LOGIN: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='0123456789abcdef' from='localhost' \
    version='1.0' xml:lang='en'><stream:features><mechanisms \
    xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>\
    </stream:features>";
const AFTER_LOGIN: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='0123456789abcdef' from='localhost' \
    version='1.0' xml:lang='en'><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
    <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>";
const SUCCESS: &[u8] = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const BOUND: &[u8] = b"<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
    <jid>user@localhost/desk</jid></bind></iq>";
const PRESENCE: &[u8] = b"<presence from='user@localhost/desk' to='user@localhost/desk'/>";

/// The listening socket's number in the epoll set; connections count from 0.
const LISTENER: usize = usize::MAX;
/// What one receive takes at most, in bytes.
const INPUT_BYTES: usize = 16 * 1024;

struct Connection {
    socket: OwnedFd,
    user: Option<Vec<u8>>,
    out: Vec<u8>,
}

struct Floor {
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    users: HashMap<Vec<u8>, usize>,
    dirty: Vec<usize>,
}

/// Serves until killed. Prints the port as the first line.
pub(crate) fn serve() -> ! {
    let listener = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket");
    sockopt::set_tcp_nodelay(&listener, true).expect("an option of TCP");
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port");
    rustix::net::listen(&listener, 1024).expect("it is bound");
    let address = rustix::net::getsockname(&listener).expect("it is bound");
    let address = SocketAddrV4::try_from(address).expect("it is of IPv4");
    println!("{}", address.port());
    std::io::stdout().flush().expect("somebody reads the port");
    let mut floor = Floor {
        epoll: Epoll::new(),
        connections: Vec::new(),
        free: Vec::new(),
        users: HashMap::new(),
        dirty: Vec::new(),
    };
    floor.epoll.add(&listener, LISTENER);
    let mut input = vec![0; INPUT_BYTES];
    let mut ready = Vec::new();
    loop {
        floor.epoll.wait(None, &mut ready);
        for number in ready.drain(..) {
            match number {
                LISTENER => floor.accept(&listener),
                number => floor.receive(number, &mut input),
            }
        }
        floor.send();
    }
}

impl Floor {
    fn accept(&mut self, listener: &OwnedFd) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(listener, flags) {
            let number = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll.add(&socket, number);
            self.connections[number] = Some(Connection {
                socket,
                user: None,
                out: Vec::new(),
            });
        }
    }

    fn receive(&mut self, number: usize, input: &mut [u8]) {
        let Some(connection) = &mut self.connections[number] else {
            return;
        };
        match rustix::net::recv(&connection.socket, &mut *input, RecvFlags::empty()) {
            Ok((length, _)) if length > 0 => self.answer(number, &input[..length]),
            Err(rustix::io::Errno::AGAIN) => {}
            Ok(_) | Err(_) => {
                let gone = self.connections[number].take();
                if let Some(user) = gone.and_then(|gone| gone.user) {
                    self.users.remove(&user);
                }
                self.free.push(number);
            }
        }
    }

    fn answer(&mut self, number: usize, input: &[u8]) {
        let Some(connection) = &mut self.connections[number] else {
            return;
        };
        let answer = if find(input, b"<message").is_some() {
            return self.relay(input);
        } else if find(input, b"<stream:stream").is_some() {
            if connection.user.is_some() {
                AFTER_LOGIN
            } else {
                BEFORE_LOGIN
            }
        } else if let Some(name) = name_of(input) {
            connection.user = Some(name.clone());
            self.users.insert(name, number);
            SUCCESS
        } else if find(input, b"<iq").is_some() {
            BOUND
        } else {
            PRESENCE
        };
        connection.out.extend_from_slice(answer);
        self.dirty.push(number);
    }

    /// Messages go to whom they name, as they came.
    fn relay(&mut self, mut input: &[u8]) {
        while let Some(end) = find(input, b"</message>") {
            let (message, rest) = input.split_at(end + b"</message>".len());
            input = rest;
            let Some(to) = find(message, b"to='") else {
                continue;
            };
            let name = message[to + 4..]
                .split(|byte| *byte == b'@')
                .next()
                .unwrap_or_default();
            let Some(number) = self.users.get(name) else {
                continue;
            };
            let Some(recipient) = &mut self.connections[*number] else {
                continue;
            };
            if recipient.out.is_empty() {
                self.dirty.push(*number);
            }
            recipient.out.extend_from_slice(message);
        }
    }

    fn send(&mut self) {
        for number in self.dirty.drain(..) {
            if let Some(connection) = &mut self.connections[number] {
                // The peers of a benchmark read; one that is gone is noticed by its next event.
                let flags = SendFlags::NOSIGNAL;
                let sent = rustix::net::send(&connection.socket, &connection.out, flags);
                debug_assert!(sent.is_ok_and(|sent| sent == connection.out.len()));
                connection.out.clear();
            }
        }
    }
}

/// The user in a SASL PLAIN message.
fn name_of(input: &[u8]) -> Option<Vec<u8>> {
    let from = find(input, b"'PLAIN'>")? + b"'PLAIN'>".len();
    let to = from + find(&input[from..], b"</auth>")?;
    let message = BASE64_STANDARD.decode(&input[from..to]).ok()?;
    message.split(|byte| *byte == 0).nth(1).map(<[u8]>::to_vec)
}
