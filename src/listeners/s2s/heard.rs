//! What comes on the streams that we open to other servers: their side of the negotiation, answers
//! about dialback keys, and stanzas where a stream goes both ways (XEP-0288).

use std::rc::Rc;

use crate::base::key::Key;
use crate::listeners::c2s::stream_error;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::s2s::links::Asked;
use crate::listeners::s2s::links::Name;
use crate::listeners::shard::Shard;
use crate::net::ring::Ring;
use crate::proto::s2s::Found as Element;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::s2s::dialback::Verdict;
use crate::proto::s2s::outbound::Failed;
use crate::proto::s2s::outbound::Order;
use crate::proto::s2s::outbound::Outbound;
use crate::proto::s2s::outbound::Terms;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::scan::Found;
use crate::xml::scan::HeaderFound;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;

impl Shard {
    /// Handles what the peer of a stream of ours sent; returns how many bytes are done with.
    pub(in crate::listeners) fn serve_outgoing(
        &mut self,
        ring: &mut Ring,
        key: Key,
        mut outbound: Box<Outbound>,
        scanner: &mut Scanner,
        input: &[u8],
    ) -> usize {
        let mut out = self.desk.pool.take();
        let mut answers = Vec::new();
        let heard = (&mut out, &mut answers);
        let Some((at, last)) = self.hear_peer(key, &mut outbound, scanner, input, heard) else {
            return input.len();
        };
        let name = (
            self.sessions.hash(&outbound.pair().remote),
            outbound.pair().clone(),
        );
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return input.len();
        };
        connection.held = outbound.awaits();
        connection.stage = Stage::Outbound(outbound);
        if !out.is_empty() {
            self.write_or_cut(key, out);
            self.outgoing_step(key);
        }
        for answer in answers {
            self.pass_verdict_on(&name, &answer);
        }
        self.perform_outgoing(ring, key, &name, last);
        match self.desk.slab.get(key) {
            Some(connection) if matches!(connection.stage, Stage::Outbound(_)) => at,
            Some(_) | None => input.len(),
        }
    }

    /// Goes through what came, up to what has to be carried out before the rest; how far, and what
    /// that is. None: the connection is gone.
    fn hear_peer(
        &mut self,
        key: Key,
        outbound: &mut Outbound,
        scanner: &mut Scanner,
        input: &[u8],
        (out, answers): (&mut Vec<u8>, &mut Vec<Dialback>),
    ) -> Option<(usize, Order)> {
        let settings = Rc::clone(&self.settings);
        let terms = settings.federation.terms(&settings.config.general.language);
        let mut at = 0;
        let mut last = Order::Go;
        while at < input.len() {
            let connection = self.desk.slab.get_mut(key)?;
            let listener = settings.listener(connection.listener);
            let limits = if outbound.goes_both_ways() {
                &listener.limits
            } else {
                &listener.limits_before_login
            };
            let rest = input.get(at..).unwrap_or_default();
            let (end, order) =
                match next_outgoing(connection, outbound, &terms, (scanner, limits), rest, out) {
                    Step::More => break,
                    Step::Skip(end) => (end, Order::Go),
                    Step::Ordered(end, order) => (end, order),
                };
            at += end;
            match order {
                Order::Go => {}
                Order::Restart => scanner.reset(),
                Order::Verified(answer) => answers.push(answer),
                Order::Stanza => {
                    let bytes = rest.get(..end).unwrap_or_default();
                    if let Err(error) = self.stanza_back(key, outbound, scanner, bytes) {
                        last = Order::Fail(Failed {
                            error: Some(error),
                            ..Failed::timeout("the peer sends what it may not")
                        });
                        break;
                    }
                }
                Order::StartTls
                | Order::Ready(_)
                | Order::Waits
                | Order::Fail(_)
                | Order::Finish => {
                    last = order;
                    break;
                }
            }
        }
        Some((at, last))
    }

    /// The peer sends on our stream (XEP-0288): from its domain to ours, and nothing else.
    fn stanza_back(
        &mut self,
        key: Key,
        outbound: &Outbound,
        scanner: &Scanner,
        bytes: &[u8],
    ) -> Result<(), StreamError> {
        let Some(connection) = self.desk.slab.get(key) else {
            return Ok(());
        };
        let scope = connection.scope.clone();
        let found = Element {
            bytes,
            head: scanner.head(),
            scope: &scope,
        };
        let pair = outbound.pair();
        let refused = |local: &str, remote: &str| {
            if pair.is(local, remote) {
                None
            } else if *pair.remote == *remote {
                Some(StreamCondition::ImproperAddressing)
            } else {
                Some(StreamCondition::InvalidFrom)
            }
        };
        self.server_stanza(key, found, &refused)
    }

    /// The peer has answered a question: whoever asked is told.
    fn pass_verdict_on(&mut self, (hash, pair): &Name, answer: &Dialback) {
        let Some(link) = self.desk.links.get_mut(*hash, &pair.local, &pair.remote) else {
            return;
        };
        let is_it = |asked: &Asked| asked.sent && asked.question.id == answer.id;
        let Some(place) = link.asked.iter().position(is_it) else {
            return;
        };
        let asked = link.asked.swap_remove(place);
        self.reply(&asked, answer.verdict.unwrap_or(Verdict::Invalid));
    }

    fn perform_outgoing(&mut self, ring: &mut Ring, key: Key, name: &Name, order: Order) {
        let (hash, pair) = name;
        match order {
            Order::Go | Order::Restart | Order::Verified(_) | Order::Stanza => {}
            Order::StartTls => self.upgrade(ring, key),
            Order::Waits => {
                self.outgoing_step(key);
                self.desk.links.want(*hash, &pair.local, &pair.remote);
            }
            Order::Ready(proof) => self.outgoing_ready(key, name, proof),
            Order::Fail(failed) => self.fail_outgoing(ring, key, failed),
            Order::Finish => self.end_finished(ring, key),
        }
    }
}

enum Step {
    More,
    Skip(usize),
    Ordered(usize, Order),
}

fn next_outgoing(
    connection: &mut Connection,
    outbound: &mut Outbound,
    terms: &Terms<'_>,
    (scanner, limits): (&mut Scanner, &Limits),
    input: &[u8],
    out: &mut Vec<u8>,
) -> Step {
    let wrong = |error: StreamError| {
        let failed = Failed {
            error: Some(error),
            ..Failed::timeout("the peer's stream is no XMPP")
        };
        Step::Ordered(0, Order::Fail(failed))
    };
    let header = outbound.expects_header();
    let end = if header {
        // White space behind the element that ended the old stream belongs to that one.
        let space = input.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if space > 0 && !scanner.is_midway() {
            return Step::Skip(space);
        }
        match scanner.scan_header(limits, input) {
            Ok(HeaderFound::More) => return Step::More,
            Ok(HeaderFound::Header { end }) => {
                connection.scope = scanner.take_scope(input);
                end
            }
            Err(error) => return wrong(stream_error(error)),
        }
    } else {
        match scanner.scan(limits, &connection.scope, input) {
            Ok(Found::More) => return Step::More,
            Ok(Found::Whitespace { end }) => return Step::Skip(end),
            Ok(Found::StreamEnd { end }) => return Step::Ordered(end, Order::Finish),
            Ok(Found::Element { end }) => end,
            Err(error) => return wrong(stream_error(error)),
        }
    };
    let found = Element {
        bytes: input.get(..end).unwrap_or_default(),
        head: scanner.head(),
        scope: &connection.scope,
    };
    let order = if header {
        outbound.header(terms, found, out)
    } else {
        outbound.element(terms, found, out)
    };
    Step::Ordered(end, order)
}
