//! Listening sockets: one per core and listener, made before any executor starts, so that a port
//! that cannot be had ends the start and nothing else.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::TcpKeepalive;
use socket2::Type;

use std::time::Duration;

/// A connection that has been silent so long is asked by TCP whether its peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(120);
/// Time between such questions, and the default count of the kernel (9) ends it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long what was sent to another server may go without any sign of the other end before the
/// connection fails. A host that vanishes without a word would otherwise be written to for a quarter of
/// an hour, the kernel's own limit, and nobody would be told. A connection on which nothing is sent is
/// found by keepalive, which then ends with the second question.
const UNACKED_MAX: Duration = Duration::from_secs(60);

/// Sockets that share one address by SO_REUSEPORT, bound and not yet listening.
#[derive(Debug)]
pub struct Bound {
    /// The address in effect: with port 0 the one that the kernel picked.
    pub address: SocketAddr,
    /// One socket for each core that serves the listener.
    pub sockets: Vec<OwnedFd>,
}

/// Binds `count` sockets to one address.
///
/// # Errors
/// The system's reason: the port is taken, or may not be bound.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Bound> {
    let address = probe(address)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = fresh(address)?;
        socket.set_reuse_port(true)?;
        // Set before listening: accepted sockets inherit them, which saves two calls a connection.
        keep_alive(&socket)?;
        socket.bind(&address.into())?;
        sockets.push(OwnedFd::from(socket));
    }
    Ok(Bound { address, sockets })
}

/// A listening socket that another process opened for this one (LISTEN_FDS of systemd).
#[derive(Debug)]
pub struct Inherited {
    /// Where it listens.
    pub address: SocketAddr,
    /// The socket.
    pub socket: OwnedFd,
}

impl Inherited {
    /// Takes a socket as it comes, with the options that our own sockets have.
    ///
    /// # Errors
    /// Why it cannot serve a listener.
    pub fn adopt(socket: OwnedFd) -> Result<Self, String> {
        let sock = SockRef::from(&socket);
        let failed = |error: io::Error| format!("it cannot be used: {error}");
        let address = sock.local_addr().map_err(failed)?.as_socket();
        let address = address.ok_or("it is no TCP socket")?;
        if !sock.is_listener().map_err(failed)? {
            return Err(format!(
                "the one on {address} does not listen (Accept=no is needed)"
            ));
        }
        // IPv4 clients of such a socket would all be of one IPv6 network for the limits.
        if address.is_ipv6() && !sock.only_v6().map_err(failed)? {
            return Err(format!(
                "the one on {address} takes IPv4 too: write BindIPv6Only=ipv6-only, and for IPv4 \
                 ListenStream=0.0.0.0:{}",
                address.port()
            ));
        }
        keep_alive(&socket).map_err(failed)?;
        Ok(Self { address, socket })
    }
}

/// What every connection has: no delay, and the question whether its other end is still there.
///
/// # Errors
/// The system's reason.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )
}

/// What connections with other servers have beyond that: one whose other end has vanished is noticed
/// soon. Those that a socket accepts have it from it.
///
/// # Errors
/// The system's reason.
pub fn notice_loss(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(UNACKED_MAX))
}

/// Binds like [`bind`], and tries again for a while where the port is still taken: the kernel takes
/// the rings of a killed process apart in the background, and its sockets with them, so that a
/// server that is started again at once would find its own port in use.
///
/// # Errors
/// The system's reason, after `patience` where the port is taken.
pub fn bind_patiently(address: SocketAddr, count: usize, patience: Duration) -> io::Result<Bound> {
    let rounds = patience.as_millis() / RETRY.as_millis().max(1);
    for _ in 0..rounds {
        match bind(address, count) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::park_timeout(RETRY);
            }
            other => return other,
        }
    }
    bind(address, count)
}

/// Time between two attempts to get a port.
const RETRY: Duration = Duration::from_millis(50);

/// Starts to listen; connections arrive from now on.
///
/// # Errors
/// The system's reason; another process may have taken the port since it was bound.
pub fn listen(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// SO_REUSEPORT would share a port with another process of the same user in silence: a bind
/// without it finds that out, and picks the port where 0 was asked for.
fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = fresh(address)?;
    socket.bind(&address.into())?;
    // Two sockets with SO_REUSEADDR may bind one address; the second listen is what fails.
    if address.port() != 0 {
        socket.listen(1)?;
    }
    let bound = socket.local_addr()?;
    bound
        .as_socket()
        .ok_or_else(|| io::Error::other("the bound address is not an IP address"))
}

fn fresh(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn port_zero_is_one_port_for_all_cores() {
        let bound = bind(loopback(0), 3).expect("bind");
        assert_ne!(bound.address.port(), 0);
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            listen(socket, 16).expect("listen");
            let address = SockRef::from(socket).local_addr().expect("address");
            assert_eq!(address.as_socket(), Some(bound.address));
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "somebody else holds the port")]
    fn a_taken_port_is_refused_even_when_its_holder_shares_it() {
        let held = TcpListener::bind(loopback(0)).expect("bind");
        let address = held.local_addr().expect("address");
        assert_eq!(
            bind(address, 1).expect_err("taken").kind(),
            io::ErrorKind::AddrInUse
        );

        let shared = bind(loopback(0), 1).expect("bind");
        listen(shared.sockets.first().expect("one"), 16).expect("listen");
        assert_eq!(
            bind(shared.address, 1).expect_err("shared").kind(),
            io::ErrorKind::AddrInUse
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "somebody else opened the socket")]
    fn an_inherited_socket_must_listen_on_one_family() {
        let ours = TcpListener::bind(loopback(0)).expect("bind");
        let address = ours.local_addr().expect("address");
        let adopted = Inherited::adopt(ours.into()).expect("adopted");
        assert_eq!(adopted.address, address);
        assert!(
            SockRef::from(&adopted.socket)
                .tcp_nodelay()
                .expect("option")
        );

        let bound = bind(loopback(0), 1).expect("bind").sockets.remove(0);
        let text = Inherited::adopt(bound).expect_err("does not listen");
        assert!(text.contains("does not listen"), "{text}");
        let both = TcpListener::bind("[::]:0").expect("bind");
        let text = Inherited::adopt(both.into()).expect_err("takes both families");
        assert!(text.contains("BindIPv6Only"), "{text}");
    }

    #[test]
    fn both_families_share_a_port() {
        let four = bind(SocketAddr::from(([0, 0, 0, 0], 0)), 1).expect("bind");
        listen(four.sockets.first().expect("one"), 16).expect("listen");
        let six = SocketAddr::from(([0u16; 8], four.address.port()));
        listen(
            bind(six, 1).expect("bind").sockets.first().expect("one"),
            16,
        )
        .expect("listen");
    }
}
