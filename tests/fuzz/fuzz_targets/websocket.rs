//! RFC 6455 frames of a client: whatever comes, in whatever pieces, the messages are the same, none
//! is larger than allowed, and a frame that is too large is refused by its head.
//!
//! The first byte says how large a message may be, the second how the rest is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meerkat::proto::websocket::CloseCode;
use meerkat::proto::websocket::HEAD_BYTES_MAX;
use meerkat::proto::websocket::Reader;
use meerkat::proto::websocket::Step;
use meerkat::proto::websocket::What;

/// What the frames say: messages and pings in order, and how it ended.
fn play(max: usize, cut: usize, bytes: &[u8]) -> (Vec<Vec<u8>>, Option<CloseCode>) {
    let (mut reader, mut message, mut said) = (Reader::default(), Vec::new(), Vec::new());
    let (mut from, mut to) = (0, 0);
    while to < bytes.len() {
        to = bytes.len().min(to + cut);
        loop {
            let input = &bytes[from..to];
            let step = match reader.next(input, max, &mut message) {
                Ok(step) => step,
                Err(code) => return (said, Some(code)),
            };
            assert!(message.len() <= max, "a message is larger than allowed");
            let Step::Frame(end, what) = step else {
                let wait = max.max(125) - message.len().min(max) + HEAD_BYTES_MAX;
                assert!(
                    input.len() < wait.max(125 + HEAD_BYTES_MAX),
                    "waits for too much"
                );
                break;
            };
            assert!(end > 0 && end <= input.len());
            from += end;
            match what {
                What::Fragment => assert!(reader.is_midway()),
                What::Message => said.push(std::mem::take(&mut message)),
                What::Ping(bytes, length) => said.push(bytes[..usize::from(length)].to_vec()),
                What::Pong => {}
                What::Close(_) => return (said, None),
            }
        }
    }
    (said, None)
}

fuzz_target!(|data: &[u8]| {
    let [max, cut, bytes @ ..] = data else {
        return;
    };
    let max = usize::from(*max) * 16;
    let whole = play(max, usize::MAX - bytes.len(), bytes);
    let pieces = play(max, usize::from(*cut) + 1, bytes);
    assert_eq!(whole, pieces, "pieces change nothing");
});
