//! What `[s2s]` says, in the form in which streams need it.

use crate::net::dial::Dialler;
use crate::net::tls::TlsClient;
use crate::proto::s2s::dialback::Keys;
use crate::proto::s2s::outbound::Terms;
use crate::proto::s2s::outbound::TlsWish;

/// Federation. Lives on: every shard (in the settings).
pub struct Federation {
    /// Our dialback keys.
    pub keys: Keys,
    /// What outgoing connections handshake with.
    pub tls: Option<TlsClient>,
    /// When they do.
    pub wish: TlsWish,
    /// A peer whose certificate is not for its domain gets no stream of ours.
    pub trusted_only: bool,
    /// Makes connections; None where no domain may be connected to.
    pub dialler: Option<Dialler>,
    /// The longest pause before a domain is tried again, in milliseconds.
    pub retry_max_ms: u64,
    /// Time without a stanza after which a stream of ours is closed, in milliseconds.
    pub stream_timeout_ms: Option<u64>,
}

impl Federation {
    /// What an outgoing stream asks.
    pub fn terms<'a>(&'a self, language: &'a str) -> Terms<'a> {
        Terms {
            keys: &self.keys,
            language,
            tls: if self.tls.is_some() {
                self.wish
            } else {
                TlsWish::No
            },
            certificate: self.tls.as_ref().is_some_and(TlsClient::has_certificate),
        }
    }
}
