//! Requests whose answer takes all shards: each is asked, and the last one to speak has it written.

use hyper::StatusCode;

use super::answer;
use super::dashboard;
use super::gzip;
use super::metrics;
use crate::base::key::Key;
use crate::listeners::mail::Note;
use crate::listeners::report;
use crate::listeners::shard::Shard;
use crate::listeners::status::Answer;
use crate::listeners::status::Inquiry;
use crate::listeners::status::Question;
use crate::net::ring::Ring;

/// What the answers are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The text for Prometheus.
    Metrics,
    /// Sessions for a dashboard.
    Sessions,
    /// Sessions that a dashboard ended.
    Kick,
    /// The next event of a dashboard.
    Pulse,
}

/// Answers that come in. Lives on: the shard of the request.
pub struct Gathering {
    id: u64,
    /// None: for everybody who looks at a dashboard.
    request: Option<(Key, u32)>,
    purpose: Purpose,
    due: usize,
    answers: Vec<Answer>,
}

impl Gathering {
    /// It is for the next event of a dashboard.
    pub fn is_pulse(&self) -> bool {
        self.purpose == Purpose::Pulse
    }
}

impl Shard {
    /// Asks every shard, this one among them.
    pub(super) fn gather(
        &mut self,
        request: Option<(Key, u32)>,
        purpose: Purpose,
        question: &Question,
    ) {
        self.http.gatherings_begun += 1;
        let id = self.http.gatherings_begun;
        let mut due = 0;
        for shard in &self.shards {
            let back = self.outside.clone();
            let reply = Box::new(move |answer| {
                // A full inbox: the request stays unanswered and its client gives up.
                let _ = back.send(Note::Gathered(id, answer));
            });
            let inquiry = Inquiry {
                question: question.clone(),
                reply,
            };
            due += usize::from(shard.send(Note::Inquiry(inquiry)).is_ok());
        }
        self.http.gatherings.push(Gathering {
            id,
            request,
            purpose,
            due,
            answers: Vec::with_capacity(due),
        });
    }

    /// A shard has answered.
    pub(in crate::listeners) fn gathered(&mut self, ring: &mut Ring, id: u64, answer: Answer) {
        let gatherings = &mut self.http.gatherings;
        let Some(place) = gatherings.iter().position(|gathering| gathering.id == id) else {
            return;
        };
        let Some(gathering) = gatherings.get_mut(place) else {
            return;
        };
        gathering.answers.push(answer);
        if gathering.answers.len() < gathering.due {
            return;
        }
        let Gathering {
            request,
            purpose,
            answers,
            ..
        } = gatherings.swap_remove(place);
        let answer = match purpose {
            Purpose::Metrics => {
                let statuses = report::statuses(answers);
                let text = metrics::text(&self.settings, &statuses, &self.server_facts());
                let answer = answer::content(StatusCode::OK, metrics::CONTENT_TYPE, text);
                gzip::compressible(answer)
            }
            Purpose::Sessions => dashboard::document(StatusCode::OK, &report::sessions(answers)),
            Purpose::Kick => dashboard::kicked(answers),
            Purpose::Pulse => return self.beat(ring, &report::statuses(answers)),
        };
        if let Some(request) = request {
            self.answer_late(ring, request, answer);
        }
    }
}
