//! Records out: the library's writers onto the caller's vector.
//!
//! The library writes into a slice and says how large it should have been. What it writes directly
//! it still makes in a vector of its own first: one allocation for each record.

use rustls::unbuffered::EncodeError;
use rustls::unbuffered::EncodeTlsData;
use rustls::unbuffered::EncryptError;

use super::error::TlsError;
use super::record::RECORD_HEADER_BYTES;
use super::record::RECORD_PLAIN_BYTES_MAX;
use super::side::Writer;

/// Most that encryption adds to a record: header, explicit nonce (TLS 1.2 with AES-GCM), tag.
const RECORD_OVERHEAD_BYTES_MAX: usize = RECORD_HEADER_BYTES + 8 + 16;

/// An alert is two bytes, and in TLS 1.3 its content type.
const ALERT_BYTES_MAX: usize = RECORD_OVERHEAD_BYTES_MAX + 3;

/// Appends `plain` as records.
pub(super) fn encrypt(
    writer: &mut Writer<'_>,
    plain: &[u8],
    send: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let records = plain.len().div_ceil(RECORD_PLAIN_BYTES_MAX);
    let room = plain.len() + records * RECORD_OVERHEAD_BYTES_MAX;
    append(send, room, |out| Ok(writer.encrypt(plain, out)?))
}

/// Appends the notice that nothing more will come.
pub(super) fn close_notify(writer: &mut Writer<'_>, send: &mut Vec<u8>) -> Result<(), TlsError> {
    append(send, ALERT_BYTES_MAX, |out| {
        Ok(writer.queue_close_notify(out)?)
    })
}

/// Appends a record of the handshake, or an alert.
pub(super) fn encode<D>(
    encoder: &mut EncodeTlsData<'_, D>,
    send: &mut Vec<u8>,
) -> Result<(), TlsError> {
    append(send, 0, |out| Ok(encoder.encode(out)?))
}

/// Why nothing was written.
enum Refusal {
    /// That many bytes are needed.
    Room(usize),
    /// The keys have been used as often as they may be.
    Exhausted,
    /// It was written before.
    Twice,
}

impl From<EncryptError> for Refusal {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::Room(size.required_size),
            EncryptError::EncryptExhausted => Self::Exhausted,
        }
    }
}

impl From<EncodeError> for Refusal {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::Room(size.required_size),
            EncodeError::AlreadyEncoded => Self::Twice,
        }
    }
}

/// Lets `write` fill the end of `send`, with `room` bytes or as many as it then asks for.
fn append(
    send: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Refusal>,
) -> Result<(), TlsError> {
    let start = send.len();
    let mut room = room;
    let error = loop {
        send.resize(start + room, 0);
        match write(send.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                send.truncate(start + written);
                return Ok(());
            }
            Err(Refusal::Room(needed)) if needed > room => room = needed,
            Err(Refusal::Exhausted) => break TlsError::KeysExhausted,
            Err(Refusal::Room(_) | Refusal::Twice) => {
                break TlsError::Local(rustls::Error::General("record not written".to_owned()));
            }
        }
    };
    send.truncate(start);
    Err(error)
}
