//! What the modules of a shard ask the store, and how much of it at a time.
//!
//! A request that a client can repeat is refused where too much waits. What nobody could repeat (a
//! change of a roster, a page of kept messages and its removal, what a login has to know) waits its
//! turn instead, in order: a message whose removal was lost would come again.

use crate::listeners::mail::Note;
use crate::listeners::mail::Waiting;
use crate::listeners::opening::Opening;
use crate::listeners::shard::Shard;
use crate::modules;
use crate::modules::Asked;
use crate::modules::Topic;
use crate::modules::answer;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// Questions of one shard that the store has at a time. Question and answer have 1 MiB at most, a
/// roster; of most the answer is small, and the questions of the rest have 256 KiB.
pub const QUESTIONS_MAX: usize = 512;

/// Something that the store is asked. Those that wait are bounded by what they are of: one for each
/// roster in memory, one for each login and its end, and for each session that gets kept messages a page
/// or the removals of what was written of one, which is a message each at least.
pub enum Question {
    /// By a module.
    Data(Box<Request>, Box<modules::Waiting>),
    /// Before a session opens.
    Opening(Box<Opening>),
}

impl Question {
    /// Whether it waits where there is no room, rather than be refused.
    fn can_wait(&self) -> bool {
        match self {
            Self::Opening(..) => true,
            Self::Data(_, waiting) => match waiting.topic {
                Topic::Kept(_)
                | Topic::LastKept
                | Topic::Sent
                | Topic::Roster(_)
                | Topic::RosterLoad
                | Topic::RosterBlocked => true,
                Topic::Blocking(_)
                | Topic::Contact { .. }
                | Topic::Keep { .. }
                | Topic::Last
                | Topic::PrivateGet { .. }
                | Topic::Saved(_)
                | Topic::VcardGet => false,
            },
        }
    }
}

impl Shard {
    /// Modules have questions for the store.
    pub(super) fn run_asked(&mut self) {
        while self.questions < QUESTIONS_MAX
            && let Some(question) = self.backlog.pop_front()
        {
            if let Err(question) = self.submit(question) {
                self.backlog.push_front(question);
                break;
            }
        }
        for asked in std::mem::take(&mut self.asked) {
            match asked {
                Asked::Account(asked) => self.ask(Waiting {
                    connection: asked.connection,
                    ask: asked.ask,
                    id: asked.id,
                    from: Some(asked.from),
                    target: asked.target,
                    address: None,
                }),
                Asked::Data(request, waiting) => {
                    self.ask_data(Request::Data(request), waiting);
                }
                Asked::Offline(request, waiting) => {
                    self.ask_data(Request::Offline(request), waiting);
                }
            }
        }
    }

    fn ask_data(&mut self, request: Request, waiting: modules::Waiting) {
        self.question(Question::Data(Box::new(request), Box::new(waiting)));
    }

    /// Something waits for the store although no answer of it is due that would wake this shard.
    pub(super) fn must_ask_again(&self) -> bool {
        !self.backlog.is_empty() && self.questions == 0
    }

    /// Asks, or keeps the question for later, or refuses it.
    pub(super) fn question(&mut self, question: Question) {
        let has_room = self.backlog.is_empty() && self.questions < QUESTIONS_MAX;
        let refused = match has_room {
            true => self.submit(question).err(),
            false => Some(question),
        };
        match refused {
            None => {}
            Some(question) if question.can_wait() => self.backlog.push_back(question),
            Some(Question::Data(_, waiting)) => {
                answer::answered(&mut self.scene(), &waiting, Err(StoreError::Locked));
            }
            Some(Question::Opening(..)) => {}
        }
    }

    /// Gives a question to the store; back where the store has no room for it.
    fn submit(&mut self, question: Question) -> Result<(), Question> {
        let outside = self.outside.clone();
        // The inbox has room for every request that the store can hold.
        match question {
            Question::Data(request, waiting) => {
                let kept = waiting.clone();
                let reply = Box::new(move |result| {
                    let _ = outside.send(Note::Data(waiting, result));
                });
                let back = self.store.submit_or_return(*request, reply);
                back.map_err(|request| Question::Data(request, kept))?;
            }
            Question::Opening(opening) => {
                let request = Request::Opening {
                    id: opening.id.clone(),
                    wanted: opening.wanted,
                };
                let kept = opening.clone();
                let reply = Box::new(move |result| {
                    let _ = outside.send(Note::Opening(opening, result));
                });
                let back = self.store.submit_or_return(request, reply);
                back.map_err(|_| Question::Opening(kept))?;
            }
        }
        self.questions += 1;
        Ok(())
    }

    /// The store has answered a module.
    pub(super) fn data(
        &mut self,
        waiting: &modules::Waiting,
        result: Result<Response, StoreError>,
    ) {
        self.questions = self.questions.saturating_sub(1);
        if let Err(error) = &result {
            tracing::error!(%error, "the store did not answer a module");
        }
        answer::answered(&mut self.scene(), waiting, result);
    }
}
