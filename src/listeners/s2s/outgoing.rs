//! Streams that we open to other servers, and what waits for them.

use std::rc::Rc;

use crate::base::key::Key;
use crate::config::Who;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Note;
use crate::listeners::s2s::Letter;
use crate::listeners::s2s::incoming::is_certified;
use crate::listeners::s2s::links::ASK_MS;
use crate::listeners::s2s::links::ASK_PAUSE_MS;
use crate::listeners::s2s::links::ASKED_MAX;
use crate::listeners::s2s::links::Asked;
use crate::listeners::s2s::links::CONNECTING_MAX;
use crate::listeners::s2s::links::Name;
use crate::listeners::s2s::links::State;
use crate::listeners::s2s::links::pause_ms;
use crate::listeners::shard::Shard;
use crate::listeners::traffic::Peers;
use crate::modules::bounce;
use crate::net::dial::DialError;
use crate::net::dial::Dialled;
use crate::net::resolve::Target;
use crate::net::ring::Ring;
use crate::proto::ns;
use crate::proto::s2s::Pair;
use crate::proto::s2s::Proof;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::s2s::dialback::Verdict;
use crate::proto::s2s::outbound::Failed;
use crate::proto::s2s::outbound::Outbound;
use crate::proto::stanza::error::StanzaCondition;
use crate::xml::scan::StreamScope;

/// A stream that lived so long was a success, in milliseconds.
const LASTING_MS: u64 = 10_000;
/// Streams of one link that may end sooner, one after the other, before there is a pause.
const LOSSES_MAX: u32 = 3;

impl Shard {
    /// Links get what they want: a connection, a stream that is used, an answer.
    pub(in crate::listeners) fn run_links(&mut self, ring: &mut Ring) {
        self.desk.links.wake(self.desk.now_ms);
        while self.desk.links.wants() || !self.letters.is_empty() {
            for letter in std::mem::take(&mut self.letters) {
                self.open_letter(ring, letter);
            }
            for name in self.desk.links.take_wanting() {
                self.look_after_link(ring, &name);
            }
        }
    }

    /// Another shard writes about a dialback key.
    pub(in crate::listeners) fn open_letter(&mut self, ring: &mut Ring, letter: Letter) {
        match letter {
            Letter::Ask {
                question,
                shard,
                connection,
            } => self.take_question(question, shard, connection),
            Letter::Answer { connection, answer } => self.answered(ring, connection, &answer),
            Letter::Seen(pair) => self.seen(&pair),
            Letter::Quiet => self.hear_quiet(),
        }
    }

    /// An incoming stream claims to be of a domain of this shard: its server is asked.
    fn take_question(&mut self, question: Dialback, shard: usize, connection: Key) {
        let now_ms = self.desk.now_ms;
        let hash = self.sessions.hash(&question.to);
        let (local, remote) = (question.from.clone(), question.to.clone());
        let links = &mut self.desk.links;
        let mut refused = Vec::new();
        let room = match links.find_or_make(now_ms, hash, &local, &remote) {
            None => false,
            Some(link) => {
                // Whoever has not been answered by now has given up.
                let is_late = |asked: &mut Asked| now_ms >= asked.since_ms + ASK_MS;
                refused.extend(link.asked.extract_if(.., is_late));
                link.asked.len() < ASKED_MAX
            }
        };
        let asked = Asked {
            question,
            shard,
            connection,
            sent: false,
            since_ms: now_ms,
        };
        if room && let Some(link) = self.desk.links.get_mut(hash, &local, &remote) {
            link.asked.push(asked);
            self.desk.links.want(hash, &local, &remote);
        } else {
            refused.push(asked);
        }
        for asked in refused {
            self.reply(&asked, Verdict::Error(StanzaCondition::ResourceConstraint));
        }
    }

    /// A server that connects to us is there: what failed before may be tried again at once.
    fn seen(&mut self, pair: &Pair) {
        let hash = self.sessions.hash(&pair.remote);
        if let Some(link) = self.desk.links.get_mut(hash, &pair.local, &pair.remote)
            && matches!(link.state, State::Failed(..))
        {
            link.state = State::Idle;
        }
    }

    pub(super) fn reply(&mut self, asked: &Asked, verdict: Verdict) {
        let letter = Letter::Answer {
            connection: asked.connection,
            answer: asked.question.answer(verdict),
        };
        self.post(asked.shard, letter);
    }

    fn look_after_link(&mut self, ring: &mut Ring, name: &Name) {
        let (hash, pair) = name;
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        match link.state {
            State::Idle => self.find_way(name),
            State::Opening(key) | State::Ready(key) => self.use_stream(ring, key, name),
            // A server that connects to us is there, whatever we found out before.
            State::Failed(..) if !link.asked.is_empty() => {
                let due_ms = link.failed_ms + ASK_PAUSE_MS;
                if self.desk.now_ms < due_ms {
                    self.desk.links.want_later(due_ms, name);
                } else {
                    self.dial(name, None);
                }
            }
            State::Dialling(_) | State::Failed(..) => {}
        }
    }

    /// There is no stream of ours: one of the peer's is used, or one is made. Questions about keys are
    /// no business of a peer's stream: where there is one, they get one of ours for themselves.
    fn find_way(&mut self, name: &Name) {
        let (hash, pair) = name;
        if !self.is_settled(name) {
            return;
        }
        self.use_theirs(name);
        let link = self.desk.links.get_mut(*hash, &pair.local, &pair.remote);
        if link.is_some_and(|link| !link.queue.is_empty() || !link.asked.is_empty()) {
            self.dial(name, None);
        }
    }

    /// A stream is there: what waits goes out as far as it may.
    fn use_stream(&mut self, ring: &mut Ring, key: Key, name: &Name) {
        let (hash, pair) = name;
        let settings = Rc::clone(&self.settings);
        let settled = self.is_settled(name);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Outbound(outbound) = &mut connection.stage else {
            return;
        };
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        let mut out = Vec::new();
        if !link.queue.is_empty() && settled {
            let terms = settings.federation.terms(&settings.config.general.language);
            outbound.want(&terms, &mut out);
        }
        if outbound.may_ask() {
            for asked in link.asked.iter_mut().filter(|asked| !asked.sent) {
                asked.sent = true;
                asked.question.write(&mut out);
            }
        }
        if !out.is_empty() {
            self.write_or_cut(key, out);
            self.outgoing_step(key);
        }
        self.run_ends(ring);
    }

    /// The clock of a stream of ours: steps while it is negotiated, then how long it may be idle.
    pub(super) fn outgoing_step(&mut self, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get(key) else {
            return;
        };
        let Stage::Outbound(outbound) = &connection.stage else {
            return;
        };
        match (outbound.ready(), outbound.label()) {
            (None, label) if label != "idle" => self.next_step(key),
            (_, _) => {
                let idle_ms = self.settings.federation.stream_timeout_ms;
                self.set_deadline(key, idle_ms.map_or(0, |idle_ms| now_ms + idle_ms));
            }
        }
    }

    /// The deadline of a stream of ours has come; true where it has something to say against that.
    pub(in crate::listeners) fn outgoing_is_due(&mut self, ring: &mut Ring, key: Key) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get(key) else {
            return;
        };
        let active_ms = connection.active_ms;
        let Stage::Outbound(outbound) = &connection.stage else {
            return;
        };
        if outbound.ready().is_none() && outbound.label() != "idle" {
            return self.fail_outgoing(ring, key, Failed::timeout("the peer takes too long"));
        }
        match self.settings.federation.stream_timeout_ms {
            Some(idle_ms) if now_ms >= active_ms + idle_ms => {
                let text = "a stream to another server was idle";
                log_of!(debug, self.settings, connection, "{text}");
                self.end_finished(ring, key);
            }
            Some(idle_ms) => self.set_deadline(key, active_ms + idle_ms),
            None => self.set_deadline(key, 0),
        }
    }

    fn dial(&mut self, name: &Name, rest: Option<Vec<Target>>) {
        let (hash, pair) = name;
        let settings = Rc::clone(&self.settings);
        let attempt = self.desk.links.next_attempt();
        let is_full = self.desk.links.connecting >= CONNECTING_MAX;
        let is_first = rest.is_none();
        let outside = self.outside.clone();
        let noted = name.clone();
        let reply = move |result| {
            // The inbox has room for every connection that may be under way.
            let _ = outside.send(Note::Dialled(Box::new(noted), attempt, result));
        };
        let dialled = match &settings.federation.dialler {
            Some(dialler) if !is_full && self.stop_by_ms == 0 => {
                dialler.dial(&pair.remote, rest, reply).is_ok()
            }
            Some(_) | None => false,
        };
        if !dialled {
            return self.fail_link(name, StanzaCondition::ResourceConstraint);
        }
        self.desk.links.connecting += 1;
        if let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) {
            link.state = State::Dialling(attempt);
            if is_first {
                link.begun_ms = self.desk.now_ms;
            }
        }
    }

    /// What became of an attempt to connect.
    pub(in crate::listeners) fn dialled(
        &mut self,
        ring: &mut Ring,
        name: &Name,
        attempt: u64,
        result: Result<Dialled, DialError>,
    ) {
        self.desk.links.connecting = self.desk.links.connecting.saturating_sub(1);
        let (hash, pair) = name;
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        if link.state != State::Dialling(attempt) || self.stop_by_ms > 0 {
            return;
        }
        match result {
            Ok(dialled) => {
                if link.on_theirs && link.asked.is_empty() {
                    // The peer has come to us meanwhile.
                    link.state = State::Idle;
                    return;
                }
                link.rest = dialled.rest.clone();
                let wanted = !link.queue.is_empty();
                let outbound = Outbound::new(
                    pair.clone(),
                    dialled.direct_tls,
                    wanted,
                    link.without_external,
                );
                self.open_outgoing(ring, name, dialled, outbound);
            }
            Err(error) => {
                let condition = match error {
                    DialError::NotFound => StanzaCondition::RemoteServerNotFound,
                    DialError::Unreachable => StanzaCondition::RemoteServerTimeout,
                };
                tracing::debug!(local = %pair.local, remote = %pair.remote, ?error, "no connection");
                self.fail_link(name, condition);
            }
        }
    }

    fn open_outgoing(
        &mut self,
        ring: &mut Ring,
        name: &Name,
        dialled: Dialled,
        outbound: Outbound,
    ) {
        let (hash, pair) = name;
        let now_ms = self.desk.now_ms;
        let settings = Rc::clone(&self.settings);
        let number = settings.outgoing();
        // There is no limit to wait for; the count goes down when it ends.
        let _ = settings.listener(number).gate.admit(now_ms);
        let scope = StreamScope::ordinary(ns::SERVER);
        let direct_tls = dialled.direct_tls;
        let mut out = Vec::new();
        if !direct_tls {
            let terms = settings.federation.terms(&settings.config.general.language);
            outbound.open(&terms, &mut out);
        }
        let stage = Stage::Outbound(Box::new(outbound));
        let mut connection = Connection::new(
            Some(dialled.socket),
            dialled.peer,
            number,
            stage,
            scope,
            now_ms,
        );
        let hosts = &settings.hosts;
        connection.class = Peers::Servers.class(hosts, hosts.position(&pair.local));
        let key = self.desk.slab.insert(connection);
        if let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) {
            link.state = State::Opening(key);
        }
        if direct_tls && !self.start_tls(key) {
            return self.fail_outgoing(ring, key, Failed::timeout("TLS cannot be started"));
        }
        self.write_or_cut(key, out);
        self.desk.touch(key);
        self.next_step(key);
        self.listen_on(ring, key);
    }

    /// The TLS handshake of a stream of ours is done: the stream begins anew on it.
    pub(in crate::listeners) fn outgoing_secured(&mut self, ring: &mut Ring, key: Key) {
        let settings = Rc::clone(&self.settings);
        let federation = &settings.federation;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Outbound(outbound) = &connection.stage else {
            return;
        };
        let remote = outbound.pair().remote.clone();
        let certified = is_certified(connection, &remote);
        if !certified && federation.trusted_only {
            let why = "the peer's certificate is not good for its domain";
            return self.fail_outgoing(ring, key, Failed::timeout(why));
        }
        let Stage::Outbound(outbound) = &mut connection.stage else {
            return;
        };
        let mut out = Vec::new();
        let terms = federation.terms(&settings.config.general.language);
        outbound.secured(&terms, certified, &mut out);
        self.write_or_cut(key, out);
    }

    pub(super) fn outgoing_ready(&mut self, key: Key, name: &Name, proof: Proof) {
        let (hash, pair) = name;
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        link.state = State::Ready(key);
        link.rest = Vec::new();
        if let Some(connection) = self.desk.slab.get(key) {
            let (local, remote, proof) = (&pair.local, &pair.remote, proof.label());
            log_of!(info, self.settings, connection, %local, %remote, proof, "stream to a server");
        }
        // What has waited goes first: from now on stanzas are written to the stream itself.
        let queue = self.desk.links.take_queue(name);
        self.write_or_cut(key, queue);
        self.desk.links.want(*hash, &pair.local, &pair.remote);
        self.outgoing_step(key);
        let settings = Rc::clone(&self.settings);
        let who = Who {
            node: "",
            domain: &pair.remote,
            resource: "",
        };
        let shaper = &settings.listener(settings.outgoing()).shaper;
        self.shape(key, settings.config.rate(shaper, &pair.local, who));
    }

    /// A stream of ours comes to nothing: the peer is told, and the next way is tried.
    pub(in crate::listeners) fn fail_outgoing(
        &mut self,
        ring: &mut Ring,
        key: Key,
        failed: Failed,
    ) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Outbound(outbound) = &connection.stage else {
            return;
        };
        let Pair { local, remote } = outbound.pair();
        let why = failed.why;
        log_of!(info, self.settings, connection, %local, %remote, why, "no stream to a server");
        self.verdicts.push((key, failed.condition));
        match failed.error {
            Some(error) => self.end_with(ring, key, EndReason::StreamError, error),
            None => self.end_finished(ring, key),
        }
    }

    /// A stream of ours has ended, for whatever reason; its connection is still there. Called once,
    /// before the end of the stream is written.
    pub(in crate::listeners) fn outgoing_left(&mut self, key: Key, outbound: &Outbound) {
        let pair = outbound.pair();
        let hash = self.sessions.hash(&pair.remote);
        let name = (hash, pair.clone());
        let verdict = self.verdicts.iter().position(|(failed, _)| *failed == key);
        let verdict = verdict.map(|place| self.verdicts.swap_remove(place).1);
        let ready = outbound.ready().is_some();
        let now_ms = self.desk.now_ms;
        let (cut, since_ms) = match self.desk.slab.get(key) {
            Some(connection) => (connection.cut, connection.since_ms),
            None => (false, now_ms),
        };
        let Some(link) = self.desk.links.get_mut(hash, &pair.local, &pair.remote) else {
            return;
        };
        if !matches!(link.state, State::Opening(of) | State::Ready(of) if of == key) {
            return;
        }
        link.asked.iter_mut().for_each(|asked| asked.sent = false);
        if cut {
            // What it did not read would only wait again: its senders are told.
            return self.fail_link(&name, StanzaCondition::RemoteServerTimeout);
        }
        if ready {
            link.state = State::Idle;
            link.failures = match now_ms.saturating_sub(since_ms) {
                LASTING_MS.. => 0,
                ..LASTING_MS => link.failures.saturating_add(1),
            };
            if link.failures > LOSSES_MAX {
                return self.fail_link(&name, StanzaCondition::RemoteServerTimeout);
            }
            link.after = Some(key);
            return self.send_anew(key, &name);
        }
        if !link.theirs.is_empty() {
            // There is another way.
            link.state = State::Idle;
            return self.desk.links.want(hash, &pair.local, &pair.remote);
        }
        if outbound.failed_external() && !link.without_external {
            link.without_external = true;
            self.cells.servers_refused += 1;
            return self.dial(&name, None);
        }
        let rest = link.take_rest(now_ms);
        if !rest.is_empty() {
            return self.dial(&name, Some(rest));
        }
        if link.queue.is_empty() && link.asked.is_empty() {
            link.state = State::Idle;
            return;
        }
        self.fail_link(
            &name,
            verdict.unwrap_or(StanzaCondition::RemoteServerTimeout),
        );
    }

    /// There is no way to the domain for now: everybody who waits for one is told.
    pub(super) fn fail_link(&mut self, name: &Name, condition: StanzaCondition) {
        let (hash, pair) = name;
        let now_ms = self.desk.now_ms;
        let longest_ms = self.settings.federation.retry_max_ms;
        let queue = self.desk.links.take_queue(name);
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        link.failures = link.failures.saturating_add(1);
        let until_ms = now_ms + pause_ms(link.failures, longest_ms, pair);
        link.state = State::Failed(until_ms, condition);
        link.failed_ms = now_ms;
        link.without_external = false;
        let asked = std::mem::take(&mut link.asked);
        for asked in asked {
            self.reply(&asked, Verdict::Error(condition));
        }
        self.send_back(&queue, condition);
    }

    /// Stanzas that cannot be sent go back to their senders.
    fn send_back(&mut self, queue: &[u8], condition: StanzaCondition) {
        self.each_stanza(queue, |shard, stanza, bytes, _| {
            bounce::bounce(&mut shard.scene(), bytes, stanza.kind, condition);
        });
    }
}
