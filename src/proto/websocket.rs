//! RFC 6455: WebSocket frames, as far as XMPP over WebSocket (RFC 7395) needs them.
//!
//! [`Reader::next`] takes one frame at a time from what has arrived. The length of a message is
//! judged by the heads of its frames, before anything of it is put together. Frames of ours are
//! whole messages; nothing is compressed.

use aws_lc_rs::digest;

use crate::proto::sasl::base64;

/// Subprotocol of XMPP over WebSocket (RFC 7395 section 3.1).
pub const SUBPROTOCOL: &str = "xmpp";
/// Bytes of a frame's head: two, eight of length, four of mask.
pub const HEAD_BYTES_MAX: usize = 14;
/// Bytes of payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Section 1.3: what the accept key is made with.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a client's key, decoded.
const KEY_BYTES: usize = 16;

/// Why a WebSocket is closed, as its Close frame says (section 7.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseCode {
    /// The stream has ended.
    Normal = 1000,
    /// The peer broke the protocol.
    Protocol = 1002,
    /// A binary message.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    NotUtf8 = 1007,
    /// A message is larger than allowed.
    TooBig = 1009,
}

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// A later frame of a message.
    Continuation = 0,
    /// The first frame of a message of text.
    Text = 1,
    /// The first frame of a message of bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// To be answered.
    Ping = 9,
    /// An answer.
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What is at the front of the input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// No whole frame.
    More,
    /// A frame of so many bytes, and what it is.
    Frame(usize, What),
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// Part of a message that goes on.
    Fragment,
    /// The end of a message, which is now whole.
    Message,
    /// To be answered with [`write()`] and these bytes.
    Ping([u8; CONTROL_BYTES_MAX], u8),
    /// An answer to a ping.
    Pong,
    /// The peer closes, with this code.
    Close(u16),
}

/// Reads the frames of one client. Lives on: the shard of its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    /// A message has begun and not ended.
    midway: bool,
}

struct FrameHead {
    last: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Of the head itself.
    bytes: usize,
    /// Of the payload.
    length: u64,
}

/// The head of a client's frame; None where it is not whole.
fn head(input: &[u8]) -> Result<Option<FrameHead>, CloseCode> {
    let &[first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    let opcode = Opcode::of(first & 0x0f).ok_or(CloseCode::Protocol)?;
    let last = first & 0x80 != 0;
    // Section 5.1: what a client sends is masked; no extension was agreed on.
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Err(CloseCode::Protocol);
    }
    let short = u64::from(second & 0x7f);
    if opcode.is_control() && (!last || short > CONTROL_BYTES_MAX as u64) {
        return Err(CloseCode::Protocol);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((long, rest)) = rest.split_at_checked(length_bytes) else {
        return Ok(None);
    };
    let long = long
        .iter()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    // Section 5.2: the shortest form must be used, and the highest bit is 0.
    let length = match short {
        126 if long < 126 => return Err(CloseCode::Protocol),
        127 if long <= 0xffff || long >> 63 != 0 => return Err(CloseCode::Protocol),
        126 | 127 => long,
        _ => short,
    };
    let Some(mask) = rest.first_chunk::<4>() else {
        return Ok(None);
    };
    Ok(Some(FrameHead {
        last,
        opcode,
        mask: *mask,
        bytes: 2 + length_bytes + 4,
        length,
    }))
}

impl Reader {
    /// A message has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.midway
    }

    /// Takes the frame at the front of `input`. Payload of a message is appended to `message`, which
    /// is to be empty when a message begins and may have `max` bytes.
    ///
    /// # Errors
    /// The code to close with. A frame that would make the message too large is refused by its
    /// head, whether its payload has come in or not.
    pub fn next(
        &mut self,
        input: &[u8],
        max: usize,
        message: &mut Vec<u8>,
    ) -> Result<Step, CloseCode> {
        let Some(head) = head(input)? else {
            return Ok(Step::More);
        };
        if !head.opcode.is_control() {
            if head.opcode == Opcode::Binary {
                return Err(CloseCode::Unsupported);
            }
            if (head.opcode == Opcode::Continuation) != self.midway {
                return Err(CloseCode::Protocol);
            }
            if head.length > max.saturating_sub(message.len()) as u64 {
                return Err(CloseCode::TooBig);
            }
        }
        let end = head.bytes.saturating_add(head.length as usize);
        let Some(payload) = input.get(head.bytes..end) else {
            return Ok(Step::More);
        };
        let what = match head.opcode {
            Opcode::Close => What::Close(closing(head.mask, payload)?),
            Opcode::Pong => What::Pong,
            Opcode::Ping => {
                let mut bytes = [0; CONTROL_BYTES_MAX];
                for (at, (to, from)) in bytes.iter_mut().zip(payload).enumerate() {
                    *to = from ^ head.mask[at % 4];
                }
                What::Ping(bytes, payload.len() as u8)
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                unmask(head.mask, payload, message);
                self.midway = !head.last;
                if head.last {
                    What::Message
                } else {
                    What::Fragment
                }
            }
        };
        Ok(Step::Frame(end, what))
    }
}

/// The code of a Close frame; [`CloseCode::Normal`] where it has none (section 5.5.1).
fn closing(mask: [u8; 4], payload: &[u8]) -> Result<u16, CloseCode> {
    let mut bytes = Vec::new();
    unmask(mask, payload, &mut bytes);
    let (code, reason) = match *bytes.as_slice() {
        [] => return Ok(CloseCode::Normal as u16),
        [high, low, ref reason @ ..] => (u16::from_be_bytes([high, low]), reason),
        [_] => return Err(CloseCode::Protocol),
    };
    // Section 7.4.2 and the registry: what may stand in a frame.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCode::Protocol);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(code),
        Err(_) => Err(CloseCode::NotUtf8),
    }
}

/// Appends a payload without its mask.
fn unmask(mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    out.reserve(payload.len());
    let mut chunks = payload.chunks_exact(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        out.extend_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
    }
    let rest = chunks.remainder().iter().zip(mask.iter().cycle());
    out.extend(rest.map(|(byte, mask)| byte ^ mask));
}

/// Writes the head of a frame of ours, which is a whole message.
pub fn write_head(opcode: Opcode, length: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The head of a frame of ours at the front of `written`: its bytes, and those of the payload where
/// that is text.
pub fn own_head(written: &[u8]) -> Option<(usize, usize)> {
    let &[first, second, ref rest @ ..] = written else {
        return None;
    };
    let opcode = Opcode::of(first & 0x0f).filter(|_| first & 0x80 != 0)?;
    let long = |bytes: usize| {
        let length = rest.get(..bytes)?.iter();
        Some(length.fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    };
    let (length_bytes, length) = match second {
        126 => (2, long(2)?),
        127 => (8, long(8)?),
        short => (0, usize::from(short)),
    };
    let head = 2 + length_bytes;
    match opcode {
        Opcode::Text => Some((head, length)),
        Opcode::Continuation | Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => {
            Some((head + length, 0))
        }
    }
}

/// Writes a frame of ours.
pub fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    write_head(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Writes a Close frame.
pub fn write_close(code: u16, out: &mut Vec<u8>) {
    write(Opcode::Close, &code.to_be_bytes(), out);
}

/// What answers a client's `Sec-WebSocket-Key` (section 4.2.2); None where it is none.
pub fn accept_key(key: &str) -> Option<String> {
    let bytes = base64::decode(key).ok()??;
    if bytes.len() != KEY_BYTES {
        return None;
    }
    let text = format!("{key}{KEY_SUFFIX}");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    Some(base64::encode(hash.as_ref()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::Frame;
    use tungstenite::protocol::frame::coding;

    use super::*;

    /// A frame as a client would send it.
    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(Opcode::Text, payload, &mut bytes);
        bytes[0] = first;
        bytes[1] |= 0x80;
        let head = bytes.len() - payload.len();
        bytes.splice(head..head, mask);
        for (at, byte) in bytes[head + 4..].iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        bytes
    }

    #[test]
    fn the_key_of_the_rfc() {
        let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for bad in ["", "dGhl", "dGhlIHNhbXBsZSBub25jZQ", "?"] {
            assert_eq!(accept_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_refused() {
        let mask = [1, 2, 3, 4];
        let table: &[(Vec<u8>, CloseCode)] = &[
            (vec![0x81, 0x01, b'x'], CloseCode::Protocol),
            (frame(0xc1, b"x", mask), CloseCode::Protocol),
            (frame(0x83, b"x", mask), CloseCode::Protocol),
            (frame(0x80, b"x", mask), CloseCode::Protocol),
            (frame(0x82, b"x", mask), CloseCode::Unsupported),
            (frame(0x09, b"x", mask), CloseCode::Protocol),
            (frame(0x89, &[0; 126], mask), CloseCode::Protocol),
            (vec![0x81, 0xfe, 0, 125, 1, 2, 3, 4], CloseCode::Protocol),
            (
                vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255],
                CloseCode::Protocol,
            ),
            (
                vec![0x81, 0xff, 128, 0, 0, 0, 0, 0, 0, 0],
                CloseCode::Protocol,
            ),
            (frame(0x81, &[b'x'; 11], mask), CloseCode::TooBig),
            (frame(0x88, &[3], mask), CloseCode::Protocol),
            (
                frame(0x88, &999_u16.to_be_bytes(), mask),
                CloseCode::Protocol,
            ),
            (
                frame(0x88, &1005_u16.to_be_bytes(), mask),
                CloseCode::Protocol,
            ),
            (
                frame(0x88, &1015_u16.to_be_bytes(), mask),
                CloseCode::Protocol,
            ),
            (
                frame(0x88, &2999_u16.to_be_bytes(), mask),
                CloseCode::Protocol,
            ),
            (
                frame(0x88, &5000_u16.to_be_bytes(), mask),
                CloseCode::Protocol,
            ),
            (frame(0x88, b"\x03\xe8\xff", mask), CloseCode::NotUtf8),
            // By its head alone.
            (
                vec![0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4],
                CloseCode::TooBig,
            ),
        ];
        for (bytes, code) in table {
            let result = Reader::default().next(bytes, 10, &mut Vec::new());
            assert_eq!(result, Err(*code), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_close_frame_says() {
        for (payload, code) in [
            (&b""[..], 1000),
            (b"\x03\xe9bye", 1001),
            (b"\x0b\xb8", 3000),
        ] {
            let bytes = frame(0x88, payload, [5, 6, 7, 8]);
            let step = Reader::default().next(&bytes, 0, &mut Vec::new());
            assert_eq!(step, Ok(Step::Frame(bytes.len(), What::Close(code))));
        }
    }

    #[test]
    fn fragments_share_one_limit_and_pings_may_stand_between() {
        let mask = [9, 8, 7, 6];
        let mut reader = Reader::default();
        let mut message = Vec::new();
        let mut feed = |bytes: &[u8]| reader.next(bytes, 6, &mut message);
        let first = frame(0x01, b"abc", mask);
        assert_eq!(feed(&first), Ok(Step::Frame(first.len(), What::Fragment)));
        let ping = frame(0x89, b"hello", mask);
        let Ok(Step::Frame(_, What::Ping(bytes, length))) = feed(&ping) else {
            panic!("a ping");
        };
        assert_eq!(&bytes[..usize::from(length)], b"hello");
        assert_eq!(feed(&frame(0x81, b"x", mask)), Err(CloseCode::Protocol));
        assert_eq!(feed(&frame(0x80, b"defg", mask)), Err(CloseCode::TooBig));
        let last = frame(0x80, b"def", mask);
        assert_eq!(feed(&last), Ok(Step::Frame(last.len(), What::Message)));
        assert_eq!(message, b"abcdef");
        assert!(!reader.is_midway());
    }

    proptest! {
        /// What tungstenite writes we read, at every split; what we write it reads.
        #[test]
        fn tungstenite_agrees(
            payload in proptest::collection::vec(any::<u8>(), 0..70_000),
            mask in any::<[u8; 4]>(),
            split in any::<prop::sample::Index>(),
            text in any::<bool>(),
        ) {
            let length = if text { payload.len() } else { payload.len().min(CONTROL_BYTES_MAX) };
            let payload = &payload[..length];
            let mut theirs = if text {
                Frame::message(payload.to_vec(), coding::OpCode::Data(coding::Data::Text), true)
            } else {
                Frame::ping(payload.to_vec())
            };
            theirs.header_mut().mask = Some(mask);
            let mut bytes = Vec::new();
            theirs.format(&mut bytes).expect("written");
            let mut message = Vec::new();
            let mut reader = Reader::default();
            let at = split.index(bytes.len());
            let part = reader.next(&bytes[..at], usize::MAX, &mut message);
            prop_assert_eq!(part, Ok(Step::More));
            prop_assert!(message.is_empty());
            let Ok(Step::Frame(used, what)) = reader.next(&bytes, usize::MAX, &mut message) else {
                return Err(TestCaseError::fail("no frame"));
            };
            prop_assert_eq!(used, bytes.len());
            match what {
                What::Message => prop_assert_eq!(&message, payload),
                What::Ping(bytes, length) => {
                    prop_assert_eq!(&bytes[..usize::from(length)], payload);
                }
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            }

            let mut ours = Vec::new();
            write(Opcode::Text, payload, &mut ours);
            let mut cursor = std::io::Cursor::new(&ours);
            let parsed = coding_head(&mut cursor);
            prop_assert_eq!(parsed, (true, payload.len() as u64, None));
            prop_assert_eq!(&ours[cursor.position() as usize..], payload);
        }

        /// Nothing that comes makes the reader panic, read backwards or hold more than allowed.
        #[test]
        fn anything_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = Reader::default();
            let mut message = Vec::new();
            let mut at = 0;
            while let Ok(Step::Frame(used, what)) = reader.next(&bytes[at..], 64, &mut message) {
                prop_assert!(used > 0 && at + used <= bytes.len());
                prop_assert!(message.len() <= 64);
                at += used;
                if what == What::Message {
                    message.clear();
                }
            }
        }
    }

    fn coding_head(cursor: &mut std::io::Cursor<&Vec<u8>>) -> (bool, u64, Option<[u8; 4]>) {
        let (head, length) = tungstenite::protocol::frame::FrameHeader::parse(cursor)
            .expect("a head")
            .expect("whole");
        (head.is_final, length, head.mask)
    }
}
