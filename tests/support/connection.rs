//! A client's socket, with TLS or without, that never waits for ever and remembers what came.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;

/// How long anything may take that the server has to do. Long enough for a busy machine: only what
/// does not come is waited for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a read brought.
pub(crate) enum Came {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The server closed its side, or reset the connection.
    Closed,
}

enum Channel {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

/// A connection to the server.
pub(crate) struct Connection {
    patience: Duration,
    channel: Channel,
    log: Vec<u8>,
}

impl Connection {
    /// Connects in clear.
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&address, patience)?, patience)
    }

    /// On a socket that is connected.
    pub(crate) fn on(socket: TcpStream, patience: Duration) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(patience))?;
        // The address is what the server's log calls this client.
        let log = format!("[{}]", socket.local_addr()?).into_bytes();
        Ok(Self {
            patience,
            channel: Channel::Plain(socket),
            log,
        })
    }

    /// Puts TLS on the connection, whatever certificate the server shows.
    pub(crate) fn start_tls(&mut self, server: &str) -> Result<(), String> {
        let Channel::Plain(mut socket) = std::mem::replace(&mut self.channel, Channel::Gone) else {
            return Err("there is TLS already".to_owned());
        };
        let name = ServerName::try_from(server.to_owned()).map_err(|error| error.to_string())?;
        let mut session =
            ClientConnection::new(tls_config(), name).map_err(|error| error.to_string())?;
        socket
            .set_read_timeout(Some(self.patience))
            .map_err(|error| error.to_string())?;
        while session.is_handshaking() {
            session
                .complete_io(&mut socket)
                .map_err(|error| format!("TLS: {error}"))?;
        }
        self.channel = Channel::Tls(Box::new(rustls::StreamOwned::new(session, socket)));
        self.log.extend_from_slice(b"[TLS]");
        Ok(())
    }

    /// Everything that came, as text.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }

    /// Sends all bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.channel {
            Channel::Plain(socket) => socket.write_all(bytes),
            Channel::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
            Channel::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // A server that has closed already is none the wiser.
        match &mut self.channel {
            Channel::Plain(socket) => drop(socket.shutdown(Shutdown::Write)),
            Channel::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                drop(stream.sock.shutdown(Shutdown::Write));
            }
            Channel::Gone => {}
        }
    }

    /// When what is waited for from now on has to have come.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Waits for bytes until `deadline`.
    ///
    /// # Errors
    /// When nothing came by then.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<Came, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("nothing came within {:?}", self.patience));
        }
        let mut buffer = vec![0; 16 * 1024];
        let result = match &mut self.channel {
            Channel::Plain(socket) => socket
                .set_read_timeout(Some(left))
                .and_then(|()| socket.read(&mut buffer)),
            Channel::Tls(stream) => stream
                .sock
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut buffer)),
            Channel::Gone => Ok(0),
        };
        match result {
            Ok(0) => Ok(Came::Closed),
            Ok(length) => {
                buffer.truncate(length);
                self.log.extend_from_slice(&buffer);
                Ok(Came::Bytes(buffer))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    self.receive(deadline)
                }
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                    Ok(Came::Closed)
                }
                _ => Err(error.to_string()),
            },
        }
    }
}

fn tls_config() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
