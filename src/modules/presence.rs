//! RFC 6121, section 4: presence to contacts and among the resources of an account, probes, and
//! directed presence.
//!
//! A broadcast writes one stanza for each contact: into the recipient's output where the contact is
//! of this shard, into the mail otherwise, which leaves once a turn as one batch for each shard.

use crate::base::key::Key;
use crate::jid::Jid;
use crate::modules::Facts;
use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::kept;
use crate::modules::last;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::subscription;
use crate::proto::ns;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay;
use crate::proto::stanza::reply;
use crate::session::roster::Item;
use crate::session::subscription::State;
use crate::session::table::DIRECTED_MAX;
use crate::session::table::Session;

/// Largest presence that is broadcast, in bytes: it is kept for as long as the session lasts and
/// repeated to everybody who comes. With capabilities, an avatar's hash and a signature it has 2 KB.
pub const PRESENCE_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a notice of unavailability takes apart from its addresses.
const NOTICE_BYTES: usize = 64;

/// Whether a host does without presence: `[modules.mod_presence]` is not there. Then what its users
/// send of it goes nowhere, nobody is told who is here, and every session gets messages.
pub fn is_off(facts: &Facts, host: &str) -> bool {
    let modules = facts.modules_of(host);
    modules.is_none_or(|modules| modules.mod_presence.is_none())
}

/// A session has opened. Without presence it is as available as it will ever be.
pub fn opened<O: Outbox>(scene: &mut Scene<'_, O>, connection: Key, full: &Jid) {
    if !is_off(scene.facts, full.domain()) {
        return;
    }
    let (bare, resource) = (full.bare(), full.resource().unwrap_or_default());
    let hash = scene.sessions.hash(bare);
    let user = scene.sessions.user_mut(hash, bare);
    let Some(session) = user.and_then(|user| user.session_mut(resource)) else {
        return;
    };
    session.priority = Some(0);
    kept::begin(scene, connection, bare, resource);
}

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
    let stamp = Stamp {
        from: sender.stamp,
        to: None,
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
    let before = session.priority.replace(priority);
    let may_have_kept = session.may_have_kept;
    let others = user.sessions().iter();
    let wanted_messages = before.is_some_and(|before| before >= 0)
        || others
            .filter(|other| &*other.resource != sender.resource)
            .any(|other| other.priority.is_some_and(|priority| priority >= 0));
    for other in user
        .sessions()
        .iter()
        .filter(|session| session.priority.is_some())
    {
        give_presence(scene.outbox, other, &stamped, sender.bare);
        // Who is new learns who else is here.
        if before.is_none()
            && &*other.resource != sender.resource
            && let Some(presence) = &other.presence
            && let Some(new) = user.session(sender.resource)
        {
            give_presence(scene.outbox, new, presence, sender.bare);
        }
    }
    to_contacts(
        scene,
        sender.bare,
        |state| state.from,
        available_kind(),
        &stamped,
    );
    if let Some(user) = scene.sessions.user_mut(hash, sender.bare)
        && let Some(session) = user.session_mut(sender.resource)
    {
        session.presence = Some(stamped.into_boxed_slice());
    }
    if before.is_none() {
        probe_contacts(scene, sender);
        subscription::remind(scene, sender);
    }
    match priority {
        0.. if wanted_messages || !may_have_kept => {}
        0.. => kept::begin(scene, sender.connection, sender.bare, sender.resource),
        _ => kept::ended(scene, sender.connection, sender.bare),
    }
}

fn available_kind() -> Type {
    Type::Presence(PresenceType::Available)
}

/// A session of the user `bare` gets a presence that has no `to` yet.
fn give_presence<O: Outbox>(outbox: &mut O, session: &Session, presence: &[u8], bare: &str) {
    let room = presence.len() + NOTICE_BYTES + bare.len();
    outbox.hand(session.connection, available_kind(), room, |out| {
        addressed(presence, bare, out);
    });
}

/// Appends a presence that we have stamped, with a `to`: behind `from`, which comes first.
fn addressed(presence: &[u8], to: &str, out: &mut Vec<u8>) {
    let mut quotes = memchr::memchr_iter(b'\'', presence);
    let at = quotes.nth(1).map_or(0, |quote| quote + 1);
    let (head, rest) = presence.split_at_checked(at).unwrap_or((presence, &[]));
    out.extend_from_slice(head);
    out.extend_from_slice(b" to='");
    out.extend_from_slice(reply::attribute(to).as_bytes());
    out.push(b'\'');
    out.extend_from_slice(rest);
}

/// A presence without `to` goes to contacts (section 4.4.2), except those whom the user blocks.
fn to_contacts<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    wanted: impl Fn(State) -> bool,
    kind: Type,
    presence: &[u8],
) {
    for_contacts(scene, bare, |scene, item| {
        if wanted(item.state) {
            let room = presence.len() + NOTICE_BYTES + item.jid.len();
            bounce::send_prepared(scene, (bare, &item.jid), kind, room, |out| {
                addressed(presence, &item.jid, out);
            });
        }
    });
}

/// For each contact whom the user does not block. The roster is lent to `each`: what it leads to
/// concerns others.
fn for_contacts<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    mut each: impl FnMut(&mut Scene<'_, O>, &Item),
) {
    let hash = scene.sessions.hash(bare);
    let Some(roster) = scene.sessions.roster_mut(bare).map(std::mem::take) else {
        return;
    };
    let blocked = scene
        .sessions
        .user(hash, bare)
        .and_then(|user| user.blocked())
        .cloned();
    for item in roster.items() {
        if !blocked.as_ref().is_some_and(|list| list.blocks(&item.jid)) {
            each(scene, item);
        }
    }
    if let Some(place) = scene.sessions.roster_mut(bare) {
        *place = roster;
    }
}

/// Section 4.3.1: asks those whom the user sees how they are.
fn probe_contacts<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>) {
    let kind = Type::Presence(PresenceType::Probe);
    let probe = format!("<presence from='{}' type='probe'/>", sender.stamp);
    to_contacts(scene, sender.bare, |state| state.to, kind, probe.as_bytes());
}

/// Section 4.3.2: `from` asks how a user of this shard is. Nobody here means no answer: silence is
/// what the other side assumes anyway, and a thousand contacts who are away would cost a thousand
/// reads.
pub fn probed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    (bare, resource): (&str, Option<&str>),
    from: &str,
) {
    let hash = scene.sessions.hash(bare);
    let asks = from.split_once('/').map_or(from, |(bare, _)| bare);
    let Some(user) = scene.sessions.user(hash, bare) else {
        return;
    };
    let Some(roster) = scene.sessions.roster(bare) else {
        return;
    };
    if asks != bare && !roster.state(asks).from {
        let session = resource.and_then(|resource| user.session(resource));
        if let Some(session) = session.filter(|session| was_shown(session, from)) {
            // SPEC(RFC 6121 4.6.6): that it is there, and nothing more.
            let full = format!("{bare}/{}", session.resource);
            let (own, to) = (reply::attribute(&full), reply::attribute(from));
            let answer = format!("<presence from='{own}' to='{to}'/>");
            return bounce::send(scene, bare, from, available_kind(), |out| {
                out.extend_from_slice(answer.as_bytes());
            });
        }
        let kind = Type::Presence(PresenceType::Unsubscribed);
        let (own, to) = (reply::attribute(bare), reply::attribute(asks));
        let answer = format!("<presence type='unsubscribed' from='{own}' to='{to}'/>");
        return bounce::send(scene, bare, asks, kind, |out| {
            out.extend_from_slice(answer.as_bytes());
        });
    }
    let presences = user.sessions().iter();
    let presences: Vec<Box<[u8]>> = presences
        .filter(|session| session.priority.is_some())
        .filter_map(|session| session.presence.clone())
        .collect();
    for presence in presences {
        let room = presence.len() + NOTICE_BYTES + from.len();
        bounce::send_sized(scene, (bare, from), available_kind(), room, |out| {
            addressed(&presence, from, out);
        });
    }
}

/// Whether a session has sent directed presence to an entity, or to its account.
pub fn was_shown(session: &Session, full: &str) -> bool {
    let account = full.split_once('/').map_or(full, |(bare, _)| bare);
    let mut shown = session.directed.iter();
    shown.any(|shown| **shown == *full || **shown == *account)
}

/// A contact sees from now on who of the user is here (section 3.1.5).
pub fn show<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, to: &str) {
    for (_, presence) in here(scene, bare) {
        let room = presence.len() + NOTICE_BYTES + to.len();
        bounce::send_prepared(scene, (bare, to), available_kind(), room, |out| {
            addressed(&presence, to, out);
        });
    }
}

/// A contact sees them leave (sections 3.2.2 and 3.3.3).
pub fn hide<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, to: &str) {
    let escaped = reply::attribute(to);
    for (full, _) in here(scene, bare) {
        let from = reply::attribute(&full);
        let kind = Type::Presence(PresenceType::Unavailable);
        bounce::send(scene, bare, to, kind, |out| notice(&from, &escaped, out));
    }
}

/// The available resources of a user of this shard.
fn here<O: Outbox>(scene: &Scene<'_, O>, bare: &str) -> Vec<(String, Box<[u8]>)> {
    let hash = scene.sessions.hash(bare);
    let user = scene.sessions.user(hash, bare);
    let sessions = user.into_iter().flat_map(|user| user.sessions());
    sessions
        .filter(|session| session.priority.is_some())
        .filter_map(|session| {
            let full = format!("{bare}/{}", session.resource);
            Some((full, session.presence.clone()?))
        })
        .collect()
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
    let kind = stanza.kind.answer();
    scene.outbox.hand(sender.connection, kind, room, |out| {
        reply::error(stanza, sender.stamp, condition, out);
    });
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

/// Section 4.7.2.2: what the user says.
fn status(stanza: &Stanza<'_>) -> String {
    if stanza.head.children == 0 {
        return String::new();
    }
    let presence = answer::element(stanza).ok();
    let status = presence
        .as_ref()
        .and_then(|p| p.child("status", ns::CLIENT));
    status
        .map(|status| status.text().into_owned())
        .unwrap_or_default()
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
    let mut gone = Vec::new();
    if stanza.bytes.len() > PRESENCE_BYTES_MAX {
        // That the session is gone is told all the same.
        gone.extend_from_slice(unavailable_from(sender.stamp).as_bytes());
    } else {
        let stamp = Stamp {
            from: sender.stamp,
            to: None,
        };
        relay(stanza, stamp, &mut gone);
    }
    if was_available {
        // Section 4.5.2: to the others, and to the resource itself.
        let told = |session: &&Session| {
            session.priority.is_some() || &*session.resource == sender.resource
        };
        for other in user.sessions().iter().filter(told) {
            give_presence(scene.outbox, other, &gone, sender.bare);
        }
        let is_last = !user.sessions().iter().any(|s| s.priority.is_some());
        let kind = Type::Presence(PresenceType::Unavailable);
        to_contacts(scene, sender.bare, |state| state.from, kind, &gone);
        if is_last {
            last::left(scene, sender.bare, &status(stanza));
        }
        kept::ended(scene, sender.connection, sender.bare);
    }
    tell_directed(scene, sender.bare, &directed, &gone, was_available);
}

/// Unavailable presence without a word and without `to`; `from` may stand between apostrophes.
fn unavailable_from(from: &str) -> String {
    format!("<presence from='{from}' type='unavailable'/>")
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
    // Where there is no presence nobody has seen any.
    let is_seen = session.priority.is_some() && session.presence.is_some();
    let gone = unavailable_from(&reply::attribute(full));
    if is_seen {
        let hash = scene.sessions.hash(bare);
        if let Some(user) = scene.sessions.user(hash, bare) {
            let others = user.sessions().iter();
            for other in others.filter(|session| session.priority.is_some()) {
                give_presence(scene.outbox, other, gone.as_bytes(), bare);
            }
        }
        let kind = Type::Presence(PresenceType::Unavailable);
        to_contacts(scene, bare, |state| state.from, kind, gone.as_bytes());
    }
    tell_directed(scene, bare, &session.directed, gone.as_bytes(), is_seen);
    let hash = scene.sessions.hash(bare);
    let user = scene.sessions.user(hash, bare);
    let mut others = user.into_iter().flat_map(|user| user.sessions());
    if session.priority.is_some() && !others.any(|s| s.priority.is_some()) {
        last::left(scene, bare, "");
    }
    kept::ended(scene, session.connection, bare);
    scene.sessions.release_roster(bare);
}

/// Those who got directed presence hear of the end, unless they have as contacts.
fn tell_directed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    directed: &[Box<str>],
    gone: &[u8],
    was_available: bool,
) {
    for entity in directed {
        let account = entity.split_once('/').map_or(&**entity, |(bare, _)| bare);
        let roster = scene.sessions.roster(bare);
        if was_available && roster.is_some_and(|roster| roster.state(account).from) {
            continue;
        }
        let room = gone.len() + NOTICE_BYTES + entity.len();
        let kind = Type::Presence(PresenceType::Unavailable);
        bounce::send_sized(scene, (bare, entity), kind, room, |out| {
            addressed(gone, entity, out);
        });
    }
}

fn notice(from: &str, to: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<presence type='unavailable' from='");
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(b"' to='");
    out.extend_from_slice(to.as_bytes());
    out.extend_from_slice(b"'/>");
}
