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
    while ended < count {
        let due = crowd.rate.map_or(count, |rate| {
            (began.elapsed().as_secs_f64() * rate) as usize + 1
        });
        while clients.len() < count.min(due) && clients.len() - ended < crowd.at_once {
            let (place, number) = (clients.len(), first + clients.len());
            let user = number % crowd.users;
            let client =
                Client::begin(user, number, steps(user), shared, now()).and_then(|client| {
                    client.link.enter(&epoll, place)?;
                    Ok(client)
                });
            ended += usize::from(client.is_err());
            clients.push(client.map_err(|fault| faults.count(fault)).ok());
        }
        if ended >= count {
            break;
        }
        let next = crowd.rate.filter(|_| clients.len() < count).map(|rate| {
            let at = Duration::from_secs_f64(clients.len() as f64 / rate);
            at.saturating_sub(began.elapsed())
        });
        let is_full = clients.len() - ended >= crowd.at_once;
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
            ended += usize::from(!was_done);
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
