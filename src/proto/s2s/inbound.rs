//! RFC 6120, XEP-0178, XEP-0220, XEP-0288: the side of a server-to-server stream that was connected to.
//!
//! The machine lives as long as the stream, because a peer may prove further pairs of domains at
//! any time (multiplexing). Nothing but what [`Inbound::proof`] knows may be sent for. A peer whose
//! certificate is good for its domain may have us send on the stream too (XEP-0288).

use crate::proto::ns;
use crate::proto::s2s::Found;
use crate::proto::s2s::Pair;
use crate::proto::s2s::Proof;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::s2s::dialback::Keys;
use crate::proto::s2s::dialback::Kind;
use crate::proto::s2s::dialback::Verdict;
use crate::proto::s2s::header;
use crate::proto::s2s::header::Features;
use crate::proto::sasl::base64;
use crate::proto::sasl::failure::Failure;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;

/// Pairs of domains that one stream may be used for. A large host has some dozens of services.
pub const PAIRS_MAX: usize = 256;
/// Pairs of one stream that may wait to be verified: each may cost a connection of ours.
pub const ASKED_MAX: usize = 16;
/// Failed proofs after which a stream without any ends.
pub const FAILURES_MAX: u8 = 3;

/// What the driver knows and the machine asks.
pub struct Terms<'a> {
    /// Whether a domain, prepared, is served here.
    pub serves: &'a dyn Fn(&str) -> bool,
    /// Whether the operator lets a domain of ours talk with another one.
    pub allows: &'a dyn Fn(&str, &str) -> bool,
    /// Whether the certificate that the peer has shown is good and names a domain.
    pub certified: &'a dyn Fn(&str) -> bool,
    /// Our dialback keys.
    pub keys: &'a Keys,
    /// The host that speaks before the peer has named one.
    pub default_host: &'a str,
    /// `xml:lang` of our streams.
    pub language: &'a str,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// Nothing goes before TLS.
    pub tls_required: bool,
}

/// What the driver has to do next.
#[derive(Debug, Eq, PartialEq)]
pub enum Order {
    /// Nothing: go on reading.
    Go,
    /// A new stream header must come: forget the old stream.
    Restart,
    /// Begin TLS, once what is written is sent.
    StartTls,
    /// Ask the server of `from` whether it has made this key, and answer with
    /// [`Inbound::verified`].
    Verify(Dialback),
    /// It is no element of the negotiation: a stanza of a peer that has proven something.
    Stanza,
    /// Write this and close.
    End(StreamError),
    /// The peer has given up or ended: answer likewise and close.
    Finish,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    ExpectHeader,
    Open,
    AwaitTls,
}

/// One stream that a server has opened to us. Lives on: the shard that accepted the connection.
#[derive(Debug)]
pub struct Inbound {
    state: State,
    secured: bool,
    failures: u8,
    id: Box<str>,
    local: Box<str>,
    remote: Option<Box<str>>,
    proven: Vec<(Pair, Proof)>,
    asked: Vec<Dialback>,
    both_ways: BothWays,
}

/// Whether we send on the stream too (XEP-0288).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BothWays {
    No,
    Offered,
    /// The peer wants it; once its first proof is that of the stream's own pair, we do.
    Wanted,
}

impl Inbound {
    /// The beginning; `secured` where TLS is there already.
    pub fn new(secured: bool) -> Self {
        Self {
            state: State::ExpectHeader,
            secured,
            failures: 0,
            id: Box::default(),
            local: Box::default(),
            remote: None,
            proven: Vec::new(),
            asked: Vec::new(),
            both_ways: BothWays::No,
        }
    }

    /// True while the next bytes must be a stream header.
    pub fn expects_header(&self) -> bool {
        self.state == State::ExpectHeader
    }

    /// True while input has to wait.
    pub fn awaits(&self) -> bool {
        self.state == State::AwaitTls
    }

    /// The host that the peer asked for; empty before its header.
    pub fn host(&self) -> &str {
        &self.local
    }

    /// Who the peer says it is, as far as its header says anything.
    pub fn claims(&self) -> Option<&str> {
        self.remote.as_deref()
    }

    /// The pairs that the peer may send for, each with how it was proven.
    pub fn proven(&self) -> &[(Pair, Proof)] {
        &self.proven
    }

    /// How it was proven that the peer may send from `remote` to `local`.
    pub fn proof(&self, local: &str, remote: &str) -> Option<Proof> {
        self.proven
            .iter()
            .find(|(pair, _)| pair.is(local, remote))
            .map(|(_, proof)| *proof)
    }

    /// The pair that we may send for on this stream (XEP-0288).
    pub fn both_ways(&self) -> Option<&Pair> {
        let (pair, _) = self.proven.first()?;
        let is_ready = self.both_ways == BothWays::Wanted && self.state == State::Open;
        is_ready.then_some(pair)
    }

    /// True while the server of a domain is being asked.
    pub fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// TLS is there: a new stream begins on it.
    pub fn secured(&mut self) {
        self.secured = true;
        self.state = State::ExpectHeader;
    }

    /// Begins our side of the stream where the peer's header could not be read.
    pub fn open_for_error(&self, terms: &Terms<'_>, id: &str, out: &mut Vec<u8>) {
        if self.expects_header() {
            let host = if self.local.is_empty() {
                terms.default_host
            } else {
                &self.local
            };
            header::write(host, None, Some(id), terms.language, out);
        }
    }

    /// A stream header. The answer is our header and the features, in one piece.
    pub fn header(
        &mut self,
        terms: &Terms<'_>,
        found: Found<'_>,
        id: &str,
        out: &mut Vec<u8>,
    ) -> Order {
        match self.checked(terms, found) {
            Err(error) => Order::End(error),
            Ok((local, remote)) => {
                header::write(&local, remote.as_deref(), Some(id), terms.language, out);
                let external = remote.as_deref().is_some_and(|remote| {
                    self.secured
                        && self.proof(&local, remote).is_none()
                        && (terms.certified)(remote)
                });
                // SPEC(XEP-0288 2.1): before authentication. What we would send goes to whoever holds
                // the other end, so only to one whose certificate says who that is.
                let bidi = external && self.proven.is_empty();
                if bidi {
                    self.both_ways = BothWays::Offered;
                }
                let features = Features {
                    starttls: (terms.starttls && !self.secured).then_some(terms.tls_required),
                    external,
                    dialback: self.secured || !terms.tls_required,
                    bidi,
                };
                features.write(out);
                self.local = local;
                self.remote = remote;
                self.id = id.into();
                self.state = State::Open;
                Order::Go
            }
        }
    }

    fn checked(
        &self,
        terms: &Terms<'_>,
        found: Found<'_>,
    ) -> Result<(Box<str>, Option<Box<str>>), StreamError> {
        let header = header::read(found)?;
        let Some(local) = header.to else {
            return Err(StreamError::because(
                StreamCondition::ImproperAddressing,
                "the stream header names no host",
            ));
        };
        if !(terms.serves)(&local) {
            return Err(StreamError::new(StreamCondition::HostUnknown));
        }
        if !header.modern {
            return Err(StreamError::because(
                StreamCondition::UnsupportedVersion,
                "version 1.0 of XMPP is spoken here",
            ));
        }
        if let Some(remote) = &header.from {
            if (terms.serves)(remote) {
                return Err(StreamError::new(StreamCondition::InvalidFrom));
            }
            if !(terms.allows)(&local, remote) {
                return Err(StreamError::because(
                    StreamCondition::PolicyViolation,
                    "no streams with this server",
                ));
            }
        }
        // What a certificate has proven is proven for the addresses of the stream that it was for.
        if !self.proven.is_empty() && (*local != *self.local || header.from != self.remote) {
            return Err(StreamError::new(StreamCondition::InvalidFrom));
        }
        Ok((local, header.from))
    }

    /// A complete element.
    pub fn element(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if self.state != State::Open {
            // The driver holds input back in these states.
            return Order::End(StreamError::new(StreamCondition::InternalServerError));
        }
        if found.is(ns::STREAMS, "error") {
            return Order::Finish;
        }
        if found.is(ns::TLS, "starttls") {
            return self.starttls(terms, out);
        }
        if found.is(ns::BIDI, "bidi")
            && self.both_ways == BothWays::Offered
            && self.proven.is_empty()
        {
            self.both_ways = BothWays::Wanted;
            return Order::Go;
        }
        let too_early = terms.tls_required && !self.secured;
        if found.is(ns::SASL, "auth") {
            if too_early {
                return self.refuse(Failure::EncryptionRequired, out);
            }
            return self.external(terms, found, out);
        }
        match Dialback::read(found) {
            Err(error) => Order::End(error),
            Ok(Some(dialback)) if too_early => {
                if dialback.verdict.is_some() {
                    return Order::Go;
                }
                self.deny(&dialback, StanzaCondition::PolicyViolation, out)
            }
            Ok(Some(dialback)) => self.dialback(terms, dialback, out),
            Ok(None) if self.proven.is_empty() => Order::End(StreamError::because(
                StreamCondition::NotAuthorized,
                "no domain has been proven",
            )),
            Ok(None) => Order::Stanza,
        }
    }

    fn starttls(&mut self, terms: &Terms<'_>, out: &mut Vec<u8>) -> Order {
        if self.secured || !terms.starttls || !self.proven.is_empty() || !self.asked.is_empty() {
            empty("failure", ns::TLS, out);
            return Order::Finish;
        }
        empty("proceed", ns::TLS, out);
        self.state = State::AwaitTls;
        Order::StartTls
    }

    /// XEP-0178 section 3: the certificate names the domain of the stream, and the peer says that
    /// this is who it wants to be.
    fn external(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.attribute(b"mechanism").as_deref() != Some("EXTERNAL") {
            return self.refuse(Failure::InvalidMechanism, out);
        }
        let remote = match &self.remote {
            Some(remote) if self.secured && (terms.certified)(remote) => remote.clone(),
            Some(_) | None => return self.refuse(Failure::NotAuthorized, out),
        };
        if self.proof(&self.local, &remote).is_some() {
            return self.refuse(Failure::MalformedRequest, out);
        }
        let text = match found.tree() {
            Ok(auth) => auth.text().trim().to_owned(),
            Err(error) => return Order::End(error),
        };
        let wanted = match base64::decode(&text) {
            Ok(wanted) => wanted.unwrap_or_default(),
            Err(failure) => return self.refuse(failure, out),
        };
        let wanted = String::from_utf8(wanted).unwrap_or_else(|_| "?".to_owned());
        let is_same =
            wanted.is_empty() || crate::jid::domain_prep(&wanted).is_ok_and(|w| *w == *remote);
        if !is_same {
            return self.refuse(Failure::InvalidAuthzid, out);
        }
        self.prove(Pair::new(&self.local, &remote), Proof::Certificate);
        empty("success", ns::SASL, out);
        self.state = State::ExpectHeader;
        Order::Restart
    }

    /// The peer may send for the pair. The first decides whether the stream goes both ways: it has to
    /// be the pair of the header, shown by the certificate, and nobody may be asked about another,
    /// because the answer would not find a stream that moves to where its domain's stanzas are.
    fn prove(&mut self, pair: Pair, proof: Proof) {
        if self.proven.is_empty() {
            let own = self.remote.as_deref();
            let own = own.is_some_and(|remote| pair.is(&self.local, remote));
            if !own || proof != Proof::Certificate || self.is_asking() {
                self.both_ways = BothWays::No;
            }
        }
        self.proven.push((pair, proof));
    }

    fn refuse(&mut self, failure: Failure, out: &mut Vec<u8>) -> Order {
        out.extend_from_slice(b"<failure xmlns='");
        out.extend_from_slice(ns::SASL.as_bytes());
        out.extend_from_slice(b"'><");
        out.extend_from_slice(failure.name().as_bytes());
        out.extend_from_slice(b"/></failure>");
        self.count_failure()
    }

    /// Proofs that failed.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    fn count_failure(&mut self) -> Order {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX || !self.proven.is_empty() {
            return Order::Go;
        }
        Order::End(StreamError::because(
            StreamCondition::PolicyViolation,
            "too many failed proofs",
        ))
    }

    fn dialback(&mut self, terms: &Terms<'_>, asked: Dialback, out: &mut Vec<u8>) -> Order {
        // We ask on streams of our own, so no answer is due here.
        if asked.verdict.is_some() {
            return Order::Go;
        }
        if !(terms.serves)(&asked.to) {
            return self.deny(&asked, StanzaCondition::ItemNotFound, out);
        }
        match asked.kind {
            Kind::Verify => {
                let right = terms
                    .keys
                    .is_right(&asked.from, &asked.to, &asked.id, &asked.key);
                let verdict = if right {
                    Verdict::Valid
                } else {
                    Verdict::Invalid
                };
                asked.answer(verdict).write(out);
                Order::Go
            }
            Kind::Result => self.claim(terms, asked, out),
        }
    }

    /// The peer claims to be a domain: its certificate proves that, or the domain's server is asked.
    fn claim(&mut self, terms: &Terms<'_>, asked: Dialback, out: &mut Vec<u8>) -> Order {
        if (terms.serves)(&asked.from) || !(terms.allows)(&asked.to, &asked.from) {
            return self.deny(&asked, StanzaCondition::NotAllowed, out);
        }
        let is_known = self.proof(&asked.to, &asked.from).is_some();
        let is_pending = |a: &Dialback| a.from == asked.from && a.to == asked.to;
        if !is_known && self.proven.len() + self.asked.len() >= PAIRS_MAX {
            return self.deny(&asked, StanzaCondition::ResourceConstraint, out);
        }
        if is_known {
            asked.answer(Verdict::Valid).write(out);
            return Order::Go;
        }
        if self.secured && (terms.certified)(&asked.from) {
            self.prove(Pair::new(&asked.to, &asked.from), Proof::Certificate);
            asked.answer(Verdict::Valid).write(out);
            return Order::Go;
        }
        if self.asked.iter().any(is_pending) {
            return Order::Go;
        }
        if self.asked.len() >= ASKED_MAX {
            return self.deny(&asked, StanzaCondition::ResourceConstraint, out);
        }
        self.asked.push(asked.clone());
        Order::Verify(Dialback {
            id: self.id.clone(),
            ..asked
        })
    }

    fn deny(&mut self, asked: &Dialback, condition: StanzaCondition, out: &mut Vec<u8>) -> Order {
        asked.answer(Verdict::Error(condition)).write(out);
        self.count_failure()
    }

    /// What the domain's server says about a key; the order is like that of an element.
    pub fn verified(
        &mut self,
        local: &str,
        remote: &str,
        verdict: Verdict,
        out: &mut Vec<u8>,
    ) -> Order {
        let is_it = |asked: &Dialback| *asked.to == *local && *asked.from == *remote;
        let Some(place) = self.asked.iter().position(is_it) else {
            return Order::Go;
        };
        let asked = self.asked.swap_remove(place);
        asked.answer(verdict).write(out);
        match verdict {
            Verdict::Valid => {
                self.prove(Pair::new(local, remote), Proof::Dialback);
                Order::Go
            }
            Verdict::Invalid | Verdict::Error(_) => self.count_failure(),
        }
    }
}

fn empty(name: &str, namespace: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" xmlns='");
    out.extend_from_slice(namespace.as_bytes());
    out.extend_from_slice(b"'/>");
}

#[cfg(test)]
mod tests;
