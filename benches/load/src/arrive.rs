//! Clients that connect and follow their scripts, so many at the same time.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::client::Client;
use crate::client::Shared;
use crate::fault::Fault;
use crate::fault::Faults;
use crate::link::Link;
use crate::now;
use crate::report::histogram;
use crate::script::Step;
use crate::wire::epoll::Epoll;

/// How often the progress is shown, in connections.
const SHOWN_EACH: usize = 64;

/// Who arrives, and how.
pub(crate) struct Crowd {
    /// Numbers of the clients.
    pub(crate) numbers: Range<usize>,
    /// So many accounts take turns.
    pub(crate) users: usize,
    /// Whether a user comes again only when it has left: sessions of a user replace each other.
    pub(crate) leave_first: bool,
    /// How many negotiate at the same time.
    pub(crate) at_once: usize,
    /// New ones a second; as fast as it goes where there is none.
    pub(crate) rate: Option<f64>,
    /// Whether they stay connected when they are done.
    pub(crate) stay: bool,
    /// Without any input for so long the server has failed.
    pub(crate) patience: Duration,
}

/// What became of them.
pub(crate) struct Arrived {
    /// Those that stay, in order of their numbers.
    pub(crate) links: Vec<Link>,
    /// Microseconds from connect to the end of the script.
    pub(crate) latency_us: Histogram<u64>,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// How long all took.
    pub(crate) took: Duration,
}

/// Has them all arrive.
pub(crate) fn arrive(
    crowd: &Crowd,
    steps: impl Fn(usize) -> Vec<Step>,
    shared: &mut Shared,
    bar: &ProgressBar,
) -> Result<Arrived, Fault> {
    let (first, count) = (crowd.numbers.start, crowd.numbers.len());
    let mut epoll = Epoll::new()?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut faults = Faults::default();
    let (mut latency_us, mut ended, mut ready) = (histogram(), 0, Vec::new());
    let began = now();
    let (mut progress, mut shown) = (began, 0);
    let mut under_way = vec![false; crowd.users];
    while ended < count {
        let due = crowd.rate.map_or(count, |rate| {
            (began.elapsed().as_secs_f64() * rate) as usize + 1
        });
        while clients.len() < count.min(due) && clients.len() - ended < crowd.at_once {
            let (place, number) = (clients.len(), first + clients.len());
            let user = number % crowd.users;
            if crowd.leave_first && under_way[user] {
                break;
            }
            let client =
                Client::begin(user, number, steps(user), shared, now()).and_then(|client| {
                    client.link.enter(&epoll, place)?;
                    Ok(client)
                });
            ended += usize::from(client.is_err());
            under_way[user] = client.is_ok();
            clients.push(client.map_err(|fault| faults.count(fault)).ok());
        }
        if ended >= count {
            break;
        }
        let next = crowd.rate.filter(|_| clients.len() < count).map(|rate| {
            let at = Duration::from_secs_f64(clients.len() as f64 / rate);
            at.saturating_sub(began.elapsed())
        });
        let next_user = (first + clients.len()) % crowd.users;
        let is_full =
            clients.len() - ended >= crowd.at_once || (crowd.leave_first && under_way[next_user]);
        let wait = next
            .filter(|_| !is_full)
            .unwrap_or(crowd.patience)
            .min(crowd.patience);
        epoll.wait(Some(wait.as_nanos() as u64), &mut ready)?;
        if !ready.is_empty() {
            progress = now();
        } else if progress.elapsed() >= crowd.patience && clients.len() > ended {
            break;
        }
        for place in ready.drain(..) {
            let Some(client) = &mut clients[place] else {
                continue;
            };
            let was_done = client.is_done();
            let outcome = client.go_on(shared).and_then(|done| {
                client.link.settle(&epoll, place)?;
                Ok(done)
            });
            match outcome {
                Ok(false) => continue,
                Ok(true) if was_done => continue,
                Ok(true) => {
                    latency_us.saturating_record(client.began.elapsed().as_micros() as u64);
                    if !crowd.stay {
                        clients[place] = None;
                    }
                }
                Err(fault) => {
                    faults.count(fault);
                    clients[place] = None;
                }
            }
            if !was_done {
                ended += 1;
                under_way[(first + place) % crowd.users] = false;
            }
        }
        if ended >= shown + SHOWN_EACH {
            shown = ended;
            bar.set_position(ended as u64);
        }
    }
    faults.count_all(Fault::Silent, (count - ended) as u64);
    Ok(Arrived {
        links: clients
            .into_iter()
            .flatten()
            .map(|client| client.link)
            .collect(),
        latency_us,
        faults,
        took: began.elapsed(),
    })
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a server for the tests, on sockets and a thread of its own"
)]
mod tests {
    use std::cell::RefCell;
    use std::io::Read;
    use std::io::Write;
    use std::net::SocketAddr;
    use std::net::SocketAddrV4;
    use std::net::TcpListener;
    use std::net::TcpStream;

    use super::*;
    use crate::link::Target;
    use crate::script::Act;
    use crate::script::Until;
    use crate::tls;

    /// Longer than a server on loopback takes for an answer of two bytes.
    const PATIENCE: Duration = Duration::from_millis(300);

    /// Answers everybody who does not say `silenced`, until somebody says `stop`.
    fn serve(listener: &TcpListener, silenced: &str) {
        let mut unanswered = Vec::new();
        loop {
            let mut socket = listener.accept().expect("a client").0;
            let (mut said, mut byte) = (String::new(), [0]);
            while socket.read(&mut byte).expect("a client says something") > 0 && byte != *b">" {
                said.push(char::from(byte[0]));
            }
            match said.as_str() {
                "stop" => return,
                said if said == silenced => unanswered.push(socket),
                _ => socket.write_all(b"ok>").expect("a client reads"),
            }
        }
    }

    /// The users in the order in which they began, and what went wrong.
    fn visits(count: usize, silenced: &'static str) -> (Vec<usize>, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let SocketAddr::V4(to) = listener.local_addr().expect("it is bound") else {
            panic!("an address of version 4");
        };
        let server = std::thread::spawn(move || serve(&listener, silenced));
        let began = RefCell::new(Vec::new());
        let steps = |user: usize| {
            began.borrow_mut().push(user);
            vec![Step {
                act: Act::Say(format!("user{user}>").into_bytes()),
                until: Until::Text(b"ok>"),
                needs: None,
            }]
        };
        let crowd = Crowd {
            numbers: 0..count,
            users: 2,
            leave_first: true,
            at_once: 2,
            rate: None,
            stay: false,
            patience: PATIENCE,
        };
        let mut shared = Shared::new(target(to));
        let arrived = arrive(&crowd, steps, &mut shared, &ProgressBar::hidden());
        let faults = arrived.expect("sockets").faults.sum();
        let mut last = TcpStream::connect(to).expect("the server still listens");
        last.write_all(b"stop>").expect("it reads");
        server.join().expect("it has stopped");
        (began.into_inner(), faults)
    }

    fn target(to: SocketAddrV4) -> Target {
        Target {
            to,
            sources: 0,
            proxy: None,
            tls: tls::config().expect("a client of TLS"),
        }
    }

    #[test]
    fn who_is_still_on_its_way_does_not_begin_again() {
        let (began, _) = visits(3, "user0");
        assert_eq!(began, [0, 1]);
    }

    #[test]
    fn who_has_left_comes_again() {
        assert_eq!(visits(6, ""), (vec![0, 1, 0, 1, 0, 1], 0));
    }
}
