//! XEP-0160: Offline Messages, on their way from the store to a session that has become available.
//! What is kept in the first place is decided in `modules::offline`.
//!
//! The store gives them in pages, the session gets them a write at a time: once the socket has taken
//! one, the store is asked to remove what was in it, and the next one follows. Meanwhile whatever else
//! comes for the user waits behind the rest, in memory or in the store, so that nothing overtakes. A
//! crash loses nothing, and repeats, with the same ids (XEP-0359), only what the socket took within
//! the time that a removal takes, which is the window of the store's commits and the commit, and what
//! a peer that reads slowly had left of one write. A session that goes in order ([`ended`]) leaves what
//! was written to be marked when the socket has it; until then no other session is given anything.

use crate::base::key::Key;
use crate::modules::Scene;
use crate::modules::Topic;
use crate::modules::bounce;
use crate::modules::handover::Outcome;
use crate::modules::handover::hand_over;
use crate::modules::offline::ask;
use crate::modules::offline::keep;
use crate::modules::parcel::Parcel;
use crate::modules::parcel::Stamped;
use crate::modules::pipeline::Outbox;
use crate::modules::time;
use crate::proto::ns;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::session::flushes::Flush;
use crate::session::flushes::Held;
use crate::store::AccountId;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::offline::OfflineRequest;
use crate::store::offline::OfflineResponse;
use crate::store::offline::OfflineRow;

/// Sessions of one shard that are given kept messages at once; the next ones wait for another
/// presence.
const FLUSHES_MAX: usize = 10_000;
/// Messages that wait in memory for one session while kept ones are delivered, and their bytes.
const HELD_MAX: usize = 64;
const HELD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of kept messages after which a write to a session ends; one message always fits. So many may
/// come twice however long ago they were read, where the socket had not taken the rest of them.
const WRITE_BYTES_MAX: usize = 8 * 1024;
/// What a delay stamp and an id take, apart from addresses.
const STAMP_BYTES: usize = 256;

/// A session has become available for messages. Where what was written to one before is not with its
/// socket yet, it goes on from there.
pub fn begin<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key, bare: &str, resource: &str) {
    let host = bare.split_once('@').map_or("", |(_, host)| host);
    let modules = scene.facts.modules_of(host);
    let is_on = modules.is_some_and(|modules| modules.mod_offline.is_some());
    let flushes = &mut scene.sessions.flushes;
    if let Some(flush) = flushes.of_user(bare) {
        if flush.left && flush.resource.is_empty() {
            flush.resource = resource.into();
        }
        return;
    }
    if !is_on || flushes.len() >= FLUSHES_MAX {
        return;
    }
    flushes.begin(Flush::new(connection, bare, resource));
    next_page(scene, connection, bare, 0);
}

fn next_page<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key, bare: &str, after: u64) {
    let Some((user, host)) = bare.split_once('@') else {
        return;
    };
    let id = AccountId::from_prepared(user, host);
    let request = OfflineRequest::Page { id, after };
    ask(scene, bare, request, Topic::Kept(connection));
}

/// A stanza that has to queue up behind messages that are just being delivered: in memory as far as
/// there is room; a message that the store takes goes behind the rest there otherwise. None where it
/// need not: presence and requests wait only for what came meanwhile, or every login would hold up
/// the presence of all contacts.
pub fn hold<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    resource: Option<&str>,
    parcel: &impl Parcel,
) -> Option<Outcome> {
    let kind = parcel.kind();
    let flush = scene.sessions.flushes.of_user(bare)?;
    let is_for_another = resource.is_some_and(|resource| *flush.resource != *resource);
    if is_for_another || flush.resource.is_empty() {
        return None;
    }
    let waits = match kind {
        Type::Message(_) => true,
        Type::Presence(PresenceType::Available | PresenceType::Unavailable) => {
            !flush.held.is_empty()
        }
        Type::Iq(_) => resource.is_some() && !flush.held.is_empty(),
        Type::Presence(_) => false,
    };
    if !waits {
        return None;
    }
    if flush.kept {
        return is_storable(kind).then(|| keep(scene, bare, parcel));
    }
    if flush.held.len() < HELD_MAX && flush.held_bytes < HELD_BYTES_MAX {
        let stanza = parcel.to_bytes();
        flush.held_bytes += stanza.len();
        flush.held.push(Held {
            kind,
            resource: resource.map(Box::from),
            stanza: stanza.into_boxed_slice(),
        });
        return Some(Outcome::Done);
    }
    if !is_storable(kind) {
        return None;
    }
    for held in std::mem::take(&mut flush.held) {
        if !is_storable(held.kind) {
            release(scene, bare, vec![held]);
            continue;
        }
        let parcel = parcel_of(&held);
        if let Outcome::Bounce(condition) = keep(scene, bare, &parcel) {
            bounce::bounce(scene, &held.stanza, held.kind, condition);
        }
    }
    Some(keep(scene, bare, parcel))
}

fn is_storable(kind: Type) -> bool {
    matches!(kind, Type::Message(MessageType::Chat | MessageType::Normal))
}

/// Nothing is in the way of what was held any more.
fn release<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, held: Vec<Held>) {
    let hash = scene.sessions.hash(bare);
    for held in held {
        let resource = held.resource.as_deref();
        let outcome = hand_over(scene, hash, bare, resource, &parcel_of(&held));
        if let Outcome::Bounce(condition) = outcome {
            bounce::bounce(scene, &held.stanza, held.kind, condition);
        }
    }
}

fn parcel_of(held: &Held) -> Stamped<'_> {
    Stamped {
        kind: held.kind,
        bytes: &held.stanza,
    }
}

/// The store gives a page of kept messages.
pub fn page<O: Outbox>(
    scene: &mut Scene<'_, O>,
    connection: Key,
    result: Result<Response, StoreError>,
) {
    let Some(flush) = scene.sessions.flushes.of_connection(connection) else {
        return;
    };
    let Ok(Response::Offline(OfflineResponse::Page(rows))) = result else {
        // They stay where they are until the next login.
        return end(scene, connection);
    };
    if flush.left {
        return gone(scene, connection);
    }
    if rows.is_empty() {
        if std::mem::take(&mut flush.kept) {
            let (bare, after) = (flush.bare.clone(), flush.written);
            return next_page(scene, connection, &bare, after);
        }
        return end(scene, connection);
    }
    flush.asked = false;
    flush.rows = rows.into();
    write_some(scene, connection);
}

/// There is nothing more to be given: what has waited behind it goes on.
fn end<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key) {
    if let Some(flush) = scene.sessions.flushes.end(connection) {
        release(scene, &flush.bare, flush.held);
    }
}

/// Writes the next messages of a page. One that the session could never take goes back: kept, it would
/// end every session that comes for it.
fn write_some<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key) {
    let Some(flush) = scene.sessions.flushes.of_connection(connection) else {
        return;
    };
    let bare = &*flush.bare;
    // One that is under way does not have it yet.
    flush.sends_due = 1 + u8::from(scene.outbox.is_sending(connection));
    let host = bare.split_once('@').map_or("", |(_, host)| host);
    let kind = Type::Message(MessageType::Chat);
    let largest = scene.outbox.largest(connection);
    let (mut bytes, mut too_large) = (0, Vec::new());
    while bytes < WRITE_BYTES_MAX
        && let Some(row) = flush.rows.pop_front()
    {
        let room = row.stanza.len() + STAMP_BYTES + bare.len();
        if largest > 0 && room > largest {
            flush.written = row.number;
            too_large.push(row.stanza);
            continue;
        }
        // Where there is no room the connection is about to end, and the rest stays kept.
        let write = |out: &mut Vec<u8>| stamped(&row, bare, host, out);
        if !scene.outbox.hand(connection, kind, room, write) {
            break;
        }
        bytes += room;
        flush.written = row.number;
    }
    if bytes == 0 && !too_large.is_empty() {
        // There is nothing to wait for.
        flush.sends_due = 0;
        scene.sessions.flushes.note_due(connection);
    }
    for stanza in too_large {
        bounce::bounce(scene, &stanza, kind, StanzaCondition::PolicyViolation);
    }
}

/// A kept message with when it came (XEP-0203) and its id (XEP-0359).
fn stamped(row: &OfflineRow, bare: &str, host: &str, out: &mut Vec<u8>) {
    let marks = format!(
        "<delay xmlns='{}' from='{}' stamp='{}'/><stanza-id xmlns='{}' by='{}' id='{:x}-{:x}'/>",
        ns::DELAY,
        attribute(host),
        time::utc(row.came_at),
        ns::STANZA_ID,
        attribute(bare),
        row.came_at,
        row.number,
    );
    let stanza = &*row.stanza;
    if let Some(open) = stanza.strip_suffix(b"/>") {
        let name_end = open.iter().position(u8::is_ascii_whitespace);
        let name = open.get(1..name_end.unwrap_or(open.len()));
        out.extend_from_slice(open);
        out.push(b'>');
        out.extend_from_slice(marks.as_bytes());
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.unwrap_or_default());
        return out.push(b'>');
    }
    let end = memchr::memmem::rfind(stanza, b"</").unwrap_or(stanza.len());
    let (content, end) = stanza.split_at_checked(end).unwrap_or((stanza, &[]));
    out.extend_from_slice(content);
    out.extend_from_slice(marks.as_bytes());
    out.extend_from_slice(end);
}

/// Called once a turn: what the sockets have taken is removed from the store, and what comes next is
/// written, or asked for where the page ends.
pub fn proceed<O: Outbox>(scene: &mut Scene<'_, O>) {
    for connection in scene.sessions.flushes.take_due() {
        let flush = scene.sessions.flushes.of_connection(connection);
        let Some(flush) = flush.filter(|flush| flush.is_due()) else {
            continue;
        };
        if flush.left {
            gone(scene, connection);
            continue;
        }
        let (bare, through) = (flush.bare.clone(), flush.written);
        let ends = flush.rows.is_empty();
        if ends {
            flush.asked = true;
            flush.kept = false;
        }
        forget(scene, &bare, through);
        match ends {
            true => next_page(scene, connection, &bare, through),
            false => write_some(scene, connection),
        }
    }
}

/// Messages up to this one are with the session's kernel.
fn forget<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, through: u64) {
    let Some((user, host)) = bare.split_once('@') else {
        return;
    };
    let id = AccountId::from_prepared(user, host);
    ask(
        scene,
        bare,
        OfflineRequest::Remove { id, through },
        Topic::Sent,
    );
}

/// A session has ended, or wants no messages any more. What was written to it is marked when its
/// socket has taken it, lest it comes twice; another session of its user goes on with the rest then.
pub fn ended<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key, bare: &str) {
    let flush = scene.sessions.flushes.of_connection(connection);
    let Some(flush) = flush.filter(|flush| !flush.left) else {
        return;
    };
    if flush.is_due() {
        return gone(scene, connection);
    }
    flush.left = true;
    flush.rows.clear();
    let next = next(scene, bare).map(|(_, resource)| resource);
    let Some(flush) = scene.sessions.flushes.of_connection(connection) else {
        return;
    };
    let held = match &next {
        Some(_) => Vec::new(),
        // Nobody waits for it: it is kept like the rest.
        None => std::mem::take(&mut flush.held),
    };
    flush.resource = next.unwrap_or_default();
    release(scene, bare, held);
}

/// A connection is gone, or nothing that is still written to it can be relied on, or all of it is with
/// the kernel and its session wants no more: another session of the user may go on with what is kept.
pub fn gone<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key) {
    let Some(flush) = scene.sessions.flushes.end(connection) else {
        return;
    };
    let bare = &*flush.bare;
    if flush.is_due() {
        forget(scene, bare, flush.written);
    }
    if let Some((connection, resource)) = next(scene, bare) {
        begin(scene, connection, bare, &resource);
    }
    release(scene, bare, flush.held);
}

/// A session of the user that wants messages.
fn next<O: Outbox>(scene: &Scene<'_, O>, bare: &str) -> Option<(Key, Box<str>)> {
    let hash = scene.sessions.hash(bare);
    let user = scene.sessions.user(hash, bare);
    let mut sessions = user.into_iter().flat_map(|user| user.sessions());
    sessions
        .find(|session| session.priority.is_some_and(|priority| priority >= 0))
        .map(|session| (session.connection, session.resource.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_inside() {
        let row = |stanza: &[u8]| OfflineRow {
            number: 26,
            came_at: 16,
            stanza: stanza.into(),
        };
        let marks = "<delay xmlns='urn:xmpp:delay' from='x' stamp='1970-01-01T00:00:16Z'/>\
            <stanza-id xmlns='urn:xmpp:sid:0' by='a@x' id='10-1a'/>";
        for (stanza, before, after) in [
            ("<message id='1'/>", "<message id='1'>", "</message>"),
            ("<c:message/>", "<c:message>", "</c:message>"),
            (
                "<message><body>&lt;/</body></message>",
                "<message><body>&lt;/</body>",
                "</message>",
            ),
        ] {
            let mut out = Vec::new();
            stamped(&row(stanza.as_bytes()), "a@x", "x", &mut out);
            let expected = format!("{before}{marks}{after}");
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
