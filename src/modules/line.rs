//! RFC 6120, section 10.1: order between two entities, where a roster changes in between.
//!
//! A change of a roster is told when it is on the disk, some milliseconds after it was asked for.
//! What comes behind it must not overtake it:
//!
//! - A session that has asked for a change is not read until it is written ([`own`]).
//! - What a contact sends to a user waits while something that the contact said before is written
//!   ([`hold`], [`received`]). What others send does not.
//!
//! The places where it waits, and their bounds, are in `session::rosters`.

use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::handover::Outcome;
use crate::modules::handover::deliver_now;
use crate::modules::parcel::Parcel;
use crate::modules::parcel::Stamped;
use crate::modules::parcel::sender_of;
use crate::modules::pipeline::Outbox;
use crate::modules::roster;
use crate::modules::roster_change;
use crate::modules::subscription;
use crate::proto::stanza::IqType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::route::envelope::Envelope;
use crate::route::envelope::Recipient;
use crate::session::rosters::Deed;
use crate::session::rosters::Due;
use crate::session::rosters::Own;
use crate::session::rosters::What;
use crate::session::rosters::Wish;
use crate::session::table::User;

/// A session of the user `bare` wants something of the own roster.
pub fn own<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, own: Own) {
    let hash = scene.sessions.hash(bare);
    let connection = own.connection;
    if scene.sessions.rosters().waits(hash, bare) {
        scene.sessions.rosters_mut().push_own(hash, bare, own);
        return scene.outbox.pause(connection);
    }
    do_own(scene, bare, &own);
    if scene.sessions.rosters().is_writing(hash, bare) {
        scene.outbox.pause(connection);
    }
}

/// Decides it: a change is being written then, or it is done with.
fn do_own<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, own: &Own) {
    match &own.what {
        What::Set(wanted) => {
            if let Err(why) = roster::set(scene, bare, own, wanted) {
                refuse(scene, "iq", own, why);
            }
        }
        What::Say {
            verb,
            jid,
            kind,
            stanza,
        } => {
            let what = (*kind, &**stanza);
            if let Err(condition) = subscription::sent(scene, bare, own, (*verb, jid), what)
                && !bounce::is_silent(*kind)
            {
                refuse(scene, "presence", own, (condition, ""));
            }
        }
    }
}

fn refuse<O: Outbox>(
    scene: &mut Scene<'_, O>,
    element: &str,
    own: &Own,
    why: (StanzaCondition, &str),
) {
    let room = reply::ERROR_BYTES + own.from.len() + why.1.len();
    let kind = Type::error_of(element);
    scene.outbox.hand(own.connection, kind, room, |out| {
        let (from, to) = (own.target.as_deref(), reply::attribute(&own.from));
        let id = (!own.id.is_empty()).then_some(&*own.id);
        reply::error_parts(element, from, &to, id, why, out);
    });
}

/// Somebody says something about a subscription to the user `bare`, or asks how the user is.
pub fn received<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, kind: Type, stanza: Vec<u8>) {
    let hash = scene.sessions.hash(bare);
    // Nobody is here who could be seen: a thousand contacts who are away would cost each login a
    // thousand reads. What somebody said before may still change what a probe is answered.
    if kind == Type::Presence(PresenceType::Probe)
        && scene.sessions.user(hash, bare).is_none()
        && !scene.sessions.rosters().is_busy_with(hash, bare)
    {
        return;
    }
    match scene.sessions.wish_roster(bare, false) {
        Wish::Ask => roster_change::load(scene, bare, false),
        Wish::Full => return,
        Wish::Here | Wish::Asked => {}
    }
    if !scene.sessions.rosters().waits(hash, bare) {
        return subscription::react(scene, bare, &stanza);
    }
    let from = sender_of(&stanza).map(|from| bare_of(&from).into());
    let Some(from) = from else {
        return;
    };
    let deed = Deed {
        from,
        kind,
        resource: None,
        stanza: stanza.into_boxed_slice(),
    };
    scene.sessions.rosters_mut().push(hash, bare, deed);
}

/// A stanza for a user of this shard while rosters change: None where it need not wait.
pub fn hold<O: Outbox>(
    scene: &mut Scene<'_, O>,
    (hash, bare, resource): (u64, &str, Option<&str>),
    parcel: &impl Parcel,
) -> Option<Outcome> {
    let kind = parcel.kind();
    let is_for_server = matches!(kind, Type::Iq(IqType::Get | IqType::Set)) && resource.is_none();
    let rosters = scene.sessions.rosters();
    if is_for_server || subscription::is_ours(kind) || !rosters.is_busy_with(hash, bare) {
        return None;
    }
    let from = parcel.sender()?;
    let from = bare_of(&from);
    if !rosters.follows(hash, bare, from) {
        return None;
    }
    let deed = Deed {
        from: from.into(),
        kind,
        resource: resource.map(Box::from),
        stanza: parcel.to_bytes().into_boxed_slice(),
    };
    Some(match scene.sessions.rosters_mut().push(hash, bare, deed) {
        true => Outcome::Done,
        false => Outcome::Bounce(StanzaCondition::ResourceConstraint),
    })
}

fn bare_of(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

/// A change is written, or will never be: who waited for it goes on.
pub fn written<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str) {
    let hash = scene.sessions.hash(bare);
    if let Some(connection) = scene.sessions.rosters_mut().finish(hash, bare) {
        scene.outbox.resume(connection);
    }
    go_on(scene, bare);
}

/// A session has opened, or will not: what waited for it goes on.
pub fn opened<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str) {
    let hash = scene.sessions.hash(bare);
    scene.sessions.rosters_mut().login_over(hash, bare);
    go_on(scene, bare);
}

/// What waits for a roster is carried out, up to the next change; a roster that nobody needs is
/// forgotten.
fn go_on<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str) {
    let hash = scene.sessions.hash(bare);
    while let Some(due) = scene.sessions.rosters_mut().next(hash, bare) {
        match due {
            Due::Own(own) => {
                do_own(scene, bare, &own);
                // It changed nothing, so nothing will be written for it.
                if !scene.sessions.rosters().is_writing(hash, bare) {
                    scene.outbox.resume(own.connection);
                }
            }
            Due::Deed(deed) => do_deed(scene, hash, bare, &deed),
        }
    }
    scene.sessions.release_roster(bare);
}

fn do_deed<O: Outbox>(scene: &mut Scene<'_, O>, hash: u64, bare: &str, deed: &Deed) {
    if subscription::is_ours(deed.kind) {
        if !is_blocked(scene, hash, bare, &deed.stanza) {
            subscription::react(scene, bare, &deed.stanza);
        }
        return;
    }
    let (kind, stanza, resource) = (deed.kind, &*deed.stanza, deed.resource.as_deref());
    let parcel = Stamped {
        kind,
        bytes: stanza,
    };
    match deliver_now(scene, hash, bare, resource, &parcel) {
        Outcome::Done => {}
        Outcome::Account => answer::arrived(
            scene,
            &Envelope {
                kind,
                to: Recipient::Account {
                    hash,
                    bare,
                    resource,
                },
                stanza,
            },
        ),
        Outcome::Bounce(condition) => bounce::bounce(scene, stanza, kind, condition),
    }
}

/// Whether the user blocks who says it. Where there is a session it was asked when the stanza came,
/// and may have been blocked since.
fn is_blocked<O: Outbox>(scene: &Scene<'_, O>, hash: u64, bare: &str, stanza: &[u8]) -> bool {
    let Some(from) = sender_of(stanza) else {
        return true;
    };
    match scene.sessions.user(hash, bare) {
        Some(user) => User::blocked(user).is_some_and(|list| list.blocks(&from)),
        None => scene.sessions.rosters().blocks(hash, bare, &from),
    }
}
