//! XEP-0114: the stream of an external component, from its header to its names.
//!
//! Like `proto::c2s::negotiate`: one method per input, each appends what is to be sent and returns
//! an [`Order`]. There are no features and no version: the component names the domain that it wants
//! in `to`, and proves with a digest over the stream's id that it knows the listener's password.
//! Whether the domain is free is asked last, so that only who knows the password learns it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::jid::domain_prep;
use crate::proto::c2s::negotiate::Found;
use crate::proto::ns;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::proto::stream::header::is_heavy;
use crate::xml::write::escape_attribute;

/// What the listener asks of a component.
pub struct Rules<'a> {
    /// The secret.
    pub password: &'a str,
    /// The served hosts, prepared.
    pub hosts: &'a [Box<str>],
    /// What may register; None: whatever is free and not kept.
    pub domains: Option<&'a [String]>,
    /// What listeners with a list of their own keep for their components.
    pub kept: &'a [String],
    /// `xml:lang` of our streams.
    pub language: &'a str,
}

/// What the driver has to do next.
#[derive(Debug, Eq, PartialEq)]
pub enum Order {
    /// Nothing: go on reading.
    Go,
    /// Claim these names, prepared, and answer with [`Handshake::registered`].
    Claim(Vec<Box<str>>),
    /// Write this and close.
    End(StreamError),
    /// The component has ended its stream: answer likewise and close.
    Finish,
}

/// What the machine waits for.
#[derive(Debug)]
enum State {
    ExpectHeader,
    /// The digest over this stream id.
    ExpectHandshake(Box<str>),
    /// The driver's answer about the names.
    AwaitNames,
}

/// The stream of one component until it is admitted. Lives on: the shard that accepted it.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    /// The names that the header asks for: one, or one below each host.
    names: Vec<Box<str>>,
}

impl Handshake {
    /// The beginning.
    #[expect(
        clippy::new_without_default,
        reason = "a stream begins, it has no default"
    )]
    pub fn new() -> Self {
        Self {
            state: State::ExpectHeader,
            names: Vec::new(),
        }
    }

    /// True while the next bytes must be a stream header.
    pub fn expects_header(&self) -> bool {
        matches!(self.state, State::ExpectHeader)
    }

    /// True while an answer of the driver is due: input has to wait.
    pub fn awaits(&self) -> bool {
        matches!(self.state, State::AwaitNames)
    }

    /// Begins our side of the stream where the peer's header could not be read, or is refused.
    pub fn open_for_error(&self, host: &str, stream_id: &str, lang: &str, out: &mut Vec<u8>) {
        if self.expects_header() {
            write_header(host, stream_id, lang, out);
        }
    }

    /// A stream header.
    pub fn header(
        &mut self,
        rules: &Rules<'_>,
        found: Found<'_>,
        stream_id: &str,
        out: &mut Vec<u8>,
    ) -> Order {
        if !found.is(ns::STREAMS, "stream") {
            return Order::End(StreamError::new(StreamCondition::InvalidNamespace));
        }
        if found.scope.default_namespace() != ns::COMPONENT_ACCEPT {
            return Order::End(StreamError::because(
                StreamCondition::InvalidNamespace,
                "the default namespace of a component's stream is jabber:component:accept",
            ));
        }
        if is_heavy(found.scope) {
            return Order::End(StreamError::because(
                StreamCondition::PolicyViolation,
                "the stream header declares too much",
            ));
        }
        let attribute = |name| {
            let found_one = found.head.attribute(found.bytes, name);
            found_one.map(|value| value.decoded(found.bytes))
        };
        let everywhere = attribute(b"is_subdomain").is_some_and(|value| value == "true");
        let to = attribute(b"to").unwrap_or_default();
        let Some(names) = names(rules, &to, everywhere) else {
            return Order::End(StreamError::new(StreamCondition::HostUnknown));
        };
        self.names = names;
        write_header(&to, stream_id, rules.language, out);
        self.state = State::ExpectHandshake(stream_id.into());
        Order::Go
    }

    /// A complete element.
    pub fn element(&mut self, rules: &Rules<'_>, found: Found<'_>) -> Order {
        if found.is(ns::STREAMS, "error") {
            // RFC 6120 section 4.9.1.1: the component gives up.
            return Order::Finish;
        }
        let State::ExpectHandshake(id) = &self.state else {
            // The driver holds input back in the other states.
            return Order::End(StreamError::new(StreamCondition::InternalServerError));
        };
        if !found.is(ns::COMPONENT_ACCEPT, "handshake") {
            return Order::End(StreamError::because(
                StreamCondition::NotAuthorized,
                "the handshake comes first",
            ));
        }
        let given = match found.tree() {
            Ok(handshake) => handshake.text().trim().to_owned(),
            Err(error) => return Order::End(error),
        };
        let expected = digest(id, rules.password);
        if verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_err() {
            return Order::End(StreamError::new(StreamCondition::NotAuthorized));
        }
        if self.names.iter().any(|name| rules.hosts.contains(name)) {
            return Order::End(StreamError::because(
                StreamCondition::Conflict,
                "the server itself is this domain",
            ));
        }
        self.state = State::AwaitNames;
        Order::Claim(self.names.clone())
    }

    /// The names are the component's, everywhere, or another's. Gives the names back.
    pub fn registered(
        self,
        granted: bool,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Box<str>>, StreamError> {
        if !granted {
            return Err(StreamError::because(
                StreamCondition::Conflict,
                "another component serves this domain",
            ));
        }
        out.extend_from_slice(b"<handshake/>");
        Ok(self.names)
    }
}

/// What a header's `to` stands for, if it may register: each name prepared.
fn names(rules: &Rules<'_>, to: &str, everywhere: bool) -> Option<Vec<Box<str>>> {
    let prepare = |name: &str| domain_prep(name).ok().map(|name| Box::<str>::from(&*name));
    let own = prepare(to)?;
    let names = if everywhere {
        let below = |host: &str| prepare(&format!("{own}.{host}"));
        rules
            .hosts
            .iter()
            .map(|host| below(host))
            .collect::<Option<Vec<_>>>()?
    } else {
        vec![own.clone()]
    };
    let Some(domains) = rules.domains else {
        let is_kept = names
            .iter()
            .any(|name| rules.kept.iter().any(|kept| **kept == **name));
        return (!is_kept).then_some(names);
    };
    let may = |name: &str| domains.iter().any(|domain| domain == name);
    (may(&own) || names.iter().all(|name| may(name))).then_some(names)
}

/// XEP-0114 section 3: the stream's id and the password, as lower-case hexadecimal SHA-1.
fn digest(stream_id: &str, password: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(stream_id.as_bytes());
    context.update(password.as_bytes());
    let bytes = context.finish();
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Our header: without a version, which would promise features.
fn write_header(from: &str, id: &str, lang: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='");
    out.extend_from_slice(ns::COMPONENT_ACCEPT.as_bytes());
    out.extend_from_slice(b"' xmlns:stream='");
    out.extend_from_slice(ns::STREAMS.as_bytes());
    out.extend_from_slice(b"' id='");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"' from='");
    escape_attribute(from, out);
    out.extend_from_slice(b"' xml:lang='");
    escape_attribute(lang, out);
    out.extend_from_slice(b"'>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::scan::Limits;
    use crate::xml::scan::Scanner;
    use crate::xml::scan::StreamScope;

    fn hosts() -> Vec<Box<str>> {
        vec!["localhost".into(), "example.org".into()]
    }

    fn rules<'a>(hosts: &'a [Box<str>], domains: Option<&'a [String]>) -> Rules<'a> {
        Rules {
            password: "secret",
            hosts,
            domains,
            kept: &[],
            language: "en",
        }
    }

    fn header(to: &str, more: &str) -> String {
        format!(
            "<stream:stream xmlns:stream='{}' xmlns='jabber:component:accept' to='{to}' {more}>",
            ns::STREAMS
        )
    }

    /// Opens a stream with this header and hands over this element.
    fn play(rules: &Rules<'_>, header: &str, element: &str) -> Order {
        let mut machine = Handshake::new();
        let (mut scanner, limits) = (Scanner::new(), Limits::default());
        let mut out = Vec::new();
        scanner
            .scan_header(&limits, header.as_bytes())
            .expect("a header");
        let scope = scanner.take_scope(header.as_bytes());
        let found = |scanner: &Scanner, scope: &StreamScope, bytes: &str| {
            let (bytes, scope) = (bytes.to_owned(), scope.clone());
            (bytes, scanner.head().clone(), scope)
        };
        let (bytes, head, scope) = found(&scanner, &scope, header);
        let as_found = |bytes, head, scope| Found { bytes, head, scope };
        let order = machine.header(
            rules,
            as_found(bytes.as_bytes(), &head, &scope),
            "id1",
            &mut out,
        );
        if order != Order::Go {
            return order;
        }
        scanner
            .scan(&limits, &scope, element.as_bytes())
            .expect("an element");
        let head = scanner.head().clone();
        machine.element(rules, as_found(element.as_bytes(), &head, &scope))
    }

    fn condition(order: &Order) -> Option<StreamCondition> {
        match order {
            Order::End(error) => Some(error.condition),
            Order::Go | Order::Claim(_) | Order::Finish => None,
        }
    }

    #[test]
    fn the_digest_of_the_document() {
        // XEP-0114 section 3 has no vector; this one is sha1sum's.
        assert_eq!(digest("3BF96D32", "secret").len(), 40);
        assert_eq!(
            digest("abc", ""),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(digest("a", "bc"), digest("abc", ""));
    }

    #[test]
    fn who_knows_the_password_gets_the_names() {
        let hosts = hosts();
        let rules = rules(&hosts, None);
        let right = format!("<handshake> {} </handshake>", digest("id1", "secret"));
        let names = |text: &[&str]| Order::Claim(text.iter().map(|name| (*name).into()).collect());
        let order = play(&rules, &header("Echo.Localhost", ""), &right);
        assert_eq!(order, names(&["echo.localhost"]));
        let order = play(&rules, &header("echo", "is_subdomain='true'"), &right);
        assert_eq!(order, names(&["echo.localhost", "echo.example.org"]));
        let order = play(&rules, &header("echo", "is_subdomain='false'"), &right);
        assert_eq!(order, names(&["echo"]));
        let order = play(&rules, &header("example.org", ""), &right);
        assert_eq!(condition(&order), Some(StreamCondition::Conflict));
        let upper = right.to_uppercase().replace("HANDSHAKE", "handshake");
        for wrong in [
            "<handshake/>",
            "<handshake>x</handshake>",
            "<message/>",
            &upper,
        ] {
            let order = play(&rules, &header("echo.localhost", ""), wrong);
            assert_eq!(
                condition(&order),
                Some(StreamCondition::NotAuthorized),
                "{wrong}"
            );
            let order = play(&rules, &header("example.org", ""), wrong);
            assert_eq!(
                condition(&order),
                Some(StreamCondition::NotAuthorized),
                "{wrong}"
            );
        }
    }

    #[test]
    fn only_what_the_listener_names() {
        let hosts = hosts();
        let domains = ["irc.localhost".to_owned(), "irc.example.org".to_owned()];
        let rules = rules(&hosts, Some(&domains));
        let right = format!("<handshake>{}</handshake>", digest("id1", "secret"));
        let claims = |to: &str, more: &str| {
            let order = play(&rules, &header(to, more), &right);
            matches!(order, Order::Claim(_)) || {
                assert_eq!(condition(&order), Some(StreamCondition::HostUnknown));
                false
            }
        };
        assert!(claims("irc.localhost", ""));
        assert!(claims("irc", "is_subdomain='true'"));
        for (to, more) in [("irc", ""), ("echo.localhost", ""), ("", ""), ("a b", "")] {
            assert!(!claims(to, more), "{to}");
        }
        assert!(!claims("echo", "is_subdomain='true'"));
    }

    #[test]
    fn what_another_listener_keeps_is_not_free() {
        let (hosts, kept) = (hosts(), ["irc.localhost".to_owned()]);
        let rules = Rules {
            kept: &kept,
            ..rules(&hosts, None)
        };
        let right = format!("<handshake>{}</handshake>", digest("id1", "secret"));
        for (to, more) in [("irc.localhost", ""), ("irc", "is_subdomain='true'")] {
            let order = play(&rules, &header(to, more), &right);
            assert_eq!(
                condition(&order),
                Some(StreamCondition::HostUnknown),
                "{to}"
            );
        }
        let order = play(&rules, &header("echo.localhost", ""), &right);
        assert!(matches!(order, Order::Claim(_)));
    }

    #[test]
    fn headers_of_another_kind() {
        let hosts = hosts();
        let rules = rules(&hosts, None);
        let client = header("echo", "").replace("component:accept", "client");
        let order = play(&rules, &client, "<a/>");
        assert_eq!(condition(&order), Some(StreamCondition::InvalidNamespace));
    }
}
