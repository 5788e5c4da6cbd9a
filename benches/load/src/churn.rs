//! Users who come and go: so many are here, and one after the other ends its session in order and is
//! back at once.

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
use crate::script::Depth;
use crate::script::Manner;
use crate::wire::epoll::Epoll;

/// Where a user is.
enum Place {
    /// In its session.
    Here(Link),
    /// Saying goodbye.
    Leaving(Client),
    /// On its way into the next session.
    Coming(Client),
    /// Something went wrong.
    Gone,
}

/// What became of the visits.
pub(crate) struct Churned {
    /// Microseconds from connect to the new session.
    pub(crate) latency_us: Histogram<u64>,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// How long all took.
    pub(crate) took: Duration,
}

/// Has `count` sessions end and begin anew, `at_once` at the same time.
pub(crate) fn churn(
    links: Vec<Link>,
    count: usize,
    at_once: usize,
    patience: Duration,
    manner: &Manner,
    shared: &mut Shared,
    bar: &ProgressBar,
) -> Result<Churned, Fault> {
    let mut epoll = Epoll::new()?;
    let mut places: Vec<Place> = links.into_iter().map(Place::Here).collect();
    for (number, place) in places.iter().enumerate() {
        if let Place::Here(link) = place {
            link.enter(&epoll, number)?;
        }
    }
    let (users, at_once) = (places.len(), at_once.min(places.len()));
    let (mut begun, mut ended, mut faults, mut ready) = (0, 0, Faults::default(), Vec::new());
    let (mut latency_us, began) = (histogram(), now());
    while ended < count {
        while begun < count && begun - ended < at_once {
            let place = &mut places[begun % users];
            match std::mem::replace(place, Place::Gone) {
                Place::Here(link) => {
                    let steps = vec![manner.leave()];
                    match Client::go_along(link, begun % users, steps, shared, now()) {
                        Ok(client) => *place = Place::Leaving(client),
                        Err(fault) => {
                            faults.count(fault);
                            ended += 1;
                        }
                    }
                    begun += 1;
                }
                Place::Gone => {
                    // Whoever is lost is missed once for each visit.
                    faults.count(Fault::Closed);
                    (begun, ended) = (begun + 1, ended + 1);
                }
                // All are on their way: the first has to be here again before it leaves again.
                busy => {
                    *place = busy;
                    break;
                }
            }
        }
        if ended >= count {
            break;
        }
        epoll.wait(Some(patience.as_nanos() as u64), &mut ready)?;
        if ready.is_empty() {
            break;
        }
        for number in ready.drain(..) {
            let place = std::mem::replace(&mut places[number], Place::Gone);
            let visit = Visit {
                number,
                manner,
                epoll: &epoll,
            };
            match visit.go_on(place, shared) {
                Ok((place, took)) => {
                    if let Some(took) = took {
                        ended += 1;
                        latency_us.saturating_record(took.as_micros() as u64);
                    }
                    places[number] = place;
                }
                Err(fault) => {
                    faults.count(fault);
                    ended += 1;
                }
            }
        }
        bar.set_position(ended as u64);
    }
    faults.count_all(Fault::Silent, count.saturating_sub(ended) as u64);
    Ok(Churned {
        latency_us,
        faults,
        took: began.elapsed(),
    })
}

/// One user's next step.
struct Visit<'a> {
    number: usize,
    manner: &'a Manner,
    epoll: &'a Epoll,
}

impl Visit<'_> {
    /// Where the user is now, and how long the new session took if it has just begun.
    fn go_on(&self, place: Place, shared: &mut Shared) -> Result<(Place, Option<Duration>), Fault> {
        match place {
            Place::Here(mut link) => {
                link.receive(&mut shared.buffers)?;
                Ok((Place::Here(link), None))
            }
            Place::Leaving(mut client) => {
                if !client.go_on(shared)? {
                    return Ok((Place::Leaving(client), None));
                }
                drop(client);
                let steps = self.manner.steps(Depth::Session, self.number);
                let client = Client::begin(self.number, self.number, steps, shared, now())?;
                client.link.enter(self.epoll, self.number)?;
                Ok((Place::Coming(client), None))
            }
            Place::Coming(mut client) => {
                let done = client.go_on(shared)?;
                client.link.settle(self.epoll, self.number)?;
                if !done {
                    return Ok((Place::Coming(client), None));
                }
                let took = client.began.elapsed();
                Ok((Place::Here(client.link), Some(took)))
            }
            Place::Gone => Ok((Place::Gone, None)),
        }
    }
}
