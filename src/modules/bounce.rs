//! RFC 6120 section 8.3: errors that go back to a sender who may be on another shard.

use crate::base::key::Key;
use crate::modules::Scene;
use crate::modules::handover::give;
use crate::modules::parcel::Made;
use crate::modules::pipeline::Outbox;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::route::Destination;
use crate::route::envelope::Recipient;
use crate::route::route;
use crate::xml::scan::Found;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;
use crate::xml::scan::StreamScope;

/// What is said in place of an answer that a connection could never take.
pub const TOO_LARGE: (StanzaCondition, &str) = (
    StanzaCondition::ResourceConstraint,
    "the answer is larger than this connection takes",
);

/// True for presence whose failure nobody is told of (RFC 6121 section 8.5.2.2.2).
pub fn is_silent(kind: Type) -> bool {
    matches!(kind, Type::Presence(presence) if presence != PresenceType::Subscribe)
}

/// Answers a stanza, stamped as it was relayed, with an error.
pub fn bounce<O: Outbox>(
    scene: &mut Scene<'_, O>,
    stanza: &[u8],
    kind: Type,
    condition: StanzaCondition,
) {
    if kind.is_answer() || is_silent(kind) {
        return;
    }
    let Some(scanner) = scanned(stanza) else {
        return;
    };
    let attribute = |name| {
        scanner
            .head()
            .attribute(stanza, name)
            .map(|a| a.decoded(stanza))
    };
    let Some(sender) = attribute(b"from") else {
        return;
    };
    let to = reply::attribute(&sender);
    let why = (condition, "");
    let (from, id) = (attribute(b"to"), attribute(b"id"));
    let ours = from.as_deref().unwrap_or_default();
    send(scene, ours, &sender, kind.answer(), |out| {
        reply::error_parts(
            kind.element(),
            from.as_deref(),
            &to,
            id.as_deref(),
            why,
            out,
        );
    });
}

/// Gives who waits for an answer that its connection could never take an error in place of it.
pub fn too_large<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key, answer: &[u8]) {
    let Some(scanner) = scanned(answer) else {
        return;
    };
    let attribute = |name| {
        let attribute = scanner.head().attribute(answer, name);
        attribute.map(|attribute| attribute.decoded(answer))
    };
    let (from, id) = (attribute(b"from"), attribute(b"id"));
    let to = attribute(b"to").unwrap_or_default();
    let to = reply::attribute(&to);
    let room = reply::ERROR_BYTES + to.len() + TOO_LARGE.1.len();
    let kind = Type::Iq(IqType::Error);
    scene.outbox.hand(connection, kind, room, |out| {
        reply::error_parts("iq", from.as_deref(), &to, id.as_deref(), TOO_LARGE, out);
    });
}

/// Only the top-level tag is looked at: what fails may be as large as a stanza can be.
fn scanned(stanza: &[u8]) -> Option<Scanner> {
    let scope = StreamScope::ordinary(ns::CLIENT);
    let limits = Limits {
        stanza_bytes_max: usize::MAX,
        ..Limits::default()
    };
    let mut scanner = Scanner::new();
    let found = scanner.scan(&limits, &scope, stanza);
    matches!(found, Ok(Found::Element { .. })).then_some(scanner)
}

/// Sends what the server itself has to say, on behalf of `from`, to any address; nobody hears of a
/// failure. `write` leaves the namespace of the stanza to the recipient's stream.
pub fn send<O: Outbox>(
    scene: &mut Scene<'_, O>,
    from: &str,
    to: &str,
    kind: Type,
    write: impl Fn(&mut Vec<u8>),
) {
    // The server's own stanzas are short; the room is only an estimate for the bound.
    send_sized(scene, (from, to), kind, reply::ERROR_BYTES, write);
}

/// The same of about `room` bytes.
pub fn send_sized<O: Outbox>(
    scene: &mut Scene<'_, O>,
    (from, to): (&str, &str),
    kind: Type,
    room: usize,
    write: impl Fn(&mut Vec<u8>),
) {
    let Ok(parts) = crate::jid::parse(to) else {
        return;
    };
    let bare = parts.bare();
    let (node, resource) = (parts.node.is_some(), parts.resource.as_deref());
    send_parts(
        scene,
        from,
        (&bare, node, &parts.domain, resource),
        &Made {
            kind,
            room,
            write: &write,
        },
    );
}

/// The same to a prepared bare JID, which is not read anew.
pub fn send_prepared<O: Outbox>(
    scene: &mut Scene<'_, O>,
    (from, bare): (&str, &str),
    kind: Type,
    room: usize,
    write: impl Fn(&mut Vec<u8>),
) {
    let (node, domain) = match bare.split_once('@') {
        Some((_, domain)) => (true, domain),
        None => (false, bare),
    };
    let made = Made {
        kind,
        room,
        write: &write,
    };
    send_parts(scene, from, (bare, node, domain, None), &made);
}

fn send_parts<O: Outbox>(
    scene: &mut Scene<'_, O>,
    from: &str,
    (bare, node, domain, resource): (&str, bool, &str, Option<&str>),
    made: &Made<'_>,
) {
    let node = node.then_some(bare);
    let hash = |text: &str| scene.sessions.hash(text);
    let (owner, to) = match route(scene.hosts, scene.services, domain, node, hash) {
        Destination::Account { owner, hash } => (
            owner,
            Recipient::Account {
                hash,
                bare,
                resource,
            },
        ),
        Destination::Service(service) => (service.owner, Recipient::Peer(service.connection)),
        Destination::Remote { owner, hash } => {
            let Ok(from) = crate::jid::parse(from) else {
                return;
            };
            let (local, remote) = (&*from.domain, domain);
            let to = Recipient::Domain {
                hash,
                local,
                remote,
            };
            give(scene, owner, to, made);
            return;
        }
        Destination::Host | Destination::Absent => return,
    };
    give(scene, owner, to, made);
}
