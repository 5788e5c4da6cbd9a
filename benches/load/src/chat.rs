//! Users who talk in pairs: so many messages under way, or so many a second.
//!
//! Every message carries a number, so that one that is lost and one that comes twice are told apart,
//! and its time is known from the send to the receive.

use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use memchr::memchr_iter;

use crate::histogram;
use crate::now;
use crate::wire::client::INPUT_BYTES;
use crate::wire::client::PATIENCE_MS;
use crate::wire::client::receive;
use crate::wire::client::send;
use crate::wire::epoll::Epoll;

/// In front of a message's number; nothing else of a message holds it.
const MARK: u8 = b'~';
/// Digits of a number.
const DIGITS: usize = 9;

/// How they talk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each has so many messages under way.
    Window(usize),
    /// All together send so many a second, each alone.
    PerSecond(f64),
}

/// What became of the messages.
pub(crate) struct Said {
    /// Microseconds from send to receive.
    pub(crate) latency_us: Histogram<u64>,
    /// Sent and not come.
    pub(crate) lost: usize,
    /// Come once more than they were sent.
    pub(crate) twice: usize,
    /// How long all took.
    pub(crate) took: Duration,
}

struct User {
    socket: OwnedFd,
    before: Vec<u8>,
    tail: Vec<u8>,
    may_send: usize,
}

/// The users, and what has been said so far.
pub(crate) struct Talk {
    epoll: Epoll,
    users: Vec<User>,
    sent: Vec<Instant>,
    came: Vec<bool>,
    twice: usize,
    latency_us: Histogram<u64>,
    input: Vec<u8>,
}

impl Talk {
    /// Of sockets with sessions of `user0`, `user1` and so on; an even number of them.
    pub(crate) fn new(sockets: Vec<OwnedFd>, domain: &str, to_full: bool) -> Self {
        let resource = if to_full { "/desk" } else { "" };
        let user = |(number, socket): (usize, OwnedFd)| User {
            socket,
            before: format!(
                "<message type='chat' to='user{}@{domain}{resource}' id='b4f1a2'><body>The quick \
                 brown fox jumps over the lazy dog{}",
                number ^ 1,
                char::from(MARK)
            )
            .into_bytes(),
            tail: Vec::new(),
            may_send: 0,
        };
        let users: Vec<_> = sockets.into_iter().enumerate().map(user).collect();
        let epoll = Epoll::new();
        for (number, user) in users.iter().enumerate() {
            epoll.add(&user.socket, number);
        }
        Self {
            epoll,
            users,
            sent: Vec::new(),
            came: Vec::new(),
            twice: 0,
            latency_us: histogram(),
            input: vec![0; INPUT_BYTES],
        }
    }

    /// Has them send `count` messages in all.
    pub(crate) fn run(mut self, pace: Pace, count: usize, bar: &ProgressBar) -> Said {
        let each = count.div_ceil(self.users.len());
        let count = each * self.users.len();
        self.sent.reserve(count);
        self.came.reserve(count);
        let began = now();
        if let Pace::Window(window) = pace {
            for number in 0..self.users.len() {
                self.users[number].may_send = each;
                self.say(number, window);
            }
        }
        let (mut arrived, mut ready, mut progress) = (0, Vec::new(), began);
        while arrived < count {
            let patience = match pace {
                Pace::Window(_) => PATIENCE_MS,
                Pace::PerSecond(rate) => {
                    let due = (began.elapsed().as_secs_f64() * rate) as usize;
                    if self.sent.len() < count.min(due) {
                        let number = self.sent.len() % self.users.len();
                        self.users[number].may_send = 1;
                        self.say(number, 1);
                    }
                    i64::from(self.sent.len() >= due)
                }
            };
            self.epoll.wait(Some(patience), &mut ready);
            if !ready.is_empty() {
                progress = now();
            } else if progress.elapsed().as_millis() as i64 >= PATIENCE_MS {
                break;
            }
            for number in ready.drain(..) {
                let came = self.hear(number);
                arrived += came;
                if let Pace::Window(_) = pace {
                    self.say(number, came);
                }
            }
            bar.set_position(arrived as u64);
        }
        Said {
            latency_us: self.latency_us,
            lost: count - self.came.iter().filter(|came| **came).count(),
            twice: self.twice,
            took: began.elapsed(),
        }
    }

    /// Sends so many messages, or what is left of the user's share, in one call.
    fn say(&mut self, number: usize, count: usize) {
        let user = &mut self.users[number];
        let count = count.min(user.may_send);
        user.may_send -= count;
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend_from_slice(&user.before);
            bytes.extend_from_slice(format!("{:0DIGITS$}", self.sent.len()).as_bytes());
            bytes.extend_from_slice(
                b"</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
                  <origin-id xmlns='urn:xmpp:sid:0' id='b4f1a2'/></message>",
            );
            self.sent.push(now());
            self.came.push(false);
        }
        if !bytes.is_empty() {
            send(&user.socket, &bytes);
        }
    }

    /// Reads; how many messages came for the first time.
    fn hear(&mut self, number: usize) -> usize {
        let user = &mut self.users[number];
        user.tail
            .extend_from_slice(receive(&user.socket, &mut self.input));
        let mut came = 0;
        for found in numbers(&mut user.tail) {
            match self.came.get_mut(found) {
                Some(known) if !*known => {
                    *known = true;
                    came += 1;
                    let us = self.sent[found].elapsed().as_micros() as u64;
                    self.latency_us.saturating_record(us);
                }
                _ => self.twice += 1,
            }
        }
        came
    }
}

/// The numbers of messages in what has come. What may be the beginning of another stays.
fn numbers(tail: &mut Vec<u8>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut keep = tail.len();
    for at in memchr_iter(MARK, tail) {
        match tail.get(at + 1..=at + DIGITS) {
            Some(digits) => {
                let text = std::str::from_utf8(digits).unwrap_or_default();
                found.push(text.parse().unwrap_or(usize::MAX));
            }
            None => keep = at,
        }
    }
    tail.drain(..keep);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_whole_however_the_bytes_are_cut() {
        let bytes = b"<m>~000000012</m><m>~000000345</m>";
        for cut in 0..bytes.len() {
            let mut tail = bytes[..cut].to_vec();
            let mut found = numbers(&mut tail);
            tail.extend_from_slice(&bytes[cut..]);
            found.extend(numbers(&mut tail));
            assert_eq!(found, [12, 345], "cut at {cut}");
        }
    }
}
