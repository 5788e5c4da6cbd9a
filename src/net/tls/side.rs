//! Both roles of the library's unbuffered connection behind one interface.

use std::sync::Arc;

use rustls::CommonState;
use rustls::client::ClientConnectionData;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::ServerConnectionData;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::ConnectionState;
use rustls::unbuffered::EncryptError;
use rustls::unbuffered::ReadEarlyData;
use rustls::unbuffered::UnbufferedStatus;
use rustls::unbuffered::WriteTraffic;

use super::error::TlsError;
use super::seal;

/// A connection of either role.
pub(super) enum Side {
    /// We were connected to.
    Server(UnbufferedServerConnection),
    /// We connected.
    Client(UnbufferedClientConnection),
}

/// What the two roles have in common and the library does not say.
trait Role {
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// It has records for the peer.
    fn wants_write(&self) -> bool;

    /// Takes early data out; returns how many bytes of input it was.
    fn take_early(
        early: ReadEarlyData<'_, '_, Self::Data>,
        plain: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error>;
}

impl Role for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }

    fn take_early(
        mut early: ReadEarlyData<'_, '_, Self::Data>,
        plain: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        let mut released = 0;
        while let Some(record) = early.next_record() {
            let record = record?;
            plain.extend_from_slice(record.payload);
            released += record.discard;
        }
        Ok(released)
    }
}

impl Role for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }

    /// Only servers get early data.
    fn take_early(
        _: ReadEarlyData<'_, '_, Self::Data>,
        _: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        Err(rustls::Error::General("early data for a client".to_owned()))
    }
}

/// What one run over received records came to.
pub(super) struct Stepped {
    /// Bytes from the front that the library is done with.
    pub(super) released: usize,
    /// The peer has said that it sends nothing more.
    pub(super) peer_closed: bool,
}

/// The library's writing side, of either role.
pub(super) enum Writer<'a> {
    Server(WriteTraffic<'a, ServerConnectionData>),
    Client(WriteTraffic<'a, ClientConnectionData>),
}

impl Writer<'_> {
    pub(super) fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        match self {
            Self::Server(writer) => writer.encrypt(plain, out),
            Self::Client(writer) => writer.encrypt(plain, out),
        }
    }

    pub(super) fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        match self {
            Self::Server(writer) => writer.queue_close_notify(out),
            Self::Client(writer) => writer.queue_close_notify(out),
        }
    }
}

impl Side {
    pub(super) fn server(config: Arc<rustls::ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self::Server(UnbufferedServerConnection::new(config)?))
    }

    pub(super) fn client(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new_with_alpn(config, name, alpn)?;
        Ok(Self::Client(connection))
    }

    /// What the library tells of a connection of any role.
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Lets the library work on `records` until it wants more.
    pub(super) fn step(
        &mut self,
        records: &mut [u8],
        plain: &mut Vec<u8>,
        send: &mut Vec<u8>,
    ) -> Result<Stepped, TlsError> {
        match self {
            Self::Server(connection) => step(connection, records, plain, send),
            Self::Client(connection) => step(connection, records, plain, send),
        }
    }

    /// Gets out what the library still has to say after an error: the alert. While it has
    /// something it does not look at input, so none is shown.
    pub(super) fn flush(&mut self, send: &mut Vec<u8>) {
        match self {
            Self::Server(connection) => flush(connection, send),
            Self::Client(connection) => flush(connection, send),
        }
    }

    /// Runs `action` on the library's writing side, if there is one yet. `shown` is what the
    /// library has seen and not released.
    pub(super) fn write(
        &mut self,
        shown: &mut [u8],
        send: &mut Vec<u8>,
        action: impl FnOnce(&mut Writer<'_>, &mut Vec<u8>) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        match self {
            Self::Server(connection) => write(connection, shown, send, |writer, send| {
                action(&mut Writer::Server(writer), send)
            }),
            Self::Client(connection) => write(connection, shown, send, |writer, send| {
                action(&mut Writer::Client(writer), send)
            }),
        }
    }
}

fn step<R: Role>(
    connection: &mut R,
    records: &mut [u8],
    plain: &mut Vec<u8>,
    send: &mut Vec<u8>,
) -> Result<Stepped, TlsError> {
    let mut stepped = Stepped {
        released: 0,
        peer_closed: false,
    };
    loop {
        let unreleased = records.get_mut(stepped.released..).unwrap_or_default();
        let status = connection.process(unreleased);
        stepped.released += status.discard;
        match status.state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plain.extend_from_slice(record.payload);
                    stepped.released += record.discard;
                }
            }
            ConnectionState::ReadEarlyData(early) => {
                stepped.released += R::take_early(early, plain)?;
            }
            ConnectionState::EncodeTlsData(mut data) => seal::encode(&mut data, send)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => stepped.peer_closed = true,
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed => return Ok(stepped),
            // The library's enum is open.
            _ => return Err(unexpected_state()),
        }
    }
}

fn flush<R: Role>(connection: &mut R, send: &mut Vec<u8>) {
    while connection.wants_write() {
        let status = connection.process(&mut []);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state else {
            return;
        };
        if seal::encode(&mut data, send).is_err() {
            return;
        }
    }
}

fn write<R: Role>(
    connection: &mut R,
    shown: &mut [u8],
    send: &mut Vec<u8>,
    action: impl FnOnce(WriteTraffic<'_, R::Data>, &mut Vec<u8>) -> Result<(), TlsError>,
) -> Result<(), TlsError> {
    loop {
        match connection.process(shown).state? {
            ConnectionState::WriteTraffic(writer) => return action(writer, send),
            ConnectionState::BlockedHandshake => return Err(TlsError::Handshaking),
            ConnectionState::Closed => return Err(TlsError::Closed),
            ConnectionState::EncodeTlsData(mut data) => seal::encode(&mut data, send)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            // Whatever is received is taken out, and whatever is shown is waited with.
            _ => return Err(unexpected_state()),
        }
    }
}

fn unexpected_state() -> TlsError {
    TlsError::Local(rustls::Error::General("unexpected state".to_owned()))
}
