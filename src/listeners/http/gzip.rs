//! `protocol.compress`: answers in gzip (RFC 1952) for who asks for it (RFC 9110 section 12.5.3).
//!
//! Only what is marked by [`compressible`] is: BOSH, metrics, documents that are the same for everybody.
//! What a dashboard says to who has logged in holds a token, and its events are a stream; neither is
//! marked. docs/decisions/0110 says what an operator takes on by the option.

use flate2::Compress;
use flate2::Compression;
use flate2::Crc;
use flate2::FlushCompress;
use flate2::Status;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::ACCEPT_ENCODING;
use hyper::header::CONTENT_ENCODING;
use hyper::header::HeaderMap;
use hyper::header::VARY;

use super::answer;
use super::conversation::Content;

/// Bodies below this stay as they are: they fit into the packet that is sent anyway. Bytes.
pub const BODY_BYTES_MIN: usize = 512;
/// Bodies above this do, too: the shard compresses by itself, and everybody else on it waits. This takes
/// about a millisecond. Bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// The method is deflate, neither name nor time; the fastest level; a system that is not said.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// CRC-32 and length behind it.
const TRAILER_BYTES: usize = 8;

/// An answer may be compressed, if the operator wants that at all.
#[derive(Clone, Copy)]
struct Compressible;

/// Marks an answer.
pub fn compressible(mut answer: Response<Content>) -> Response<Content> {
    answer.extensions_mut().insert(Compressible);
    answer
}

/// What becomes of the answer to a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Packing {
    /// The listener does not compress.
    #[default]
    Off,
    /// Nothing, for this client.
    Plain,
    /// Gzip.
    Gzip,
}

impl Packing {
    /// By the headers of a request to a listener that compresses.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let mut best = None;
        for coding in lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
        {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let named = match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => true,
                "*" => false,
                _ => continue,
            };
            // What names it goes before what stands for anything.
            if named || best.is_none() {
                best = Some(!is_zero(parameters));
            }
            if named {
                break;
            }
        }
        if best == Some(true) {
            Self::Gzip
        } else {
            Self::Plain
        }
    }
}

/// A weight of nothing means "not this".
fn is_zero(parameters: &str) -> bool {
    let mut parameters = parameters.split(';').map(str::trim);
    let weight = parameters.find_map(|parameter| parameter.strip_prefix("q="));
    weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
}

/// Compresses. Lives on: one shard; its memory (a third of a megabyte) is there from the first answer
/// that needs it, and no connection's.
#[derive(Default)]
pub struct Gzip {
    deflate: Option<Box<Compress>>,
}

impl Gzip {
    /// The answer as it is to be written.
    pub fn pack(&mut self, answer: Response<Content>, packing: Packing) -> Response<Content> {
        if packing == Packing::Off || answer.extensions().get::<Compressible>().is_none() {
            return answer;
        }
        let mut answer = answer::with(answer, VARY, "Accept-Encoding");
        if packing == Packing::Plain {
            return answer;
        }
        let Content::Whole(body) = answer.body() else {
            return answer;
        };
        if let Some(packed) = self.compress(body) {
            *answer.body_mut() = Content::Whole(Bytes::from(packed));
            answer = answer::with(answer, CONTENT_ENCODING, "gzip");
        }
        answer
    }

    /// None: it is not worth it.
    fn compress(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&body.len()) {
            return None;
        }
        let deflate = self
            .deflate
            .get_or_insert_with(|| Box::new(Compress::new(Compression::fast(), false)));
        deflate.reset();
        // What would be longer than the body finds no room.
        let mut packed = Vec::with_capacity(body.len());
        packed.extend_from_slice(&HEADER);
        let status = deflate.compress_vec(body, &mut packed, FlushCompress::Finish);
        if !matches!(status, Ok(Status::StreamEnd)) || packed.len() + TRAILER_BYTES >= body.len() {
            return None;
        }
        let mut crc = Crc::new();
        crc.update(body);
        packed.extend_from_slice(&crc.sum().to_le_bytes());
        packed.extend_from_slice(&crc.amount().to_le_bytes());
        Some(packed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use hyper::StatusCode;
    use hyper::header::HeaderValue;

    use super::*;

    fn packing(lines: &[&'static str]) -> Packing {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        Packing::of(&headers)
    }

    #[test]
    fn who_takes_gzip() {
        let table: [(&[&'static str], bool); 13] = [
            (&[], false),
            (&[""], false),
            (&["identity"], false),
            (&["br, deflate"], false),
            (&["gzip"], true),
            (&["br;q=1.0, GZIP ; q=0.5"], true),
            (&["deflate", "x-gzip"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["*;q=0, gzip"], true),
            (&["gzipped"], false),
        ];
        for (lines, expected) in table {
            assert_eq!(packing(lines) == Packing::Gzip, expected, "{lines:?}");
        }
    }

    fn answered(body: Vec<u8>, marked: bool, packing: Packing) -> Response<Content> {
        let answer = answer::content(StatusCode::OK, "text/plain", body);
        let answer = if marked { compressible(answer) } else { answer };
        Gzip::default().pack(answer, packing)
    }

    fn body(answer: &Response<Content>) -> &[u8] {
        match answer.body() {
            Content::Whole(bytes) => bytes,
            Content::Events(_) => &[],
        }
    }

    /// Bytes that do not get shorter.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let mut gzip = Gzip::default();
        for length in [BODY_BYTES_MIN, 5_000, BODY_BYTES_MAX] {
            let text: Vec<u8> = (0..length).map(|at| b"<message/> "[at % 11]).collect();
            let packed = gzip.compress(&text).expect("it is worth it");
            assert!(packed.len() < length / 4, "{length}: {}", packed.len());
            let mut back = Vec::new();
            let mut decoder = GzDecoder::new(&*packed);
            decoder.read_to_end(&mut back).expect("gzip");
            assert_eq!(back, text);
        }
    }

    #[test]
    fn what_is_not_packed() {
        let text = || b"a".repeat(BODY_BYTES_MIN);
        let packed = answered(text(), true, Packing::Gzip);
        assert_eq!(
            packed.headers().get(CONTENT_ENCODING).expect("gzip"),
            "gzip"
        );
        assert_eq!(
            packed.headers().get(VARY).expect("it varies"),
            "Accept-Encoding"
        );
        let cases = [
            (text(), true, Packing::Plain, "asked for by nobody"),
            (text(), true, Packing::Off, "off"),
            (text(), false, Packing::Gzip, "not marked"),
            (
                b"a".repeat(BODY_BYTES_MIN - 1),
                true,
                Packing::Gzip,
                "small",
            ),
            (
                b"a".repeat(BODY_BYTES_MAX + 1),
                true,
                Packing::Gzip,
                "large",
            ),
            (noise(5_000), true, Packing::Gzip, "longer than before"),
        ];
        for (before, marked, packing, why) in cases {
            let answer = answered(before.clone(), marked, packing);
            assert_eq!(body(&answer), before, "{why}");
            assert!(answer.headers().get(CONTENT_ENCODING).is_none(), "{why}");
            let varies = marked && packing != Packing::Off;
            assert_eq!(answer.headers().get(VARY).is_some(), varies, "{why}");
        }
    }
}
