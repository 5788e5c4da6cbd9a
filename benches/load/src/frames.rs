//! RFC 6455, the client's side, as far as RFC 7395 needs it: one message for each stanza.

use crate::fault::Fault;

const TEXT: u8 = 1;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Lengths up to here are in the second byte.
const SHORT: usize = 125;
/// Then come two bytes of length, or eight.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// What one frame may hold, in bytes; more is nonsense.
const FRAME_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What has come of frames and is not whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: Vec<u8>,
}

impl Frames {
    /// The request that becomes a WebSocket.
    pub(crate) fn request(path: &str, host: &str) -> Vec<u8> {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: xmpp\r\n\r\n"
        )
        .into_bytes()
    }

    /// Appends one text message. Its mask is zero: it protects proxies, and there is none.
    pub(crate) fn write(text: &[u8], out: &mut Vec<u8>) {
        write_frame(TEXT, text, out);
    }

    /// Appends the text of the frames that are whole. Returns the answers to pings.
    pub(crate) fn read(&mut self, bytes: &[u8], text: &mut Vec<u8>) -> Result<Vec<u8>, Fault> {
        self.partial.extend_from_slice(bytes);
        let (mut at, mut pongs) = (0, Vec::new());
        while let Some((code, from, to)) = frame_at(&self.partial, at)? {
            let payload = &self.partial[from..to];
            match code {
                TEXT | CONTINUATION => text.extend_from_slice(payload),
                PING => write_frame(PONG, payload, &mut pongs),
                PONG => {}
                CLOSE => return Err(Fault::Closed),
                _ => return Err(Fault::Nonsense),
            }
            at = to;
        }
        self.partial.drain(..at);
        Ok(pongs)
    }
}

fn write_frame(code: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | code);
    match u16::try_from(payload.len()) {
        Ok(length) if usize::from(length) <= SHORT => out.push(MASKED | length as u8),
        Ok(length) => {
            out.push(MASKED | LENGTH_16);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(MASKED | LENGTH_64);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Code of the frame that begins there, and where its payload is; `None` until it is whole.
fn frame_at(bytes: &[u8], at: usize) -> Result<Option<(u8, usize, usize)>, Fault> {
    let [first, second, rest @ ..] = &bytes[at..] else {
        return Ok(None);
    };
    let (length, from) = match second & !MASKED {
        LENGTH_16 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), at + 4),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), at + 10),
            None => return Ok(None),
        },
        length => (u64::from(length), at + 2),
    };
    if second & MASKED != 0 || length > FRAME_BYTES_MAX {
        return Err(Fault::Nonsense);
    }
    let to = from + length as usize;
    Ok((to <= bytes.len()).then_some((first & 0x0f, from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server writes it: without a mask.
    fn from_server(code: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_frame(code, payload, &mut frame);
        frame[1] &= !MASKED;
        let mask = frame.len() - payload.len() - 4;
        frame.drain(mask..mask + 4);
        frame
    }

    #[test]
    fn frames_of_every_length_come_whole_however_they_are_cut() {
        let texts = ["", "<a/>", &"x".repeat(126), &"y".repeat(70_000)];
        let bytes: Vec<u8> = texts
            .iter()
            .flat_map(|t| from_server(TEXT, t.as_bytes()))
            .collect();
        for piece in [1, 7, 1000, bytes.len()] {
            let (mut frames, mut text) = (Frames::default(), Vec::new());
            for part in bytes.chunks(piece) {
                assert_eq!(frames.read(part, &mut text), Ok(Vec::new()));
            }
            assert_eq!(text, texts.concat().as_bytes());
        }
    }

    #[test]
    fn a_ping_is_answered_and_a_close_ends() {
        let (mut frames, mut text) = (Frames::default(), Vec::new());
        let pong = frames
            .read(&from_server(PING, b"?"), &mut text)
            .expect("a pong");
        assert_eq!(pong, [FINAL | PONG, MASKED | 1, 0, 0, 0, 0, b'?']);
        assert_eq!(
            frames.read(&from_server(CLOSE, b""), &mut text),
            Err(Fault::Closed)
        );
        let masked = [FINAL | TEXT, MASKED, 0, 0, 0, 0];
        assert_eq!(
            Frames::default().read(&masked, &mut text),
            Err(Fault::Nonsense)
        );
    }
}
