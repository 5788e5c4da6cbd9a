//! Faults of TLS: the operator's (found while building) and the connection's.

use std::error::Error;
use std::fmt;

use super::options::TlsKey;

/// An option that a listener cannot be started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfigError {
    /// The option at fault.
    pub key: TlsKey,
    /// Which element of it, where the option is an array.
    pub index: Option<usize>,
    /// What is wrong and what would be accepted, without the option's name.
    pub text: String,
}

impl TlsConfigError {
    pub(super) fn new(key: TlsKey, text: impl Into<String>) -> Self {
        Self {
            key,
            index: None,
            text: text.into(),
        }
    }

    pub(super) fn at(key: TlsKey, index: usize, text: impl Into<String>) -> Self {
        Self {
            key,
            index: Some(index),
            text: text.into(),
        }
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "tls.{}[{index}]: {}", self.key.name(), self.text),
            None => write!(f, "tls.{}: {}", self.key.name(), self.text),
        }
    }
}

impl Error for TlsConfigError {}

/// Something an operator should know, with which the listener starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsWarning {
    /// The option it is about.
    pub key: TlsKey,
    /// The matter, without the option's name.
    pub text: String,
}

/// What building has found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<TlsConfigError>,
    pub(super) warnings: Vec<TlsWarning>,
}

impl Findings {
    pub(super) fn fault(&mut self, key: TlsKey, text: impl Into<String>) {
        self.errors.push(TlsConfigError::new(key, text));
    }

    pub(super) fn warn(&mut self, key: TlsKey, text: impl Into<String>) {
        let text = text.into();
        self.warnings.push(TlsWarning { key, text });
    }
}

impl fmt::Display for TlsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls.{}: {}", self.key.name(), self.text)
    }
}

/// Why a connection's TLS ended, by whose doing.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsError {
    /// The peer sent what the protocol does not allow, or what does not decrypt.
    Misbehaved(rustls::Error),
    /// The peer and this listener have no version, suite or application protocol in common.
    Incompatible(rustls::Error),
    /// The client's certificate is absent where it is required, or not accepted.
    ClientCertificate(rustls::Error),
    /// The peer ended the connection with an alert.
    AlertReceived(rustls::Error),
    /// The peer wants more kept than a connection may have: see `PENDING_BYTES_MAX`.
    PendingTooLarge,
    /// The keys of TLS 1.2 have encrypted as many records as they may.
    KeysExhausted,
    /// Nothing can be encrypted before the handshake has come far enough.
    Handshaking,
    /// The stream was closed or failed earlier.
    Closed,
    /// A fault of our own side.
    Local(rustls::Error),
}

impl TlsError {
    /// One word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Misbehaved(_) => "tls-misbehaved",
            Self::Incompatible(_) => "tls-incompatible",
            Self::ClientCertificate(_) => "tls-client-certificate",
            Self::AlertReceived(_) => "tls-alert-received",
            Self::PendingTooLarge => "tls-pending-too-large",
            Self::KeysExhausted => "tls-keys-exhausted",
            Self::Handshaking => "tls-handshaking",
            Self::Closed => "tls-closed",
            Self::Local(_) => "tls-local",
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::PeerIncompatible(_) | E::NoApplicationProtocol => Self::Incompatible(error),
            E::InvalidCertificate(_)
            | E::InvalidCertRevocationList(_)
            | E::NoCertificatesPresented
            | E::UnsupportedNameType => Self::ClientCertificate(error),
            E::AlertReceived(_) => Self::AlertReceived(error),
            E::PeerMisbehaved(_)
            | E::InvalidMessage(_)
            | E::InappropriateMessage { .. }
            | E::InappropriateHandshakeMessage { .. }
            | E::PeerSentOversizedRecord
            | E::DecryptError
            | E::InvalidEncryptedClientHello(_) => Self::Misbehaved(error),
            // The library's enum is open; what it does not blame on the peer is ours.
            _ => Self::Local(error),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misbehaved(error)
            | Self::Incompatible(error)
            | Self::ClientCertificate(error)
            | Self::AlertReceived(error)
            | Self::Local(error) => error.fmt(f),
            Self::PendingTooLarge => f.write_str("handshake messages too large"),
            Self::KeysExhausted => f.write_str("the keys have been used as often as they may be"),
            Self::Handshaking => f.write_str("the TLS handshake is not finished"),
            Self::Closed => f.write_str("the TLS stream is closed"),
        }
    }
}

impl Error for TlsError {}
