//! RFC 6121, section 3: stanzas about subscriptions, from a user ([`sent`]) and to one ([`react`]).
//!
//! What a stanza does to the state between the two is the table of `session::subscription`; here it
//! is carried out: the roster changes, is written, and then pushes, stanzas and presence go their
//! ways. A local contact and one of another server are the same.

use crate::modules::Scene;
use crate::modules::happening::Happening;
use crate::modules::parcel::sender_of;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::domain_of;
use crate::modules::presence;
use crate::modules::roster;
use crate::modules::roster_change;
use crate::modules::roster_change::After;
use crate::proto::ns;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay;
use crate::proto::stanza::reply::attribute;
use crate::session::roster::Item;
use crate::session::rosters::Own;
use crate::session::rosters::What;
use crate::session::subscription::State;
use crate::session::subscription::Verb;
use crate::xml::element::Element;

/// Largest request that is kept until it is answered; of a larger one only who asks.
pub const REQUEST_BYTES_MAX: usize = 2048;

/// The stanza about a subscription that a presence is.
pub fn verb_of(kind: PresenceType) -> Option<Verb> {
    match kind {
        PresenceType::Subscribe => Some(Verb::Subscribe),
        PresenceType::Subscribed => Some(Verb::Subscribed),
        PresenceType::Unsubscribe => Some(Verb::Unsubscribe),
        PresenceType::Unsubscribed => Some(Verb::Unsubscribed),
        PresenceType::Available
        | PresenceType::Error
        | PresenceType::Probe
        | PresenceType::Unavailable => None,
    }
}

/// A session's word about a subscription to `jid`, a prepared bare JID, as `modules::line` takes it.
pub fn word(sender: &Sender<'_>, stanza: &Stanza<'_>, verb: Verb, jid: &str) -> Own {
    let (from, to) = (attribute(sender.bare), attribute(jid));
    let stamp = Stamp {
        from: &from,
        to: Some(&to),
    };
    let mut bytes = Vec::new();
    relay(stanza, stamp, &mut bytes);
    Own {
        connection: sender.connection,
        from: sender.full.into(),
        target: stanza.attribute(b"to").map(|to| to.as_ref().into()),
        id: stanza.attribute(b"id").unwrap_or_default().as_ref().into(),
        what: What::Say {
            verb,
            jid: jid.into(),
            kind: stanza.kind,
            stanza: bytes.into_boxed_slice(),
        },
    }
}

/// A session has said it.
///
/// # Errors
/// What it is refused with.
pub fn sent<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    own: &Own,
    (verb, jid): (Verb, &str),
    (kind, stanza): (Type, &[u8]),
) -> Result<(), StanzaCondition> {
    if jid == bare {
        return Ok(());
    }
    let roster = scene.sessions.roster(bare);
    let roster = roster.ok_or(StanzaCondition::ServiceUnavailable)?;
    let old = roster.item(jid);
    let before = old.map(|item| item.state).unwrap_or_default();
    let (state, goes) = before.sent(verb);
    let mut after = Vec::new();
    if before.from && !state.from {
        // SPEC(RFC 6121 3.2.2): while the contact still sees them.
        after.push(After::Unavailable(jid.into()));
    }
    if goes {
        after.push(After::Route(kind, jid.into(), stanza.into()));
    }
    let mut item = old.cloned().unwrap_or_else(|| Item::new(jid));
    let is_new = !item.listed && (state.asked || state.from || state.approved);
    if is_new && !roster.has_room(true) {
        return Err(StanzaCondition::PolicyViolation);
    }
    if state == before && !is_new {
        for after in after {
            roster_change::follow(scene, bare, &after, None);
        }
        return Ok(());
    }
    item.listed |= is_new;
    item.state = state;
    if !state.wanted {
        item.request = [].into();
    }
    let seen = item.listed;
    if seen {
        after.push(After::Push([].into()));
    }
    if state.from && !before.from {
        after.push(After::Presence(jid.into()));
    }
    roster_change::write(scene, bare, item, seen, after, Some(own));
    Ok(())
}

/// Somebody has said something about a subscription to a user of this shard, or asks how the user is.
pub fn react<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, stanza: &[u8]) {
    let Some(from) = sender_of(stanza) else {
        return;
    };
    let jid = from.split_once('/').map_or(&*from, |(bare, _)| bare);
    let Ok(parsed) = Element::parse(stanza, ns::CLIENT, &[]) else {
        return;
    };
    let verb = parsed
        .attr("type")
        .and_then(|kind| Verb::ALL.into_iter().find(|verb| verb.name() == kind));
    match verb {
        None => {
            let to = parsed.attr("to").and_then(|to| crate::jid::parse(to).ok());
            let resource = to.as_ref().and_then(|to| to.resource.as_deref());
            presence::probed(scene, (bare, resource), &from);
        }
        Some(_) if jid == bare => {}
        Some(verb) => {
            let what = match verb {
                Verb::Subscribed => Some(Happening::Subscribed),
                Verb::Unsubscribed => Some(Happening::Unsubscribed),
                Verb::Subscribe | Verb::Unsubscribe => None,
            };
            if let Some(what) = what {
                scene.outbox.happened(what, domain_of(bare));
            }
            change(scene, bare, jid, verb, stanza);
        }
    }
}

fn change<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, jid: &str, verb: Verb, stanza: &[u8]) {
    let Some(roster) = scene.sessions.roster(bare) else {
        return;
    };
    let old = roster.item(jid);
    let before = old.map(|item| item.state).unwrap_or_default();
    let (state, seen) = before.received(verb);
    let mut item = old.cloned().unwrap_or_else(|| Item::new(jid));
    if old.is_none() && !roster.has_room(false) {
        return;
    }
    item.state = state;
    let mut after = Vec::new();
    if verb == Verb::Subscribe && state.from {
        // Section 3.1.3: a wish that is granted already is answered for the user.
        after.push(roster::verb(Verb::Subscribed, bare, jid));
    }
    if seen {
        after.push(match verb {
            Verb::Subscribe => After::Available(stanza.into()),
            Verb::Subscribed | Verb::Unsubscribe | Verb::Unsubscribed => {
                After::Interested(stanza.into())
            }
        });
    }
    if verb == Verb::Subscribe && seen {
        item.request = request(bare, jid, stanza);
    }
    if !state.wanted {
        item.request = [].into();
    }
    if state == before {
        for after in after {
            roster_change::follow(scene, bare, &after, None);
        }
        return;
    }
    // A wish alone changes nothing that the user sees in the roster.
    let shows = State {
        wanted: false,
        ..before
    } != State {
        wanted: false,
        ..state
    };
    let pushes = item.listed && shows;
    if pushes {
        after.push(After::Push([].into()));
    }
    match (before.from, state.from) {
        (false, true) => after.push(After::Presence(jid.into())),
        (true, false) => after.push(After::Unavailable(jid.into())),
        (false, false) | (true, true) => {}
    }
    roster_change::write(scene, bare, item, pushes, after, None);
}

/// What is kept of a request.
fn request(bare: &str, jid: &str, stanza: &[u8]) -> Box<[u8]> {
    if stanza.len() <= REQUEST_BYTES_MAX {
        return stanza.into();
    }
    match roster::verb(Verb::Subscribe, jid, bare) {
        After::Route(_, _, stanza) => stanza,
        After::Push(_)
        | After::Interested(_)
        | After::Available(_)
        | After::Presence(_)
        | After::Unavailable(_)
        | After::Answer => stanza.into(),
    }
}

/// Section 3.1.3: whoever logs in is told of requests that wait for an answer.
pub fn remind<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>) {
    let Some(roster) = scene.sessions.roster(sender.bare) else {
        return;
    };
    let kind = Type::Presence(PresenceType::Subscribe);
    let hash = scene.sessions.hash(sender.bare);
    let user = scene.sessions.user(hash, sender.bare);
    let blocked = user.and_then(|user| user.blocked());
    for item in roster.items().iter().filter(|item| item.state.wanted) {
        if blocked.is_some_and(|list| list.blocks(&item.jid)) {
            continue;
        }
        let write = |out: &mut Vec<u8>| out.extend_from_slice(&item.request);
        let outbox = &mut *scene.outbox;
        outbox.hand(sender.connection, kind, item.request.len(), write);
    }
}

/// Whether a stanza of this kind is for [`react`].
pub fn is_ours(kind: Type) -> bool {
    matches!(kind, Type::Presence(kind) if kind == PresenceType::Probe || verb_of(kind).is_some())
}
