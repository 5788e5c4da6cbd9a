//! The encoding of SASL data inside `auth`, `challenge`, `response` and `success`.
//!
//! RFC 4648 section 4, strictly: padding, no bits left over, no white space. What two parsers read
//! differently is a way around a check.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::exchange::MESSAGE_BYTES_MAX;
use super::failure::Failure;

/// The data of an element with this text. `None` where there is no text, which for `auth` means no
/// initial response; a single `=` is data of no length (RFC 6120 section 6.4.2).
pub fn decode(text: &str) -> Result<Option<Vec<u8>>, Failure> {
    match text {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        _ if text.len() > MESSAGE_BYTES_MAX.div_ceil(3) * 4 => Err(Failure::MalformedRequest),
        _ => STANDARD
            .decode(text)
            .map(Some)
            .map_err(|_| Failure::IncorrectEncoding),
    }
}

/// Data as text; of no length it is empty text, as a challenge has it.
pub fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}
