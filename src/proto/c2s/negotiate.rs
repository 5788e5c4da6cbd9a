//! A client's stream from its header to its resource: STARTTLS, SASL, binding.
//!
//! One method per input; each appends what is to be sent and returns an [`Order`]. After
//! [`Order::Bind`] was answered with [`Negotiation::bound`] the machine has done its work and is
//! dropped, so that a session does not carry it around.

use std::borrow::Cow;

use memchr::memrchr;

use crate::jid::Jid;
use crate::jid::domain_prep;
use crate::proto::c2s::features;
use crate::proto::c2s::features::Offer;
use crate::proto::ns;
use crate::proto::sasl::Mechanism;
use crate::proto::sasl::exchange::Exchange;
use crate::proto::sasl::exchange::Step;
use crate::proto::sasl::failure::Failure;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::ScramKeys;
use crate::proto::sasl::keys::Secret;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::proto::stream::header::client_header;
use crate::proto::stream::header::write_header;
use crate::xml::element::Element;
use crate::xml::scan::Head;
use crate::xml::scan::StreamScope;
use crate::xml::write::escape_text;

/// Failed logins after which a stream ends (RFC 6120 section 6.4.5 wants 2 to 5).
pub const LOGIN_FAILURES_MAX: u8 = 3;

/// What the driver has to do next.
#[derive(Debug)]
pub enum Order {
    /// Nothing: go on reading.
    Go,
    /// A new stream header must come: forget the old stream.
    Restart,
    /// Begin TLS, once what is written is sent.
    StartTls,
    /// Find the keys with which this user proves a password, and answer with
    /// [`Negotiation::keys`].
    FindKeys {
        /// The account: a prepared node at the stream's host.
        user: Box<str>,
        /// For this hash.
        hash: Hash,
    },
    /// Compare a password, and answer with [`Negotiation::checked`].
    CheckPassword {
        /// The account: a prepared node at the stream's host.
        user: Box<str>,
        /// What the client claims.
        password: Secret,
    },
    /// Make up a user, and answer with [`Negotiation::admitted`].
    Anonymous,
    /// A registration before login: the payload of an `iq` with this id.
    Register {
        /// The id to answer with.
        id: Box<str>,
        /// `<query xmlns='jabber:iq:register'/>`, of a set (true) or a get.
        query: Element,
        /// True for a set.
        set: bool,
    },
    /// Open the session, and answer with [`Negotiation::bound`].
    Bind {
        /// The bare JID.
        user: Jid,
        /// The resource that the client wishes, as written.
        resource: Option<Box<str>>,
    },
    /// Write this and close.
    End(StreamError),
    /// The client has ended its stream: answer likewise and close.
    Finish,
}

/// What the machine waits for.
#[derive(Debug)]
enum State {
    /// The (next) stream header.
    ExpectHeader,
    /// STARTTLS, SASL or a registration.
    ExpectLogin,
    /// The client's next SASL response.
    ExpectResponse(Box<Exchange>),
    /// The driver's answer about a user.
    AwaitUser(Box<Exchange>),
    /// TLS.
    AwaitTls,
    /// A resource binding.
    ExpectBind,
    /// The driver's answer about the session; with the id of the request.
    AwaitBind(Box<str>),
}

/// The negotiation of one client stream. Lives on: the shard that accepted the connection; moves
/// with it.
#[derive(Debug)]
pub struct Negotiation {
    state: State,
    host: Box<str>,
    user: Option<Jid>,
    secured: bool,
    failures: u8,
}

/// An element as the scanner found it.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its top-level tag.
    pub head: &'a Head,
    /// What the stream header bound.
    pub scope: &'a StreamScope,
}

impl Found<'_> {
    /// Its expanded name is this one.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.head.name.is(self.scope, self.bytes, namespace, name)
    }

    /// The text between its children, with white space at its ends taken off.
    ///
    /// # Errors
    /// When it is deeper than trees are built.
    pub fn text(&self) -> Result<Cow<'_, str>, StreamError> {
        // Without children and references it stands in the bytes as it is.
        let behind = self.bytes.get(self.head.tag_end..).unwrap_or_default();
        let is_plain = |text: &&[u8]| {
            text.iter()
                .all(|byte| matches!(byte, b'!'..=b'~') && *byte != b'&')
        };
        let plain = memrchr(b'<', behind)
            .and_then(|end| behind.get(..end))
            .filter(|text| self.head.children == 0 && !text.contains(&b'<'))
            .filter(is_plain)
            .and_then(|text| std::str::from_utf8(text).ok());
        match plain {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => Ok(Cow::Owned(self.tree()?.text().trim().to_owned())),
        }
    }

    /// The element as a tree.
    ///
    /// # Errors
    /// When it is deeper than trees are built.
    pub fn tree(&self) -> Result<Element, StreamError> {
        let bindings: Vec<(&str, &str)> = self
            .scope
            .bindings()
            .map(|(_, prefix, uri)| (prefix, uri))
            .collect();
        Element::parse(self.bytes, self.scope.default_namespace(), &bindings).map_err(|_| {
            StreamError::because(StreamCondition::PolicyViolation, "the element is too deep")
        })
    }
}

impl Negotiation {
    /// The beginning; `secured` where TLS is there already.
    pub fn new(secured: bool) -> Self {
        Self {
            state: State::ExpectHeader,
            host: Box::default(),
            user: None,
            secured,
            failures: 0,
        }
    }

    /// True while the next bytes must be a stream header.
    pub fn expects_header(&self) -> bool {
        matches!(self.state, State::ExpectHeader)
    }

    /// True while an answer of the driver is due: input has to wait.
    pub fn awaits(&self) -> bool {
        matches!(
            self.state,
            State::AwaitUser(_) | State::AwaitTls | State::AwaitBind(_)
        )
    }

    /// The host that the client asked for; empty before its header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Who has authenticated.
    pub fn user(&self) -> Option<&Jid> {
        self.user.as_ref()
    }

    /// Logins that failed.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// The stream of an authenticated user has been opened.
    pub fn is_past_login(&self) -> bool {
        self.user.is_some() && !self.expects_header()
    }

    /// TLS is there: a new stream begins on it.
    pub fn secured(&mut self) {
        self.secured = true;
        self.state = State::ExpectHeader;
    }

    /// Begins our side of the stream where the peer's header could not be read at all.
    pub fn open_for_error(&self, offer: &Offer<'_>, stream_id: &str, out: &mut Vec<u8>) {
        if self.expects_header() {
            let host = if self.host.is_empty() {
                offer.default_host
            } else {
                &self.host
            };
            write_header(ns::CLIENT, host, None, stream_id, offer.language, out);
        }
    }

    /// A stream header. The answer is our header and the features, in one piece.
    pub fn header(
        &mut self,
        offer: &Offer<'_>,
        found: Found<'_>,
        stream_id: &str,
        out: &mut Vec<u8>,
    ) -> Order {
        let serves = |to: &str| {
            domain_prep(to).is_ok_and(|to| {
                // After authentication the host is settled.
                if self.user.is_some() {
                    *to == *self.host
                } else {
                    offer.hosts.iter().any(|host| **host == *to)
                }
            })
        };
        let peer = found
            .head
            .attribute(found.bytes, b"from")
            .map(|v| v.decoded(found.bytes));
        match client_header(found.head, found.scope, found.bytes, serves) {
            // The driver opens our side of the stream before it says what is wrong.
            Err(error) => Order::End(error),
            Ok(header) => {
                self.host = domain_prep(&header.to)
                    .map(|to| to.into())
                    .unwrap_or_default();
                let peer = peer.as_deref().filter(|_| self.secured);
                write_header(ns::CLIENT, &self.host, peer, stream_id, offer.language, out);
                features::write(offer, self.secured, self.user.is_some(), out);
                self.state = if self.user.is_some() {
                    State::ExpectBind
                } else {
                    State::ExpectLogin
                };
                Order::Go
            }
        }
    }

    /// A complete element.
    pub fn element(&mut self, offer: &Offer<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.is(ns::STREAMS, "error") {
            // RFC 6120 section 4.9.1.1: the client gives up; there is nothing to answer but the end.
            return Order::Finish;
        }
        match std::mem::replace(&mut self.state, State::ExpectLogin) {
            State::ExpectLogin => self.login(offer, found, out),
            State::ExpectResponse(exchange) => self.response(*exchange, found, out),
            State::ExpectBind => {
                self.state = State::ExpectBind;
                self.bind(found, out)
            }
            state @ (State::ExpectHeader
            | State::AwaitUser(_)
            | State::AwaitTls
            | State::AwaitBind(_)) => {
                // The driver holds input back in these states.
                self.state = state;
                Order::End(StreamError::new(StreamCondition::InternalServerError))
            }
        }
    }

    fn login(&mut self, offer: &Offer<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.is(ns::TLS, "starttls") {
            if self.secured || !offer.starttls {
                write_empty("failure", ns::TLS, out);
                return Order::Finish;
            }
            write_empty("proceed", ns::TLS, out);
            self.state = State::AwaitTls;
            return Order::StartTls;
        }
        if offer.tls_required && !self.secured {
            if found.is(ns::SASL, "auth") {
                return self.fail(Failure::EncryptionRequired, out);
            }
            return Order::End(StreamError::because(
                StreamCondition::NotAuthorized,
                "STARTTLS is required first",
            ));
        }
        if found.is(ns::SASL, "auth") {
            return self.authenticate(offer, found, out);
        }
        if found.is(ns::CLIENT, "iq") && offer.registration {
            return register(found, out);
        }
        Order::End(StreamError::new(StreamCondition::NotAuthorized))
    }

    fn authenticate(&mut self, offer: &Offer<'_>, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        let name = found
            .head
            .attribute(found.bytes, b"mechanism")
            .map(|m| m.decoded(found.bytes));
        let mechanism = name.and_then(|name| Mechanism::parse(&name));
        let offered = offer.mechanisms(self.secured);
        let Some(mechanism) = mechanism.filter(|wanted| offered.contains(wanted)) else {
            return self.fail(Failure::InvalidMechanism, out);
        };
        let text = match found.text() {
            Ok(text) => text,
            Err(error) => return Order::End(error),
        };
        let initial: Option<Vec<u8>> = match crate::proto::sasl::base64::decode(&text) {
            Ok(initial) => initial,
            Err(failure) => return self.fail(failure, out),
        };
        let mut exchange = Exchange::start(mechanism, &self.host);
        let step = exchange.respond(initial.as_deref());
        self.step(exchange, step, out)
    }

    fn response(&mut self, mut exchange: Exchange, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if found.is(ns::SASL, "abort") {
            return self.fail(Failure::Aborted, out);
        }
        if !found.is(ns::SASL, "response") {
            return Order::End(StreamError::new(StreamCondition::NotAuthorized));
        }
        let text = match found.text() {
            Ok(text) => text,
            Err(error) => return Order::End(error),
        };
        match crate::proto::sasl::base64::decode(&text) {
            Ok(bytes) => {
                let step = exchange.respond(Some(&bytes.unwrap_or_default()));
                self.step(exchange, step, out)
            }
            Err(failure) => self.fail(failure, out),
        }
    }

    fn step(&mut self, exchange: Exchange, step: Step, out: &mut Vec<u8>) -> Order {
        match step {
            Step::Challenge(challenge) => {
                write_data("challenge", &challenge, out);
                self.state = State::ExpectResponse(Box::new(exchange));
                Order::Go
            }
            Step::FindKeys { user, hash } => {
                self.state = State::AwaitUser(Box::new(exchange));
                Order::FindKeys { user, hash }
            }
            Step::CheckPassword { user, password } => {
                self.state = State::AwaitUser(Box::new(exchange));
                Order::CheckPassword { user, password }
            }
            Step::Anonymous => {
                self.state = State::AwaitUser(Box::new(exchange));
                Order::Anonymous
            }
            Step::Success { user, additional } => self.succeed(&user, additional.as_deref(), out),
            Step::Failure(failure) => self.fail(failure, out),
        }
    }

    /// The keys of the user that was asked for (for an unknown one a decoy) and a fresh nonce.
    pub fn keys(
        &mut self,
        keys: Result<&ScramKeys, Failure>,
        nonce: &str,
        out: &mut Vec<u8>,
    ) -> Order {
        let State::AwaitUser(mut exchange) = std::mem::replace(&mut self.state, State::ExpectLogin)
        else {
            return Order::End(StreamError::new(StreamCondition::InternalServerError));
        };
        match keys {
            Ok(keys) => {
                let step = exchange.keys(keys, nonce);
                self.step(*exchange, step, out)
            }
            Err(failure) => self.fail(failure, out),
        }
    }

    /// Whether the password was right.
    pub fn checked(&mut self, verdict: Result<(), Failure>, out: &mut Vec<u8>) -> Order {
        let State::AwaitUser(mut exchange) = std::mem::replace(&mut self.state, State::ExpectLogin)
        else {
            return Order::End(StreamError::new(StreamCondition::InternalServerError));
        };
        match verdict {
            Ok(()) => {
                let step = exchange.checked();
                self.step(*exchange, step, out)
            }
            Err(failure) => self.fail(failure, out),
        }
    }

    /// The user that was made up for an anonymous login.
    pub fn admitted(&mut self, user: &str, out: &mut Vec<u8>) -> Order {
        self.succeed(user, None, out)
    }

    fn succeed(&mut self, user: &str, additional: Option<&[u8]>, out: &mut Vec<u8>) -> Order {
        let Ok(user) = Jid::new(Some(user), &self.host, None) else {
            return self.fail(Failure::NotAuthorized, out);
        };
        self.user = Some(user);
        match additional {
            Some(data) => write_data("success", data, out),
            None => write_empty("success", ns::SASL, out),
        }
        self.state = State::ExpectHeader;
        Order::Restart
    }

    fn fail(&mut self, failure: Failure, out: &mut Vec<u8>) -> Order {
        self.state = State::ExpectLogin;
        self.failures += 1;
        out.extend_from_slice(b"<failure xmlns='");
        out.extend_from_slice(ns::SASL.as_bytes());
        out.extend_from_slice(b"'><");
        out.extend_from_slice(failure.name().as_bytes());
        out.extend_from_slice(b"/></failure>");
        if self.failures < LOGIN_FAILURES_MAX {
            return Order::Go;
        }
        Order::End(StreamError::because(
            StreamCondition::PolicyViolation,
            "too many failed logins",
        ))
    }

    fn bind(&mut self, found: Found<'_>, out: &mut Vec<u8>) -> Order {
        if !found.is(ns::CLIENT, "iq") {
            return Order::End(StreamError::new(StreamCondition::NotAuthorized));
        }
        let (iq, user) = match (found.tree(), &self.user) {
            (Ok(iq), Some(user)) => (iq, user.clone()),
            (Err(error), _) => return Order::End(error),
            (_, None) => return Order::End(StreamError::new(StreamCondition::NotAuthorized)),
        };
        let Some(id) = well_shaped(&iq, out) else {
            return Order::Go;
        };
        let bind = iq
            .child("bind", ns::BIND)
            .filter(|_| iq.attr("type") == Some("set"));
        let Some(bind) = bind else {
            // RFC 6120 section 7.1: nothing but binding is possible now.
            if matches!(iq.attr("type"), Some("get" | "set")) {
                let why = (StanzaCondition::NotAllowed, "bind a resource first");
                reply::error_parts("iq", None, "", Some(id), why, out);
                return Order::Go;
            }
            return Order::End(StreamError::new(StreamCondition::NotAuthorized));
        };
        let resource = bind
            .child("resource", ns::BIND)
            .map(|resource| resource.text());
        self.state = State::AwaitBind(id.into());
        let resource = resource
            .filter(|resource| !resource.is_empty())
            .map(|r| r.as_ref().into());
        Order::Bind { user, resource }
    }

    /// The session is open as `full`, or is refused. After a refusal the client may try again.
    pub fn bound(&mut self, full: Result<&str, StanzaCondition>, out: &mut Vec<u8>) {
        let State::AwaitBind(id) = std::mem::replace(&mut self.state, State::ExpectBind) else {
            return;
        };
        match full {
            Ok(full) => {
                reply::open("iq", "result", None, "", Some(&id), out);
                out.extend_from_slice(b"><bind xmlns='");
                out.extend_from_slice(ns::BIND.as_bytes());
                out.extend_from_slice(b"'><jid>");
                escape_text(full, out);
                out.extend_from_slice(b"</jid></bind></iq>");
            }
            Err(condition) => {
                reply::error_parts("iq", None, "", Some(&id), (condition, ""), out);
            }
        }
    }
}

/// The id of a request, where it has one and exactly one child (RFC 6120 section 8.2.3); otherwise the
/// error is written.
fn well_shaped<'a>(iq: &'a Element, out: &mut Vec<u8>) -> Option<&'a str> {
    let id = iq.attr("id");
    let is_request = matches!(iq.attr("type"), Some("get" | "set"));
    let text = match (id, iq.children().count()) {
        (None, _) => "an iq must have an id",
        (Some(_), 1) => return id,
        (Some(_), _) if !is_request => return id,
        (Some(_), _) => "a request has one child",
    };
    let why = (StanzaCondition::BadRequest, text);
    reply::error_parts("iq", None, "", id, why, out);
    None
}

/// XEP-0077 before login; anything else may not be asked yet.
fn register(found: Found<'_>, out: &mut Vec<u8>) -> Order {
    let iq = match found.tree() {
        Ok(iq) => iq,
        Err(error) => return Order::End(error),
    };
    let set = match iq.attr("type") {
        Some("get") => false,
        Some("set") => true,
        _ => return Order::End(StreamError::new(StreamCondition::NotAuthorized)),
    };
    let Some(id) = well_shaped(&iq, out) else {
        return Order::Go;
    };
    match iq.child("query", ns::REGISTER) {
        Some(query) => Order::Register {
            id: id.into(),
            query: query.clone(),
            set,
        },
        None => {
            let why = (StanzaCondition::NotAuthorized, "");
            reply::error_parts("iq", None, "", Some(id), why, out);
            Order::Go
        }
    }
}

fn write_empty(name: &str, namespace: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" xmlns='");
    out.extend_from_slice(namespace.as_bytes());
    out.extend_from_slice(b"'/>");
}

fn write_data(name: &str, data: &[u8], out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" xmlns='");
    out.extend_from_slice(ns::SASL.as_bytes());
    out.extend_from_slice(b"'>");
    out.extend_from_slice(crate::proto::sasl::base64::encode(data).as_bytes());
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}
