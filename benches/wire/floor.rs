//! The floor: a loop of canned bytes with the socket operations of an XMPP server.

use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::find;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;

use super::epoll::Epoll;
use super::socket::receive_some;
use super::socket::send_some;

const BEFORE_LOGIN: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='0123456789abcdef' from='localhost' \
    version='1.0' xml:lang='en'><stream:features><mechanisms \
    xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>\
    <authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism></authentication>\
    </stream:features>";
const AFTER_LOGIN: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='0123456789abcdef' from='localhost' \
    version='1.0' xml:lang='en'><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
    <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>";
const SUCCESS: &[u8] = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const SUCCESS_2: &[u8] =
    b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>user@localhost\
    </authorization-identifier></success><stream:features>\
    <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
const ROSTER: &[u8] = b"<iq type='result' id='r'><query xmlns='jabber:iq:roster'>\
    <item jid='user0@localhost' subscription='both'/></query></iq>";
const STREAM_END: &[u8] = b"</stream:stream>";
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
///
/// # Errors
/// There are no sockets, or nobody reads the port.
pub(crate) fn serve() -> io::Result<()> {
    let listener = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, 1024)?;
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&listener)?)?;
    writeln!(io::stdout(), "{}", address.port())?;
    io::stdout().flush()?;
    let mut floor = Floor {
        epoll: Epoll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        users: HashMap::new(),
        dirty: Vec::new(),
    };
    floor.epoll.add(&listener, LISTENER)?;
    let mut input = vec![0; INPUT_BYTES];
    let mut ready = Vec::new();
    loop {
        floor.epoll.wait(None, &mut ready)?;
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
            if self.epoll.add(&socket, number).is_err() {
                self.free.push(number);
                continue;
            }
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
        match receive_some(&connection.socket, input) {
            Ok([]) => {}
            Ok(input) => self.answer(number, input),
            Err(_) => {
                let gone = self.connections[number].take();
                if let Some(user) = gone.and_then(|gone| gone.user)
                    && self.users.get(&user) == Some(&number)
                {
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
        } else if let Some((name, success)) = name_of(input) {
            connection.user = Some(name.clone());
            self.users.insert(name, number);
            success
        } else if find(input, b"<status>").is_some() {
            return self.broadcast(number, input);
        } else if find(input, b"jabber:iq:roster").is_some() {
            ROSTER
        } else if find(input, b"<iq").is_some() {
            BOUND
        } else if find(input, STREAM_END).is_some() {
            STREAM_END
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

    /// A presence with a status goes to every user, as it came.
    fn broadcast(&mut self, from: usize, input: &[u8]) {
        for number in self.users.values().filter(|number| **number != from) {
            if let Some(recipient) = &mut self.connections[*number] {
                if recipient.out.is_empty() {
                    self.dirty.push(*number);
                }
                recipient.out.extend_from_slice(input);
            }
        }
    }

    fn send(&mut self) {
        for number in self.dirty.drain(..) {
            if let Some(connection) = &mut self.connections[number] {
                // The peers of a benchmark read, and count what is missing; one that is gone is
                // noticed by its next event.
                let _ = send_some(&connection.socket, &connection.out);
                connection.out.clear();
            }
        }
    }
}

/// The user in a SASL PLAIN message, and what to answer.
fn name_of(input: &[u8]) -> Option<(Vec<u8>, &'static [u8])> {
    const FIRST: (&[u8], &[u8]) = (b"'PLAIN'>", SUCCESS);
    const SECOND: (&[u8], &[u8]) = (b"'PLAIN'><initial-response>", SUCCESS_2);
    let (before, success) = [SECOND, FIRST]
        .into_iter()
        .find(|(before, _)| find(input, before).is_some())?;
    let from = find(input, before)? + before.len();
    let to = from + find(&input[from..], b"</")?;
    let message = BASE64_STANDARD.decode(&input[from..to]).ok()?;
    let name = message.split(|byte| *byte == 0).nth(1)?;
    Some((name.to_vec(), success))
}
