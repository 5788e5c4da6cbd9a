//! The client's side of TLS. It checks no certificate: it gives nothing away that would need it, and
//! a load generator should cost little. Nothing is resumed: every handshake is a whole one.

use std::io::Read;
use std::io::Write;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::SignatureScheme;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;

use crate::fault::Fault;

/// What one read takes out of the library, in bytes.
const CLEAR_BYTES: usize = 16 * 1024;

/// How TLS is spoken: X25519 with everybody, so that servers do the same work.
///
/// # Errors
/// The library has no such cipher; that would be a mistake here.
pub(crate) fn config() -> Result<Arc<ClientConfig>, Error> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let mut config = builder
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// TLS on one connection.
pub(crate) struct Secured {
    connection: ClientConnection,
}

impl Secured {
    /// Before the handshake.
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Result<Self, Fault> {
        let name = ServerName::try_from("localhost").map_err(|_| Fault::Tls)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        Ok(Self {
            connection: connection.map_err(|_| Fault::Tls)?,
        })
    }

    /// Whether the handshake is done.
    pub(crate) fn is_ready(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Appends records: what the handshake wants to say, and `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.connection
            .writer()
            .write_all(bytes)
            .map_err(|_| Fault::Tls)?;
        while self.connection.wants_write() {
            self.connection.write_tls(out).map_err(|_| Fault::Tls)?;
        }
        Ok(())
    }

    /// Appends what the records hold.
    pub(crate) fn read(&mut self, mut wire: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        while !wire.is_empty() {
            self.connection
                .read_tls(&mut wire)
                .map_err(|_| Fault::Tls)?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|_| Fault::Tls)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let from = out.len();
                out.resize(from + left.min(CLEAR_BYTES), 0);
                let length = self.connection.reader().read(&mut out[from..]);
                let length = length.map_err(|_| Fault::Tls)?;
                out.truncate(from + length);
                left -= length;
            }
        }
        Ok(())
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_begins_with_a_record() {
        let mut tls = Secured::new(&config().expect("a config")).expect("a connection");
        let mut out = Vec::new();
        tls.write(&[], &mut out).expect("it can always be written");
        assert_eq!(out[..2], [22, 3], "a handshake record");
        assert!(!tls.is_ready());
        assert_eq!(
            tls.read(b"HTTP/1.1 400 Bad Request", &mut out),
            Err(Fault::Tls)
        );
    }
}
