//! The client of the benches: what it asks is answered, or the bench ends with an error.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

pub(crate) use super::socket::INPUT_BYTES;
use super::socket::connect as connect_from;
use super::socket::receive_some;
use super::socket::send_some;
use super::socket::source;

/// Source addresses.
const SOURCES: usize = 200;
/// Without any input for so long the server has failed, in nanoseconds.
pub(crate) const PATIENCE_NS: u64 = 10_000_000_000;

/// A socket that is connecting or connected.
///
/// # Errors
/// The server refuses it, or there are no more files or ports.
pub(crate) fn connect(to: SocketAddrV4, number: usize) -> io::Result<OwnedFd> {
    let socket = connect_from(to, Some(source(number, SOURCES)));
    socket.map_err(|error| io::Error::other(format!("connect to {to}: {error}")))
}

/// Sends all of it.
///
/// # Errors
/// The server is gone, or does not read: a socket's buffer is larger than what is under way.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    if send_some(socket, bytes)? < bytes.len() {
        return Err(io::Error::other("the server does not read"));
    }
    Ok(())
}

/// What has come.
///
/// # Errors
/// The server closed, or nothing has come.
pub(crate) fn receive<'a>(socket: &OwnedFd, input: &'a mut [u8]) -> io::Result<&'a [u8]> {
    match receive_some(socket, input) {
        Ok([]) => Err(io::Error::other("no answer has come")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(io::Error::other(format!("the server closed: {error}"))),
    }
}
