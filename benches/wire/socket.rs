//! Sockets of clients, with as few system calls as will do. Whatever the other end does to one is an
//! error that its caller counts or tells.

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// Hosts of one network of source addresses: neither .0 nor .255.
const HOSTS: usize = 254;
/// What one receive takes at most, in bytes.
pub(crate) const INPUT_BYTES: usize = 64 * 1024;

/// The address from which connection `number` comes, one of `sources` in 127.1.0.0/16, so that closed
/// connections do not use up the ports of one.
pub(crate) fn source(number: usize, sources: usize) -> Ipv4Addr {
    let place = number % sources.max(1);
    let (network, host) = (place / HOSTS, 1 + place % HOSTS);
    Ipv4Addr::new(127, 1, network as u8, host as u8)
}

/// A socket that is connecting or connected. Loopback connects within the call, unless the queue of
/// the listener is full.
///
/// # Errors
/// What the kernel says: the port is closed, or there are no more files or ports.
pub(crate) fn connect(to: SocketAddrV4, from: Option<Ipv4Addr>) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if let Some(from) = from {
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    }
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Sends what the socket takes; how many bytes that were.
///
/// # Errors
/// The connection is gone.
pub(crate) fn send_some(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => sent,
    }
}

/// What has come: nothing where nothing waits.
///
/// # Errors
/// The connection is gone: `PIPE` where the other end closed it in order.
pub(crate) fn receive_some<'a>(socket: &OwnedFd, input: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    match rustix::net::recv(socket, &mut *input, RecvFlags::empty()) {
        Ok((0, _)) => Err(Errno::PIPE),
        Ok((length, _)) => Ok(&input[..length]),
        Err(Errno::AGAIN | Errno::INTR) => Ok(&[]),
        Err(error) => Err(error),
    }
}
