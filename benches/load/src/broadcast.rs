//! One to many: the presence of `user0`, which everybody else has subscribed to.
//!
//! Subscriptions are made first, by the protocol, where the rosters do not have them. Every presence
//! carries a number, like the messages of `chat`.

use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use memchr::memmem::find;
use memchr::memmem::find_iter;

use crate::chat::Pace;
use crate::chat::Said;
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
use crate::wire::epoll::Epoll;

/// Subscriptions that are made at the same time.
const SUBSCRIBE_AT_ONCE: usize = 50;
const SUBSCRIBED: [&[u8]; 2] = [b"subscription='to'", b"subscription=\"to\""];
const MUTUAL: [&[u8]; 2] = [b"subscription='both'", b"subscription=\"both\""];
const ASKS: [&[u8]; 2] = [b"type='subscribe'", b"type=\"subscribe\""];
const ALLOWED: [&[u8]; 2] = [b"type='subscribed'", b"type=\"subscribed\""];

/// Who hears.
struct Listener {
    link: Link,
    tail: Tail,
    tally: Tally,
    is_gone: bool,
}

/// `user0` and those who hear it.
pub(crate) struct Broadcast {
    epoll: Epoll,
    speaker: Link,
    listeners: Vec<Listener>,
    xmlns: &'static str,
    domain: String,
    sent: Vec<Instant>,
    buffers: Buffers,
    out: Vec<u8>,
    patience: Duration,
    said: Said,
}

/// The speaker's number in the set; listeners count from 0.
const SPEAKER: usize = usize::MAX;

impl Broadcast {
    /// Of links with sessions of `user0`, `user1` and so on.
    pub(crate) fn new(
        links: Vec<Link>,
        manner: &Manner,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let mut links = links.into_iter();
        let speaker = links.next().ok_or(Fault::Closed)?;
        let listener = |link| Listener {
            link,
            tail: Tail::default(),
            tally: Tally::default(),
            is_gone: false,
        };
        let listeners: Vec<_> = links.map(listener).collect();
        let epoll = Epoll::new()?;
        speaker.enter(&epoll, SPEAKER)?;
        for (number, listener) in listeners.iter().enumerate() {
            listener.link.enter(&epoll, number)?;
        }
        Ok(Self {
            epoll,
            speaker,
            listeners,
            xmlns: manner.xmlns(),
            domain: manner.domain.clone(),
            sent: Vec::new(),
            buffers: Buffers::new(),
            out: Vec::new(),
            patience,
            said: Said {
                latency_us: histogram(),
                lost: 0,
                twice: 0,
                late: 0,
                faults: Faults::default(),
                took: Duration::ZERO,
            },
        })
    }

    /// Has everybody subscribe who has not.
    pub(crate) fn subscribe(&mut self) -> Result<(), Fault> {
        let all: Vec<usize> = (0..self.listeners.len()).collect();
        for some in all.chunks(SUBSCRIBE_AT_ONCE) {
            let xmlns = self.xmlns;
            let query =
                format!("<iq{xmlns} type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
            for number in some {
                self.say_as(*number, query.as_bytes())?;
            }
            let rosters =
                self.hear_all(some, |roster| find(roster, b"jabber:iq:roster").is_some())?;
            let has = |roster: &[u8]| holds(roster, &SUBSCRIBED) || holds(roster, &MUTUAL);
            let rosters = some.iter().zip(&rosters);
            let new: Vec<usize> = rosters
                .filter(|(_, roster)| !has(roster))
                .map(|(number, _)| *number)
                .collect();
            self.subscribe_these(&new)?;
        }
        Ok(())
    }

    fn subscribe_these(&mut self, numbers: &[usize]) -> Result<(), Fault> {
        let (xmlns, domain) = (self.xmlns, self.domain.clone());
        for number in numbers {
            let ask = format!("<presence{xmlns} type='subscribe' to='user0@{domain}'/>");
            self.say_as(*number, ask.as_bytes())?;
        }
        let asked = |input: &[u8]| {
            ASKS.iter()
                .map(|ask| find_iter(input, ask).count())
                .sum::<usize>()
        };
        let heard = |input: &[u8]| asked(input) >= numbers.len();
        let mut input = Vec::new();
        while !heard(&input) {
            for number in self.wait()? {
                if number == SPEAKER {
                    input.extend_from_slice(self.speaker.receive(&mut self.buffers)?);
                } else {
                    self.listeners[number].link.receive(&mut self.buffers)?;
                }
            }
        }
        for number in numbers {
            let user = number + 1;
            let allow = format!("<presence{xmlns} type='subscribed' to='user{user}@{domain}'/>");
            self.out.clear();
            self.speaker.compose(allow.as_bytes(), &mut self.out);
            self.speaker.send(&self.out)?;
        }
        self.hear_all(numbers, |input| holds(input, &ALLOWED))?;
        Ok(())
    }

    /// Reads until all of these have heard what they wait for; what they heard.
    fn hear_all(
        &mut self,
        numbers: &[usize],
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let mut heard = vec![Vec::new(); self.listeners.len()];
        let is_done = |input: &Vec<u8>| enough(input) && input.ends_with(b">");
        while !numbers.iter().all(|number| is_done(&heard[*number])) {
            for number in self.wait()? {
                if number == SPEAKER {
                    self.speaker.receive(&mut self.buffers)?;
                } else {
                    let link = &mut self.listeners[number].link;
                    heard[number].extend_from_slice(link.receive(&mut self.buffers)?);
                }
            }
        }
        Ok(numbers
            .iter()
            .map(|number| std::mem::take(&mut heard[*number]))
            .collect())
    }

    fn wait(&mut self) -> Result<Vec<usize>, Fault> {
        let mut ready = Vec::new();
        self.epoll
            .wait(Some(self.patience.as_nanos() as u64), &mut ready)?;
        if ready.is_empty() {
            Err(Fault::Silent)
        } else {
            Ok(ready)
        }
    }

    fn say_as(&mut self, number: usize, stanza: &[u8]) -> Result<(), Fault> {
        self.out.clear();
        let link = &mut self.listeners[number].link;
        link.compose(stanza, &mut self.out);
        link.send(&self.out)
    }

    /// Sends so many presences that everybody together hears `count` of them.
    pub(crate) fn run(
        mut self,
        pace: Pace,
        count: usize,
        bar: &ProgressBar,
    ) -> Result<Said, Fault> {
        let many = self.listeners.len();
        let rounds = count.div_ceil(many);
        let (began, mut arrived, mut ready) = (now(), 0, Vec::new());
        let mut progress = began;
        while arrived < rounds * many {
            let wait = loop {
                let left = match pace {
                    _ if self.sent.len() == rounds => break self.patience,
                    Pace::Window(window) if self.sent.len() * many >= arrived + window * many => {
                        break self.patience;
                    }
                    Pace::Window(_) => Duration::ZERO,
                    Pace::PerSecond(rate) => {
                        let at = Duration::from_secs_f64(self.sent.len() as f64 / rate);
                        at.saturating_sub(began.elapsed())
                    }
                };
                if !left.is_zero() {
                    break left;
                }
                self.speak()?;
            };
            self.epoll.wait(Some(wait.as_nanos() as u64), &mut ready)?;
            if !ready.is_empty() {
                progress = now();
            } else if progress.elapsed() >= self.patience {
                break;
            }
            for number in ready.drain(..) {
                arrived += self.hear(number)?;
            }
            bar.set_position(arrived as u64);
        }
        let sent = self.sent.len();
        self.said.lost = self
            .listeners
            .iter()
            .map(|listener| listener.tally.lost(sent))
            .sum();
        self.said.took = began.elapsed();
        Ok(self.said)
    }

    fn speak(&mut self) -> Result<(), Fault> {
        let mut stanza = format!("<presence{}><status>", self.xmlns).into_bytes();
        marks::write(self.sent.len(), &mut stanza);
        stanza.extend_from_slice(b"</status></presence>");
        self.out.clear();
        self.speaker.compose(&stanza, &mut self.out);
        self.sent.push(now());
        self.speaker.send(&self.out)?;
        self.speaker.settle(&self.epoll, SPEAKER)
    }

    fn hear(&mut self, number: usize) -> Result<usize, Fault> {
        let Some(listener) = self.listeners.get_mut(number) else {
            // Its own presence comes back to it.
            self.speaker.receive(&mut self.buffers)?;
            self.speaker.settle(&self.epoll, SPEAKER)?;
            return Ok(0);
        };
        let input = match listener.link.receive(&mut self.buffers) {
            Ok(input) if !listener.is_gone => input,
            Ok(_) => return Ok(0),
            Err(fault) => {
                listener.is_gone = true;
                listener.link.leave(&self.epoll);
                self.said.faults.count(fault);
                return Ok(0);
            }
        };
        let (mut arrived, at, sent, said) = (0, now(), &self.sent, &mut self.said);
        listener.tail.read(input, |found| {
            match listener.tally.came(found, sent.len()) {
                Came::Twice => return said.twice += 1,
                Came::Late => said.late += 1,
                Came::InOrder => {}
            }
            arrived += 1;
            let latency = at.saturating_duration_since(sent[found]);
            said.latency_us
                .saturating_record(latency.as_micros() as u64);
        });
        Ok(arrived)
    }
}

fn holds(input: &[u8], either: &[&[u8]]) -> bool {
    either.iter().any(|text| find(input, text).is_some())
}
