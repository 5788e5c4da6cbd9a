//! TLS for connections that we open: from options to a client, or to every reason why not.
//!
//! The handshake passes whatever certificate the peer shows, as long as it proves to have its key.
//! What the certificate is worth is judged when the handshake is over, because what follows from it
//! (SASL EXTERNAL, dialback, or no stream) is for the XMPP machine to say.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::KeyLogFile;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;

use super::config::suites;
use super::config::versions;
use super::error::Findings;
use super::error::TlsConfigError;
use super::error::TlsError;
use super::error::TlsWarning;
use super::identity::Identity;
use super::options::TlsKey;
use super::options::TlsOptions;
use super::pem::Read;
use super::side::Side;
use super::trust;
use super::verify::Trust;
use super::verify::server_chain_holds;

/// What outgoing connections handshake with. Cheap to clone: all parts are shared.
///
/// Lives on: every shard; made once per process.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    pub(super) check: Option<Arc<PeerCheck>>,
    has_certificate: bool,
    warnings: Arc<[TlsWarning]>,
}

impl TlsClient {
    /// Reads the files that `options` name with `read`, and puts a client together. An empty
    /// `certfile` is none.
    ///
    /// # Errors
    /// Every fault that can be found in one go, each with the option it belongs to.
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by the wall clock"
    )]
    pub fn build(options: &TlsOptions, read: Read<'_>) -> Result<Self, Vec<TlsConfigError>> {
        let now = SystemTime::now();
        let mut findings = Findings::default();
        let mut provider = aws_lc_rs::default_provider();
        let identity = if options.certfile.is_empty() {
            None
        } else {
            match Identity::load(options, read, &provider) {
                Ok(identity) => Some(identity),
                Err(errors) => {
                    findings.errors.extend(errors);
                    None
                }
            }
        };
        let versions = versions(options.versions, &mut findings);
        provider.cipher_suites = suites(options, None, &mut findings);
        let provider = Arc::new(provider);
        let chain = trust::peer_check(options, read, now, &provider, &mut findings);
        if !findings.errors.is_empty() {
            return Err(findings.errors);
        }
        if let Some(identity) = &identity {
            findings.warnings.extend(identity.warnings(now));
        }
        let has_certificate = identity.is_some();
        let check = Arc::new(PeerCheck {
            chain,
            provider: Arc::clone(&provider),
        });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| {
                let text = format!("no connection is possible: {error}");
                vec![TlsConfigError::new(TlsKey::Ciphers, text)]
            })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&check) as Arc<dyn ServerCertVerifier>);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(OwnCertificate {
                certified: identity.certified,
            })),
            None => builder.with_no_client_auth(),
        };
        // A store of sessions is memory and a lock that the cores would share, for streams that
        // are opened once in hours.
        config.resumption = Resumption::disabled();
        config.enable_sni = options.names_host;
        if options.keep_secrets {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(Self {
            config: Arc::new(config),
            check: Some(check),
            has_certificate,
            warnings: findings.warnings.into(),
        })
    }

    /// There is a certificate to show.
    pub fn has_certificate(&self) -> bool {
        self.has_certificate
    }

    /// What the operator should be told at the start.
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }

    /// A connection to the server of `domain`.
    pub(super) fn side(&self, domain: &str, direct: bool) -> Result<Side, TlsError> {
        let ascii = idna::domain_to_ascii(domain).unwrap_or_default();
        // No DNS name: an address is never sent as server name.
        let nameless = || ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]));
        let name = ServerName::try_from(ascii).unwrap_or_else(|_| nameless());
        let alpn = if direct {
            vec![b"xmpp-server".to_vec()]
        } else {
            Vec::new()
        };
        Side::client(Arc::clone(&self.config), name, alpn)
    }
}

/// Shows the one certificate there is, whatever CAs and schemes the peer hints at: a server that
/// does not like it has dialback.
#[derive(Debug)]
struct OwnCertificate {
    certified: Arc<CertifiedKey>,
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Judges the certificates of servers.
pub(super) struct PeerCheck {
    /// None leaves the chain unchecked.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl PeerCheck {
    /// The worth of a chain, own certificate first.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Trust {
        let (Some(verifier), Some((own, intermediates))) = (&self.chain, chain.split_first())
        else {
            return Trust::Unchecked;
        };
        match server_chain_holds(verifier, own, intermediates, now) {
            Ok(()) => Trust::Verified,
            Err(error) => Trust::Failed(error.to_string().into()),
        }
    }
}

impl fmt::Debug for PeerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCheck")
            .field("chain", &self.chain.is_some())
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PeerCheck {
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
