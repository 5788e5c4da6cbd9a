//! RFC 6121, section 4: presence among the resources of an account, and directed presence.
//!
//! Contacts come with the roster; this file is where their presence will be broadcast.

use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::proto::ns;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay;
use crate::proto::stanza::relay::relayed_bytes;
use crate::proto::stanza::reply;
use crate::session::table::DIRECTED_MAX;
use crate::session::table::Session;

/// Largest presence that is broadcast, in bytes: it is kept for as long as the session lasts and
/// repeated to everybody who comes. With capabilities, an avatar's hash and a signature it has 2 KB.
pub const PRESENCE_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a notice of unavailability takes apart from its addresses.
const NOTICE_BYTES: usize = 64;

/// Presence without `to`: to everybody who may see it.
pub fn broadcast<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    kind: PresenceType,
) {
    match kind {
        PresenceType::Available => available(scene, sender, stanza),
        PresenceType::Unavailable => unavailable(scene, sender, stanza),
        // Section 3.1.2 and its likes need an address; section 4.3 is for servers.
        PresenceType::Subscribe
        | PresenceType::Subscribed
        | PresenceType::Unsubscribe
        | PresenceType::Unsubscribed
        | PresenceType::Probe
        | PresenceType::Error => {
            refuse_presence(scene, sender, stanza, StanzaCondition::BadRequest);
        }
    }
}

/// Sections 4.2.2 and 4.4.2.
fn available<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    let Some(priority) = priority(stanza) else {
        return refuse_presence(scene, sender, stanza, StanzaCondition::BadRequest);
    };
    if stanza.bytes.len() > PRESENCE_BYTES_MAX {
        return refuse_presence(scene, sender, stanza, StanzaCondition::PolicyViolation);
    }
    let own = reply::attribute(sender.bare);
    let stamp = Stamp {
        from: sender.stamp,
        to: Some(&own),
    };
    let mut stamped = Vec::with_capacity(stanza.bytes.len() + 2 * sender.stamp.len() + 16);
    relay(stanza, stamp, &mut stamped);

    let hash = scene.sessions.hash(sender.bare);
    let Some(user) = scene.sessions.user_mut(hash, sender.bare) else {
        return;
    };
    let Some(session) = user.session_mut(sender.resource) else {
        return;
    };
    let initial = session.priority.is_none();
    session.priority = Some(priority);
    for other in user
        .sessions()
        .iter()
        .filter(|session| session.priority.is_some())
    {
        if let Some(out) = scene.outbox.output(other.connection, stamped.len()) {
            out.extend_from_slice(&stamped);
        }
        // Who is new learns who else is here.
        if initial
            && &*other.resource != sender.resource
            && let Some(presence) = &other.presence
            && let Some(out) = scene.outbox.output(sender.connection, presence.len())
        {
            out.extend_from_slice(presence);
        }
    }
    if let Some(session) = user.session_mut(sender.resource) {
        session.presence = Some(stamped.into_boxed_slice());
    }
}

/// What the server itself cannot take is told to its sender, other than what a recipient does not.
fn refuse_presence<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    condition: StanzaCondition,
) {
    let room = reply::ERROR_BYTES + sender.stamp.len();
    if stanza.kind.is_answer() {
        return;
    }
    if let Some(out) = scene.outbox.output(sender.connection, room) {
        reply::error(stanza, sender.stamp, condition, out);
    }
}

/// Section 4.7.2.3: -128 to 127, 0 when absent. None for anything else.
fn priority(stanza: &Stanza<'_>) -> Option<i8> {
    if stanza.head.children == 0 {
        return Some(0);
    }
    let presence = answer::element(stanza).ok()?;
    match presence.child("priority", ns::CLIENT) {
        None => Some(0),
        Some(priority) => priority.text().trim().parse().ok(),
    }
}

/// Section 4.5.2.
fn unavailable<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    let hash = scene.sessions.hash(sender.bare);
    let Some(user) = scene.sessions.user_mut(hash, sender.bare) else {
        return;
    };
    let Some(session) = user.session_mut(sender.resource) else {
        return;
    };
    let was_available = session.priority.take().is_some();
    session.presence = None;
    let directed = std::mem::take(&mut session.directed);
    if was_available {
        let own = reply::attribute(sender.bare);
        let stamp = Stamp {
            from: sender.stamp,
            to: Some(&own),
        };
        // Section 4.5.2: to the others, and to the resource itself.
        let told = |session: &&Session| {
            session.priority.is_some() || &*session.resource == sender.resource
        };
        for other in user.sessions().iter().filter(told) {
            let room = relayed_bytes(stanza, stamp);
            if let Some(out) = scene.outbox.output(other.connection, room) {
                relay(stanza, stamp, out);
            }
        }
    }
    tell_directed(scene, sender.full, &directed);
}

/// Section 4.6.3: remembers who got directed presence, so that they hear of the end.
pub fn note_directed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    to: &str,
    kind: PresenceType,
) {
    let hash = scene.sessions.hash(sender.bare);
    let session = scene
        .sessions
        .user_mut(hash, sender.bare)
        .and_then(|user| user.session_mut(sender.resource));
    let Some(session) = session else { return };
    let known = session.directed.iter().position(|entity| &**entity == to);
    match (kind, known) {
        (PresenceType::Available, None) if session.directed.len() < DIRECTED_MAX => {
            session.directed.push(to.into());
        }
        (PresenceType::Unavailable, Some(place)) => {
            session.directed.swap_remove(place);
        }
        (_, _) => {}
    }
}

/// A session has ended without saying so, or after it did: whoever saw it is told
/// (section 4.5.3). `session` is out of the table already.
pub fn ended<O: Outbox>(scene: &mut Scene<'_, O>, full: &str, bare: &str, session: &Session) {
    if session.priority.is_some() {
        let hash = scene.sessions.hash(bare);
        let (from, to) = (reply::attribute(full), reply::attribute(bare));
        if let Some(user) = scene.sessions.user(hash, bare) {
            for other in user
                .sessions()
                .iter()
                .filter(|session| session.priority.is_some())
            {
                let room = NOTICE_BYTES + full.len() + bare.len();
                if let Some(out) = scene.outbox.output(other.connection, room) {
                    notice(&from, &to, out);
                }
            }
        }
    }
    tell_directed(scene, full, &session.directed);
}

fn tell_directed<O: Outbox>(scene: &mut Scene<'_, O>, full: &str, directed: &[Box<str>]) {
    let from = reply::attribute(full);
    for entity in directed {
        let to = reply::attribute(entity);
        let kind = Type::Presence(PresenceType::Unavailable);
        bounce::send(scene, full, entity, kind, |out| notice(&from, &to, out));
    }
}

fn notice(from: &str, to: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<presence type='unavailable' from='");
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(b"' to='");
    out.extend_from_slice(to.as_bytes());
    out.extend_from_slice(b"'/>");
}
