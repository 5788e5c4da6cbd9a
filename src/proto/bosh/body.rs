//! XEP-0124 section 4: what a request says, by the attributes of its `<body/>`.

use super::Condition;
use crate::proto::ns;
use crate::xml::scan::Found;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// Numbers of requests are below this, so that they are exact in JavaScript (section 14.1).
const RID_MAX: u64 = 1 << 53;

/// A `<body/>`, understood.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its number.
    pub rid: u64,
    /// Its session; none for the first request.
    pub sid: Option<Box<str>>,
    /// The host that a first request is for.
    pub to: Option<Box<str>>,
    /// `xml:lang`.
    pub lang: Option<Box<str>>,
    /// Seconds that it wants to wait.
    pub wait: Option<u64>,
    /// Requests that it wants to have waiting.
    pub hold: Option<u64>,
    /// Seconds that it wants to pause.
    pub pause: Option<u64>,
    /// Proof of a key sequence.
    pub key: Option<Box<str>>,
    /// The beginning of another one.
    pub new_key: Option<Box<str>>,
    /// The client ends the session.
    pub terminate: bool,
    /// The stream begins anew (XEP-0206).
    pub restart: bool,
    /// The elements in it.
    pub payload: Vec<u8>,
    /// What they inherit.
    pub scope: StreamScope,
}

impl Body {
    /// What it shows of a key sequence; a repetition shows the same.
    pub(super) fn proof(&self) -> Option<Box<str>> {
        self.key.clone().or_else(|| self.new_key.clone())
    }
}

/// Reads a request.
///
/// COMPAT(older clients): an element without a namespace is taken as `jabber:client`, although it
/// inherits that of `<body/>`.
///
/// # Errors
/// `bad-request`.
pub fn read(scanner: &mut Scanner, limits: &Limits, bytes: &[u8]) -> Result<Body, Condition> {
    let bad = Condition::BadRequest;
    scanner.reset();
    let bytes = without_declaration(bytes)?;
    let found = scanner.scan(limits, &StreamScope::unbound(), bytes);
    let Ok(Found::Element { end }) = found else {
        scanner.reset();
        return Err(bad);
    };
    let (element, rest) = bytes.split_at_checked(end).ok_or(bad)?;
    let head = scanner.head();
    if !rest.trim_ascii().is_empty()
        || !head
            .name
            .is(&StreamScope::unbound(), element, ns::HTTP_BIND, "body")
    {
        return Err(bad);
    }
    let text = |name: &[u8]| {
        let found = head.attribute(element, name)?;
        Some(Box::<str>::from(found.decoded(element)))
    };
    let number = |name: &[u8]| match text(name) {
        Some(text) => text.parse().map(Some).map_err(|_| bad),
        None => Ok(None),
    };
    let rid = number(b"rid")?.filter(|rid| *rid < RID_MAX).ok_or(bad)?;
    let mut bindings: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut restart = false;
    for attribute in head.attributes() {
        let local = attribute.local().of(element);
        if attribute.prefix().of(element) == b"xmlns" {
            let prefix = String::from_utf8_lossy(local).into_owned();
            bindings.push((prefix.into(), attribute.decoded(element).into()));
        }
        let is_true = matches!(&*attribute.decoded(element), "true" | "1");
        restart |= local == b"restart" && is_true;
    }
    let pairs: Vec<(&str, &str)> = bindings.iter().map(|(a, b)| (&**a, &**b)).collect();
    let payload = if head.self_closing {
        &[]
    } else {
        let tag = element
            .windows(2)
            .rposition(|two| two == b"</")
            .ok_or(bad)?;
        element.get(head.tag_end..tag).ok_or(bad)?
    };
    let lang = text(b"xml:lang");
    Ok(Body {
        rid,
        sid: text(b"sid"),
        to: text(b"to"),
        wait: number(b"wait")?,
        hold: number(b"hold")?,
        pause: number(b"pause")?,
        key: text(b"key"),
        new_key: text(b"newkey"),
        terminate: text(b"type").as_deref() == Some("terminate"),
        restart,
        payload: payload.to_vec(),
        scope: StreamScope::declared(ns::CLIENT, "stream:stream", lang.as_deref(), &pairs),
        lang,
    })
}

/// The element behind an XML declaration, which says nothing new: the scanner checks that it is UTF-8.
fn without_declaration(bytes: &[u8]) -> Result<&[u8], Condition> {
    let bytes = bytes.trim_ascii_start();
    let Some(rest) = bytes.strip_prefix(b"<?xml") else {
        return Ok(bytes);
    };
    let end = rest.windows(2).position(|two| two == b"?>");
    let behind = end.and_then(|end| rest.get(end + 2..));
    Ok(behind.ok_or(Condition::BadRequest)?.trim_ascii_start())
}
