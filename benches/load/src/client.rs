//! One client that follows its script.

use std::time::Instant;

use memchr::memmem::find;

use crate::fault::Fault;
use crate::link::Buffers;
use crate::link::Link;
use crate::link::Target;
use crate::scram;
use crate::scram::KeyRing;
use crate::script::Act;
use crate::script::PASSWORD;
use crate::script::Step;
use crate::script::Until;

/// What clients of one thread share.
pub(crate) struct Shared {
    pub(crate) buffers: Buffers,
    pub(crate) keys: KeyRing,
    pub(crate) target: Target,
    out: Vec<u8>,
}

impl Shared {
    /// Nothing received, nothing computed yet.
    pub(crate) fn new(target: Target) -> Self {
        Self {
            buffers: Buffers::new(),
            keys: KeyRing::default(),
            target,
            out: Vec::new(),
        }
    }
}

/// A client on its way.
pub(crate) struct Client {
    /// Its connection.
    pub(crate) link: Link,
    /// When it began to connect.
    pub(crate) began: Instant,
    number: usize,
    steps: std::vec::IntoIter<Step>,
    until: Until,
    answer: Vec<u8>,
    /// What the server's answer to SCRAM has to be.
    verdict: Option<String>,
    is_done: bool,
}

impl Client {
    /// User `number` connects from place `place`, and does the first step.
    pub(crate) fn begin(
        number: usize,
        place: usize,
        steps: Vec<Step>,
        shared: &mut Shared,
        began: Instant,
    ) -> Result<Self, Fault> {
        let link = Link::open(&shared.target, place)?;
        Self::go_along(link, number, steps, shared, began)
    }

    /// The same on a connection that is there.
    pub(crate) fn go_along(
        link: Link,
        number: usize,
        steps: Vec<Step>,
        shared: &mut Shared,
        began: Instant,
    ) -> Result<Self, Fault> {
        let mut client = Self {
            link,
            began,
            number,
            steps: steps.into_iter(),
            until: Until::Secure,
            answer: Vec::new(),
            verdict: None,
            is_done: false,
        };
        let answer = Vec::new();
        client.next(&answer, shared)?;
        Ok(client)
    }

    /// Whether the script is at its end.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Reads, and does the next step if it is time. Whether the script is at its end.
    pub(crate) fn go_on(&mut self, shared: &mut Shared) -> Result<bool, Fault> {
        // The steps need the rest of what is shared, never these buffers.
        let mut buffers = std::mem::replace(&mut shared.buffers, Buffers::none());
        let done = self.read(&mut buffers, shared);
        shared.buffers = buffers;
        done
    }

    fn read(&mut self, buffers: &mut Buffers, shared: &mut Shared) -> Result<bool, Fault> {
        let input = match self.link.receive(buffers) {
            Err(Fault::Closed) if matches!(self.until, Until::End(_)) => {
                self.is_done = true;
                return Ok(true);
            }
            input => input?,
        };
        if self.is_done {
            return Ok(true);
        }
        if self.until == Until::Secure {
            if self.link.is_secure() {
                self.next(&[], shared)?;
            }
            return Ok(self.is_done);
        }
        // Mostly the whole answer comes in one piece.
        if self.answer.is_empty() {
            if self.judge(input)? {
                self.next(input, shared)?;
            } else {
                self.answer.extend_from_slice(input);
            }
            return Ok(self.is_done);
        }
        self.answer.extend_from_slice(input);
        let answer = std::mem::take(&mut self.answer);
        if self.judge(&answer)? {
            self.next(&answer, shared)?;
        } else {
            self.answer = answer;
        }
        Ok(self.is_done)
    }

    /// Whether the answer is whole and the one that the script wants.
    fn judge(&self, answer: &[u8]) -> Result<bool, Fault> {
        let text = match self.until {
            Until::Text(text) | Until::End(text) => text,
            Until::Secure => return Ok(true),
        };
        let is_whole = answer.ends_with(b">") || answer.ends_with(text);
        if !is_whole || find(answer, text).is_none() {
            return match answer {
                _ if find(answer, b"<failure").is_some() => Err(Fault::LoginFailed),
                _ if find(answer, b"<stream:error").is_some() => Err(Fault::StreamError),
                _ if answer.starts_with(b"HTTP/1.1 ") && answer.ends_with(b"\r\n\r\n") => {
                    Err(Fault::Nonsense)
                }
                _ => Ok(false),
            };
        }
        let is_iq = text == b"</iq>" || text == b"<iq";
        if is_iq && find(answer, b"<error").is_some() {
            return Err(Fault::StanzaError);
        }
        match &self.verdict {
            Some(verdict) if find(answer, verdict.as_bytes()).is_none() => Err(Fault::LoginFailed),
            _ => Ok(true),
        }
    }

    fn next(&mut self, answer: &[u8], shared: &mut Shared) -> Result<(), Fault> {
        let Some(step) = self.steps.next() else {
            self.is_done = true;
            return Ok(());
        };
        if step
            .needs
            .is_some_and(|needs| find(answer, needs).is_none())
        {
            return Err(Fault::NotOffered);
        }
        self.until = step.until;
        self.verdict = None;
        match step.act {
            Act::Say(bytes) => self.say(&bytes, shared),
            Act::Frame(bytes) => {
                self.link.frame();
                self.say(&bytes, shared)
            }
            Act::Secure => self.link.secure(&shared.target),
            Act::Finish => self.link.finish(),
            Act::Prove(hash) => {
                let text = String::from_utf8_lossy(answer);
                let challenge = text.split_once("</challenge>").ok_or(Fault::Nonsense)?.0;
                let challenge = challenge.rsplit_once('>').ok_or(Fault::Nonsense)?.1;
                let keys = &mut shared.keys;
                let (last, verdict) = scram::last(hash, self.number, PASSWORD, challenge, keys)?;
                self.verdict = Some(verdict);
                let response =
                    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>");
                self.say(response.as_bytes(), shared)
            }
        }
    }

    fn say(&mut self, bytes: &[u8], shared: &mut Shared) -> Result<(), Fault> {
        if !self.link.has_frames() {
            return self.link.send(bytes);
        }
        shared.out.clear();
        self.link.compose(bytes, &mut shared.out);
        self.link.send(&shared.out)
    }
}
