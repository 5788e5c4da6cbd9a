//! Clients that connect and follow their scripts, so many at the same time.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use memchr::memmem::find;
use rustix::net::sockopt;

use crate::histogram;
use crate::now;
use crate::script::Step;
use crate::wire::client::INPUT_BYTES;
use crate::wire::client::PATIENCE_MS;
use crate::wire::client::connect;
use crate::wire::client::send;
use crate::wire::epoll::Epoll;

/// Who arrives, and how.
pub(crate) struct Crowd {
    /// Where the server listens.
    pub(crate) to: SocketAddrV4,
    /// Numbers of the clients.
    pub(crate) numbers: std::ops::Range<usize>,
    /// How many negotiate at the same time.
    pub(crate) at_once: usize,
    /// New ones a second; as fast as it goes where there is none.
    pub(crate) rate: Option<f64>,
    /// Whether they stay connected when they are done.
    pub(crate) stay: bool,
}

/// What became of them.
pub(crate) struct Arrived {
    /// Those that stay, in order of their numbers.
    pub(crate) sockets: Vec<OwnedFd>,
    /// Microseconds from connect to the end of the script.
    pub(crate) latency_us: Histogram<u64>,
    /// Refused, cut, or told an error.
    pub(crate) failed: u64,
    /// How long all took.
    pub(crate) took: Duration,
}

struct Client {
    socket: OwnedFd,
    steps: std::vec::IntoIter<Step>,
    until: &'static [u8],
    answer: Vec<u8>,
    began: Instant,
    is_done: bool,
}

/// Has them all arrive.
pub(crate) fn arrive(
    crowd: &Crowd,
    steps: impl Fn(usize) -> Vec<Step>,
    bar: &ProgressBar,
) -> Arrived {
    let (first, count) = (crowd.numbers.start, crowd.numbers.len());
    let mut epoll = Epoll::new();
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut latency_us = histogram();
    let (mut failed, mut ended, mut ready) = (0, 0, Vec::new());
    let mut input = vec![0; INPUT_BYTES];
    let began = now();
    let mut progress = began;
    while ended < count {
        let due = crowd.rate.map_or(count, |rate| {
            (began.elapsed().as_secs_f64() * rate) as usize + 1
        });
        while clients.len() < count.min(due) && clients.len() - ended < crowd.at_once {
            let client = Client::begin(crowd.to, steps(first + clients.len()), clients.len());
            epoll.add(&client.socket, clients.len());
            clients.push(Some(client));
        }
        let patience = if crowd.rate.is_some() { 1 } else { PATIENCE_MS };
        epoll.wait(Some(patience), &mut ready);
        if !ready.is_empty() {
            progress = now();
        }
        let silent_ms = progress.elapsed().as_millis() as i64;
        assert!(silent_ms < PATIENCE_MS, "the server is silent");
        for place in ready.drain(..) {
            let Some(client) = &mut clients[place] else {
                continue;
            };
            let was_done = client.is_done;
            match client.go_on(&mut input) {
                Some(true) if !was_done => {
                    ended += 1;
                    let us = client.began.elapsed().as_micros() as u64;
                    latency_us.saturating_record(us);
                    if !crowd.stay {
                        clients[place] = None;
                    }
                }
                Some(_) => {}
                None => {
                    failed += 1;
                    ended += usize::from(!was_done);
                    clients[place] = None;
                }
            }
        }
        bar.set_position(ended as u64);
    }
    Arrived {
        sockets: clients.into_iter().flatten().map(|c| c.socket).collect(),
        latency_us,
        failed,
        took: began.elapsed(),
    }
}

impl Client {
    fn begin(to: SocketAddrV4, steps: Vec<Step>, place: usize) -> Self {
        let began = now();
        let socket = connect(to, place);
        sockopt::set_tcp_nodelay(&socket, true).expect("an option of TCP");
        let mut steps = steps.into_iter();
        let first = steps.next().expect("a script begins with something");
        send(&socket, &first.say);
        Self {
            socket,
            steps,
            until: first.until,
            answer: Vec::new(),
            began,
            is_done: false,
        }
    }

    /// Reads, and says what comes next: whether the script is at its end, `None` if it failed.
    fn go_on(&mut self, input: &mut [u8]) -> Option<bool> {
        let flags = rustix::net::RecvFlags::empty();
        let length = match rustix::net::recv(&self.socket, &mut *input, flags) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN) => return Some(self.is_done),
            Err(_) => 0,
        };
        if length == 0 {
            return None;
        }
        if self.is_done {
            return Some(true);
        }
        self.answer.extend_from_slice(&input[..length]);
        if find(&self.answer, b"<failure").is_some()
            || find(&self.answer, b"<stream:error").is_some()
        {
            return None;
        }
        if find(&self.answer, self.until).is_none() || !self.answer.ends_with(b">") {
            return Some(false);
        }
        self.answer = Vec::new();
        let Some(next) = self.steps.next() else {
            self.is_done = true;
            return Some(true);
        };
        self.until = next.until;
        send(&self.socket, &next.say);
        Some(false)
    }
}
