//! Sockets of clients, with as few system calls as will do.

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// Source addresses, so that closed connections do not use up the ports of one.
const SOURCES: usize = 200;
/// What one receive takes at most, in bytes.
pub(crate) const INPUT_BYTES: usize = 64 * 1024;
/// Without any input for so long the server has failed, in milliseconds.
pub(crate) const PATIENCE_MS: i64 = 10_000;

/// A socket that is connecting or connected. Loopback connects within the call.
pub(crate) fn connect(to: SocketAddrV4, number: usize) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        .expect("a socket");
    let source = Ipv4Addr::new(127, 0, 1, 1 + (number % SOURCES) as u8);
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0)).expect("all of 127/8 is ours");
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => socket,
        Err(error) => panic!("connect to {to}: {error}"),
    }
}

/// Sends all of it.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) {
    let sent = rustix::net::send(socket, bytes, SendFlags::NOSIGNAL).expect("the server reads");
    assert_eq!(
        sent,
        bytes.len(),
        "the socket's buffer is larger than what is under way"
    );
}

/// What has come; the server must not have closed.
pub(crate) fn receive<'a>(socket: &OwnedFd, input: &'a mut [u8]) -> &'a [u8] {
    let (length, _) =
        rustix::net::recv(socket, &mut *input, RecvFlags::empty()).expect("an answer has come");
    assert!(length > 0, "the server closed");
    &input[..length]
}
