//! Certificates of peers: what is asked for, what ends the handshake, what is kept of the result.
//!
//! The proof that the client holds the certificate's key is always checked in the handshake. The
//! chain is checked there only where a failure has to end it; otherwise the stream asks
//! [`ClientCheck::judge`] once, when the handshake is over, and keeps the answer.

use std::fmt;
use std::sync::Arc;

use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::Error;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerified;
use rustls::server::danger::ClientCertVerifier;

/// Most CA names sent to a client as a hint of which certificate to choose. The system's CAs are
/// well over a hundred, 15 KB in every handshake, and tell a client nothing: beyond this none is sent.
pub(super) const CA_HINTS_MAX: usize = 16;

/// The certificate a client presented, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct PeerCertificate<'a> {
    /// DER of the client's own certificate.
    pub der: &'a [u8],
    /// Whether its chain can be trusted. That its key was proven is certain in every case.
    pub trust: &'a Trust,
}

/// What the chain of a client certificate is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It leads to one of the configured CAs, and is neither expired nor revoked.
    Verified,
    /// It was not looked at (`selfsigned_peer`).
    Unchecked,
    /// It does not hold, for this reason.
    Failed(Box<str>),
}

/// What a listener demands of client certificates.
pub(super) struct ClientCheck {
    /// Checks the chain (`peer`); `None` leaves it unchecked (`selfsigned_peer`).
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    /// Checks the same chain as that of a server, where peers are servers.
    pub(super) server_chain: Option<Arc<WebPkiServerVerifier>>,
    /// Whether an absent or bad certificate ends the handshake.
    pub(super) disconnect: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ClientCheck {
    /// The worth of a chain that the handshake has left to be judged, own certificate first.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Trust {
        let (Some(verifier), Some((own, intermediates))) = (&self.chain, chain.split_first())
        else {
            return Trust::Unchecked;
        };
        match self.verify_chain(&**verifier, own, intermediates, now) {
            Ok(_) => Trust::Verified,
            Err(error) => Trust::Failed(error.to_string().into()),
        }
    }

    fn verify_chain(
        &self,
        verifier: &dyn ClientCertVerifier,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = verifier.verify_client_cert(own, intermediates, now);
        match (&self.server_chain, verified) {
            (Some(servers), Err(_)) => server_chain_holds(servers, own, intermediates, now)
                .map(|()| ClientCertVerified::assertion()),
            (_, verified) => verified,
        }
    }
}

/// Whether a chain is one of a server, whatever its name.
pub(super) fn server_chain_holds(
    verifier: &WebPkiServerVerifier,
    own: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    use rustls::CertificateError::NotValidForName;
    use rustls::CertificateError::NotValidForNameContext;
    // The library checks the chain and then the name, which here is none of the certificate's:
    // names are compared in `names`, which knows those of XMPP.
    let nobody = ServerName::try_from("name.invalid")
        .map_err(|_| Error::General("no server name".to_owned()))?;
    match verifier.verify_server_cert(own, intermediates, &nobody, &[], now) {
        Ok(_) | Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

impl fmt::Debug for ClientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCheck")
            .field("chain", &self.chain.is_some())
            .field("disconnect", &self.disconnect)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.disconnect
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let hints = match &self.chain {
            Some(verifier) => verifier.root_hint_subjects(),
            None => &[],
        };
        if hints.len() > CA_HINTS_MAX {
            return &[];
        }
        hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.chain {
            Some(verifier) if self.disconnect => {
                self.verify_chain(&**verifier, end_entity, intermediates, now)
            }
            Some(_) | None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
