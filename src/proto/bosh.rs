//! XEP-0124 and XEP-0206: a client's stream over HTTP requests that wait for their answers.
//!
//! [`Session`] is the machine: requests go in ([`Session::request`]), payloads come out in the order
//! of their numbers ([`Session::next`]), what the stream has to say goes in ([`Session::write`]), and
//! answers come out ([`Session::answers`]). A request that is not answered yet is known by a name of
//! the driver's. Answers are kept as long as a client may ask for them again, so a connection that
//! breaks at any time loses nothing.
//!
//! Not here: multiple streams (section 16), and acknowledgements of answers (section 9.2), which
//! only say what the next request says already.

pub mod body;

use std::collections::BTreeMap;
use std::collections::VecDeque;

use aws_lc_rs::digest;

use self::body::Body;
use crate::proto::ns;
use crate::xml::write::escape_attribute;

/// Requests that a client may have under way beside the one it makes (section 7.1: `hold`).
pub const HOLD_MAX: u64 = 1;
/// Seconds that stand for "infinity", so that sums of times stay numbers: 68 years.
pub const FOREVER_S: u64 = 1 << 31;
/// Seconds that a request of a client waits which does not say how long (section 7.1), if it may.
const WAIT_UNASKED_S: u64 = 60;
/// Seconds between two requests of a polling client (section 12).
pub const POLLING_S: u64 = 1;
/// Repetitions of one request that wait with it.
const REPETITIONS_MAX: usize = 8;
/// Bytes of a key, which is a SHA-1 in hexadecimal (section 15).
const KEY_BYTES: usize = 40;

/// What the operator allows. Times are whole seconds, at most [`FOREVER_S`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Without a request for so long, a session ends.
    pub inactivity_s: u64,
    /// A request waits for its answer so long at most.
    pub wait_max_s: u64,
    /// A client may be away so long, when it asks for it (section 10).
    pub pause_max_s: u64,
    /// Answers say which requests have come (section 9.1).
    pub acks: bool,
}

/// Why a session is refused or ends (section 17.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// The request is none.
    BadRequest,
    /// The session is gone, the number is outside of the window, or the key is wrong.
    ItemNotFound,
    /// A first request is for a host that is none of ours.
    HostUnknown,
    /// A first request does not say which host it is for, or names none that could be.
    ImproperAddressing,
    /// Too many or too frequent requests.
    PolicyViolation,
    /// The stream ended with an error, which is in the answer.
    RemoteStreamError,
    /// No more sessions now.
    SystemShutdown,
}

impl Condition {
    /// As the attribute has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::ItemNotFound => "item-not-found",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteStreamError => "remote-stream-error",
            Self::SystemShutdown => "system-shutdown",
        }
    }
}

/// Writes the answer that ends a session, or refuses one.
pub fn write_end(condition: Option<Condition>, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<body xmlns='");
    out.extend_from_slice(ns::HTTP_BIND.as_bytes());
    out.extend_from_slice(b"' type='terminate'");
    if let Some(condition) = condition {
        out.extend_from_slice(b" condition='");
        out.extend_from_slice(condition.name().as_bytes());
        out.push(b'\'');
    }
    close(payload, out);
}

/// What a request is told that is none of the session's.
fn not_found() -> Vec<u8> {
    let mut answer = Vec::new();
    write_end(Some(Condition::ItemNotFound), &[], &mut answer);
    answer
}

fn close(payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        out.extend_from_slice(b"/>");
    } else {
        out.push(b'>');
        out.extend_from_slice(payload);
        out.extend_from_slice(b"</body>");
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Held<R> {
    rid: u64,
    proof: Option<Box<str>>,
    /// The request, and its repetitions, as far as nobody has said that their connection is gone.
    from: Vec<R>,
    since_ms: u64,
}

/// A request that was answered.
#[derive(Debug)]
struct Sent {
    rid: u64,
    proof: Option<Box<str>>,
    answer: Vec<u8>,
}

/// The answer that a repeated request got.
pub type Repeated<R> = Option<(R, Vec<u8>)>;

/// How a session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// It does not.
    No,
    /// It does; the answers still have to say so.
    Due(Option<Condition>),
    /// Somebody was told.
    Told,
}

/// What the first answer says beside `sid`.
#[derive(Debug)]
struct Welcome {
    stream_id: Box<str>,
    from: Box<str>,
}

/// One session. `R` names a request to the driver. Lives on: the shard of its stream.
#[derive(Debug)]
pub struct Session<R> {
    /// Its name.
    pub sid: Box<str>,
    options: Options,
    wait_ms: u64,
    hold: usize,
    inactivity_ms: u64,
    /// The number that is to be handled next.
    next_rid: u64,
    early: BTreeMap<u64, Body>,
    held: VecDeque<Held<R>>,
    sent: VecDeque<Sent>,
    out: Vec<u8>,
    key: Option<Box<str>>,
    welcome: Option<Welcome>,
    is_new: bool,
    ending: Ending,
    idle_since_ms: u64,
    /// When an empty request was last answered at once, for clients that poll.
    polled_ms: u64,
}

impl<R> Session<R> {
    /// From the first request.
    pub fn new(sid: Box<str>, body: &Body, options: Options, now_ms: u64) -> Self {
        let wait = body.wait.unwrap_or(WAIT_UNASKED_S).min(options.wait_max_s);
        let hold = body.hold.unwrap_or(HOLD_MAX).min(HOLD_MAX);
        // Section 7.1: who cannot wait, or hold, polls.
        let hold = if wait == 0 { 0 } else { hold };
        Self {
            sid,
            options,
            wait_ms: wait * 1000,
            hold: hold as usize,
            inactivity_ms: options.inactivity_s * 1000,
            next_rid: body.rid,
            early: BTreeMap::new(),
            held: VecDeque::new(),
            sent: VecDeque::new(),
            out: Vec::new(),
            key: None,
            welcome: None,
            is_new: true,
            ending: Ending::No,
            idle_since_ms: now_ms,
            polled_ms: 0,
        }
    }

    /// Requests that may be under way.
    fn requests(&self) -> u64 {
        self.hold as u64 + 1
    }

    /// Bytes that wait for the client to ask for them.
    pub fn outbound_bytes(&self) -> usize {
        self.out.len()
    }

    /// What waits for the client, when it will not be asked for any more.
    pub fn take_outbound(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Somebody was told of the end, and nobody waits.
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Told && self.held.is_empty()
    }

    /// A request; what it leads to is in [`Session::next`] and [`Session::answers`]. A repeated one
    /// gets the answer that it got.
    ///
    /// # Errors
    /// The session has to end, and the request to be answered with this.
    pub fn request(
        &mut self,
        body: Body,
        from: R,
        now_ms: u64,
    ) -> Result<Repeated<R>, (R, Condition)> {
        self.idle_since_ms = now_ms;
        let rid = body.rid;
        if let Some(sent) = self.sent.iter().find(|sent| sent.rid == rid) {
            if sent.proof != body.proof() {
                return Ok(Some((from, not_found())));
            }
            // Section 14.3: the connection broke before the answer was there.
            return Ok(Some((from, sent.answer.clone())));
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            // SPEC(XEP-0124 15): a sequence is for whoever knows its keys, the same one again as well.
            if held.proof != body.proof() {
                return Ok(Some((from, not_found())));
            }
            // It broke while the request waited, and the repetition may even have come first.
            if held.from.len() >= REPETITIONS_MAX {
                return Err((from, Condition::PolicyViolation));
            }
            held.from.push(from);
            return Ok(None);
        }
        if rid < self.next_rid {
            // A straggler of a connection that broke long ago: its client has gone on, so it alone
            // is told.
            return Ok(Some((from, not_found())));
        }
        let window = self.next_rid..self.next_rid + self.requests() + 1;
        if !window.contains(&rid) || self.early.contains_key(&rid) {
            return Err((from, Condition::ItemNotFound));
        }
        // Section 11: one more than may be under way is told so by an answer to the oldest.
        if self.held.len() as u64 > self.requests() {
            return Err((from, Condition::PolicyViolation));
        }
        let proof = body.proof();
        self.early.insert(rid, body);
        let place = self.held.partition_point(|held| held.rid < rid);
        self.held.insert(
            place,
            Held {
                rid,
                proof,
                from: vec![from],
                since_ms: now_ms,
            },
        );
        Ok(None)
    }

    /// The next request's content, in the order of their numbers.
    ///
    /// # Errors
    /// The session has to end with this.
    pub fn next(&mut self, now_ms: u64) -> Result<Option<Body>, Condition> {
        let Some(body) = self.early.remove(&self.next_rid) else {
            return Ok(None);
        };
        self.next_rid += 1;
        self.check_key(&body)?;
        if let Some(pause) = body.pause.filter(|pause| *pause > 0) {
            // Section 10: as if it were away, for so long.
            self.inactivity_ms = pause.min(self.options.pause_max_s) * 1000;
            self.polled_ms = 0;
        } else {
            self.inactivity_ms = self.options.inactivity_s * 1000;
        }
        let is_empty = body.payload.is_empty() && !body.terminate && !body.restart;
        if self.hold == 0 && is_empty && body.pause.is_none() && !self.is_new {
            // Section 12.
            if now_ms < self.polled_ms + POLLING_S * 1000 && self.polled_ms > 0 {
                return Err(Condition::PolicyViolation);
            }
            self.polled_ms = now_ms;
        }
        Ok(Some(body))
    }

    /// Section 15: who began a sequence has to prove each request.
    fn check_key(&mut self, body: &Body) -> Result<(), Condition> {
        if let Some(expected) = &self.key {
            let key = body.key.as_deref().ok_or(Condition::ItemNotFound)?;
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
            let hash: String = hash
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if !hash.eq_ignore_ascii_case(expected) {
                return Err(Condition::ItemNotFound);
            }
            self.key = Some(key.into());
        }
        if let Some(new) = &body.new_key {
            if new.len() != KEY_BYTES {
                return Err(Condition::BadRequest);
            }
            self.key = Some(new.clone());
        }
        Ok(())
    }

    /// The stream has begun: what its header says.
    pub fn opened(&mut self, stream_id: &[u8], from: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        self.welcome.get_or_insert_with(|| Welcome {
            stream_id: text(stream_id),
            from: text(from),
        });
    }

    /// What the stream has to say, to be appended to.
    pub fn write(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The stream is over.
    pub fn end(&mut self, condition: Option<Condition>) {
        if self.ending == Ending::No {
            self.ending = Ending::Due(condition);
        }
    }

    /// What is to be answered now. `pausing`: the client wants its requests back.
    pub fn answers(&mut self, now_ms: u64, pausing: bool, mut send: impl FnMut(R, Vec<u8>)) {
        loop {
            let waits = self.held.len();
            let Some(first) = self.held.front() else {
                return;
            };
            // A request whose content was not taken yet is not answered before it is.
            let ends = matches!(self.ending, Ending::Due(_) | Ending::Told);
            if first.rid >= self.next_rid && !ends {
                return;
            }
            let is_gone = first.from.is_empty();
            let is_due = ends
                || pausing
                || waits > self.hold
                || !is_gone && (!self.out.is_empty() || now_ms >= first.since_ms + self.wait_ms);
            if !is_due {
                return;
            }
            let Some(held) = self.held.pop_front() else {
                return;
            };
            if is_gone && ends {
                // What there is to say is for those who hear it, or goes back.
                continue;
            }
            let mut answer = Vec::with_capacity(self.out.len() + 256);
            let payload = std::mem::take(&mut self.out);
            match self.ending {
                Ending::Due(condition) => {
                    write_end(condition, &payload, &mut answer);
                    self.ending = Ending::Told;
                }
                Ending::Told => write_end(None, &payload, &mut answer),
                Ending::No => self.write_answer(held.rid, &payload, &mut answer),
            }
            self.sent.push_back(Sent {
                rid: held.rid,
                proof: held.proof,
                answer: answer.clone(),
            });
            while self.sent.len() as u64 > self.requests() {
                self.sent.pop_front();
            }
            self.idle_since_ms = now_ms;
            for from in held.from {
                send(from, answer.clone());
            }
        }
    }

    /// The highest number up to which every request has come.
    fn acknowledged(&self) -> u64 {
        let ahead = (self.next_rid..).take_while(|rid| self.early.contains_key(rid));
        ahead.last().unwrap_or(self.next_rid - 1)
    }

    fn write_answer(&mut self, rid: u64, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<body xmlns='");
        out.extend_from_slice(ns::HTTP_BIND.as_bytes());
        out.push(b'\'');
        // Section 9.1: the first says that there will be some; later none means its own request.
        let acknowledged = self.acknowledged();
        if self.options.acks && (self.is_new || acknowledged != rid) {
            out.extend_from_slice(format!(" ack='{acknowledged}'").as_bytes());
        }
        if std::mem::take(&mut self.is_new) {
            let text = format!(
                " xmlns:xmpp='{}' xmlns:stream='{}' sid='{}' wait='{}' requests='{}' hold='{}' \
                 maxpause='{}' polling='{POLLING_S}' \
                 ver='1.11' xmpp:version='1.0' xmpp:restartlogic='true'",
                ns::XBOSH,
                ns::STREAMS,
                self.sid,
                self.wait_ms / 1000,
                self.requests(),
                self.hold,
                self.options.pause_max_s,
            );
            out.extend_from_slice(text.as_bytes());
            // Section 7.2 leaves it out where a client may stay away as long as it likes.
            let inactivity_s = self.options.inactivity_s;
            if inactivity_s < FOREVER_S {
                out.extend_from_slice(format!(" inactivity='{inactivity_s}'").as_bytes());
            }
            if let Some(welcome) = &self.welcome {
                out.extend_from_slice(b" authid='");
                escape_attribute(&welcome.stream_id, out);
                out.extend_from_slice(b"' from='");
                escape_attribute(&welcome.from, out);
                out.push(b'\'');
            }
        }
        close(payload, out);
    }

    /// The oldest request that somebody waits with.
    fn waiting(&self) -> Option<&Held<R>> {
        self.held.iter().find(|held| !held.from.is_empty())
    }

    /// When the session has to be looked at; milliseconds.
    pub fn due_ms(&self) -> u64 {
        match self.waiting() {
            Some(held) => held.since_ms + self.wait_ms,
            None => self.idle_since_ms + self.inactivity_ms,
        }
    }

    /// The client has not asked for so long that it is gone.
    pub fn is_inactive(&self, now_ms: u64) -> bool {
        self.waiting().is_none() && now_ms >= self.idle_since_ms + self.inactivity_ms
    }

    /// The connection of a request is gone, and its client with it unless it asks again. What comes
    /// meanwhile waits for that.
    pub fn lost(&mut self, from: &R, now_ms: u64)
    where
        R: PartialEq,
    {
        let mut found = false;
        for held in &mut self.held {
            let before = held.from.len();
            held.from.retain(|one| one != from);
            found |= held.from.len() < before;
        }
        if found && self.waiting().is_none() {
            self.idle_since_ms = now_ms;
        }
    }

    /// Requests that are still waiting, when the session is gone.
    pub fn take_held(&mut self) -> impl Iterator<Item = R> {
        std::mem::take(&mut self.held)
            .into_iter()
            .flat_map(|held| held.from)
    }
}

/// The stream header that a first or restarting `<body/>` stands for.
pub fn header(to: &str, lang: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(b"<stream:stream xmlns='jabber:client' xmlns:stream='");
    out.extend_from_slice(ns::STREAMS.as_bytes());
    out.extend_from_slice(b"' version='1.0' to='");
    escape_attribute(to, &mut out);
    if let Some(lang) = lang {
        out.extend_from_slice(b"' xml:lang='");
        escape_attribute(lang, &mut out);
    }
    out.extend_from_slice(b"'>");
    out
}

#[cfg(test)]
mod tests;
