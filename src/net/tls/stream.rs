//! TLS of one connection, on buffers that belong to the caller.
//!
//! A core has one receive buffer for all its connections. `receive` decrypts in it and keeps a copy
//! only of what is incomplete: a record's beginning, or a handshake message spread over records.
//! An idle stream holds its keys and nothing else.
//!
//! The library below wants the bytes it has not released shown again, unchanged and from the same
//! first byte: it remembers positions in them, and panics where they are missing. That is why only
//! whole records are ever shown to it, and why everything it has not released stays in `pending`.

use std::fmt;
use std::mem;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::ProtocolVersion;
use rustls::pki_types::UnixTime;

use super::ciphers;
use super::client::PeerCheck;
use super::client::TlsClient;
use super::config::TlsServer;
use super::config::take_server_name;
use super::error::TlsError;
use super::record::Front;
use super::record::RECORD_HEADER_BYTES;
use super::record::RECORD_PAYLOAD_BYTES_MAX;
use super::record::whole_records;
use super::seal;
use super::side::Side;
use super::side::Writer;
use super::verify::ClientCheck;
use super::verify::PeerCertificate;
use super::verify::Trust;

/// Bytes of incomplete input kept for a stream. Holds the largest record (18,437 bytes) and, in a
/// handshake, messages spread over many small records: a client's certificate chain is the largest
/// and seldom has 10 KB.
pub const PENDING_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(PENDING_BYTES_MAX > RECORD_HEADER_BYTES + RECORD_PAYLOAD_BYTES_MAX);

/// Where a stream stands after input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The handshake is not finished. Plaintext that came all the same is early data: a stranger
    /// may have recorded and sent it again, so only the stream header may be acted on.
    pub handshaking: bool,
    /// The peer has said that it sends nothing more; or we have, and no longer listen.
    pub peer_closed: bool,
}

/// One TLS connection, of either role.
///
/// After an error only `close_notify`, which then does nothing, and the questions make sense.
/// Lives on: the connection's shard; moves with it.
#[derive(Debug)]
pub struct TlsStream {
    inner: Box<Inner>,
}

struct Inner {
    side: Side,
    /// What is incomplete. The first `shown` bytes are records that the library has seen and not
    /// released; the rest is the beginning of one record that it has not seen.
    pending: Vec<u8>,
    shown: usize,
    server_name: Option<Box<str>>,
    /// What is still to be asked about the peer's certificate when the handshake ends.
    check: Option<Check>,
    trust: Trust,
    phase: Phase,
}

/// Who judges the peer's certificate.
enum Check {
    /// That of a client.
    Client(Arc<ClientCheck>),
    /// That of a server.
    Server(Arc<PeerCheck>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Established,
    /// The peer sends nothing more; we may.
    PeerClosed,
    /// We send nothing more, and do not listen.
    Closed,
}

impl TlsStream {
    /// A stream on which nothing has been received.
    ///
    /// # Errors
    /// Only what the library finds wrong in its own configuration.
    pub fn new(server: &TlsServer) -> Result<Self, TlsError> {
        let side = Side::server(server.config.clone())?;
        Ok(Self::on(side, server.check.clone().map(Check::Client)))
    }

    /// A stream to a server that has been connected to, which is asked for `domain`. `send` gets
    /// what begins the handshake; `direct` names the protocol (XEP-0368).
    ///
    /// # Errors
    /// Only what the library finds wrong in its own configuration.
    pub fn connect(
        client: &TlsClient,
        domain: &str,
        direct: bool,
        send: &mut Vec<u8>,
    ) -> Result<Self, TlsError> {
        let side = client.side(domain, direct)?;
        let mut stream = Self::on(side, client.check.clone().map(Check::Server));
        stream.inner.process(&mut [], &mut Vec::new(), send)?;
        Ok(stream)
    }

    fn on(side: Side, check: Option<Check>) -> Self {
        Self {
            inner: Box::new(Inner {
                side,
                pending: Vec::new(),
                shown: 0,
                server_name: None,
                check,
                trust: Trust::Unchecked,
                phase: Phase::Handshaking,
            }),
        }
    }

    /// Takes ciphertext as it arrived, in pieces of any size.
    ///
    /// `cipher` is scratch: it is decrypted in place. Plaintext is appended to `plain`, never more
    /// than `cipher` and what was pending, and records for the peer to `send`.
    ///
    /// # Errors
    /// The stream is over. `send` has the alert that tells the peer, where the protocol has one;
    /// `plain` has what was good before.
    pub fn receive(
        &mut self,
        cipher: &mut [u8],
        plain: &mut Vec<u8>,
        send: &mut Vec<u8>,
    ) -> Result<Progress, TlsError> {
        let inner = &mut *self.inner;
        if inner.phase != Phase::Closed {
            let start = plain.len();
            if let Err(error) = inner.receive(cipher, plain, send) {
                inner.end();
                return Err(error);
            }
            if let Err(error) = inner.settle(send) {
                // What came behind the handshake came from nobody.
                plain.truncate(start);
                inner.end();
                return Err(error);
            }
        }
        Ok(self.progress())
    }

    /// Where the stream stands.
    pub fn progress(&self) -> Progress {
        Progress {
            handshaking: self.inner.phase == Phase::Handshaking,
            peer_closed: matches!(self.inner.phase, Phase::PeerClosed | Phase::Closed),
        }
    }

    /// Appends `plain` to `send` as records. Allocates nothing of its own where `send` has room.
    ///
    /// # Errors
    /// `Handshaking` before the handshake has come far enough, `Closed` after `close_notify` or a
    /// failure: `send` is then as it was. `KeysExhausted` ends the stream, with the notice of that
    /// in `send`: after 16 million records TLS 1.2 has no new keys to go on with.
    pub fn encrypt(&mut self, plain: &[u8], send: &mut Vec<u8>) -> Result<(), TlsError> {
        let inner = &mut *self.inner;
        if inner.phase == Phase::Closed {
            return Err(TlsError::Closed);
        }
        if plain.is_empty() {
            return Ok(());
        }
        let sealed = inner.write(send, |writer, send| seal::encrypt(writer, plain, send));
        if matches!(sealed, Err(TlsError::KeysExhausted)) {
            inner.side.flush(send);
            inner.end();
        }
        sealed
    }

    /// Appends the notice that we send nothing more. Input that still comes is thrown away.
    ///
    /// Does nothing where there is no session to close.
    pub fn close_notify(&mut self, send: &mut Vec<u8>) {
        if self.inner.phase != Phase::Closed {
            self.inner.close_notify(send);
        }
    }

    /// Bytes of a record, or of a handshake, that have not come in whole.
    pub fn pending_bytes(&self) -> usize {
        self.inner.pending.len()
    }

    /// Gives back spare memory. What is incomplete stays.
    pub fn hibernate(&mut self) {
        self.inner.pending.shrink_to_fit();
    }

    /// The peer's certificate, once the handshake is over and if it presented one.
    pub fn peer_certificate(&self) -> Option<PeerCertificate<'_>> {
        if self.inner.phase == Phase::Handshaking {
            return None;
        }
        let chain = self.inner.side.common().peer_certificates()?;
        Some(PeerCertificate {
            der: chain.first()?,
            trust: &self.inner.trust,
        })
    }

    /// The name the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.inner.server_name.as_deref()
    }

    /// The application protocol agreed on (ALPN).
    pub fn application_protocol(&self) -> Option<&[u8]> {
        self.inner.side.common().alpn_protocol()
    }

    /// The version agreed on, as it is written in the configuration file.
    pub fn protocol_version(&self) -> Option<&'static str> {
        match self.inner.side.common().protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("tlsv1.2"),
            ProtocolVersion::TLSv1_3 => Some("tlsv1.3"),
            // Nothing else is ever negotiated.
            _ => None,
        }
    }

    /// OpenSSL's name of the suite agreed on.
    pub fn cipher(&self) -> Option<&'static str> {
        let suite = self.inner.side.common().negotiated_cipher_suite()?;
        Some(ciphers::openssl_name(suite.suite()))
    }

    /// Whether the handshake took up an earlier session.
    pub fn resumed(&self) -> bool {
        self.inner.side.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("phase", &self.phase)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn receive(
        &mut self,
        mut cipher: &mut [u8],
        plain: &mut Vec<u8>,
        send: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        while !self.pending.is_empty() && !cipher.is_empty() {
            if let Front::Incomplete { missing } = Front::of(self.unseen()) {
                let (taken, rest) = cipher.split_at_mut(missing.min(cipher.len()));
                cipher = rest;
                self.keep(taken)?;
            }
            match Front::of(self.unseen()) {
                Front::Incomplete { .. } => {}
                Front::Whole { .. } | Front::NotARecord => self.process_pending(plain, send)?,
            }
        }
        if cipher.is_empty() || self.phase == Phase::PeerClosed {
            return Ok(());
        }
        let (records, rest) = cipher.split_at_mut(whole_records(cipher));
        let released = self.process(records, plain, send)?;
        if self.phase == Phase::PeerClosed {
            return Ok(());
        }
        let unreleased = records.get(released..).unwrap_or_default();
        self.keep(unreleased)?;
        self.shown = unreleased.len();
        self.keep(rest)
    }

    /// The beginning of a record that the library has not seen.
    fn unseen(&self) -> &[u8] {
        self.pending.get(self.shown..).unwrap_or_default()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        if self.pending.len() + bytes.len() > PENDING_BYTES_MAX {
            return Err(TlsError::PendingTooLarge);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Nothing more is said or listened to.
    fn end(&mut self) {
        self.phase = Phase::Closed;
        self.pending = Vec::new();
        self.shown = 0;
    }

    /// Shows all of `pending` to the library: it ends with a whole record.
    fn process_pending(&mut self, plain: &mut Vec<u8>, send: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut pending = mem::take(&mut self.pending);
        self.shown = 0;
        let released = self.process(&mut pending, plain, send)?;
        if released < pending.len() && self.phase != Phase::PeerClosed {
            pending.drain(..released);
            self.shown = pending.len();
            self.pending = pending;
        }
        Ok(())
    }

    /// Lets the library work on `records` until it wants more; returns how many bytes from the
    /// front it is done with.
    fn process(
        &mut self,
        records: &mut [u8],
        plain: &mut Vec<u8>,
        send: &mut Vec<u8>,
    ) -> Result<usize, TlsError> {
        let result = self.side.step(records, plain, send);
        if self.phase == Phase::Handshaking
            && let Some(name) = take_server_name()
        {
            self.server_name = Some(name);
        }
        match result {
            Ok(stepped) => {
                if stepped.peer_closed {
                    self.phase = Phase::PeerClosed;
                }
                Ok(stepped.released)
            }
            Err(error) => {
                self.side.flush(send);
                Err(error)
            }
        }
    }

    /// Takes the end of the handshake into account, once.
    fn settle(&mut self, send: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.side.common().is_handshaking() {
            return Ok(());
        }
        if self.phase == Phase::Handshaking {
            self.phase = Phase::Established;
        }
        let Some(check) = self.check.take() else {
            return Ok(());
        };
        let common = self.side.common();
        let chain = common.peer_certificates().unwrap_or_default();
        // A session that is taken up brings its certificate along without a new look at it.
        let resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        let (trust, disconnect) = match &check {
            Check::Client(check) => match check.chain {
                Some(_) if check.disconnect && !resumed => (Trust::Verified, true),
                Some(_) | None => (check.judge(chain, UnixTime::now()), check.disconnect),
            },
            Check::Server(check) => (check.judge(chain, UnixTime::now()), false),
        };
        self.trust = trust;
        match &self.trust {
            Trust::Failed(why) if disconnect => {
                let error = rustls::Error::General(why.to_string());
                self.close_notify(send);
                Err(TlsError::ClientCertificate(error))
            }
            Trust::Failed(_) | Trust::Verified | Trust::Unchecked => Ok(()),
        }
    }

    fn close_notify(&mut self, send: &mut Vec<u8>) {
        // Before the handshake is done there is no key to say it with, and nothing to say.
        let _ = self.write(send, seal::close_notify);
        self.end();
    }

    /// Runs `action` on the library's writing side, if there is one yet.
    fn write(
        &mut self,
        send: &mut Vec<u8>,
        action: impl FnOnce(&mut Writer<'_>, &mut Vec<u8>) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        let shown = self.pending.get_mut(..self.shown).unwrap_or_default();
        self.side.write(shown, send, action)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod hostile;
