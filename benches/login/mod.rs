//! How a user of the benches gets its session: PLAIN and binding, a question after the other.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::find;
use rustix::net::sockopt;

use crate::wire::FEATURES_END;
use crate::wire::HEADER;
use crate::wire::client::connect;
use crate::wire::client::receive;
use crate::wire::client::send;

/// Bytes of one read: an answer of a negotiation is shorter.
const ANSWER_BYTES: usize = 4096;

/// User `number` with its session, without presence. The socket blocks.
///
/// # Errors
/// The server refuses it, or is gone.
pub(crate) fn log_in(to: SocketAddrV4, number: usize) -> io::Result<OwnedFd> {
    let socket = open(to, number)?;
    let plain = BASE64_STANDARD.encode(format!("\0user{number}\0secret"));
    let auth =
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let bind = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <resource>desk</resource></bind></iq>";
    ask(&socket, HEADER, FEATURES_END)?;
    ask(&socket, auth.as_bytes(), b"<success")?;
    ask(&socket, HEADER, FEATURES_END)?;
    ask(&socket, bind, b"</iq>")?;
    Ok(socket)
}

/// A socket that is connecting or connected, blocks, and sends at once.
///
/// # Errors
/// The server refuses it, or there are no more files or ports.
pub(crate) fn open(to: SocketAddrV4, number: usize) -> io::Result<OwnedFd> {
    let socket = connect(to, number)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

/// Says something and reads until `until` has come: all that was read.
///
/// # Errors
/// The server closed instead.
pub(crate) fn ask(socket: &OwnedFd, question: &[u8], until: &[u8]) -> io::Result<Vec<u8>> {
    send(socket, question)?;
    let (mut input, mut answer) = ([0; ANSWER_BYTES], Vec::new());
    while find(&answer, until).is_none() {
        answer.extend_from_slice(receive(socket, &mut input)?);
    }
    Ok(answer)
}
