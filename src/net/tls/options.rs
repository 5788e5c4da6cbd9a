//! What an operator may say about TLS, as plain values.
//!
//! The names and meanings are those of the `tls` table of a listener. Nothing is checked here:
//! [`TlsServer::build`](super::TlsServer::build) does that, and names a wrong option by its
//! [`TlsKey`], so that the caller can point at the line of the file it came from.

use std::fmt;

/// The `tls` table of one listener. Paths are handed to the caller's reader as they stand.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM certificate chain, the server's own certificate first. May also hold the key.
    pub certfile: String,
    /// PEM private key. Left out where `certfile` holds it.
    pub keyfile: Option<String>,
    /// PEM certificates that client certificates must chain to. Left out: the system's.
    pub cacertfile: Option<String>,
    /// Password of an encrypted private key.
    pub password: Option<KeyPassword>,
    /// Suite names, OpenSSL's or IANA's, separated by ':'. Left out: all that are supported.
    pub ciphers: Option<String>,
    /// Protocol versions offered.
    pub versions: TlsVersions,
    /// Whether a client certificate is asked for, and what is required of it.
    pub verify_mode: VerifyMode,
    /// Whether a client certificate that is absent or not accepted ends the handshake.
    pub disconnect_on_failure: bool,
    /// Peers are servers: what a certificate for servers proves is taken too, because public CAs
    /// issue no others, and without any known CA a certificate proves nothing instead of being a
    /// fault.
    pub between_servers: bool,
    /// PEM certificate revocation lists for client certificates.
    pub crl_files: Vec<String>,
    /// Log the secrets of every connection to the file named by SSLKEYLOGFILE.
    pub keep_secrets: bool,
    /// Of connections that we open: the server is told which domain is asked for (RFC 6066).
    pub names_host: bool,
    /// Accept TLS 1.3 early data (0-RTT) from clients that come back.
    pub early_data: bool,
    /// Resumption by tickets that the client keeps (`session_tickets = "stateless"`).
    pub session_tickets_stateless: bool,
    /// Diffie-Hellman parameters. Read, but of no effect: there is no finite-field DH.
    pub dhfile: Option<String>,
    /// Application protocols (ALPN, RFC 7301) of this listener, in order of preference.
    ///
    /// Empty: the extension is ignored, whatever the client offers. That is right after STARTTLS,
    /// where the protocol is settled before TLS begins. Otherwise a client that offers protocols
    /// gets the first of ours among them, or `no_application_protocol` where there is none (RFC
    /// 7301 section 3.2 demands it, and it stops a session meant for another service from being
    /// redirected to this one); a client that offers none is served. XEP-0368 names the protocols
    /// of direct TLS: "xmpp-client" and "xmpp-server".
    pub alpn: Vec<String>,
}

/// What holds where the operator says nothing; there is no certificate that could be meant.
impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            certfile: String::new(),
            keyfile: None,
            cacertfile: None,
            password: None,
            ciphers: None,
            versions: TlsVersions::default(),
            verify_mode: VerifyMode::default(),
            disconnect_on_failure: true,
            between_servers: false,
            crl_files: Vec::new(),
            keep_secrets: false,
            names_host: true,
            early_data: false,
            session_tickets_stateless: false,
            dhfile: None,
            alpn: Vec::new(),
        }
    }
}

/// Protocol versions of TLS that may be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersions {
    /// TLS 1.2 (RFC 5246).
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446).
    pub tls13: bool,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
        }
    }
}

/// What is asked of a client's certificate during the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// A certificate is required and must chain to `cacertfile`.
    #[default]
    Peer,
    /// A certificate is required and its key must be proven; who issued it is not checked.
    SelfsignedPeer,
    /// None is asked for.
    None,
}

/// A password that does not show in logs.
#[derive(Clone)]
pub struct KeyPassword(String);

impl KeyPassword {
    /// Keeps `password` as it is.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPassword(..)")
    }
}

/// The options that can be wrong, by their names in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the option of the same name")]
pub enum TlsKey {
    Certfile,
    Keyfile,
    Cacertfile,
    Password,
    Ciphers,
    Versions,
    VerifyMode,
    CrlFiles,
    KeepSecrets,
    EarlyData,
    SessionTickets,
    Dhfile,
}

impl TlsKey {
    /// The key inside the `tls` table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certfile => "certfile",
            Self::Keyfile => "keyfile",
            Self::Cacertfile => "cacertfile",
            Self::Password => "password",
            Self::Ciphers => "ciphers",
            Self::Versions => "versions",
            Self::VerifyMode => "verify_mode",
            Self::CrlFiles => "crl_files",
            Self::KeepSecrets => "keep_secrets",
            Self::EarlyData => "early_data",
            Self::SessionTickets => "session_tickets",
            Self::Dhfile => "dhfile",
        }
    }
}
