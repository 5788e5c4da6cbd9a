//! Users who talk in pairs: so many messages under way, or so many a second.
//!
//! Every message carries a number, so that one that is lost and one that comes twice are told apart,
//! and its time is known from the send to the receive. Everything of a message that does not change
//! is copied; the clock is read once for each write and each read.

use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::fault::Fault;
use crate::fault::Faults;
use crate::link::Buffers;
use crate::link::Link;
use crate::marks;
use crate::marks::Came;
use crate::marks::Tail;
use crate::marks::Tally;
use crate::now;
use crate::report::histogram;
use crate::script::Manner;
use crate::script::RESOURCE;
use crate::wire::epoll::Epoll;

/// How often the progress is shown, in messages.
const SHOWN_EACH: usize = 4096;

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
    /// Come after later ones of the same sender.
    pub(crate) late: usize,
    /// Users whose connection ended.
    pub(crate) faults: Faults,
    /// How long all took.
    pub(crate) took: Duration,
}

struct User {
    link: Link,
    before: Vec<u8>,
    may_send: usize,
    sent: Vec<Instant>,
    tail: Tail,
    tally: Tally,
    is_gone: bool,
}

/// The users, and what has been said so far.
pub(crate) struct Talk {
    epoll: Epoll,
    users: Vec<User>,
    after: Vec<u8>,
    sent: usize,
    twice: usize,
    late: usize,
    faults: Faults,
    latency_us: Histogram<u64>,
    buffers: Buffers,
    message: Vec<u8>,
    out: Vec<u8>,
}

impl Talk {
    /// Of links with sessions of `user0`, `user1` and so on; an even number of them.
    pub(crate) fn new(links: Vec<Link>, manner: &Manner, to_full: bool) -> Result<Self, Fault> {
        let resource = if to_full {
            format!("/{RESOURCE}")
        } else {
            String::new()
        };
        let (xmlns, domain) = (manner.xmlns(), &manner.domain);
        let user = |(number, link): (usize, Link)| User {
            link,
            before: format!(
                "<message{xmlns} type='chat' to='user{}@{domain}{resource}' id='b4f1a2'><body>The \
                 quick brown fox jumps over the lazy dog",
                number ^ 1,
            )
            .into_bytes(),
            may_send: 0,
            sent: Vec::new(),
            tail: Tail::default(),
            tally: Tally::default(),
            is_gone: false,
        };
        let users: Vec<_> = links.into_iter().enumerate().map(user).collect();
        let epoll = Epoll::new()?;
        for (number, user) in users.iter().enumerate() {
            user.link.hurry()?;
            user.link.enter(&epoll, number)?;
        }
        Ok(Self {
            epoll,
            users,
            after: b"</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
                <origin-id xmlns='urn:xmpp:sid:0' id='b4f1a2'/></message>"
                .to_vec(),
            sent: 0,
            twice: 0,
            late: 0,
            faults: Faults::default(),
            latency_us: histogram(),
            buffers: Buffers::new(),
            message: Vec::new(),
            out: Vec::new(),
        })
    }

    /// Has them send `count` messages in all, or some more, so that each sends as many.
    pub(crate) fn run(
        mut self,
        pace: Pace,
        count: usize,
        patience: Duration,
        bar: &ProgressBar,
    ) -> Result<Said, Fault> {
        let each = count.div_ceil(self.users.len());
        let count = each * self.users.len();
        for user in &mut self.users {
            user.sent.reserve(each);
            user.may_send = each;
        }
        let began = now();
        if let Pace::Window(window) = pace {
            for number in 0..self.users.len() {
                self.say(number, window);
            }
        }
        let (mut arrived, mut shown, mut ready, mut progress) = (0, 0, Vec::new(), began);
        while arrived < count {
            let wait = match pace {
                Pace::Window(_) => patience,
                Pace::PerSecond(rate) => self.keep_pace(rate, count, began).unwrap_or(patience),
            };
            self.epoll.wait(Some(wait.as_nanos() as u64), &mut ready)?;
            if !ready.is_empty() {
                progress = now();
            } else if progress.elapsed() >= patience {
                break;
            }
            for number in ready.drain(..) {
                let came = self.hear(number);
                arrived += came;
                if let Pace::Window(_) = pace {
                    self.say(number, came);
                }
            }
            if arrived >= shown + SHOWN_EACH {
                shown = arrived;
                bar.set_position(arrived as u64);
            }
        }
        let sent_to = |number: usize| self.users[number ^ 1].sent.len();
        let users = self.users.iter().enumerate();
        Ok(Said {
            lost: users
                .map(|(number, user)| user.tally.lost(sent_to(number)))
                .sum(),
            latency_us: self.latency_us,
            twice: self.twice,
            late: self.late,
            faults: self.faults,
            took: began.elapsed(),
        })
    }

    /// Sends what is due. How long until the next one; `None` after the last.
    fn keep_pace(&mut self, rate: f64, count: usize, began: Instant) -> Option<Duration> {
        while self.sent < count {
            let at = Duration::from_secs_f64(self.sent as f64 / rate);
            let left = at.saturating_sub(began.elapsed());
            if !left.is_zero() {
                return Some(left);
            }
            let number = self.sent % self.users.len();
            self.say(number, 1);
            // One that is gone has had its turn too.
            self.sent += usize::from(self.users[number].is_gone);
        }
        None
    }

    /// Sends so many messages, or what is left of the user's share, in one call.
    fn say(&mut self, number: usize, count: usize) {
        let user = &mut self.users[number];
        let count = count.min(user.may_send);
        if count == 0 || user.is_gone {
            return;
        }
        user.may_send -= count;
        self.out.clear();
        let at = now();
        for _ in 0..count {
            self.message.clear();
            self.message.extend_from_slice(&user.before);
            marks::write(user.sent.len(), &mut self.message);
            self.message.extend_from_slice(&self.after);
            user.link.compose(&self.message, &mut self.out);
            user.sent.push(at);
        }
        self.sent += count;
        let sent = user.link.send(&self.out);
        if let Err(fault) = sent.and_then(|()| user.link.settle(&self.epoll, number)) {
            self.lose(number, fault);
        }
    }

    /// Reads; how many messages came for the first time.
    fn hear(&mut self, number: usize) -> usize {
        let (first, second) = self.users.split_at_mut(number | 1);
        let [.., even] = first else { return 0 };
        let [odd, ..] = second else { return 0 };
        let (user, partner) = if number & 1 == 0 {
            (even, odd)
        } else {
            (odd, even)
        };
        if user.is_gone {
            return 0;
        }
        let input = match user.link.receive(&mut self.buffers) {
            Ok(input) => input,
            Err(fault) => {
                self.lose(number, fault);
                return 0;
            }
        };
        let (mut arrived, at) = (0, now());
        user.tail.read(input, |found| {
            let came = user.tally.came(found, partner.sent.len());
            match came {
                Came::Twice => return self.twice += 1,
                Came::Late => self.late += 1,
                Came::InOrder => {}
            }
            arrived += 1;
            let latency = at.saturating_duration_since(partner.sent[found]);
            self.latency_us
                .saturating_record(latency.as_micros() as u64);
        });
        if let Err(fault) = user.link.settle(&self.epoll, number) {
            self.lose(number, fault);
        }
        arrived
    }

    fn lose(&mut self, number: usize, fault: Fault) {
        self.faults.count(fault);
        let user = &mut self.users[number];
        user.is_gone = true;
        user.link.leave(&self.epoll);
    }
}
