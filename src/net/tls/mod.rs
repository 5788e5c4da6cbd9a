//! TLS of both roles, on the driver's shared buffer.
//!
//! Three steps, each in its own file. [`options`] is what the operator wrote, as plain values.
//! [`config`] turns it into a [`TlsServer`], or into every fault it has, each with the option it
//! belongs to. [`stream`] is one connection's TLS: ciphertext in, plaintext and ciphertext out.
//! Read `TlsStream::receive` first.
//!
//! Invariants:
//! - No socket here and no task: a [`TlsStream`] is a value that moves between cores with its
//!   connection.
//! - Whatever bytes a peer sends, the answer is an error with the alert to send, never a panic,
//!   and never more than [`stream::PENDING_BYTES_MAX`] bytes kept.
//! - Building reads files only through the function its caller passes in; system CAs are the one
//!   exception. A reload builds a new [`TlsServer`] and swaps it: streams keep what they have.
//!
//! [`client`] is the same for connections that we open; [`names`] says for which domains a peer's
//! certificate is, whichever side it is on.
//!
//! Not here: when to reload, what a certificate allows (SASL EXTERNAL), and channel binding: the library's unbuffered connection exports no keying material (RFC 9266).

pub mod certificate;
mod ciphers;
pub mod client;
pub mod config;
pub mod error;
mod identity;
pub mod names;
pub mod options;
mod pem;
pub mod record;
mod seal;
mod side;
pub mod stream;
mod trust;
mod verify;

#[cfg(test)]
mod testing;

pub use certificate::CertificateInfo;
pub use client::TlsClient;
pub use config::TlsServer;
pub use error::TlsConfigError;
pub use error::TlsError;
pub use error::TlsWarning;
pub use options::TlsKey;
pub use options::TlsOptions;
pub use options::TlsVersions;
pub use options::VerifyMode;
pub use stream::Progress;
pub use stream::TlsStream;
pub use verify::PeerCertificate;
pub use verify::Trust;
