//! RFC 6120, XEP-0178, XEP-0220, XEP-0288: the side of a server-to-server stream that connected.
//!
//! One pair of domains a stream. The machine negotiates until the peer lets us send for the pair;
//! the same stream carries questions about keys (`db:verify`), before that and after. Where nobody
//! has anything to send yet, it stops at the features and waits for [`Outbound::want`]. A peer whose
//! certificate is good for its domain is asked to use the stream for its own stanzas too.

use crate::proto::ns;
use crate::proto::s2s::Found;
use crate::proto::s2s::Pair;
use crate::proto::s2s::Proof;
use crate::proto::s2s::dialback::Dialback;
use crate::proto::s2s::dialback::ID_BYTES_MAX;
use crate::proto::s2s::dialback::Keys;
use crate::proto::s2s::dialback::Kind;
use crate::proto::s2s::dialback::Verdict;
use crate::proto::s2s::header;
use crate::proto::sasl::base64;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::xml::element::Element;

/// When an outgoing stream has TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsWish {
    /// Never.
    No,
    /// Where the peer offers it.
    #[default]
    Optional,
    /// Or there is no stream.
    Required,
}

/// What the driver knows and the machine asks.
pub struct Terms<'a> {
    /// Our dialback keys.
    pub keys: &'a Keys,
    /// `xml:lang` of our streams.
    pub language: &'a str,
    /// When TLS starts.
    pub tls: TlsWish,
    /// We have a certificate to show, so EXTERNAL may be tried.
    pub certificate: bool,
}

/// Why there is no stream to the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failed {
    /// What whoever wanted to send is told.
    pub condition: StanzaCondition,
    /// What the peer is told, where it has not ended the stream itself.
    pub error: Option<StreamError>,
    /// For the log.
    pub why: &'static str,
    /// EXTERNAL was refused: without it the next attempt may do better.
    pub external_refused: bool,
}

impl Failed {
    /// It is the peer's doing, or the net's.
    pub const fn timeout(why: &'static str) -> Self {
        Self {
            condition: StanzaCondition::RemoteServerTimeout,
            error: None,
            why,
            external_refused: false,
        }
    }

    const fn telling(condition: StreamCondition, why: &'static str) -> Self {
        Self {
            error: Some(StreamError::because(condition, why)),
            ..Self::timeout(why)
        }
    }
}

/// What the driver has to do next.
#[derive(Debug, Eq, PartialEq)]
pub enum Order {
    /// Nothing: go on reading.
    Go,
    /// A new stream begins: forget the old one. Our header is written.
    Restart,
    /// Begin TLS.
    StartTls,
    /// The peer lets us send for the pair.
    Ready(Proof),
    /// The stream is there and nothing is wanted: questions may be asked.
    Waits,
    /// The answer to a question of ours.
    Verified(Dialback),
    /// An element of a peer that sends on this stream too (XEP-0288): a stanza from its domain to
    /// ours, or it has no business here.
    Stanza,
    /// No stream, or none any more.
    Fail(Failed),
    /// The peer has ended the stream in order.
    Finish,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    ExpectHeader,
    ExpectFeatures,
    ExpectProceed,
    AwaitTls,
    Idle,
    ExpectSuccess,
    ExpectVerdict,
    Ready(Proof),
}

/// One stream that we have opened. Lives on: the shard that owns the peer's domain.
#[derive(Debug)]
pub struct Outbound {
    state: State,
    pair: Pair,
    secured: bool,
    authenticated: bool,
    wanted: bool,
    without_external: bool,
    external_refused: bool,
    offers_external: bool,
    certified: bool,
    both_ways: bool,
    id: Box<str>,
}

impl Outbound {
    /// The beginning. `secured` where TLS is there already; `wanted` where somebody has something
    /// to send; `without_external` where the peer has refused EXTERNAL before.
    pub fn new(pair: Pair, secured: bool, wanted: bool, without_external: bool) -> Self {
        Self {
            state: State::ExpectHeader,
            pair,
            secured,
            authenticated: false,
            wanted,
            without_external,
            external_refused: false,
            offers_external: false,
            certified: false,
            both_ways: false,
            id: Box::default(),
        }
    }

    /// The domains.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// True while the next bytes must be a stream header.
    pub fn expects_header(&self) -> bool {
        self.state == State::ExpectHeader
    }

    /// True while input has to wait.
    pub fn awaits(&self) -> bool {
        self.state == State::AwaitTls
    }

    /// How the peer knows us, once it lets us send.
    pub fn ready(&self) -> Option<Proof> {
        match self.state {
            State::Ready(proof) => Some(proof),
            State::ExpectHeader
            | State::ExpectFeatures
            | State::ExpectProceed
            | State::AwaitTls
            | State::Idle
            | State::ExpectSuccess
            | State::ExpectVerdict => None,
        }
    }

    /// True where a question about a key may be asked.
    pub fn may_ask(&self) -> bool {
        matches!(
            self.state,
            State::Idle | State::ExpectVerdict | State::Ready(_)
        )
    }

    /// What it waits for, for `meerkat status`.
    pub fn label(&self) -> &'static str {
        match self.state {
            State::ExpectHeader | State::ExpectFeatures => "opening",
            State::ExpectProceed | State::AwaitTls => "securing",
            State::ExpectSuccess | State::ExpectVerdict => "authenticating",
            State::Idle => "idle",
            State::Ready(_) => "ready",
        }
    }

    /// Begins the stream.
    pub fn open(&self, terms: &Terms<'_>, out: &mut Vec<u8>) {
        let Pair { local, remote } = &self.pair;
        header::write(local, Some(remote), None, terms.language, out);
    }

    /// TLS is there: a new stream begins on it. `certified` where the peer's certificate is good for
    /// its domain, so that what it sends is that domain's.
    pub fn secured(&mut self, terms: &Terms<'_>, certified: bool, out: &mut Vec<u8>) {
        self.secured = true;
        self.certified = certified;
        self.state = State::ExpectHeader;
        self.open(terms, out);
    }

    /// True where the peer may send stanzas on this stream (XEP-0288).
    pub fn goes_both_ways(&self) -> bool {
        self.both_ways && self.ready().is_some()
    }

    /// Somebody has something to send.
    pub fn want(&mut self, terms: &Terms<'_>, out: &mut Vec<u8>) {
        self.wanted = true;
        if self.state == State::Idle {
            self.authenticate(terms, out);
        }
    }

    /// The peer's stream header.
    pub fn header(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        let header = match header::read(found) {
            Ok(header) => header,
            Err(error) => {
                return Order::Fail(Failed {
                    error: Some(error),
                    ..Failed::timeout("the peer's stream header is wrong")
                });
            }
        };
        let id = header.id.unwrap_or_default();
        if id.len() > ID_BYTES_MAX {
            return fail(
                StreamCondition::PolicyViolation,
                "the stream id is too long",
            );
        }
        self.id = id;
        if header.modern {
            self.state = State::ExpectFeatures;
            return Order::Go;
        }
        self.settle(terms, out)
    }

    /// A complete element.
    pub fn element(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.is(ns::STREAMS, "error") {
            return Order::Fail(refused(found));
        }
        match self.state {
            State::ExpectFeatures => self.features(terms, found, out),
            State::ExpectProceed if found.is(ns::TLS, "proceed") => {
                self.state = State::AwaitTls;
                Order::StartTls
            }
            State::ExpectProceed => Order::Fail(Failed::timeout("the peer refuses STARTTLS")),
            State::ExpectSuccess => self.outcome(terms, found, out),
            State::Idle | State::ExpectVerdict | State::Ready(_) => self.answer(found),
            State::ExpectHeader | State::AwaitTls => {
                // The driver holds input back in these states.
                fail(StreamCondition::InternalServerError, "input out of turn")
            }
        }
    }

    fn features(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if !found.is(ns::STREAMS, "features") {
            return fail(StreamCondition::InvalidXml, "no stream features");
        }
        let features = match found.tree() {
            Ok(features) => features,
            Err(error) => {
                return Order::Fail(Failed {
                    error: Some(error),
                    ..Failed::timeout("the peer's features are too deep")
                });
            }
        };
        let starttls = features.child("starttls", ns::TLS).is_some();
        if starttls && !self.secured && terms.tls != TlsWish::No {
            out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            self.state = State::ExpectProceed;
            return Order::Go;
        }
        self.offers_external = offers_external(&features);
        let offers_both_ways = features.child("bidi", ns::BIDI_FEATURE).is_some();
        // SPEC(XEP-0288 2.1): asked for before authentication, and under TLS. Who is not known by a
        // certificate sends on a stream of its own, whose proof is judged as it always is.
        if offers_both_ways && self.certified && !self.authenticated {
            out.extend_from_slice(b"<bidi xmlns='urn:xmpp:bidi'/>");
            self.both_ways = true;
        }
        self.settle(terms, out)
    }

    /// The features are known: authenticate, or wait.
    fn settle(&mut self, terms: &Terms<'_>, out: &mut Vec<u8>) -> Order {
        if terms.tls == TlsWish::Required && !self.secured {
            return fail(StreamCondition::PolicyViolation, "the peer offers no TLS");
        }
        if self.authenticated {
            self.state = State::Ready(Proof::Certificate);
            return Order::Ready(Proof::Certificate);
        }
        self.state = State::Idle;
        if self.wanted {
            self.authenticate(terms, out);
        }
        Order::Waits
    }

    fn authenticate(&mut self, terms: &Terms<'_>, out: &mut Vec<u8>) {
        let external = self.offers_external && terms.certificate && self.secured;
        if external && !self.without_external && !self.external_refused {
            out.extend_from_slice(
                b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>",
            );
            out.extend_from_slice(base64::encode(self.pair.local.as_bytes()).as_bytes());
            out.extend_from_slice(b"</auth>");
            self.state = State::ExpectSuccess;
            return;
        }
        let Pair { local, remote } = &self.pair;
        let claim = Dialback {
            kind: Kind::Result,
            from: local.clone(),
            to: remote.clone(),
            id: Box::default(),
            verdict: None,
            key: terms.keys.key(remote, local, &self.id).into(),
        };
        claim.write(out);
        self.state = State::ExpectVerdict;
    }

    /// What became of EXTERNAL.
    fn outcome(&mut self, terms: &Terms<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.is(ns::SASL, "success") {
            self.authenticated = true;
            self.state = State::ExpectHeader;
            self.open(terms, out);
            return Order::Restart;
        }
        if found.is(ns::SASL, "failure") {
            // The stream goes on (RFC 6120 section 6.4.5), and dialback is another way.
            self.external_refused = true;
            self.authenticate(terms, out);
            return Order::Go;
        }
        fail(StreamCondition::NotAuthorized, "EXTERNAL is not answered")
    }

    /// Answers to our claim and to our questions. Nothing else may come on a stream of ours, except
    /// stanzas where it goes both ways.
    fn answer(&mut self, found: Found<'_>) -> Order {
        let dialback = match Dialback::read(found) {
            Ok(Some(dialback)) => dialback,
            Ok(None) if self.goes_both_ways() => return Order::Stanza,
            Ok(None) => {
                let why = "nothing but answers may be sent on this stream";
                return fail(StreamCondition::NotAuthorized, why);
            }
            Err(error) => {
                return Order::Fail(Failed {
                    error: Some(error),
                    ..Failed::timeout("a dialback element is wrong")
                });
            }
        };
        let Some(verdict) = dialback.verdict else {
            // A claim or a question belongs on a stream of the peer's.
            return Order::Go;
        };
        if !self.pair.is(&dialback.to, &dialback.from) {
            return Order::Go;
        }
        match (dialback.kind, self.state, verdict) {
            (Kind::Verify, ..) => Order::Verified(dialback),
            (Kind::Result, State::ExpectVerdict, Verdict::Valid) => {
                self.state = State::Ready(Proof::Dialback);
                Order::Ready(Proof::Dialback)
            }
            (Kind::Result, State::ExpectVerdict, Verdict::Invalid | Verdict::Error(_)) => {
                Order::Fail(Failed {
                    external_refused: self.external_refused,
                    ..Failed::timeout("the peer does not accept our dialback key")
                })
            }
            (Kind::Result, ..) => Order::Go,
        }
    }

    /// True where EXTERNAL has just been asked for or refused: a peer that then closes the stream
    /// may accept dialback on the next one.
    pub fn failed_external(&self) -> bool {
        self.external_refused || self.state == State::ExpectSuccess
    }
}

fn fail(condition: StreamCondition, why: &'static str) -> Order {
    Order::Fail(Failed::telling(condition, why))
}

/// The peer's stream error.
fn refused(found: Found<'_>) -> Failed {
    let names = |condition: &str| {
        found.tree().is_ok_and(|error| {
            error
                .children()
                .any(|child| child.ns() == ns::STREAM_ERRORS && child.name() == condition)
        })
    };
    if names("host-unknown") || names("host-gone") {
        return Failed {
            condition: StanzaCondition::RemoteServerNotFound,
            ..Failed::timeout("the peer does not serve the domain")
        };
    }
    Failed::timeout("the peer has ended the stream with an error")
}

fn offers_external(features: &Element) -> bool {
    let mechanisms = features.child("mechanisms", ns::SASL);
    mechanisms.is_some_and(|mechanisms| {
        mechanisms
            .children()
            .any(|child| child.name() == "mechanism" && child.text().trim() == "EXTERNAL")
    })
}

#[cfg(test)]
mod tests;
